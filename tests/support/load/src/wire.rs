//! One blocking connection and as much of the protocol (RESP2) as the load needs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a read blocks before it is asked whether to go on waiting.
const PATIENCE: Duration = Duration::from_millis(50);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const CRLF: &[u8] = b"\r\n";

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK` and its like.
    Status(Vec<u8>),
    /// An error, with its text.
    Error(String),
    /// A number.
    Integer(i64),
    /// A value; none if there is no such key.
    Bulk(Option<Vec<u8>>),
    /// Several replies in one.
    Array(Vec<Reply>),
}

/// A connection to a server.
pub struct Connection {
    stream: TcpStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    consumed: usize,
}

impl Connection {
    /// Connects to the first of the addresses that accepts.
    pub fn open(addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut outcome = Err(ErrorKind::AddrNotAvailable.into());
        for address in addresses {
            outcome = TcpStream::connect_timeout(address, CONNECT_TIMEOUT);
            if outcome.is_ok() {
                break;
            }
        }
        let stream = outcome?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, outgoing: Vec::new(), incoming: Vec::new(), consumed: 0 })
    }

    /// Sends one command and waits for its reply, until `give_up` says so.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W], give_up: &dyn Fn() -> bool) -> io::Result<Reply> {
        self.outgoing.clear();
        write!(self.outgoing, "*{}\r\n", words.len())?;
        for word in words.iter().map(AsRef::as_ref) {
            write!(self.outgoing, "${}\r\n", word.len())?;
            self.outgoing.extend_from_slice(word);
            self.outgoing.extend_from_slice(CRLF);
        }
        self.stream.write_all(&self.outgoing)?;
        let reply = self.reply(give_up)?;
        self.incoming.clear(); // one command, one reply: nothing can be left
        self.consumed = 0;
        Ok(reply)
    }

    fn reply(&mut self, give_up: &dyn Fn() -> bool) -> io::Result<Reply> {
        let line = self.line(give_up)?;
        let (kind, rest) = line.split_first().ok_or(ErrorKind::InvalidData)?;
        Ok(match kind {
            b'+' => Reply::Status(rest.to_vec()),
            b'-' => Reply::Error(String::from_utf8_lossy(rest).into_owned()),
            b':' => Reply::Integer(number(rest)?),
            b'$' => Reply::Bulk(match usize::try_from(number(rest)?) {
                Ok(length) => Some(self.bytes(length, give_up)?),
                Err(_) => None,
            }),
            b'*' => Reply::Array((0..number(rest)?).map(|_| self.reply(give_up)).collect::<io::Result<_>>()?),
            _ => return Err(ErrorKind::InvalidData.into()),
        })
    }

    fn line(&mut self, give_up: &dyn Fn() -> bool) -> io::Result<Vec<u8>> {
        let mut searched = self.consumed;
        loop {
            if let Some(at) = self.incoming[searched..].windows(2).position(|pair| pair == CRLF) {
                let line = self.incoming[self.consumed..searched + at].to_vec();
                self.consumed = searched + at + CRLF.len();
                return Ok(line);
            }
            searched = self.incoming.len().saturating_sub(1).max(self.consumed);
            self.receive(give_up)?;
        }
    }

    fn bytes(&mut self, length: usize, give_up: &dyn Fn() -> bool) -> io::Result<Vec<u8>> {
        let end = self.consumed + length;
        while self.incoming.len() < end + CRLF.len() {
            self.receive(give_up)?;
        }
        let bytes = self.incoming[self.consumed..end].to_vec();
        self.consumed = end + CRLF.len();
        Ok(bytes)
    }

    fn receive(&mut self, give_up: &dyn Fn() -> bool) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::ConnectionReset.into()),
                Ok(length) => {
                    self.incoming.extend_from_slice(&chunk[..length]);
                    return Ok(());
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut if !give_up() => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

fn number(text: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(text).map_err(|_| ErrorKind::InvalidData)?;
    text.parse().map_err(|_| ErrorKind::InvalidData.into())
}
