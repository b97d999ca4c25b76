//! The other replicas of the server that is demoted: they follow the promoted one, by partial resync.

use std::time::Duration;

use super::{Route, route, warm::full_syncs};
use crate::{
    decide::compat::{Verdict, verdict},
    endpoint::Endpoint,
    error::Result,
    journal::Handover,
    pair::Pair,
    run::Deadline,
    server::{Command, Server, config::ANNOUNCED, info::Replication},
};

/// A replica that lost its master looks for it once a second.
const WITHIN: Duration = Duration::from_secs(10);

/// Logs in to each of the replicas of `demoted` but `promoted`, with the login of their master. Those that can't be
/// asked are a warning: they have to be pointed to the new master by hand.
pub(super) async fn others(pair: &Pair, demoted: &Server, promoted: &Server) -> Result<Vec<Server>> {
    let (mut others, mut unasked) = (Vec::new(), Vec::new());
    let mut promoted_is_listed = false;
    for replica in demoted.replication().await?.replicas {
        let at =
            Endpoint { host: replica.ip.clone(), port: replica.port, unix_socket: None, ..demoted.endpoint.clone() };
        match Server::connect(&pair.run, demoted.side, &at).await {
            Ok(server) if server.identity.run_id == promoted.identity.run_id => promoted_is_listed = true,
            Ok(server) => {
                if let Verdict::Refused { .. } = verdict(&promoted.identity, &server.identity) {
                    pair.run.warn(format!(
                        "the replica at {at} ({}) follows the new master only as long as it needs no full resync: replace it too",
                        server.identity.title()
                    ));
                }
                others.push(server.as_replica());
            }
            Err(error) => unasked.push((at, error)),
        }
    }
    let announced = promoted.config(&[ANNOUNCED]).await?.get(ANNOUNCED).and_then(|port| port.parse().ok());
    let its_port = announced.filter(|port| *port != 0).unwrap_or(promoted.endpoint.port);
    for (at, error) in unasked {
        // Behind a proxy or a translated address it may be the promoted one itself.
        if promoted_is_listed || at.port != its_port {
            pair.run.warn(format!(
                "the replica at {at} could not be asked ({}): see that it follows the new master before retire",
                error.found
            ));
        }
    }
    Ok(others)
}

/// Points them to `promoted`, where they do not find it at the old address by themselves, and waits until they follow. One
/// that does not is a warning: the new master serves all the same.
pub(super) async fn bring_along(pair: &Pair, others: &[Server], promoted: &Server, handover: &Handover) -> Result<()> {
    if others.is_empty() {
        return Ok(());
    }
    let before = full_syncs(promoted).await?;
    let route = route(promoted, handover.public)?;
    let deadline = Deadline::after(WITHIN);
    for replica in others {
        let followed = async {
            point(replica, promoted, &route, handover.arrives()).await?;
            wait_followed(pair, replica, promoted, deadline).await
        };
        match followed.await {
            Ok(true) => {}
            Ok(false) => pair.run.warn(format!("{replica}: does not follow the new master yet: look at its log")),
            Err(error) => pair.run.warn(format!("{error}: see that it follows the new master before retire")),
        }
    }
    if full_syncs(promoted).await? > before {
        pair.run.warn("a replica of the old one could not follow without a full resync");
    }
    Ok(())
}

/// After a takeover the address is the same, and to say it again would do nothing. But a server that was demoted keeps the
/// replicas it has until it is linked itself: so they leave it. Without one the same port may be that of another host.
async fn point(replica: &Server, promoted: &Server, route: &Route, took_over: bool) -> Result<()> {
    let (seen, master) = tokio::join!(replica.replication(), promoted.replication());
    let (seen, master) = (seen?, master?);
    match &seen.master {
        Some((host, port)) if *port == route.port && (took_over || *host == route.host) => {
            if seen.link_up && !follows(&seen, &master) {
                replica.change(&Command::new(["CLIENT", "KILL", "TYPE", "master"])).await?;
            }
            Ok(())
        }
        _ => replica.change(&Command::replicaof(&route.host, route.port)).await,
    }
}

async fn wait_followed(pair: &Pair, replica: &Server, promoted: &Server, deadline: Deadline) -> Result<bool> {
    loop {
        let (seen, master) = tokio::join!(replica.replication(), promoted.replication());
        if follows(&seen?, &master?) {
            return Ok(true);
        }
        if deadline.passed() {
            return Ok(false);
        }
        pair.run.sleep(Duration::from_millis(10)).await?;
    }
}

fn follows(replica: &Replication, master: &Replication) -> bool {
    replica.link_up && !replica.syncing && replica.replid == master.replid
}
