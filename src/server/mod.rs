//! One typed connection to one server: the only place where commands leave this crate.
//!
//! Reading goes through [`Server::read`] and friends, changing through [`Server::change`]: that notes the
//! command for `actions`, masks its secrets, and in a dry run does not send it.

pub mod acl;
pub mod client_list;
pub mod command;
pub mod config;
pub mod config_file;
pub mod files;
pub mod guest;
pub mod info;
mod lock;
pub mod monitor;
pub mod raw;
pub mod snapshot;
mod tls;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use redis::{AsyncConnectionConfig, ErrorKind, RedisError, Value, aio::MultiplexedConnection};

pub use crate::side::Side;
pub use command::Command;
use info::{Identity, Info, Replication};
pub use wire::Wire;

use crate::{
    endpoint::Endpoint,
    error::{Code, Error, Result, State},
    journal::Handover,
    run::Run,
};

/// How long one command may take to be answered before the connection counts as lost.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the server said instead of doing what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The first word, such as `NOPERM`.
    pub word: String,
    /// The whole text.
    pub text: String,
}

/// A server that has let us in.
#[derive(Clone)]
pub struct Server {
    /// Which of the two it is; of another replica, whose it is. Of one that is alone it says nothing.
    pub side: Side,
    /// What it is called in messages.
    pub called: &'static str,
    /// Where it was reached, with the login that it accepted.
    pub endpoint: Endpoint,
    /// Who it is.
    pub identity: Identity,
    /// The run id that the journal knows it by, where it was restarted since.
    pub former_run_id: Option<String>,
    /// The server's number for this connection.
    pub connection_id: u64,
    /// The call this connection belongs to.
    pub run: Arc<Run>,
    connection: MultiplexedConnection,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.called, self.endpoint)
    }
}

impl Server {
    /// Connects, logs in and asks the server who it is.
    pub async fn connect(run: &Arc<Run>, side: Side, endpoint: &Endpoint) -> Result<Self> {
        Self::connect_as(run, side, side.as_str(), endpoint).await
    }

    /// The same, to one that is alone: messages call it `server`.
    pub async fn connect_alone(run: &Arc<Run>, endpoint: &Endpoint) -> Result<Self> {
        Self::connect_as(run, Side::Source, "server", endpoint).await
    }

    /// Connects to a sentinel, which has no data and nothing more to say of itself.
    pub async fn connect_sentinel(run: &Arc<Run>, endpoint: &Endpoint) -> Result<Self> {
        run.interruptible(Self::enter(run, Side::Source, "sentinel", endpoint)).await?
    }

    async fn connect_as(run: &Arc<Run>, side: Side, called: &'static str, endpoint: &Endpoint) -> Result<Self> {
        let opening =
            run.interruptible(tokio::time::timeout(endpoint.connect_timeout, Self::open(run, side, called, endpoint)));
        match opening.await? {
            Ok(Err(error))
                if error.code == Code::TlsFailed && endpoint.tls.is_none() && endpoint.unix_socket.is_none() =>
            {
                match why_not(endpoint).await {
                    Some(why) => Err(why.at(format_args!("{called} {endpoint}"))),
                    None => Err(error),
                }
            }
            Ok(server) => server,
            Err(_) => Err(silent(endpoint).at(format_args!("{called} {endpoint}"))),
        }
    }

    /// Comes as a client would, for one command, without asking who is there.
    pub async fn visit(run: &Arc<Run>, side: Side, endpoint: &Endpoint, command: &Command) -> Result<()> {
        let visit = async {
            let server = Self::enter(run, side, side.as_str(), endpoint).await?;
            server.read(command).await.map(drop)
        };
        match run.interruptible(tokio::time::timeout(endpoint.connect_timeout, visit)).await? {
            Ok(done) => done,
            Err(_) => Err(silent(endpoint).at(format_args!("{} {endpoint}", side.as_str()))),
        }
    }

