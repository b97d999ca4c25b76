//! What `switchover` and `rollback` have in common: a handover in either direction, from whatever stage things are in.
//! [`crate::decide::handover`] is the protocol.

use std::time::{Duration, Instant};

use super::{Call, Login, preflight, replication_login, route};
use crate::{
    decide::{
        course::{Course, Refusal, Standing, course},
        findings::{self, Redirect},
        handover::{End, Limits, Machine, Way, Why},
        stage::{Stage, share_history},
    },
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    handover::{Attempt, Cut, Phase, unpause},
    journal::{Handover, Ports, Record},
    pair::{Look, Pair, Seen, see},
    redirect,
    run::{Deadline, Event},
    server::{Command, Server, Side},
};

/// A replica that was demoted reaches its new master with the next tick of the once-a-second replication cron.
const WARM_WITHIN: Duration = Duration::from_secs(10);

/// A PING every that many seconds: none in the time of a handover. Each one moves the offset, and a demoted master that
/// is ahead of its successor by a PING can't follow it by a partial resync.
const NO_PINGS: &str = "86400";

/// What is raised for a handover on the server that is demoted.
const DEMOTED_SETTINGS: [&str; 4] = ["repl-ping-replica-period", "masteruser", "masterauth", "tls-replication"];

/// What is wished.
#[derive(Clone)]
pub struct Options {
    /// How clients are moved, to what port the source moves, and the checks before it.
    pub preflight: preflight::Options,
    /// How long writes on the source wait at most.
    pub pause_budget: Duration,
    /// How long a moment of little lag is waited for.
    pub patience: Duration,
    /// How many times a pause is tried in which the target does not catch up in time.
    pub attempts: u32,
    /// How many bytes the target may be behind when the pause begins: the fewer, the shorter the pause.
    pub max_lag_bytes: u64,
    /// Bytes of replication backlog of the server that is promoted: what the old one may miss and still follow.
    pub backlog_bytes: u64,
    /// The login the demoted server uses at the promoted one; none for the promoted one's endpoint's own.
    pub login: Option<Login>,
    /// Save the promoted server's configuration (port, role) to its file, if it has one.
    pub rewrite: bool,
}

step_result! {
    /// What `switchover` and `rollback` return.
    pub struct Switchover {
        /// The address clients arrive at.
        pub serving: String,
        /// The address of the old one, warm; none if it is gone.
        pub parked: Option<String>,
        /// Whether the old one follows the new one and can take over back.
        pub warm: bool,
        /// The phases of the handover that this call did, in order.
        pub phases: Vec<Phase>,
        /// Milliseconds for which writes waited, from the pause to the promotion; of several attempts, in the longest.
        pub write_gap_ms: f64,
        /// Milliseconds of it, and of the confirmation after it, that the protocol took without the drain.
        pub protocol_ms: f64,
        /// Milliseconds that the target needed to catch up under the pause.
        pub drain_ms: f64,
        /// How many pauses it took.
        pub attempts: u32,
    }
}

/// Makes the server on side `to` the master, from whatever stage things are in.
pub(super) async fn hand_over(
    call: &Call,
    pair: &mut Pair,
    look: &Look,
    to: Side,
    options: &Options,
) -> Result<Switchover> {
    let before = pair.facts().await;
    let stage = look.stage;
    let _lock = if call.run.dry { None } else { Some(pair.journal.lock()?) };
    let done = match course(to, &standing(pair, look)) {
        Course::Cut => cut(pair, to, options).await?,
        // In a dry run of the whole procedure the steps before this one have not been done either.
        Course::Refuse(Refusal::NotReplicating) if call.run.dry => cut(pair, to, options).await?,
        Course::GoOn => resume(pair, true, options).await?,
        Course::TakeBack => resume(pair, false, options).await?,
        Course::Settle => {
            settle(pair, &look.target, to, options).await?;
            Done::default()
        }
        Course::Refuse(refusal) => return Err(refused(pair, to, refusal)?),
    };
    // Addresses may have changed: find both again.
    let moved = match call.run.dry {
        true => None,
        false => Some(Pair::find(&call.run, &call.source, &call.target, call.journal_dir.as_deref()).await?),
    };
    let now = moved.as_ref().unwrap_or(pair);
    let after = now.facts().await;
    let serves = if call.run.dry { stage.serves().unwrap_or(to) } else { to };
    let serving = now.side(serves)?.endpoint.to_string();
    let parked = now.side(serves.other()).ok().map(|server| server.endpoint.to_string());
    let warm = if done.attempted { done.warm } else { stage == Stage::Switched };
    Ok(finish!(
        call.run,
        before,
        after,
        Switchover {
            serving,
            parked,
            warm,
            write_gap_ms: done.longest_gap_us as f64 / 1000.0,
            protocol_ms: done.milliseconds(&["pause", "demote", "promote", "confirm"]),
            drain_ms: done.milliseconds(&["drain"]),
            phases: done.phases,
            attempts: done.attempts,
        }
    ))
}

