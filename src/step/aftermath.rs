//! What follows a handover, whichever way it ended: replicas and the old one follow, settings are restored, both
//! configurations are saved. A rerun after a crash does what is left of it.

use super::{
    at,
    hand_over::Options,
    login::Login,
    replicas::{bring_along, others},
    warm::{link, watch},
};
use crate::{
    decide::warmth::Warmth,
    error::{Error, Result, State},
    handover::{Cut, unpause},
    hook::{Hooks, Moment, Scene},
    journal::{Handover, Record},
    pair::{Look, Pair},
    redirect::{Moving, ports},
    server::{
        Command, Server, Side,
        config::{ANNOUNCED, MIN_REPLICAS, PRIORITY},
    },
};

/// What is raised for a handover on the server that is demoted.
const DEMOTED_SETTINGS: [&str; 6] =
    ["repl-ping-replica-period", "maxmemory", ANNOUNCED, "masteruser", "masterauth", "tls-replication"];

/// What of that is over as soon as it is demoted.
const CUT_SETTINGS: [&str; 3] = ["repl-ping-replica-period", "maxmemory", ANNOUNCED];

/// What is raised for it on the server that is promoted.
const PROMOTED_SETTINGS: [&str; 3] = ["repl-backlog-size", "maxmemory", MIN_REPLICAS];

/// After the cut: the new one's configuration is saved, and everybody follows. Returns whether the old one is warm.
pub(super) async fn complete(pair: &mut Pair, cut: &Cut<'_>, others: &[Server], options: &Options) -> Result<bool> {
    pair.handover = Some(cut.handover.clone());
    cut.handover.plan.lasting().into_iter().for_each(|warning| pair.run.warn(warning));
    let led = promoted(pair, cut.promoted, cut.handover, options, cut.hooks, cut.scene).await?;
    // Before the old one links: what it passes on then would put them past the point where the histories part.
    bring_along(pair, others, cut.promoted, cut.handover).await?;
    let kept = match cut.handover.fenced {
        true => Ok(false),
        false => keep(pair, cut, options).await,
    };
    match kept {
        Ok(warm) => {
            restore(pair, cut.promoted, cut.handover, options).await?;
            done(pair, cut.hooks, cut.scene, led).await?;
            Ok(warm)
        }
        // The new one serves all the same, and a rerun does the rest.
        Err(error) => {
            pair.run.warn(format!("the old one could not be kept warm yet; run this again: {error}"));
            Ok(false)
        }
    }
}

/// The promoted one serves: its configuration is saved, and the hook for that is run. That may be what leads the clients, so
/// it does not wait for the disk. Returns whether it was done.
async fn promoted(
    pair: &Pair,
    promoted: &Server,
    handover: &Handover,
    options: &Options,
    hooks: &Hooks,
    scene: &Scene,
) -> Result<bool> {
    let saving = save_promoted(pair, promoted, handover, options);
    let (saved, led) = tokio::join!(saving, hooks.led(&pair.run, Moment::Promoted, scene));
    saved.map(|()| led)
}

/// The end of a handover, unless clients may still have to be led: then a rerun does that again.
async fn done(pair: &Pair, hooks: &Hooks, scene: &Scene, led: bool) -> Result<()> {
    if !led {
        return Ok(());
    }
    hooks.after(&pair.run, scene).await?;
    pair.journal.append(&Record::Settled)
}

/// First of all: from now on it holds what nobody else has, and is to come back as a master at the public port.
async fn save_promoted(pair: &Pair, promoted: &Server, handover: &Handover, options: &Options) -> Result<()> {
    pair.journal.append(&Record::Promoted)?;
    let restored = match handover.back {
        true => promoted.set_back(&pair.journal, None).await?,
        false => Vec::new(),
    };
    if options.rewrite {
        rewrite(promoted).await?;
    }
    note_all(pair, &restored)
}

/// Notes what was put back, once it is saved.
fn note_all(pair: &Pair, restored: &[Record]) -> Result<()> {
    restored.iter().try_for_each(|record| pair.journal.append(record))
}

/// Puts back what was raised on a server, and saves that if there was anything.
pub(super) async fn restore_and_save(pair: &Pair, server: &Server, only: Option<&[&str]>, save: bool) -> Result<()> {
    let restored = server.set_back(&pair.journal, only).await?;
    if save && !restored.is_empty() {
        rewrite(server).await?;
    }
    note_all(pair, &restored)
}

