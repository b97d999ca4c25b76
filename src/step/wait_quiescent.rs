//! `wait_quiescent`: the source receives no application command any more, for a stated time.
//!
//! What counts are deltas between looks, decided in [`decide::traffic`](crate::decide::traffic): nothing that comes
//! between two of them is missed, so they can be as far apart as their cost asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::Call;
use crate::{
    decide::traffic::{Active, ActiveClient, Arrived, Traffic, until_next_look},
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    pair::Pair,
    run::{Deadline, Event},
    server::{
        Command, Server,
        client_list::parse_list,
        elements,
        info::{Info, Replication, Role, calls},
        text,
    },
};

/// At least so long is slept, also where less is left to wait.
const BREATH: Duration = Duration::from_millis(10);

/// As many clients and commands are named in a message.
const NAMED: usize = 5;

/// What is wished.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// For how long nothing may arrive.
    pub quiet_for: Duration,
    /// How long that is waited for.
    pub wait_timeout: Duration,
    /// Ask `MONITOR` first who sends what.
    pub monitor: Option<Monitor>,
}

/// The limits of `MONITOR`.
#[derive(Debug, Clone, Copy)]
pub struct Monitor {
    /// For how long.
    pub time: Duration,
    /// How many lines.
    pub lines: u64,
}

step_result! {
    /// What `wait_quiescent` returns.
    pub struct WaitQuiescent {
        /// Whether nothing arrived for as long as wished; true if the source is gone.
        pub quiet: bool,
        /// For how many seconds nothing had arrived at the end.
        pub quiet_seconds: f64,
        /// Who sent commands, most first; 1000 at most.
        pub active: Vec<ActiveClient>,
        /// Calls by command that were seen while waiting.
        pub commands: std::collections::BTreeMap<String, u64>,
        /// How often it was looked.
        pub attempts: u64,
    }
}

/// Waits until the source is quiet. A dry run looks for a tenth of a second, after `MONITOR` where that is asked for.
pub async fn wait_quiescent(call: &Call, options: &Options) -> Result<WaitQuiescent> {
    let pair = call.begin("wait_quiescent").await?;
    until_quiet(call, &pair, options).await
}

/// The same within another step.
pub(super) async fn until_quiet(call: &Call, pair: &Pair, options: &Options) -> Result<WaitQuiescent> {
    let before = pair.facts().await;
    // Roles that fit no stage, or a target that is gone, are no reason not to watch the source.
    let gone = match (pair.source(), pair.target()) {
        (Err(_), Ok(_)) => pair.look().await.is_ok(),
        _ => false,
    };
    let watched = if gone { Watched { quiet: true, ..Watched::default() } } else { watch(pair, options).await? };
    Ok(finish!(
        call.run,
        before.clone(),
        before,
        WaitQuiescent {
            quiet: watched.quiet,
            quiet_seconds: watched.quiet_time.as_secs_f64(),
            active: watched.active.list(),
            commands: watched.commands,
            attempts: watched.attempts,
        }
    ))
}

#[derive(Default)]
struct Watched {
    quiet: bool,
    quiet_time: Duration,
    active: Active,
    commands: BTreeMap<String, u64>,
    attempts: u64,
}

async fn watch(pair: &Pair, options: &Options) -> Result<Watched> {
    let source = pair.source()?;
    let mut watched = Watched::default();
    if let Some(monitor) = options.monitor {
        watched.active = shown(source, monitor).await?;
    }
    let reads = reads(source).await?;
    let deadline = Deadline::after(options.wait_timeout);
    let mut last = Look::at(source).await?;
    let mut quiet_since = last.ended;
    loop {
        let until_quiet = options.quiet_for.saturating_sub(quiet_since.elapsed());
        let wait = until_next_look(last.cost()).min(until_quiet).min(deadline.left()).max(BREATH);
        pair.run.sleep(wait).await?;
        let now = Look::at(source).await?;
        watched.attempts += 1;
        let arrived = now.traffic.since(&last.traffic, &reads);
        if !arrived.is_empty() {
            quiet_since = now.ended;
            pair.run.emit(&Event::Waiting { wanted: "no application command", found: found(&arrived) });
            watched.active.add(&arrived);
            for (command, calls) in arrived.commands {
                *watched.commands.entry(command).or_default() += calls;
            }
        }
        watched.quiet_time = now.began.saturating_duration_since(quiet_since);
        watched.quiet = watched.quiet_time >= options.quiet_for;
        last = now;
        if watched.quiet || pair.run.dry {
            return Ok(watched);
        }
        if deadline.passed() {
            return Err(not_quiet(source, watched, options));
        }
    }
}

