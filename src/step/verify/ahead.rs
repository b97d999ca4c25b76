//! The replica's side of reads: names, and what their keys hold there, ahead of the comparison with the master.
//!
//! On a thread of its own, so that both servers have always something to do. (A server wakes whoever waits for it on its own
//! processor. One thread that waited for both was left waiting behind the one of them while the other was idle, for a tenth of the
//! time.)

use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use futures_util::future::try_join_all;
use tokio::sync::{Mutex as Turn, mpsc, oneshot};

use super::{
    bookmark::Names,
    kinds::{Kind, Kinds},
    one_reply::{GONE, Rules, ask, expires, refuse},
    pace::Pace,
    pages::{Pages, Part},
    scanned::Scanned,
};
use crate::{
    beside::Beside,
    error::{Code, Error, Result},
    mutex::lock,
    server::{
        Server,
        raw::{Commands, Raw, Replies, bulk},
    },
};

/// Connections to the replica: while one waits, others have asked it already.
const LANES: usize = 8;

/// Names in a page of SCAN: many on the replica, where nobody waits, fewer on the one that serves.
const NAMES_OF_REPLICA: usize = 1000;
const NAMES_OF_MASTER: usize = 200;

/// How many parts of pages may wait for a lane.
const PARTS_WAITING: usize = LANES;

/// How many keys are read at a time, and for how many bytes. Fewer keys cost more round trips, more keep others waiting.
const FIRST_KEYS: usize = 25;
const MOST_KEYS: usize = 500;
pub const MANY_BYTES: usize = 512 << 10;

/// What the two threads share.
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
    /// Where what the replica tells goes to. Closed at the end, and where the thread fails: then pages are left.
    pub told: mpsc::Sender<Told>,
}

/// What the replica has told of some keys.
pub struct Told {
    pub part: Part,
    /// What it said at first, and of keys whose type had to be asked.
    first: Replies,
    late: Replies,
    /// Of each key; of names of the master nothing.
    known: Vec<Known>,
}

/// What is known of a key.
struct Known {
    kind: Kind,
    content: Place,
}

/// Where the content of a key is.
enum Place {
    /// It came at first.
    First,
    /// So many came before it later.
    Late(usize),
    /// It was not read.
    Nowhere,
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

impl Told {
    /// Each key, for names of the replica.
    pub fn keys(&self, rules: &Rules) -> Vec<Key<'_>> {
        let names = self.part.scanned.names();
        let mut keys = Vec::with_capacity(names.len());
        for (n, (name, known)) in names.into_iter().zip(&self.known).enumerate() {
            let content = match known.content {
                Place::First => Some(self.first.of(2 * n + 1)),
                Place::Late(before) => Some(self.late.of(before)),
                Place::Nowhere => None,
            };
            let holds = content.and_then(|content| rules.whole(known.kind, content));
            keys.push(Key { name, kind: known.kind, expires: expires(self.first.of(2 * n)), holds });
        }
        keys
    }

    /// When each key expires there, for names of the master.
    pub fn expiries(&self) -> impl Iterator<Item = (&[u8], i64)> {
        self.part.scanned.names().into_iter().enumerate().map(|(n, name)| (name, expires(self.first.of(n))))
    }
}

/// The thread. If this is dropped it ends at once, and nobody waits for that.
pub struct Ahead {
    orders: mpsc::Sender<Order>,
    beside: Beside<Result<()>>,
    replica: Server,
}

impl Ahead {
    /// Starts it. It goes through names of that server.
    pub fn start(names: Names, whose: &Server, replica: &Server, walk: Arc<Walk>) -> Result<Self> {
        let (orders, ordered) = mpsc::channel(1);
        let (whose, of) = (whose.clone(), replica.clone());
        let work = move |stopped| async move {
            tokio::select! {
                done = go_through(names, &whose, &of, &walk, ordered) => done,
                () = at_once(stopped) => Ok(()),
            }
        };
        let beside = Beside::start(work).map_err(|error| {
            Error::new(Code::ConnectionLost, format!("no thread could be started to read it: {error}")).at(replica)
        })?;
        Ok(Ahead { orders, beside, replica: replica.clone() })
    }

