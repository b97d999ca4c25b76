//! What `switchover` and `rollback` have in common: a handover in either direction, from whatever stage things are in.
//! [`crate::decide::handover`] is the protocol.

mod attempts;
mod plan;
mod resume;

use std::{future::Future, time::Duration};

use super::{
    Call,
    aftermath::{call_off, complete, put_back, settle, told},
    guard::{Guard, Job},
    login::Login,
    preflight,
    prepare::{prepare, stop_pings},
    replicas::others,
    route,
};
use crate::{
    decide::{
        course::{Course, Refusal, Standing, course},
        stage::{Stage, share_history},
    },
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    handover::{Cut, Phase},
    hook::{Hooks, Moment, Scene},
    journal::Handover,
    pair::{Look, Pair},
    probe::{Probed, Wish, probed},
    server::Side,
};
use attempts::attempts;
use plan::{limits, planned_handover};
use resume::resume;

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
            protocol_ms: done.milliseconds(&PROTOCOL),
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
const WRITES_WAIT: [&str; 10] =
    ["pause", "drain", "hold", "fence", "release", "demote", "shut_down", "promote", "arrive", "undo"];

/// Those that the protocol takes where all goes well, without the drain.
const PROTOCOL: [&str; 8] = ["pause", "hold", "fence", "demote", "shut_down", "promote", "arrive", "confirm"];

/// Microseconds in these phases.
fn time_in(phases: &[Phase], names: &[&str]) -> u64 {
    phases.iter().filter(|phase| names.contains(&phase.name)).map(|phase| phase.microseconds).sum()
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
        stop_pings(&journal, &demoted).await?;
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
