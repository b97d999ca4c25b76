//! Every key, read on both servers. SCAN goes over the replica, to spare the one that serves.
//!
//! The names on the one that serves are gone through only where it can have keys that the replica lacks, or keys that expire
//! there alone. If every key that the replica counts was found on both, and counts are equal at one offset after that, then
//! there are no others. (Names and those that expire are counted as SCAN gave them: one that it gave twice, and one that has
//! expired before it came to it, would be needed for a third to be missed.)

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use tokio::sync::{Mutex as Turn, MutexGuard as TurnGuard, mpsc};

use super::{
    Comparison, Key, Options,
    ahead::{Ahead, Order, Told, Walk},
    bookmark::{Bookmark, Names},
    counts::{Counts, Database},
    one_reply::Rules,
    pace::Pace,
    pages::{Page, Pages, Part},
    reader::Reader,
    typed::{self, Eyes, Verdict},
};
use crate::{
    decide::throttle::Throttle,
    error::Result,
    mutex::lock,
    pair::Pair,
    run::Event,
    server::{Server, info::with_field_ttls, raw::Raw},
};

/// How many readers compare: while one looks at what the server that serves has said, or at candidates, others ask it.
const READERS: usize = 3;

/// How many parts are being read on the replica, or wait for a reader.
const PARTS_AHEAD: usize = 16;

/// How many candidates are looked at together, by one reader while the others go on; and how many may wait for that.
const GROUP: usize = 128;
const MOST_CANDIDATES: usize = 16 * GROUP;

/// How often the one that serves is asked how fast it answers, and how often it is decided what follows.
const PROBE: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(100);

/// How often the caller is told, and the bookmark written: so much is done again after a controller was killed.
const TELL: Duration = Duration::from_millis(500);
const WRITE: Duration = Duration::from_secs(5);

/// Compares them.
pub async fn compare(
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
    let bookmark = match options.resume {
        true => Bookmark::read(pair, master, replica, seen)?,
        false => {
            Bookmark::remove(pair)?;
            None
        }
    };
    let walk = Walk {
        rules: Rules::of(master, replica),
        pace: Mutex::new(Pace::new(Throttle::new(options.max_latency, options.rate), seen.compared)),
        pages: Mutex::default(),
    };
    let work = Work {
        pair,
        walk: Arc::new(walk),
        fields_expire: fields_expire(master, replica).await?,
        eyes: Turn::new(Eyes::open(pair, master, replica).await?),
        total: seen.databases.iter().map(|d| d.target_keys).sum(),
        place: Mutex::new(bookmark.unwrap_or_else(|| Bookmark::of(master, replica))),
        seen: Mutex::new(seen),
    };
    let mut probe = Raw::open(master).await?;
    let done = tokio::select! {
        biased;
        done = work.all(master, replica, options.wait_timeout) => done,
        failed = work.watch(&mut probe) => failed,
    };
    let mut place = work.place.into_inner().unwrap_or_else(PoisonError::into_inner);
    let slowed = lock(&work.walk.pace).throttle.slowed();
    let seen = work.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    seen.slowed = slowed;
    let done = match done {
        Ok(()) => typed::settle(pair, master, replica, &mut place.moving, options.wait_timeout, seen).await,
        failed => failed,
    };
    if let Err(error) = done {
        if let Err(unwritten) = place.write(pair, seen) {
            pair.run.warn(unwritten.to_string());
        }
        return Err(error);
    }
    Bookmark::remove(pair)
}

/// What readers share.
struct Work<'a> {
    pair: &'a Pair,
    walk: Arc<Walk>,
    /// The databases in which hash fields expire.
    fields_expire: Vec<u32>,
    eyes: Turn<Eyes<'a>>,
    total: u64,
    place: Mutex<Bookmark>,
    seen: Mutex<&'a mut Comparison>,
}

