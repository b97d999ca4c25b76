//! Every key, by the streams that a replica would be sent: both servers are asked at once, and each key becomes a hash of its
//! name and a digest of what it holds.
//!
//! Each stream is one moment, at an offset that the server tells. At equal offsets what differs does differ. Otherwise,
//! and to say what it is, those keys are looked for by their names and read again on both.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redis::Value;

use super::{Comparison, Key, Options, typed};
use crate::{
    error::Result,
    pair::Pair,
    rdb::{Content, Seed},
    run::Event,
    server::{Command, Server, elements, info::keyspace, snapshot::Moment, text},
};

/// Each part has a lock of its own, and grows on its own: less is copied at once.
const PARTS: usize = 256;

/// How often it is told how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How many keys are read again where the streams tell already that they differ.
const READ_AGAIN: usize = 10_000;

/// How many names are asked for at a time: a replica serves nobody else, a master does.
const NAMES_OF_REPLICA: &str = "1000";
const NAMES_OF_MASTER: &str = "250";

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
    let tally = Arc::new(Tally::default());
    let total = seen.databases.iter().map(|database| database.source_keys).sum();
    let (on_master, on_replica) = both(pair, [master, replica], seed, &tally, total).await?;
    let found = tally.end();
    seen.compared += found.equal;
    for (kind, keys) in found.modules {
        seen.can_not_compare(&format!("type {kind}"), keys);
    }
    let exact = on_master == on_replica && !found.unsure;
    settle(pair, [master, replica], seed, found.open, exact, options, seen).await
}

/// Reads both streams at once; returns of which moments they were.
async fn both(
    pair: &Pair,
    [master, replica]: [&Server; 2],
    seed: Seed,
    tally: &Arc<Tally>,
    total: u64,
) -> Result<(Moment, Moment)> {
    let began = Instant::now();
    let taking =
        async { tokio::try_join!(take(master, seed, tally, Side::Master), take(replica, seed, tally, Side::Replica)) };
    tokio::pin!(taking);
    loop {
        tokio::select! {
            taken = &mut taking => return taken,
            () = tokio::time::sleep(PROGRESS_EVERY) => pair.run.emit(&progress(tally, total, began.elapsed())),
        }
    }
}

/// Reads one of the streams; returns of which moment it was.
async fn take(server: &Server, seed: Seed, tally: &Arc<Tally>, side: Side) -> Result<Moment> {
    let tally = Arc::clone(tally);
    server.snapshot(seed, move |key, content| tally.add(side, key, content)).await
}

/// How far the streams have come. Each key arrives twice.
fn progress(tally: &Tally, total: u64, elapsed: Duration) -> Event {
    let done = tally.arrived() / 2;
    let rate = done as f64 / elapsed.as_secs_f64();
    let seconds_left = (done > 0).then(|| total.saturating_sub(done) as f64 / rate);
    Event::Comparing { done, total, rate: rate as u64, seconds_left }
}

/// Names the keys that were not equal, and reads them again. Where the streams were of one moment, the first of them will do:
/// the rest differs as they do.
async fn settle(
    pair: &Pair,
    [master, replica]: [&Server; 2],
    seed: Seed,
    mut open: HashSet<u64, Hashed>,
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
    typed::settle(pair, master, replica, keys, options.wait_timeout, seen).await?;
    if exact && seen.differing > before {
        seen.differing += unread;
        seen.compared += unread;
    } else {
        seen.unsettled += unread;
    }
    Ok(())
}

/// Finds the names of keys of which only the hashes are known, and takes those out of `open`.
async fn names(
    server: &Server,
    at_a_time: &str,
    seed: Seed,
    open: &mut HashSet<u64, Hashed>,
    wanted: usize,
) -> Result<Vec<Key>> {
    let server = server.reconnect().await?;
    let mut found = Vec::new();
    for database in keyspace(&server.info("keyspace").await?).into_keys() {
        server.read(&Command::new(["SELECT", &database.to_string()])).await?;
        let mut cursor = String::from("0");
        loop {
            if open.is_empty() || found.len() >= wanted {
                return Ok(found);
            }
            let mut page = elements(server.read(&Command::new(["SCAN", &cursor, "COUNT", at_a_time])).await?);
            let names = page.pop().map(elements).unwrap_or_default();
            for name in names {
                let Value::BulkString(name) = name else { continue };
                if found.len() < wanted && open.remove(&seed.key(database.into(), seed.text(&name))) {
                    found.push(Key { database, name });
                }
            }
            cursor = page.pop().map(|next| text(&next)).transpose()?.unwrap_or_default();
            if cursor == "0" || cursor.is_empty() {
                break;
            }
        }
    }
    Ok(found)
}

