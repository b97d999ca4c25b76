//! Every key, read on both servers. SCAN goes over the replica, to spare the one that serves.
//!
//! The names on the one that serves are gone through only where it can have keys that the replica lacks, or keys that expire
//! there alone. If every key that the replica counts was found on both, and counts are equal at one offset after that, then
//! there are no others. (Names and those that expire are counted as SCAN gave them: one that it gave twice, and one that has
//! expired before it came to it, would be needed for a third to be missed.)

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use tokio::sync::{Mutex as Turn, MutexGuard as TurnGuard, mpsc};

use super::{
    Comparison, Key, Options,
    bookmark::{Bookmark, Names},
    counts::{Counts, Database},
    page::{Lane, Page, Shared},
    scanned::Scanned,
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

/// Pages that are compared at the same time: while one waits for a server, another is at work, and both servers always are. Only
/// one of them reads on the one that serves, and beside it whoever looks at candidates.
const LANES: usize = 16;

/// Names in a page of SCAN: many on the replica, where nobody waits, fewer on the one that serves.
const NAMES_OF_REPLICA: usize = 1000;
const NAMES_OF_MASTER: usize = 200;

/// How many parts of pages may wait for a lane, and how long it takes at most to read one where the rate is limited.
const PARTS_AHEAD: usize = LANES;
const PART: Duration = Duration::from_millis(50);

/// How many candidates are looked at together, by one lane while the others go on; and how many may wait for that.
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
    let began = Instant::now();
    let bookmark = match options.resume {
        true => Bookmark::read(pair, master, replica, seen)?,
        false => {
            Bookmark::remove(pair)?;
            None
        }
    };
    let work = Work {
        pair,
        fields_expire: fields_expire(master, replica).await?,
        eyes: Turn::new(Eyes::open(pair, master, replica).await?),
        total: seen.databases.iter().map(|d| d.target_keys).sum(),
        pace: Mutex::new(Pace {
            throttle: Throttle::new(options.max_latency, options.rate),
            next: began,
            began,
            done: 0,
            before: seen.compared,
        }),
        scan: Mutex::new(Scan::default()),
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
    let slowed = lock(&work.pace).throttle.slowed();
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

/// What the lanes share.
struct Work<'a> {
    pair: &'a Pair,
    /// The databases in which hash fields expire.
    fields_expire: Vec<u32>,
    eyes: Turn<Eyes<'a>>,
    total: u64,
    pace: Mutex<Pace>,
    scan: Mutex<Scan>,
    place: Mutex<Bookmark>,
    seen: Mutex<&'a mut Comparison>,
}

/// Where SCAN stands in the database at hand.
#[derive(Default)]
struct Scan {
    /// The cursor of the next page; none at the end.
    next: Option<String>,
    pages: u64,
    /// The pages that are being compared.
    under_way: BTreeMap<u64, UnderWay>,
    /// What came of those and of pages after them.
    done: BTreeMap<u64, Page>,
}

/// A page that is being compared.
struct UnderWay {
    cursor: String,
    /// How many of its parts are.
    parts: usize,
}

/// Names of a page.
struct Part {
    page: u64,
    names: Names,
    database: u32,
    scanned: Scanned,
}

impl Scan {
    /// Takes out what came of the pages before all that are being compared.
    fn passed(&mut self) -> impl Iterator<Item = Page> + use<> {
        let oldest = self.under_way.keys().next().copied().unwrap_or(u64::MAX);
        let later = self.done.split_off(&oldest);
        std::mem::replace(&mut self.done, later).into_values()
    }
}

/// How fast it goes.
struct Pace {
    throttle: Throttle,
    /// When the next page may begin.
    next: Instant,
    began: Instant,
    /// Keys that were read since then.
    done: u64,
    /// Keys that were compared before, where it goes on.
    before: u64,
}

impl Pace {
    fn speed(&self) -> f64 {
        self.done as f64 / self.began.elapsed().as_secs_f64().max(0.001)
    }

    /// So many keys at a time, or fewer where the rate is low: others have their turn in between.
    fn most(&self, keys: usize) -> usize {
        keys.min((self.throttle.rate() * PART.as_secs_f64()) as usize).max(1)
    }

    /// When a page of so many keys may begin.
    fn turn(&mut self, keys: usize) -> Instant {
        let start = self.next.max(Instant::now());
        self.next = start + Duration::from_secs_f64(keys as f64 / self.throttle.rate());
        start
    }
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
        let mut scanner = Raw::open(whose).await?;
        let shared = Shared::open(master, replica).await?;
        let mut lanes = Vec::new();
        for _ in 0..LANES {
            lanes.push(Lane::open(&shared, replica).await?);
        }
        let databases: Vec<u32> = lock(&self.seen).databases.iter().map(|d| d.number).collect();
        for database in databases {
            let Some(cursor) = lock(&self.place).enter(names, database) else { continue };
            scanner.select(database).await?;
            shared.select(database).await?;
            for lane in &mut lanes {
                lane.select(database).await?;
            }
            *lock(&self.scan) = Scan { next: Some(cursor), ..Scan::default() };
            let (sender, receiver) = mpsc::channel(PARTS_AHEAD);
            let parts = Turn::new(receiver);
            let reading = try_join_all(lanes.iter_mut().map(|lane| self.lane(lane, &parts)));
            tokio::try_join!(self.scan(&mut scanner, names, database, &shared, sender), reading)?;
            self.look_again(1).await?;
        }
        Ok(())
    }

    /// Asks for the names of a database, a little faster than they are needed.
    async fn scan(
        &self,
        raw: &mut Raw,
        names: Names,
        database: u32,
        shared: &Shared,
        parts: mpsc::Sender<Part>,
    ) -> Result<()> {
        loop {
            let Some(cursor) = lock(&self.scan).next.clone() else { return Ok(()) };
            let (count, at_a_time) = match names {
                Names::OfReplica => (NAMES_OF_REPLICA, shared.at_a_time()),
                Names::OfMaster => (NAMES_OF_MASTER, NAMES_OF_MASTER),
            };
            let (next, scanned) = Scanned::ask(raw, &cursor, count).await?;
            let of_page = scanned.split(lock(&self.pace).most(at_a_time));
            let page = {
                let mut scan = lock(&self.scan);
                scan.next = next;
                scan.pages += 1;
                let page = scan.pages;
                scan.under_way.insert(page, UnderWay { cursor, parts: of_page.len() });
                page
            };
            for scanned in of_page {
                let part = Part { page, names, database, scanned };
                if parts.send(part).await.is_err() {
                    return Ok(()); // the lanes have ended, by an error of theirs
                }
            }
        }
    }

    /// Compares part after part.
    async fn lane(&self, lane: &mut Lane<'_>, parts: &Turn<mpsc::Receiver<Part>>) -> Result<()> {
        loop {
            let Some(part) = parts.lock().await.recv().await else { return Ok(()) };
            let found = self.compare(lane, &part).await?;
            let waiting = self.note(&part, found);
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
        let mut scan = lock(&self.scan);
        scan.done.entry(part.page).or_default().add(found);
        if let Some(page) = scan.under_way.get_mut(&part.page) {
            page.parts -= 1;
            if page.parts == 0 {
                scan.under_way.remove(&part.page);
            }
        }
        let (mut seen, mut place) = (lock(&self.seen), lock(&self.place));
        // Pages count in their order: all from the cursor on is done again after an interruption.
        for found in scan.passed() {
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
        let oldest = scan.under_way.values().next().map(|page| &page.cursor);
        place.reached_mut(part.database).cursor = oldest.or(scan.next.as_ref()).cloned();
        place.candidates.len()
    }

    /// Compares some keys at once.
    async fn compare(&self, lane: &mut Lane<'_>, part: &Part) -> Result<Page> {
        let keys = part.scanned.names();
        let start = lock(&self.pace).turn(keys.len());
        let wait = start.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            self.pair.run.sleep(wait).await?;
        }
        if part.names == Names::OfMaster {
            return lane.missing(&keys).await;
        }
        let found = lane.compare(&keys, self.fields_expire.contains(&part.database)).await?;
        lock(&self.pace).done += keys.len() as u64;
        Ok(found)
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
                let mut pace = lock(&self.pace);
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
        let pace = lock(&self.pace);
        let done = pace.before + pace.done;
        let speed = pace.speed();
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
