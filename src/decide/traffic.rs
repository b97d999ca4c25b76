//! Who has sent a server what since an earlier look, and when to look again.
//!
//! Commands come from `INFO commandstats`, which counts each one, whoever sent it: also between two looks, and over a
//! connection that is gone again. Who it was comes from `CLIENT LIST`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;

use crate::server::{
    client_list::{ClientKind, Connection},
    info::Calls,
};

/// Commands of replication, of Sentinel and of those who only look at the server or at their connection: ours are among
/// them.
const BOOKKEEPING: [&str; 16] = [
    "acl", "auth", "client", "command", "config", "hello", "info", "latency", "module", "ping", "psync", "replconf",
    "role", "slowlog", "sync", "time",
];

/// The least time between two looks, and the most.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(10);

/// A look takes this part of the time at most: with a few thousand connections `CLIENT LIST` takes milliseconds, in which
/// the server does nothing else.
const SHARE: u32 = 100;

/// As many clients are kept by name at most: where each command has a connection of its own, they would become many.
pub const MOST_CLIENTS: usize = 1000;

/// How long to wait until the next look, after one that took so long.
pub fn until_next_look(cost: Duration) -> Duration {
    cost.saturating_mul(SHARE).clamp(SOONEST, LATEST)
}

/// Whether a command, `config|get` or `CONFIG`, counts as sent by an application.
pub fn is_applications(command: &str) -> bool {
    let name = command.split('|').next().unwrap_or(command);
    !BOOKKEEPING.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// What a server has been sent so far.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Whether it follows a master, so that its commands are also those of the stream.
    pub replica: bool,
    /// How often each command was sent.
    pub calls: BTreeMap<String, Calls>,
    /// Who is connected.
    pub connections: Vec<Connection>,
}

/// What has arrived between two looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arrived {
    /// Calls by command.
    pub commands: BTreeMap<String, u64>,
    /// Who sent them, with the number where the server counts them.
    pub clients: Vec<(Connection, Option<u64>)>,
}

impl Arrived {
    /// Whether nothing has.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.clients.is_empty()
    }
}

impl Traffic {
    /// What has arrived from applications since an earlier look. `reads` are the commands that only read, which no master
    /// ever sends.
    pub fn since(&self, last: &Traffic, reads: &BTreeSet<String>) -> Arrived {
        let commands = self.commands_since(last, reads);
        let mut clients = self.clients_since(last);
        if clients.is_empty() && !commands.is_empty() {
            // Idle times are whole seconds, so who it was may not show: then it is one of the least idle. A command of just
            // now counts as a second old when the clock has moved on since.
            let applications = || self.connections.iter().filter(|one| is_by_application(one) && one.idle <= 1);
            let least = applications().map(|one| one.idle).min();
            clients = applications().filter(|one| Some(one.idle) == least).map(|one| (one.clone(), None)).collect();
        }
        Arrived { commands, clients }
    }

    fn commands_since(&self, last: &Traffic, reads: &BTreeSet<String>) -> BTreeMap<String, u64> {
        let replica = self.replica || last.replica;
        // A sentinel says hello by PUBLISH, and listens to others', which is counted together with everybody's.
        let sentinel = self.connections.iter().chain(&last.connections).any(|one| one.kind == ClientKind::Sentinel);
        let counted = |command: &str| match replica {
            true => reads.contains(command),
            false => !(sentinel && ["publish", "subscribe"].contains(&command)),
        };
        self.calls
            .iter()
            .filter(|(command, _)| is_applications(command))
            .filter_map(|(command, now)| {
                let before = last.calls.get(command).copied().unwrap_or_default();
                let done = if counted(command) { more(before.done, now.done) } else { 0 };
                let new = done + more(before.rejected, now.rejected);
                (new > 0).then(|| (command.clone(), new))
            })
            .collect()
    }

    fn clients_since(&self, last: &Traffic) -> Vec<(Connection, Option<u64>)> {
        let before: BTreeMap<u64, &Connection> = last.connections.iter().map(|one| (one.id, one)).collect();
        self.connections
            .iter()
            .filter(|one| is_by_application(one))
            .filter_map(|one| {
                let Some(before) = before.get(&one.id) else { return Some((one.clone(), one.commands)) };
                match (before.commands, one.commands) {
                    (Some(before), Some(now)) => (now > before).then(|| (one.clone(), Some(now - before))),
                    // Its idle time has not grown with its age.
                    _ => (one.command != before.command
                        || one.age.saturating_sub(one.idle) > before.age.saturating_sub(before.idle))
                    .then(|| (one.clone(), None)),
                }
            })
            .collect()
    }
}

/// How much a counter has grown; one that is smaller than before was reset, and has counted anew since.
fn more(before: u64, now: u64) -> u64 {
    if now < before { now } else { now - before }
}

/// Whether an application holds the connection, and sent something last that counts.
fn is_by_application(connection: &Connection) -> bool {
    connection.kind.is_application() && !connection.command.is_empty() && is_applications(&connection.command)
}

