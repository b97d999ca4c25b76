//! The two processes of an upgrade, found wherever they listen now.
//!
//! `source` and `target` name two processes by the addresses they had when the upgrade began, in every step and
//! for good. After a takeover the target answers at the source's address and the source at another port; the
//! journal says which, and the run ids tell who is who.

use std::{path::Path, sync::Arc};

use serde_json::json;

use crate::{
    decide::stage::{Part, Stage, follows, share_history, stage, who},
    endpoint::Endpoint,
    error::{Code, Error, Result, State},
    facts::Facts,
    journal::{Handover, Journal, Ports, Record},
    redirect::discovery::address_of_source,
    run::Run,
    server::{
        Server, Side,
        info::{Info, Replication, Role, keyspace},
    },
};

/// Bytes that a server may add to its stream after it has said where it ends: the `EXEC` around that. More would mean
/// that it has served on.
const AFTER_END: u64 = 64;

/// The two processes.
pub struct Pair {
    /// The source, or why it can't be reached.
    source: Result<Server>,
    /// The target, or why it can't be reached.
    target: Result<Server>,
    /// The addresses that the two had when the upgrade began.
    began_at: [Endpoint; 2],
    /// The handover between them that was begun last, if any.
    pub handover: Option<Handover>,
    /// How many there were when this was known.
    begun: usize,
    /// The pair's journal.
    pub journal: Journal,
    /// The call.
    pub run: Arc<Run>,
}

/// A server with what it says of itself now.
pub struct Seen {
    /// Everything `INFO` says.
    pub info: Info,
    /// Its replication.
    pub replication: Replication,
    /// Where it listens.
    pub ports: Ports,
}

/// Both servers as they are now.
pub struct Look {
    /// The source; none if it is gone.
    pub source: Option<Seen>,
    /// The target.
    pub target: Seen,
    /// How far the upgrade has come.
    pub stage: Stage,
}

impl Pair {
    /// Connects to both, wherever they are now.
    pub async fn find(
        run: &Arc<Run>,
        source: &Endpoint,
        target: &Endpoint,
        journal_dir: Option<&Path>,
    ) -> Result<Self> {
        source.check()?;
        target.check_address()?;
        let journal = Journal::of(journal_dir, source, target)?;
        let (handover, begun) = journal.standing()?;
        let source = &address_of_source(run, source, handover.as_ref()).await?;
        // `replicate` carries the source's users to the target, so from then on the target takes the source's login. The
        // reverse only happens once the two have changed places.
        let (at_source, at_target) = tokio::join!(
            async {
                // Of what listens in its place nothing can be told of the source, nor of a target that is gone.
                match &handover {
                    Some(record) if record.plan.stands_in(record).await => {
                        Err(Error::new(Code::Unreachable, "is not where its clients come to any more"))
                    }
                    _ => log_in(run, Side::Source, source, handover.is_some().then_some(target)).await,
                }
            },
            log_in(run, Side::Target, target, Some(source))
        );
        // Once clients are moved, a relay may lead from the one address to the other.
        if let (Ok(a), Ok(b), None) = (&at_source, &at_target, &handover)
            && a.identity.run_id == b.identity.run_id
        {
            let error = Error::new(Code::SameServer, format!("{source} and {target} are one and the same server"))
                .remedy("give the new instance as target");
            return Err(error);
        }
        let began_at = [source.clone(), target.clone()];
        let pair = |source, target, handover| Pair {
            source,
            target,
            began_at,
            handover,
            begun,
            journal,
            run: Arc::clone(run),
        };
        let Some(record) = handover else {
            let (at_source, at_target) = explained(at_source, at_target, source.port).await;
            return Ok(pair(at_source, at_target, None));
        };
        // Who does not change places is where it was.
        if !record.arrives() && !record.leaves() {
            return Ok(pair(at_source, at_target, Some(record)));
        }
        let side = |server: &Result<Server>| who(&record, &server.as_ref().ok()?.identity);
        let stranger = |server: &Result<Server>| server.is_ok() && side(server).is_none();
        // A process of its own at the target's address is a new instance, and the record is an earlier upgrade's.
        if stranger(&at_target) || stranger(&at_source) && at_target.is_err() {
            return Ok(pair(at_source, at_target, None));
        }
        // The target first: a relay may lead from the source's address to it.
        let mut found = vec![at_target, at_source];
        for endpoint in moved(&record, source, target) {
            found.push(log_in(run, Side::Source, &endpoint, Some(target)).await);
        }
        let mut take = |wanted: Side| match found.iter().position(|server| side(server) == Some(wanted)) {
            Some(n) => found.swap_remove(n).map(|server| server.on(wanted, &record)),
            None => Err(gone(wanted, &found)),
        };
        let (found_target, mut found_source) = (take(Side::Target), take(Side::Source));
        // The source was restarted without a configuration file to tell it by: it is what the target follows.
        if let (Err(_), Ok(replica)) = (&found_source, &found_target)
            && let Some(n) = found.iter().position(stranger)
            && replica.replication().await?.role == Role::Replica
        {
            found_source = found.swap_remove(n);
        }
        Ok(pair(found_source, found_target, Some(record)))
    }

