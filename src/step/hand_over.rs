//! What `switchover` and `rollback` have in common: a handover in either direction, from whatever stage things are in.
//! [`crate::decide::handover`] is the protocol.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use super::{
    Call,
    aftermath::{call_off, complete, put_back, settle, told},
    at,
    bring_back::WHAT_IT_TOOK,
    guard::{Guard, Job},
    login::Login,
    moment::good_moment,
    preflight,
    prepare::prepare,
    replicas::others,
    route,
};
use crate::{
    decide::{
        course::{Course, Refusal, Standing, course},
        findings,
        handover::{End, Limits, Machine, Way, Why},
        moment::{Wanted, drain_limit},
        stage::{Stage, share_history},
    },
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    handover::{Attempt, Cut, Phase, unpause},
    hook::{Hooks, Moment, Scene},
    journal::{Handover, Ports},
    pair::{Look, Pair, see},
    probe::{Probed, Wish, probed},
    redirect::{Plan, ports},
    run::Event,
    server::{Command, Server, Side},
};

/// The longest pause of a source before 6.2.
const FENCED_PAUSE: Duration = Duration::from_millis(400);

/// For how long at least writes flow between two attempts.
const REST: Duration = Duration::from_millis(20);

/// What is wished.
#[derive(Clone)]
pub struct Options {
    /// How clients are moved, to what port the source moves, and the checks before it.
    pub preflight: preflight::Options,
    /// How long writes on the source wait at most.
    pub pause_budget: Duration,
    /// How long a good moment is waited for, before each attempt.
    pub patience: Duration,
    /// How many times a pause is tried in which the target does not catch up in time: a few milliseconds at first, up to
    /// half the budget in the end.
    pub attempts: u32,
    /// How long the server that serves may take to answer at that moment.
    pub max_latency: Duration,
    /// How many bytes the target may be behind when the pause begins: the fewer, the shorter the pause.
    pub max_lag_bytes: u64,
    /// Bytes of replication backlog of the server that is promoted: what the old one may miss and still follow.
    pub backlog_bytes: u64,
    /// The login the demoted server uses at the promoted one; none for the promoted one's endpoint's own.
    pub login: Option<Login>,
    /// Save the promoted server's configuration (port, role) to its file, if it has one.
    pub rewrite: bool,
    /// What else is to be done at the moments of the handover.
    pub hooks: Hooks,
    /// The command that starts a guard; none for no guard. See [`super::guard`].
    pub guard: Option<Vec<String>>,
    /// A client that looks on, if one is wished.
    pub probe: Option<Wish>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            preflight: preflight::Options::default(),
            pause_budget: Duration::from_secs(1),
            patience: Duration::from_secs(30),
            attempts: 16,
            max_latency: Duration::from_millis(25),
            max_lag_bytes: 64 << 10,
            backlog_bytes: 256 << 20,
            login: None,
            rewrite: true,
            hooks: Hooks::default(),
            guard: None,
            probe: None,
        }
    }
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
        /// What the probe saw, if there was one.
        pub probe: Option<Probed>,
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
    let course = course(to, &standing(pair, look));
    if [Course::Cut, Course::Settle].contains(&course) {
        let_held_in(pair, look, options).await?;
    }
    let done = match course {
        Course::Cut => {
            // What the handover before this one has left undone.
            if pair.handover.is_some() && look.stage == Stage::Switched {
                let without_hooks = Options { hooks: Hooks::default(), ..options.clone() };
                settle(pair, look, to.other(), &without_hooks).await?;
            }
            cut(call, pair, to, options).await?
        }
        // In a dry run of the whole procedure the steps before this one have not been done either.
        Course::Refuse(Refusal::NotReplicating) if call.run.dry => cut(call, pair, to, options).await?,
        Course::GoOn => resume(pair, true, options).await?,
        Course::TakeBack => resume(pair, false, options).await?,
        Course::Settle => Done { warm: settle(pair, look, to, options).await?, ..Done::default() },
        Course::Refuse(refusal) => return Err(refused(pair, to, refusal)?),
    };
    // Addresses may have changed: find both again.
    let moved = match call.run.dry {
        true => None,
        false => Some(call.find().await?),
    };
    let now = moved.as_ref().unwrap_or(pair);
    let after = now.facts().await;
    let serves = if call.run.dry { stage.serves().unwrap_or(to) } else { to };
    let serving = now.entrance(serves)?.to_string();
    let parked = now.side(serves.other()).ok().map(|server| server.endpoint.to_string());
    Ok(finish!(
        call.run,
        before,
        after,
        Switchover {
            serving,
            parked,
            warm: done.warm,
            write_gap_ms: done.longest_gap_us as f64 / 1000.0,
            protocol_ms: done.milliseconds(&["pause", "hold", "demote", "shut_down", "promote", "arrive", "confirm"]),
            drain_ms: done.milliseconds(&["drain"]),
            phases: done.phases,
            attempts: done.attempts,
            probe: None,
        }
    ))
}

