//! Clients come through HAProxies, which are told by their runtime API to let them wait and then to send them elsewhere.
//!
//! Under the pause each frontend gets `maxconn 0`: who connects waits in the system's queue, accepted by nobody (or the frontend
//! is disabled, where that is not safe). The demoted server's entry is put into maintenance, so that what was let in just before is not sent there either. When the promoted one
//! is the master its entry is opened, and the frontends get their `maxconn` back.

use std::{collections::BTreeSet, io::ErrorKind, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinSet,
};

use crate::{
    decide::{
        findings::{Finding, Level},
        haproxy::{Front, Seen, Sought, Wanted, steps, survey},
    },
    error::{Code, Error, Result},
    pair::{Pair, see},
    run::Deadline,
    side::Side,
};

/// How long an answer may take.
const REPLY: Duration = Duration::from_millis(500);

/// How long a command may take to take effect.
const EFFECT: Duration = Duration::from_millis(500);

/// Between two looks at one that has not.
const BREATH: Duration = Duration::from_millis(1);

/// What the caller says about the HAProxies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Their sockets (`stats socket ... level admin`): paths, or `host:port`.
    pub sockets: Vec<String>,
    /// The frontends that lead to the backends, besides `listen` sections.
    #[serde(default)]
    pub frontends: Vec<String>,
    /// The backends to look in; none for all.
    #[serde(default)]
    pub backends: Vec<String>,
    /// The source's entries as `backend/server`, where they are not to be found by its address.
    #[serde(default)]
    pub source_servers: Vec<String>,
    /// The target's.
    #[serde(default)]
    pub target_servers: Vec<String>,
}

/// What was found, and what was said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fronts {
    wish: Wish,
    fronts: Vec<Front>,
}

impl Wish {
    /// Whether it can be meant.
    pub fn check(&self) -> Result<()> {
        if self.sockets.is_empty() {
            return Err(Error::input("redirect", "haproxy needs sockets"));
        }
        let wrong = self.sockets.iter().find(|socket| !is_path(socket) && address(socket).is_none());
        match wrong {
            Some(socket) => Err(Error::input("redirect", format!("{socket:?} is neither a path nor host:port"))),
            None => Ok(()),
        }
    }

    /// Finds what leads to the side that is demoted, and what stands against it.
    async fn survey(&self, pair: &Pair, demoted: Side, before: Option<&Fronts>) -> Result<(Fronts, Vec<Finding>)> {
        let (demoted, promoted) = tokio::join!(self.sought(pair, demoted), self.sought(pair, demoted.other()));
        let (demoted, promoted) = (demoted?, promoted?);
        let mut fronts = Vec::new();
        let mut findings = Vec::new();
        let mut known = BTreeSet::new();
        for socket in &self.sockets {
            let seen = match ask(socket, &["show cli level".to_owned(), "show version".to_owned()]).await {
                Ok(seen) => seen,
                Err(said) => {
                    let (found, remedy) = (said.to_string(), "see that it runs, and that this user may use its socket");
                    findings.push(finding(socket, Level::Blocker, found, remedy));
                    continue;
                }
            };
            known.extend(seen.names());
            let before = before.and_then(|before| before.fronts.iter().find(|front| front.socket == *socket));
            let (front, troubles) =
                survey(socket, &seen, [&demoted, &promoted], [&self.frontends, &self.backends], before);
            findings.extend(troubles.into_iter().map(|trouble| {
                let level = if trouble.warning { Level::Warning } else { Level::Blocker };
                finding(socket, level, trouble.found, trouble.remedy)
            }));
            fronts.push(front);
        }
        let named = [&self.frontends, &self.backends, &self.source_servers, &self.target_servers];
        for name in named.into_iter().flatten().filter(|name| !known.contains(*name)) {
            let socket = self.sockets.join(", ");
            findings.push(finding(&socket, Level::Blocker, format!("there is no {name}"), "see how it is spelled"));
        }
        Ok((Fronts { wish: self.clone(), fronts }, findings))
    }

    async fn sought(&self, pair: &Pair, side: Side) -> Result<Sought<'_>> {
        let server = pair.side(side)?;
        let ports = see(server).await?.ports;
        let named = if side == Side::Source { &self.source_servers } else { &self.target_servers };
        Ok(Sought { ips: server.endpoint.addresses().await, plain: ports.plain, tls: ports.tls, named })
    }

    /// Looks at all of them before a handover to the target.
    pub(super) async fn look(&self, pair: &Pair) -> Result<(Fronts, Vec<Finding>)> {
        // A handover that was begun and died has to be called off first, and is.
        if let Some(begun) = pair.handover.as_ref().filter(|begun| !begun.back)
            && let super::Plan::Haproxy(fronts) = &begun.plan
            && fronts.wish == *self
            && !fronts.are(Wanted::Home).await
        {
            return Ok((Fronts::clone(fronts), Vec::new()));
        }
        self.survey(pair, Side::Source, None).await
    }
}

