//! The replica's side of reads: names, and what their keys hold there, ahead of the comparison with the master.
//!
//! It has a thread of its own: each of the two waits for one server only, and both servers have always something to do. (A
//! server wakes whoever waits for it on its own processor. One thread that waits for both was left behind the one of them while
//! the other was idle, for a tenth of the time.)

use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use futures_util::future::try_join_all;
use tokio::sync::{Mutex as Turn, mpsc};

use super::{
    bookmark::Names,
    kinds::{Kind, Kinds},
    one_reply::{GONE, Rules, ask, expires, refuse},
    pace::Pace,
    pages::{Pages, Part},
    scanned::Scanned,
};
use crate::{
    error::{Code, Error, Result},
    mutex::lock,
    server::{
        Server,
        raw::{Commands, Raw, Replies, bulk},
    },
    watch::Beside,
};

/// Connections to the replica: while one waits, others have asked it already.
const LANES: usize = 8;

/// Names in a page of SCAN: many on the replica, where nobody waits, fewer on the one that serves.
const NAMES_OF_REPLICA: usize = 1000;
const NAMES_OF_MASTER: usize = 200;

/// How many parts of pages may wait for a lane.
const PARTS_AHEAD: usize = LANES;

/// How many keys are read at a time, and for how many bytes. Fewer keys cost more round trips, more keep others waiting.
const FIRST_KEYS: usize = 25;
const MOST_KEYS: usize = 500;
pub const MANY_BYTES: usize = 512 << 10;

/// What is known on both sides.
pub struct Walk {
    pub rules: Rules,
    pub pace: Mutex<Pace>,
    pub pages: Mutex<Pages>,
}

/// A database whose names are to be gone through.
pub struct Order {
    pub database: u32,
    /// Leave hashes to the typed reads.
    pub fields_expire: bool,
    /// Where what was read goes to; closed at the end.
    pub reads: mpsc::Sender<Read>,
}

/// Some keys as the replica has them.
pub struct Read {
    pub part: Part,
    /// What it said at first, and of keys whose type had to be asked.
    here: Replies,
    late: Replies,
    /// What each key is, and by which of these it is known; for names of the replica.
    kinds: Vec<(Kind, Content)>,
}

/// Where the content of a key is.
#[derive(Clone, Copy)]
enum Content {
    /// It came at first.
    Here,
    /// So many came before it in the second replies.
    Late(usize),
    /// It was not read.
    None,
}

/// A key of the replica.
pub struct Key<'a> {
    pub name: &'a [u8],
    pub kind: Kind,
    /// When or in how long, in milliseconds; -1 for never, [`GONE`] if there is no such key.
    pub expires: i64,
    /// All that it holds; none if that is more than fits in one reply, or nothing.
    pub holds: Option<&'a [u8]>,
}

impl Read {
    /// Each key, for names of the replica.
    pub fn keys(&self, rules: &Rules) -> Vec<Key<'_>> {
        let key = |(n, (name, (kind, content))): (usize, (_, &(Kind, Content)))| {
            let said = match content {
                Content::Here => Some(self.here.of(2 * n + 1)),
                Content::Late(reply) => Some(self.late.of(*reply)),
                Content::None => None,
            };
            let holds = said.and_then(|said| rules.whole(*kind, said));
            Key { name, kind: *kind, expires: expires(self.here.of(2 * n)), holds }
        };
        self.part.scanned.names().into_iter().zip(&self.kinds).enumerate().map(key).collect()
    }

    /// When each key expires there, for names of the master.
    pub fn expiries(&self) -> impl Iterator<Item = (&[u8], i64)> {
        self.part.scanned.names().into_iter().enumerate().map(|(n, name)| (name, expires(self.here.of(n))))
    }
}

/// The thread.
pub struct Ahead {
    orders: mpsc::Sender<Order>,
    beside: Beside<Result<()>>,
}

