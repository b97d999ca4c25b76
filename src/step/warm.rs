//! The old server kept warm: it follows the new one by partial resync alone, and never links by itself.

use std::time::Duration;

use super::{
    login::{Login, find_login, fuse, set_login},
    route,
};
use crate::{
    decide::warmth::{Warmth, stream_errors, warmth},
    error::{Code, Result},
    handover::unpause,
    journal::{Record, unix_time},
    pair::{Pair, see},
    run::Deadline,
    server::{Server, Side, info::Replication},
};

/// A replica that may log in reaches its master with the next tick of the once-a-second replication cron.
const WITHIN: Duration = Duration::from_secs(10);

/// How warm the old one is now, as the journal and the servers tell.
pub(super) struct Watched {
    pub warmth: Warmth,
    /// Seconds since 1970 from which on it has been so.
    pub since: f64,
}

/// Lets `follower` link to `master`, and returns whether it did so by a partial resync.
pub(super) async fn link(pair: &Pair, follower: &Server, master: &Server, given: Option<&Login>) -> Result<bool> {
    // A controller that was killed has left its pause, which outlives the change of roles: writes would wait for the rest
    // of it if this one were promoted again.
    let _ = follower.ask(&unpause()).await?;
    let full_syncs = full_syncs(master).await?;
    let ports = see(master).await?.ports;
    let login = find_login(pair, follower, master, ports, given).await?;
    let tls = route(master, ports)?.tls;
    // Stopped or failed between the login and the fuse it would be left without one.
    let shield = pair.run.shield();
    set_login(pair, follower, login.as_ref(), tls).await?;
    drop(shield);
    let linked = wait_linked(pair, follower, master, full_syncs).await;
    let _shield = pair.run.shield();
    if follower.side == Side::Source {
        fuse(pair, follower).await?;
    }
    let linked = linked?;
    note(pair, follower, linked).await?;
    Ok(linked)
}

pub(super) async fn full_syncs(master: &Server) -> Result<u64> {
    Ok(master.info("stats").await?.number("sync_full").unwrap_or_default())
}

async fn wait_linked(pair: &Pair, follower: &Server, master: &Server, full_syncs: u64) -> Result<bool> {
    let deadline = Deadline::after(WITHIN);
    loop {
        let (seen, syncs) = tokio::join!(follower.replication(), self::full_syncs(master));
        let again = syncs? > full_syncs;
        let why = match seen {
            Ok(seen) if seen.link_up && !again => return Ok(true),
            Ok(_) if again => "it asked for a full resync".to_owned(),
            Ok(_) if !deadline.passed() => {
                pair.run.sleep(Duration::from_millis(10)).await?;
                continue;
            }
            Ok(_) => "its link is down".to_owned(),
            Err(error) if error.code == Code::Cancelled => return Err(error),
            Err(error) => error.to_string(),
        };
        pair.run.warn(format!("the old one ({follower}) does not follow, so there is no way back: {why}"));
        return Ok(false);
    }
}

async fn note(pair: &Pair, follower: &Server, linked: bool) -> Result<()> {
    let record = match linked {
        true => {
            let errors = follower.info("default").await.ok().as_ref().and_then(stream_errors);
            Record::Warm { since: unix_time(), errors }
        }
        false => Record::Lossy { since: unix_time(), why: "it did not follow the new one after the handover".into() },
    };
    pair.journal.append(&record)
}

/// After the switchover was done: a source that has lost its link, and can follow without a gap, follows again. Returns
/// whether it is warm.
pub(super) async fn follow_again(pair: &Pair, given: Option<&Login>) -> Result<bool> {
    let (source, target) = (pair.source()?, pair.target()?);
    match watch(pair, source, target).await?.warmth {
        Warmth::Warm => Ok(true),
        Warmth::Resumable if !pair.run.dry => link(pair, source, target, given).await,
        Warmth::Resumable => Ok(false),
        Warmth::Lossy(why) => {
            pair.run.warn(format!("the old one can't take over back without a loss: {why}"));
            Ok(false)
        }
    }
}

/// Looks whether `follower` still follows `master` without a gap, and notes it where it does not.
pub(super) async fn watch(pair: &Pair, follower: &Server, master: &Server) -> Result<Watched> {
    let unchanged = follower.former_run_id.is_none();
    let (info, master_info) = tokio::join!(follower.info("default"), master.info("default"));
    let (info, master_info) = (info?, master_info?);
    let (follower, master) = (Replication::from(&info), Replication::from(&master_info));
    let (since, errors) = match pair.journal.warmth()? {
        Some(Record::Lossy { since, why }) => return Ok(Watched { warmth: Warmth::Lossy(why), since }),
        Some(Record::Warm { since, errors }) => (since, errors),
        // Handed over by an earlier version, or by other hands.
        _ => (unix_time(), None),
    };
    let met = match (stream_errors(&info), errors) {
        // A restart has set the count to 0.
        (Some(now), Some(then)) if unchanged => now.saturating_sub(then),
        _ => 0,
    };
    let found = warmth(&follower, &master, &master_info, met);
    let since = match &found {
        Warmth::Warm => since,
        Warmth::Resumable | Warmth::Lossy(_) => {
            unix_time() - info.number("master_link_down_since_seconds").unwrap_or(0) as f64
        }
    };
    if let Warmth::Lossy(why) = &found
        && !pair.run.dry
    {
        pair.journal.append(&Record::Lossy { since, why: why.clone() })?;
    }
    Ok(Watched { warmth: found, since })
}
