//! A model checker explores the production decisions ([`redis_baton::decide::handover::Machine`], `course`, `stage`,
//! `follows`, `share_history`) against every order of events in a small world.
//!
//! - [`servers`]: two servers, their replication, clients.
//! - [`controller`], [`driver`]: what the code around the machine does (`pair.rs`, `step/`, `handover.rs`, `fence.rs`),
//!   in short: every command is a message that is executed at any later moment or never, and its answer may be lost.
//! - [`world`]: all that can happen next: time, clients, replication, messages, reruns, a second controller, a guard;
//!   controllers die, connections and links break, commands are refused, ports are taken, servers die and come back.
//! - [`properties`]: what must hold. [`decides`], [`setups`]: machines that are broken on purpose, what was found and
//!   is open, and what can't be kept; the checker must find each of them.
//!
//! Not modelled: `replicate`, `retire` and `promote`; other replicas; TLS and logins but for the fuse; PING in the
//! stream, and backlogs that overflow; a full resync that ends half-way; two servers that both fail; a server that
//! comes back with a part of its data; two controllers with two journals; strangers at the addresses.
//!
//! `MODEL=deep` explores further, `MODEL_ONLY=guard` what has that in its name.
#![forbid(unsafe_code)]

mod controller;
mod decides;
mod driver;
mod properties;
mod servers;
mod setups;
mod story;
mod world;

use std::{env, marker::PhantomData, time::Instant};

use redis_baton::decide::handover::Machine;
use stateright::{Checker, HasDiscoveries, Model};

use decides::{Broken, Decides};
use world::{Handovers, Setup};

/// Explores all of it, or up to the first thing that is wrong. A line of the table, and what was found.
fn explore<D: Decides>(setup: &Setup) -> (String, String, Vec<&'static str>) {
    let began = Instant::now();
    let model = Handovers::<D> { setup: setup.clone(), decides: PhantomData };
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let row = format!(
        "{:<44} {:>10} {:>10} {:>6} {:>6.1}\n",
        setup.name,
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    let wrong = properties::MUST_HOLD.into_iter().find(|property| checker.discovery(property).is_some());
    let story = wrong.map(|property| story::tell(&checker, property)).unwrap_or_default();
    (row, story, checker.discoveries().into_keys().collect())
}

fn print(rows: &str) {
    println!("{:<44} {:>10} {:>10} {:>6} {:>6}\n{rows}", "configuration", "generated", "unique", "depth", "s");
}

fn wanted(setup: &Setup) -> bool {
    env::var("MODEL_ONLY").map_or(true, |only| setup.name.contains(&only))
}

#[test]
fn the_machine_holds() {
    let deep = env::var("MODEL").is_ok_and(|how| how == "deep");
    let (mut table, mut failed, mut reached) = (String::new(), String::new(), Vec::new());
    for setup in setups::sound(deep).into_iter().filter(wanted) {
        let (row, story, seen) = explore::<Machine>(&setup);
        eprint!("{row}");
        table += &row;
        failed += &story;
        reached.extend(seen);
    }
    print(&table);
    assert!(failed.is_empty(), "{failed}");
    let unreached: Vec<_> = properties::MUST_BE_REACHED.into_iter().filter(|name| !reached.contains(name)).collect();
    assert!(env::var("MODEL_ONLY").is_ok() || unreached.is_empty(), "never seen: {unreached:?}");
}

#[test]
fn what_is_broken_is_found() {
    let mut table = String::new();
    let mut found = Vec::new();
    for setup in setups::broken().into_iter().chain(setups::rules()).chain(setups::limits()).filter(wanted) {
        let (row, story, _) = explore::<Broken>(&setup);
        table += &row;
        println!("{story}");
        found.push((setup.name, !story.is_empty()));
    }
    print(&table);
    assert!(found.iter().all(|(_, found)| *found), "{found:?}");
}
