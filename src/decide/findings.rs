//! What stands against an upgrade, decided from what both servers say. Nothing here talks to a server.

use std::collections::BTreeMap;

use serde::Serialize;

use super::compat::{Verdict, verdict};
use crate::{
    error::{Code, Error},
    journal::Ports,
    redirect::Redirect,
    server::{
        config::MIN_REPLICAS,
        info::{Identity, Info, Replication, Role, Version, hashes_with_field_ttls, keyspace},
    },
};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The upgrade is refused.
    Blocker,
    /// It goes on; the operator should know.
    Warning,
}

impl Level {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Blocker => "blocker",
            Level::Warning => "warning",
        }
    }
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct Finding {
    /// Stable; a blocker's is the `reason` of the refusal it leads to.
    pub code: String,
    /// `blocker` or `warning`.
    pub level: String,
    /// The server it is about, such as `target 127.0.0.1:6380`.
    pub server: String,
    /// What was found.
    pub found: String,
    /// What to do.
    pub remedy: String,
}

/// What is known of one server.
pub struct ServerFacts {
    /// Its name in messages.
    pub name: String,
    /// Its account in messages.
    pub user: String,
    /// Who it is.
    pub identity: Identity,
    /// What `INFO` says.
    pub info: Info,
    /// Its replication.
    pub replication: Replication,
    /// Where it listens.
    pub ports: Ports,
    /// The parameters of [`PARAMETERS`].
    pub config: BTreeMap<String, String>,
    /// Names of the modules loaded.
    pub modules: Vec<String>,
    /// Needed commands that it refused to our account.
    pub denied: Vec<Denied>,
    /// Whether a sentinel is connected.
    pub watched_by_sentinel: bool,
    /// Its clock, in seconds since 1970.
    pub clock: f64,
    /// Whether its address is a loopback one.
    pub loopback: bool,
    /// Whether we speak TLS to it.
    pub over_tls: bool,
}

/// A command that a server refuses to our account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The command.
    pub command: String,
    /// The ACL rule that would allow it; none where the server does not know it by this name.
    pub rule: Option<String>,
}

/// What is known of the two together, and what is wished.
pub struct PairFacts {
    /// How clients are moved.
    pub redirect: Redirect,
    /// What stands against that way of moving them.
    pub on_the_way: Vec<Finding>,
    /// Take a target with data of its own.
    pub force: bool,
    /// The target already follows the source.
    pub following: bool,
    /// Both addresses are on one host, as far as names tell.
    pub same_host: bool,
    /// Ports wished or found free for the source to move to; none if the one wished is taken.
    pub aside: Option<Ports>,
}

/// The parameters that findings depend on.
pub const PARAMETERS: [&str; 16] = [
    "databases",
    "maxclients",
    "maxmemory",
    "maxmemory-policy",
    MIN_REPLICAS,
    "bind",
    "protected-mode",
    "appendonly",
    "save",
    "replica-read-only",
    "requirepass",
    "tls-replication",
    "tls-cert-file",
    "masterauth",
    "aclfile",
    "repl-diskless-load",
];

/// The version from which a source can be paused for writes only and both can change their port.
pub const REVERSIBLE_FROM: Version = Version(6, 2, 0);

/// The version from which a source can be shut down safely in its pause. Before, with `io-threads-do-reads`, a write could
/// be carried out in it.
pub const FENCED_FROM: Version = Version(6, 0, 15);

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, code: &str, server: &ServerFacts, found: impl Into<String>, remedy: &str) {
        self.0.push(Finding {
            code: code.to_owned(),
            level: level.as_str().to_owned(),
            server: server.name.clone(),
            found: found.into(),
            remedy: remedy.to_owned(),
        });
    }

    fn block(&mut self, code: Code, server: &ServerFacts, found: impl Into<String>, remedy: &str) {
        self.add(Level::Blocker, code.as_str(), server, found, remedy);
    }

    fn warn(&mut self, code: &str, server: &ServerFacts, found: impl Into<String>, remedy: &str) {
        self.add(Level::Warning, code, server, found, remedy);
    }
}

/// Everything that stands against upgrading from `source` to `target`: blockers first, the gravest first.
pub fn findings(source: &ServerFacts, target: &ServerFacts, pair: &PairFacts) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    permissions(&mut found, [source, target]);
    modes(&mut found, source, target, pair);
    formats(&mut found, source, target, pair);
    capacity(&mut found, source, target);
    addresses(&mut found, source, target, pair);
    behaviour(&mut found, source, target);
    found.0.extend(pair.on_the_way.iter().cloned());
    let mut findings = found.0;
    findings.sort_by_key(|finding| finding.level != Level::Blocker.as_str());
    findings
}