impl Ahead {
    /// Starts it. It goes through names of that server.
    pub fn start(names: Names, whose: &Server, replica: &Server, walk: Arc<Walk>) -> Result<Self> {
        let (orders, ordered) = mpsc::channel(1);
        let (whose, replica) = (whose.clone(), replica.clone());
        let work = move |stopped| async move {
            tokio::select! {
                done = go_through(names, &whose, &replica, &walk, ordered) => done,
                () = at_once(stopped) => Ok(()),
            }
        };
        let beside = Beside::start(work)
            .map_err(|error| Error::new(Code::Cancelled, format!("no thread could be started: {error}")))?;
        Ok(Ahead { orders, beside })
    }

    /// Orders what is read next. It may have ended: see [`Ahead::end`].
    pub async fn order(&self, order: Order) {
        let _ = self.orders.send(order).await;
    }

    /// Ends it, at once where somebody else has failed already.
    pub async fn end(self, failed: bool) -> Result<()> {
        drop(self.orders);
        let broke = || Err(Error::new(Code::Cancelled, "the thread that reads the replica broke"));
        self.beside.end(!failed).await.unwrap_or_else(broke)
    }
}

/// Comes if it is to end before it is done.
async fn at_once(stopped: tokio::sync::oneshot::Receiver<bool>) {
    if stopped.await == Ok(true) {
        pending().await
    }
}

async fn go_through(
    names: Names,
    whose: &Server,
    replica: &Server,
    walk: &Walk,
    mut orders: mpsc::Receiver<Order>,
) -> Result<()> {
    let mut scanner = Raw::open(whose).await?;
    let guessed = Guessed { kinds: Mutex::new(Kinds::new(walk.rules.seed())), at_a_time: Mutex::new(FIRST_KEYS) };
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        lanes.push(Lane {
            walk,
            guessed: &guessed,
            replica: Raw::open(replica).await?,
            wanted: Commands::default(),
            size: 0,
        });
    }
    while let Some(order) = orders.recv().await {
        // Its keys may be large.
        *lock(&guessed.at_a_time) = FIRST_KEYS;
        scanner.select(order.database).await?;
        for lane in &mut lanes {
            lane.replica.select(order.database).await?;
        }
        let (sender, receiver) = mpsc::channel(PARTS_AHEAD);
        let parts = Turn::new(receiver);
        let reading = try_join_all(lanes.iter_mut().map(|lane| lane.read_all(names, &order, &parts)));
        tokio::try_join!(scan(&mut scanner, names, order.database, walk, &guessed, sender), reading)?;
    }
    Ok(())
}

/// What lanes have learnt.
struct Guessed {
    kinds: Mutex<Kinds>,
    /// How many keys are read at a time, by their size.
    at_a_time: Mutex<usize>,
}

impl Guessed {
    /// So many keys have come as so many bytes.
    fn adapt(&self, keys: usize, bytes: usize) {
        let mut at_a_time = lock(&self.at_a_time);
        if bytes >= MANY_BYTES {
            *at_a_time = (keys / 2).clamp(1, *at_a_time);
        } else if bytes < MANY_BYTES / 4 && keys >= *at_a_time {
            *at_a_time = (2 * *at_a_time).min(MOST_KEYS);
        }
    }
}

/// Asks for the names of a database, a little faster than they are needed.
async fn scan(
    raw: &mut Raw,
    names: Names,
    database: u32,
    walk: &Walk,
    guessed: &Guessed,
    parts: mpsc::Sender<Part>,
) -> Result<()> {
    loop {
        let Some(cursor) = lock(&walk.pages).next.clone() else { return Ok(()) };
        let (count, at_a_time) = match names {
            Names::OfReplica => (NAMES_OF_REPLICA, *lock(&guessed.at_a_time)),
            Names::OfMaster => (NAMES_OF_MASTER, NAMES_OF_MASTER),
        };
        let (next, scanned) = Scanned::ask(raw, &cursor, count).await?;
        let of_page = scanned.split(lock(&walk.pace).most(at_a_time));
        let page = lock(&walk.pages).begin(cursor, next, of_page.len());
        for scanned in of_page {
            if parts.send(Part { page, database, scanned }).await.is_err() {
                return Ok(()); // the lanes have ended, by an error of theirs
            }
        }
    }
}

