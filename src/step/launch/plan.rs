//! What is to be run, and with what. Nothing is written yet.

use std::path::{Path, PathBuf};

use super::{Options, at, probe, source};
use crate::{
    decide::{
        carry::{self, Carried, Carry, Dropped, Values},
        room::{self, Room},
    },
    error::{Code, Error, Result},
    host::{self, place::Place, systemd::Unit},
    pair::Pair,
    server::{Server, acl::Users, info::Info},
    step::Call,
};

/// What is to be run, and with what.
pub(super) struct Plan {
    pub program: String,
    pub version: String,
    pub carried: Carried,
    pub users: Users,
    /// The files to write, in this order.
    pub files: Vec<(PathBuf, String)>,
}

impl Plan {
    /// Of what runs already.
    pub fn done(program: &str, version: String) -> Self {
        let carried = Carried { text: String::new(), names: Vec::new(), dropped: Vec::new() };
        Plan { program: program.to_owned(), version, carried, users: Users::new(), files: Vec::new() }
    }
}

/// Decides what is to be run, and writes nothing.
pub(super) async fn plan(
    call: &Call,
    options: &Options,
    pair: &Pair,
    place: &Place,
    digest: &str,
    unit: Option<&Unit>,
) -> Result<Plan> {
    let source = pair.source()?;
    let info = source.info("default").await?;
    let program = source::program(source, options.program.as_deref(), &info)?;
    let live = source::read(pair, source).await?;
    check_directory(source, &live.directory, &place.directory).await?;
    let probed = probe::probe(call, &program).await?;
    if call.target.tls.is_some() && !probed.known.contains_key("tls-port") {
        return Err(Error::new(Code::ProgramUnusable, format!("{} was built without TLS", program.display())));
    }
    let users = live.users_for(&probed.identity);
    if let Some(refused) = &probed.check(&users).await? {
        return Err(refused.error(&at(call)));
    }
    let in_file = Users::new();
    let mut carried = carry::carry(&Carry {
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
    let mut files = vec![(place.config(), std::mem::take(&mut carried.text))];
    if live.has_acl_file {
        files.push((place.users(), carry::acl_file(&users)));
    }
    Ok(Plan { program: program.display().to_string(), version: probed.identity.title(), carried, users, files })
}

/// Refuses the directory of a source that runs on this host.
async fn check_directory(source: &Server, theirs: &str, ours: &Path) -> Result<()> {
    let same =
        std::fs::canonicalize(theirs).is_ok_and(|theirs| std::fs::canonicalize(ours).is_ok_and(|ours| ours == theirs));
    if same && (source.endpoint.unix_socket.is_some() || host::is_here(&source.endpoint.host).await) {
        return Err(Error::new(Code::DirectoryInUse, format!("{} is its own directory", ours.display()))
            .at(source)
            .remedy("give the new instance a directory of its own"));
    }
    Ok(())
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
