//! The configurations that are explored.

use redis_baton::server::Side;

use crate::{
    decides::{How, Part},
    servers::Manner,
    world::{Faults, Rules, Setup},
};

const NONE: Faults =
    Faults { in_all: 0, crashes: 0, lost: 0, refused: 0, links: 0, strangers: 0, deaths: [0, 0], restarts: [0, 0] };

const TAKEOVER: Manner = Manner { takeover: true, old_source: false };
const STAY: Manner = Manner { takeover: false, old_source: false };
const OLD: Manner = Manner { takeover: true, old_source: true };

const KEPT: Rules = Rules {
    places: true,
    back_again: true,
    asks_promoted: true,
    settles_first: true,
    unmarks: true,
    notes_done: true,
    locks_anew: true,
    refused_is_lost: true,
    stops_unlocked: true,
};

const PLAIN: Setup = Setup {
    name: "takeover, nothing fails",
    manner: TAKEOVER,
    first: Side::Target,
    writes: 3,
    calls: 2,
    both: true,
    guards: false,
    parallel: false,
    locks: true,
    rules: KEPT,
    reads_log: true,
    comes_back_empty: false,
    faults: NONE,
    how: How::Sound,
    clock: 6,
};

/// Anything but the death of a server.
const MISHAPS: Faults = Faults { in_all: 2, crashes: 1, lost: 2, refused: 1, links: 1, strangers: 1, ..NONE };
const CONNECTIONS: Faults = Faults { in_all: 2, crashes: 1, lost: 2, ..NONE };
const GUARDED: Faults = Faults { in_all: 2, lost: 1, ..MISHAPS };
const SOURCE_DIES: Faults = Faults { lost: 1, links: 0, deaths: [1, 0], ..MISHAPS };
const SOURCE_RESTARTS: Faults = Faults { restarts: [1, 0], ..SOURCE_DIES };
const TARGET_DIES: Faults = Faults { deaths: [0, 1], ..SOURCE_DIES };
const TARGET_RESTARTS: Faults = Faults { restarts: [0, 1], deaths: [0, 1], ..SOURCE_DIES };

/// What must hold.
pub fn sound(deep: bool) -> Vec<Setup> {
    let mut setups = vec![
        PLAIN,
        Setup { name: "takeover, mishaps", faults: MISHAPS, ..PLAIN },
        Setup { name: "takeover, the source dies", faults: SOURCE_DIES, ..PLAIN },
        Setup { name: "takeover, the source is restarted", faults: SOURCE_RESTARTS, ..PLAIN },
        Setup { name: "takeover, the target dies", faults: TARGET_DIES, ..PLAIN },
        Setup { name: "takeover, the target is restarted", faults: TARGET_RESTARTS, ..PLAIN },
        Setup {
            name: "takeover, the target comes back empty",
            faults: TARGET_RESTARTS,
            comes_back_empty: true,
            ..PLAIN
        },
        Setup { name: "redirect=none, mishaps", manner: STAY, faults: MISHAPS, ..PLAIN },
        Setup { name: "redirect=none, the source dies", manner: STAY, faults: SOURCE_DIES, ..PLAIN },
        Setup { name: "redirect=none, the target dies", manner: STAY, faults: TARGET_DIES, ..PLAIN },
        Setup { name: "rollback, mishaps", first: Side::Source, faults: MISHAPS, ..PLAIN },
        Setup { name: "rollback, the source dies", first: Side::Source, faults: SOURCE_DIES, ..PLAIN },
        Setup { name: "rollback, the source is restarted", first: Side::Source, faults: SOURCE_RESTARTS, ..PLAIN },
        Setup { name: "rollback, the target dies", first: Side::Source, faults: TARGET_DIES, ..PLAIN },
        Setup { name: "two controllers", parallel: true, faults: CONNECTIONS, ..PLAIN },
        Setup { name: "two controllers, redirect=none", parallel: true, manner: STAY, faults: CONNECTIONS, ..PLAIN },
        Setup { name: "a guard", guards: true, faults: GUARDED, ..PLAIN },
        Setup { name: "a guard, redirect=none", guards: true, manner: STAY, faults: GUARDED, ..PLAIN },
        Setup { name: "a guard, source is shut down", guards: true, manner: OLD, faults: GUARDED, ..PLAIN },
        Setup { name: "source is shut down, mishaps", manner: OLD, faults: MISHAPS, ..PLAIN },
        Setup { name: "source is shut down, it dies", manner: OLD, faults: SOURCE_DIES, ..PLAIN },
        Setup { name: "source is shut down, the target dies", manner: OLD, faults: TARGET_DIES, ..PLAIN },
    ];
    for setup in &mut setups {
        if deep {
            setup.clock += 1;
            setup.calls += u8::from(!setup.parallel);
            setup.faults.crashes *= 2;
        }
        if setup.faults.in_all > 0 {
            setup.writes -= 1;
        }
    }
    setups
}

