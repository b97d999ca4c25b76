//! `CLIENT LIST`, typed.

use redis::Value;
use serde::Serialize;

use super::{Command, Server, text};
use crate::{error::Result, run::CLIENT_NAME};

/// What a connection is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// An application.
    #[default]
    Normal,
    /// An application that waits in a blocking command.
    Blocked,
    /// An application that has subscribed to channels.
    Pubsub,
    /// Somebody who runs MONITOR.
    Monitor,
    /// A replica of this server.
    Replica,
    /// The link of this server to its master.
    Master,
    /// A sentinel.
    Sentinel,
    /// A connection of redis-baton.
    Ours,
}

impl ClientKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientKind::Normal => "normal",
            ClientKind::Blocked => "blocked",
            ClientKind::Pubsub => "pubsub",
            ClientKind::Monitor => "monitor",
            ClientKind::Replica => "replica",
            ClientKind::Master => "master",
            ClientKind::Sentinel => "sentinel",
            ClientKind::Ours => "ours",
        }
    }

    /// Whether an application holds it.
    pub fn is_application(self) -> bool {
        matches!(self, ClientKind::Normal | ClientKind::Blocked | ClientKind::Pubsub)
    }
}

/// Whether a connection's name is one of redis-baton's: plain, with the token of a controller at work, or of one beside it.
fn is_ours(name: &str) -> bool {
    name.strip_prefix(CLIENT_NAME).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '.']))
}

/// One connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// Unique for the life of the server.
    pub id: u64,
    /// Where it comes from, with its port.
    pub addr: String,
    /// The name it gave itself.
    pub name: String,
    /// ACL user.
    pub user: String,
    /// Client library and its version (7.2).
    pub library: String,
    /// What it is for.
    pub kind: ClientKind,
    /// Whole seconds since its last command.
    pub idle: u64,
    /// Whole seconds since it connected.
    pub age: u64,
    /// Its last command; empty if it has sent none.
    pub command: String,
    /// Commands it has sent, where the server counts them (Valkey 8.0, Redis 8.6).
    pub commands: Option<u64>,
    /// Whether it goes where a replica sends it: it announced `CLIENT CAPA redirect` (Valkey 8.1 shows it).
    pub redirects: bool,
    /// Whether it watches keys: `WATCH` (Redis 7.4, Valkey 8.0; before, only one whose keys have changed already).
    pub watching: bool,
    /// Whether it is within `MULTI`.
    pub in_transaction: bool,
    /// Whether the server keeps track of its keys: `CLIENT TRACKING`.
    pub tracking: bool,
    /// Whether it has subscribed to channels or patterns.
    pub subscribed: bool,
    /// Whether it waits in a blocking command.
    pub blocked: bool,
}

impl Connection {
    /// Reads one line; none if it has no id.
    pub fn parse(line: &str) -> Option<Self> {
        let mut id = None;
        let mut flags = "";
        let mut library = Vec::new();
        let mut connection = Connection::default();
        // A list can have ten thousand lines: each is gone through once.
        for (key, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
            let number = || value.parse::<u64>().unwrap_or_default();
            match key {
                "id" => id = value.parse().ok(),
                "addr" => value.clone_into(&mut connection.addr),
                "name" => value.clone_into(&mut connection.name),
                "user" => value.clone_into(&mut connection.user),
                "lib-name" | "lib-ver" if !value.is_empty() => library.push(value),
                "flags" => flags = value,
                "idle" => connection.idle = number(),
                "age" => connection.age = number(),
                "cmd" if value != "NULL" => value.clone_into(&mut connection.command),
                "tot-cmds" => connection.commands = value.parse().ok(),
                "capa" => connection.redirects = value.contains('r'),
                "watch" => connection.watching |= number() > 0,
                "sub" | "psub" | "ssub" => connection.subscribed |= number() > 0,
                _ => {}
            }
        }
        connection.id = id?;
        connection.library = library.join(" ");
        connection.watching |= flags.contains('d');
        connection.in_transaction = flags.contains('x');
        connection.tracking = flags.contains('t');
        connection.blocked = flags.contains('b');
        connection.kind = match () {
            () if flags.contains('O') => ClientKind::Monitor,
            () if flags.contains('S') => ClientKind::Replica,
            () if flags.contains('M') => ClientKind::Master,
            () if is_ours(&connection.name) => ClientKind::Ours,
            () if connection.name.starts_with("sentinel-") => ClientKind::Sentinel,
            () if flags.contains('P') => ClientKind::Pubsub,
            () if flags.contains('b') => ClientKind::Blocked,
            () => ClientKind::Normal,
        };
        Some(connection)
    }

