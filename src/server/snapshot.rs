//! Everything that a server holds at one moment, asked for as a replica would.
//!
//! The server forks, and its child sends an RDB: its main thread serves on. From 7.0 on it is told that the RDB is all we
//! want; before, we hang up once it has ended. Nothing is left on the server either way: it forgets a replica whose
//! connection has ended, and a child that nobody listens to any more.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use rustls::StreamOwned;

use super::{Command, Said, Server, tls};
use crate::{
    error::{Code, Error, Result},
    rdb::{self, Content, Problem, Seed, Unreadable},
};

/// How long a server may send nothing: while it prepares, it sends an empty line each second.
const SILENCE: Duration = Duration::from_secs(30);

/// The least that it must send a second on the whole, and how long it has to prepare: a save that goes on may have to end first.
const SLOWEST: u64 = 1 << 20;
const PREPARATION: Duration = Duration::from_secs(60);

/// A reader that is woken for every few kilobytes takes the processor from the server that sends them and from its clients: when it
/// has read all there was, it rests.
const REST: Duration = Duration::from_micros(300);

/// The longest line that is a reply.
const LONGEST_LINE: u64 = 4096;

/// What we say as a replica. A server that does not know one of these refuses it, and that is fine: `capa eof` lets it send without
/// writing a file first, the version lets Valkey send what only newer ones can hold, `rdb-only` says when to stop.
const INTRODUCTION: [[&str; 3]; 3] =
    [["REPLCONF", "capa", "eof"], ["REPLCONF", "version", "255.255.255"], ["REPLCONF", "rdb-only", "1"]];

/// A moment in a server's life, the same one on a master and its replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The replication history.
    pub history: String,
    /// The offset in it.
    pub offset: u64,
}

/// Takes what a server holds. It is called where it may take its time.
pub trait Collector: Send + 'static {
    /// The moment is there.
    fn begun(&mut self);
    /// A key: its hash, and what it holds.
    fn key(&mut self, key: u64, content: Content);
    /// That was all.
    fn ended(&mut self);
}

impl Server {
    /// Hands all it holds at one moment to `collector`. To drop the future hangs up.
    pub async fn snapshot<C: Collector>(&self, seed: Seed, mut collector: C) -> Result<(Moment, C)> {
        let socket = self.run.interruptible(tokio::time::timeout(self.endpoint.connect_timeout, self.dial()));
        let socket = match socket.await? {
            Ok(dialed) => dialed.map_err(|e| self.broke(&e))?,
            Err(_) => return Err(super::silent(&self.endpoint).at(self)),
        };
        let hangup = Hangup(socket.try_clone().map_err(|e| self.broke(&e))?);
        let server = self.clone();
        let patience = PREPARATION + Duration::from_secs(self.used_memory().await? / SLOWEST);
        let reading = tokio::task::spawn_blocking(move || {
            let moment = server.read_snapshot(socket, seed, &mut collector)?;
            collector.ended();
            Ok((moment, collector))
        });
        let read = self.run.interruptible(tokio::time::timeout(patience, reading)).await;
        drop(hangup);
        match read? {
            Ok(read) => {
                read.map_err(|e| Error::new(Code::ConnectionLost, format!("reading its data ended: {e}")).at(self))?
            }
            Err(_) => Err(Error::new(
                Code::ConnectionLost,
                format!("has not sent all of its data within {} seconds", patience.as_secs()),
            )
            .remedy("see whether it saves or rewrites its AOF all the time, or compare by reads")
            .at(self)),
        }
    }

    async fn used_memory(&self) -> Result<u64> {
        let used = self.info("memory").await?.number("used_memory");
        Ok(used.unwrap_or_default())
    }

    async fn dial(&self) -> io::Result<Socket> {
        let socket = match &self.endpoint.unix_socket {
            Some(path) => Socket::Unix(tokio::net::UnixStream::connect(path).await?.into_std()?),
            None => {
                let address = (self.endpoint.host.as_str(), self.endpoint.port);
                Socket::Tcp(tokio::net::TcpStream::connect(address).await?.into_std()?)
            }
        };
        socket.block()?;
        Ok(socket)
    }

    fn read_snapshot(&self, socket: Socket, seed: Seed, collector: &mut impl Collector) -> Result<Moment> {
        let socket = Resting { socket, emptied: false };
        let stream: Box<dyn Stream> = match &self.endpoint.tls {
            Some(tls) => {
                let session = tls::session(&self.endpoint, tls).map_err(|e| e.at(self))?;
                Box::new(StreamOwned::new(session, socket))
            }
            None => Box::new(socket),
        };
        let mut line = Line(BufReader::new(stream));
        self.introduce(&mut line)?;
        let psync = Command::new(["PSYNC", "?", "-1"]);
        let reply = self.asked(&mut line, &psync)?;
        let moment = match reply.split(' ').collect::<Vec<_>>()[..] {
            ["+FULLRESYNC", history, offset] => {
                offset.parse().ok().map(|offset| Moment { history: history.to_owned(), offset })
            }
            _ => None,
        };
        let moment = moment.ok_or_else(|| self.not_understood(&reply))?;
        collector.begun();
        let head = line.next().map_err(|e| self.broke(&e))?;
        let frame = self.frame(&head)?;
        let mut tail = rdb::read(&mut line.0, seed, |key, content| collector.key(key, content))
            .map_err(|e| self.unreadable(&e))?;
        match frame {
            Frame::Length(length) if length == tail.offset() => {}
            Frame::Length(_) => return Err(self.unreadable(&tail.wrong_end())),
            Frame::Marker(marker) => match tail.take() {
                Ok(end) if end == marker => {}
                Ok(_) => return Err(self.unreadable(&tail.wrong_end())),
                Err(error) => return Err(self.unreadable(&error)),
            },
        }
        Ok(moment)
    }

