//! One connection through the relay: bytes from the one end to the other, as they come.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{ErrorKind, Result as IoResult},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, Ordering},
    task::{Poll, ready},
    time::{Duration, Instant},
};

use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use super::place;

/// So many bytes are moved at once.
const CHUNK: usize = 64 << 10;

/// How long a connection to the server may take to come up.
const COMES_UP_WITHIN: Duration = Duration::from_secs(5);

/// How long a client may go on when the server has closed its end: it has all that there was.
const LEAVES_WITHIN: Duration = Duration::from_secs(10);

/// After so long without a word the system asks whether the other end is still there, as servers do (`tcp-keepalive`).
const ASKED_AFTER: Duration = Duration::from_secs(300);

thread_local! {
    /// One for all connections of a thread: each needs memory of its own only for what its other end does not take at once.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// What has passed through a connection.
pub struct Traffic {
    began: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// Milliseconds from `began` to when something passed last.
    last: AtomicU64,
}

impl Traffic {
    pub fn new(began: Instant) -> Self {
        let traffic = Traffic { began, sent: AtomicU64::new(0), received: AtomicU64::new(0), last: AtomicU64::new(0) };
        traffic.count(&traffic.sent, 0);
        traffic
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub fn idle(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    fn count(&self, counter: &AtomicU64, bytes: usize) {
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

/// Connects to the server.
pub async fn connect(to: SocketAddr) -> IoResult<TcpStream> {
    let connected = tokio::time::timeout(COMES_UP_WITHIN, TcpStream::connect(to)).await;
    prepared(connected.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?)
}

/// A connection that sends at once what it is given, and notices that its other end's host has died.
pub fn prepared(stream: TcpStream) -> IoResult<TcpStream> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, ASKED_AFTER)?;
    sockopt::set_tcp_keepintvl(&stream, ASKED_AFTER / 3)?;
    sockopt::set_tcp_keepcnt(&stream, 3)?;
    Ok(stream)
}

/// Forwards in both directions until both have ended, or either has failed.
pub async fn forward(mut client: TcpStream, mut server: TcpStream, traffic: &Traffic) -> IoResult<()> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut there = pin!(pump(from_client, to_server, |bytes| traffic.count(&traffic.sent, bytes)));
    let mut back = pin!(pump(from_server, to_client, |bytes| traffic.count(&traffic.received, bytes)));
    tokio::select! {
        ended = &mut there => {
            ended?;
            // A client may close its end first, and still read what it has asked for.
            back.await
        }
        ended = &mut back => {
            ended?;
            tokio::time::timeout(LEAVES_WITHIN, there).await.unwrap_or(Ok(()))
        }
    }
}

/// Moves bytes until the one end has no more, and tells the other one so.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, count: impl Fn(usize)) -> IoResult<()> {
    let mut rest = Vec::new();
    loop {
        let moved = poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut from).poll_read(cx, &mut buffer))?;
                let bytes = buffer.filled();
                if bytes.is_empty() {
                    return Poll::Ready(IoResult::Ok(0));
                }
                let taken = match Pin::new(&mut to).poll_write(cx, bytes) {
                    Poll::Ready(taken) => taken?,
                    Poll::Pending => 0,
                };
                rest.extend_from_slice(bytes.get(taken..).unwrap_or_default());
                Poll::Ready(Ok(bytes.len()))
            })
        });
        let moved = moved.await?;
        if moved == 0 {
            return to.shutdown().await;
        }
        if !rest.is_empty() {
            to.write_all(&rest).await?;
            rest = Vec::new();
        }
        count(moved);
        place::count(moved);
    }
}
