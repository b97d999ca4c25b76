//! The way out of a handover whose promoted server is gone or lacks data: the demoted one serves again.

use super::{
    Call,
    aftermath::{moving, rewrite, told},
    at, confirm_role,
    hand_over::{Options, Switchover},
    preflight::answers,
};
use crate::{
    error::{Code, Error, Result, State},
    facts::{Facts, finish},
    hook::{Moment, Scene},
    journal::Record,
    pair::Pair,
    redirect::ports,
    server::{Command, Server, Side, info::Role},
};

/// Said where nothing here tells whether the one to be promoted was.
pub(super) const WHAT_IT_TOOK: &str =
    "if the other one was promoted and served before it died, what it took then is not in this one";

/// Makes a demoted server the master again whose successor is gone or lacks its data. `found` is what is wrong; it is
/// returned where it is something else, or the demoted one is not on side `to`.
pub(super) async fn bring_back(
    call: &Call,
    pair: &Pair,
    to: Side,
    options: &Options,
    found: Error,
) -> Result<Switchover> {
    if to == Side::Source && found.code == Code::Unreachable && serves_unsettled(pair).await? {
        return settle_without_target(call, pair, options).await;
    }
    let half_way = [Code::HalfDone, Code::HistoryLost].contains(&found.code);
    let (demoted, record) = match pair.demoted().await? {
        Some((demoted, record)) if half_way && record.demoted() == to => (demoted, record),
        _ => return Err(found),
    };
    let before = pair.facts().await;
    let seen = demoted.replication().await?;
    let history = if seen.role == Role::Master { &seen.replid2 } else { &seen.replid };
    if *history != record.replid || pair.journal.is_promoted()? {
        return Err(Error::new(
            Code::NotWarm,
            "was handed over from, and its successor, which is gone, has served: what that took would be lost",
        )
        .at(demoted)
        .remedy("start that one again; or, if it is lost, send this one REPLICAOF NO ONE and CONFIG SET port"));
    }
    let moves = ports::come_back(record);
    let serving = at(demoted, record.home);
    if !call.run.dry {
        moving(pair, record, options).make_way().await?;
    }
    if !moves.is_empty() && answers(&serving.host, serving.port).await {
        return Err(Error::new(Code::TakeoverImpossible, format!("can't come back: something listens at {serving}"))
            .at(demoted)
            .remedy("free the port and run again")
            .state(State::Interrupted));
    }
    // In one: at the public port it is to be seen as a master only.
    let together = [vec![Command::replicaof_no_one()], moves].concat();
    demoted.change_together(&together).await.map_err(|error| error.state(State::Interrupted))?;
    call.run.warn(WHAT_IT_TOOK);
    if call.run.dry {
        options.hooks.planned(&[Moment::Undone]).into_iter().for_each(|action| call.run.mention(action));
    } else {
        confirm_role(demoted, Role::Master).await?;
        Server::connect(&call.run, to, &serving).await?;
        moving(pair, record, options).come_back().await.map(|done| told(pair, done))?;
        pair.journal.append(&Record::Undone)?;
        demoted.restore(&pair.journal, None).await?;
        options.hooks.led(&call.run, Moment::Undone, &Scene::of(pair, record)).await;
    }
    let after = call.find().await?.facts().await;
    Ok(alone(call, before, after, serving.to_string()))
}

/// Whether the source serves, a handover is not settled, and so something is left to do though the target is gone.
async fn serves_unsettled(pair: &Pair) -> Result<bool> {
    match (!pair.journal.is_settled()?, pair.source()) {
        (true, Ok(source)) => Ok(source.replication().await?.role == Role::Master),
        _ => Ok(false),
    }
}

/// The end of a handover, taken back or backwards, whose target has died: the source serves, is restored, and is to serve
/// after a restart too.
async fn settle_without_target(call: &Call, pair: &Pair, options: &Options) -> Result<Switchover> {
    let (before, source) = (pair.facts().await, pair.source()?);
    let restored = source.set_back(&pair.journal, None).await?;
    if !call.run.dry {
        if let Some(record) = &pair.handover {
            let moving = moving(pair, record, options);
            let led = if record.back { moving.arrive().await } else { moving.come_back().await };
            told(pair, led?);
        }
        rewrite(source).await?;
        restored.iter().try_for_each(|record| pair.journal.append(record))?;
        let back = pair.handover.as_ref().is_some_and(|record| record.back);
        if let Some(scene) = pair.handover.as_ref().map(|record| Scene::of(pair, record)) {
            let moment = if back { Moment::Promoted } else { Moment::Undone };
            if options.hooks.led(&call.run, moment, &scene).await && back {
                options.hooks.after(&call.run, &scene).await?;
            }
        }
        pair.journal.append(if back { &Record::Settled } else { &Record::Undone })?;
    }
    call.run.warn("the target is gone, and nothing follows the source");
    let after = pair.facts().await;
    Ok(alone(call, before, after, source.endpoint.to_string()))
}

/// The result where one serves, and the other one is gone.
fn alone(call: &Call, before: Facts, after: Facts, serving: String) -> Switchover {
    finish!(
        call.run,
        before,
        after,
        Switchover {
            serving,
            parked: None,
            warm: false,
            phases: Vec::new(),
            write_gap_ms: 0.0,
            protocol_ms: 0.0,
            drain_ms: 0.0,
            attempts: 0,
            probe: None,
        }
    )
}
