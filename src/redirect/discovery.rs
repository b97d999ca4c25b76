//! A source that is given by a sentinel and the name of a master.

use std::sync::Arc;

use super::{Plan, sentinel::in_time};
use crate::{
    decide::sentinels::Address,
    endpoint::Endpoint,
    error::{Code, Error, Result},
    journal::Handover,
    run::Run,
    server::{Command, Server, Side, config::named},
};

/// Where the source is, or was when the upgrade began. One that was given by a sentinel and a name is asked for until a handover
/// is on record: from then on the sentinels name whoever serves.
pub async fn address_of_source(run: &Arc<Run>, given: &Endpoint, handover: Option<&Handover>) -> Result<Endpoint> {
    let Some(name) = &given.master_name else { return Ok(given.clone()) };
    let at = match handover {
        Some(Handover { plan: Plan::Sentinel(watch), .. }) => watch.address(Side::Source).clone(),
        _ => ask_for_master(run, given, name).await?,
    };
    Ok(Endpoint { host: at.host, port: at.port, master_name: None, ..given.clone() })
}

async fn ask_for_master(run: &Arc<Run>, given: &Endpoint, name: &str) -> Result<Address> {
    let open = Endpoint { user: None, password: None, master_name: None, ..given.clone() };
    // Most sentinels want no login, and refuse one then.
    match ask(run, &open, name).await {
        Err(error) if error.code == Code::AuthFailed && given.password.is_some() => {
            ask(run, &open.with_login_of(given), name).await
        }
        asked => asked,
    }
}

async fn ask(run: &Arc<Run>, sentinel: &Endpoint, name: &str) -> Result<Address> {
    let command = Command::new(["SENTINEL", "MASTER", name]);
    let at = Address { host: sentinel.host.clone(), port: sentinel.port };
    let asking = async {
        let sentinel = Server::connect_sentinel(run, sentinel).await?;
        let unknown = || {
            Error::new(Code::RedirectFailed, format!("knows no master {name}"))
                .at(&sentinel)
                .remedy("SENTINEL MASTERS lists those it knows")
        };
        match sentinel.ask(&command).await? {
            Ok(reply) => Address::of(&named(reply)?).ok_or_else(unknown),
            Err(said) if said.text.contains("No such master") => Err(unknown()),
            Err(said) if said.text.contains("NOAUTH") => {
                Err(Error::new(Code::AuthFailed, "wants a login").at(&sentinel))
            }
            Err(said) => Err(sentinel.refused(&command, &said)),
        }
    };
    in_time(&at, sentinel.connect_timeout, asking).await
}