/// From where a key came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Master,
    Replica,
}

/// Both streams as they arrive: a key is kept only until the other side's has come, 24 bytes of it.
struct Tally {
    parts: Vec<Mutex<Part>>,
}

#[derive(Default)]
struct Part {
    /// Keys of one side, with their digests.
    waiting: HashMap<u64, Digest, Hashed>,
    arrived: u64,
    equal: u64,
    /// Keys that are not.
    open: HashSet<u64, Hashed>,
    /// Whether there are some among these of which that is not known.
    unsure: bool,
    modules: BTreeMap<String, u64>,
}

/// 128 bits as two halves, which need no padding. The last bit says from which side it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digest([u64; 2]);

impl Digest {
    fn of(side: Side, digest: u128) -> Self {
        let last = (digest as u64) & !1 | u64::from(side == Side::Replica);
        Digest([(digest >> 64) as u64, last])
    }

    fn of_other_side(self) -> Self {
        let Digest([first, last]) = self;
        Digest([first, last ^ 1])
    }
}

/// What both streams came to.
#[derive(Default)]
struct Found {
    equal: u64,
    open: HashSet<u64, Hashed>,
    unsure: bool,
    modules: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally { parts: std::iter::repeat_with(Mutex::default).take(PARTS).collect() }
    }
}

impl Tally {
    fn add(&self, side: Side, key: u64, content: Content) {
        // The table takes its buckets from the low bits.
        let Some(part) = self.parts.get((key >> 40) as usize % PARTS) else { return };
        let mut part = held(part);
        part.arrived += 1;
        let digest = match &content {
            Content::Digest(digest) => Digest::of(side, *digest),
            Content::Module(_) => Digest::of(side, MODULE),
            Content::TooLarge => {
                part.open.insert(key);
                part.unsure = true;
                return;
            }
        };
        let Some(before) = part.waiting.insert(key, digest) else { return };
        part.waiting.remove(&key);
        match content {
            // Two keys of one side with the same hash are looked at again, too.
            _ if before != digest.of_other_side() => drop(part.open.insert(key)),
            // That both have one is all that can be told.
            Content::Module(kind) => *part.modules.entry(kind).or_default() += 1,
            _ => part.equal += 1,
        }
    }

    fn arrived(&self) -> u64 {
        self.parts.iter().map(|part| held(part).arrived).sum()
    }

    fn end(&self) -> Found {
        let mut found = Found::default();
        for part in &self.parts {
            let part = std::mem::take(&mut *held(part));
            found.equal += part.equal;
            found.unsure |= part.unsure;
            found.open.extend(part.open);
            found.open.extend(part.waiting.into_keys());
            for (kind, keys) in part.modules {
                *found.modules.entry(kind).or_default() += keys;
            }
        }
        found
    }
}

fn held(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stands for whatever a module's key holds.
const MODULE: u128 = 0;

type Hashed = BuildHasherDefault<AsItIs>;

/// Keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_equal_where_both_sides_say_the_same() {
        let tally = Tally::default();
        let [here, there] = [Side::Master, Side::Replica];
        let says = |side, key, digest| tally.add(side, key, Content::Digest(digest));
        for (side, key, digest) in [
            (here, 1, 10), // equal
            (there, 1, 10),
            (there, 2, 20), // equal, whoever comes first
            (here, 2, 20),
            (here, 3, 30), // differs
            (there, 3, 30 << 64),
            (here, 4, 40), // on one side only
            (there, 5, 50),
            (here, 6, 60), // two keys of one side
            (here, 6, 60),
        ] {
            says(side, key, digest);
        }
        assert_eq!(tally.arrived(), 10);
        let found = tally.end();
        assert_eq!((found.equal, found.unsure), (2, false));
        assert_eq!(found.open, HashSet::from_iter([3, 4, 5, 6]));
    }

    #[test]
    fn what_can_not_be_compared_is_not_equal() {
        let tally = Tally::default();
        let module = || Content::Module("ReJSON-RL".into());
        tally.add(Side::Master, 1, module());
        tally.add(Side::Replica, 1, module());
        tally.add(Side::Master, 2, module());
        tally.add(Side::Master, 3, Content::TooLarge);
        tally.add(Side::Replica, 3, Content::Digest(1));
        let found = tally.end();
        assert_eq!((found.equal, found.unsure), (0, true));
        assert_eq!(found.modules, BTreeMap::from([("ReJSON-RL".into(), 1)]));
        assert_eq!(found.open, HashSet::from_iter([2, 3]));
    }
}