    /// The source, or why it can't be reached.
    pub fn source(&self) -> Result<&Server> {
        self.source.as_ref().map_err(Clone::clone)
    }

    /// The target, or why it can't be reached.
    pub fn target(&self) -> Result<&Server> {
        self.target.as_ref().map_err(Clone::clone)
    }

    /// The server on that side.
    pub fn side(&self, side: Side) -> Result<&Server> {
        match side {
            Side::Source => self.source(),
            Side::Target => self.target(),
        }
    }

    /// The address that the server on that side had when the upgrade began.
    pub fn address(&self, side: Side) -> &Endpoint {
        let [source, target] = &self.began_at;
        match side {
            Side::Source => source,
            Side::Target => target,
        }
    }

    /// Keeps other controllers out of both for as long as the connections of this pair live, or says that one is at
    /// work. Returns whether there was another one.
    pub async fn lock(&self, break_lock: bool) -> Result<bool> {
        let mut waited = false;
        for server in [&self.source, &self.target].into_iter().flatten() {
            waited |= server.lock(break_lock).await?;
        }
        Ok(waited)
    }

    /// Looks at both and tells how far the upgrade has come.
    pub async fn look(&self) -> Result<Look> {
        if let Some(error) = self.orphan().await? {
            return Err(error);
        }
        let target_server = self.target()?;
        let source_server = match &self.source {
            Ok(server) => Some(server),
            // The journal says that the target was promoted or was about to be, and nothing listens where the source was.
            Err(error) if error.code == Code::Unreachable && self.handed_over_to(target_server) => None,
            Err(error) => return Err(error.clone()),
        };
        let (source, target) = tokio::join!(
            async {
                match source_server {
                    Some(server) => see(server).await.map(Some),
                    None => Ok(None),
                }
            },
            see(target_server)
        );
        let (source, target) = (source?, target?);
        let Some(seen) = &source else {
            if target.replication.role == Role::Replica {
                self.check_demoted(target_server, &target.replication)?;
                return Ok(Look { source, target, stage: Stage::HalfDone });
            }
            self.check_history(target_server, &target, None)?;
            return Ok(Look { source, target, stage: Stage::Retired });
        };
        let hosts = [self.source()?.endpoint.host.as_str(), target_server.endpoint.host.as_str()];
        let moved = self.handover.as_ref().map(|h| [h.home, h.public, h.aside, h.from]).unwrap_or_default();
        let ports = |seen: &Seen| -> Vec<u16> {
            moved.iter().chain([&seen.ports]).flat_map(|p| [p.plain, p.tls]).filter(|p| *p != 0).collect()
        };
        let part = |this: &Seen, other: &Seen| Part {
            role: this.replication.role,
            follows_other: follows(&this.replication, &other.replication, &hosts, &ports(other)),
        };
        let stage = stage(part(seen, &target), part(&target, seen)).ok_or_else(|| self.unexpected(seen, &target))?;
        if stage == Stage::Switched {
            self.check_history(target_server, &target, Some(&seen.replication))?;
        }
        Ok(Look { source, target, stage })
    }

