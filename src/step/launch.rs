//! `launch`: a target runs on this host with the live configuration of the source, and shares no file with it.

use std::{path::PathBuf, time::Duration};

use super::Call;
use crate::{
    decide::{
        carry::{self, Carried, Carry, Dropped, Values, Wishes},
        room::{self, Room},
    },
    endpoint::Endpoint,
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    host::{
        self, Owner,
        place::{Found, Place, Settled},
        process::{Log, Started},
        systemd::{self, Unit},
    },
    pair::{Pair, log_in},
    run::{Deadline, Event},
    server::{
        Command, Server, Side,
        acl::Users,
        info::{Info, Role},
    },
};

mod probe;
mod source;

/// Between two looks whether it has come up.
const BREATH: Duration = Duration::from_millis(20);

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
        let program = server.info("server").await?.get("executable").unwrap_or_default().to_owned();
        let done = Plan { program, version: server.identity.title(), carried: nothing(), users: Users::new() };
        return Ok(finish(call, &place, done, Some(server.identity.process_id), before.clone(), before));
    }
    let source = pair.source()?;
    check_source(source).await?;
    let found = place.look().map_err(|e| e.at(at(call)))?;
    let unit = check_unit(call, options).await?;
    let owner = match &options.user {
        Some(user) => Owner::of(user).await?,
        None => None,
    };
    check_address(&call.target).await?;
    let (plan, files) = plan(call, options, &pair, &place, &digest, unit.as_ref()).await?;
    if found == Found::Ours {
        call.run.warn(format!("{} is from an earlier launch: data in it is loaded", place.directory.display()));
    }
    if call.run.dry {
        note(call, options, &place, &plan, &files);
        return Ok(finish(call, &place, plan, None, before.clone(), before));
    }
    let settled = place.settle(&found, owner, &files).map_err(|e| e.at(at(call)))?;
    let server = match start(call, options, &place, &plan, owner).await {
        Ok(server) => server,
        Err(error) => {
            drop(settled);
            return Err(error.state(State::Undone));
        }
    };
    Settled::keep(settled);
    note(call, options, &place, &plan, &files);
    confirm(&server, source, &plan.carried.names).await?;
    let after = call.find().await?.facts().await;
    Ok(finish(call, &place, plan, Some(server.identity.process_id), before, after))
}

/// What is to be run, and with what.
struct Plan {
    program: String,
    version: String,
    carried: Carried,
    users: Users,
}

fn nothing() -> Carried {
    Carried { text: String::new(), names: Vec::new(), dropped: Vec::new() }
}

