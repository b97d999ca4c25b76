//! The way out of a handover whose promoted server is gone or lacks data: the demoted one serves again.

use super::{Call, at, confirm_role, hand_over::Switchover};
use crate::{
    error::{Code, Error, Result, State},
    facts::finish,
    journal::Record,
    pair::Pair,
    redirect,
    server::{Command, Server, Side, info::Role},
};

/// Makes a demoted server the master again whose successor is gone or lacks its data. `found` is what is wrong; it is
/// returned where it is something else, or the demoted one is not on side `to`.
pub(super) async fn bring_back(call: &Call, pair: &Pair, to: Side, found: Error) -> Result<Switchover> {
    let half_way = [Code::HalfDone, Code::HistoryLost].contains(&found.code);
    let (demoted, record) = match pair.demoted().await? {
        Some((demoted, record)) if half_way && record.demoted() == to => (demoted, record),
        _ => return Err(found),
    };
    let before = pair.facts().await;
    if demoted.replication().await?.replid != record.replid {
        return Err(Error::new(
            Code::NotWarm,
            "has followed its successor, which is gone: what it missed since would be lost",
        )
        .at(demoted)
        .remedy("start that one again; or, if it is lost, send this one REPLICAOF NO ONE and CONFIG SET port"));
    }
    // The port first: where that is taken, it stays a replica, and a rerun begins here again.
    for command in redirect::come_back(record) {
        demoted.change(&command).await.map_err(|error| error.state(State::Interrupted))?;
    }
    demoted.change(&Command::replicaof_no_one()).await.map_err(|error| error.state(State::Interrupted))?;
    call.run.warn("if the other one was promoted and served before it died, what it took then is not in this one");
    let serving = at(demoted, record.public_of_demoted());
    if !call.run.dry {
        confirm_role(demoted, Role::Master).await?;
        Server::connect(&call.run, to, &serving).await?;
        pair.journal.append(&Record::Undone)?;
        demoted.restore(&pair.journal, None).await?;
    }
    let after = call.find().await?.facts().await;
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