impl Fronts {
    /// Looks again, for the way back.
    pub(super) async fn look_again(&self, pair: &Pair, wish: Option<&Wish>) -> Result<(Fronts, Vec<Finding>)> {
        wish.unwrap_or(&self.wish).survey(pair, Side::Target, Some(self)).await
    }

    /// Brings all of them to where they are wanted, at once. What was done is returned. One that is gone has forgotten what
    /// it was told: there is nothing to be taken back.
    pub(super) async fn bring(&self, wanted: Wanted) -> Result<Vec<String>> {
        let mut tasks = JoinSet::new();
        for front in self.fronts.clone() {
            tasks.spawn(async move { (bring(&front, wanted).await, front.socket) });
        }
        let (mut done, mut failed) = (Vec::new(), None);
        while let Some(Ok((brought, socket))) = tasks.join_next().await {
            match brought {
                Ok(lines) => done.extend(lines),
                Err(Said::Gone(_)) if wanted == Wanted::Home => {}
                Err(said) => failed = Some((said, socket)),
            }
        }
        match failed {
            Some((said, socket)) => Err(Error::new(Code::RedirectFailed, said.to_string())
                .at(title(&socket))
                .remedy("see its log and its socket's level")),
            None => Ok(done),
        }
    }

    async fn are(&self, wanted: Wanted) -> bool {
        for front in &self.fronts {
            match ask(&front.socket, &[]).await {
                Ok(seen) if steps(front, &seen, wanted).is_empty() => {}
                _ => return false,
            }
        }
        true
    }

    /// What would be done, as a dry run shows it.
    pub(super) fn planned(&self) -> Vec<String> {
        let lines = |front: &Front| front.planned().map(|line| format!("{}: {line}", title(&front.socket)));
        self.fronts.iter().flat_map(lines).collect()
    }

    /// What the operator has to do so that it lasts.
    pub(super) fn lasting(&self) -> Vec<String> {
        let line = |front: &Front| {
            let title = title(&front.socket);
            format!("{title}: what it was told is lost when it is reloaded; its file must say: {}", front.file())
        };
        self.fronts.iter().map(line).collect()
    }
}

/// Why one of them is not as wanted.
#[derive(Debug, thiserror::Error)]
enum Said {
    #[error("can't be reached: {0}")]
    Gone(std::io::Error),
    #[error("can't be talked to: {0}")]
    Broken(std::io::Error),
    #[error("does not answer")]
    Silent,
    #[error("does not do what it is told ({steps}): {said}")]
    Refused { steps: String, said: String },
}

/// Looks, and tells it what is left to do, until it is where it is wanted.
async fn bring(front: &Front, wanted: Wanted) -> Result<Vec<String>, Said> {
    let deadline = Deadline::after(EFFECT);
    let mut done: Vec<String> = Vec::new();
    let mut told: Vec<String> = Vec::new();
    loop {
        let seen = ask(&front.socket, &told).await?;
        let next = steps(front, &seen, wanted);
        if next.is_empty() {
            return Ok(done);
        }
        if next == told {
            if deadline.passed() {
                return Err(Said::Refused { steps: told.join("; "), said: seen.said.join(" ") });
            }
            tokio::time::sleep(BREATH).await;
        } else {
            done.push(format!("{}: {}", title(&front.socket), next.join("; ")));
        }
        told = next;
    }
}

/// Tells it these commands and asks how it stands then, in one line: it does one after the other.
async fn ask(socket: &str, commands: &[String]) -> Result<Seen, Said> {
    let looks = ["show servers state", "show stat -1 1 -1"].map(str::to_owned);
    let line = [commands, &looks].concat().join("; ") + "\n";
    let talk = async {
        match address(socket) {
            _ if is_path(socket) => say(UnixStream::connect(Path::new(socket)).await, &line).await,
            Some((host, port)) => say(TcpStream::connect((host, port)).await, &line).await,
            None => Err(Said::Broken(ErrorKind::InvalidInput.into())),
        }
    };
    let answer = tokio::time::timeout(REPLY, talk).await.map_err(|_| Said::Silent)??;
    Ok(Seen::parse(&answer))
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: std::io::Result<S>, line: &str) -> Result<String, Said> {
    let mut stream = stream.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => Said::Gone(error),
        _ => Said::Broken(error),
    })?;
    let mut answer = String::new();
    let talk = async {
        stream.write_all(line.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    };
    talk.await.map_err(Said::Broken)?;
    Ok(answer)
}

fn is_path(socket: &str) -> bool {
    socket.starts_with('/')
}

fn address(socket: &str) -> Option<(&str, u16)> {
    let (host, port) = socket.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host, port.parse().ok().filter(|port| *port != 0)?)).filter(|(host, _)| !host.is_empty())
}

fn title(socket: &str) -> String {
    format!("HAProxy {socket}")
}

fn finding(socket: &str, level: Level, found: String, remedy: &str) -> Finding {
    Finding {
        code: Code::RedirectFailed.as_str().to_owned(),
        level: level.as_str().to_owned(),
        server: title(socket),
        found,
        remedy: remedy.to_owned(),
    }
}
