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

use std::time::Duration;

pub(crate) use crate::call::{Call, ServerCall};
pub use login::Login;

use crate::{
    endpoint::Endpoint,
    error::{Code, Error, Result},
    server::{Server, info::Role},
};

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