/// The old one follows, and is saved as a replica.
async fn keep(pair: &Pair, cut: &Cut<'_>, options: &Options) -> Result<bool> {
    cut.moving().part().await.map(|done| told(pair, done))?;
    // The connection may have been lost in the cut.
    let aside = Server::connect(&pair.run, cut.demoted.side, &at(cut.demoted, cut.handover.aside)).await;
    let demoted = aside.unwrap_or_else(|_| cut.demoted.clone());
    demoted.restore(&pair.journal, Some(&CUT_SETTINGS)).await?;
    let warm = link(pair, &demoted, cut.promoted, options.login.as_ref()).await?;
    save_demoted(pair, &demoted, cut.handover, options).await?;
    Ok(warm)
}

/// Restarted from its old file it would be a master, at the public port. In a rollback nothing that was raised is to be in it.
async fn save_demoted(pair: &Pair, demoted: &Server, handover: &Handover, options: &Options) -> Result<()> {
    let restored = match handover.back {
        true => demoted.set_back(&pair.journal, Some(&PROMOTED_SETTINGS)).await?,
        false => Vec::new(),
    };
    if options.rewrite && !demoted.identity.config_file.is_empty() {
        rewrite(demoted).await?;
    }
    note_all(pair, &restored)
}

/// Restores what is no longer needed. What is left is restored by `retire`, or by the rollback.
async fn restore(pair: &Pair, promoted: &Server, handover: &Handover, options: &Options) -> Result<()> {
    // In a rollback the upgrade is undone: nothing of it is to stay.
    let over: Option<&[&str]> = if handover.back { None } else { Some(&[MIN_REPLICAS, PRIORITY]) };
    restore_and_save(pair, promoted, over, options.rewrite).await
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
pub(super) async fn settle(pair: &Pair, look: &Look, to: Side, options: &Options) -> Result<bool> {
    let promoted = pair.side(to)?;
    go_home(pair, look, promoted, options).await?;
    let demoted = pair.side(to.other()).ok();
    if let Some(demoted) = demoted {
        demoted.restore(&pair.journal, Some(&CUT_SETTINGS)).await?;
    }
    let handed_over = pair.handover.as_ref().filter(|record| record.demoted() == to.other());
    let Some(record) = handed_over else {
        if to == Side::Target && pair.handover.is_none() {
            pair.run.warn(format!(
                "{promoted} is the master already, and the journal here knows of no handover: \
                 if source and target were given the wrong way round, swap them"
            ));
        }
        return Ok(false);
    };
    if pair.run.dry || pair.journal.is_settled()? {
        if record.plan.lasts() && !record.back && pair.journal.is_settled()? {
            moving(pair, record, options).still_arrive().await.map(|done| told(pair, done))?;
        }
        let Some(demoted) = demoted else { return Ok(false) };
        let linked = demoted.replication().await?.link_up;
        if linked || pair.run.dry {
            return Ok(linked);
        }
        return keep_warm(pair, demoted, promoted, options.login.as_ref()).await;
    }
    moving(pair, record, options).arrive().await.map(|done| told(pair, done))?;
    record.plan.lasting().into_iter().for_each(|warning| pair.run.warn(warning));
    let scene = Scene::of(pair, record);
    let led = self::promoted(pair, promoted, record, options, &options.hooks, &scene).await?;
    let mut warm = false;
    if let Some(demoted) = demoted {
        let others = others(pair, demoted, promoted).await?;
        bring_along(pair, &others, promoted, record).await?;
        moving(pair, record, options).part().await.map(|done| told(pair, done))?;
        warm = keep_warm(pair, demoted, promoted, options.login.as_ref()).await?;
        save_demoted(pair, demoted, record, options).await?;
    }
    restore(pair, promoted, record, options).await?;
    done(pair, &options.hooks, &scene, led).await?;
    Ok(warm)
}

/// The clients of a handover that an earlier call has begun.
pub(super) fn moving<'a>(pair: &'a Pair, handover: &'a Handover, options: &'a Options) -> Moving<'a> {
    let (demoted, promoted) = (pair.side(handover.demoted()).ok(), pair.side(handover.demoted().other()).ok());
    Moving { handover, redirect: &options.preflight.redirect, demoted, promoted }
}