/// What is broken on purpose, and must be found.
pub fn broken() -> Vec<Setup> {
    use Part::{Cut, Follow, Look, Move};
    let lost = Faults { in_all: 1, lost: 1, crashes: 1, ..NONE };
    let lost_twice = Faults { in_all: 2, lost: 2, ..NONE };
    vec![
        Setup { name: "promoted before the demotion", how: How::PromoteFirst, manner: STAY, ..PLAIN },
        Setup { name: "promoted before the demotion, takeover", how: How::PromoteFirst, ..PLAIN },
        Setup { name: "the offset first, then the demotion", how: How::Parts([Look, Cut, Move, Follow]), ..PLAIN },
        Setup {
            name: "one command each",
            how: How::Parts([Follow, Cut, Move, Look]),
            faults: Faults { crashes: 1, ..lost },
            rules: Rules { places: false, ..KEPT },
            ..PLAIN
        },
        Setup { name: "the offset of the pause", how: How::EarlyOffset, ..PLAIN },
        Setup {
            name: "a lost promotion is undone",
            how: How::UndoLostPromotion,
            faults: lost_twice,
            manner: STAY,
            ..PLAIN
        },
        Setup { name: "two controllers, no lock", parallel: true, locks: false, faults: lost, manner: STAY, ..PLAIN },
        Setup { name: "shut down before the drain", how: How::ShutDownFirst, manner: OLD, ..PLAIN },
    ]
}

/// The rules of the code around the machine, each one left out: it must be found what it is good for.
pub fn rules() -> Vec<Setup> {
    let strangers = Faults { in_all: 2, strangers: 1, crashes: 1, ..NONE };
    vec![
        Setup {
            name: "aside taken, and the controller dies",
            faults: strangers,
            rules: Rules { places: false, ..KEPT },
            writes: 1,
            ..PLAIN
        },
        Setup {
            name: "public taken as the source is to serve",
            faults: strangers,
            rules: Rules { places: false, ..KEPT },
            first: Side::Source,
            writes: 1,
            ..PLAIN
        },
        Setup {
            name: "rollback begun twice",
            faults: Faults { in_all: 1, crashes: 1, ..NONE },
            rules: Rules { back_again: false, ..KEPT },
            first: Side::Source,
            writes: 1,
            ..PLAIN
        },
        Setup {
            name: "taken back from one that had served",
            faults: Faults { in_all: 2, crashes: 1, deaths: [1, 0], restarts: [1, 0], ..NONE },
            rules: Rules { asks_promoted: false, ..KEPT },
            first: Side::Source,
            writes: 2,
            ..PLAIN
        },
        Setup {
            name: "rollback before all was settled",
            faults: Faults { in_all: 2, crashes: 1, deaths: [1, 0], restarts: [1, 0], ..NONE },
            rules: Rules { settles_first: false, ..KEPT },
            writes: 2,
            ..PLAIN
        },
        Setup {
            name: "promoted, then refused",
            faults: Faults { in_all: 2, lost: 1, refused: 1, ..NONE },
            rules: Rules { refused_is_lost: false, ..KEPT },
            manner: STAY,
            writes: 1,
            ..PLAIN
        },
        Setup {
            name: "two controllers, both connections lost",
            faults: Faults { in_all: 2, lost: 2, ..NONE },
            rules: Rules { stops_unlocked: false, ..KEPT },
            parallel: true,
            manner: STAY,
            writes: 2,
            ..PLAIN
        },
        Setup {
            name: "noted, undone, gone",
            faults: Faults { in_all: 2, refused: 1, deaths: [1, 0], ..NONE },
            rules: Rules { unmarks: false, ..KEPT },
            writes: 2,
            ..PLAIN
        },
        Setup {
            name: "fenced, never shut down, gone",
            faults: Faults { in_all: 2, crashes: 1, deaths: [1, 0], ..NONE },
            rules: Rules { notes_done: false, ..KEPT },
            manner: OLD,
            writes: 2,
            ..PLAIN
        },
        Setup {
            name: "shutdown lost, gone later",
            faults: Faults { in_all: 2, lost: 1, deaths: [1, 0], ..NONE },
            rules: Rules { notes_done: false, ..KEPT },
            manner: OLD,
            calls: 1,
            writes: 2,
            ..PLAIN
        },
        Setup {
            name: "the lock is not taken anew",
            faults: Faults { in_all: 2, lost: 2, ..NONE },
            rules: Rules { locks_anew: false, stops_unlocked: false, ..KEPT },
            parallel: true,
            manner: STAY,
            writes: 1,
            ..PLAIN
        },
    ]
}

/// What can't be kept, or is left to the operator: it must be found too, so that it is known.
pub fn limits() -> Vec<Setup> {
    let restarts = Faults { in_all: 1, deaths: [1, 0], restarts: [1, 0], ..NONE };
    let dies = Faults { in_all: 1, deaths: [0, 1], ..NONE };
    vec![
        Setup { name: "redirect=none, the source comes back", manner: STAY, faults: restarts, ..PLAIN },
        Setup { name: "shut down, and started by somebody", manner: OLD, faults: restarts, ..PLAIN },
        Setup { name: "brought back without a look at the log", reads_log: false, faults: dies, ..PLAIN },
    ]
}
