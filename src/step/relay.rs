//! `relay`: who still comes through the relay that a switchover has left; optionally ends it.

use serde_json::json;

use super::Call;
use crate::{
    error::{Code, Error, Result},
    facts::{Facts, finish, step_result},
    journal::Journal,
    redirect::Plan,
    relay::{Connection, Order, Status},
    run::Event,
};

/// What is wished.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// End it, if nobody is connected.
    pub end: bool,
    /// End it whoever is connected.
    pub force: bool,
}

step_result! {
    /// What `relay` returns.
    pub struct Relay {
        /// Whether it runs.
        pub running: bool,
        /// Whether it has ended for good: it was told to, or nobody was connected for as long as it was to wait. A rerun of
        /// `switchover` starts one again that was killed, but not one that has ended.
        pub ended: bool,
        /// The addresses where it listens; empty where it does not.
        pub listens: Vec<String>,
        /// The server that it leads to; none where there is no relay.
        pub leads_to: Option<String>,
        /// The unix socket at which it takes orders; none where there is no relay.
        pub socket: Option<String>,
        /// How many connections it can hold.
        pub most: u64,
        /// How many connections it has taken since it was started.
        pub taken: u64,
        /// How many of them it closed since the server could not be connected to.
        pub failed: u64,
        /// Who is connected through it.
        pub connections: Vec<Connection>,
    }
}

/// Looks at the relay of the last handover, and ends it if that is wished. The two servers are not asked anything.
pub async fn relay(call: &Call, options: &Options) -> Result<Relay> {
    call.run.emit(&Event::Step { step: "relay" });
    let journal = Journal::of(call.journal_dir.as_deref(), &call.source, &call.target)?;
    let Some(Plan::Relay(plan)) = journal.handover()?.map(|handover| handover.plan) else {
        return Ok(report(call, Facts::default(), Facts::default(), None, None, false));
    };
    let relay = plan.remote();
    let found = relay.tell(&Order::List).await?;
    let before = facts(found.as_ref());
    let leads_to = plan.ways.first().map(|way| way.to.to_string());
    let place = Some((plan.socket.display().to_string(), leads_to));
    let status = match found {
        Some(status) if options.end => status,
        found => return Ok(report(call, before.clone(), before, place, found, relay.is_ended())),
    };
    if !options.force && !status.connections.is_empty() {
        let who: Vec<_> = status.connections.iter().take(3).map(|client| client.address.as_str()).collect();
        let found = format!("still has {} connections, of {} and so on", status.connections.len(), who.join(", "));
        return Err(Error::new(Code::RelayInUse, found)
            .at(format_args!("relay {}", plan.socket.display()))
            .remedy("give these clients the new server's address first, or force"));
    }
    call.run.action(format!("relay {}: end", plan.socket.display()));
    if call.run.dry {
        return Ok(report(call, before.clone(), facts(None), place, Some(status), false));
    }
    relay.tell(&Order::End).await?;
    relay.gone().await?;
    Ok(report(call, before, facts(None), place, None, true))
}

fn report(
    call: &Call,
    before: Facts,
    after: Facts,
    place: Option<(String, Option<String>)>,
    status: Option<Status>,
    ended: bool,
) -> Relay {
    let running = status.is_some();
    let status = status.unwrap_or_default();
    let (socket, leads_to) = place.map_or((None, None), |(socket, leads_to)| (Some(socket), leads_to));
    finish!(
        call.run,
        before,
        after,
        Relay {
            running,
            ended,
            listens: listens(&status),
            leads_to,
            socket,
            most: status.most as u64,
            taken: status.taken,
            failed: status.failed,
            connections: status.connections,
        }
    )
}

fn listens(status: &Status) -> Vec<String> {
    let ways = status.ways.iter().filter(|_| status.open);
    ways.map(|way| format!("{} port {}", way.bind.join(" "), way.port)).collect()
}

fn facts(status: Option<&Status>) -> Facts {
    let mut facts = Facts::default();
    let running = status.map(|status| {
        json!({"pid": status.pid, "since": status.since, "listens": listens(status), "connections": status.connections.len()})
    });
    facts.insert("relay", running.into());
    facts
}
