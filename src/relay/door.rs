//! Where a relay listens: the same addresses as the server had before, and who comes there.

use std::{
    io::{Error as IoError, ErrorKind, Result as IoResult},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, watch},
};

use super::{
    Way,
    house::{Guests, Ticket},
    log,
};

/// As many clients may wait to be let in, if the system allows it: right after a handover all come at once.
const QUEUE: u32 = 4096;

/// After the system has refused a connection for want of something.
const BREATH: Duration = Duration::from_millis(50);

/// Whether clients are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Waiting,
    Open,
    Closed,
}

/// An address of a server's `bind`, and whether it may be missing; none where it is no address.
pub fn address(word: &str) -> Option<(IpAddr, bool)> {
    let (word, optional) = word.strip_prefix('-').map_or((word, false), |word| (word, true));
    let address = match word {
        "*" => Ipv4Addr::UNSPECIFIED.into(),
        "::*" => Ipv6Addr::UNSPECIFIED.into(),
        word => word.parse().ok()?,
    };
    Some((address, optional))
}

/// A socket at that address, not listening yet. Connections that the server still has at its port are no hindrance.
pub fn bind(address: IpAddr, port: u16) -> IoResult<TcpSocket> {
    let socket = match address {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(address, port))?;
    Ok(socket)
}

/// Whether this host does not have the address.
pub fn is_missing(error: &IoError) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// Listens at all addresses of a way, or at none.
pub fn listen(way: &Way) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for word in &way.bind {
        let Some((ip, optional)) = address(word) else { anyhow::bail!("{word} is no address") };
        match bind(ip, way.port).and_then(|socket| socket.listen(QUEUE)) {
            Ok(listener) => listeners.push(listener),
            Err(error) if optional && is_missing(&error) => {}
            Err(error) => anyhow::bail!("can't listen at {}: {error}", SocketAddr::new(ip, way.port)),
        }
    }
    anyhow::ensure!(!listeners.is_empty(), "there is no address to listen at");
    Ok(listeners)
}

/// Lets clients in for as long as the gate is open, and no more than there is room for.
pub async fn attend(listener: TcpListener, to: SocketAddr, mut gate: watch::Receiver<Gate>, guests: Arc<Guests>) {
    while *gate.borrow_and_update() == Gate::Waiting {
        if gate.changed().await.is_err() {
            return;
        }
    }
    let was_open = *gate.borrow() == Gate::Open;
    while *gate.borrow_and_update() == Gate::Open {
        tokio::select! {
            biased;
            _ = gate.changed() => {}
            () = next(&listener, to, &guests) => {}
        }
    }
    // Who has come before it was closed is let in: else they would be cut off now, and once more in the handover.
    if was_open && let Ok(listener) = listener.into_std() {
        while let Ok(room) = guests.room().try_acquire_owned()
            && let Ok((stream, from)) = listener.accept()
        {
            guests.take(stream, Ticket { from, to, room });
        }
    }
}

async fn next(listener: &TcpListener, to: SocketAddr, guests: &Guests) {
    let Ok(room) = room(guests.room(), guests).await else { return };
    match listener.accept().await.and_then(|(stream, from)| Ok((TcpStream::into_std(stream)?, from))) {
        Ok((stream, from)) => guests.take(stream, Ticket { from, to, room }),
        Err(error) => {
            log(format_args!("a client could not be let in: {error}"));
            tokio::time::sleep(BREATH).await;
        }
    }
}

/// Waits until there is room for one more; clients wait in the queue meanwhile.
async fn room(
    room: Arc<Semaphore>,
    guests: &Guests,
) -> Result<tokio::sync::OwnedSemaphorePermit, tokio::sync::AcquireError> {
    if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
        return Ok(permit);
    }
    log(format_args!(
        "{} connections are all that the limit of open files allows (ulimit -n, LimitNOFILE): new clients wait",
        guests.most()
    ));
    room.acquire_owned().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_a_server() {
        let all = |word: &str| address(word).map(|(ip, optional)| (ip.to_string(), optional));
        assert_eq!(all("*"), Some(("0.0.0.0".into(), false)));
        assert_eq!(all("-::*"), Some(("::".into(), true)));
        assert_eq!(all("-::1"), Some(("::1".into(), true)));
        assert_eq!(all("10.0.0.1"), Some(("10.0.0.1".into(), false)));
        assert_eq!(all("db.example.com"), None);
    }
}
