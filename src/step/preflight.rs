//! `preflight`: what stands against the upgrade, what would be done, and what it would cost. Changes nothing.

use std::{net::IpAddr, time::Duration};

use serde::Serialize;

use super::Call;
use crate::{
    decide::{
        findings::{Denied, Finding, Level, PARAMETERS, PairFacts, REVERSIBLE_FROM, ServerFacts, findings},
        stage::Stage,
    },
    endpoint::Endpoint,
    error::{Code, Error, Result},
    facts::{finish, step_result},
    fence,
    journal::Ports,
    pair::{Pair, see},
    redirect::{Plan, Redirect},
    server::{Command, Server, Side, client_list::ClientKind, elements, text},
};

/// Bytes a second of an initial sync, for the estimate; the slower of what was seen on loopback and a gigabit link.
const SYNC_RATE: f64 = 100e6;

/// How many ports above the target's are tried for the source to move to.
const ASIDE_PORTS: u16 = 20;

/// The rule for the keys that we write ourselves.
const OWN_KEYS: &str = "~redis-baton:*";

/// What is wished.
#[derive(Clone, Default)]
pub struct Options {
    /// How clients are moved.
    pub redirect: Redirect,
    /// The port the source moves to in a takeover; none for the first free one above the target's.
    pub aside_port: Option<u16>,
    /// Take a target that holds data of its own: it is wiped.
    pub force: bool,
}

/// What the upgrade would cost, estimated from what the source says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct Estimates {
    /// Seconds of the initial sync, at 100 MB/s.
    pub sync_seconds: f64,
    /// Bytes of memory that the target will need for the data.
    pub memory_bytes: u64,
    /// Milliseconds for which writes wait in the switchover, where the target keeps up.
    pub write_gap_ms: f64,
}

step_result! {
    /// What `preflight` returns.
    pub struct Preflight {
        /// Whether nothing blocks the upgrade.
        pub ok: bool,
        /// How far it has come: `apart`, `following`, `half_done`, `switched` or `retired`; `unexpected` where the
        /// roles fit none.
        pub stage: String,
        /// Everything found, blockers first.
        pub findings: Vec<Finding>,
        /// `reversible`: the old server can take over back without loss for as long as it follows. `fenced` (a source
        /// before 6.2): it is shut down in the handover, and there is no way back.
        pub strategy: String,
        /// What would be done, in order.
        pub plan: Vec<String>,
        /// What it would cost.
        pub estimates: Estimates,
    }
}

/// Looks at both servers and lists what stands against the upgrade.
pub async fn preflight(call: &Call, options: &Options) -> Result<Preflight> {
    let pair = call.begin("preflight").await?;
    let examined = examine(&pair, options).await?;
    let before = pair.facts().await;
    for finding in examined.findings.iter().filter(|f| f.level == Level::Warning.as_str()) {
        call.run.warn(format!("{}: {}; {}", finding.server, finding.found, finding.remedy));
    }
    let plan = plan(&pair, &examined, options);
    let fenced = is_fenced(&pair);
    Ok(finish!(
        call.run,
        before.clone(),
        before,
        Preflight {
            ok: examined.findings.iter().all(|f| f.level != Level::Blocker.as_str()),
            stage: examined.stage.map_or("unexpected".to_owned(), |stage| word(&stage)),
            findings: examined.findings,
            strategy: if fenced { "fenced" } else { "reversible" }.to_owned(),
            plan,
            estimates: Estimates {
                sync_seconds: (examined.used_memory as f64 / SYNC_RATE * 100.0).round() / 100.0,
                memory_bytes: examined.used_memory,
                // Clients notice the end of a process when its memory has been given back.
                write_gap_ms: if fenced { 15.0 + examined.used_memory as f64 / 10e6 } else { 3.0 },
            },
        }
    ))
}

/// What was found out about a pair.
pub(crate) struct Examined {
    pub findings: Vec<Finding>,
    pub stage: Option<Stage>,
    pub used_memory: u64,
    pub aside: Option<Ports>,
    pub way: Plan,
}