/// Notes what was done with the clients.
pub(super) fn told(pair: &Pair, done: Vec<String>) {
    done.into_iter().for_each(|action| pair.run.action(action));
}

/// Lets the one that serves listen where clients arrive.
async fn go_home(pair: &Pair, look: &Look, serves: &Server, options: &Options) -> Result<()> {
    match &pair.handover {
        Some(record) if !pair.has_arrived(look) && serves.side == record.demoted() => {
            if !pair.run.dry {
                moving(pair, record, options).make_way().await?;
            }
            serves.change_all(&ports::come_back(record)).await
        }
        Some(record) if !pair.has_arrived(look) => serves.change_all(&ports::arrive(record)).await,
        _ => Ok(()),
    }
}

/// Lets the demoted one follow where it can do so without a full resync.
async fn keep_warm(pair: &Pair, demoted: &Server, promoted: &Server, login: Option<&Login>) -> Result<bool> {
    match watch(pair, demoted, promoted).await?.warmth {
        // Also where it is linked: it may lack its fuse.
        Warmth::Warm | Warmth::Resumable => link(pair, demoted, promoted, login).await,
        Warmth::Lossy(_) => Ok(false),
    }
}

/// After a handover that was not done: what was raised for it is restored, and the error says so. Where it can't be told
/// whether it was done, the rerun will restore.
pub(super) async fn put_back(pair: &mut Pair, cut: &Cut<'_>, error: Error) -> Error {
    if error.state == State::Interrupted {
        return error;
    }
    // Also where it was the wish to stop that ended it.
    let _shield = pair.run.shield();
    if let Err(failed) = cut.moving().come_back().await.map(|done| told(pair, done)) {
        pair.run.warn(failed.to_string());
    }
    match take_back(pair, cut.handover, cut.demoted, cut.promoted).await {
        Ok(()) => {
            cut.hooks.led(&pair.run, Moment::Undone, cut.scene).await;
            error.state(State::Undone)
        }
        Err(failed) => {
            pair.run.warn(format!("what was raised for the handover could not be restored: {failed}"));
            error.state(State::Interrupted)
        }
    }
}

async fn take_back(pair: &Pair, handover: &Handover, demoted: &Server, promoted: &Server) -> Result<()> {
    pair.note_undone(handover)?;
    restore_both(pair, demoted, promoted).await?;
    if handover.plan.has_rival() {
        let put_back = match handover.back {
            true => promoted.restore(&pair.journal, Some(&[PRIORITY])).await,
            // As `replicate` has left it: the source could not follow it without being wiped.
            false => promoted.raise(&pair.journal, PRIORITY, "0").await,
        };
        if let Err(error) = put_back {
            pair.run.warn(format!(
                "sentinels may promote the target by themselves: its {PRIORITY} could not be put back: {error}"
            ));
        }
    }
    Ok(())
}

/// The one that serves is restored in any case; the other one, if it has died, by a rerun.
async fn restore_both(pair: &Pair, demoted: &Server, promoted: &Server) -> Result<()> {
    demoted.restore(&pair.journal, Some(&DEMOTED_SETTINGS)).await?;
    if let Err(error) = promoted.restore(&pair.journal, Some(&PROMOTED_SETTINGS)).await {
        pair.run.warn(format!("what was raised for the handover could not be restored: {error}"));
    }
    Ok(())
}

/// A controller has died before it demoted anything: writes need not wait any longer, and what it raised is restored.
pub(super) async fn call_off(pair: &Pair, look: &Look, to: Side, options: &Options) -> Result<()> {
    go_home(pair, look, pair.side(to.other())?, options).await?;
    let (demoted, promoted) = (pair.side(to.other())?, pair.side(to)?);
    let begun = pair.handover.as_ref().filter(|handover| handover.demoted() == demoted.side);
    if begun.is_none_or(|handover| !handover.fenced) {
        demoted.change(&unpause()).await?;
    }
    match begun {
        Some(handover) => {
            moving(pair, handover, options).come_back().await.map(|done| told(pair, done))?;
            take_back(pair, handover, demoted, promoted).await
        }
        None => restore_both(pair, demoted, promoted).await,
    }
}
