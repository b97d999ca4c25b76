//! A relay as those see it who give it orders.

use std::{
    io::{ErrorKind, Result as IoResult},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
};

use super::{Answer, Order, Status, beside, memory::Memory};
use crate::{
    error::{Code, Error, Result, State},
    host::{
        process::{Said, Started},
        systemd,
    },
    run::Deadline,
};

/// How long an order may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// How long a relay may take to come up.
const COMES_UP_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks whether it has.
const BREATH: Duration = Duration::from_millis(5);

/// How it shows that no relay runs there, or that it has just died.
const GONE: [ErrorKind; 5] = [
    ErrorKind::NotFound,
    ErrorKind::ConnectionRefused,
    ErrorKind::ConnectionReset,
    ErrorKind::BrokenPipe,
    ErrorKind::UnexpectedEof,
];

/// Files that a relay has open besides those of its connections.
const OWN_FILES: u64 = 64;

/// The longest path of a unix socket.
pub const LONGEST_PATH: usize = 107;

/// The command that becomes a relay, but for its socket.
static PROGRAM: OnceLock<Vec<String>> = OnceLock::new();

/// Says how a relay is started: whoever loads this library knows by what program that was done.
pub fn set_program(command: Vec<String>) {
    // Loaded twice it is the same.
    let _ = PROGRAM.set(command);
}

/// How many connections so many open files are enough for.
pub fn enough_for(files: Option<u64>) -> usize {
    files.map_or(usize::MAX >> 4, |files| {
        usize::try_from(files.saturating_sub(OWN_FILES) / 2).unwrap_or(usize::MAX >> 4)
    })
}

/// How many connections a relay that is started here can hold.
pub fn most_here() -> usize {
    enough_for(getrlimit(Resource::Nofile).maximum)
}

/// Whether something listens there.
pub async fn answers(address: SocketAddr) -> bool {
    matches!(tokio::time::timeout(ANSWERS_WITHIN, TcpStream::connect(address)).await, Ok(Ok(_)))
}

/// A relay, running or not, by its socket.
pub struct Remote<'a> {
    /// Its socket.
    pub socket: &'a Path,
    /// The unit that runs it; none where it is to run by itself.
    pub unit: Option<&'a str>,
}

impl Remote<'_> {
    /// Where it says what it does, where no unit runs it.
    pub fn log(&self) -> PathBuf {
        beside(self.socket, "log")
    }

    /// Whether it has ended for good: nobody came any more, or it was told to.
    pub fn is_ended(&self) -> bool {
        Memory::is_ended(self.socket)
    }

    /// Gives an order; none where no relay runs there.
    pub async fn tell(&self, order: &Order) -> Result<Option<Status>> {
        match tokio::time::timeout(ANSWERS_WITHIN, self.ask(order)).await {
            Ok(Ok(Answer::Done(status))) => Ok(Some(status)),
            Ok(Ok(Answer::Failed(said))) => Err(self.failed(said)),
            Ok(Err(e)) if GONE.contains(&e.kind()) => Ok(None),
            Ok(Err(e)) => Err(self.failed(format!("can't be given an order: {e}"))),
            Err(_) => Err(self.failed("does not answer".to_owned())),
        }
    }

    async fn ask(&self, order: &Order) -> IoResult<Answer> {
        let mut stream = BufReader::new(UnixStream::connect(self.socket).await?);
        let text = serde_json::to_string(order)? + "\n";
        stream.write_all(text.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Starts it, unless it runs. Says whether it was started.
    pub async fn start(&self) -> Result<bool> {
        if self.tell(&Order::Status).await?.is_some() {
            return Ok(false);
        }
        match self.unit {
            Some(unit) => {
                if let Some(said) = systemd::tell("start", unit, COMES_UP_WITHIN).await {
                    return Err(self.failed(format!("could not be started by the unit {unit}: {said}")));
                }
                self.come_up(None).await?;
            }
            None => {
                let mut started = self.start_by_itself()?;
                self.come_up(Some(&mut started)).await?;
                started.release();
            }
        }
        Ok(true)
    }

    fn start_by_itself(&self) -> Result<Started> {
        let (program, arguments) = PROGRAM
            .get()
            .and_then(|command| command.split_first())
            .ok_or_else(|| self.failed("can't be started: it is not known how".to_owned()))?;
        let (Some(folder), Some(socket)) = (self.socket.parent(), self.socket.to_str()) else {
            return Err(Error::input("socket", "is no path of a file"));
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain([socket]).collect();
        std::fs::create_dir_all(folder)
            .and_then(|()| Started::for_good(program.as_ref(), &arguments, folder, &self.log(), None))
            .map_err(|e| self.failed(format!("can't be started: {e}")))
    }

    async fn come_up(&self, mut started: Option<&mut Started>) -> Result<()> {
        let deadline = Deadline::after(COMES_UP_WITHIN);
        loop {
            if self.tell(&Order::Status).await?.is_some() {
                return Ok(());
            }
            let ended = started.as_mut().and_then(|started| started.ended().ok().flatten());
            if ended.is_some() || deadline.passed() {
                let said = Said::in_file(&self.log(), 0);
                return Err(self.failed(format!("did not come up: {}", said.tail())));
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// Waits until it has ended, having been told to.
    pub async fn gone(&self) -> Result<()> {
        let deadline = Deadline::after(COMES_UP_WITHIN);
        while self.tell(&Order::Status).await.is_ok_and(|status| status.is_some()) {
            if deadline.passed() {
                return Err(self.failed("has not ended".to_owned()).state(State::Interrupted));
            }
            tokio::time::sleep(BREATH).await;
        }
        Ok(())
    }

    fn failed(&self, found: String) -> Error {
        Error::new(Code::RedirectFailed, found)
            .at(format_args!("the relay at {}", self.socket.display()))
            .remedy(format!(
                "see {}, put that right and run this again",
                match self.unit {
                    Some(unit) => format!("the journal of {unit}"),
                    None => self.log().display().to_string(),
                }
            ))
            .state(State::Unchanged)
    }
}
