//! A model checker explores the production handover ([`redis_baton::decide::handover::Machine`], `course`, `stage`)
//! against every order of events in a small world.
#![forbid(unsafe_code)]

mod controller;
mod decides;
mod driver;
mod properties;
mod servers;
mod setups;
mod story;
mod world;

use std::{marker::PhantomData, time::Instant};

use redis_baton::decide::handover::Machine;
use stateright::{Checker, HasDiscoveries, Model};

use world::{Handovers, Setup};

#[test]
fn the_machine_holds() {
    let mut table = String::new();
    let mut failed = String::new();
    for setup in setups::sound() {
        let began = Instant::now();
        let model = Handovers::<Machine> { setup: setup.clone(), decides: PhantomData };
        let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        table += &format!(
            "{:<44} {:>10} {:>10} {:>6} {:>6.1}\n",
            setup.name,
            checker.state_count(),
            checker.unique_state_count(),
            checker.max_depth(),
            began.elapsed().as_secs_f64()
        );
        eprint!("{}", table.lines().last().unwrap_or_default().to_owned() + "\n");
        for property in [properties::NOTHING_LOST, properties::ONE_MASTER, properties::NOT_STUCK] {
            if checker.discovery(property).is_some() {
                failed += &story::tell(&checker, property);
            }
        }
    }
    println!("{:<44} {:>10} {:>10} {:>6} {:>6}\n{table}", "configuration", "generated", "unique", "depth", "s");
    assert!(failed.is_empty(), "{failed}");
}