/// A connection that sends commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct ActiveClient {
    /// Where it comes from, with its port.
    pub address: String,
    /// ACL user.
    pub user: String,
    /// The name it gave itself.
    pub name: String,
    /// Client library and version, where the server knows (7.2).
    pub library: String,
    /// Its last command.
    pub command: String,
    /// How many commands it has sent meanwhile, where the server counts them (Valkey 8.0, Redis 8.6).
    pub calls: Option<u64>,
    /// How many of each, where `MONITOR` has shown them.
    pub commands: BTreeMap<String, u64>,
}

/// Who has sent something, over all looks, by address and name: all clients of a unix socket have the same address.
#[derive(Debug, Clone, Default)]
pub struct Active(BTreeMap<(String, String), ActiveClient>);

impl Active {
    /// Adds who has sent something between two looks.
    pub fn add(&mut self, arrived: &Arrived) {
        for (connection, calls) in &arrived.clients {
            let Some(client) = self.client(&connection.addr, Some(connection)) else { continue };
            connection.command.clone_into(&mut client.command);
            if let Some(calls) = calls {
                *client.calls.get_or_insert_default() += calls;
            }
        }
    }

    /// Adds what `MONITOR` has shown, by address and command. Who was connected then is told by `connections`: what does
    /// not come from an application is left out.
    pub fn add_shown(&mut self, shown: &BTreeMap<(String, String), u64>, connections: &[Connection]) {
        let connections: BTreeMap<&str, &Connection> =
            connections.iter().map(|connection| (connection.addr.as_str(), connection)).collect();
        for ((address, command), calls) in shown {
            let connection = connections.get(address.as_str()).copied();
            if !is_applications(command) || connection.is_some_and(|one| !one.kind.is_application()) {
                continue;
            }
            let Some(client) = self.client(address, connection) else { continue };
            if client.command.is_empty() {
                command.clone_into(&mut client.command);
            }
            *client.commands.entry(command.clone()).or_default() += calls;
        }
    }

    fn client(&mut self, address: &str, connection: Option<&Connection>) -> Option<&mut ActiveClient> {
        let text = |field: fn(&Connection) -> &String| connection.map(field).cloned().unwrap_or_default();
        let key = (address.to_owned(), text(|one| &one.name));
        if self.0.len() >= MOST_CLIENTS && !self.0.contains_key(&key) {
            return None;
        }
        Some(self.0.entry(key).or_insert_with_key(|(address, name)| ActiveClient {
            address: address.clone(),
            user: text(|one| &one.user),
            name: name.clone(),
            library: text(|one| &one.library),
            command: text(|one| &one.command),
            calls: None,
            commands: BTreeMap::new(),
        }))
    }