    fn introduce(&self, line: &mut Line) -> Result<()> {
        if let Some(login) = Command::login(&self.endpoint) {
            self.asked(line, &login)?;
        }
        for words in INTRODUCTION {
            let command = Command::new(words);
            match line.ask(&command).map_err(|e| self.broke(&e))? {
                Ok(_) => {}
                // An option that it does not know.
                Err(said) if said.word == "ERR" => {}
                Err(said) => return Err(self.may_not(&command, &said)),
            }
        }
        Ok(())
    }

    fn asked(&self, line: &mut Line, command: &Command) -> Result<String> {
        line.ask(command).map_err(|e| self.broke(&e))?.map_err(|said| self.may_not(command, &said))
    }

    fn may_not(&self, command: &Command, said: &Said) -> Error {
        let error = self.refused(command, said);
        match said.word.as_str() {
            "NOPERM" => error.remedy("grant it +psync and +replconf, or compare by reads"),
            "NOMASTERLINK" => error.remedy("it follows nobody now: wait until its link is up"),
            _ => error,
        }
    }

    /// `$EOF:` and 40 characters that come again at the end, or `$` and the length.
    fn frame(&self, head: &str) -> Result<Frame> {
        if let Some(error) = head.strip_prefix('-') {
            return Err(Error::new(Code::CommandFailed, format!("could not send its data: {error}")).at(self));
        }
        let frame = match head.strip_prefix("$EOF:") {
            Some(marker) => marker.as_bytes().try_into().ok().map(Frame::Marker),
            None => head.strip_prefix('$').and_then(|length| length.parse().ok()).map(Frame::Length),
        };
        frame.ok_or_else(|| self.not_understood(head))
    }

    fn not_understood(&self, reply: &str) -> Error {
        let shown: String = reply.chars().take(60).collect();
        Error::new(Code::StreamUnreadable, format!("answered {shown:?} to a replica")).at(self)
    }

    fn broke(&self, error: &io::Error) -> Error {
        let found = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("sent nothing for {} seconds while it sent its data", SILENCE.as_secs())
            }
            _ => format!("the connection broke while it sent its data: {error}"),
        };
        Error::new(Code::ConnectionLost, found).at(self)
    }

    fn unreadable(&self, error: &Unreadable) -> Error {
        match &error.problem {
            Problem::Io(io) => self.broke(io),
            Problem::Short => {
                let found = format!("ended the connection after {} bytes of its data", error.offset);
                Error::new(Code::ConnectionLost, found).remedy("see its log, and compare again").at(self)
            }
            _ => Error::new(Code::StreamUnreadable, format!("its data can't be read {error}"))
                .remedy("compare by reads")
                .at(self),
        }
    }
}

/// How the end of the RDB is told.
enum Frame {
    Length(u64),
    Marker([u8; 40]),
}

/// Ends the connection, and with it whatever waits for it.
struct Hangup(Socket);

impl Drop for Hangup {
    fn drop(&mut self) {
        let _ = match &self.0 {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn block(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => {
                socket.set_nonblocking(false)?;
                socket.set_read_timeout(Some(SILENCE))?;
                socket.set_write_timeout(Some(SILENCE))
            }
            Socket::Unix(socket) => {
                socket.set_nonblocking(false)?;
                socket.set_read_timeout(Some(SILENCE))?;
                socket.set_write_timeout(Some(SILENCE))
            }
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Socket::Tcp(socket) => Socket::Tcp(socket.try_clone()?),
            Socket::Unix(socket) => Socket::Unix(socket.try_clone()?),
        })
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.flush(),
            Socket::Unix(socket) => socket.flush(),
        }
    }
}

/// A connection whose reader rests when it has read all there was.
struct Resting {
    socket: Socket,
    /// Whether the last read found less than it would have taken.
    emptied: bool,
}

impl Read for Resting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.emptied {
            thread::sleep(REST);
        }
        let read = self.socket.read(buffer)?;
        self.emptied = read < buffer.len();
        Ok(read)
    }
}

impl Write for Resting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A connection that is spoken to line by line.
struct Line(BufReader<Box<dyn Stream>>);

impl Line {
    fn ask(&mut self, command: &Command) -> io::Result<Result<String, Said>> {
        let stream = self.0.get_mut();
        stream.write_all(&command.packed().get_packed_command())?;
        stream.flush()?;
        let reply = self.next()?;
        Ok(match reply.strip_prefix('-') {
            Some(text) => {
                let word = text.split(' ').next().unwrap_or_default().to_owned();
                Err(Said { word, text: text.to_owned() })
            }
            None => Ok(reply),
        })
    }

    /// The next line that is not empty.
    fn next(&mut self) -> io::Result<String> {
        loop {
            let mut line = Vec::new();
            self.0.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\r', '\n']);
            if !text.is_empty() {
                return Ok(text.to_owned());
            }
        }
    }
}