/// Runs a step that makes the server on side `to` the master, with a probe beside it if one is wished.
pub(super) async fn beside_probe(
    call: &Call,
    to: Side,
    options: &Options,
    step: impl Future<Output = Result<Switchover>>,
) -> Result<Switchover> {
    let (done, probe) = probed(call, options.probe.as_ref(), &options.preflight.redirect, to, step).await?;
    Ok(Switchover { probe, warnings: call.run.warnings(), elapsed: call.run.elapsed(), ..done })
}

/// A controller that held the clients has died before it demoted anything, and its guard with it: whoever is to serve now,
/// they are let in again first.
async fn let_held_in(pair: &mut Pair, look: &Look, options: &Options) -> Result<()> {
    let begun = pair.handover.as_ref().filter(|record| record.plan.holds()).map(Handover::demoted);
    if let Some(serves) = begun
        && look.stage.serves() == Some(serves)
        && !pair.run.dry
    {
        call_off(pair, look, serves.other(), options).await?;
        pair.handover = pair.journal.handover()?;
    }
    Ok(())
}

fn standing(pair: &Pair, look: &Look) -> Standing {
    let histories = look.source.as_ref().map(|source| share_history(&source.replication, &look.target.replication));
    Standing {
        stage: look.stage,
        demotes: pair.handover.as_ref().map(Handover::demoted),
        arrived: pair.has_arrived(look),
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
            .at(pair.side(to.other())?)
            .remedy(format!("run {} to finish, then go on", if to == Side::Source { "switchover" } else { "rollback" }))
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
            let remedy = match pair.journal.is_promoted()? {
                true => "it has served: if it has its data, send it REPLICAOF NO ONE and run this again".to_owned(),
                false => format!("if its log does not say that it was promoted, make {other} serve again: run {back}"),
            };
            Error::new(Code::HistoryLost, "was restarted in the middle of the handover and may lack the data")
                .at(pair.side(to)?)
                .remedy(remedy)
                .state(State::Interrupted)
        }
    })
}

