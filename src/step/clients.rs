//! `clients`: who is connected where, how they follow and what they lose; optionally some are disconnected.

use std::time::Duration;

use super::Call;
use crate::{
    decide::{
        clients::{ClientGroup, Place, Selection, Straggler, groups},
        stage::Stage,
    },
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    run::Deadline,
    server::{Server, client_list::Connection},
};

/// How long a server may take to let go of those that it was told to cut.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// A pause between two looks whether they have gone.
const BREATH: Duration = Duration::from_millis(10);

step_result! {
    /// What `clients` returns.
    pub struct Clients {
        /// Who is connected to the source; empty if it is gone.
        pub source: Vec<ClientGroup>,
        /// Who is connected to the target.
        pub target: Vec<ClientGroup>,
        /// Each connection of an application that the source still has, once it serves no more.
        pub stragglers: Vec<Straggler>,
        /// Each one that was disconnected; in a dry run, that would be.
        pub disconnected: Vec<Straggler>,
    }
}

/// Lists the connections of both servers. With `disconnect`, closes those of applications that are meant, to the server
/// that does not serve (any more); they come back to wherever they are led.
pub async fn clients(call: &Call, disconnect: Option<&Selection>) -> Result<Clients> {
    let pair = call.begin("clients").await?;
    let before = pair.facts().await;
    let stage = pair.look().await?.stage;
    let place = match stage {
        Stage::Apart | Stage::Following => Place::Serving,
        Stage::HalfDone | Stage::Switched | Stage::Retired => Place::Left,
    };
    let mut at_source = match pair.source() {
        Ok(source) => source.connections().await?,
        Err(_) => Vec::new(),
    };
    let mut disconnected = Vec::new();
    if let Some(selection) = disconnect
        && stage != Stage::Retired
    {
        let source = pair.source()?;
        if stage != Stage::Switched && !call.run.dry {
            return Err(Error::new(Code::SourceInUse, "still serves: disconnected clients would only come back")
                .at(source)
                .remedy("disconnect after the switchover"));
        }
        let meant: Vec<_> = at_source.iter().filter(|one| selection.means(one)).cloned().collect();
        disconnected = source.cut(&meant).await?;
        if !call.run.dry && !disconnected.is_empty() {
            at_source = without(source, &disconnected).await?;
        }
    }
    let stragglers = at_source.iter().filter(|one| place == Place::Left && one.kind.is_application());
    let target = groups(&pair.target()?.connections().await?, Place::Arrival);
    Ok(finish!(
        call.run,
        before.clone(),
        before,
        Clients {
            source: groups(&at_source, place),
            target,
            stragglers: stragglers.map(|one| Straggler::of(one, place)).collect(),
            disconnected: disconnected.iter().map(|one| Straggler::of(one, place)).collect(),
        }
    ))
}

/// Everybody who is connected, once those that were cut have gone.
async fn without(source: &Server, cut: &[Connection]) -> Result<Vec<Connection>> {
    let cut: std::collections::BTreeSet<u64> = cut.iter().map(|one| one.id).collect();
    let deadline = Deadline::after(GONE_WITHIN);
    loop {
        let connections = source.connections().await?;
        let left = connections.iter().filter(|one| cut.contains(&one.id)).count();
        if left == 0 {
            return Ok(connections);
        }
        if deadline.passed() {
            return Err(Error::new(
                Code::NotConfirmed,
                format!("still has {left} connections that it was told to cut"),
            )
            .at(source)
            .state(State::Interrupted));
        }
        source.run.sleep(BREATH).await?;
    }
}
