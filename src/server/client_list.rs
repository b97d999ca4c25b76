//! `CLIENT LIST`, typed.

use serde::Serialize;

use super::{CLIENT_NAME, Command, Server, text};
use crate::error::Result;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// An application.
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

/// Whether a connection's name is one of redis-baton's: plain, or with the token of a controller at work.
fn is_ours(name: &str) -> bool {
    name.strip_prefix(CLIENT_NAME).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Its last command.
    pub command: String,
    /// Commands it has sent, where the server counts them (Valkey 8.1).
    pub commands: Option<u64>,
}

impl Connection {
    /// Reads one line; none if it has no id.
    pub fn parse(line: &str) -> Option<Self> {
        let field = |name: &str| {
            line.split(' ')
                .find_map(|word| word.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, value)| value)
        };
        let owned = |name| field(name).unwrap_or_default().to_owned();
        let number = |name| field(name).and_then(|n| n.parse().ok());
        let library = [field("lib-name"), field("lib-ver")].into_iter().flatten().filter(|part| !part.is_empty());
        let flags = field("flags").unwrap_or_default();
        let name = owned("name");
        let kind = match () {
            () if flags.contains('O') => ClientKind::Monitor,
            () if flags.contains('S') => ClientKind::Replica,
            () if flags.contains('M') => ClientKind::Master,
            () if is_ours(&name) => ClientKind::Ours,
            () if name.starts_with("sentinel-") => ClientKind::Sentinel,
            () if flags.contains('P') => ClientKind::Pubsub,
            () if flags.contains('b') => ClientKind::Blocked,
            () => ClientKind::Normal,
        };
        Some(Connection {
            id: number("id")?,
            addr: owned("addr"),
            name,
            user: owned("user"),
            library: library.collect::<Vec<_>>().join(" "),
            kind,
            idle: number("idle").unwrap_or_default(),
            age: number("age").unwrap_or_default(),
            command: owned("cmd"),
            commands: number("tot-cmds"),
        })
    }
}

impl Server {
    /// Everybody who is connected.
    pub async fn connections(&self) -> Result<Vec<Connection>> {
        let list = text(&self.read(&Command::new(["CLIENT", "LIST"])).await?)?;
        Ok(list.lines().filter_map(Connection::parse).collect())
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
        assert_eq!(kind("name=sentinel-ab-cmd flags=N"), ClientKind::Sentinel);
        assert_eq!(kind("name= flags=S"), ClientKind::Replica);
        assert_eq!(kind("name= flags=P"), ClientKind::Pubsub);
        assert_eq!(kind("name= flags=b"), ClientKind::Blocked);
    }
}
