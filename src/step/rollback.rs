//! `rollback`: the source serves again. The same handover backwards, for as long as the old one is warm.

use super::{
    Call, confirm_role,
    switchover::{self, Switchover},
};
use crate::{
    decide::stage::Stage,
    error::{Code, Error, Result},
    facts::finish,
    journal::Record,
    pair::Pair,
    redirect,
    server::{Command, Server, Side, info::Role},
};

/// Makes the source the master again. Where it is still the master, nothing is done; where a handover stopped half-way,
/// it is taken back, also when the target has died meanwhile.
pub async fn rollback(call: &Call, options: &switchover::Options) -> Result<Switchover> {
    let mut pair = call.begin("rollback").await?;
    let look = match pair.look().await {
        Ok(look) => look,
        // The source is demoted, and the target is gone or lacks its data.
        Err(error) if [Code::HalfDone, Code::HistoryLost].contains(&error.code) => {
            return bring_back(call, &pair, error).await;
        }
        Err(error) => return Err(error),
    };
    if look.stage == Stage::Retired {
        return Err(Error::new(Code::NotWarm, "the source is gone, so there is no way back")
            .remedy("upgrade to an instance of the old version only if that can read the data"));
    }
    if look.stage == Stage::Switched && pair.has_arrived(&look.target) && !look.source()?.replication.link_up {
        return Err(Error::new(
            Code::NotWarm,
            "does not follow the new one any more (link down): going back would lose writes",
        )
        .at(pair.source()?)
        .remedy("look at both logs"));
    }
    switchover::hand_over(call, &mut pair, &look, Side::Source, options).await
}

/// Makes a demoted source the master again whose target is gone or can't serve. `found` is what is wrong; it is returned
/// where there is no such source.
async fn bring_back(call: &Call, pair: &Pair, found: Error) -> Result<Switchover> {
    let Some((source, record)) = pair.demoted_source().await? else { return Err(found) };
    let before = pair.facts().await;
    let _lock = if call.run.dry { None } else { Some(pair.journal.lock()?) };
    if source.replication().await?.replid != record.replid {
        return Err(Error::new(
            Code::NotWarm,
            "has followed the target, which is gone: what it missed since would be lost",
        )
        .at(source)
        .remedy("start the target again; or, if that is lost, send the source REPLICAOF NO ONE and CONFIG SET port"));
    }
    let mut commands = vec![Command::new(["MULTI"]), Command::replicaof_no_one()];
    commands.extend(redirect::come_back(record));
    commands.push(Command::new(["EXEC"]));
    source.change_all(&commands).await?;
    call.run.warn("if the target was promoted and served before it died, what it took then is not in the source");
    let serving = switchover::at(source, record.public);
    if !call.run.dry {
        pair.journal.append(&Record::Undone)?;
        source.restore(&pair.journal, None).await?;
        confirm_role(source, Role::Master).await?;
        Server::connect(&call.run, Side::Source, &serving).await?;
    }
    let after = Pair::find(&call.run, &call.source, &call.target, call.journal_dir.as_deref()).await?.facts().await;
    Ok(finish!(
        call.run,
        before,
        after,
        Switchover {
            serving: serving.to_string(),
            parked: None,
            warm: false,
            phases: Vec::new(),
            write_gap_ms: 0.0,
            protocol_ms: 0.0,
            drain_ms: 0.0,
            attempts: 0,
        }
    ))
}
