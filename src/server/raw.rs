//! A connection for many small reads: replies stay the bytes that came, to be compared without being taken apart.

use std::{
    io::{Error as IoError, ErrorKind, Result as IoResult},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use tokio_rustls::TlsConnector;

use super::{Command, RESPONSE_TIMEOUT, Said, Server};
use crate::{
    endpoint::Endpoint,
    error::{Code, Error, Result},
};

/// A server closes connections that are idle for longer than its `timeout`, which is at least a second.
pub const IDLE: Duration = Duration::from_millis(500);

/// How much is read at once.
const READ: usize = 64 << 10;

/// The length of nothing, behind its kind.
const NIL: &[u8] = b"-1\r\n";

/// How much room is kept for the next replies, at most.
const MOST_KEPT: usize = 4 << 20;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The connection.
pub struct Raw {
    server: Server,
    stream: Box<dyn Stream>,
    commands: Commands,
    database: Option<u32>,
    used: Instant,
}

impl Raw {
    /// Connects to the same server and logs in.
    pub async fn open(server: &Server) -> Result<Self> {
        let endpoint = &server.endpoint;
        let connecting = server.run.interruptible(tokio::time::timeout(endpoint.connect_timeout, dial(endpoint)));
        let stream = match connecting.await? {
            Ok(stream) => stream.map_err(|error| error.at(server))?,
            Err(_) => return Err(silent(server, endpoint.connect_timeout)),
        };
        let (mut commands, mut replies) = (Commands::default(), Replies::default());
        let mut raw =
            Raw { server: server.clone(), stream, commands: Commands::default(), database: None, used: Instant::now() };
        if let Some(login) = Command::login(endpoint) {
            commands.add_command(&login);
        }
        commands.add(&[b"CLIENT", b"SETNAME", server.run.client_name.as_bytes()]);
        raw.exchange(&mut commands, &mut replies).await?;
        // Where the account may not set the name, nothing depends on it.
        match replies.refusal(0).filter(|_| endpoint.password.is_some()) {
            Some(said) => Err(raw.refused("AUTH", &said)),
            None => Ok(raw),
        }
    }

    /// Adds a command to those that are sent next.
    pub fn ask(&mut self, words: &[&[u8]]) {
        self.commands.add(words);
    }

    /// The same of a [`Command`].
    pub fn ask_for(&mut self, command: &Command) {
        self.commands.add_command(command);
    }

    /// Sends what was added, and waits for all replies. Over another connection if it was idle for so long that the server may have
    /// closed it.
    pub async fn replies(&mut self) -> Result<Replies> {
        let (mut commands, mut replies) = (std::mem::take(&mut self.commands), Replies::default());
        self.replies_to(&mut commands, &mut replies).await?;
        self.commands = commands;
        Ok(replies)
    }

    /// The same of commands that were put together elsewhere, in the place of earlier replies: the room of both is used again.
    pub async fn replies_to(&mut self, commands: &mut Commands, replies: &mut Replies) -> Result<()> {
        if commands.is_empty() {
            replies.clear();
            return Ok(());
        }
        if self.used.elapsed() >= IDLE {
            let mut renewed = Raw::open(&self.server).await?;
            if let Some(database) = self.database {
                renewed.go_to(database).await?;
            }
            self.stream = renewed.stream;
        }
        self.exchange(commands, replies).await
    }

    async fn exchange(&mut self, commands: &mut Commands, replies: &mut Replies) -> Result<()> {
        replies.clear();
        let stream = &mut self.stream;
        let exchange = async {
            in_time(stream.write_all(&commands.bytes)).await?;
            let mut reading = Reading::default();
            while replies.ends.len() < commands.count {
                replies.bytes.reserve(READ);
                if in_time(stream.read_buf(&mut replies.bytes)).await? == 0 {
                    return Err(IoError::from(ErrorKind::UnexpectedEof));
                }
                while replies.ends.len() < commands.count
                    && let Some(end) = reading.next(&replies.bytes)?
                {
                    replies.ends.push(end);
                }
            }
            Ok(())
        };
        let exchanged = self.server.run.interruptible(exchange).await;
        commands.clear();
        match exchanged? {
            Ok(()) => {
                self.used = Instant::now();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(silent(&self.server, RESPONSE_TIMEOUT)),
            Err(error) => Err(lost(&self.server, &error)),
        }
    }

    /// Selects a database.
    pub async fn select(&mut self, database: u32) -> Result<()> {
        if self.used.elapsed() >= IDLE {
            *self = Raw::open(&self.server).await?;
        }
        self.go_to(database).await
    }

    async fn go_to(&mut self, database: u32) -> Result<()> {
        let mut select = Commands::default();
        select.add(&[b"SELECT", database.to_string().as_bytes()]);
        let mut replies = Replies::default();
        self.exchange(&mut select, &mut replies).await?;
        match replies.refusal(0) {
            Some(said) => Err(self.refused("SELECT", &said)),
            None => {
                self.database = Some(database);
                Ok(())
            }
        }
    }

    /// What a refusal means.
    pub fn refused(&self, command: &str, said: &Said) -> Error {
        self.server.refused(&Command::new([command]), said)
    }

    /// That a reply is none that can be understood.
    pub fn odd(&self) -> Error {
        lost(&self.server, &odd())
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }
}

/// Commands, as they are sent.
#[derive(Default)]
pub struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    /// Adds one.
    pub fn add(&mut self, words: &[&[u8]]) {
        self.count += 1;
        self.head(b'*', words.len());
        for word in words {
            self.head(b'$', word.len());
            self.bytes.extend_from_slice(word);
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    fn head(&mut self, kind: u8, number: usize) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn add_command(&mut self, command: &Command) {
        let words: Vec<&[u8]> = command.words().iter().map(Vec::as_slice).collect();
        self.add(&words);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
}

/// One write or read, which must get on: a long reply may take longer as a whole.
async fn in_time<T>(io: impl Future<Output = IoResult<T>>) -> IoResult<T> {
    tokio::time::timeout(RESPONSE_TIMEOUT, io).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

async fn dial(endpoint: &Endpoint) -> Result<Box<dyn Stream>> {
    let broke = |error: IoError| Error::new(Code::ConnectionLost, format!("can't be reached any more: {error}"));
    if let Some(path) = &endpoint.unix_socket {
        return Ok(Box::new(UnixStream::connect(path).await.map_err(broke)?));
    }
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(broke)?;
    stream.set_nodelay(true).map_err(broke)?;
    let Some(tls) = &endpoint.tls else { return Ok(Box::new(stream)) };
    let (config, name) = super::tls::terms(endpoint, tls)?;
    let session = TlsConnector::from(config).connect(name, stream).await;
    let failed = |error| Error::new(Code::TlsFailed, format!("the TLS handshake failed: {error}"));
    Ok(Box::new(session.map_err(failed)?))
}

fn lost(server: &Server, error: &IoError) -> Error {
    Error::new(Code::ConnectionLost, format!("the connection broke: {error}")).at(server)
}

fn odd() -> IoError {
    IoError::new(ErrorKind::InvalidData, "a reply is none of the protocol")
}

fn silent(server: &Server, given: Duration) -> Error {
    Error::new(Code::ConnectionLost, format!("did not answer within {} seconds", given.as_secs_f64())).at(server)
}

/// Replies as they came, in the order of the commands.
#[derive(Default)]
pub struct Replies {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Replies {
    /// None yet, with room for so many bytes, as far as is sensible.
    pub fn with_room(bytes: usize) -> Self {
        // Room for another read is made before each.
        Replies { bytes: Vec::with_capacity(bytes.min(MOST_KEPT) + READ), ends: Vec::new() }
    }

    /// Bytes of all of them.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(MOST_KEPT);
        self.ends.clear();
    }

    /// The bytes of a reply.
    pub fn of(&self, n: usize) -> &[u8] {
        let start = n.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[n]]
    }

    /// All that the server has refused.
    pub fn refusals(&self) -> impl Iterator<Item = Said> {
        (0..self.ends.len()).filter_map(|n| self.refusal(n))
    }

    /// What the server said instead of doing what it was told.
    pub fn refusal(&self, n: usize) -> Option<Said> {
        let text = self.of(n).strip_prefix(b"-")?;
        let text = String::from_utf8_lossy(line(text)).into_owned();
        Some(Said { word: text.split(' ').next().unwrap_or_default().to_owned(), text })
    }
}

/// The first line of a reply, without its end.
fn line(reply: &[u8]) -> &[u8] {
    reply.split(|byte| *byte == b'\r').next().unwrap_or_default()
}

/// A whole number; none for another reply.
pub fn number(reply: &[u8]) -> Option<i64> {
    decimal(line(reply).strip_prefix(b":")?)
}

/// So many digits are never too large.
const FEW: usize = 18;

/// A number in digits: this is asked for each element of each reply.
fn decimal(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > FEW {
        return std::str::from_utf8(text).ok()?.parse().ok().filter(|_| text[0] != b'+');
    }
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = 10 * number + i64::from(digit - b'0');
    }
    Some(if negative { -number } else { number })
}

/// The text of a status or bulk reply; none for nil, and for another reply.
pub fn bulk(reply: &[u8]) -> Option<&[u8]> {
    match reply.first()? {
        b'+' => line(reply).get(1..),
        b'$' => {
            let head = line(reply);
            let length = usize::try_from(decimal(&head[1..])?).ok()?;
            reply.get(head.len() + 2..)?.get(..length)
        }
        _ => None,
    }
}

/// The text of a word in a reply: a number's digits, and nothing of nil, which keeps its place among others.
pub fn word(reply: &[u8]) -> &[u8] {
    match reply {
        [b':', ..] => &line(reply)[1..],
        _ => bulk(reply).unwrap_or_default(),
    }
}

/// How many elements an array has; 0 for another reply.
pub fn length(reply: &[u8]) -> usize {
    let digits = line(reply).strip_prefix(b"*").and_then(decimal);
    digits.and_then(|length| usize::try_from(length).ok()).unwrap_or(0)
}

/// The elements of an array, each as a reply of its own; none of another reply.
pub fn elements(reply: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_array = reply.first() == Some(&b'*');
    let mut reading = Reading { at: if is_array { line(reply).len() + 2 } else { reply.len() }, left: 0 };
    std::iter::from_fn(move || {
        let start = reading.at;
        match start < reply.len() {
            true => reading.next(reply).ok()?.map(|end| &reply[start..end]),
            false => None,
        }
    })
}

/// How far the replies in a buffer were looked through.
#[derive(Default)]
struct Reading {
    at: usize,
    /// Values that the reply at hand still lacks.
    left: u64,
}

impl Reading {
    /// Where the next reply ends; none if it has not come in full.
    fn next(&mut self, bytes: &[u8]) -> IoResult<Option<usize>> {
        self.left = self.left.max(1);
        while self.left > 0 {
            let Some(kind) = bytes.get(self.at) else { return Ok(None) };
            self.at = match kind {
                b'+' | b'-' | b':' => match bytes[self.at..].iter().position(|byte| *byte == b'\n') {
                    Some(length) => self.at + length + 1,
                    None => return Ok(None),
                },
                b'$' => {
                    let Some((length, next)) = counted(bytes, self.at)? else { return Ok(None) };
                    let text = match usize::try_from(length) {
                        Ok(length) => length.checked_add(2).and_then(|text| next.checked_add(text)).ok_or_else(odd)?,
                        Err(_) => next, // nil
                    };
                    if bytes.len() < text {
                        return Ok(None);
                    }
                    text
                }
                b'*' => {
                    let Some((length, next)) = counted(bytes, self.at)? else { return Ok(None) };
                    self.left = self.left.saturating_add(u64::try_from(length).unwrap_or(0));
                    next
                }
                _ => return Err(odd()),
            };
            self.left -= 1;
        }
        Ok(Some(self.at))
    }
}

/// The number in the line that begins there after its kind, and where the next line begins, if all of it has come. There is
/// one for each element of each reply, so that it is read in one pass.
fn counted(bytes: &[u8], at: usize) -> IoResult<Option<(i64, usize)>> {
    let text = &bytes[at + 1..];
    if text.first() == Some(&b'-') {
        let come = &text[..text.len().min(NIL.len())];
        let number = (come == NIL).then_some((-1, at + 1 + NIL.len()));
        return if NIL.starts_with(come) { Ok(number) } else { Err(odd()) };
    }
    let mut number = 0_i64;
    for (n, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' if n < FEW => number = 10 * number + i64::from(byte - b'0'),
            b'\r' if n > 0 => match text.get(n + 1) {
                Some(b'\n') => return Ok(Some((number, at + n + 3))),
                Some(_) => return Err(odd()),
                None => return Ok(None),
            },
            _ => return Err(odd()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REPLIES: &[u8] = b"+OK\r\n$-1\r\n*2\r\n$3\r\na\nb\r\n*2\r\n:1\r\n*0\r\n-ERR no\r\n*-1\r\n$0\r\n\r\n";

    fn ends(bytes: &[u8], pieces: &[usize]) -> Vec<usize> {
        let mut reading = Reading::default();
        let mut found = Vec::new();
        for upto in pieces {
            while let Ok(Some(end)) = reading.next(&bytes[..*upto]) {
                found.push(end);
                if end == *upto {
                    break;
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn replies_are_told_apart_wherever_they_are_cut(mut cuts in prop::collection::vec(0..REPLIES.len(), 0..8)) {
            cuts.sort_unstable();
            cuts.push(REPLIES.len());
            prop_assert_eq!(ends(REPLIES, &cuts), ends(REPLIES, &[REPLIES.len()]));
            prop_assert_eq!(ends(REPLIES, &cuts).len(), 6);
        }

        #[test]
        fn whatever_comes_is_no_panic(bytes in prop::collection::vec(prop::sample::select(b"*$+-:0129\r\nx".to_vec()), 0..64)) {
            let mut reading = Reading::default();
            for _ in 0..100 {
                match reading.next(&bytes) {
                    Ok(Some(_)) => {}
                    _ => break,
                }
            }
            word(&bytes);
            elements(&bytes).count();
            bulk(&bytes);
            number(&bytes);
        }
    }

    #[test]
    fn a_word_is_its_text() {
        let reply = b"*5\r\n$1\r\na\r\n:-7\r\n$-1\r\n*-1\r\n+b\r\n";
        let words: Vec<_> = elements(reply).map(word).collect();
        assert_eq!(words, [&b"a"[..], b"-7", b"", b"", b"b"]);
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_std_does(text in "-?[0-9]{0,20}x?") {
            prop_assert_eq!(decimal(text.as_bytes()), text.parse().ok());
        }
    }

    #[test]
    fn elements_are_replies() {
        let reply = b"*3\r\n$3\r\na\nb\r\n*2\r\n:1\r\n*0\r\n:-7\r\n";
        let elements: Vec<_> = elements(reply).collect();
        assert_eq!(elements.len(), 3);
        assert_eq!((bulk(elements[0]), number(elements[2])), (Some(&b"a\nb"[..]), Some(-7)));
        assert_eq!(
            (bulk(b"+string\r\n"), bulk(b"$-1\r\n"), bulk(b"$0\r\n\r\n")),
            (Some(&b"string"[..]), None, Some(&b""[..]))
        );
    }
}