fn permissions(found: &mut Findings, servers: [&ServerFacts; 2]) {
    for server in servers.into_iter().filter(|server| !server.denied.is_empty()) {
        let commands: Vec<_> = server.denied.iter().map(|denied| denied.command.as_str()).collect();
        let rules: Vec<_> = server.denied.iter().filter_map(|denied| denied.rule.as_deref()).collect();
        let what = format!("user {} may not run {}", server.user, commands.join(", "));
        let mut remedies = Vec::new();
        if !rules.is_empty() {
            remedies.push(format!("ACL SETUSER {} {}, or give another user", server.user, rules.join(" ")));
        }
        if rules.len() < commands.len() {
            remedies.push("what was renamed or disabled (rename-command) must have its name".to_owned());
        }
        found.block(Code::PermissionDenied, server, what, &remedies.join("; "));
    }
}

fn modes(found: &mut Findings, source: &ServerFacts, target: &ServerFacts, pair: &PairFacts) {
    for server in [source, target] {
        if server.identity.mode == "cluster" || server.info.flag("cluster_enabled") {
            let remedy = "use CLUSTER FAILOVER on a replica of the new version instead";
            found.block(Code::ClusterMode, server, "runs in cluster mode, which is not supported yet", remedy);
        }
        if server.identity.mode == "sentinel" {
            found.block(Code::SentinelMode, server, "is a sentinel", "give the data server's address");
        }
    }
    if source.watched_by_sentinel && !matches!(pair.redirect, Redirect::Sentinel(_)) {
        let remedy = "say redirect=sentinel, or take the master out of Sentinel for the window with SENTINEL REMOVE";
        found.block(Code::SentinelMode, source, "is watched by Sentinel, which would undo the handover", remedy);
    }
    if source.replication.role == Role::Replica {
        let of = source.replication.master.as_ref().map(|(h, p)| format!("{h}:{p}")).unwrap_or_default();
        let remedy = "give the master as source; replicas of it follow";
        found.block(Code::SourceIsReplica, source, format!("is itself a replica of {of}"), remedy);
    }
    if let (Some((host, port)), false) = (&target.replication.master, pair.following) {
        let remedy = "make it a master again with REPLICAOF NO ONE, or give another target";
        let what = format!("is a replica of {host}:{port}, not of the source");
        found.block(Code::TargetFollowsOther, target, what, remedy);
    }
    let keys: u64 = keyspace(&target.info).values().map(|counts| counts.keys).sum();
    if keys > 0 && !pair.following {
        let keys = if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") };
        let what = format!("holds {keys} of its own, which the initial sync would wipe");
        if pair.force {
            found.warn(Code::TargetHasData.as_str(), target, what, "wished by force");
        } else {
            found.block(Code::TargetHasData, target, what, "give an empty instance, or force");
        }
    }
}

fn formats(found: &mut Findings, source: &ServerFacts, target: &ServerFacts, pair: &PairFacts) {
    let (from, to) = (source.identity.title(), target.identity.title());
    match verdict(&source.identity, &target.identity) {
        Verdict::Works => {}
        Verdict::Refused { written, read } => {
            let what = format!("{to} can't read the data of {from}: RDB version {written}, it reads up to {read}");
            found.block(Code::RdbTooNew, target, what, "give a target of the source's version or newer");
        }
        Verdict::DependsOnData => {
            let hashes = hashes_with_field_ttls(&source.info);
            if hashes > 0 {
                let what = format!("{hashes} hashes have fields that expire, which {to} can't hold");
                found.block(Code::DataNotHeld, source, what, "give a target of the source's version or newer");
            } else {
                let what = format!("{to} reads the data of {from} only as long as no hash field has a TTL");
                found.warn("depends_on_data", target, what, "set no field TTLs until the upgrade is done");
            }
        }
    }
    if !source.identity.has_redis(FENCED_FROM) {
        let what = format!("{from} can't be handed over from without a loss (6.0.15 and newer can)");
        found.block(Code::SourceTooOld, source, what, "update it to the last 6.0 first");
    } else if !source.identity.has_redis(REVERSIBLE_FROM) && source.over_tls {
        let remedy = "give its plain port or unix socket";
        found.block(Code::SourceTooOld, source, format!("{from} can't be handed over from over TLS"), remedy);
    } else if !source.identity.has_redis(REVERSIBLE_FROM) {
        let what = format!("{from} is shut down in the handover: there is no way back after it");
        found.warn("irreversible", source, what, "keep a copy of its data, and let no supervisor start it again");
    }
    if pair.redirect.takes_over() && !target.identity.has_redis(REVERSIBLE_FROM) {
        let what = format!("{to} can't change its port at run time (6.2)");
        found.block(Code::TargetTooOld, target, what, "give a newer target, or redirect=none");
    }
    for module in source.modules.iter().filter(|module| !target.modules.contains(module)) {
        let what = format!("lacks the module {module}, which the source has loaded");
        found.block(Code::ModuleMissing, target, what, "load it on the target");
    }
}

