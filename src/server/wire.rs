//! A connection that is itself in `MONITOR`: replies with lines about what the server does between them.
//!
//! Before 6.2 `CLIENT PAUSE` holds every ordinary connection, its sender's too. It does not hold replicas, and one that
//! sends `MONITOR` counts as one (`processInputBuffer` and `monitorCommand` of 6.0). So this is how a server can be told
//! to go on from within its pause.

use std::{
    io::{self, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    time::Duration,
};

use redis::{Parser, Value};

use super::Command;
use crate::{endpoint::Endpoint, run::CLIENT_NAME};

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// The connection.
pub struct Wire {
    stream: BufReader<Box<dyn Stream>>,
    parser: Parser,
}

impl Wire {
    /// Connects and logs in; without TLS. Each read and write may take as long as `patience`.
    pub fn open(endpoint: &Endpoint, patience: Duration) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match &endpoint.unix_socket {
            Some(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Box::new(stream)
            }
            None => {
                let mut addresses = (endpoint.host.as_str(), endpoint.port).to_socket_addrs()?;
                let address = addresses.next().ok_or(io::ErrorKind::NotFound)?;
                let stream = TcpStream::connect_timeout(&address, endpoint.connect_timeout)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Box::new(stream)
            }
        };
        let mut wire = Wire { stream: BufReader::new(stream), parser: Parser::new() };
        if let Some(login) = Command::login(endpoint) {
            let said = wire.ask(&[login])?;
            if let [Value::ServerError(error)] = said.as_slice() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, error.to_string()));
            }
        }
        wire.ask(&[Command::new(["CLIENT", "SETNAME", CLIENT_NAME])])?;
        Ok(wire)
    }

    /// Sends commands in one go and returns their replies.
    pub fn ask(&mut self, commands: &[Command]) -> io::Result<Vec<Value>> {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| command.packed().get_packed_command()).collect();
        self.stream.get_mut().write_all(&bytes)?;
        commands.iter().map(|_| self.reply()).collect()
    }

    /// The next reply, past whatever is shown of other commands.
    fn reply(&mut self) -> io::Result<Value> {
        loop {
            match self.parser.parse_value(&mut self.stream).map_err(io::Error::other)? {
                Value::SimpleString(line) if is_monitored(&line) => {}
                reply => return Ok(reply),
            }
        }
    }
}

/// Whether that is a line of `MONITOR`, such as `1795385575.317486 [0 127.0.0.1:46986] "EXEC"`.
fn is_monitored(line: &str) -> bool {
    let Some((time, rest)) = line.split_once(' ') else { return false };
    rest.starts_with('[') && time.contains('.') && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_told_from_what_is_shown() {
        assert!(is_monitored("1795385575.317486 [0 127.0.0.1:46986] \"EXEC\""));
        assert!(!is_monitored("OK") && !is_monitored("QUEUED") && !is_monitored("1.5 oranges"));
    }
}
