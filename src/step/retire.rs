//! `retire`: the source is shut down, and its data was not the only copy.

use std::time::Duration;

use super::{Call, aftermath::restore_and_save, wait_quiescent};
use crate::{
    decide::stage::Stage,
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    journal::Record,
    pair::Pair,
    redirect::{Plan, Redirect},
    run::Deadline,
    server::{Command, Server, info::Info},
};

/// What is wished.
#[derive(Clone)]
pub struct Options {
    /// How clients were moved: what watches the source has to forget it.
    pub redirect: Redirect,
    /// How long the source may take to end.
    pub wait_timeout: Duration,
    /// Save the target's configuration to its file when its raised settings are restored, if it has one.
    pub rewrite: bool,
}

step_result! {
    /// What `retire` returns.
    pub struct Retire {
        /// Whether the source is gone.
        pub retired: bool,
        /// Whether it wrote its data to disk before: it does where the target writes none itself.
        pub saved: bool,
    }
}

/// Shuts the source down.
pub async fn retire(call: &Call, options: &Options) -> Result<Retire> {
    let pair = call.begin_alone("retire").await?;
    let before = pair.facts().await;
    let look = pair.look().await?;
    let target = pair.target()?;
    if look.stage == Stage::Retired {
        let restored = restore(&pair, target, options).await?;
        let actions = forget(&pair, options).await? || restored;
        let after = if actions { pair.facts().await } else { before.clone() };
        return Ok(finish!(call.run, before, after, Retire { retired: true, saved: false }));
    }
    let source = pair.source()?;
    if look.stage == Stage::Switched && !pair.has_arrived(&look) {
        return Err(Error::new(Code::OnlyCopy, "is the master, but does not listen at the public port yet")
            .at(target)
            .remedy("run switchover to finish first"));
    }
    // In a dry run of the whole procedure the switchover before this step has not been done either.
    let predicted = call.run.dry && look.stage != Stage::HalfDone;
    if look.stage != Stage::Switched && !predicted {
        return Err(Error::new(Code::OnlyCopy, "is not the replica of the target: its data may be the only copy")
            .at(source)
            .remedy("run switchover first"));
    }
    if !predicted {
        check_quiet(call, &pair).await?;
    }
    let save = !durable(target, &look.target.info).await?;
    let command = Command::new(["SHUTDOWN", if save { "SAVE" } else { "NOSAVE" }]);
    if call.run.dry {
        call.run.action(format!("{source}: {command}"));
    } else {
        shut_down(&pair, source, &command, options.wait_timeout).await?;
        pair.journal.append(&Record::Retired { run_id: source.identity.run_id.clone() })?;
        restore(&pair, target, options).await?;
    }
    forget(&pair, options).await?;
    let after = pair.facts().await;
    Ok(finish!(call.run, before, after, Retire { retired: !call.run.dry, saved: save }))
}

/// Restores what the upgrade has raised on the target, and saves that. Returns whether there was anything.
async fn restore(pair: &Pair, target: &Server, options: &Options) -> Result<bool> {
    let raised = !target.raised(&pair.journal)?.is_empty();
    let save = options.rewrite && !target.identity.config_file.is_empty();
    restore_and_save(pair, target, None, save).await?;
    Ok(raised)
}

/// Lets the sentinels forget the source. Returns whether there was anything.
async fn forget(pair: &Pair, options: &Options) -> Result<bool> {
    let Some(Plan::Sentinel(watch)) = pair.handover.as_ref().map(|handover| &handover.plan) else { return Ok(false) };
    match &options.redirect {
        Redirect::Sentinel(sentinels) => sentinels.forget(&pair.run, watch).await,
        _ => {
            pair.run.warn(
                "the sentinels still list the source as a replica that is down: give redirect and run this again",
            );
            Ok(false)
        }
    }
}

/// Refuses where somebody still uses the source, or where it is not in step with the target.
async fn check_quiet(call: &Call, pair: &Pair) -> Result<()> {
    let source = pair.source()?;
    let quiet = wait_quiescent::Options {
        quiet_for: Duration::from_millis(200),
        wait_timeout: Duration::from_secs(1),
        monitor: None,
    };
    match wait_quiescent::until_quiet(call, pair, &quiet).await {
        Err(error) if error.code == Code::NotQuiet => {
            Err(Error { code: Code::SourceInUse, ..error }
                .remedy("move these clients first; wait_quiescent tells when"))
        }
        Err(error) => Err(error),
        Ok(_) if !source.replication().await?.link_up => {
            source.run.warn(format!("{source}: did not follow the target at the end (its link is down)"));
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// Whether a server writes its data to disk by itself.
async fn durable(server: &Server, info: &Info) -> Result<bool> {
    let config = server.config(&["appendonly", "save"]).await?;
    let rdb =
        config.get("save").is_some_and(|save| !save.is_empty()) && info.get("rdb_last_bgsave_status") == Some("ok");
    let aof = config.get("appendonly").is_some_and(|on| on == "yes") && info.get("aof_last_write_status") == Some("ok");
    Ok(rdb || aof)
}

/// Sends SHUTDOWN and waits until the process has ended. The reply is that the connection ends.
async fn shut_down(pair: &Pair, source: &Server, command: &Command, timeout: Duration) -> Result<()> {
    let deadline = Deadline::after(timeout);
    if let Ok(Ok(Err(said))) = tokio::time::timeout(timeout, source.ask(command)).await {
        return Err(source.refused(command, &said));
    }
    pair.run.action(format!("{source}: {command}"));
    loop {
        match source.reconnect().await {
            Err(error) if error.code == Code::Unreachable => return Ok(()),
            Ok(again) if again.identity.run_id != source.identity.run_id => {
                source.run.warn(format!("{again}: was started again by its supervisor: stop and disable its service"));
                return Ok(());
            }
            // Busy saving it may not answer, and still runs.
            Err(error) if error.code == Code::Cancelled => return Err(error),
            _ => {}
        }
        if deadline.passed() {
            let found = format!("still runs {} seconds after SHUTDOWN", timeout.as_secs_f64());
            return Err(Error::new(Code::StillRunning, found)
                .at(source)
                .remedy("look at its log")
                .state(State::Interrupted));
        }
        pair.run.sleep(Duration::from_millis(20)).await?;
    }
}