fn capacity(found: &mut Findings, source: &ServerFacts, target: &ServerFacts) {
    let number = |server: &ServerFacts, name: &str| server.config.get(name).and_then(|n| n.parse::<u64>().ok());
    if let (Some(theirs), Some(databases)) = (number(source, "databases"), number(target, "databases"))
        && theirs > databases
    {
        // Also where those are empty: a replica that can't select a database carries a write to it out in another one.
        let what = format!("has {databases} databases, and the source has {theirs}");
        found.block(Code::DatabasesTooFew, target, what, "start it with as many databases");
    }
    let clients = source.info.number("connected_clients").unwrap_or_default();
    if let (Some(theirs), Some(most)) = (number(source, "maxclients"), number(target, "maxclients"))
        && theirs > most
    {
        let what = format!("takes {most} clients (maxclients), the source {theirs}; {clients} are connected there now");
        if clients >= most {
            found.block(Code::MaxclientsTooSmall, target, what, "raise maxclients on the target");
        } else {
            found.warn("maxclients_differs", target, what, "set the source's value unless this is meant");
        }
    }
    let used = source.info.number("used_memory").unwrap_or_default();
    let limits = (number(source, "maxmemory").unwrap_or(0), number(target, "maxmemory").unwrap_or(0));
    if limits.1 != 0 && limits.1 < used {
        let what = format!("its maxmemory of {} bytes is below the {used} bytes the source uses", limits.1);
        found.block(Code::MaxmemoryTooSmall, target, what, "raise maxmemory on the target");
    } else if limits.0 != limits.1 {
        let what = format!("its maxmemory is {} bytes, the source's {}", limits.1, limits.0);
        found.warn("maxmemory_differs", target, what, "set the source's value unless this is meant");
    }
    // The warm source does not count: it is not to stay.
    let others = other_replicas(source, target) as u64;
    let wanted = |server| number(server, MIN_REPLICAS).unwrap_or_default();
    if wanted(target) > others {
        let what = format!(
            "wants {} replicas to take writes ({MIN_REPLICAS}), and {others} follow the source: it would refuse all of them",
            wanted(target)
        );
        found.block(Code::MinReplicas, target, what, "set it to 0, or give the source more replicas");
    } else if wanted(target) != wanted(source) {
        let what = format!("its {MIN_REPLICAS} is {}, the source's {}", wanted(target), wanted(source));
        found.warn("min_replicas_differs", target, what, "set the source's value unless this is meant");
    }
    if target.config.get("replica-read-only").is_some_and(|v| v == "no") {
        let what = "accepts writes while it is a replica (replica-read-only no)";
        found.block(Code::TargetWritable, target, what, "set replica-read-only yes");
    }
}