    /// The address it comes from without port: `10.0.0.7`, `::1`, or the path of a unix socket.
    pub fn host(&self) -> &str {
        let host = self.addr.rsplit_once(':').map_or(self.addr.as_str(), |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // Valkey 9.1 writes a unix socket as `[PATH:0]:0`.
        if host.starts_with('/') { host.strip_suffix(":0").unwrap_or(host) } else { host }
    }
}

/// The connections of a `CLIENT LIST`.
pub fn parse_list(list: &str) -> Vec<Connection> {
    list.lines().filter_map(Connection::parse).collect()
}

/// How many are cut in one go: the server does nothing else meanwhile, about 20 us each.
const BATCH: usize = 500;

impl Server {
    /// Everybody who is connected.
    pub async fn connections(&self) -> Result<Vec<Connection>> {
        Ok(parse_list(&text(&self.read(&Command::new(["CLIENT", "LIST"])).await?)?))
    }

    /// Cuts connections by their ids, which no other one ever gets. Returns those that were still there; in a dry run
    /// all of them.
    pub async fn cut(&self, connections: &[Connection]) -> Result<Vec<Connection>> {
        let mut cut = Vec::new();
        for batch in connections.chunks(BATCH) {
            let commands: Vec<_> =
                batch.iter().map(|one| Command::new(["CLIENT", "KILL", "ID", &one.id.to_string()])).collect();
            let replies = match self.run.dry {
                true => vec![Ok(Value::Int(1)); commands.len()],
                false => self.pipeline_of_changes(&commands).await?,
            };
            for ((connection, command), reply) in batch.iter().zip(&commands).zip(replies) {
                match reply {
                    Ok(Value::Int(0)) => {} // it has left meanwhile
                    Ok(_) => {
                        self.run.action(format!("{self}: {command}"));
                        cut.push(connection.clone());
                    }
                    Err(said) => return Err(self.refused(command, &said)),
                }
            }
        }
        Ok(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        let kind = |rest: &str| Connection::parse(&format!("id=1 addr=a:1 {rest}")).unwrap().kind;
        assert_eq!(kind("name= flags=N"), ClientKind::Normal);
        assert_eq!(kind("name=redis-baton flags=N"), ClientKind::Ours);
        assert_eq!(kind("name=redis-baton.probe flags=N"), ClientKind::Ours);
        assert_eq!(kind("name=sentinel-ab-cmd flags=N"), ClientKind::Sentinel);
        assert_eq!(kind("name= flags=S"), ClientKind::Replica);
        assert_eq!(kind("name= flags=P"), ClientKind::Pubsub);
        assert_eq!(kind("name= flags=b"), ClientKind::Blocked);
        assert_eq!(kind("name=redis-baton-too flags=N"), ClientKind::Normal);
    }

    #[test]
    fn what_a_connection_would_lose_is_read_in_every_dialect() {
        let read = |rest: &str| Connection::parse(&format!("id=1 addr=a:1 {rest}")).unwrap();
        assert!(read("flags=N watch=2").watching && read("flags=d watch=0").watching && !read("flags=N").watching);
        assert!(read("flags=x multi=1").in_transaction && !read("flags=N multi=0").in_transaction);
        assert!(read("flags=tB redir=0").tracking);
        assert!(read("flags=P sub=0 psub=0 ssub=1").subscribed && !read("flags=P sub=0 psub=0").subscribed);
        assert!(read("flags=N capa=r").redirects && !read("flags=N capa=").redirects);
        assert_eq!((read("flags=N cmd=NULL").command.as_str(), read("tot-cmds=7").commands), ("", Some(7)));
    }

    #[test]
    fn a_host_is_told_from_its_port() {
        let host = |addr: &str| Connection::parse(&format!("id=1 addr={addr}")).unwrap().host().to_owned();
        assert_eq!((host("10.0.0.7:4711"), host("[::1]:4711")), ("10.0.0.7".into(), "::1".into()));
        assert_eq!((host("/run/s:0"), host("[/run/s:0]:0")), ("/run/s".into(), "/run/s".into()));
    }
}
