//! `clients`: who is connected where, of what kind; optionally disconnected.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Call;
use crate::{
    decide::stage::Stage,
    error::{Code, Error, Result},
    facts::{finish, step_result},
    server::{
        Command, Server,
        client_list::{ClientKind, Connection},
    },
};

/// Connections that are alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct ClientGroup {
    /// `normal`, `blocked`, `pubsub`, `monitor`, `replica`, `master`, `sentinel` or `ours`.
    pub kind: String,
    /// The address they come from, without port.
    pub address: String,
    /// ACL user.
    pub user: String,
    /// The name they gave themselves.
    pub name: String,
    /// Client library and version, where the server knows (7.2).
    pub library: String,
    /// How many they are.
    pub connections: u64,
    /// Whole seconds since the last command of the busiest of them.
    pub idle: u64,
}

step_result! {
    /// What `clients` returns.
    pub struct Clients {
        /// Who is connected to the source; empty if it is gone.
        pub source: Vec<ClientGroup>,
        /// Who is connected to the target.
        pub target: Vec<ClientGroup>,
        /// How many connections were closed.
        pub disconnected: u64,
    }
}

/// Lists the connections of both servers. With `disconnect`, closes those that applications hold to the server that does
/// not serve (any more); they come back to wherever they are led.
pub async fn clients(call: &Call, disconnect: bool) -> Result<Clients> {
    let pair = call.begin("clients").await?;
    let before = pair.facts().await;
    let stage = pair.look().await?.stage;
    let at_source = match pair.source() {
        Ok(source) => source.connections().await?,
        Err(_) => Vec::new(),
    };
    let target = pair.target()?;
    let mut disconnected = 0;
    if disconnect && stage != Stage::Retired {
        let source = pair.source()?;
        if stage != Stage::Switched && !call.run.dry {
            return Err(Error::new(Code::SourceInUse, "still serves: disconnected clients would only come back")
                .at(source)
                .remedy("disconnect after the switchover"));
        }
        disconnected = close(source, &at_source).await?;
    }
    let target_groups = groups(&target.connections().await?);
    Ok(finish!(
        call.run,
        before.clone(),
        before,
        Clients { source: groups(&at_source), target: target_groups, disconnected }
    ))
}

async fn close(server: &Server, connections: &[Connection]) -> Result<u64> {
    let ids: Vec<_> = connections.iter().filter(|c| c.kind.is_application()).map(|c| c.id.to_string()).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let commands: Vec<_> = ids.iter().map(|id| Command::new(["CLIENT", "KILL", "ID", id])).collect();
    for command in &commands {
        server.run.action(format!("{server}: {command}"));
    }
    if server.run.dry {
        return Ok(ids.len() as u64);
    }
    // Who has left meanwhile is "No such client", which is what is wanted.
    let replies = server.pipeline(&commands).await?;
    Ok(replies.iter().filter(|reply| reply.is_ok()).count() as u64)
}

fn groups(connections: &[Connection]) -> Vec<ClientGroup> {
    let mut groups: BTreeMap<ClientGroup, (u64, u64)> = BTreeMap::new();
    for connection in connections.iter().filter(|c| c.kind != ClientKind::Ours) {
        let address = connection.addr.rsplit_once(':').map_or(connection.addr.as_str(), |(host, _)| host);
        let group = ClientGroup {
            kind: connection.kind.as_str().to_owned(),
            address: address.to_owned(),
            user: connection.user.clone(),
            name: connection.name.clone(),
            library: connection.library.clone(),
            connections: 0,
            idle: 0,
        };
        let (count, idle) = groups.entry(group).or_insert((0, u64::MAX));
        *count += 1;
        *idle = connection.idle.min(*idle);
    }
    groups.into_iter().map(|(group, (connections, idle))| ClientGroup { connections, idle, ..group }).collect()
}
