//! Every key, by the streams that a replica would be sent: each key becomes a hash of its name and a digest of what it holds.
//!
//! Each stream is one moment, at an offset that the server tells. At equal offsets what differs does differ. Otherwise,
//! and to say what it is, those keys are looked for by their names and read again on both.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Comparison, Key, Options,
    lighter::Lighter,
    tally::{self, Keys, Tally},
    typed,
};
use crate::{
    error::{Code, Error, Result},
    pair::Pair,
    rdb::{Content, Seed},
    run::Event,
    server::{
        Command, Server,
        info::keyspace,
        snapshot::{Collector, Moment},
    },
};

/// How often it is told how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// After how many keys each stream tells of them.
const TOLD_EVERY: u64 = 1000;

/// How many keys the replica's stream may be ahead of the master's, and how long it waits at a time.
const FAR: u64 = 10_000;
const STEP: Duration = Duration::from_millis(1);

/// How many keys are read again where the streams tell already that they differ.
const READ_AGAIN: usize = 10_000;

/// How many names are asked for at a time: a replica serves nobody else, a master does.
const NAMES_OF_REPLICA: usize = 1000;
const NAMES_OF_MASTER: usize = 250;

/// Compares every key of the two.
pub(super) async fn compare(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    options: &Options,
    seen: &mut Comparison,
) -> Result<()> {
    if pair.run.dry {
        pair.run.warn("keys are not read in a dry run");
        return Ok(());
    }
    let seed = Seed::random();
    let progress = Arc::new(Progress::default());
    let total = seen.databases.iter().map(|database| database.source_keys).sum();
    let lighter = Lighter::begin(pair, replica).await?;
    let taken = tell(pair, &progress, total, both(master, replica, seed, &progress)).await;
    lighter.end().await;
    let ((on_master, here), (on_replica, there)) = taken?;
    let comparing = tokio::task::spawn_blocking(move || tally::compare(here.tally, there.tally));
    let found = pair.run.interruptible(comparing).await?;
    let found = found.map_err(|e| Error::new(Code::StreamUnreadable, format!("comparing what came ended: {e}")))?;
    seen.compared += found.equal;
    for (kind, keys) in found.modules {
        seen.can_not_compare(&format!("type {kind}"), keys);
    }
    let exact = on_master == on_replica && !found.unsure;
    settle(pair, [master, replica], seed, found.open, exact, options, seen).await
}

/// Reads both streams. The replica is asked when the master's moment is there, which may take as long as
/// `repl-diskless-sync-delay`: so theirs are close together, and both send at once.
async fn both(
    master: &Server,
    replica: &Server,
    seed: Seed,
    progress: &Arc<Progress>,
) -> Result<((Moment, Stream), (Moment, Stream))> {
    let (begins, begun) = oneshot::channel();
    let of_master = Side::Master { begins: Some(begins), over: Some(Over(Arc::clone(progress))) };
    let stream = |side| Stream { tally: Tally::default(), progress: Arc::clone(progress), side };
    tokio::try_join!(master.snapshot(seed, stream(of_master)), async {
        let Ok(()) = begun.await else {
            // It never begins, and says why.
            return std::future::pending().await;
        };
        replica.snapshot(seed, stream(Side::Replica { began: Instant::now(), waited: Duration::ZERO })).await
    })
}

/// How many keys of each have come.
#[derive(Default)]
struct Progress {
    master: AtomicU64,
    replica: AtomicU64,
    /// Whether no more of the master's come.
    master_over: AtomicBool,
}

/// Tells of the end of the master's stream, also where it breaks.
struct Over(Arc<Progress>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.master_over.store(true, Relaxed);
    }
}

/// One of the streams.
struct Stream {
    tally: Tally,
    progress: Arc<Progress>,
    side: Side,
}

enum Side {
    Master {
        /// Who waits for its moment.
        begins: Option<oneshot::Sender<()>>,
        over: Option<Over>,
    },
    Replica {
        began: Instant,
        waited: Duration,
    },
}

impl Collector for Stream {
    fn begun(&mut self) {
        if let Side::Master { begins, .. } = &mut self.side
            && let Some(begins) = begins.take()
        {
            let _ = begins.send(());
        }
    }

    fn key(&mut self, key: u64, content: Content) {
        self.tally.add(key, content);
        let keys = self.tally.keys();
        if !keys.is_multiple_of(TOLD_EVERY) {
            return;
        }
        match &mut self.side {
            Side::Master { .. } => self.progress.master.store(keys, Relaxed),
            Side::Replica { began, waited } => {
                self.progress.replica.store(keys, Relaxed);
                // Not for longer than it would take by itself: its child uses memory for as long.
                while self.progress.is_ahead(keys) && *waited < began.elapsed() / 2 {
                    thread::sleep(STEP);
                    *waited += STEP;
                }
            }
        }
    }

    fn ended(&mut self) {
        if let Side::Master { over, .. } = &mut self.side {
            drop(over.take());
        }
        self.tally.sort();
    }
}

