//! `status`: how things stand, and whether there is a way back. Changes nothing.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    Call,
    preflight::word,
    warm::{Watched, watch},
};
use crate::{
    decide::{
        stage::Stage,
        warmth::{Warmth, backlog_seconds},
    },
    error::{Error, Result},
    facts::{finish, step_result},
    pair::Pair,
};

/// For how long the rate of writes is looked at.
const WINDOW: Duration = Duration::from_millis(300);

step_result! {
    /// What `status` returns.
    pub struct Status {
        /// `apart` or `following` (the source serves), `half_done` (nobody), `switched` (the target serves, the old one
        /// follows) or `retired`.
        pub stage: String,
        /// The address clients arrive at; none if nobody serves.
        pub serving: Option<String>,
        /// The address of the other one; none if it is gone.
        pub parked: Option<String>,
        /// Whether the old one follows the new one without a gap, so that `rollback` loses nothing; none before the
        /// switchover and after `retire`.
        pub warm: Option<bool>,
        /// Since when that is so, in seconds since 1970; where it is not warm, at the latest since then.
        pub since: Option<f64>,
        /// Why it is not warm.
        pub why: Option<String>,
        /// For how many seconds the old one may be cut off, at the present rate of writes, and still follow without a
        /// gap; none where it is not warm or nothing is written.
        pub backlog_seconds: Option<f64>,
        /// What is raised on either server until the upgrade is over: `server: parameter`.
        pub raised: Vec<String>,
    }
}

/// Looks how things stand.
pub async fn status(call: &Call) -> Result<Status> {
    let pair = call.begin("status").await?;
    let facts = pair.facts().await;
    let stage = pair.look().await?.stage;
    let serves = stage.serves();
    let address = |side| pair.side(side).ok().map(|server| server.endpoint.to_string());
    let watched =
        if stage == Stage::Switched { Some(watch(&pair, pair.source()?, pair.target()?).await?) } else { None };
    let (warm, why) = match watched.as_ref().map(|watched| &watched.warmth) {
        None => (None, None),
        Some(Warmth::Warm) => (Some(true), None),
        Some(Warmth::Resumable) => {
            (Some(false), Some("its link is down; a rerun of switchover, or rollback, links it again".into()))
        }
        Some(Warmth::Lossy(why)) => (Some(false), Some(why.clone())),
    };
    let mut raised = Vec::new();
    for server in [pair.source(), pair.target()].into_iter().flatten() {
        let names: BTreeSet<_> = server.raised(&pair.journal)?.into_iter().map(|known| known.parameter).collect();
        raised.extend(names.into_iter().map(|parameter| format!("{server}: {parameter}")));
    }
    let backlog_seconds = if warm == Some(true) { left(&pair).await? } else { None };
    Ok(finish!(
        call.run,
        facts.clone(),
        facts,
        Status {
            stage: word(&stage),
            serving: serves.and_then(|side| pair.entrance(side).ok()).map(|entrance| entrance.to_string()),
            parked: serves.and_then(|side| address(side.other())),
            warm,
            since: watched.as_ref().map(|Watched { since, .. }| *since),
            why,
            backlog_seconds,
            raised,
        }
    ))
}

/// For how long the backlog lasts.
async fn left(pair: &Pair) -> Result<Option<f64>, Error> {
    let (source, target) = (pair.source()?, pair.target()?);
    let (began, first) = (Instant::now(), target.replication().await?);
    pair.run.sleep(WINDOW).await?;
    let (follower, info) = tokio::join!(source.replication(), target.info("replication"));
    let (follower, info) = (follower?, info?);
    let master = crate::server::info::Replication::from(&info);
    let rate = master.offset.saturating_sub(first.offset) as f64 / began.elapsed().as_secs_f64();
    let size = info.number("repl_backlog_size").unwrap_or_default();
    Ok(backlog_seconds(&follower, &master, size, rate))
}