/// The commands that only read, where the server tells.
async fn reads(source: &Server) -> Result<BTreeSet<String>> {
    let reply = source.ask(&Command::new(["ACL", "CAT", "read"])).await?;
    let names = reply.map(elements).unwrap_or_default();
    Ok(names.iter().filter_map(|name| text(name).ok()).collect())
}

/// One look at what a server has been sent so far.
struct Look {
    began: Instant,
    ended: Instant,
    traffic: Traffic,
}

impl Look {
    async fn at(server: &Server) -> Result<Self> {
        let commands = [Command::info("replication"), Command::info("commandstats"), Command::new(["CLIENT", "LIST"])];
        let began = Instant::now();
        let replies = server.pipeline(&commands).await?;
        let ended = Instant::now();
        let mut texts = Vec::new();
        for (command, reply) in commands.iter().zip(replies) {
            let reply = reply.map_err(|said| server.refused(command, &said))?;
            texts.push(text(&reply).map_err(|e| e.at(server))?);
        }
        let [replication, commandstats, list] = texts.as_slice() else {
            return Err(Error::new(Code::ConnectionLost, "sent too few replies").at(server));
        };
        let traffic = Traffic {
            replica: Replication::from(&Info::parse(replication)).role == Role::Replica,
            calls: calls(&Info::parse(commandstats)),
            connections: parse_list(list),
        };
        Ok(Look { began, ended, traffic })
    }

    fn cost(&self) -> Duration {
        self.ended.saturating_duration_since(self.began)
    }
}

/// Who sends what, as `MONITOR` shows it.
async fn shown(source: &Server, limits: Monitor) -> Result<Active> {
    // Who leaves meanwhile is in the list before, who comes in that after it; which also has names that were just given.
    let mut connections = source.connections().await?;
    source.run.emit(&Event::Monitor {
        seconds: limits.time.as_secs_f64(),
        lines: limits.lines,
        cost: "while it runs, the server shows every command of all clients to it and carries out fewer of them",
    });
    let shown = source.monitor(limits.time, limits.lines).await?;
    connections.extend(source.connections().await?);
    let mut active = Active::default();
    active.add_shown(&shown.calls, &connections);
    if shown.lines >= limits.lines {
        let found = format!("MONITOR ended after {} lines, in {:.3} seconds", shown.lines, shown.time.as_secs_f64());
        source.run.warn(format!("{source}: {found}: there may be others that send something"));
    }
    Ok(active)
}

fn found(arrived: &Arrived) -> String {
    let commands = counted(&arrived.commands);
    let clients = arrived.clients.iter().take(NAMED).map(|(one, _)| who(&one.addr, &one.name)).collect::<Vec<_>>();
    match (commands.as_str(), clients.join(", ")) {
        ("", clients) => clients,
        (commands, clients) if clients.is_empty() => commands.to_owned(),
        (commands, clients) => format!("{commands} from {clients}"),
    }
}

fn who(address: &str, name: &str) -> String {
    if name.is_empty() { address.to_owned() } else { format!("{address} {name}") }
}

/// The most frequent commands with their numbers.
fn counted(commands: &BTreeMap<String, u64>) -> String {
    let mut commands: Vec<_> = commands.iter().collect();
    commands.sort_by_key(|(_, calls)| std::cmp::Reverse(**calls));
    commands.iter().take(NAMED).map(|(name, calls)| format!("{calls} {name}")).collect::<Vec<_>>().join(", ")
}

fn not_quiet(source: &Server, watched: Watched, options: &Options) -> Error {
    let (given, wanted) = (options.wait_timeout.as_secs_f64(), options.quiet_for.as_secs_f64());
    let clients = watched.active.list();
    let error = if clients.is_empty() && watched.commands.is_empty() {
        let found = format!("was watched for {given} seconds, and is to be quiet for {wanted}");
        Error::new(Code::NotQuiet, found).remedy("give a longer wait_timeout")
    } else {
        let commands = match counted(&watched.commands) {
            none if none.is_empty() => String::new(),
            commands => format!(": {commands}"),
        };
        let clients: Vec<_> = clients.iter().take(NAMED).map(sender).collect();
        let from = if clients.is_empty() { "connections that come and go".to_owned() } else { clients.join(", ") };
        let found = format!("still gets application commands after {given} seconds{commands} from {from}");
        Error::new(Code::NotQuiet, found).remedy("move these clients, or disconnect them with clients")
    };
    error.at(source).state(State::Unchanged)
}

/// Such as `10.0.0.7:4711 shop (12 get)`.
fn sender(client: &ActiveClient) -> String {
    let sent = match (counted(&client.commands), client.calls) {
        (shown, _) if !shown.is_empty() => shown,
        (_, Some(calls)) => format!("{calls} commands, {} last", client.command),
        _ => client.command.clone(),
    };
    format!("{} ({sent})", who(&client.address, &client.name))
}