fn standing(pair: &Pair, look: &Look) -> Standing {
    let histories = look.source.as_ref().map(|source| share_history(&source.replication, &look.target.replication));
    Standing {
        stage: look.stage,
        demotes: pair.handover.as_ref().map(Handover::demoted),
        arrived: pair.has_arrived(&look.target),
        continues: histories.unwrap_or(true),
    }
}

fn refused(pair: &Pair, to: Side, refusal: Refusal) -> Result<Error> {
    Ok(match refusal {
        Refusal::NotReplicating => Error::new(Code::NotReplicating, "does not replicate from the source")
            .at(pair.target()?)
            .remedy("run replicate and wait_synced first"),
        Refusal::SourceRetired => Error::new(Code::NotWarm, "the source is gone, so there is no way back")
            .remedy("upgrade to an instance of the old version only if that can read the data"),
        Refusal::NotArrived => Error::new(Code::HalfDone, "is the master, but does not listen at the public port yet")
            .at(pair.target()?)
            .remedy("run switchover to finish, then go on")
            .state(State::Interrupted),
        Refusal::NoRecord => Error::new(
            Code::HalfDone,
            "both servers are replicas, and the journal of the handover is not here",
        )
        .remedy(
            "run again where the handover was begun, or make the one that is to serve a master with REPLICAOF NO ONE",
        )
        .state(State::Interrupted),
        Refusal::HistoryLost => {
            let other = pair.side(to.other())?;
            let back = if to == Side::Source { "switchover" } else { "rollback" };
            Error::new(Code::HistoryLost, "was restarted in the middle of the handover and lacks the data")
                .at(pair.side(to)?)
                .remedy(format!("make {other} serve again: run {back}"))
                .state(State::Interrupted)
        }
    })
}

/// What the cut has done.
#[derive(Default)]
struct Done {
    attempted: bool,
    phases: Vec<Phase>,
    attempts: u32,
    warm: bool,
    /// Microseconds for which writes waited, in the attempt in which they waited longest.
    longest_gap_us: u64,
}

impl Done {
    fn milliseconds(&self, names: &[&str]) -> f64 {
        time_in(&self.phases, names) as f64 / 1000.0
    }
}

/// The phases in which writes wait.
const WRITES_WAIT: [&str; 6] = ["pause", "drain", "release", "demote", "promote", "undo"];

/// Microseconds in these phases.
fn time_in(phases: &[Phase], names: &[&str]) -> u64 {
    phases.iter().filter(|phase| names.contains(&phase.name.as_str())).map(|phase| phase.microseconds).sum()
}

/// A server's address once it listens on these ports.
pub(super) fn at(server: &Server, ports: Ports) -> crate::Endpoint {
    let tls = server.endpoint.tls.is_some();
    match if tls { ports.tls } else { ports.plain } {
        0 => server.endpoint.clone(),
        port if server.endpoint.unix_socket.is_some() => crate::Endpoint { port, ..server.endpoint.clone() },
        port => server.endpoint.with_port(port),
    }
}

