//! The whole procedure: the steps in their order, each one run only as far as things are not there yet.
//!
//! There is no state of its own: every step finds out from the servers and the journal what is left to do. So an
//! upgrade that was interrupted anywhere is resumed by the same call.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::{
    decide::{findings, stage::Stage},
    error::{Error, Result},
    facts::{Facts, finish, step_result},
    probe::{Probed, probed},
    run::Run,
    server::Side,
    step::{
        Call, preflight, replicate,
        retire::{self, retire},
        switchover,
        verify::{self, require_equal},
        wait_quiescent, wait_synced,
    },
};

/// The steps of an upgrade, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// See [`preflight`].
    Preflight,
    /// See [`replicate`].
    Replicate,
    /// See [`wait_synced`].
    WaitSynced,
    /// See [`verify`].
    Verify,
    /// See [`switchover`].
    Switchover,
    /// See [`wait_quiescent`].
    WaitQuiescent,
    /// See [`retire`](mod@retire).
    Retire,
}

impl Step {
    const ALL: [Step; 7] = [
        Step::Preflight,
        Step::Replicate,
        Step::WaitSynced,
        Step::Verify,
        Step::Switchover,
        Step::WaitQuiescent,
        Step::Retire,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Preflight => "preflight",
            Step::Replicate => "replicate",
            Step::WaitSynced => "wait_synced",
            Step::Verify => "verify",
            Step::Switchover => "switchover",
            Step::WaitQuiescent => "wait_quiescent",
            Step::Retire => "retire",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Result<Self> {
        let names = || Step::ALL.map(Step::as_str).join(", ");
        Step::ALL
            .into_iter()
            .find(|step| step.as_str() == name)
            .ok_or_else(|| Error::input("until", format!("{name:?} is none of {}", names())))
    }
}

/// What is wished of each step.
#[derive(Clone)]
pub struct Options {
    /// The last step to run.
    pub until: Step,
    /// Of `replicate`; its preflight options hold for the whole upgrade.
    pub replicate: replicate::Options,
    /// Of `wait_synced`.
    pub wait_synced: wait_synced::Options,
    /// Of `verify`.
    pub verify: verify::Options,
    /// Of `switchover`.
    pub switchover: switchover::Options,
    /// Of `wait_quiescent`.
    pub wait_quiescent: wait_quiescent::Options,
    /// Of `retire`.
    pub retire: retire::Options,
}

/// What one step of an upgrade did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct StepReport {
    /// The step.
    pub name: String,
    /// Whether it changed something.
    pub changed: bool,
    /// Seconds it took.
    pub elapsed: f64,
    /// Its result, as its own function returns it.
    pub result: Facts,
}

step_result! {
    /// What `upgrade` returns.
    pub struct Upgrade {
        /// Where things stand: `apart` or `following` (the source serves), `half_done`, `switched` (the target serves, the
        /// old one is warm) or `retired`.
        pub stage: String,
        /// The address clients arrive at.
        pub serving: String,
        /// The address of the old one; none if it is gone.
        pub parked: Option<String>,
        /// What each step did, in order.
        pub steps: Vec<StepReport>,
        /// What the probe saw, if there was one.
        pub probe: Option<Probed>,
    }
}

/// Upgrades: from whatever stage things are in, up to and with the step `until`.
pub async fn upgrade(call: &Call, options: &Options) -> Result<Upgrade> {
    options.switchover.hooks.check()?;
    let Options { switchover: wished @ switchover::Options { probe, preflight, .. }, .. } = options;
    // One for all of it.
    let options = Options { switchover: switchover::Options { probe: None, ..wished.clone() }, ..options.clone() };
    let all = run_steps(call, &options);
    let (done, probe) = probed(call, probe.as_ref(), &preflight.redirect, Side::Target, all).await?;
    Ok(Upgrade { probe, warnings: call.run.warnings(), elapsed: call.run.elapsed(), ..done })
}

async fn run_steps(call: &Call, options: &Options) -> Result<Upgrade> {
    let pair = call.begin("upgrade").await?;
    // Each step would find it out again, after a connect_timeout of its own.
    pair.target()?;
    if pair.handover.is_none() {
        pair.source()?;
    }
    let before = pair.facts().await;
    let switched = pair.look().await.is_ok_and(|look| look.stage == Stage::Switched);
    drop(pair);
    let mut options = options.clone();
    if switched && options.verify.level == verify::Level::Full {
        // A rerun is not to fork both servers once more, nor to end at a key that never rests before the rest is done.
        options.verify.level = verify::Level::Sample;
        call.run.warn("the target serves already, so a sample of keys is compared: run verify for every key");
    }
    let mut steps = Vec::new();
    for step in Step::ALL.into_iter().filter(|step| *step <= options.until) {
        let part = Call {
            run: Arc::new(call.run.part()),
            source: call.source.clone(),
            target: call.target.clone(),
            journal_dir: call.journal_dir.clone(),
            break_lock: call.break_lock,
        };
        let outcome = run_step(step, &part, &options).await;
        call.run.take_in(&part.run);
        steps.push(report(step, outcome?, &part.run));
    }
    let pair = call.find().await?;
    let stage = pair.look().await?.stage;
    let serves = stage.serves().unwrap_or(Side::Source);
    let parked = pair.side(serves.other()).ok().filter(|_| serves == Side::Target);
    let after = pair.facts().await;
    Ok(finish!(
        call.run,
        before,
        after,
        Upgrade {
            stage: preflight::word(&stage),
            serving: pair.entrance(serves)?.to_string(),
            parked: parked.map(|server| server.endpoint.to_string()),
            steps,
            probe: None,
        }
    ))
}

async fn run_step(step: Step, call: &Call, options: &Options) -> Result<Value> {
    let checks = &options.replicate.preflight;
    let result = match step {
        Step::Preflight => {
            let result = preflight::preflight(call, checks).await?;
            if let Some(refusal) = findings::refusal(&result.findings) {
                return Err(refusal);
            }
            serde_json::to_value(result)
        }
        Step::Replicate => serde_json::to_value(replicate::replicate(call, &options.replicate).await?),
        Step::WaitSynced => serde_json::to_value(wait_synced::wait_synced(call, &options.wait_synced).await?),
        Step::Verify => {
            let result = verify::verify(call, &options.verify).await?;
            require_equal(&result)?;
            serde_json::to_value(result)
        }
        Step::Switchover => serde_json::to_value(switchover::switchover(call, &options.switchover).await?),
        Step::WaitQuiescent => {
            // What a dry run would wait for is behind a switchover that it does not do.
            let watched = wait_quiescent::wait_quiescent(call, &options.wait_quiescent).await?;
            serde_json::to_value(watched)
        }
        Step::Retire => serde_json::to_value(retire(call, &options.retire).await?),
    };
    result.map_err(|e| Error::new(crate::Code::NotConfirmed, format!("a result can't be reported: {e}")))
}

fn report(step: Step, result: Value, run: &Run) -> StepReport {
    let result = match result {
        Value::Object(facts) => Facts(facts),
        _ => Facts::default(),
    };
    let changed = result.0.get("changed").and_then(Value::as_bool).unwrap_or_default();
    StepReport { name: step.as_str().to_owned(), changed, elapsed: run.elapsed(), result }
}
