//! The steps, one file each. Every step looks (reads the servers), decides, acts, and confirms by reading back; so
//! each can be run again at any time, and a dry run is its first two parts.

mod bring_back;
pub mod clients;
mod hand_over;
pub mod preflight;
pub mod promote;
pub mod replicate;
pub mod retire;
pub mod rollback;
pub mod switchover;
pub mod verify;
pub mod wait_quiescent;
pub mod wait_synced;

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    endpoint::Endpoint,
    error::{Code, Error, Result},
    pair::Pair,
    run::{Event, Run},
    server::{Command, Server, info::Role},
};

/// What every step is given.
pub struct Call {
    /// The context of this call.
    pub run: Arc<Run>,
    /// The live master, by the address it had when the upgrade began.
    pub source: Endpoint,
    /// The new instance, by the address it had when the upgrade began.
    pub target: Endpoint,
    /// Where journals are kept; none for the default.
    pub journal_dir: Option<PathBuf>,
}

impl Call {
    /// Says that a step begins, and finds the two servers.
    pub async fn begin(&self, step: &'static str) -> Result<Pair> {
        self.run.emit(&Event::Step { step });
        Pair::find(&self.run, &self.source, &self.target, self.journal_dir.as_deref()).await
    }
}

/// A login for replication.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// ACL user; none for the default user.
    pub user: Option<String>,
    /// Its password.
    pub password: String,
}

/// Reads seconds as given by a caller: finite and not negative.
pub fn seconds(field: &str, value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| Error::input(field, format!("{value} is not a number of seconds (0 or more)")))
}

/// The address at which one server replicates from another, and whether over TLS.
pub(crate) struct Route {
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

/// How `replica` reaches `master`, which listens on `ports`: over TLS where we speak it ourselves or nothing else is
/// offered, else plain.
pub(crate) fn route(master: &Server, ports: crate::journal::Ports) -> Result<Route> {
    let tls = ports.tls != 0 && (master.endpoint.tls.is_some() || ports.plain == 0);
    let port = if tls { ports.tls } else { ports.plain };
    if port == 0 {
        return Err(Error::new(Code::AddressNotShared, "listens on no TCP port, so nothing can replicate from it")
            .at(master)
            .remedy("set a port on it"));
    }
    Ok(Route { host: master.endpoint.host.clone(), port, tls })
}

/// Lets `replica` log in to `master` and reach it: user, password and TLS of replication. What the operator has set
/// on it is left alone. The login is tried first: a replica that is not let in says so in its log alone.
pub(crate) async fn replication_login(
    pair: &Pair,
    replica: &Server,
    master: &Server,
    login: Option<&Login>,
    tls: bool,
) -> Result<()> {
    let config = replica.config(&["masteruser", "masterauth", "tls-replication"]).await?;
    let set = |name: &str| config.get(name).filter(|value| !value.is_empty()).cloned();
    let present = set("masterauth").map(|password| Login { user: set("masteruser"), password });
    let endpoint = &master.endpoint;
    let own = endpoint.password.clone().map(|password| Login { user: endpoint.user.clone(), password });
    let wanted = login.cloned().or_else(|| present.clone()).or(own);
    let tried = Endpoint {
        user: wanted.as_ref().and_then(|login| login.user.clone()),
        password: wanted.as_ref().map(|login| login.password.clone()),
        ..endpoint.clone()
    };
    match Server::visit(&pair.run, master.side, &tried, &Command::new(["PING"])).await {
        Err(error) if error.code == Code::AuthFailed => {
            let found = format!("does not let {} in with the login it has for replication", replica.side.as_str());
            let remedy = "give replication_user and replication_password, or set masteruser and masterauth on it";
            return Err(Error { found, ..error }.remedy(remedy));
        }
        // An account for replication alone may not be allowed to PING from here.
        Err(error) if error.code != Code::PermissionDenied => return Err(error),
        _ => {}
    }
    if let Some(wanted) = wanted.filter(|wanted| present.as_ref() != Some(wanted)) {
        replica.raise(&pair.journal, "masteruser", wanted.user.as_deref().unwrap_or_default()).await?;
        replica.raise(&pair.journal, "masterauth", &wanted.password).await?;
    }
    let wanted = if tls { "yes" } else { "no" };
    if config.get("tls-replication").is_some_and(|present| present != wanted) {
        replica.raise(&pair.journal, "tls-replication", wanted).await?;
    }
    Ok(())
}

/// Confirms a role by reading it back.
pub(crate) async fn confirm_role(server: &Server, role: Role) -> Result<()> {
    let seen = server.replication().await?;
    if seen.role == role {
        return Ok(());
    }
    Err(Error::new(Code::NotConfirmed, format!("is {:?} and not {role:?}", seen.role))
        .at(server)
        .state(crate::error::State::Interrupted))
}