    /// Orders what is read next. Fails if the thread has ended: [`Ahead::end`] says why.
    pub async fn order(&self, order: Order) -> Result<()> {
        let sent = self.orders.send(order).await;
        // It may have been closed meanwhile, and the order be held for as long as this sender is.
        if sent.is_ok() && !self.orders.is_closed() { Ok(()) } else { Err(self.broken()) }
    }

    /// Ends it: when all orders are done, or at once.
    pub async fn end(self, at_leisure: bool) -> Result<()> {
        let broken = self.broken();
        drop(self.orders);
        self.beside.end(at_leisure).await.unwrap_or(Err(broken))
    }

    /// That it ended, if it does not say why itself.
    pub fn broken(&self) -> Error {
        Error::new(Code::ConnectionLost, "the thread that reads it broke").at(&self.replica)
    }
}

/// Comes if it is to end at once.
async fn at_once(stopped: oneshot::Receiver<bool>) {
    let at_leisure = stopped.await.unwrap_or(false);
    if at_leisure {
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
        let (sender, receiver) = mpsc::channel(PARTS_WAITING);
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
                return Ok(()); // nobody reads any more
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
    /// How large the last replies were at first: the next ones become about as large.
    size: usize,
}

impl Lane<'_> {
    /// Reads part after part.
    async fn read_all(&mut self, names: Names, order: &Order, parts: &Turn<mpsc::Receiver<Part>>) -> Result<()> {
        loop {
            // Nothing is read that would grow old before it is compared, and be written to meanwhile.
            let Ok(room) = order.told.reserve().await else { return Ok(()) };
            let Some(part) = parts.lock().await.recv().await else { return Ok(()) };
            let wait = lock(&self.walk.pace).turn(part.scanned.length());
            if !wait.is_zero() {
                self.replica.server().run.sleep(wait).await?;
            }
            room.send(match names {
                Names::OfReplica => self.read(part, order.fields_expire).await?,
                Names::OfMaster => self.expiries(part).await?,
            });
        }
    }

    async fn expiries(&mut self, part: Part) -> Result<Told> {
        let expiry = self.walk.rules.expiry();
        part.scanned.names().iter().for_each(|name| self.wanted.add(&[expiry, name]));
        let first = self.replies(Replies::default()).await?;
        Ok(Told { part, first, late: Replies::default(), known: Vec::new() })
    }

    /// With `fields_expire` hashes are left out.
    async fn read(&mut self, part: Part, fields_expire: bool) -> Result<Told> {
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
        let first = self.replies(Replies::with_room(self.size + self.size / 4)).await?;
        self.size = first.size();
        let mut late = 0;
        let mut known = Vec::with_capacity(names.len());
        for (n, (name, guess)) in names.iter().zip(guesses).enumerate() {
            let is_there = expires(first.of(2 * n)) != GONE;
            let kind = guess.unwrap_or_else(|| Kind::of(bulk(first.of(2 * n + 1)).unwrap_or_default()));
            let content = match guess {
                Some(_) if is_there && first.refusal(2 * n + 1).is_some() => {
                    lock(&guessed.kinds).doubt(name);
                    Place::Nowhere
                }
                Some(_) if is_there => Place::First,
                None if is_there && bulk(first.of(2 * n + 1)) != Some(b"none") => {
                    lock(&guessed.kinds).learn(name, kind);
                    match readable(&kind) {
                        true => {
                            ask(&mut self.wanted, name, kind);
                            late += 1;
                            Place::Late(late - 1)
                        }
                        false => Place::Nowhere,
                    }
                }
                _ => Place::Nowhere,
            };
            known.push(Known { kind, content });
        }
        let late = self.replies(Replies::default()).await?;
        guessed.adapt(names.len(), first.size() + late.size());
        Ok(Told { part, first, late, known })
    }

    /// Asks for what is wanted.
    async fn replies(&mut self, mut replies: Replies) -> Result<Replies> {
        self.replica.replies_to(&mut self.wanted, &mut replies).await?;
        refuse(&self.replica, &replies)?;
        Ok(replies)
    }
}