/// What the cut has done.
#[derive(Default)]
struct Done {
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
const WRITES_WAIT: [&str; 9] =
    ["pause", "drain", "hold", "release", "demote", "shut_down", "promote", "arrive", "undo"];

/// Microseconds in these phases.
fn time_in(phases: &[Phase], names: &[&str]) -> u64 {
    phases.iter().filter(|phase| names.contains(&phase.name.as_str())).map(|phase| phase.microseconds).sum()
}

/// From the one that serves to the other one, from the start.
async fn cut(call: &Call, pair: &mut Pair, to: Side, options: &Options) -> Result<Done> {
    let handover = planned_handover(pair, to, options).await?;
    let (demoted, promoted) = (pair.side(to.other())?.clone(), pair.side(to)?.clone());
    let journal = pair.journal.clone();
    let route = route(&promoted, handover.public)?;
    let scene = Scene::of(pair, &handover);
    let mut guard = if pair.run.dry { None } else { post_guard(call, to, options, &scene) };
    let hooks = options.hooks.watched(guard.as_ref().map(Guard::watch));
    let mut cut = Cut {
        demoted: &demoted,
        promoted: &promoted,
        handover: &handover,
        followed: (&route.host, route.port),
        redirect: &options.preflight.redirect,
        hooks: &hooks,
        scene: &scene,
        journal: &journal,
        limits: limits(options, &handover, 1),
    };
    if pair.run.dry {
        let note = |planned: Vec<String>| planned.into_iter().for_each(|action| pair.run.action(action));
        note(hooks.planned(&[Moment::Before]));
        prepare(pair, &demoted, &promoted, &handover, options).await?;
        note(cut.planned());
        note(hooks.planned(&[Moment::Promoted, Moment::After]));
        return Ok(Done { warm: !handover.fenced, ..Done::default() });
    }
    if let Err(error) = hooks.before(&pair.run, &scene).await {
        // What it has done until it failed is for the hook to take back.
        hooks.led(&pair.run, Moment::Undone, &scene).await;
        dismiss(guard);
        return Err(error);
    }
    let outcome = async {
        prepare(pair, &demoted, &promoted, &handover, options).await.map_err(|error| error.state(State::Unchanged))?;
        // Nothing has been demoted yet: what was raised is restored.
        let others = others(pair, &demoted, &promoted).await.map_err(|error| error.state(State::Undone))?;
        if let Some(guard) = &mut guard
            && !guard.is_ready().await
        {
            call.run.warn("the guard did not come: if this process is killed between demotion and promotion, nobody serves until it is run again");
        }
        let ready = cut.moving().prepare().await.map_err(|error| error.state(State::Undone))?;
        told(pair, ready);
        pair.begin(handover.clone())?;
        let done = attempts(pair, &mut cut, options).await?;
        Ok((done, others))
    };
    let (mut done, others) = match outcome.await {
        Ok(done) => done,
        Err(error) => {
            let error = put_back(pair, &cut, error).await;
            if error.state != State::Interrupted {
                dismiss(guard);
            }
            return Err(error);
        }
    };
    done.warm = complete(pair, &cut, &others, options).await?;
    dismiss(guard);
    Ok(done)
}

fn post_guard(call: &Call, to: Side, options: &Options, scene: &Scene) -> Option<Guard> {
    match Guard::post(options.guard.as_ref()?, &Job::new(call, to, options, scene)) {
        Ok(guard) => Some(guard),
        Err(error) => {
            call.run.warn(format!("no guard could be posted: {error:#}"));
            None
        }
    }
}

fn dismiss(guard: Option<Guard>) {
    if let Some(guard) = guard {
        guard.dismiss();
    }
}

/// Goes on where a handover stopped between its transactions: forward, or back.
async fn resume(pair: &mut Pair, forward: bool, options: &Options) -> Result<Done> {
    let Some(handover) = &pair.handover.clone() else { return Ok(Done::default()) };
    let promoted = pair.side(handover.demoted().other())?.clone();
    let mut done = Done { attempts: 1, ..Done::default() };
    if pair.run.dry {
        pair.run.action(format!("{promoted}: {} the handover", if forward { "go on with" } else { "take back" }));
        let moments: &[Moment] = if forward { &[Moment::Promoted, Moment::After] } else { &[Moment::Undone] };
        options.hooks.planned(moments).into_iter().for_each(|action| pair.run.action(action));
        return Ok(done);
    }
    let Ok(demoted) = pair.side(handover.demoted()).cloned() else {
        if !forward {
            return Err(Error::new(Code::NotWarm, "is gone, so it can't serve again")
                .at(handover.demoted().as_str())
                .remedy("start it again with its data, or go on with the handover")
                .state(State::Interrupted));
        }
        // It has ended, and the promoted one has all it had: `Pair::look` has seen to that.
        promoted.change(&Command::replicaof_no_one()).await?;
        settle(pair, &pair.look().await?, promoted.side, options).await?;
        return Ok(done);
    };
    let journal = pair.journal.clone();
    let route = route(&promoted, handover.public)?;
    let followed = (route.host.as_str(), route.port);
    let limits = limits(options, handover, 1);
    let scene = &Scene::of(pair, handover);
    let cut = Cut {
        demoted: &demoted,
        promoted: &promoted,
        handover,
        followed,
        redirect: &options.preflight.redirect,
        hooks: &options.hooks,
        scene,
        journal: &journal,
        limits,
    };
    let (left, right) = (demoted.replication().await?, promoted.replication().await?);
    let has_served = pair.journal.is_promoted()? || right.replid2 == handover.replid || right.offset > left.offset;
    if !forward && has_served {
        return Err(Error::new(Code::NotWarm, "has served, and was started again: going back would lose what it took")
            .at(&promoted)
            .remedy("if it has its data, send it REPLICAOF NO ONE and run the step that hands over to it; if not, send REPLICAOF NO ONE to the other one")
            .state(State::Interrupted));
    }
    if !forward && promoted.former_run_id.is_some() {
        pair.run.warn(WHAT_IT_TOOK);
    }
    // Its port was taken when it was demoted: it is still in the way.
    if forward && handover.leaves() && see(&demoted).await?.ports == handover.home {
        demoted.change_all(&ports::leave(handover)).await.map_err(|error| {
            Error { code: Code::AsidePortTaken, ..error }
                .remedy("free that port, or take the handover back")
                .state(State::Interrupted)
        })?;
    }
    let machine =
        if forward { Machine::resume(limits, way(handover), left.offset) } else { Machine::take_back(limits) };
    let others = others(pair, &demoted, &promoted).await?;
    if forward && let Err(error) = cut.moving().again().await.map(|done| told(pair, done)) {
        pair.run.warn(error.to_string());
    }
    let attempt = cut.run(&pair.run, machine).await;
    done.phases = attempt.phases;
    done.longest_gap_us = time_in(&done.phases, &WRITES_WAIT);
    if let Err(error) = attempt.led {
        return Err(error.state(State::Interrupted));
    }
    match attempt.end {
        End::Switched => done.warm = complete(pair, &cut, &others, options).await?,
        End::Undone(_) if !forward => {
            put_back(pair, &cut, Error::new(Code::Cancelled, "taken back").state(State::Undone)).await;
        }
        end => return Err(put_back(pair, &cut, cut.error(&end)).await),
    }
    Ok(done)
}

/// The ports of a handover to `to`.
async fn planned_handover(pair: &Pair, to: Side, options: &Options) -> Result<Handover> {
    let (source, target) = (pair.source()?, pair.target()?);
    let (at_source, at_target) = tokio::join!(see(source), see(target));
    let (at_source, at_target) = (at_source?.ports, at_target?.ports);
    let redirect = &options.preflight.redirect;
    let (public, aside, plan) = match (to, &pair.handover) {
        // Back the way it came: to the ports each one had before. One that was begun before knows them too.
        (Side::Source, Some(before)) => {
            let (plan, found) = before.plan.look_again(pair, redirect).await?;
            if let Some(refusal) = findings::refusal(&found) {
                return Err(refusal);
            }
            let home = if before.back { before.public } else { before.home };
            match (before.arrives(), before.leaves()) {
                _ if plan.keeps_port_free() => (home, at_target, plan),
                (true, _) => (at_target, if before.back { before.aside } else { before.from }, plan),
                (false, true) => (at_source, free_ports(target, at_target, at_source).await?, plan),
                (false, false) => (at_source, at_target, plan),
            }
        }
        (Side::Source, None) => (at_source, at_target, Plan::default()),
        (Side::Target, _) => {
            let mut checks = options.preflight.clone();
            checks.force = true; // The data it has now is the source's.
            let examined = preflight::examine(pair, &checks).await?;
            if let Some(refusal) = findings::refusal(&examined.findings) {
                return Err(refusal);
            }
            let public = if redirect.takes_over() { at_source } else { at_target };
            let aside = examined.aside.filter(|_| redirect.leaves_port()).unwrap_or(at_source);
            (public, aside, examined.way)
        }
    };
    let back = to == Side::Source;
    let (demoted, home, from) = if back { (target, at_target, at_source) } else { (source, at_source, at_target) };
    let fenced = !demoted.identity.has_redis(findings::REVERSIBLE_FROM);
    Ok(Handover {
        source: source.identity.run_id.clone(),
        target: target.identity.run_id.clone(),
        back,
        source_config: source.identity.config_file.clone(),
        target_config: target.identity.config_file.clone(),
        replid: demoted.replication().await?.replid,
        home,
        public,
        aside,
        from,
        fenced,
        plan,
    })
}

/// Ports for a server to be out of the way for a moment.
async fn free_ports(server: &Server, its: Ports, others: Ports) -> Result<Ports> {
    preflight::aside(server, its, others, None).await?.ok_or_else(|| {
        Error::new(Code::AsidePortTaken, "finds no free port to move to").at(server).remedy("free a port above its own")
    })
}

/// Whether the demoted server can leave its port.
fn way(handover: &Handover) -> Way {
    if handover.fenced { Way::Fenced } else { Way::Reversible }
}

/// How long things may take in the n-th attempt. A pause that can't be ended early is short: it is the price of an attempt
/// that fails.
fn limits(options: &Options, handover: &Handover, attempt: u32) -> Limits {
    let patience = Duration::from_secs(2);
    let budget = handover.plan.longest_pause().map_or(options.pause_budget, |most| most.min(options.pause_budget));
    if handover.fenced {
        let pause = budget.min(FENCED_PAUSE);
        return Limits { pause, drain: pause / 2, patience };
    }
    Limits { pause: budget, drain: drain_limit(attempt, budget), patience }
}

/// Tries the cut at a good moment, several times if need be. Each time writes flow again before the next one.
async fn attempts(pair: &Pair, cut: &mut Cut<'_>, options: &Options) -> Result<Done> {
    let wanted = Wanted { lag_bytes: options.max_lag_bytes, latency: options.max_latency };
    let mut done = Done::default();
    loop {
        done.attempts += 1;
        let waiting = Instant::now();
        let moment = good_moment(&pair.run, cut.demoted, cut.promoted, wanted, options.patience);
        // Nothing has been demoted yet.
        moment.await.map_err(|error| error.state(State::Undone))?;
        let moment = Phase { name: "moment".into(), microseconds: waiting.elapsed().as_micros() as u64 };
        cut.limits = limits(options, cut.handover, done.attempts);
        let holds = cut.handover.plan.holds() || cut.hooks.has(Moment::Paused);
        let machine = Machine::new(cut.limits, way(cut.handover)).holding(holds);
        let Attempt { end, phases, led, refused } = cut.run(&pair.run, machine).await;
        let gap = time_in(&phases, &WRITES_WAIT);
        done.longest_gap_us = done.longest_gap_us.max(gap);
        done.phases = [vec![moment], phases].concat();
        // Whoever serves does so: a rerun, or the guard, leads the clients to it.
        led.map_err(|error| error.state(State::Interrupted))?;
        match end {
            End::Switched => {
                confirm(pair, cut, &mut done).await?;
                return Ok(done);
            }
            End::Unchanged(Why::Behind(_) | Why::CountsDiffer) if done.attempts < options.attempts => {
                // Writes flow for at least as long as they have waited.
                pair.run.sleep(Duration::from_micros(gap).max(REST)).await?;
            }
            End::Unchanged(Why::NotHeld(_)) if let Some(error) = refused => return Err(error),
            end => return Err(cut.error(&end)),
        }
    }
}

/// The last part of the protocol: the pause ends, and a write through the public address shows that clients arrive. It
/// deletes a key that does not exist, which changes nothing and yet is refused where writes are.
async fn confirm(pair: &Pair, cut: &Cut<'_>, done: &mut Done) -> Result<()> {
    let _shield = pair.run.shield();
    let began = Instant::now();
    // The promoted server's role came back with its promotion.
    let release = async {
        if cut.handover.fenced {
            return Ok(());
        }
        pair.run.action(format!("{}: {}", cut.demoted, unpause()));
        cut.demoted.ask(&unpause()).await.map(drop)
    };
    let (released, arrived) = tokio::join!(release, canary(cut));
    let microseconds = began.elapsed().as_micros() as u64;
    done.phases.push(Phase { name: "confirm".into(), microseconds });
    pair.run.emit(&Event::Phase { name: "confirm", microseconds });
    if let Err(error) = released {
        pair.run.warn(format!("the old one did not answer after the handover: {error}"));
    }
    if let Err(error) = arrived {
        pair.run.warn(format!("the target serves, but a write through the public address failed: {error}"));
    }
    Ok(())
}

async fn canary(cut: &Cut<'_>) -> Result<()> {
    let (handover, promoted) = (cut.handover, cut.promoted);
    let public = at(promoted, handover.public);
    let entrance = handover.plan.entrance(handover, &promoted.endpoint).unwrap_or(public);
    let write = Command::new(["DEL", "redis-baton:canary"]);
    Server::visit(&promoted.run, promoted.side, &entrance, &write).await
}