    /// Whether the one that serves listens where clients arrive: after a handover the promoted one at the public ports,
    /// after one that was taken back the other one at those it had.
    pub fn has_arrived(&self, look: &Look) -> bool {
        let (Some(record), Some(serves)) = (&self.handover, look.stage.serves()) else { return true };
        let seen = if serves == Side::Target { Some(&look.target) } else { look.source.as_ref() };
        let (moves, home) = match serves == record.demoted() {
            true => (record.leaves(), record.home),
            false => (record.arrives(), record.public),
        };
        !moves || seen.is_none_or(|seen| seen.ports == home)
    }

    /// The address at which clients arrive at the one that serves.
    pub fn entrance(&self, serves: Side) -> Result<Endpoint> {
        let own = &self.side(serves)?.endpoint;
        let led = self.handover.as_ref().filter(|record| record.demoted() != serves);
        Ok(led.and_then(|record| record.plan.entrance(record, own)).unwrap_or_else(|| own.clone()))
    }

    fn handed_over_to(&self, target: &Server) -> bool {
        self.handover.as_ref().is_some_and(|record| !record.back && who(record, &target.identity) == Some(Side::Target))
    }

    /// A target that was restarted before the handover to it was finished has come back with older data or none, as a
    /// master. It must never serve; and a source that follows it would be wiped.
    fn check_history(&self, server: &Server, target: &Seen, source: Option<&Replication>) -> Result<()> {
        let Some(record) = &self.handover else { return Ok(()) };
        let restarted = server.identity.run_id != record.target;
        let unfinished = !record.back && !self.journal.is_settled()?;
        if !restarted || !unfinished || record.arrives() && target.ports == record.public {
            return Ok(());
        }
        let has_all = |source: &Replication| {
            share_history(&target.replication, source) && target.replication.offset >= source.offset
        };
        if record.arrives() && source.is_some_and(has_all) {
            return Ok(());
        }
        if self.journal.is_accepted(&server.identity.run_id)? {
            return Ok(());
        }
        let remedy = match self.journal.is_promoted()? {
            true => "it has served: if it has its data, run promote with force, then this again; if not, see the docs",
            _ if record.fenced => "start the source again with its data, and replicate anew",
            false => "run rollback: the source serves again; then replicate anew",
        };
        Err(Error::new(Code::HistoryLost, "was restarted in the middle of the handover and may lack the source's data")
            .at(server)
            .remedy(remedy)
            .state(State::Interrupted))
    }

    /// The source is gone, and the target is still its replica. Only where the journal has the offset at which the source
    /// was demoted, and the target has reached it, it is known to have everything.
    fn check_demoted(&self, server: &Server, target: &Replication) -> Result<()> {
        let replid = self.handover.as_ref().map(|record| record.replid.as_str());
        let found = match self.journal.ended_at()? {
            Some(offset)
                if replid == Some(&target.replid) && (offset..=offset + AFTER_END).contains(&target.offset) =>
            {
                return Ok(());
            }
            Some(offset) if replid == Some(&target.replid) && target.offset < offset => {
                format!("is still a replica, its master is gone, and it lacks {} bytes", offset - target.offset)
            }
            _ => "is still a replica, and its master is gone: whether it has everything can't be told any more"
                .to_owned(),
        };
        Err(Error::new(Code::HalfDone, found)
            .at(server)
            .remedy("start the source again, or promote the target with force")
            .state(State::Interrupted))
    }

