//! `wait_synced`: the initial sync has completed and the link is steady.

use std::time::{Duration, Instant};

use super::Call;
use crate::{
    decide::stage::Stage,
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    pair::Pair,
    run::{Deadline, Event},
    server::{Server, info::Info},
};

/// The longest pause between two looks at a sync.
const SLOWEST_LOOK: Duration = Duration::from_millis(200);

/// What is wished.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long the sync may take.
    pub wait_timeout: Duration,
    /// How many bytes the target may be behind at the end.
    pub max_lag_bytes: u64,
}

step_result! {
    /// What `wait_synced` returns.
    pub struct WaitSynced {
        /// Whether the target has the source's data and follows, or has done so and serves now.
        pub synced: bool,
        /// Bytes of the replication stream that the target was behind.
        pub lag_bytes: u64,
        /// Bytes of the initial sync, as far as this call has seen them pass.
        pub sync_bytes: u64,
        /// How often it was looked.
        pub attempts: u64,
    }
}

/// Waits for the initial sync.
pub async fn wait_synced(call: &Call, options: &Options) -> Result<WaitSynced> {
    let pair = call.begin("wait_synced").await?;
    let before = pair.facts().await;
    let look = pair.look().await?;
    let mut seen = Progress::default();
    let synced = match look.stage {
        Stage::Following => watch(&pair, options, &mut seen).await?,
        Stage::Apart if call.run.dry => {
            call.run.warn("the target does not replicate yet, so there is no sync to wait for");
            false
        }
        Stage::Apart => {
            return Err(Error::new(Code::NotReplicating, "does not replicate from the source")
                .at(pair.target()?)
                .remedy("run replicate first"));
        }
        Stage::HalfDone | Stage::Switched | Stage::Retired => true,
    };
    let after = pair.facts().await;
    Ok(finish!(
        call.run,
        before,
        after,
        WaitSynced { synced, lag_bytes: seen.lag, sync_bytes: seen.bytes, attempts: seen.attempts }
    ))
}

#[derive(Default)]
struct Progress {
    lag: u64,
    bytes: u64,
    attempts: u64,
    /// The stage of the sync, when it was first seen, and the bytes that had passed by then.
    stage: Option<(&'static str, Instant, u64)>,
}

/// Before that a rate is chance: the first look at a stage may find much of it done.
const RATE_AFTER: Duration = Duration::from_millis(200);

async fn watch(pair: &Pair, options: &Options, seen: &mut Progress) -> Result<bool> {
    let (source, target) = (pair.source()?, pair.target()?);
    let deadline = Deadline::after(options.wait_timeout);
    let full_syncs = |info: &Info| info.number("sync_full").unwrap_or_default();
    let mut first = None;
    let mut wait = Duration::from_millis(10);
    loop {
        seen.attempts += 1;
        let (at_source, at_target) = tokio::join!(source.info("default"), target.info("default"));
        let (at_source, at_target) = (at_source?, at_target?);
        let first = *first.get_or_insert(full_syncs(&at_source));
        if steady(&at_source, &at_target, options.max_lag_bytes, seen) {
            source.restore(&pair.journal, Some(&["client-output-buffer-limit", "repl-diskless-sync-delay"])).await?;
            target.restore(&pair.journal, Some(&["repl-diskless-load"])).await?;
            return Ok(true);
        }
        if pair.run.dry {
            return Ok(false);
        }
        // One may begin while we look; a second one means that it ends and begins again.
        if full_syncs(&at_source) > first + 1 {
            return Err(Error::new(Code::SyncLoops, "the initial sync ends and begins again and again")
                .at(target)
                .remedy(
                    "look at both logs: the target can't load the data, or the source cut it off for its output buffer",
                )
                .state(State::Interrupted));
        }
        pair.run.emit(&seen.event(&at_target));
        if deadline.passed() {
            return Err(timed_out(target, &at_target, options));
        }
        pair.run.sleep(wait).await?;
        wait = (wait * 2).min(SLOWEST_LOOK);
    }
}

/// Whether the link is up on both ends and the target close behind.
fn steady(source: &Info, target: &Info, max_lag: u64, seen: &mut Progress) -> bool {
    let (at_source, at_target) =
        (crate::server::info::Replication::from(source), crate::server::info::Replication::from(target));
    seen.bytes = seen.bytes.max(at_target.sync_read);
    seen.lag = at_source.offset.saturating_sub(at_target.offset);
    let online = at_source.replicas.iter().any(|replica| replica.state == "online");
    at_target.link_up && !at_target.syncing && !target.flag("loading") && online && seen.lag <= max_lag
}

impl Progress {
    fn event(&mut self, target: &Info) -> Event {
        let number = |name| target.number(name);
        let bytes = number("master_sync_read_bytes").unwrap_or_default();
        let total = number("master_sync_total_bytes").filter(|total| *total > 0);
        let loading = target.flag("loading");
        let stage = match () {
            () if loading => "loading",
            () if target.get("master_link_status") == Some("up") => "streaming",
            () if bytes > 0 => "receiving",
            () => "waiting",
        };
        let (bytes, total) = if loading {
            (number("loading_loaded_bytes").unwrap_or(bytes), number("loading_total_bytes").filter(|t| *t > 0))
        } else {
            (bytes, total)
        };
        let began = self.stage.filter(|(seen, ..)| *seen == stage).unwrap_or((stage, Instant::now(), bytes));
        self.stage = Some(began);
        let rate = rate(bytes.saturating_sub(began.2), began.1.elapsed());
        let left = total.zip(rate).map(|(total, rate)| total.saturating_sub(bytes) as f64 / rate as f64);
        Event::Sync { stage, bytes, total, rate, seconds_left: left }
    }
}

/// Bytes a second, once there is enough to go by.
fn rate(bytes: u64, elapsed: Duration) -> Option<u64> {
    let rate = (elapsed >= RATE_AFTER).then(|| (bytes as f64 / elapsed.as_secs_f64()) as u64);
    rate.filter(|rate| *rate > 0)
}

fn timed_out(target: &Server, info: &Info, options: &Options) -> Error {
    let link = info.get("master_link_status").unwrap_or("unknown");
    let found = format!("is not in sync after {} seconds: link {link}", options.wait_timeout.as_secs_f64());
    Error::new(Code::SyncTimedOut, found)
        .at(target)
        .remedy("the sync goes on: run again to wait on, with a longer wait_timeout")
        .state(State::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_time_to_go_by() {
        assert_eq!(rate(3_500_000, Duration::from_nanos(20)), None);
        assert_eq!(rate(0, Duration::from_secs(1)), None);
        assert_eq!(rate(1_000, Duration::from_millis(500)), Some(2_000));
    }
}
