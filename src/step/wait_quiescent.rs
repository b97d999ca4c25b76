//! `wait_quiescent`: the source receives no application command any more, for a stated time.
//!
//! What counts are deltas: calls by command (`INFO commandstats`), and per connection of an application whether it has
//! sent anything. Not counted: our own commands, replication's and Sentinel's. A replica's commandstats also count what
//! its master sends, so there the connections alone decide.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::Call;
use crate::{
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    pair::Pair,
    run::{Deadline, Event},
    server::{
        Server,
        client_list::Connection,
        info::{Role, calls},
    },
};

/// Commands of replication, of Sentinel and of those who only look: ours are among them.
const BOOKKEEPING: [&str; 17] = [
    "acl",
    "auth",
    "client",
    "command",
    "config",
    "hello",
    "info",
    "latency",
    "module",
    "ping",
    "psync",
    "publish_sentinel",
    "replconf",
    "role",
    "slowlog",
    "sync",
    "time",
];

/// How often it is looked while waiting.
const LOOK: Duration = Duration::from_millis(100);

/// What is wished.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// For how long nothing may arrive.
    pub quiet_for: Duration,
    /// How long that is waited for.
    pub wait_timeout: Duration,
}

/// A connection that still sends commands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct ActiveClient {
    /// Where it comes from, with its port.
    pub address: String,
    /// ACL user.
    pub user: String,
    /// The name it gave itself.
    pub name: String,
    /// Its last command.
    pub command: String,
}

step_result! {
    /// What `wait_quiescent` returns.
    pub struct WaitQuiescent {
        /// Whether nothing arrived for as long as wished; true if the source is gone.
        pub quiet: bool,
        /// For how many seconds nothing had arrived at the end.
        pub quiet_seconds: f64,
        /// Who sent commands last, by name.
        pub active: Vec<ActiveClient>,
        /// Calls by command that were seen while waiting.
        pub commands: std::collections::BTreeMap<String, u64>,
        /// How often it was looked.
        pub attempts: u64,
    }
}

/// Waits until the source is quiet. A dry run looks for a tenth of a second.
pub async fn wait_quiescent(call: &Call, options: &Options) -> Result<WaitQuiescent> {
    let pair = call.begin("wait_quiescent").await?;
    let before = pair.facts().await;
    // Roles that fit no stage, or a target that is gone, are no reason not to watch the source.
    let gone = match (pair.source(), pair.target()) {
        (Err(_), Ok(_)) => pair.look().await.is_ok(),
        _ => false,
    };
    let watched = if gone { Watched { quiet: true, ..Watched::default() } } else { watch(&pair, options).await? };
    Ok(finish!(
        call.run,
        before.clone(),
        before,
        WaitQuiescent {
            quiet: watched.quiet,
            quiet_seconds: watched.quiet_seconds,
            active: watched.active,
            commands: watched.commands,
            attempts: watched.attempts,
        }
    ))
}

#[derive(Default)]
struct Watched {
    quiet: bool,
    quiet_seconds: f64,
    active: Vec<ActiveClient>,
    commands: BTreeMap<String, u64>,
    attempts: u64,
}

async fn watch(pair: &Pair, options: &Options) -> Result<Watched> {
    let source = pair.source()?;
    let deadline = Deadline::after(options.wait_timeout);
    let mut watched = Watched::default();
    let mut last = Traffic::of(source).await?;
    let mut quiet_since = Instant::now();
    loop {
        pair.run.sleep(LOOK).await?;
        let now = Traffic::of(source).await?;
        watched.attempts += 1;
        let (commands, active) = now.since(&last);
        last = now;
        if !commands.is_empty() || !active.is_empty() {
            quiet_since = Instant::now();
            let names: Vec<_> = active.iter().map(|client| client.address.as_str()).collect();
            pair.run
                .emit(&Event::Waiting { wanted: "no application command", found: format!("{commands:?} {names:?}") });
            // Where idle times are whole seconds (Redis), most looks see commands and not who sent them.
            if !active.is_empty() {
                watched.active = active;
            }
            for (command, calls) in commands {
                *watched.commands.entry(command).or_default() += calls;
            }
        }
        watched.quiet_seconds = quiet_since.elapsed().as_secs_f64();
        watched.quiet = quiet_since.elapsed() >= options.quiet_for;
        if watched.quiet || pair.run.dry {
            return Ok(watched);
        }
        if deadline.passed() {
            return Err(not_quiet(source, &watched, options));
        }
    }
}