    /// What both look like, for `before` and `after`.
    pub async fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        for (name, server) in [("source", &self.source), ("target", &self.target)] {
            let Ok(server) = server else {
                facts.insert(name, json!(null));
                continue;
            };
            match server.info("default").await {
                Ok(info) => facts.insert(name, describe(server, &info)),
                Err(_) => facts.insert(name, json!(null)),
            }
        }
        facts
    }

    fn unexpected(&self, source: &Seen, target: &Seen) -> Error {
        let follows = |seen: &Seen| match &seen.replication.master {
            Some((host, port)) => format!("a replica of {host}:{port}"),
            None => "a master".to_owned(),
        };
        let (source_is, target_is) = (follows(source), follows(target));
        let Ok(target_server) = self.target() else { return Error::new(Code::UnexpectedRoles, source_is) };
        if source.replication.master.is_some() {
            let error = Error::new(Code::SourceIsReplica, format!("is itself {source_is}"))
                .remedy("give the master as source; replicas of it follow");
            return match self.source() {
                Ok(server) => error.at(server),
                Err(_) => error,
            };
        }
        Error::new(Code::TargetFollowsOther, format!("is {target_is}, not of the source"))
            .at(target_server)
            .remedy("make it a master again with REPLICAOF NO ONE, or give another target")
    }

    /// The server that the last handover has demoted, if it still is a replica, or was made master again and is not back
    /// at its port yet.
    pub async fn demoted(&self) -> Result<Option<(&Server, &Handover)>> {
        let Some(record) = &self.handover else { return Ok(None) };
        let Ok(server) = self.side(record.demoted()) else { return Ok(None) };
        let seen = see(server).await?;
        let away = record.leaves() && seen.ports != record.home;
        Ok((seen.replication.role == Role::Replica || away).then_some((server, record)))
    }

    /// What is wrong where a server was demoted and nothing listens where the one to be promoted was.
    async fn orphan(&self) -> Result<Option<Error>> {
        let Some(record) = &self.handover else { return Ok(None) };
        let gone = |side: Side| self.side(side).is_err_and(|error| error.code == Code::Unreachable);
        let promoted = record.demoted().other();
        // A retired source is meant to be gone.
        if !gone(promoted) || self.journal.is_settled()? {
            return Ok(None);
        }
        let Some((demoted, _)) = self.demoted().await? else { return Ok(None) };
        let back = if record.back { "switchover" } else { "rollback" };
        let found = format!("is demoted and the {} is gone: nobody serves", promoted.as_str());
        let remedy =
            format!("run {back}: this one serves again; or start the other one with its data and run this again");
        Ok(Some(Error::new(Code::HalfDone, found).at(demoted).remedy(remedy).state(State::Interrupted)))
    }

    /// Notes that a handover is about to begin; it is on disk when this returns.
    pub fn begin(&mut self, handover: Handover) -> Result<()> {
        // Known first: once it is on record, nothing more may fail.
        self.begun = self.journal.standing()?.1 + 1;
        self.journal.append(&Record::Handover(handover.clone()))?;
        self.handover = Some(handover);
        Ok(())
    }

    /// Notes that this handover, which was not done, was taken back. Not where it was never begun, nor where another
    /// controller has begun one since, which has cut us off: what stands in the journal is its own, however alike.
    pub fn note_undone(&self, handover: &Handover) -> Result<()> {
        self.journal.note_undone(handover, self.begun)
    }
}

impl Look {
    /// The source's view, where the step needs a live source.
    pub fn source(&self) -> Result<&Seen> {
        self.source.as_ref().ok_or_else(|| Error::new(Code::Unreachable, "the source is gone"))
    }
}

/// Everything about one server that the stage depends on.
pub async fn see(server: &Server) -> Result<Seen> {
    let (info, config) = tokio::join!(server.info("default"), server.config(&["port", "tls-port"]));
    let (info, config) = (info?, config?);
    let port = |name: &str| config.get(name).and_then(|p| p.parse().ok()).unwrap_or_default();
    Ok(Seen {
        replication: Replication::from(&info),
        info,
        ports: Ports { plain: port("port"), tls: port("tls-port") },
    })
}