fn finish(
    call: &Call,
    place: &Place,
    plan: Plan,
    pid: Option<u64>,
    before: crate::facts::Facts,
    after: crate::facts::Facts,
) -> Launch {
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
    if options.user.is_some() {
        return Err(Error::input("user", "a unit says itself who runs it: leave one of the two out"));
    }
    let unit = systemd::look(name).await.map_err(|e| e.at(at(call)))?;
    if !unit.loaded {
        return Err(Error::input("unit", format!("systemd knows no {name} that could be started")));
    }
    if unit.active == "active" {
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

/// Decides what is to be run, and writes nothing.
async fn plan(
    call: &Call,
    options: &Options,
    pair: &Pair,
    place: &Place,
    digest: &str,
    unit: Option<&Unit>,
) -> Result<(Plan, Vec<(PathBuf, String)>)> {
    let source = pair.source()?;
    let info = source.info("default").await?;
    let program = source::program(source, options.program.as_deref(), &info)?;
    let live = source::read(pair, source).await?;
    if std::fs::canonicalize(&live.directory)
        .is_ok_and(|dir| std::fs::canonicalize(&place.directory).is_ok_and(|own| own == dir))
    {
        return Err(Error::new(Code::DirectoryInUse, "is the source's own directory")
            .at(source)
            .remedy("give the new instance a directory of its own"));
    }
    let probed = probe::probe(call, &program).await?;
    if call.target.tls.is_some() && !probed.known.contains_key("tls-port") {
        return Err(Error::new(Code::ProgramUnusable, format!("{} was built without TLS", program.display())));
    }
    let users = live.users_for(&probed.identity);
    if let Some(refused) = &probed.check(&users).await? {
        return Err(refused.error(&at(call)));
    }
    let in_file = Users::new();
    let carried = carry::carry(&Carry {
        source: &live.values,
        known: &probed.known,
        wishes: &options.parameters,
        own: &own(call, options, place, live.has_acl_file),
        users: if live.has_acl_file { &in_file } else { &users },
        modules: &live.modules,
        digest,
    })?;
    warn_of_dropped(call, &probed.identity.title(), &carried.dropped);
    check_room(call, options, place, &info, &live.values, unit).await?;
    let mut files = vec![(place.config(), carried.text.clone())];
    if live.has_acl_file {
        files.insert(0, (place.users(), carry::acl_file(&users)));
    }
    let version = probed.identity.title();
    Ok((Plan { program: program.display().to_string(), version, carried, users }, files))
}

/// What keeps the new instance apart from the source.
fn own(call: &Call, options: &Options, place: &Place, acl_file: bool) -> Vec<(&'static str, String)> {
    let target = &call.target;
    let port = target.port.to_string();
    let (plain, tls) = if target.tls.is_some() { ("0".to_owned(), port) } else { (port, "0".to_owned()) };
    let text = |path: PathBuf| path.display().to_string();
    let mut own = vec![
        ("port", plain),
        ("tls-port", tls),
        ("dir", text(place.directory.clone())),
        ("dbfilename", "dump.rdb".into()),
        ("appendfilename", "appendonly.aof".into()),
        ("appenddirname", "appendonlydir".into()),
        ("cluster-config-file", "nodes.conf".into()),
        ("pidfile", text(place.pid())),
        ("logfile", text(place.log())),
        ("daemonize", "no".into()),
        ("supervised", if options.unit.is_some() { "auto" } else { "no" }.into()),
    ];
    if let Some(path) = &target.unix_socket {
        own.push(("unixsocket", text(path.clone())));
    }
    if acl_file {
        own.push(("aclfile", text(place.users())));
    }
    own
}

fn warn_of_dropped(call: &Call, title: &str, dropped: &[Dropped]) {
    if !dropped.is_empty() {
        let names: Vec<_> = dropped.iter().map(|one| one.parameter.as_str()).collect();
        call.run.warn(format!("parameters of the source that {title} starts without: {}", names.join(", ")));
    }
}

async fn check_room(
    call: &Call,
    options: &Options,
    place: &Place,
    info: &Info,
    live: &Values,
    unit: Option<&Unit>,
) -> Result<()> {
    let number = |name: &str| info.number(name).unwrap_or_default();
    let data = number("used_memory").saturating_sub(number("used_memory_startup"));
    let forked = number("rdb_last_cow_size").max(number("aof_last_cow_size"));
    let value = |name: &str| {
        let wish = options.parameters.get(name).map(|values| values.join(" "));
        wish.or_else(|| live.get(name).cloned()).unwrap_or_default()
    };
    let memory = host::memory();
    let verdict = room::judge(&Room {
        data,
        // One that never forked tells nothing: a tenth is what a busy one takes.
        fork: if forked == 0 { data / 10 } else { forked },
        memory: memory.available,
        group: unit.map_or(memory.group, |unit| unit.memory_max),
        overcommit: memory.overcommit,
        promises: memory.promises,
        disk: host::disk_free(&place.directory).await,
        rdb: !value("save").is_empty(),
        aof: value("appendonly") == "yes",
    });
    for blocker in verdict.blockers {
        if !options.force {
            return Err(blocker.at(at(call)));
        }
        call.run.warn(format!("{}: {}", at(call), blocker.found));
    }
    verdict.warnings.into_iter().for_each(|warning| call.run.warn(format!("{}: {warning}", at(call))));
    Ok(())
}

/// Notes what was done; in a dry run, what would be.
fn note(call: &Call, options: &Options, place: &Place, plan: &Plan, files: &[(PathBuf, String)]) {
    for (path, _) in files {
        call.run.action(format!("{}: write {}", at(call), path.display()));
    }
    call.run.action(match &options.unit {
        Some(unit) => format!("{}: systemctl start {unit}", at(call)),
        None => format!("{}: start {} {}", at(call), plan.program, place.config().display()),
    });
}

/// Starts it and waits until it answers. Where it does not, it is ended.
async fn start(call: &Call, options: &Options, place: &Place, plan: &Plan, owner: Option<Owner>) -> Result<Server> {
    let deadline = Deadline::after(options.wait_timeout);
    let Some(unit) = &options.unit else {
        let config = place.config().display().to_string();
        let started = Started::start(plan.program.as_ref(), &[&config], &place.directory, &place.log(), owner);
        let mut started = started.map_err(|e| {
            Error::new(Code::HostDenied, format!("{} can't be started: {e}", plan.program)).at(at(call))
        })?;
        let server = come_up(call, place, Some(&mut started), deadline).await?;
        started.release();
        return Ok(server);
    };
    let from = std::fs::metadata(place.log()).map_or(0, |about| about.len());
    let refused = systemd::tell("start", unit, options.wait_timeout).await;
    let outcome = match refused {
        Some(said) => Err(Error::new(Code::LaunchFailed, format!("{unit} was not started: {said}"))),
        None => come_up(call, place, None, deadline).await,
    };
    let Err(error) = outcome else { return outcome };
    let state = systemd::look(unit).await.map(|unit| unit.state).unwrap_or_default();
    systemd::tell("stop", unit, options.wait_timeout).await;
    let log = Log { path: place.log(), from };
    let found = match log.refused_value() {
        Some(refused) => format!("{unit} does not take {}: {}", refused.parameter, refused.why),
        None => format!("{} ({unit} is {state}); {}", error.found, log.tail()),
    };
    let remedy = format!("see that the unit runs {} {}", plan.program, place.config().display());
    Err(Error { found, ..error }.at(at(call)).remedy(remedy))
}

/// Waits until our own process answers.
async fn come_up(call: &Call, place: &Place, mut started: Option<&mut Started>, deadline: Deadline) -> Result<Server> {
    let failed = |found: String| Error::new(Code::LaunchFailed, found).at(at(call));
    loop {
        if let Some(started) = &mut started
            && let Some(status) = started.ended().map_err(|e| failed(e.to_string()))?
        {
            return Err(match started.log.refused_value() {
                Some(refused) => failed(format!("does not take {}: {}", refused.parameter, refused.why))
                    .remedy(format!("give {} another value in parameters", refused.parameter)),
                None => failed(format!("ended at once ({status}); {}", started.log.tail()))
                    .remedy("mend what it says, then run this again"),
            });
        }
        let found = match log_in(&call.run, Side::Target, &call.target, Some(&call.source)).await {
            Ok(server) if is_ours(&server, place) => return Ok(server),
            Ok(_) => "another server has come to that address meanwhile".to_owned(),
            Err(error) if error.code == Code::Cancelled => return Err(error),
            Err(error) => error.found,
        };
        if deadline.passed() {
            let said = started.map(|started| format!("; {}", started.log.tail())).unwrap_or_default();
            return Err(failed(format!("did not answer in {} s: {found}{said}", deadline.given.as_secs_f64()))
                .remedy("see that its bind has this address and its users have this login, or wait longer"));
        }
        call.run.emit(&Event::Waiting { wanted: "the new instance to answer", found });
        call.run.sleep(BREATH).await?;
    }
}

/// Reads back what was carried. A server may take a value and make another one of it, by the limits of its user for one.
async fn confirm(server: &Server, source: &Server, names: &[String]) -> Result<()> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (here, there) = (server.config(&names).await?, source.config(&names).await?);
    for name in names.iter().filter(|name| !crate::server::config::is_secret(name)) {
        if let (Some(here), Some(there)) = (here.get(*name), there.get(*name))
            && here != there
        {
            server.run.warn(format!("{server}: {name} is {here:?}, and {there:?} on the source"));
        }
    }
    let ping = Command::new(["PING"]);
    server.read(&ping).await.map(drop)
}