/// From the one that serves to the other one, from the start.
async fn cut(pair: &mut Pair, to: Side, options: &Options) -> Result<Done> {
    let handover = planned_handover(pair, to, options).await?;
    let (demoted, promoted) = (pair.side(to.other())?.clone(), pair.side(to)?.clone());
    let route = route(&promoted, handover.public)?;
    let cut = Cut {
        demoted: &demoted,
        promoted: &promoted,
        handover: &handover,
        serving: (&route.host, route.port),
        limits: limits(options),
    };
    if pair.run.dry {
        prepare(pair, &demoted, &promoted, route.tls, options).await?;
        for command in cut.planned() {
            pair.run.action(command);
        }
        return Ok(Done { attempted: true, warm: true, ..Done::default() });
    }
    let full_syncs = promoted.info("stats").await?.number("sync_full").unwrap_or_default();
    let prepared = prepare(pair, &demoted, &promoted, route.tls, options).await;
    let outcome = match prepared.and_then(|()| pair.begin(handover.clone())) {
        Ok(()) => attempts(pair, &cut, options).await,
        Err(error) => Err(Error { state: State::Unchanged, ..error }),
    };
    let mut done = match outcome {
        Ok(done) => done,
        Err(error) => return Err(put_back(pair, &cut, error).await),
    };
    demoted.restore(&pair.journal, Some(&["repl-ping-replica-period"])).await?;
    done.warm = finish_cut(pair, &cut, full_syncs, options).await?;
    Ok(done)
}

/// After a handover that was not done: what was raised for it is restored, and the error says so. Where it can't be told
/// whether it was done, the rerun will restore.
async fn put_back(pair: &mut Pair, cut: &Cut<'_>, error: Error) -> Error {
    if error.state == State::Interrupted {
        return error;
    }
    let restored = async {
        if pair.handover.as_ref() == Some(cut.handover) {
            pair.journal.append(&Record::Undone)?;
        }
        cut.demoted.restore(&pair.journal, Some(&DEMOTED_SETTINGS)).await?;
        cut.promoted.restore(&pair.journal, Some(&["repl-backlog-size"])).await
    };
    match restored.await {
        Ok(()) => error.state(State::Undone),
        Err(failed) => {
            pair.run.warn(format!("what was raised for the handover could not be restored: {failed}"));
            error.state(State::Interrupted)
        }
    }
}

/// Goes on where a handover stopped between its transactions: forward, or back.
async fn resume(pair: &mut Pair, forward: bool, options: &Options) -> Result<Done> {
    let Some(handover) = &pair.handover.clone() else { return Ok(Done::default()) };
    let (demoted, promoted) = (pair.side(handover.demoted())?.clone(), pair.side(handover.demoted().other())?.clone());
    let route = route(&promoted, handover.public)?;
    let serving = (route.host.as_str(), route.port);
    let cut = Cut { demoted: &demoted, promoted: &promoted, handover, serving, limits: limits(options) };
    if pair.run.dry {
        pair.run.action(format!("{}: go on with the handover", if forward { &promoted } else { &demoted }));
        return Ok(Done { attempted: true, ..Done::default() });
    }
    let full_syncs = promoted.info("stats").await?.number("sync_full").unwrap_or_default();
    let left = demoted.replication().await?;
    let machine =
        if forward { Machine::resume(cut.limits, way(handover), left.offset) } else { Machine::take_back(cut.limits) };
    let attempt = cut.run(&pair.run, machine).await;
    demoted.restore(&pair.journal, Some(&["repl-ping-replica-period"])).await?;
    let mut done = Done { attempted: true, attempts: 1, phases: attempt.phases, ..Done::default() };
    done.longest_gap_us = time_in(&done.phases, &WRITES_WAIT);
    match attempt.end {
        End::Switched => done.warm = finish_cut(pair, &cut, full_syncs, options).await?,
        End::Undone(_) if !forward => pair.journal.append(&Record::Undone)?,
        end => {
            if matches!(end, End::Undone(_)) {
                pair.journal.append(&Record::Undone)?;
            }
            return Err(cut.error(&end));
        }
    }
    Ok(done)
}

/// The ports of a handover to `to`.
async fn planned_handover(pair: &Pair, to: Side, options: &Options) -> Result<Handover> {
    let (source, target) = (pair.source()?, pair.target()?);
    let (at_source, at_target) = tokio::join!(see(source), see(target));
    let (at_source, at_target) = (at_source?.ports, at_target?.ports);
    let (public, aside, from, back) = match (to, &pair.handover) {
        // Back the way it came: to the ports each one had before.
        (Side::Source, Some(before)) if before.is_takeover() => (at_target, before.from, at_source, true),
        (Side::Source, _) => (at_source, at_target, at_source, true),
        (Side::Target, _) => {
            let mut checks = options.preflight.clone();
            checks.force = true; // The data it has now is the source's.
            let examined = preflight::examine(pair, &checks).await?;
            if let Some(refusal) = findings::refusal(&examined.findings) {
                return Err(refusal);
            }
            match options.preflight.redirect {
                Redirect::Takeover => (at_source, examined.aside.unwrap_or_default(), at_target, false),
                Redirect::None => (at_target, at_source, at_target, false),
            }
        }
    };
    let demoted = if back { target } else { source };
    Ok(Handover {
        source: source.identity.run_id.clone(),
        target: target.identity.run_id.clone(),
        back,
        source_config: source.identity.config_file.clone(),
        target_config: target.identity.config_file.clone(),
        replid: demoted.replication().await?.replid,
        public,
        aside,
        from,
    })
}