fn addresses(found: &mut Findings, source: &ServerFacts, target: &ServerFacts, pair: &PairFacts) {
    for (server, other) in [(source, target), (target, source)] {
        if server.loopback && !other.loopback && !pair.same_host {
            let what = "is given by a loopback address, which the other server can't reach it by";
            found.block(Code::AddressNotShared, server, what, "give the address that both can use");
        }
    }
    if pair.redirect.leaves_port() && pair.aside.is_none() {
        let what = "the port it would move to is taken";
        found.block(Code::AsidePortTaken, source, what, "give a free aside_port");
    }
    if !pair.redirect.takes_over() {
        return;
    }
    if !pair.same_host {
        let what = "is on another host than the source, so it can't take the source's port over";
        found.block(Code::TakeoverImpossible, target, what, "move clients by other means and say redirect=none");
    }
    if source.ports.tls != 0 && target.config.get("tls-cert-file").is_none_or(|file| file.is_empty()) {
        let what = "has no TLS certificate, so it can't take the source's TLS port over";
        found.block(Code::TakeoverImpossible, target, what, "give it tls-cert-file and tls-key-file");
    }
    let bind = |server: &ServerFacts| server.config.get("bind").cloned().unwrap_or_default();
    let (from, to) = (bind(source), bind(target));
    let all = |bind: &str| bind.is_empty() || bind.split(' ').any(|a| ["*", "0.0.0.0"].contains(&a));
    let missing: Vec<_> = from
        .split(' ')
        .filter(|a| !to.split(' ').any(|b| b.trim_start_matches('-') == a.trim_start_matches('-')))
        .collect();
    if !all(&to) && (all(&from) || !missing.is_empty()) {
        let what = format!("binds {to:?}, the source {from:?}: clients of the other addresses would not arrive");
        found.block(Code::TakeoverImpossible, target, what, "give it the source's bind");
    }
    let lowest = [source.ports.plain, source.ports.tls].into_iter().filter(|p| *p != 0).min();
    if lowest.is_some_and(|port| port < 1024) {
        found.warn("privileged_port", target, "must be allowed to bind a port below 1024", "run it with that right");
    }
}

fn behaviour(found: &mut Findings, source: &ServerFacts, target: &ServerFacts) {
    let differs = |name: &str| source.config.get(name) != target.config.get(name);
    let value = |server: &ServerFacts, name: &str| server.config.get(name).cloned().unwrap_or_default();
    if differs("maxmemory-policy") {
        let (from, to) = (value(source, "maxmemory-policy"), value(target, "maxmemory-policy"));
        found.warn(
            "policy_differs",
            target,
            format!("its maxmemory-policy is {to}, the source's {from}"),
            "set the source's",
        );
    }
    let durable = |s: &ServerFacts| value(s, "appendonly") == "yes" || !value(s, "save").is_empty();
    if durable(source) && !durable(target) {
        let what = "writes neither RDB nor AOF, the source does";
        found.warn("not_durable", target, what, "switch its persistence on before the source is retired");
    } else if value(source, "appendonly") == "yes" && value(target, "appendonly") != "yes" {
        found.warn("aof_differs", target, "has no AOF, the source has one", "switch it on unless this is meant");
    }
    if value(target, "protected-mode") == "yes" && value(source, "protected-mode") == "no" {
        found.warn("protected_mode", target, "is in protected mode, the source is not", "set protected-mode no");
    }
    let skew = (source.clock - target.clock).abs();
    if skew > 1.0 {
        let what = format!("its clock is {skew:.1} seconds from the source's: TTLs shift by as much");
        found.warn("clock_skew", target, what, "set the clocks right");
    }
    if source.info.flag("rdb_bgsave_in_progress") || source.info.flag("aof_rewrite_in_progress") {
        found.warn("fork_running", source, "is writing an RDB or AOF file", "the initial sync waits for it");
    }
    if target.identity.config_file.is_empty() {
        let what = "was started without a configuration file: after a restart it would not be what it is now";
        found.warn("no_config_file", target, what, "start it with one");
    }
    let scripts = source.info.number("number_of_cached_scripts").unwrap_or_default();
    if scripts > 0 {
        let what =
            format!("has {scripts} cached scripts, which do not travel: EVALSHA says NOSCRIPT until they are sent");
        found.warn(
            "scripts_cached",
            source,
            what,
            "see that clients send EVAL or SCRIPT LOAD after NOSCRIPT to EVALSHA",
        );
    }
    let others = other_replicas(source, target);
    if others > 0 {
        let what = format!("has {others} other replicas, which are to follow the target");
        found.warn("other_replicas", source, what, "see that they let the source's login in");
    }
}

fn other_replicas(source: &ServerFacts, target: &ServerFacts) -> usize {
    source.replication.replicas.len().saturating_sub(usize::from(target.replication.role == Role::Replica))
}

/// The first blocker as an error.
pub fn refusal(findings: &[Finding]) -> Option<Error> {
    let finding = findings.iter().find(|finding| finding.level == Level::Blocker.as_str())?;
    let code = Code::ALL.iter().find(|code| code.as_str() == finding.code)?;
    Some(Error::new(*code, &finding.found).at(&finding.server).remedy(&finding.remedy))
}
