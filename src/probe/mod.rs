//! The probe: what a client sees of a handover. It comes as clients come, reads and writes a key of its own every few
//! milliseconds, is cut like everybody, connects again like everybody, and tells what it saw.
//!
//! It writes a counter. What it finds there after each new connection tells whether a write that was acknowledged is gone.
//! The key expires by itself, so that it stays nowhere, whoever dies.

mod client;
mod measure;
mod way;

use std::{future::Future, sync::Arc};

use tokio::sync::mpsc::unbounded_channel;

pub use measure::{Bucket, Probed};

use crate::{
    beside::Beside, call::Call, endpoint::Endpoint, error::Result, redirect::Redirect, side::Side, watch::telling,
};
use client::Client;

/// The name of its connections: they count as ours, and are cut like everybody's.
const CLIENT_NAME: &str = "redis-baton.probe";

/// Where a probe comes to.
#[derive(Clone)]
pub enum Wish {
    /// The address that clients use, as far as it follows from the way that they are moved.
    AsClients,
    /// This one.
    At(Box<Endpoint>),
}

/// Runs a step that makes the server on side `to` the master, with a probe beside it if one is wished. Returns what that
/// saw, too.
pub async fn probed<T>(
    call: &Call,
    wish: Option<&Wish>,
    redirect: &Redirect,
    to: Side,
    step: impl Future<Output = Result<T>>,
) -> Result<(T, Option<Probed>)> {
    // A step's future is large, and would be in each of those around it twice.
    let step = Box::pin(step);
    let Some(wish) = wish.filter(|_| !call.run.dry) else { return Ok((step.await?, None)) };
    let (tell, seen) = unbounded_channel();
    let (caller, looking) = (Arc::clone(&call.run), call.looked_on(CLIENT_NAME));
    let (wish, redirect) = (wish.clone(), redirect.clone());
    let beside = match Beside::start(move |stopped| async move {
        let (ways, warning) = way::ways(&looking, &wish, &redirect, to).await;
        let mut ended = Client::new(ways, &caller, tell).run(stopped).await;
        ended.warnings.extend(warning);
        ended
    }) {
        Ok(beside) => beside,
        Err(error) => {
            call.run.warn(format!("no probe could be started: {error}"));
            return Ok((step.await?, None));
        }
    };
    let whole = async {
        let done = step.await;
        // Where the step has failed, nobody waits for what comes after the cut.
        let ended = call.run.interruptible(beside.end(done.is_ok())).await;
        (done, ended.ok().flatten())
    };
    let (done, ended) = telling(&call.run, seen, whole).await;
    let ended = ended.unwrap_or_default();
    ended.warnings.into_iter().for_each(|warning| call.run.warn(warning));
    Ok((done?, ended.probed))
}
