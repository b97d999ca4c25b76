//! What must hold in every state, and what must be reachable for that to mean anything.

use redis_baton::server::Side;
use stateright::Property;

use crate::{
    controller::{Outcome, Phase},
    decides::Decides,
    servers::{Port, Server},
    world::{Action, Handovers, Setup, World},
};

pub const NOTHING_LOST: &str = "who serves has every acknowledged write";
pub const ONE_MASTER: &str = "never two masters that take writes";
pub const NOT_STUCK: &str = "a rerun without faults ends with one that serves everything";

pub const GOAL: &str = "reruns without faults can still do what was wanted";
pub const MUST_HOLD: [&str; 4] = [NOTHING_LOST, ONE_MASTER, NOT_STUCK, GOAL];
/// So that what holds does not hold of nothing.
pub const MUST_BE_REACHED: [&str; 6] =
    ["done", "resumed", "undone", "taken back", "unchanged", "resumed without the source"];

pub fn all<D: Decides>() -> Vec<Property<Handovers<D>>> {
    let mut all = vec![
        Property::always(NOTHING_LOST, |_, world: &World<D>| nothing_lost(world)),
        Property::always(ONE_MASTER, |_, world: &World<D>| {
            !(world.servers.writable(Side::Source) && world.servers.writable(Side::Target))
        }),
        Property::always(NOT_STUCK, |model: &Handovers<D>, world: &World<D>| recovers(world, &model.setup)),
        Property::always(GOAL, |model: &Handovers<D>, world: &World<D>| reaches_goal(world, &model.setup)),
    ];
    all.extend([
        Property::sometimes("done", |_, world| ended(world, Outcome::Switched)),
        Property::sometimes("resumed", |_, world| ended(world, Outcome::Resumed)),
        Property::sometimes("undone", |_, world| ended(world, Outcome::Undone)),
        Property::sometimes("taken back", |_, world| ended(world, Outcome::TakenBack)),
        Property::sometimes("resumed without the source", |_, world| {
            ended(world, Outcome::Resumed) && world.servers.of(Side::Source).shut_down
        }),
        Property::sometimes("unchanged", |_, world| ended(world, Outcome::Unchanged)),
    ]);
    all
}

fn ended<D>(world: &World<D>, how: Outcome) -> bool {
    world.controllers.iter().any(|c| matches!(c.phase, Phase::Ended(outcome) if outcome == how))
}

fn nothing_lost<D>(world: &World<D>) -> bool {
    let servers = &world.servers;
    [Side::Source, Side::Target]
        .into_iter()
        .all(|side| !servers.serves(side) || servers.of(side).log.has_all(servers.writes))
}

/// One serves, with everything acknowledged.
fn well<D: Decides>(world: &World<D>) -> bool {
    nothing_lost(world) && world.servers.serves(Side::Source) != world.servers.serves(Side::Target)
}

/// Whether something may be demanded: the data is there, and so is whoever may serve it.
fn can_recover<D: Decides>(world: &World<D>) -> bool {
    let servers = &world.servers;
    let [source, target] = &servers.two;
    let full = |side: Side| servers.of(side).log.has_all(servers.writes);
    // Where a promoted one was restarted before all was settled, an operator has to see what each one has.
    let by_hand = |server: &Server| server.promoted && server.life > 0 && !world.journal.settled;
    let alone = match (source.alive, target.alive) {
        (true, true) if by_hand(source) || by_hand(target) => return false,
        (true, true) => return full(Side::Source) || full(Side::Target),
        (false, false) => return false,
        (true, false) => Side::Source,
        (false, true) => Side::Target,
    };
    // A master that died is down, not lost: it is to be started again. So is a demoted one: nobody else knows whether
    // the other one has everything, except where it was shut down for having been drained.
    let (this, gone) = (servers.of(alone), servers.of(alone.other()));
    // And the rest of a rollback is not done without its target.
    let back = world.journal.standing.last().is_some_and(|record| record.back);
    if alone == Side::Source && back && this.port != Port::Public {
        return false;
    }
    let demoted = world.journal.standing.last().is_some_and(|record| record.demoted() == alone);
    full(alone)
        && (gone.shut_down && world.journal.ended.is_some()
            || !gone.promoted && gone.follows.is_some() && (demoted || this.follows.is_none()))
}

/// Whether the same call, and then the other one, ends well, if nothing fails any more.
pub fn recovers<D: Decides>(world: &World<D>, setup: &Setup) -> bool {
    if !can_recover(world) {
        return true;
    }
    let mut world = world.clone();
    let setup = Setup { clock: u8::MAX, parallel: false, guards: false, ..setup.clone() };
    world.controllers.clear();
    world.late.clear();
    world.servers.stranger = None;
    [setup.first, setup.first.other()].into_iter().any(|to| {
        rerun(&mut world, &setup, to);
        well(&world)
    })
}

/// Whether a few calls without faults still bring about what the first one wanted, where no server has failed.
pub fn reaches_goal<D: Decides>(world: &World<D>, setup: &Setup) -> bool {
    let two = &world.servers.two;
    let failed = two.iter().any(|server| !server.alive || server.life > 0);
    let apart = two.iter().all(|server| server.follows.is_none());
    if failed || apart || world.controllers.iter().any(|c| !c.ended()) {
        return true;
    }
    let mut world = world.clone();
    let setup = Setup { clock: u8::MAX, parallel: false, guards: false, ..setup.clone() };
    world.late.clear();
    world.servers.stranger = None;
    [setup.first, setup.first, setup.first.other(), setup.first].into_iter().any(|to| {
        rerun(&mut world, &setup, to);
        well(&world) && world.servers.serves(setup.first)
    })
}

/// A call to its end: every message arrives, and replication is quick.
fn rerun<D: Decides>(world: &mut World<D>, setup: &Setup, to: Side) {
    world.controllers.clear();
    world.act(setup, Action::Start(to));
    for _ in 0..400 {
        for side in [Side::Source, Side::Target] {
            if world.servers.cut_off(side) {
                world.act(setup, Action::Unlink(side));
            }
        }
        while [Side::Source, Side::Target].into_iter().any(|side| world.act(setup, Action::Replicate(side))) {}
        let c = &world.controllers[0];
        let (name, before) = (c.name, c.waits);
        match before {
            _ if c.ended() => return,
            None => drop(world.act(setup, Action::Go(name))),
            Some(waits) if waits.reply.is_none() && reaches(world, &waits) => {
                world.act(setup, Action::Execute(name));
            }
            Some(waits) => {
                world.act(setup, Action::See(name));
                // Polling takes time.
                if world.controllers[0].waits.is_some_and(|next| next.op == waits.op) {
                    world.act(setup, Action::Tick);
                }
            }
        }
    }
    unreachable!("every call ends: {:?}", world.controllers);
}

fn reaches<D: Decides>(world: &World<D>, waits: &crate::controller::Waits) -> bool {
    let server = world.servers.of(waits.to);
    !crate::driver::undeliverable(&world.controllers[0], waits, server.alive, server.life)
}
