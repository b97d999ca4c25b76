//! A handover that stopped between its transactions.

use super::{
    Done, Options, WRITES_WAIT,
    plan::{limits, way},
    time_in,
};
use crate::{
    decide::handover::{End, Machine},
    error::{Code, Error, Result, State},
    handover::Cut,
    hook::{Moment, Scene},
    pair::{Pair, see},
    redirect::ports,
    server::Command,
    step::{
        aftermath::{complete, put_back, settle, told},
        bring_back::WHAT_IT_TOOK,
        replicas::others,
        route,
    },
};

/// Goes on where a handover stopped between its transactions: forward, or back.
pub(super) async fn resume(pair: &mut Pair, forward: bool, options: &Options) -> Result<Done> {
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