fn not_quiet(source: &Server, watched: &Watched, options: &Options) -> Error {
    let clients: Vec<_> =
        watched.active.iter().take(5).map(|c| format!("{} {} ({})", c.address, c.name, c.command)).collect();
    let commands: Vec<_> = watched.commands.iter().map(|(name, calls)| format!("{calls} {name}")).collect();
    let found = format!(
        "still gets application commands after {} seconds: {} from {}",
        options.wait_timeout.as_secs_f64(),
        commands.join(", "),
        if clients.is_empty() { "connections that come and go".to_owned() } else { clients.join(", ") }
    );
    Error::new(Code::NotQuiet, found)
        .at(source)
        .remedy("move these clients, or disconnect them with clients")
        .state(State::Unchanged)
}

/// What a server has been sent so far.
struct Traffic {
    calls: BTreeMap<String, u64>,
    connections: BTreeMap<u64, Connection>,
}

impl Traffic {
    async fn of(server: &Server) -> Result<Self> {
        let (info, connections) = tokio::join!(server.info("all"), server.connections());
        let info = info?;
        let replica = crate::server::info::Replication::from(&info).role == Role::Replica;
        let mut calls = if replica { BTreeMap::new() } else { calls(&info) };
        calls.retain(|command, _| !BOOKKEEPING.contains(&command.split('|').next().unwrap_or(command)));
        Ok(Traffic {
            calls,
            connections: connections?
                .into_iter()
                .filter(|connection| connection.kind.is_application())
                .map(|connection| (connection.id, connection))
                .collect(),
        })
    }

    /// What has arrived since an earlier look: calls by command, and the connections that sent something.
    fn since(&self, last: &Traffic) -> (BTreeMap<String, u64>, Vec<ActiveClient>) {
        let calls = self.calls.iter().filter_map(|(command, calls)| {
            let new = calls.saturating_sub(last.calls.get(command).copied().unwrap_or_default());
            (new > 0).then(|| (command.clone(), new))
        });
        let active = self.connections.values().filter(|connection| {
            let before = last.connections.get(&connection.id);
            match (before, connection.commands) {
                (None, _) => !connection.command.is_empty() && connection.command != "NULL",
                (Some(before), Some(commands)) => before.commands != Some(commands),
                // Whole seconds are all there is: it has sent something if its idle time has not grown with its age.
                (Some(before), None) => {
                    connection.command != before.command || connection.age - connection.idle > before.age - before.idle
                }
            }
        });
        let application = |connection: &&Connection| {
            let name = connection.command.split('|').next().unwrap_or_default();
            !BOOKKEEPING.contains(&name.to_lowercase().as_str())
        };
        let active = active.filter(application);
        let calls: BTreeMap<String, u64> = calls.collect();
        let mut active: Vec<&Connection> = active.collect();
        if active.is_empty() && !calls.is_empty() {
            // Who it was does not show within one second of idle time: then it is one of those that were not idle.
            let awake = |connection: &&Connection| connection.idle == 0 && !connection.command.is_empty();
            active = self.connections.values().filter(awake).filter(application).collect();
        }
        let active = active.into_iter().map(|connection| ActiveClient {
            address: connection.addr.clone(),
            user: connection.user.clone(),
            name: connection.name.clone(),
            command: connection.command.clone(),
        });
        (calls, active.collect())
    }
}
