//! The relay: a process that takes the source's address over and forwards connections to the target, which may be on
//! another host. Bytes pass through as they are, TLS too.
//!
//! It is started before the handover, takes orders over a unix socket that only its user can open, and outlives whoever
//! started it. It does not read what it forwards.
//!
//! What it forwards is kept in a file beside the socket, so that a relay that was killed goes on where it was.

pub(crate) mod door;
mod house;
mod memory;
mod place;
pub mod remote;
mod session;

use std::{
    fs, io,
    io::Write as _,
    net::SocketAddr,
    os::unix::net::UnixStream as BlockingUnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, getrlimit, setrlimit, umask},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Notify,
    time::Instant,
};

use self::{house::House, memory::Memory};
use crate::journal::unix_time;

/// For how long a relay that listens nowhere and forwards nothing waits for an order.
const USELESS_FOR: Duration = Duration::from_secs(600);

/// After an order that could not be taken.
const BREATH: Duration = Duration::from_millis(50);

/// Between two looks whether it is of any use.
const LOOK: Duration = Duration::from_millis(250);

/// An order is a line; none is longer.
const LONGEST: usize = 64 << 10;

/// Where it listens, and where that leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Addresses, as in a server's `bind`: one that begins with `-` may be missing on this host.
    pub bind: Vec<String>,
    /// The port.
    pub port: u16,
    /// The server that the connections go to.
    pub to: SocketAddr,
}

/// What a relay is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Order {
    /// Say how things are.
    Status,
    /// The same, and who is connected.
    List,
    /// Listen there. Who comes waits in the system's queue until it is `open`.
    Listen {
        /// Where.
        ways: Vec<Way>,
        /// Whether to let them in.
        open: bool,
        /// End when nobody was connected for so many seconds.
        idle: Option<u64>,
    },
    /// Listen no longer. Who is connected stays.
    Close,
    /// Listen no longer, cut everybody off and end, for good.
    End,
}

/// How a relay is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whether the order has changed anything.
    pub changed: bool,
    /// Its process.
    pub pid: u32,
    /// Since when it runs, in seconds since 1970.
    pub since: f64,
    /// Where it listens.
    pub ways: Vec<Way>,
    /// Whether it lets clients in.
    pub open: bool,
    /// It ends when nobody was connected for so many seconds.
    pub idle: Option<u64>,
    /// How many connections it can hold: each takes two of the files that a process may open.
    pub most: usize,
    /// Whether it holds so many, and new clients wait.
    pub full: bool,
    /// How many connections it has taken so far.
    pub taken: u64,
    /// How many of them it could not lead to the server, and closed.
    pub failed: u64,
    /// Who is connected now; only where that was asked for.
    pub connections: Vec<Connection>,
}

/// A client of a relay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, name = "RelayConnection", module = "redis_baton"))]
pub struct Connection {
    /// Its address and port.
    pub address: String,
    /// Since when it is connected, in seconds since 1970.
    pub since: f64,
    /// Seconds since it has sent or got anything.
    pub idle: f64,
    /// Bytes it has sent.
    pub sent: u64,
    /// Bytes it has got.
    pub received: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Status),
    Failed(String),
}

/// The relay's process: takes orders at this socket until it is told to end, or is of no use any more.
pub fn run(socket: &Path) -> anyhow::Result<()> {
    umask(Mode::from_raw_mode(0o077));
    let most = raise_limit();
    if BlockingUnixStream::connect(socket).is_ok() {
        bail!("another relay takes orders at {}", socket.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        // A relay that was killed has left it.
        let _ = fs::remove_file(socket);
        let listener = UnixListener::bind(socket).with_context(|| format!("{} can't be made", socket.display()))?;
        log(format_args!("takes orders at {}; can hold {most} connections", socket.display()));
        Keeper::new(socket, most)?.keep(listener).await
    });
    let _ = fs::remove_file(socket);
    runtime.shutdown_background();
    outcome
}

/// Lets this process open as many files as it may, and says how many connections that is enough for.
fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    remote::enough_for(getrlimit(Resource::Nofile).current)
}

/// Has the relay's orders carried out.
struct Keeper {
    house: House,
    memory: Memory,
    since: f64,
    asked: std::sync::Mutex<Instant>,
    ended: Notify,
}

