//! A path through the model, told so that it can be read.

use redis_baton::server::Side;
use stateright::{Checker, Path};

use crate::{
    controller::{Phase, Waits},
    decides::Decides,
    servers::{Exec, Op, Server},
    world::{Action, Handovers, World},
};

/// Prints the way to what was found.
pub fn tell<D: Decides>(checker: &impl Checker<Handovers<D>>, property: &'static str) -> String {
    let Some(path) = checker.discovery(property) else { return format!("no way to: {property}\n") };
    let name = checker.model().setup.name;
    format!("{name}: {property}\n{}", steps(path))
}

fn steps<D: Decides>(path: Path<World<D>, Action>) -> String {
    let steps = path.into_vec();
    let mut story = String::new();
    for (n, (world, action)) in steps.iter().enumerate() {
        let Some(action) = action else {
            story += &format!("  ends with   {}\n", both(world));
            continue;
        };
        let after = steps.get(n + 1).map_or(String::new(), |(next, _)| both(next));
        let changed = if after == both(world) { String::new() } else { format!("   -> {after}") };
        story += &format!("  {:>2} {}{changed}\n", n + 1, one(world, action));
    }
    story
}

fn both<D>(world: &World<D>) -> String {
    let [source, target] = &world.servers.two;
    let one = |name: &str, server: &Server| {
        let writes: String = (0..server.log.len()).map(|n| format!("{:x}", server.log.at(n))).collect();
        let role = match (server.alive, server.follows) {
            (false, _) => "dead".to_owned(),
            (true, None) => format!("master at {:?}", server.port),
            (true, Some(of)) => {
                format!("replica of {of:?} at {:?}{}", server.port, ["", ", linked"][usize::from(server.linked)])
            }
        };
        let paused = if server.pause > 0 { format!(", paused {}", server.pause) } else { String::new() };
        format!("{name}: {role}{paused}, has [{writes}]")
    };
    format!("{}; {}; acknowledged 1-{}", one("source", source), one("target", target), world.servers.writes)
}

fn one<D: Decides>(world: &World<D>, action: &Action) -> String {
    let waits = |name: &u8| world.controllers.iter().find(|c| c.name == *name).and_then(|c| c.waits);
    let message = |waits: Option<Waits>| match waits {
        Some(waits) => format!("{} [{}]", waits.to.as_str(), op(waits.op)),
        None => "nothing".to_owned(),
    };
    match action {
        Action::Tick => "time passes".to_owned(),
        Action::Write(side) => format!("a client writes to the {}, and is answered", side.as_str()),
        Action::Replicate(side) => format!("replication to the {}", side.as_str()),
        Action::Start(to) => format!("call {}: make the {} serve", world.started, to.as_str()),
        Action::Go(name) => {
            let phase = world.controllers.iter().find(|c| c.name == *name).map(|c| match c.phase {
                Phase::Lock => "locks and looks",
                Phase::Look => "looks",
                Phase::Moment => "finds little lag, and begins",
                Phase::Finish { .. } => "saves the configuration",
                _ => "goes on",
            });
            format!("call {name} {}", phase.unwrap_or_default())
        }
        Action::Execute(name) => format!("call {name}, done at the {}", message(waits(name))),
        Action::See(name) => format!("call {name} sees what became of {}", message(waits(name))),
        Action::ExecuteLate(n) => {
            let late = world.late[*n];
            format!("what call {} had left behind is done at the {} [{}]", late.of, late.to.as_str(), op(late.op))
        }
        Action::DropLate(n) => format!("what call {} had left behind is dropped", world.late[*n].of),
        Action::Crash(name) => format!("CALL {name} DIES"),
        Action::Lose(name) => format!("THE CONNECTION BREAKS: call {name} does not learn of {}", message(waits(name))),
        Action::Refuse(name) => format!("REFUSED: {}", message(waits(name))),
        Action::Unlink(side) => format!("THE LINK OF THE {} BREAKS", name(*side)),
        Action::Die(side) => format!("THE {} DIES", name(*side)),
        Action::Restart(side) => format!("the {} is started again", side.as_str()),
        Action::Stranger(port) => format!("SOMEBODY ELSE TAKES THE PORT {port:?}"),
    }
}

fn name(side: Side) -> String {
    side.as_str().to_uppercase()
}

fn op(op: Op) -> String {
    let Op::Exec(Exec { port, follow, kill, unpause }) = op else { return format!("{op:?}").to_uppercase() };
    let port = port.map(|port| format!("PORT {port:?}"));
    let follow = follow.map(|of| of.map_or("REPLICAOF NO ONE".to_owned(), |of| format!("REPLICAOF {of:?}")));
    let kill = kill.then(|| "KILL".to_owned());
    let unpause = unpause.then(|| "UNPAUSE".to_owned());
    let parts: Vec<_> = [port, follow, kill, unpause].into_iter().flatten().chain(["INFO".to_owned()]).collect();
    parts.join("; ")
}
