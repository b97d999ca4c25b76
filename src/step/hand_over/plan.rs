//! What a handover is going to do: the ports of the two servers, the way of it, and how long its parts may take.

use std::time::Duration;

use super::Options;
use crate::{
    decide::{
        findings,
        handover::{Limits, Way},
        moment::drain_limit,
    },
    error::{Code, Error, Result},
    journal::{Handover, Ports},
    pair::{Pair, see},
    redirect::Plan,
    server::{Server, Side},
    step::preflight,
};

/// The longest pause of a source before 6.2.
const FENCED_PAUSE: Duration = Duration::from_millis(400);

/// The ports of a handover to `to`.
pub(super) async fn planned_handover(pair: &Pair, to: Side, options: &Options) -> Result<Handover> {
    let (source, target) = (pair.source()?, pair.target()?);
    let (at_source, at_target) = tokio::join!(see(source), see(target));
    let (at_source, at_target) = (at_source?.ports, at_target?.ports);
    let redirect = &options.preflight.redirect;
    let (public, aside, plan) = match (to, &pair.handover) {
        // Back the way it came: to the ports each one had before. One that was begun before knows them too.
        (Side::Source, Some(before)) => {
            let (plan, found) = before.plan.look_again(pair, redirect).await?;
            if let Some(refusal) = findings::refusal(&found) {
                return Err(refusal);
            }
            let home = if before.back { before.public } else { before.home };
            match (before.arrives(), before.leaves()) {
                _ if plan.keeps_port_free() => (home, at_target, plan),
                (true, _) => (at_target, if before.back { before.aside } else { before.from }, plan),
                (false, true) => (at_source, free_ports(target, at_target, at_source).await?, plan),
                (false, false) => (at_source, at_target, plan),
            }
        }
        (Side::Source, None) => (at_source, at_target, Plan::default()),
        (Side::Target, _) => {
            let mut checks = options.preflight.clone();
            checks.force = true; // The data it has now is the source's.
            let examined = preflight::examine(pair, &checks).await?;
            if let Some(refusal) = findings::refusal(&examined.findings) {
                return Err(refusal);
            }
            let public = if redirect.takes_over() { at_source } else { at_target };
            let aside = examined.aside.filter(|_| redirect.leaves_port()).unwrap_or(at_source);
            (public, aside, examined.way)
        }
    };
    let back = to == Side::Source;
    let (demoted, home, from) = if back { (target, at_target, at_source) } else { (source, at_source, at_target) };
    let fenced = !demoted.identity.has_redis(findings::REVERSIBLE_FROM);
    Ok(Handover {
        source: source.identity.run_id.clone(),
        target: target.identity.run_id.clone(),
        back,
        source_config: source.identity.config_file.clone(),
        target_config: target.identity.config_file.clone(),
        replid: demoted.replication().await?.replid,
        home,
        public,
        aside,
        from,
        fenced,
        plan,
    })
}

/// Ports for a server to be out of the way for a moment.
async fn free_ports(server: &Server, its: Ports, others: Ports) -> Result<Ports> {
    preflight::aside(server, its, others, None).await?.ok_or_else(|| {
        Error::new(Code::AsidePortTaken, "finds no free port to move to").at(server).remedy("free a port above its own")
    })
}

/// Whether the demoted server can leave its port.
pub(super) fn way(handover: &Handover) -> Way {
    if handover.fenced { Way::Fenced } else { Way::Reversible }
}

/// How long things may take in the n-th attempt. A pause that can't be ended early is short: it is the price of an attempt
/// that fails.
pub(super) fn limits(options: &Options, handover: &Handover, attempt: u32) -> Limits {
    let patience = Duration::from_secs(2);
    let budget = handover.plan.longest_pause().map_or(options.pause_budget, |most| most.min(options.pause_budget));
    if handover.fenced {
        let pause = budget.min(FENCED_PAUSE);
        return Limits { pause, drain: pause / 2, patience };
    }
    Limits { pause: budget, drain: drain_limit(attempt, budget), patience }
}
