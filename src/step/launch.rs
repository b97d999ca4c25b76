//! `launch`: a target runs on this host with the live configuration of the source, and shares no file with it.

use std::{path::PathBuf, time::Duration};

use super::Call;
use crate::{
    decide::carry::{self, Dropped, Wishes},
    endpoint::Endpoint,
    error::{Code, Error, Result, State},
    facts::{Facts, finish, step_result},
    host::{
        Owner,
        place::{Found, Place},
        systemd::{self, Unit},
    },
    pair::Pair,
    server::{Server, config::is_secret, info::Role},
};

mod plan;
mod probe;
mod source;
mod start;

use plan::{Plan, plan};
use start::start;

/// What is wished.
#[derive(Clone)]
pub struct Options {
    /// The directory that is to be its own.
    pub directory: PathBuf,
    /// The server to run; none for the source's own.
    pub program: Option<PathBuf>,
    /// Values that go before the source's.
    pub parameters: Wishes,
    /// The unit that runs it; none for a plain process.
    pub unit: Option<String>,
    /// The user who runs it; none for ours.
    pub user: Option<String>,
    /// How long it may take to answer.
    pub wait_timeout: Duration,
    /// Launch it though memory or disk are short.
    pub force: bool,
}

step_result! {
    /// What `launch` returns.
    pub struct Launch {
        /// Whether the target runs.
        pub launched: bool,
        /// The number of its process; none if it does not run.
        pub pid: Option<u64>,
        /// Its configuration file.
        pub config_file: String,
        /// Its log.
        pub log_file: String,
        /// The program that it runs.
        pub program: String,
        /// What that is, such as `Valkey 9.1.2`.
        pub version: String,
        /// Parameters that were carried because the new program's default is another.
        pub carried: Vec<String>,
        /// ACL users that were carried.
        pub users_carried: Vec<String>,
        /// Parameters that were not carried, and why.
        pub dropped: Vec<Dropped>,
    }
}

/// Launches the target.
pub async fn launch(call: &Call, options: &Options) -> Result<Launch> {
    carry::check(&options.parameters)?;
    let place = Place::of(&options.directory)?;
    let pair = call.begin_alone("launch").await?;
    let before = pair.facts().await;
    let named = options.program.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let digest = carry::digest(&named, &options.parameters);
    if let Some(server) = running(&pair, &call.target, &place)? {
        check_wishes(server, &place, &digest)?;
        let info = server.info("server").await?;
        let plan = Plan::done(info.get("executable").unwrap_or_default(), server.identity.title());
        return Ok(finish(call, &place, plan, Some(server.identity.process_id), before.clone(), before));
    }
    let source = pair.source()?;
    check_source(source).await?;
    let found = place.look().map_err(|e| e.at(at(call)))?;
    let unit = check_unit(call, options).await?;
    let owner = match options.user.as_deref().or(unit.as_ref().and_then(|unit| unit.user.as_deref())) {
        Some(user) => Owner::of(user).await.map_err(|e| e.at(at(call)))?,
        None => None,
    };
    check_address(&call.target).await?;
    let plan = plan(call, options, &pair, &place, &digest, unit.as_ref()).await?;
    if found == Found::Ours {
        call.run.warn(format!("{} is from an earlier launch: data in it is loaded", place.directory.display()));
    }
    if call.run.dry {
        plan.files.iter().for_each(|(path, _)| call.run.action(format!("{}: write {}", at(call), path.display())));
        call.run.action(start::action(call, options, &place, &plan));
        return Ok(finish(call, &place, plan, None, before.clone(), before));
    }
    let settled = place.settle(&found, owner, &plan.files).map_err(|e| e.at(at(call)))?;
    plan.files.iter().for_each(|(path, _)| call.run.action(format!("{}: write {}", at(call), path.display())));
    let server = match start(call, options, &place, &plan, owner).await {
        Ok(server) => server,
        // It may run with these files.
        Err(error) if error.state == State::Interrupted => {
            settled.keep();
            return Err(error);
        }
        Err(error) => {
            drop(settled);
            return Err(error.state(State::Undone));
        }
    };
    settled.keep();
    confirm(&server, source, &plan.carried.names).await?;
    let after = call.find().await?.facts().await;
    Ok(finish(call, &place, plan, Some(server.identity.process_id), before, after))
}

fn finish(call: &Call, place: &Place, plan: Plan, pid: Option<u64>, before: Facts, after: Facts) -> Launch {
    finish!(
        call.run,
        before,
        after,
        Launch {
            launched: pid.is_some(),
            pid,
            config_file: place.config().display().to_string(),
            log_file: place.log().display().to_string(),
            program: plan.program,
            version: plan.version,
            carried: plan.carried.names,
            users_carried: plan.users.into_keys().collect(),
            dropped: plan.carried.dropped
        }
    )
}