/// Reads some keys at a time.
struct Lane<'a> {
    walk: &'a Walk,
    guessed: &'a Guessed,
    replica: Raw,
    wanted: Commands,
    /// How large replies were lately: these become as large.
    size: usize,
}

impl Lane<'_> {
    /// Reads part after part.
    async fn read_all(&mut self, names: Names, order: &Order, parts: &Turn<mpsc::Receiver<Part>>) -> Result<()> {
        loop {
            let Some(part) = parts.lock().await.recv().await else { return Ok(()) };
            let wait = lock(&self.walk.pace).turn(part.scanned.length());
            if !wait.is_zero() {
                self.replica.server().run.sleep(wait).await?;
            }
            let read = match names {
                Names::OfReplica => self.read(part, order.fields_expire).await?,
                Names::OfMaster => self.expiries(part).await?,
            };
            if order.reads.send(read).await.is_err() {
                return Ok(()); // whoever compares has ended
            }
        }
    }

    async fn expiries(&mut self, part: Part) -> Result<Read> {
        let expiry = self.walk.rules.expiry();
        part.scanned.names().iter().for_each(|name| self.wanted.add(&[expiry, name]));
        let here = self.replies().await?;
        Ok(Read { part, here, late: Replies::default(), kinds: Vec::new() })
    }

    /// With `fields_expire` hashes are left out.
    async fn read(&mut self, part: Part, fields_expire: bool) -> Result<Read> {
        let readable = |kind: &Kind| *kind != Kind::Other && !(fields_expire && *kind == Kind::Hash);
        let (guessed, expiry) = (self.guessed, self.walk.rules.expiry());
        let names = part.scanned.names();
        let guess = |name: &&[u8]| lock(&guessed.kinds).guess(name).filter(readable);
        let guesses: Vec<_> = names.iter().map(guess).collect();
        for (name, guess) in names.iter().zip(&guesses) {
            self.wanted.add(&[expiry, name]);
            match guess {
                Some(kind) => ask(&mut self.wanted, name, *kind),
                None => self.wanted.add(&[b"TYPE", name]),
            }
        }
        let here = self.replies().await?;
        let mut late = 0;
        let mut kinds = Vec::with_capacity(names.len());
        for (n, (name, guess)) in names.iter().zip(guesses).enumerate() {
            let gone = expires(here.of(2 * n)) == GONE;
            kinds.push(match guess {
                Some(kind) if gone => (kind, Content::None),
                Some(kind) if here.refusal(2 * n + 1).is_some() => {
                    lock(&guessed.kinds).doubt(name);
                    (kind, Content::None)
                }
                Some(kind) => (kind, Content::Here),
                None => match bulk(here.of(2 * n + 1)) {
                    None | Some(b"none") => (Kind::Other, Content::None),
                    Some(_) if gone => (Kind::Other, Content::None),
                    Some(word) => {
                        let kind = Kind::of(word);
                        lock(&guessed.kinds).learn(name, kind);
                        if readable(&kind) {
                            ask(&mut self.wanted, name, kind);
                            late += 1;
                            (kind, Content::Late(late - 1))
                        } else {
                            (kind, Content::None)
                        }
                    }
                },
            });
        }
        let late = self.replies().await?;
        guessed.adapt(names.len(), here.size() + late.size());
        Ok(Read { part, here, late, kinds })
    }

    async fn replies(&mut self) -> Result<Replies> {
        if self.wanted.is_empty() {
            return Ok(Replies::default());
        }
        let mut replies = Replies::with_room(self.size.saturating_add(self.size / 4).min(MANY_BYTES));
        self.replica.replies_to(&mut self.wanted, &mut replies).await?;
        refuse(&self.replica, &replies)?;
        self.size = replies.size();
        Ok(replies)
    }
}