/// Everything that can be done before writes have to wait.
async fn prepare(pair: &Pair, demoted: &Server, promoted: &Server, tls: bool, options: &Options) -> Result<()> {
    let journal = &pair.journal;
    let backlog = promoted.config(&["repl-backlog-size"]).await?;
    if backlog
        .get("repl-backlog-size")
        .and_then(|size| size.parse().ok())
        .is_some_and(|size: u64| size < options.backlog_bytes)
    {
        promoted.raise(journal, "repl-backlog-size", &options.backlog_bytes.to_string()).await?;
    }
    replication_login(pair, demoted, promoted, options.login.as_ref(), tls).await?;
    demoted.raise(journal, "repl-ping-replica-period", NO_PINGS).await
}

/// Whether the demoted server can leave its port.
fn way(_handover: &Handover) -> Way {
    Way::Reversible
}

fn limits(options: &Options) -> Limits {
    Limits { pause: options.pause_budget, drain: options.pause_budget / 2, patience: Duration::from_secs(2) }
}

/// Tries the cut at a good moment, several times if need be.
async fn attempts(pair: &Pair, cut: &Cut<'_>, options: &Options) -> Result<Done> {
    let mut done = Done { attempted: true, ..Done::default() };
    loop {
        done.attempts += 1;
        good_moment(pair, cut, options).await?;
        let Attempt { end, phases } = cut.run(&pair.run, Machine::new(cut.limits, way(cut.handover))).await;
        done.longest_gap_us = done.longest_gap_us.max(time_in(&phases, &WRITES_WAIT));
        done.phases = phases;
        match end {
            End::Switched => {
                confirm(pair, cut, &mut done).await?;
                return Ok(done);
            }
            End::Unchanged(Why::Behind(_) | Why::CountsDiffer) if done.attempts < options.attempts => {
                pair.run.sleep(Duration::from_millis(200) * done.attempts).await?;
            }
            end => return Err(cut.error(&end)),
        }
    }
}

/// Waits for a moment at which the target is close behind, and has been seen to get on: a few bytes behind is also where a
/// stream stands that has not begun, as after a diskless sync until the replica's once-a-second cron.
async fn good_moment(pair: &Pair, cut: &Cut<'_>, options: &Options) -> Result<()> {
    let deadline = Deadline::after(options.patience);
    let mut goal = None;
    loop {
        let (ahead, behind) = tokio::join!(cut.demoted.replication(), cut.promoted.replication());
        let (ahead, behind) = (ahead?, behind?);
        let gets_on = behind.offset >= *goal.get_or_insert(ahead.offset);
        let lag = ahead.offset.saturating_sub(behind.offset);
        if behind.link_up && !behind.syncing && gets_on && lag <= options.max_lag_bytes {
            return Ok(());
        }
        if deadline.passed() {
            let link = if behind.link_up { "up" } else { "down" };
            let found = format!(
                "is {lag} bytes behind (link {link}) and was no less for {} seconds",
                options.patience.as_secs_f64()
            );
            return Err(Error::new(Code::LagTooHigh, found)
                .at(cut.promoted)
                .remedy("try at a quieter time, or allow more patience or max_lag_bytes")
                .state(State::Undone));
        }
        pair.run.emit(&Event::Waiting { wanted: "little lag", found: format!("{lag} bytes") });
        pair.run.sleep(Duration::from_millis(2)).await?;
    }
}