    /// Connects and logs in.
    async fn enter(run: &Arc<Run>, side: Side, called: &'static str, endpoint: &Endpoint) -> Result<Self> {
        let at = format!("{called} {endpoint}");
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = endpoint
            .client()
            .map_err(|e| e.at(&at))?
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|e| not_connected(&e, endpoint).at(&at))?;
        let mut server = Server {
            side,
            called,
            endpoint: endpoint.clone(),
            identity: Identity::default(),
            former_run_id: None,
            connection_id: 0,
            run: Arc::clone(run),
            connection,
        };
        server.log_in().await?;
        Ok(server)
    }

    async fn open(run: &Arc<Run>, side: Side, called: &'static str, endpoint: &Endpoint) -> Result<Self> {
        let mut server = Self::enter(run, side, called, endpoint).await?;
        let at = server.to_string();
        // A name makes us visible to whoever looks, and tells our own connections from the application's.
        // Where the account may not set it, nothing depends on it.
        let name = Command::new(["CLIENT", "SETNAME", run.client_name]);
        let id = Command::new(["CLIENT", "ID"]);
        let mut replies = server.pipeline(&[name, id, Command::new(["INFO"])]).await?;
        let info = match replies.pop() {
            Some(Ok(value)) => Info::parse(&text(&value).map_err(|_| not_redis(&server.endpoint).at(&at))?),
            Some(Err(said)) => return Err(server.refused(&Command::new(["INFO"]), &said)),
            None => return Err(not_redis(&server.endpoint).at(&at)),
        };
        server.identity = Identity::from(&info).ok_or_else(|| not_redis(&server.endpoint).at(&at))?;
        if let Some(Ok(Value::Int(id))) = replies.pop() {
            server.connection_id = id.unsigned_abs();
        }
        Ok(server)
    }

    async fn log_in(&mut self) -> Result<()> {
        let Some(command) = Command::login(&self.endpoint) else { return Ok(()) };
        match self.ask(&command).await? {
            Ok(_) => Ok(()),
            Err(said) => Err(self.refused(&command, &said)),
        }
    }

    /// The same connection, known to be that side's of a handover.
    pub fn on(self, side: Side, handover: &Handover) -> Self {
        let id = handover.run_id(side);
        Server {
            side,
            called: side.as_str(),
            former_run_id: (id != self.identity.run_id).then(|| id.to_owned()),
            ..self
        }
    }

    /// The same connection, to a replica that is neither of the two.
    pub fn as_replica(self) -> Self {
        Server { called: "replica", ..self }
    }

    /// The same connection, whose commands another context notes.
    pub fn noted_by(&self, run: &Arc<Run>) -> Self {
        Server { run: Arc::clone(run), ..self.clone() }
    }

    /// The names that the journal may know it by.
    pub fn run_ids(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.identity.run_id).chain(&self.former_run_id)
    }

    /// A connection of its own to the same server.
    pub async fn reconnect(&self) -> Result<Self> {
        Self::connect(&self.run, self.side, &self.endpoint).await
    }

    /// Sends commands in one go and returns each one's reply, or what the server said against it.
    pub async fn pipeline(&self, commands: &[Command]) -> Result<Vec<Result<Value, Said>>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.packed());
        }
        let mut connection = self.connection.clone();
        let replies = self
            .run
            .interruptible(connection.send_packed_commands(&pipeline, 0, commands.len()))
            .await?
            .map_err(|e| self.lost(&e))?;
        Ok(replies.into_iter().map(said).collect())
    }

    /// Sends one command: its reply, or what the server said against it.
    pub async fn ask(&self, command: &Command) -> Result<Result<Value, Said>> {
        let mut replies = self.pipeline(std::slice::from_ref(command)).await?;
        replies.pop().ok_or_else(|| Error::new(Code::ConnectionLost, "sent no reply").at(self))
    }

    /// Sends one command that changes nothing; what the server says against it is an error.
    pub async fn read(&self, command: &Command) -> Result<Value> {
        self.ask(command).await?.map_err(|said| self.refused(command, &said))
    }

    /// Sends one command that changes the server; in a dry run it is only noted.
    pub async fn change(&self, command: &Command) -> Result<()> {
        self.change_all(std::slice::from_ref(command)).await
    }

    /// Sends commands that change the server in one go: also what comes after one that is refused is carried out.
    pub async fn change_all(&self, commands: &[Command]) -> Result<()> {
        let replies = match self.run.dry {
            true => vec![Ok(Value::Okay); commands.len()],
            false => self.pipeline_of_changes(commands).await?,
        };
        let some_done = replies.iter().any(Result::is_ok);
        let mut refused = None;
        for (command, reply) in commands.iter().zip(replies) {
            match reply {
                Ok(_) => self.run.action(format!("{self}: {command}")),
                Err(said) => refused = refused.or_else(|| Some(self.refused(command, &said))),
            }
        }
        match refused {
            Some(error) if some_done => Err(error.state(State::Interrupted)),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Sends commands that change the server in one transaction.
    pub async fn change_together(&self, commands: &[Command]) -> Result<()> {
        let mut all = vec![Command::new(["MULTI"])];
        all.extend_from_slice(commands);
        all.push(Command::new(["EXEC"]));
        let replies = if self.run.dry { Vec::new() } else { self.pipeline_of_changes(&all).await? };
        let mut executed = Vec::new();
        for (command, reply) in all.iter().zip(replies) {
            executed = elements(reply.map_err(|said| self.refused(command, &said))?);
        }
        let text: Vec<_> = all.iter().map(ToString::to_string).collect();
        self.run.action(format!("{self}: {}", text.join("; ")));
        for (command, reply) in commands.iter().zip(executed) {
            said(reply).map_err(|said| self.refused(command, &said).state(State::Interrupted))?;
        }
        Ok(())
    }

    /// Without an answer nobody knows whether they were carried out.
    async fn pipeline_of_changes(&self, commands: &[Command]) -> Result<Vec<Result<Value, Said>>> {
        self.pipeline(commands).await.map_err(|lost| lost.state(State::Interrupted))
    }

    /// `INFO` with every section that the server gives by default, or one of them.
    pub async fn info(&self, section: &str) -> Result<Info> {
        let value = self.read(&Command::info(section)).await?;
        Ok(Info::parse(&text(&value).map_err(|e| e.at(self))?))
    }

    /// A page of the selected database's names with the cursor of the next one; none at the end.
    pub async fn scan(&self, cursor: &str, count: usize) -> Result<(Option<String>, Vec<Vec<u8>>)> {
        let page = elements(self.read(&Command::new(["SCAN", cursor, "COUNT", &count.to_string()])).await?);
        let Ok([next, names]) = <[Value; 2]>::try_from(page) else {
            return Err(Error::new(Code::ConnectionLost, "sent no page as a reply to SCAN").at(self));
        };
        let next = text(&next).map_err(|e| e.at(self))?;
        let names = elements(names).into_iter().filter_map(|name| match name {
            Value::BulkString(name) => Some(name),
            _ => None,
        });
        Ok(((next != "0").then_some(next), names.collect()))
    }

    /// `INFO replication`, typed.
    pub async fn replication(&self) -> Result<Replication> {
        Ok(Replication::from(&self.info("replication").await?))
    }

    /// What a refusal means for the step that sent the command.
    pub fn refused(&self, command: &Command, said: &Said) -> Error {
        let error = match said.word.as_str() {
            "NOAUTH" | "WRONGPASS" => Error::new(Code::AuthFailed, format!("the login was refused: {}", said.text))
                .remedy("give the user and the password this server knows"),
            "ERR" if command.name() == "AUTH" => {
                Error::new(Code::AuthFailed, format!("the login was refused: {}", said.text))
            }
            "NOPERM" => {
                // A denied command is named by the server, but with keys and channels it says only that.
                let missing = match said.text.as_str() {
                    text if text.contains("permissions to run") => command.rule(),
                    text if text.contains("channel") => "that channel".to_owned(),
                    _ => "those keys".to_owned(),
                };
                Error::new(Code::PermissionDenied, format!("user {} may not run {command}: {}", self.user(), said.text))
                    .remedy(format!("allow it {missing} (ACL SETUSER {}), or give another user", self.user()))
            }
            "LOADING" => Error::new(Code::Loading, "is loading its data set").remedy("wait until it has finished"),
            "BUSY" => Error::new(Code::CommandFailed, "is busy with a script or function")
                .remedy("wait for it, or end it with SCRIPT KILL or FUNCTION KILL"),
            "DENIED" => protected(),
            "ERR" if said.text.contains("unknown command") => {
                Error::new(Code::PermissionDenied, format!("does not know {}", command.called()))
                    .remedy("what was renamed or disabled (rename-command) must have its name")
            }
            _ => Error::new(Code::CommandFailed, format!("refused {command}: {}", said.text)),
        };
        error.at(self)
    }

    /// The account we are logged in as.
    pub fn user(&self) -> &str {
        self.endpoint.user.as_deref().unwrap_or("default")
    }

    fn lost(&self, error: &RedisError) -> Error {
        let found = if error.is_timeout() {
            format!("did not answer within {} seconds", RESPONSE_TIMEOUT.as_secs())
        } else {
            format!("the connection broke: {error}")
        };
        let error = match error.kind() {
            // A plain connection to a TLS port ends like this, at its first command.
            ErrorKind::Parse if self.identity.run_id.is_empty() => tls_mismatch(&self.endpoint),
            _ if self.identity.run_id.is_empty() && self.endpoint.tls.is_some() && error.is_connection_dropped() => {
                // The handshake was done: from TLS 1.3 on the server looks at our certificate only afterwards.
                Error::new(Code::TlsFailed, "ended the connection right after the TLS handshake: it may want a client certificate, or another one")
                    .remedy("give client_cert_file and client_key_file")
            }
            _ if self.identity.run_id.is_empty() && error.is_connection_dropped() => tls_mismatch(&self.endpoint),
            _ => Error::new(Code::ConnectionLost, found),
        };
        error.at(self)
    }
}

fn not_connected(error: &RedisError, endpoint: &Endpoint) -> Error {
    let text = error.to_string();
    let lower = text.to_lowercase();
    if lower.contains("lookup") || lower.contains("name or service") || lower.contains("resolve") {
        return Error::new(Code::HostUnknown, format!("the host name {:?} does not resolve", endpoint.host));
    }
    if endpoint.tls.is_some() && !error.is_connection_refusal() {
        let plain = lower.contains("invalidcontenttype") || lower.contains("corrupt message") || lower.contains("eof");
        return if plain {
            tls_mismatch(endpoint)
        } else {
            Error::new(Code::TlsFailed, format!("the TLS handshake failed: {text}"))
                .remedy("check ca_certs, the certificate's names and the client certificate")
        };
    }
    if error.is_connection_refusal() {
        return Error::new(Code::Unreachable, "nothing listens there")
            .remedy("check host and port, and that the server runs");
    }
    Error::new(Code::NoAnswer, format!("can't be reached: {text}")).remedy("check host, port and the way there")
}

fn silent(endpoint: &Endpoint) -> Error {
    let seconds = endpoint.connect_timeout.as_secs_f64();
    if endpoint.tls.is_some() {
        return Error::new(Code::TlsFailed, format!("did not answer the TLS handshake within {seconds} seconds"))
            .remedy("is it a TLS port? If not, leave TLS out");
    }
    Error::new(Code::NoAnswer, format!("did not answer within {seconds} seconds"))
        .remedy("check host, port and firewall; a TLS port needs TLS")
}

fn tls_mismatch(endpoint: &Endpoint) -> Error {
    if endpoint.tls.is_some() {
        Error::new(Code::TlsFailed, "does not speak TLS on this port").remedy("leave TLS out, or give the TLS port")
    } else {
        Error::new(Code::TlsFailed, "ended the connection at the first command, as a TLS port does")
            .remedy("if it is a TLS port, ask for TLS")
    }
}

/// Why what listens there hangs up before our first command is answered: the redis crate only says that the connection broke.
/// None where it may be a TLS port.
async fn why_not(endpoint: &Endpoint) -> Option<Error> {
    const TLS_ALERT: u8 = 0x15;
    let heard = async |stream: &mut TcpStream, within: Duration| {
        let mut words = vec![0; 256];
        let read = tokio::time::timeout(within, stream.read(&mut words)).await.ok()?.ok()?;
        words.truncate(read);
        Some(words).filter(|words| !words.is_empty())
    };
    let look = async {
        let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.ok()?;
        // Who is turned away is told so at once. To write before that is read would lose it.
        if let Some(words) = heard(&mut stream, Duration::from_millis(100)).await {
            return Some(words);
        }
        stream.write_all(b"PING\r\n").await.ok()?;
        heard(&mut stream, Duration::from_millis(300)).await
    };
    let words = tokio::time::timeout(Duration::from_millis(500), look).await.ok()??;
    match words.as_slice() {
        [b'-', b'D', b'E', b'N', b'I', b'E', b'D', ..] => Some(protected()),
        [b'-', rest @ ..] if rest.starts_with(b"ERR max number of clients") => Some(
            Error::new(Code::NoAnswer, "takes no more clients (maxclients)")
                .remedy("raise maxclients on it, or close connections"),
        ),
        [b'+' | b'-' | TLS_ALERT, ..] => None,
        _ => Some(not_redis(endpoint)),
    }
}

fn not_redis(endpoint: &Endpoint) -> Error {
    Error::new(Code::NotRedis, format!("what answers at {endpoint} is neither Redis nor Valkey"))
}

fn protected() -> Error {
    Error::new(Code::AuthFailed, "is in protected mode and refuses connections from other hosts")
        .remedy("set a password or bind addresses on it")
}

fn said(value: Value) -> Result<Value, Said> {
    match value {
        Value::ServerError(error) => Err(Said {
            word: error.code().to_owned(),
            text: match error.details() {
                Some(details) => format!("{} {details}", error.code()),
                None => error.code().to_owned(),
            },
        }),
        value => Ok(value),
    }
}

/// The text of a bulk or simple string.
pub fn text(value: &Value) -> Result<String> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Ok(text.clone()),
        Value::VerbatimString { text, .. } => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Okay => Ok("OK".into()),
        other => Err(Error::new(Code::CommandFailed, format!("sent {other:?} where text was expected"))),
    }
}

/// The elements of an array.
pub fn elements(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) | Value::Set(values) => values,
        _ => Vec::new(),
    }
}
