//! What follows a handover, whichever way it ended: replicas and the old one follow, settings are restored, both
//! configurations are saved. A rerun after a crash does what is left of it.

use super::{
    hand_over::Options,
    login::Login,
    replicas::{bring_along, others},
    warm::{link, watch},
};
use crate::{
    decide::warmth::Warmth,
    error::{Error, Result, State},
    handover::{Cut, unpause},
    journal::{Handover, Record},
    pair::{Pair, Seen},
    redirect,
    server::{Command, Server, Side, config::MIN_REPLICAS},
};

/// What is raised for a handover on the server that is demoted.
const DEMOTED_SETTINGS: [&str; 4] = ["repl-ping-replica-period", "masteruser", "masterauth", "tls-replication"];

/// What is raised for it on the server that is promoted.
const PROMOTED_SETTINGS: [&str; 2] = ["repl-backlog-size", MIN_REPLICAS];

/// After the cut: everybody follows, and the new one's configuration is saved. Returns whether the old one is warm.
pub(super) async fn complete(pair: &mut Pair, cut: &Cut<'_>, others: &[Server], options: &Options) -> Result<bool> {
    pair.handover = Some(cut.handover.clone());
    let gone = cut.handover.fenced;
    bring_along(pair, others, cut.promoted, cut.handover.public).await?;
    let kept = if gone { Ok(false) } else { keep(pair, cut, options).await };
    let warm = match kept {
        Ok(warm) => warm,
        // The new one serves all the same.
        Err(error) => {
            pair.run.warn(format!("the old one could not be kept warm, so there is no way back: {error}"));
            false
        }
    };
    restore(pair, cut.promoted, (!gone).then_some(cut.demoted), cut.handover).await?;
    if options.rewrite {
        rewrite(cut.promoted).await?;
        // Restarted from its old file it would come back as a master, at the public port.
        if warm && !cut.demoted.identity.config_file.is_empty() {
            rewrite(cut.demoted).await?;
        }
    }
    pair.journal.append(&Record::Settled)?;
    Ok(warm)
}

async fn keep(pair: &Pair, cut: &Cut<'_>, options: &Options) -> Result<bool> {
    cut.demoted.restore(&pair.journal, Some(&["repl-ping-replica-period"])).await?;
    link(pair, cut.demoted, cut.promoted, options.login.as_ref()).await
}

async fn restore(pair: &Pair, promoted: &Server, demoted: Option<&Server>, handover: &Handover) -> Result<()> {
    if !handover.back {
        return promoted.restore(&pair.journal, Some(&[MIN_REPLICAS])).await;
    }
    // The upgrade is undone: nothing of it is to stay on either.
    promoted.restore(&pair.journal, None).await?;
    match demoted {
        Some(demoted) => demoted.restore(&pair.journal, Some(&PROMOTED_SETTINGS)).await,
        None => Ok(()),
    }
}

/// Saves the configuration, so that a restart comes back as what the server is now.
pub(super) async fn rewrite(server: &Server) -> Result<()> {
    if server.identity.config_file.is_empty() {
        server.run.warn(format!("{server}: has no configuration file: a restart would not bring it back as it is now"));
        return Ok(());
    }
    let command = Command::new(["CONFIG", "REWRITE"]);
    match server.ask(&command).await? {
        Ok(_) => server.run.action(format!("{server}: {command}")),
        Err(said) => server.run.warn(format!(
            "{server}: CONFIG REWRITE was refused, so a restart would not bring it back as it is now: {}",
            said.text
        )),
    }
    Ok(())
}

/// Already handed over: does what a crash right after it has left undone. Nothing, if all was done.
pub(super) async fn settle(pair: &Pair, target: &Seen, to: Side, options: &Options) -> Result<bool> {
    let promoted = pair.side(to)?;
    if let (Side::Target, false, Some(record)) = (to, pair.has_arrived(target), &pair.handover) {
        promoted.change_all(&redirect::arrive(record)).await?;
    }
    let demoted = pair.side(to.other()).ok();
    if let Some(demoted) = demoted {
        demoted.restore(&pair.journal, Some(&["repl-ping-replica-period"])).await?;
    }
    let handed_over = pair.handover.as_ref().filter(|record| record.demoted() == to.other());
    let (Some(record), false) = (handed_over, pair.run.dry) else { return Ok(false) };
    let unsettled = !pair.journal.is_settled()?;
    let warm = match demoted {
        Some(demoted) if unsettled => {
            let others = others(pair, demoted, promoted).await?;
            bring_along(pair, &others, promoted, record.public).await?;
            let seen = demoted.replication().await?;
            seen.link_up || keep_warm(pair, demoted, promoted, options.login.as_ref()).await?
        }
        _ => false,
    };
    if unsettled {
        restore(pair, promoted, demoted, record).await?;
        if options.rewrite {
            rewrite(promoted).await?;
            if let Some(demoted) = demoted.filter(|demoted| warm && !demoted.identity.config_file.is_empty()) {
                rewrite(demoted).await?;
            }
        }
        pair.journal.append(&Record::Settled)?;
    }
    Ok(warm)
}

/// Lets the demoted one follow where it can do so without a full resync.
async fn keep_warm(pair: &Pair, demoted: &Server, promoted: &Server, login: Option<&Login>) -> Result<bool> {
    match watch(pair).await?.warmth {
        Warmth::Warm => Ok(true),
        Warmth::Resumable => link(pair, demoted, promoted, login).await,
        Warmth::Lossy(_) => Ok(false),
    }
}

/// After a handover that was not done: what was raised for it is restored, and the error says so. Where it can't be told
/// whether it was done, the rerun will restore.
pub(super) async fn put_back(pair: &mut Pair, cut: &Cut<'_>, error: Error) -> Error {
    if error.state == State::Interrupted {
        return error;
    }
    match take_back(pair, cut.handover, cut.demoted, cut.promoted).await {
        Ok(()) => error.state(State::Undone),
        Err(failed) => {
            pair.run.warn(format!("what was raised for the handover could not be restored: {failed}"));
            error.state(State::Interrupted)
        }
    }
}

async fn take_back(pair: &Pair, handover: &Handover, demoted: &Server, promoted: &Server) -> Result<()> {
    if pair.journal.handover()?.as_ref() == Some(handover) {
        pair.journal.append(&Record::Undone)?;
    }
    demoted.restore(&pair.journal, Some(&DEMOTED_SETTINGS)).await?;
    promoted.restore(&pair.journal, Some(&PROMOTED_SETTINGS)).await
}

/// A controller has died before it demoted anything: writes need not wait any longer, and what it raised is restored.
pub(super) async fn call_off(pair: &Pair, to: Side) -> Result<()> {
    let (demoted, promoted) = (pair.side(to.other())?, pair.side(to)?);
    let begun = pair.handover.as_ref().filter(|handover| handover.demoted() == demoted.side);
    if begun.is_none_or(|handover| !handover.fenced) {
        demoted.change(&unpause()).await?;
    }
    match begun {
        Some(handover) => take_back(pair, handover, demoted, promoted).await,
        None => {
            demoted.restore(&pair.journal, Some(&DEMOTED_SETTINGS)).await?;
            promoted.restore(&pair.journal, Some(&PROMOTED_SETTINGS)).await
        }
    }
}