/// Logs in at an address: with its own login, else with the other one's.
pub(crate) async fn log_in(
    run: &Arc<Run>,
    side: Side,
    endpoint: &Endpoint,
    other: Option<&Endpoint>,
) -> Result<Server> {
    let first = Server::connect(run, side, endpoint).await;
    if let Ok(server) = &first
        && server.identity.mode == "sentinel"
    {
        // It knows too few commands to be asked anything further.
        return Err(Error::new(Code::SentinelMode, "is a sentinel")
            .at(server)
            .remedy("give the data server's address"));
    }
    let login = |endpoint: &Endpoint| (endpoint.user.clone(), endpoint.password.clone());
    match (&first, other.filter(|other| login(other) != login(endpoint))) {
        (Err(error), Some(other)) if error.code == Code::AuthFailed => {
            Server::connect(run, side, &endpoint.with_login_of(other)).await.or(first)
        }
        _ => first,
    }
}

fn describe(server: &Server, info: &Info) -> serde_json::Value {
    let replication = Replication::from(info);
    let keys: u64 = keyspace(info).values().map(|counts| counts.keys).sum();
    json!({
        "address": server.endpoint.to_string(),
        "version": server.identity.title(),
        "role": replication.role,
        "follows": replication.master.map(|(host, port)| format!("{host}:{port}")),
        "keys": keys,
    })
}

/// Where one of the two is gone, and this journal knows of no handover: says so, since another machine's may.
async fn explained(
    at_source: Result<Server>,
    at_target: Result<Server>,
    source_port: u16,
) -> (Result<Server>, Result<Server>) {
    const REMEDY: &str = "run this where the handover was begun, with both addresses spelled as then: its journal is there, and not here";
    let gone = |error: &Error| error.code == Code::Unreachable;
    let explain = |error: Error, more: &str| Error { found: format!("{}, and {more}", error.found), ..error };
    match (at_source, at_target) {
        (Ok(source), Err(error)) if gone(&error) && was_replica(&source).await => {
            let more = "what listens at the source's address was a replica before: it may be the target, switched to";
            (Ok(source), Err(explain(error, more).remedy(REMEDY)))
        }
        (Err(error), Ok(target)) if gone(&error) && replicates_from(&target, source_port).await => {
            let more = "the target replicates from there: it has died, or a handover has stopped half-way";
            let remedy = format!("start it again if it has died; else {REMEDY}");
            (Err(explain(error, more).remedy(remedy)), Ok(target))
        }
        both => both,
    }
}

/// Whether it is a master that was promoted once.
async fn was_replica(server: &Server) -> bool {
    let seen = server.replication().await;
    seen.is_ok_and(|seen| seen.role == Role::Master && seen.replid2.bytes().any(|byte| byte != b'0'))
}

async fn replicates_from(server: &Server, port: u16) -> bool {
    server.replication().await.is_ok_and(|seen| seen.master.is_some_and(|(_, followed)| followed == port))
}

/// Where the two may be besides the addresses that were given.
fn moved(record: &Handover, source: &Endpoint, target: &Endpoint) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    // Where only the demoted one moves, it is on its own host.
    let source = if record.back && !record.arrives() { target } else { source };
    for ports in [record.aside, record.from, record.public, record.home] {
        let endpoint = source.with_port(if source.tls.is_some() { ports.tls } else { ports.plain });
        let asked = |other: &Endpoint| other.unix_socket.is_none() && other.port == endpoint.port;
        if endpoint.port != 0 && !asked(source) && !asked(target) && !endpoints.iter().any(asked) {
            endpoints.push(endpoint);
        }
    }
    endpoints
}

/// Why one of the two was not found: because nothing listens at any of its addresses, or because one does not answer.
fn gone(side: Side, asked: &[Result<Server>]) -> Error {
    let silent = asked.iter().filter_map(|server| server.as_ref().err()).find(|e| e.code != Code::Unreachable);
    silent.cloned().unwrap_or_else(|| {
        let found = format!("the {} of this upgrade listens at none of its addresses", side.as_str());
        Error::new(Code::Unreachable, found).remedy("start it again, if it is not meant to be gone")
    })
}
