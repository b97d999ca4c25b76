//! What is seen [beside](crate::beside) a step: samples of both servers, and the [probe](crate::probe). The step's own thread tells of it, as
//! of everything else.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use crate::{
    beside::Beside,
    call::Call,
    error::{Code, Result},
    pair::Pair,
    run::{Event, Run, Sample},
    server::{
        Server,
        info::{Info, Replication, Role, keyspace},
    },
    side::Side,
};

/// The name of the connections that samples are taken over.
const CLIENT_NAME: &str = "redis-baton.watch";

/// A step that is done at once needs no sample.
const FIRST: Duration = Duration::from_millis(100);

/// Between two samples.
const EVERY: Duration = Duration::from_secs(1);

/// A server that takes longer to answer is not told of.
const ANSWER: Duration = Duration::from_secs(1);

/// Between two looks for a server that was not found.
const MISSING: Duration = Duration::from_secs(5);

/// How long what is seen waits at most until it is told.
const TELL: Duration = Duration::from_millis(50);

/// Up to so many connections are told apart one by one; among more than that ours make no difference.
const FEW: u64 = 256;

/// Runs a step, and tells meanwhile what is seen beside it: not in the cut, where listeners would cost the clients time.
pub async fn telling<T>(run: &Run, mut seen: UnboundedReceiver<Event>, step: impl Future<Output = T>) -> T {
    let mut step = Box::pin(step);
    let mut held = Vec::new();
    let mut ticks = interval(TELL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let done = tokio::select! {
            biased;
            done = &mut step => Some(done),
            _ = ticks.tick() => None,
        };
        while let Ok(event) = seen.try_recv() {
            held.push(event);
        }
        if !run.is_shielded() {
            held.drain(..).for_each(|event| run.emit(&event));
        }
        if let Some(done) = done {
            return done;
        }
    }
}

/// Runs a step, and tells meanwhile about once a second how both servers are doing.
pub async fn watched<T>(call: &Call, step: impl Future<Output = T>) -> T {
    // It is large, and would be in each future around it twice.
    let step = Box::pin(step);
    if call.run.dry {
        return step.await;
    }
    let (tell, seen) = unbounded_channel();
    let watcher = Watcher { caller: Arc::clone(&call.run), call: call.looked_on(CLIENT_NAME), tell };
    let beside = Beside::start(|stopped| async move {
        tokio::select! {
            _ = stopped => {}
            () = watcher.watch() => {}
        }
    });
    // Without it the step is done all the same.
    let Ok(beside) = beside else { return step.await };
    let done = telling(&call.run, seen, step).await;
    beside.end(false).await;
    done
}

struct Watcher {
    caller: Arc<Run>,
    call: Call,
    tell: UnboundedSender<Event>,
}

impl Watcher {
    async fn watch(&self) {
        sleep(FIRST).await;
        loop {
            while self.caller.is_shielded() {
                sleep(TELL).await;
            }
            let (Ok(pair), until) = (self.call.find().await, Instant::now() + MISSING) else {
                sleep(EVERY).await;
                continue;
            };
            let both = pair.source().is_ok() && pair.target().is_ok();
            let mut roles = None;
            let mut may_list = [true; 2];
            // As long as they are who and where they were.
            while both || Instant::now() < until {
                let next = Instant::now() + EVERY;
                if !self.caller.is_shielded() {
                    let Ok(samples) = look(&pair, &mut may_list).await else { break };
                    let seen: Vec<_> = samples.iter().map(|sample| (sample.side, sample.role)).collect();
                    if roles.as_ref().is_some_and(|roles| *roles != seen) {
                        break;
                    }
                    if samples.len() == 2 {
                        roles = Some(seen);
                    }
                    samples.into_iter().for_each(|sample| drop(self.tell.send(Event::Sample(sample))));
                }
                sleep_until(next).await;
            }
        }
    }
}

/// One look at both; an error where one has gone.
async fn look(pair: &Pair, may_list: &mut [bool; 2]) -> Result<Vec<Sample>> {
    let [list_source, list_target] = may_list;
    let (source, target) = tokio::join!(
        look_at(pair.source().ok(), Side::Source, list_source),
        look_at(pair.target().ok(), Side::Target, list_target)
    );
    let mut samples: Vec<Sample> = [source?, target?].into_iter().flatten().collect();
    if let [a, b] = samples.as_mut_slice() {
        (a.lag_bytes, b.lag_bytes) = (lag(a, b), lag(b, a));
    }
    Ok(samples)
}

/// How far one is behind the other.
fn lag(one: &Sample, other: &Sample) -> Option<u64> {
    (one.role == Role::Replica && other.role == Role::Master).then(|| other.offset.saturating_sub(one.offset))
}

async fn look_at(server: Option<&Server>, side: Side, may_list: &mut bool) -> Result<Option<Sample>> {
    let Some(server) = server else { return Ok(None) };
    let asking = async {
        let info = server.info("default").await?;
        let clients = clients(server, &info, may_list).await?;
        Ok(Some(sample(server, side, &info, clients)))
    };
    timeout(ANSWER, asking).await.unwrap_or(Ok(None))
}

/// Connections of applications. A list of very many would cost the server more than it is worth.
async fn clients(server: &Server, info: &Info, may_list: &mut bool) -> Result<u64> {
    let all = info.number("connected_clients").unwrap_or_default();
    if *may_list && all <= FEW {
        match server.connections().await {
            Ok(list) => return Ok(list.iter().filter(|one| one.kind.is_application()).count() as u64),
            // Not asked again: each refusal is noted in the server's log.
            Err(error) if error.code == Code::PermissionDenied => *may_list = false,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn sample(server: &Server, side: Side, info: &Info, clients: u64) -> Sample {
    let number = |name| info.number(name).unwrap_or_default();
    let Replication { role, offset, .. } = Replication::from(info);
    Sample {
        server: server.endpoint.to_string(),
        side,
        role,
        ops_per_second: number("instantaneous_ops_per_sec"),
        clients,
        memory_bytes: number("used_memory"),
        keys: keyspace(info).values().map(|counts| counts.keys).sum(),
        offset,
        lag_bytes: None,
    }
}