/// The last part of the protocol: the pause ends, and a write through the public address shows that clients arrive. It
/// deletes a key that does not exist, which changes nothing and yet is refused where writes are.
async fn confirm(pair: &Pair, cut: &Cut<'_>, done: &mut Done) -> Result<()> {
    let _shield = pair.run.shield();
    let began = Instant::now();
    // The promoted server's role came back with its promotion.
    let release = unpause();
    let (released, arrived) = tokio::join!(cut.demoted.ask(&release), canary(cut.promoted, cut.handover.public));
    let microseconds = began.elapsed().as_micros() as u64;
    done.phases.push(Phase { name: "confirm".into(), microseconds });
    pair.run.action(format!("{}: {release}", cut.demoted));
    pair.run.emit(&Event::Phase { name: "confirm", microseconds });
    if let Err(error) = released {
        pair.run.warn(format!("the old one did not answer after the handover: {error}"));
    }
    if let Err(error) = arrived {
        pair.run.warn(format!("the target serves, but a write through the public address failed: {error}"));
    }
    Ok(())
}

async fn canary(promoted: &Server, public: Ports) -> Result<()> {
    let write = Command::new(["DEL", "redis-baton:canary"]);
    Server::visit(&promoted.run, promoted.side, &at(promoted, public), &write).await
}

/// After the cut: the old one follows, and the new one's configuration is saved. Returns whether the old one is warm.
async fn finish_cut(pair: &mut Pair, cut: &Cut<'_>, full_syncs: u64, options: &Options) -> Result<bool> {
    pair.handover = Some(cut.handover.clone());
    let warm = wait_warm(pair, cut, full_syncs).await?;
    if cut.handover.back {
        // The upgrade is undone: nothing of it is to stay on either.
        cut.promoted.restore(&pair.journal, None).await?;
        cut.demoted.restore(&pair.journal, Some(&["repl-ping-replica-period", "repl-backlog-size"])).await?;
    }
    if options.rewrite {
        rewrite(cut.promoted).await?;
        // Restarted from its old file it would come back as a master, at the public port.
        if warm && !cut.demoted.identity.config_file.is_empty() {
            rewrite(cut.demoted).await?;
        }
    }
    pair.journal.append(&Record::Settled)?;
    Ok(warm)
}

async fn wait_warm(pair: &Pair, cut: &Cut<'_>, full_syncs: u64) -> Result<bool> {
    let deadline = Deadline::after(WARM_WITHIN);
    loop {
        let (follower, stats) = tokio::join!(cut.demoted.replication(), cut.promoted.info("stats"));
        let again = stats?.number("sync_full").unwrap_or_default() > full_syncs;
        match follower {
            Ok(follower) if follower.link_up && !again => return Ok(true),
            Ok(_) if !again && !deadline.passed() => pair.run.sleep(Duration::from_millis(10)).await?,
            outcome => {
                let why = match outcome {
                    Err(error) => error.to_string(),
                    Ok(_) if again => "it asked for a full resync".to_owned(),
                    Ok(_) => "its link is down".to_owned(),
                };
                pair.run.warn(format!("the old one ({}) does not follow, so there is no way back: {why}", cut.demoted));
                return Ok(false);
            }
        }
    }
}

/// Saves the configuration, so that a restart comes back as what the server is now.
pub(super) async fn rewrite(server: &Server) -> Result<()> {
    if server.identity.config_file.is_empty() {
        server.run.warn(format!("{server}: has no configuration file: a restart would not bring it back as it is now"));
        return Ok(());
    }
    let command = Command::new(["CONFIG", "REWRITE"]);
    server.run.action(format!("{server}: {command}"));
    if let Err(said) = server.ask(&command).await? {
        server.run.warn(format!(
            "{server}: CONFIG REWRITE was refused, so a restart would not bring it back as it is now: {}",
            said.text
        ));
    }
    Ok(())
}

/// Already handed over: does what a crash right after it has left undone. Nothing, if all was done.
async fn settle(pair: &Pair, target: &Seen, to: Side, options: &Options) -> Result<()> {
    let promoted = pair.side(to)?;
    if let (Side::Target, false, Some(record)) = (to, pair.has_arrived(target), &pair.handover) {
        promoted.change_all(&redirect::arrive(record)).await?;
    }
    if let Ok(demoted) = pair.side(to.other()) {
        demoted.restore(&pair.journal, Some(&["repl-ping-replica-period"])).await?;
    }
    if !pair.journal.is_settled()? && !pair.run.dry {
        if options.rewrite {
            rewrite(promoted).await?;
            if let Ok(demoted) = pair.side(to.other())
                && !demoted.identity.config_file.is_empty()
            {
                rewrite(demoted).await?;
            }
        }
        pair.journal.append(&Record::Settled)?;
    }
    Ok(())
}