impl Work<'_> {
    async fn all(&self, master: &Server, replica: &Server, wait_timeout: Duration) -> Result<()> {
        self.look_again(1).await?;
        let names = lock(&self.place).names;
        if names == Names::OfReplica {
            self.go_through(Names::OfReplica, master, replica).await?;
            let counts = Counts::take(self.pair, master, replica, wait_timeout).await?;
            let complete = self.is_complete(&counts);
            counts.tell(master, replica, &mut lock(&self.seen));
            if complete {
                return Ok(());
            }
        }
        self.go_through(Names::OfMaster, master, replica).await?;
        // What is still not alike is told as that.
        let counts = Counts::take(self.pair, master, replica, wait_timeout).await?;
        counts.tell(master, replica, &mut lock(&self.seen));
        Ok(())
    }

    /// Whether the master can have nothing beyond what was found on both.
    fn is_complete(&self, counts: &Counts) -> bool {
        let (seen, place) = (lock(&self.seen), lock(&self.place));
        let all_equal = seen.differing == 0 && place.moving.is_empty() && !place.gone;
        // SCAN leaves out keys that have expired, and the counts do not.
        let counted = |d: &Database| {
            let reached = place.reached(d.number);
            reached.is_some_and(|r| (r.given, r.expiring) == (d.target_keys, d.target_expires))
        };
        all_equal && counts.alike().is_some_and(|databases| databases.iter().all(counted))
    }

    /// Goes through the names of all databases.
    async fn go_through(&self, names: Names, master: &Server, replica: &Server) -> Result<()> {
        let whose = if names == Names::OfReplica { replica } else { master };
        let master = Turn::new(Raw::open(master).await?);
        let ahead = Ahead::start(names, whose, replica, Arc::clone(&self.walk))?;
        let compared = self.compare_all(names, &master, &ahead).await;
        // What it failed by is why the rest did, too.
        ahead.end(compared.is_ok()).await.and(compared)?;
        self.look_again(1).await
    }

    async fn compare_all(&self, names: Names, master: &Turn<Raw>, ahead: &Ahead) -> Result<()> {
        let databases: Vec<u32> = lock(&self.seen).databases.iter().map(|d| d.number).collect();
        for database in databases {
            let Some(cursor) = lock(&self.place).enter(names, database) else { continue };
            master.lock().await.select(database).await?;
            *lock(&self.walk.pages) = Pages::from(cursor);
            let (told, receiver) = mpsc::channel(PARTS_AHEAD);
            let fields_expire = self.fields_expire.contains(&database);
            ahead.order(Order { database, fields_expire, told }).await?;
            let told = Turn::new(receiver);
            try_join_all((0..READERS).map(|_| self.compare(names, master, &told))).await?;
            if lock(&self.walk.pages).cursor().is_some() {
                return Err(ahead.broken());
            }
            self.look_again(1).await?;
        }
        Ok(())
    }

    /// Compares what the replica tells, as it comes.
    async fn compare(&self, names: Names, master: &Turn<Raw>, told: &Turn<mpsc::Receiver<Told>>) -> Result<()> {
        let mut reader = Reader::new(&self.walk.rules, master);
        loop {
            let Some(told) = told.lock().await.recv().await else { return Ok(()) };
            let found = match names {
                Names::OfReplica => {
                    let found = reader.compare(&told).await?;
                    lock(&self.walk.pace).add(told.part.scanned.length());
                    found
                }
                Names::OfMaster => reader.missing(&told).await?,
            };
            let waiting = self.note(&told.part, found);
            if waiting >= MOST_CANDIDATES {
                self.look_again(GROUP).await?;
            } else if waiting >= GROUP
                && let Ok(eyes) = self.eyes.try_lock()
            {
                self.look(eyes, GROUP).await?;
            }
        }
    }

    /// Takes in what came of a part. Returns how many candidates wait.
    fn note(&self, part: &Part, found: Page) -> usize {
        let mut pages = lock(&self.walk.pages);
        let (mut seen, mut place) = (lock(&self.seen), lock(&self.place));
        // Pages count in their order: all from the cursor on is done again after an interruption.
        for found in pages.end(part, found) {
            let key = |name| Key { database: part.database, name };
            let again: Vec<Key> = found.again.into_iter().map(key).collect();
            for key in again {
                // Of others it is known that they differ, or will be.
                if !seen.named.contains(&key) && !place.moving.contains(&key) {
                    seen.compared = seen.compared.saturating_sub(1);
                    place.candidates.push(key);
                }
            }
            seen.compared += found.equal;
            place.candidates.extend(found.candidates.into_iter().map(key));
            let reached = place.reached_mut(part.database);
            reached.given += found.given;
            reached.expiring += found.expiring;
        }
        place.reached_mut(part.database).cursor = pages.cursor().cloned();
        place.candidates.len()
    }

    /// Looks at candidates, if there are so many. They are all of one database. Those that do not rest wait until the end.
    async fn look_again(&self, least: usize) -> Result<()> {
        self.look(self.eyes.lock().await, least).await
    }

    async fn look(&self, mut eyes: TurnGuard<'_, Eyes<'_>>, least: usize) -> Result<()> {
        loop {
            let group: Vec<Key> = lock(&self.place).candidates.iter().take(GROUP).cloned().collect();
            if group.len() < least {
                return Ok(());
            }
            let verdicts = eyes.look(&group).await?;
            let (mut seen, mut place) = (lock(&self.seen), lock(&self.place));
            place.gone |= verdicts.iter().any(|verdict| matches!(verdict, Verdict::Gone));
            place.moving.extend(group.iter().zip(verdicts).filter_map(|(key, verdict)| seen.take(key, verdict)));
            // Not before: who interrupts this must find them in the bookmark.
            place.candidates.drain(..group.len());
        }
    }

    /// Sees how fast the one that serves answers, decides how fast it goes on, and tells the caller.
    async fn watch(&self, probe: &mut Raw) -> Result<()> {
        let now = Instant::now();
        let (mut slowest, mut looked, mut told, mut written) = (Duration::ZERO, now, now, now);
        let mut warned = false;
        loop {
            let asked = Instant::now();
            probe.ask(&[b"PING"]);
            probe.replies().await?;
            slowest = slowest.max(asked.elapsed());
            if looked.elapsed() >= LOOK {
                let mut pace = lock(&self.walk.pace);
                let speed = pace.speed();
                pace.throttle.look(slowest, speed);
                (slowest, looked) = (Duration::ZERO, Instant::now());
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                self.tell();
            }
            if written.elapsed() >= WRITE {
                written = Instant::now();
                // Without it this comparison is no worse: it can't be resumed if it is interrupted.
                let seen = lock(&self.seen);
                if let Err(unwritten) = lock(&self.place).write(self.pair, &seen)
                    && !std::mem::replace(&mut warned, true)
                {
                    self.pair.run.warn(unwritten.to_string());
                }
            }
            self.pair.run.sleep(PROBE).await?;
        }
    }

    fn tell(&self) {
        let (done, speed) = {
            let pace = lock(&self.walk.pace);
            (pace.compared(), pace.speed())
        };
        self.pair.run.emit(&Event::Comparing {
            done,
            total: self.total,
            rate: speed as u64,
            seconds_left: (speed > 0.0).then(|| self.total.saturating_sub(done) as f64 / speed),
        });
    }
}

/// The databases in which hash fields expire on either.
async fn fields_expire(master: &Server, replica: &Server) -> Result<Vec<u32>> {
    let mut numbers = with_field_ttls(&master.info("keyspace").await?);
    numbers.extend(with_field_ttls(&replica.info("keyspace").await?));
    Ok(numbers)
}
