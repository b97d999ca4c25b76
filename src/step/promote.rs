//! `promote`: the target is a master. For those who drive the procedure by hand and move clients themselves;
//! `switchover` does it without a gap in which writes could be lost.

use std::time::Duration;

use super::{Call, confirm_role, verify, wait_quiescent};
use crate::{
    decide::stage::{Stage, share_history},
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    journal::Record,
    pair::Pair,
    run::Deadline,
    server::{Command, info::Role},
};

/// What is wished.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Promote though the source is in use or does not answer: what the target lacks is lost.
    pub force: bool,
    /// How long the target may take to catch up with the quiet source.
    pub wait_timeout: Duration,
}

step_result! {
    /// What `promote` returns.
    pub struct Promote {
        /// Whether the target is a master.
        pub promoted: bool,
    }
}

/// Makes the target a master, if the source is quiet and the target has all of it.
pub async fn promote(call: &Call, options: &Options) -> Result<Promote> {
    let pair = call.begin_alone("promote").await?;
    let before = pair.facts().await;
    let target = pair.target()?;
    if target.replication().await?.role == Role::Master {
        let serves = match pair.look().await {
            Ok(look) => look.stage != Stage::Apart,
            Err(error) if options.force && error.code == Code::HistoryLost && !call.run.dry => {
                call.run.warn("the data with which it was restarted is taken as it is");
                pair.journal.append(&Record::Accepted { run_id: target.identity.run_id.clone() })?;
                true
            }
            Err(_) => options.force,
        };
        // Apart, with a master on each side, is also what a promotion by this step leaves: it is done then.
        let promoted = match pair.source() {
            Ok(source) => share_history(&target.replication().await?, &source.replication().await?),
            Err(_) => options.force,
        };
        if serves || promoted || call.run.dry {
            return Ok(finish!(call.run, before.clone(), before, Promote { promoted: serves || promoted }));
        }
        return Err(Error::new(Code::NotReplicating, "never was a replica of the source")
            .at(target)
            .remedy("run replicate and wait_synced first"));
    }
    if !options.force {
        check_quiet(call, &pair, options).await?;
    }
    if let Err(error) = verify::put_back(&pair, target).await {
        call.run.warn(format!("what a comparison has set is not put back: {error}"));
    }
    target.change(&Command::replicaof_no_one()).await?;
    if !call.run.dry {
        confirm_role(target, Role::Master).await?;
    }
    let after = pair.facts().await;
    Ok(finish!(call.run, before, after, Promote { promoted: !call.run.dry }))
}

async fn check_quiet(call: &Call, pair: &Pair, options: &Options) -> Result<()> {
    let (source, target) = (pair.source()?, pair.target()?);
    pair.look().await?;
    let deadline = Deadline::after(options.wait_timeout);
    let quiet = wait_quiescent::Options {
        quiet_for: Duration::from_millis(300),
        wait_timeout: Duration::from_secs(2),
        monitor: None,
    };
    match wait_quiescent::until_quiet(call, pair, &quiet).await {
        Err(error) if error.code == Code::NotQuiet => {
            return Err(Error { code: Code::SourceInUse, ..error }.remedy("move the clients first, or use switchover"));
        }
        other => drop(other?),
    }
    loop {
        let (ahead, behind) = tokio::join!(source.replication(), target.replication());
        let (ahead, behind) = (ahead?, behind?);
        if behind.offset >= ahead.offset && (behind.link_up || ahead.role == Role::Replica) {
            return Ok(());
        }
        if deadline.passed() || call.run.dry {
            let found = format!("is {} bytes behind", ahead.offset.saturating_sub(behind.offset));
            return Err(Error::new(Code::LagTooHigh, found)
                .at(target)
                .remedy("wait_synced first")
                .state(State::Unchanged));
        }
        pair.run.sleep(Duration::from_millis(5)).await?;
    }
}