/// Gathers the facts of both servers and has them judged.
pub(crate) async fn examine(pair: &Pair, options: &Options) -> Result<Examined> {
    let stage = match pair.look().await {
        Ok(look) if matches!(look.stage, Stage::Apart | Stage::Following) => Some(look.stage),
        // The handover has been begun or done: there is nothing left to be found out beforehand.
        Ok(look) => {
            let used_memory = look.target.info.number("used_memory").unwrap_or_default();
            return Ok(Examined {
                findings: Vec::new(),
                stage: Some(look.stage),
                used_memory,
                aside: None,
                way: Plan::default(),
            });
        }
        // The findings say it, with everything else there is to say.
        Err(e) if [Code::SourceIsReplica, Code::TargetFollowsOther, Code::UnexpectedRoles].contains(&e.code) => None,
        Err(error) => return Err(error),
    };
    let (source, target) = (pair.source()?, pair.target()?);
    let (source_facts, target_facts) = tokio::join!(gather(source), gather(target));
    let (source_facts, target_facts) = (source_facts?, target_facts?);
    let aside = aside(source, source_facts.ports, target_facts.ports, options.aside_port).await?;
    let (way, on_the_way) = options.redirect.look(pair).await?;
    let facts = PairFacts {
        redirect: options.redirect.clone(),
        on_the_way,
        force: options.force,
        following: stage == Some(Stage::Following),
        same_host: same_host(&source.endpoint, &target.endpoint).await,
        aside,
    };
    Ok(Examined {
        findings: findings(&source_facts, &target_facts, &facts),
        stage,
        used_memory: source_facts.info.number("used_memory").unwrap_or_default(),
        aside,
        way,
    })
}

async fn gather(server: &Server) -> Result<ServerFacts> {
    let denied = denied(server).await?;
    let seen = see(server).await?;
    let addresses = server.endpoint.addresses().await;
    let modules = match server.ask(&Command::new(["MODULE", "LIST"])).await? {
        Ok(list) => elements(list).into_iter().filter_map(module).collect(),
        Err(_) => Vec::new(),
    };
    let clock = elements(server.read(&Command::new(["TIME"])).await?);
    let clock: Vec<f64> = clock.iter().filter_map(|part| text(part).ok()?.parse().ok()).collect();
    let watched_by_sentinel = match server.connections().await {
        Ok(connections) => connections.iter().any(|c| c.kind == ClientKind::Sentinel),
        Err(error) if error.code == Code::PermissionDenied => false,
        Err(error) => return Err(error),
    };
    Ok(ServerFacts {
        name: server.to_string(),
        user: server.user().to_owned(),
        identity: server.identity.clone(),
        config: server.config(&PARAMETERS).await?,
        info: seen.info,
        replication: seen.replication,
        ports: seen.ports,
        modules,
        denied,
        watched_by_sentinel,
        clock: clock.first().unwrap_or(&0.0) + clock.get(1).unwrap_or(&0.0) / 1e6,
        over_tls: server.endpoint.tls.is_some(),
        loopback: !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback),
    })
}

/// The name of a module that was loaded from a file. Others are built in (`vectorset` in Redis 8, `lua` in Valkey 9):
/// what of them another server can read, its RDB version tells. Before 7.0 no path is said.
fn module(module: redis::Value) -> Option<String> {
    let words: Vec<String> = elements(module).iter().map(|word| text(word).unwrap_or_default()).collect();
    let field = |name: &str| words.chunks(2).find(|pair| pair[0] == name).and_then(|pair| pair.get(1)).cloned();
    field("name").filter(|_| field("path").is_none_or(|path| path.contains('/')))
}

/// Needed commands that the server refuses to our account. Each is asked for with an argument that the command
/// itself refuses, after the permission was checked: so nothing happens, on any version, and a command that was
/// renamed away is found too.
async fn denied(server: &Server) -> Result<Vec<Denied>> {
    const PROBES: [&[&str]; 12] = [
        &["INFO", "server"],
        &["CONFIG", "GET", "port"],
        &["CONFIG", "SET", "redis-baton-probe", "1"],
        &["REPLICAOF", "redis-baton-probe", "no-port"],
        &["CLIENT", "PAUSE", "no-number"],
        &["CLIENT", "KILL", "TYPE", "no-type"],
        &["CLIENT", "LIST", "TYPE", "no-type"],
        &["SHUTDOWN", "NO-WORD"],
        &["PING"],
        &["ACL", "SETUSER", "redis-baton-probe", "no-rule"],
        // An empty transaction. Where only EXEC is refused, that discards it.
        &["MULTI"],
        &["EXEC"],
    ];
    // A transaction with a command that lacks its argument, so it is refused as a whole.
    const FENCE_PROBES: [&[&str]; 7] = [
        &["MULTI"],
        &["SET", fence::KEY, "1", "PX", "1"],
        &["WATCH", fence::KEY],
        &["PTTL", fence::KEY],
        &["MONITOR"],
        &["ECHO"],
        &["EXEC"],
    ];
    // Users are carried to the target only.
    let needed = |words: &&&[&str]| server.side == Side::Target || words[0] != "ACL";
    let mut denied = refused_to_us(server, PROBES.iter().filter(needed)).await?;
    let fenced = server.side == Side::Source && !server.identity.has_redis(REVERSIBLE_FROM);
    // Without MULTI it would be carried out.
    if fenced && denied.is_empty() {
        denied = refused_to_us(server, FENCE_PROBES.iter()).await?;
    }
    Ok(denied)
}

