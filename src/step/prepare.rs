//! What is raised for a handover before writes have to wait, and tried that is needed after it.

use super::{
    hand_over::Options,
    login::{find_login, fuse},
    verify,
};
use crate::{
    decide::sentinels::FIRST,
    error::Result,
    journal::{Handover, Journal},
    pair::Pair,
    redirect::{Plan, sentinel::Watch},
    server::{
        Server, Side,
        config::{ANNOUNCED, MIN_REPLICAS, PRIORITY, is_another},
    },
};

/// A PING every that many seconds: none in the time of a handover. Each one moves the offset, and a demoted master that
/// is ahead of its successor by a PING can't follow it by a partial resync.
const NO_PINGS: &str = "86400";

/// From that share of `maxmemory` on a server counts as full, since it may be so when it is demoted.
const FULL_PERCENT: u64 = 95;

/// Bytes that it gets more, at least.
const LEAST_ROOM: u64 = 16 << 20;

/// Everything that can be done before writes have to wait.
pub(super) async fn prepare(
    pair: &Pair,
    demoted: &Server,
    promoted: &Server,
    handover: &Handover,
    options: &Options,
) -> Result<()> {
    let journal = &pair.journal;
    // Or its configuration file would have it.
    verify::put_back(pair, promoted).await?;
    widen_backlog(journal, promoted, options.backlog_bytes).await?;
    // Right after its promotion nobody follows it yet, and it would refuse all writes.
    let config = promoted.config(&[MIN_REPLICAS]).await?;
    if config.get(MIN_REPLICAS).and_then(|wanted| wanted.parse().ok()).is_some_and(|wanted: u64| wanted > 0) {
        promoted.raise(journal, MIN_REPLICAS, "0").await?;
    }
    if let Plan::Sentinel(watch) = &handover.plan {
        under_sentinel(pair, demoted, promoted, watch, handover, options).await?;
    }
    // Tried now, needed after the promotion.
    find_login(pair, demoted, promoted, handover.from, options.login.as_ref()).await?;
    if demoted.side == Side::Source {
        fuse(pair, demoted).await?;
    }
    lift_memory_limit(journal, demoted).await
}

/// From now on no PING moves the demoted one's offset. Not before the moment of the cut: replicas of a master without traffic
/// take it for dead when they have heard nothing for `repl-timeout`.
pub(super) async fn stop_pings(journal: &Journal, demoted: &Server) -> Result<()> {
    demoted.raise(journal, "repl-ping-replica-period", NO_PINGS).await
}

/// Gives the promoted one a backlog that holds what the old one may miss. It counts as used memory, up to its size from 7.0 on
/// and as a whole before: so that it takes no room from the data, `maxmemory` rises by as much.
async fn widen_backlog(journal: &Journal, promoted: &Server, wanted: u64) -> Result<()> {
    let present = promoted.config(&["repl-backlog-size", "maxmemory"]).await?;
    let raised = promoted.raised(journal)?;
    let first = |name: &str| {
        let present = present.get(name).map(String::as_str).unwrap_or_default();
        let known = raised.iter().find(|known| known.parameter == name && !is_another(present, known));
        let original = known.and_then(|known| known.original.as_deref());
        original.unwrap_or(present).parse::<u64>().unwrap_or_default()
    };
    let (size, limit) = (first("repl-backlog-size"), first("maxmemory"));
    if size >= wanted {
        return Ok(());
    }
    if limit > 0 {
        promoted.raise(journal, "maxmemory", &(limit + wanted - size).to_string()).await?;
    }
    promoted.raise(journal, "repl-backlog-size", &wanted.to_string()).await
}

/// What Sentinel is to make of the two if it comes to that.
async fn under_sentinel(
    pair: &Pair,
    demoted: &Server,
    promoted: &Server,
    watch: &Watch,
    handover: &Handover,
    options: &Options,
) -> Result<()> {
    // If both controller and guard die between the two transactions, it does a failover, and only this one has all.
    promoted.raise(&pair.journal, PRIORITY, &FIRST.to_string()).await?;
    let others = demoted.replication().await?.replicas.len() > 1;
    if others && !pair.run.dry {
        options.preflight.redirect.sentinels()?.wait_preferred(&pair.run, watch, promoted.side).await?;
    }
    // It links from where it is out of the way, and would be listed there for good.
    if !handover.fenced && demoted.config(&[ANNOUNCED]).await?.get(ANNOUNCED).is_some_and(|port| port == "0") {
        demoted.raise(&pair.journal, ANNOUNCED, &watch.address(demoted.side).port.to_string()).await?;
    }
    Ok(())
}

/// A server that is full, and finds nothing to evict, refuses whatever is queued in a `MULTI`: its demotion too. So it gets
/// a little more room for the time of the cut.
async fn lift_memory_limit(journal: &Journal, demoted: &Server) -> Result<()> {
    let memory = demoted.info("memory").await?;
    let number = |name| memory.number(name).unwrap_or_default();
    let (used, limit) = (number("used_memory"), number("maxmemory"));
    let evicts = memory.get("maxmemory_policy").is_some_and(|policy| policy.starts_with("allkeys"));
    if limit == 0 || evicts || used < limit / 100 * FULL_PERCENT {
        return Ok(());
    }
    demoted.raise(journal, "maxmemory", &(used.max(limit) + (limit / 8).max(LEAST_ROOM)).to_string()).await
}
