//! The cut, as often as it takes, and its confirmation.

use std::time::{Duration, Instant};

use super::{
    Done, Options, WRITES_WAIT,
    plan::{limits, way},
    time_in,
};
use crate::{
    decide::{
        handover::{End, Machine, Why},
        moment::Wanted,
    },
    error::{Result, State},
    handover::{Attempt, Cut, Phase, unpause},
    hook::Moment,
    pair::Pair,
    run::Event,
    server::{Command, Server},
    step::{at, moment::good_moment, prepare::stop_pings},
};

/// For how long at least writes flow between two attempts.
const REST: Duration = Duration::from_millis(20);

/// Tries the cut at a good moment, several times if need be. Each time writes flow again before the next one.
pub(super) async fn attempts(pair: &Pair, cut: &mut Cut<'_>, options: &Options) -> Result<Done> {
    let wanted = Wanted { lag_bytes: options.max_lag_bytes, latency: options.max_latency };
    let mut done = Done::default();
    loop {
        done.attempts += 1;
        let waiting = Instant::now();
        let moment = async || {
            let moment = good_moment(&pair.run, cut.demoted, cut.promoted, wanted, options.patience);
            // Nothing has been demoted yet.
            moment.await.map_err(|error| error.state(State::Undone))
        };
        moment().await?;
        if done.attempts == 1 {
            stop_pings(&pair.journal, cut.demoted).await.map_err(|error| error.state(State::Undone))?;
            // That took long enough for the moment to pass.
            moment().await?;
        }
        let moment = Phase { name: "moment", microseconds: waiting.elapsed().as_micros() as u64 };
        cut.limits = limits(options, cut.handover, done.attempts);
        let holds = cut.handover.plan.holds() || cut.hooks.has(Moment::Paused);
        let machine = Machine::new(cut.limits, way(cut.handover)).holding(holds);
        let Attempt { end, phases, led, refused } = cut.run(&pair.run, machine).await;
        let gap = time_in(&phases, &WRITES_WAIT);
        done.longest_gap_us = done.longest_gap_us.max(gap);
        done.phases = [vec![moment], phases].concat();
        // Whoever serves does so: a rerun, or the guard, leads the clients to it.
        led.map_err(|error| error.state(State::Interrupted))?;
        match end {
            End::Switched => {
                confirm(pair, cut, &mut done).await?;
                return Ok(done);
            }
            End::Unchanged(Why::Behind(_) | Why::CountsDiffer) if done.attempts < options.attempts => {
                // Writes flow for at least as long as they have waited.
                pair.run.sleep(Duration::from_micros(gap).max(REST)).await?;
            }
            End::Unchanged(Why::NotHeld(_)) if let Some(error) = refused => return Err(error),
            end => return Err(cut.error(&end)),
        }
    }
}

/// The last part of the protocol: the pause ends, and a write through the public address shows that clients arrive. It
/// deletes a key that does not exist, which changes nothing and yet is refused where writes are.
async fn confirm(pair: &Pair, cut: &Cut<'_>, done: &mut Done) -> Result<()> {
    let _shield = pair.run.shield();
    let began = Instant::now();
    // The promoted server's role came back with its promotion.
    let release = async {
        if cut.handover.fenced {
            return Ok(());
        }
        pair.run.action(format!("{}: {}", cut.demoted, unpause()));
        cut.demoted.ask(&unpause()).await.map(drop)
    };
    let (released, arrived) = tokio::join!(release, canary(cut));
    let microseconds = began.elapsed().as_micros() as u64;
    done.phases.push(Phase { name: "confirm", microseconds });
    pair.run.emit(&Event::Phase { name: "confirm", microseconds });
    if let Err(error) = released {
        pair.run.warn(format!("the old one did not answer after the handover: {error}"));
    }
    if let Err(error) = arrived {
        pair.run.warn(format!("the target serves, but a write through the public address failed: {error}"));
    }
    Ok(())
}

async fn canary(cut: &Cut<'_>) -> Result<()> {
    let (handover, promoted) = (cut.handover, cut.promoted);
    let public = at(promoted, handover.public);
    let entrance = handover.plan.entrance(handover, &promoted.endpoint).unwrap_or(public);
    let write = Command::new(["DEL", "redis-baton:canary"]);
    Server::visit(&promoted.run, promoted.side, &entrance, &write).await
}
