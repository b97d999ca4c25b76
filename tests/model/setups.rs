//! The configurations that are explored.

use redis_baton::server::Side;

use crate::{
    decides::How,
    servers::Manner,
    world::{Faults, Setup},
};

const NONE: Faults =
    Faults { in_all: 0, crashes: 0, lost: 0, refused: 0, links: 0, strangers: 0, deaths: [0, 0], restarts: [0, 0] };

const TAKEOVER: Manner = Manner { takeover: true, old_source: false };

pub const PLAIN: Setup = Setup {
    name: "takeover, nothing fails",
    manner: TAKEOVER,
    first: Side::Target,
    writes: 3,
    calls: 2,
    both: true,
    parallel: false,
    locks: true,
    locks_anew: true,
    releases_anew: false,
    reads_log: true,
    comes_back_empty: false,
    faults: NONE,
    how: How::Sound,
    clock: 6,
};

pub fn sound() -> Vec<Setup> {
    let faults = |in_all| Faults { in_all, ..NONE };
    vec![
        PLAIN,
        Setup { name: "takeover, controller dies", faults: Faults { crashes: 1, ..faults(1) }, ..PLAIN },
        Setup { name: "takeover, connection lost", faults: Faults { lost: 1, crashes: 1, ..faults(2) }, ..PLAIN },
    ]
}
