//! Every key, by the streams that a replica would be sent: each key becomes a hash of its name and a digest of what it holds.
//!
//! Each stream is one moment, at an offset that the server tells. At equal offsets what differs does differ. Otherwise,
//! and to say what it is, those keys are looked for by their names and read again on both.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Comparison, Key, Options,
    abreast::{Follower, Leader, Progress},
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
const TOLD_EVERY: u64 = 200;

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
    let of_master = Whose::Master { begins: Some(begins), leader: Some(Leader::of(progress)) };
    let of_replica = Whose::Replica(Follower::of(progress));
    let stream = |whose| Stream { tally: Tally::default(), whose };
    tokio::try_join!(master.snapshot(seed, stream(of_master)), async {
        let Ok(()) = begun.await else {
            // It never begins, and says why.
            return std::future::pending().await;
        };
        replica.snapshot(seed, stream(of_replica)).await
    })
}

/// One of the streams.
struct Stream {
    tally: Tally,
    whose: Whose,
}

enum Whose {
    Master {
        /// Who waits for its moment.
        begins: Option<oneshot::Sender<()>>,
        /// None at its end.
        leader: Option<Leader>,
    },
    Replica(Follower),
}

impl Collector for Stream {
    fn begun(&mut self) {
        if let Whose::Master { begins, .. } = &mut self.whose
            && let Some(begins) = begins.take()
        {
            let _ = begins.send(());
        }
    }

    fn key(&mut self, key: u64, content: Content) {
        self.tally.add(key, content);
        let keys = self.tally.keys();
        if keys.is_multiple_of(TOLD_EVERY) {
            match &mut self.whose {
                Whose::Master { leader, .. } => leader.iter().for_each(|leader| leader.arrived(keys)),
                Whose::Replica(follower) => follower.arrived(keys),
            }
        }
    }

    fn ended(&mut self) {
        if let Whose::Master { leader, .. } = &mut self.whose {
            drop(leader.take());
        }
        self.tally.sort();
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