    /// All of them, who sends most first.
    pub fn list(self) -> Vec<ActiveClient> {
        let mut clients: Vec<_> = self.0.into_values().collect();
        clients.sort_by_key(|client| {
            std::cmp::Reverse(client.calls.unwrap_or_default().max(client.commands.values().sum()))
        });
        clients
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn connection(id: u64, rest: &str) -> Connection {
        Connection::parse(&format!("id={id} addr=10.0.0.7:{id} flags=N age=9 {rest}")).unwrap()
    }

    fn traffic(calls: &[(&str, u64)], connections: &[Connection]) -> Traffic {
        Traffic {
            replica: false,
            calls: calls.iter().map(|(name, done)| (name.to_string(), Calls { done: *done, rejected: 0 })).collect(),
            connections: connections.to_vec(),
        }
    }

    fn since(now: &Traffic, last: &Traffic) -> Arrived {
        now.since(last, &BTreeSet::from(["get".to_owned()]))
    }

    #[test]
    fn bookkeeping_does_not_count() {
        let last = traffic(&[("info", 1)], &[connection(1, "cmd=info tot-cmds=1")]);
        let now = traffic(&[("info", 9), ("config|get", 2)], &[connection(1, "cmd=config|get tot-cmds=11")]);
        assert!(since(&now, &last).is_empty());
    }

    #[test]
    fn commands_are_told_to_the_number_with_who_sent_them() {
        let last = traffic(&[("get", 5)], &[connection(1, "cmd=get tot-cmds=5"), connection(2, "cmd=get tot-cmds=1")]);
        let now = traffic(
            &[("get", 7), ("set", 1)],
            &[connection(1, "cmd=set tot-cmds=8"), connection(2, "cmd=get tot-cmds=1")],
        );
        let arrived = since(&now, &last);
        assert_eq!(arrived.commands, BTreeMap::from([("get".into(), 2), ("set".into(), 1)]));
        let who: Vec<_> = arrived.clients.iter().map(|(one, calls)| (one.id, *calls)).collect();
        assert_eq!(who, [(1, Some(3))]);
    }

    #[test]
    fn a_connection_that_is_gone_again_is_seen_by_its_commands() {
        let arrived = since(&traffic(&[("get", 6)], &[]), &traffic(&[("get", 5)], &[]));
        assert_eq!((arrived.commands.len(), arrived.clients.len()), (1, 0));
    }

    #[test]
    fn without_counters_it_is_the_last_command_or_the_idle_time() {
        let one = |rest: &str| traffic(&[], &[connection(1, rest)]);
        assert!(!since(&one("cmd=set idle=0"), &one("cmd=get idle=0")).is_empty());
        assert!(!since(&one("cmd=get idle=0"), &one("cmd=get idle=1")).is_empty());
        assert!(since(&one("cmd=get idle=1"), &one("cmd=get idle=1")).is_empty());
        let arrived = since(&traffic(&[("get", 2)], &[connection(1, "cmd=get idle=0")]), &one("cmd=get idle=0"));
        assert_eq!(arrived.clients.len(), 1, "awake, and somebody has sent something");
        let both = [connection(1, "cmd=get idle=1"), connection(2, "cmd=get idle=0"), connection(3, "cmd=get idle=2")];
        let named = |connections: &[Connection]| {
            let arrived = since(&traffic(&[("get", 2)], connections), &traffic(&[("get", 1)], connections));
            arrived.clients.iter().map(|(one, _)| one.id).collect::<Vec<_>>()
        };
        assert_eq!((named(&both), named(&both[..1]), named(&both[2..])), (vec![2], vec![1], vec![]));
    }

    #[test]
    fn of_a_replica_only_what_no_master_sends_counts() {
        let replica = |calls: &[(&str, u64)]| Traffic { replica: true, ..traffic(calls, &[]) };
        let last = replica(&[("set", 1), ("get", 1)]);
        assert!(since(&replica(&[("set", 900), ("get", 1)]), &last).is_empty());
        assert_eq!(since(&replica(&[("set", 900), ("get", 2)]), &last).commands, BTreeMap::from([("get".into(), 1)]));
        let mut refused = replica(&[("set", 1), ("get", 1)]);
        refused.calls.insert("set".into(), Calls { done: 1, rejected: 2 });
        assert_eq!(since(&refused, &last).commands, BTreeMap::from([("set".into(), 2)]));
        let master = traffic(&[("set", 900), ("get", 1)], &[]);
        assert!(since(&master, &last).is_empty(), "what it was sent as a replica is no news");
    }

    #[test]
    fn a_sentinels_hello_does_not_count_and_an_applications_publish_does() {
        let sentinel = connection(1, "name=sentinel-ab-cmd cmd=publish");
        let (last, now) = (traffic(&[("publish", 1)], &[]), traffic(&[("publish", 2), ("subscribe", 1)], &[]));
        assert!(!since(&now, &last).is_empty());
        let watched = Traffic { connections: vec![sentinel], ..now };
        assert!(since(&watched, &last).is_empty());
        let mut by_app = watched.clone();
        by_app.connections.push(connection(2, "cmd=publish"));
        assert!(!since(&by_app, &last).is_empty());
    }

    #[test]
    fn what_monitor_shows_is_told_by_who_it_was() {
        let mut active = Active::default();
        let shown =
            [("10.0.0.7:1", "get", 3), ("10.0.0.7:2", "set", 9), ("10.0.0.9:5", "del", 5), ("10.0.0.7:1", "ping", 1)];
        let shown = shown.map(|(address, command, calls)| ((address.to_owned(), command.to_owned()), calls)).into();
        let link = Connection { kind: ClientKind::Master, ..connection(2, "cmd=set") };
        active.add_shown(&shown, &[connection(1, "name=app cmd=get"), link]);
        let list = active.list();
        let told: Vec<_> =
            list.iter().map(|one| (one.address.as_str(), one.name.as_str(), one.commands.len())).collect();
        assert_eq!(told, [("10.0.0.9:5", "", 1), ("10.0.0.7:1", "app", 1)]);
    }

    #[test]
    fn no_more_clients_are_kept_than_are_told() {
        let clients = (0..MOST_CLIENTS as u64 + 1).map(|id| (connection(id, "cmd=get"), Some(1))).collect();
        let mut active = Active::default();
        active.add(&Arrived { clients, ..Arrived::default() });
        assert_eq!(active.list().len(), MOST_CLIENTS);
    }

    proptest! {
        #[test]
        fn nothing_new_is_quiet_and_anything_new_is_not(
            calls in prop::collection::btree_map("get|set|publish", 0u64..100, 1..3),
            ids in prop::collection::btree_set(0u64..50, 0..6),
            replica: bool,
            more in 1u64..5,
        ) {
            let connections: Vec<_> = ids.iter().map(|id| connection(*id, "cmd=get idle=3 tot-cmds=4")).collect();
            let calls: Vec<_> = calls.iter().map(|(name, calls)| (name.as_str(), *calls)).collect();
            let last = Traffic { replica, ..traffic(&calls, &connections) };
            prop_assert!(since(&last, &last).is_empty());
            let mut now = last.clone();
            now.calls.entry("get".into()).or_default().done += more;
            prop_assert_eq!(since(&now, &last).commands, BTreeMap::from([("get".to_owned(), more)]));
        }

        #[test]
        fn looks_take_a_hundredth_of_the_time_at_most(micros in 0u64..90_000) {
            let cost = Duration::from_micros(micros);
            prop_assert!(until_next_look(cost) >= cost * 100);
        }
    }
}