/// Those of these commands that our account may not run, or not with their key, or that have another name.
async fn refused_to_us(server: &Server, probes: impl Iterator<Item = &&'static [&'static str]>) -> Result<Vec<Denied>> {
    let commands: Vec<_> = probes.map(|words| Command::new(*words)).collect();
    let replies = server.pipeline(&commands).await?;
    let denied = commands.iter().zip(replies).filter_map(|(command, reply)| {
        let said = reply.err()?.text;
        // A refused EXEC says EXECABORT first.
        let rule = match () {
            () if said.contains("NOPERM") && said.contains("permissions to run") => Some(command.rule()),
            () if said.contains("NOPERM") => Some(OWN_KEYS.to_owned()),
            () if said.contains("unknown command") => None,
            () => return None,
        };
        Some(Denied { command: command.called(), rule })
    });
    Ok(denied.collect())
}

/// The ports the source moves to in a takeover: the one wished, or the first above the target's that nothing listens
/// on. None if there is no such port.
pub(super) async fn aside(source: &Server, from: Ports, target: Ports, wished: Option<u16>) -> Result<Option<Ports>> {
    if let Some(port) = wished
        && (port == 0 || [from.plain, from.tls, target.plain, target.tls].contains(&port))
    {
        return Err(Error::input("aside_port", format!("{port} is one of the two servers' own ports, or none")));
    }
    let mut free = Vec::new();
    let first = target.plain.max(target.tls).saturating_add(1);
    let candidates: Vec<u16> = wished.into_iter().chain(first..=first.saturating_add(ASIDE_PORTS)).collect();
    let needed = [from.plain, from.tls].iter().filter(|port| **port != 0).count();
    for port in candidates {
        if free.len() == needed {
            break;
        }
        if [from.plain, from.tls].contains(&port) || free.contains(&port) {
            continue;
        }
        if answers(&source.endpoint.host, port).await {
            if wished == Some(port) {
                return Ok(None);
            }
            continue;
        }
        free.push(port);
    }
    if free.len() < needed {
        return Ok(None);
    }
    let mut free = free.into_iter();
    let mut take = |present: u16| if present == 0 { 0 } else { free.next().unwrap_or_default() };
    Ok(Some(Ports { plain: take(from.plain), tls: take(from.tls) }))
}

/// Whether something listens there.
pub(super) async fn answers(host: &str, port: u16) -> bool {
    let connecting = tokio::net::TcpStream::connect((host, port));
    matches!(tokio::time::timeout(Duration::from_millis(300), connecting).await, Ok(Ok(_)))
}

/// Whether two addresses are on one host, as far as their names tell.
async fn same_host(a: &Endpoint, b: &Endpoint) -> bool {
    if a.host == b.host {
        return true;
    }
    let (a, b) = tokio::join!(a.addresses(), b.addresses());
    a.iter().any(|ip| b.contains(ip)) || [&a, &b].iter().all(|ips| ips.iter().any(IpAddr::is_loopback))
}

fn plan(pair: &Pair, examined: &Examined, options: &Options) -> Vec<String> {
    let (Ok(source), Ok(target)) = (pair.source(), pair.target()) else {
        return vec!["nothing: the target serves and the source is gone".into()];
    };
    let (from, to) = (source.identity.title(), target.identity.title());
    let aside = examined.aside.map(|p| if p.plain != 0 { p.plain } else { p.tls }).unwrap_or_default();
    let moving = match is_fenced(pair) {
        true => format!(
            "switchover: everything on the source waits for some milliseconds, then it is shut down, and {target} takes over; there is no way back"
        ),
        false => options.redirect.sentence(source, target, aside),
    };
    match examined.stage {
        Some(Stage::Apart) | None => vec![
            format!("replicate: {target} ({to}) becomes a replica of {source} ({from}); ACL users are carried over"),
            "wait_synced: until the initial sync is done".into(),
            "verify: key counts, some random keys, a ping".into(),
            moving,
            if is_fenced(pair) {
                "the source is gone: what it has on disk is of no use any more".into()
            } else {
                "the source follows the target and stays warm: rollback is possible until retire".into()
            },
        ],
        Some(Stage::Following) => vec!["wait_synced, verify: the target follows already".into(), moving],
        Some(Stage::HalfDone) => vec!["switchover: goes on where it stopped".into()],
        Some(Stage::Switched) => vec!["nothing but retire: the target serves and the source follows it".into()],
        Some(Stage::Retired) => vec!["nothing: the target serves and the source is gone".into()],
    }
}

/// Whether the source is too old to be demoted.
fn is_fenced(pair: &Pair) -> bool {
    pair.source().is_ok_and(|source| !source.identity.has_redis(REVERSIBLE_FROM))
}

/// The word serde has for a unit variant.
pub(crate) fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