/// How the target is called in messages before it runs.
fn at(call: &Call) -> String {
    format!("target {}", call.target)
}

/// The target, if it runs from our configuration; an error if something else is in its place.
fn running<'a>(pair: &'a Pair, target: &Endpoint, place: &Place) -> Result<Option<&'a Server>> {
    let taken = |found: String| {
        Error::new(Code::PortTaken, found)
            .at(format_args!("target {target}"))
            .remedy("give an address where nothing listens, or end what is there")
    };
    match pair.target() {
        Ok(server) if is_ours(server, place) => Ok(Some(server)),
        Ok(server) => Err(taken(format!(
            "another server listens there, {} with the configuration file {:?}",
            server.identity.title(),
            server.identity.config_file
        ))),
        Err(error) if error.code == Code::Unreachable => Ok(None),
        Err(_) if target.unix_socket.as_ref().is_some_and(|path| !path.exists()) => Ok(None),
        Err(error) if [Code::NotRedis, Code::TlsFailed].contains(&error.code) => {
            Err(taken(format!("something else listens there: {}", error.found)))
        }
        Err(error) => Err(error),
    }
}

fn is_ours(server: &Server, place: &Place) -> bool {
    let real = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path);
    !server.identity.config_file.is_empty() && real(server.identity.config_file.clone().into()) == real(place.config())
}

/// Refuses where the target runs, but with other wishes than these.
fn check_wishes(server: &Server, place: &Place, digest: &str) -> Result<()> {
    match place.mark()? {
        Some(mark) if mark == digest => Ok(()),
        _ => {
            Err(Error::new(Code::LaunchedOtherwise, "runs, but was launched with another program or other parameters")
                .at(server)
                .remedy("give those, or shut it down and launch it again"))
        }
    }
}

async fn check_source(source: &Server) -> Result<()> {
    if source.identity.mode != "standalone" {
        return Err(Error::new(Code::ClusterMode, format!("runs as {}", source.identity.mode)).at(source));
    }
    match source.replication().await?.role {
        Role::Master => Ok(()),
        Role::Replica => Err(Error::new(Code::SourceIsReplica, "is a replica, and the target does not run")
            .at(source)
            .remedy("give the master as source; if the two have changed places, start the target from its own file")),
    }
}

async fn check_unit(call: &Call, options: &Options) -> Result<Option<Unit>> {
    let Some(name) = &options.unit else { return Ok(None) };
    let unit = systemd::look(name).await.map_err(|e| e.at(at(call)))?;
    if !unit.loaded {
        return Err(Error::input("unit", format!("systemd knows no {name} that could be started")));
    }
    if unit.runs() {
        let found = format!("{name} runs already ({}), but not at this address", unit.state);
        return Err(Error::new(Code::LaunchedOtherwise, found).at(at(call)).remedy("stop it, or give its address"));
    }
    Ok(Some(unit))
}

/// Whether a server can listen at the target's address: on this host, at a free port.
async fn check_address(target: &Endpoint) -> Result<()> {
    use std::io::ErrorKind;
    if target.unix_socket.is_some() && target.port == 0 {
        return Ok(());
    }
    let (host, port) = (target.host.as_str(), target.port);
    let error = match tokio::net::TcpListener::bind((host, port)).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let error = match error.kind() {
        ErrorKind::AddrInUse => Error::new(Code::PortTaken, format!("port {port} is taken")).remedy("give a free port"),
        ErrorKind::AddrNotAvailable => {
            Error::new(Code::OtherHost, format!("{host} is no address of the host this runs on"))
                .remedy("run this on the host of the servers")
        }
        ErrorKind::PermissionDenied => Error::new(Code::HostDenied, format!("port {port} may not be used"))
            .remedy("give a port from 1024 on, or run this as root"),
        _ => Error::new(Code::HostUnknown, format!("{host}:{port} can't be listened at: {error}")),
    };
    Err(error.at(format_args!("target {target}")))
}

/// Reads back what was carried. A server may take a value and make another one of it, by the limits of its user for one.
async fn confirm(server: &Server, source: &Server, names: &[String]) -> Result<()> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (here, there) = (server.config(&names).await?, source.config(&names).await?);
    for name in names.iter().filter(|name| !is_secret(name)) {
        if let (Some(here), Some(there)) = (here.get(*name), there.get(*name))
            && here != there
        {
            server.run.warn(format!("{server}: {name} is {here:?}, and {there:?} on the source"));
        }
    }
    Ok(())
}
