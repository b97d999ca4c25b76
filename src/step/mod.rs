//! The steps, one file each. Every step looks (reads the servers), decides, acts, and confirms by reading back; so
//! each can be run again at any time, and a dry run is its first two parts.

mod aftermath;
mod bring_back;
pub mod clients;
pub mod config;
pub mod guard;
mod hand_over;
pub mod launch;
mod login;
mod moment;
pub mod persistence;
pub mod preflight;
mod prepare;
pub mod promote;
pub mod relay;
mod replicas;
pub mod replicate;
pub mod report;
pub mod retire;
pub mod rollback;
mod saving;
pub mod status;
pub mod switchover;
pub mod verify;
pub mod wait_quiescent;
pub mod wait_ready;
pub mod wait_synced;
mod warm;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use login::Login;

use crate::{
    endpoint::Endpoint,
    error::{Code, Error, Result},
    pair::Pair,
    run::{Event, Run},
    server::{Server, info::Role},
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
    /// Cut off another controller that is at work on these servers.
    pub break_lock: bool,
}

impl Call {
    /// Says that a step begins, and finds the two servers.
    pub async fn begin(&self, step: &'static str) -> Result<Pair> {
        self.run.emit(&Event::Step { step });
        self.find().await
    }

    /// The same for a step that changes them: other controllers are kept out from now on. A dry run looks past them.
    pub async fn begin_alone(&self, step: &'static str) -> Result<Pair> {
        let pair = self.begin(step).await?;
        if self.run.dry || !pair.lock(self.break_lock).await? {
            return Ok(pair);
        }
        let pair = self.find().await?;
        pair.lock(self.break_lock).await?;
        Ok(pair)
    }

    /// The same servers, for somebody who looks on beside this call.
    pub fn looked_on(&self, client_name: &'static str) -> Self {
        Call {
            run: Arc::new(Run::onlooker(client_name)),
            source: self.source.clone(),
            target: self.target.clone(),
            journal_dir: self.journal_dir.clone(),
            break_lock: false,
        }
    }

    /// Finds the two servers, wherever they are now.
    pub async fn find(&self) -> Result<Pair> {
        Pair::find(&self.run, &self.source, &self.target, self.journal_dir.as_deref()).await
    }
}

/// What a step on one server is given.
pub struct ServerCall {
    /// The context of this call.
    pub run: Arc<Run>,
    /// The server.
    pub server: Endpoint,
    /// Cut off another controller that is at work on it.
    pub break_lock: bool,
}

impl ServerCall {
    /// Says that a step begins, and connects.
    pub async fn begin(&self, step: &'static str) -> Result<Server> {
        self.run.emit(&Event::Step { step });
        self.connect().await
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Server> {
        self.server.check_address()?;
        Server::connect_alone(&self.run, &self.server).await
    }

    /// The same for a step that changes the server: other controllers are kept out from now on. A dry run looks past them.
    pub async fn begin_alone(&self, step: &'static str) -> Result<Server> {
        let server = self.begin(step).await?;
        if !self.run.dry {
            server.lock(self.break_lock).await?;
        }
        Ok(server)
    }
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

/// A server's address once it listens on these ports.
pub(crate) fn at(server: &Server, ports: crate::journal::Ports) -> Endpoint {
    ports.at(&server.endpoint)
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