impl Progress {
    /// Whether the replica's stream is far ahead of the master's with so many keys. The master's takes longer, as it is
    /// compressed: where they share a machine, the other one is not to slow it down.
    fn is_ahead(&self, keys: u64) -> bool {
        keys > self.master.load(Relaxed) + FAR && !self.master_over.load(Relaxed)
    }

    /// How many keys have come from both.
    fn done(&self) -> u64 {
        (self.master.load(Relaxed) + self.replica.load(Relaxed)) / 2
    }
}

/// Tells while they are read how far the streams have come. Each key arrives twice.
async fn tell<T>(pair: &Pair, progress: &Progress, total: u64, reading: impl Future<Output = T>) -> T {
    let began = Instant::now();
    tokio::pin!(reading);
    loop {
        tokio::select! {
            read = &mut reading => return read,
            () = tokio::time::sleep(PROGRESS_EVERY) => {
                let done = progress.done();
                let rate = done as f64 / began.elapsed().as_secs_f64();
                let seconds_left = (done > 0).then(|| total.saturating_sub(done) as f64 / rate);
                pair.run.emit(&Event::Comparing { done, total, rate: rate as u64, seconds_left });
            }
        }
    }
}

/// Names the keys that were not equal, and reads them again. Where the streams were of one moment, the first of them will do:
/// the rest differs as they do.
async fn settle(
    pair: &Pair,
    [master, replica]: [&Server; 2],
    seed: Seed,
    mut open: Keys,
    exact: bool,
    options: &Options,
    seen: &mut Comparison,
) -> Result<()> {
    if open.is_empty() {
        return Ok(());
    }
    let most = if exact { READ_AGAIN.max(options.max_differences as usize) } else { usize::MAX };
    let mut keys = names(replica, NAMES_OF_REPLICA, seed, &mut open, most).await?;
    if keys.len() < most {
        keys.extend(names(master, NAMES_OF_MASTER, seed, &mut open, most - keys.len()).await?);
    }
    let before = seen.differing;
    // If all names were looked at, what is left is gone meanwhile.
    let unread = if keys.len() < most { 0 } else { open.len() as u64 };
    typed::settle(pair, master, replica, &mut keys, options.wait_timeout, seen).await?;
    if exact && seen.differing > before {
        seen.differing += unread;
        seen.compared += unread;
    } else {
        seen.unsettled += unread;
    }
    Ok(())
}

/// Finds the names of keys of which only the hashes are known, and takes those out of `open`.
async fn names(server: &Server, at_a_time: usize, seed: Seed, open: &mut Keys, wanted: usize) -> Result<Vec<Key>> {
    let server = server.reconnect().await?;
    let mut found = Vec::new();
    for database in keyspace(&server.info("keyspace").await?).into_keys() {
        server.read(&Command::new(["SELECT", &database.to_string()])).await?;
        let mut cursor = Some("0".to_owned());
        while let Some(at) = cursor {
            if open.is_empty() || found.len() >= wanted {
                return Ok(found);
            }
            let (next, names) = server.scan(&at, at_a_time).await?;
            for name in names {
                if found.len() < wanted && open.remove(&seed.key(database.into(), seed.text(&name))) {
                    found.push(Key { database, name });
                }
            }
            cursor = next;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(progress: &Arc<Progress>) -> Stream {
        let side = Side::Replica { began: Instant::now(), waited: Duration::ZERO };
        Stream { tally: Tally::default(), progress: Arc::clone(progress), side }
    }

    fn read(stream: &mut Stream, keys: u64) {
        (0..keys).for_each(|key| stream.key(key, Content::Digest(0)));
    }

    fn waited(stream: &Stream) -> Option<(Duration, Duration)> {
        match stream.side {
            Side::Replica { began, waited } => Some((waited, began.elapsed())),
            Side::Master { .. } => None,
        }
    }

    #[test]
    fn the_replicas_stream_waits_for_half_of_the_time_at_most() {
        let progress = Arc::new(Progress::default());
        let mut stream = replica(&progress);
        read(&mut stream, FAR);
        assert_eq!(waited(&stream).unwrap().0, Duration::ZERO);
        read(&mut stream, FAR);
        let (waited, elapsed) = waited(&stream).unwrap();
        assert!(!waited.is_zero() && waited <= elapsed / 2 + STEP);
        assert_eq!(progress.done(), FAR);
    }

    #[test]
    fn nobody_waits_for_a_stream_that_has_ended_or_broken() {
        let progress = Arc::new(Progress::default());
        let over = Some(Over(Arc::clone(&progress)));
        let side = Side::Master { begins: None, over };
        let mut master = Stream { tally: Tally::default(), progress: Arc::clone(&progress), side };
        read(&mut master, 3 * TOLD_EVERY);
        assert!(progress.is_ahead(FAR + 3 * TOLD_EVERY + 1) && !progress.is_ahead(FAR + 3 * TOLD_EVERY));
        master.ended();
        assert!(!progress.is_ahead(u64::MAX));
        let broken = Arc::new(Progress::default());
        drop(Over(Arc::clone(&broken)));
        let mut stream = replica(&broken);
        read(&mut stream, 3 * FAR);
        assert_eq!(waited(&stream).unwrap().0, Duration::ZERO);
    }
}