impl Keeper {
    fn new(socket: &Path, most: usize) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Keeper {
            house: House::new(most)?,
            memory: Memory::beside(socket),
            since: unix_time(),
            asked: std::sync::Mutex::new(Instant::now()),
            ended: Notify::new(),
        }))
    }

    async fn keep(self: Arc<Self>, listener: UnixListener) -> anyhow::Result<()> {
        if let Some((ways, idle)) = self.memory.forwards() {
            match self.house.listen(&ways, true, idle) {
                Ok(_) => log("forwards again what it did before"),
                Err(error) => log(format_args!("can't forward what it did before: {error:#}")),
            }
        }
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = self.ended.notified() => return Ok(()),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let keeper = Arc::clone(&self);
                        tokio::spawn(async move { keeper.attend(stream).await });
                    }
                    // Those that are forwarded are not to suffer from it.
                    Err(error) => {
                        log(format_args!("an order could not be taken: {error}"));
                        tokio::time::sleep(BREATH).await;
                    }
                },
                _ = ticks.tick() => {
                    if let Some(why) = self.of_no_use() {
                        log(format_args!("ends: {why}"));
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Why it is to end by itself, if it is.
    fn of_no_use(&self) -> Option<&'static str> {
        let empty_for = self.house.empty_for()?;
        match self.house.idle() {
            Some(idle) if empty_for >= idle => {
                self.memory.end();
                Some("nobody was connected for as long as it was told to wait")
            }
            None if !self.house.listens() => {
                let asked = *self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                (asked.elapsed() >= USELESS_FOR).then_some("it forwards nothing, and nobody has given it an order")
            }
            _ => None,
        }
    }

    async fn attend(&self, stream: UnixStream) {
        let (reader, mut writer) = stream.into_split();
        let mut orders = BufReader::new(tokio::io::AsyncReadExt::take(reader, LONGEST as u64)).lines();
        while let Ok(Some(line)) = orders.next_line().await {
            *self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
            let order = serde_json::from_str(&line).context("is no order");
            let end = matches!(order, Ok(Order::End));
            let asked = matches!(order, Ok(Order::List));
            let answer = match async { self.carry_out(order?).await }.await {
                Ok(changed) => Answer::Done(self.status(changed, asked)),
                Err(error) => Answer::Failed(format!("{error:#}")),
            };
            let text = serde_json::to_string(&answer).unwrap_or_default() + "\n";
            let told = writer.write_all(text.as_bytes()).await;
            if end {
                self.ended.notify_one();
            }
            if told.is_err() {
                return;
            }
            if let Ok(Order::Listen { ways, open: true, idle }) = serde_json::from_str(&line) {
                // To write it down takes longer than all the rest, and nobody is to wait for that.
                self.memory.forward(ways, idle).await;
            }
        }
    }

    async fn carry_out(&self, order: Order) -> anyhow::Result<bool> {
        match order {
            Order::Status | Order::List => Ok(false),
            Order::Listen { ways, open, idle } => {
                let changed = self.house.listen(&ways, open, idle)?;
                if changed {
                    for way in &ways {
                        let doing = if open { "forwards" } else { "will forward" };
                        log(format_args!("{doing} {} port {} to {}", way.bind.join(" "), way.port, way.to));
                    }
                }
                Ok(changed)
            }
            Order::Close => {
                // First: a relay that comes up again must not take the port from who has it by then.
                self.memory.forget();
                let changed = self.house.close().await;
                if changed {
                    log("listens no longer");
                }
                Ok(changed)
            }
            Order::End => {
                self.memory.end();
                self.house.close().await;
                log("ends: it was told to");
                Ok(true)
            }
        }
    }

    fn status(&self, changed: bool, with_connections: bool) -> Status {
        let connections = if with_connections { self.house.connections() } else { Vec::new() };
        Status { changed, pid: std::process::id(), since: self.since, connections, ..self.house.status() }
    }
}

/// Says something in the log, which is what it has for standard error.
fn log(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{:.3} {text}", unix_time());
}

/// The file beside a socket with that ending.
fn beside(socket: &Path, ending: &str) -> PathBuf {
    socket.with_extension(ending)
}
