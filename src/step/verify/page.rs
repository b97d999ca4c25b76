//! Some keys, read on both with as few commands as can be, and compared as the bytes that came.
//!
//! The replica is read first. The one that serves is asked the same of what the replica has given in full, and when keys
//! expire only where they do on the replica. No command gives more than so many elements, on either: a replica that is
//! wrong may hold one field where the other holds a million. What is not plainly equal is a candidate, which the
//! [typed reads](super::typed) look at again: this only has to be fast.

use std::sync::Mutex;

use tokio::sync::Mutex as Turn;

use crate::{
    error::Result,
    mutex::lock,
    rdb::Seed,
    server::{
        Server,
        raw::{Raw, Replies, bulk},
    },
};

use super::{
    content::changed,
    kinds::{Kind, Kinds},
    one_reply::{GONE, Rules, ask, expires},
};

/// How many keys are read at a time, and for how many bytes. Fewer keys cost more round trips, more keep others waiting.
const FIRST_KEYS: usize = 25;
const MOST_KEYS: usize = 500;
const MANY_BYTES: usize = 512 << 10;

/// What lanes share.
pub struct Shared {
    /// The one connection to the server that serves: lanes take turns, as others wait for it, too.
    pub master: Turn<Raw>,
    kinds: Mutex<Kinds>,
    /// How many keys are read at a time, by their size.
    at_a_time: Mutex<usize>,
    rules: Rules,
}

impl Shared {
    pub async fn open(master: &Server, replica: &Server) -> Result<Self> {
        let seed = Seed::random();
        Ok(Shared {
            master: Turn::new(Raw::open(master).await?),
            kinds: Mutex::new(Kinds::new(seed)),
            at_a_time: Mutex::new(FIRST_KEYS),
            rules: Rules::of(master, replica, seed),
        })
    }

    /// Another database, whose keys may be large.
    pub async fn select(&self, database: u32) -> Result<()> {
        *lock(&self.at_a_time) = FIRST_KEYS;
        self.master.lock().await.select(database).await
    }

    /// How many keys are to be read at a time.
    pub fn at_a_time(&self) -> usize {
        *lock(&self.at_a_time)
    }

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

/// Keys by what came of them.
#[derive(Default)]
pub struct Page {
    /// How many were to be compared, and how many of them expire on the replica.
    pub given: u64,
    pub expiring: u64,
    /// How many are equal.
    pub equal: u64,
    /// Those to be looked at again.
    pub candidates: Vec<Vec<u8>>,
    /// The same of keys that both have, so that they were counted before.
    pub again: Vec<Vec<u8>>,
}

impl Page {
    pub fn add(&mut self, more: Page) {
        self.given += more.given;
        self.expiring += more.expiring;
        self.equal += more.equal;
        self.candidates.extend(more.candidates);
        self.again.extend(more.again);
    }
}

/// Reads some keys at a time.
pub struct Lane<'a> {
    shared: &'a Shared,
    replica: Raw,
    /// What the replica said, at first and of keys whose type had to be asked, and what the master said.
    here: Replies,
    late: Replies,
    there: Replies,
}

impl<'a> Lane<'a> {
    pub async fn open(shared: &'a Shared, replica: &Server) -> Result<Self> {
        let (here, late, there) = Default::default();
        Ok(Lane { shared, replica: Raw::open(replica).await?, here, late, there })
    }

    /// Selects a database on the replica.
    pub async fn select(&mut self, database: u32) -> Result<()> {
        self.replica.select(database).await
    }

    /// Those of these names of the master that the replica lacks, or that expire on the master alone. All others were compared.
    pub async fn missing(&mut self, names: &[&[u8]]) -> Result<Page> {
        let shared = self.shared;
        names.iter().for_each(|name| self.replica.ask(&[shared.rules.expiry(), name]));
        self.replica.replies_into(&mut self.here).await?;
        refuse(&self.replica, &self.here)?;
        {
            let mut master = shared.master.lock().await;
            names.iter().for_each(|name| master.ask(&[shared.rules.expiry(), name]));
            master.replies_into(&mut self.there).await?;
            refuse(&master, &self.there)?;
        }
        let mut page = Page::default();
        for (n, name) in names.iter().enumerate() {
            let (here, there) = (expires(self.here.of(n)), expires(self.there.of(n)));
            if here == GONE && there != GONE {
                page.candidates.push(name.to_vec());
            } else if here == -1 && there >= 0 {
                page.again.push(name.to_vec());
            }
        }
        Ok(page)
    }

    /// Compares the keys of these names. With `fields_expire` hashes are left to the typed reads.
    pub async fn compare(&mut self, names: &[&[u8]], fields_expire: bool) -> Result<Page> {
        let Lane { shared, replica, here, late, there } = self;
        let keys = of_replica(shared, replica, [here, late], names, fields_expire).await?;
        let expiring = keys.iter().filter(|key| key.expires >= 0).count() as u64;
        let mut page = Page { given: names.len() as u64, expiring, ..Page::default() };
        let mut rest = &*keys;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(worth(rest, MANY_BYTES));
            {
                let mut master = shared.master.lock().await;
                now.iter().for_each(|key| key.ask(&mut master, shared.rules.expiry()));
                master.replies_into(there).await?;
                refuse(&master, there)?;
            }
            judge(&shared.rules, now, there, &mut page);
            rest = later;
        }
        Ok(page)
    }
}

/// The keys of these names, as the replica has them.
async fn of_replica<'r>(
    shared: &Shared,
    replica: &mut Raw,
    [here, late]: [&'r mut Replies; 2],
    names: &'r [&[u8]],
    fields_expire: bool,
) -> Result<Vec<Key<'r>>> {
    let readable = |kind: &Kind| *kind != Kind::Other && !(fields_expire && *kind == Kind::Hash);
    let guess = |name: &&[u8]| lock(&shared.kinds).guess(name).filter(readable);
    let guesses: Vec<_> = names.iter().map(guess).collect();
    for (name, guess) in names.iter().zip(&guesses) {
        replica.ask(&[shared.rules.expiry(), name]);
        match guess {
            Some(kind) => ask(replica, name, *kind),
            None => replica.ask(&[b"TYPE", name]),
        }
    }
    replica.replies_into(here).await?;
    refuse(replica, here)?;
    let mut keys = Vec::with_capacity(names.len());
    let mut untold = Vec::new();
    for (n, (name, guess)) in names.iter().zip(guesses).enumerate() {
        let (expires, said) = (expires(here.of(2 * n)), here.of(2 * n + 1));
        let kind = guess.unwrap_or_else(|| Kind::of(bulk(said).unwrap_or_default()));
        let mut key = Key { name, kind, expires, holds: None };
        match guess {
            _ if expires == GONE || bulk(said) == Some(b"none") && guess.is_none() => {}
            Some(_) if here.refusal(2 * n + 1).is_some() => lock(&shared.kinds).doubt(name),
            Some(_) => key.holds = shared.rules.whole(kind, said),
            None => {
                lock(&shared.kinds).learn(name, kind);
                untold.extend(Some(n).filter(|_| readable(&kind)));
            }
        }
        keys.push(key);
    }
    for n in &untold {
        ask(replica, keys[*n].name, keys[*n].kind);
    }
    replica.replies_into(late).await?;
    refuse(replica, late)?;
    for (reply, n) in untold.into_iter().enumerate() {
        keys[n].holds = shared.rules.whole(keys[n].kind, late.of(reply));
    }
    shared.adapt(names.len(), here.size() + late.size());
    Ok(keys)
}

fn judge(rules: &Rules, keys: &[Key<'_>], there: &Replies, page: &mut Page) {
    let mut replies = (0..).map(|n| there.of(n));
    let mut reply = || replies.next().unwrap_or_default();
    for key in keys {
        let equal = key.holds.is_some_and(|holds| {
            let expires = key.expires < 0 || rules.same_expiry(key.expires, expires(reply()));
            let content = rules.same(key.kind, holds, reply());
            expires && content
        });
        match equal {
            true => page.equal += 1,
            false => page.candidates.push(key.name.to_vec()),
        }
    }
}

/// A key of the replica.
struct Key<'a> {
    name: &'a [u8],
    kind: Kind,
    /// When or in how long, in milliseconds; -1 for never, [`GONE`] if there is no such key.
    expires: i64,
    /// All that it holds; none if that is more than fits in one reply, or nothing.
    holds: Option<&'a [u8]>,
}

impl Key<'_> {
    /// Adds the commands for what the replica has told of it in full.
    fn ask(&self, master: &mut Raw, expiry: &[u8]) {
        if self.holds.is_some() {
            if self.expires >= 0 {
                master.ask(&[expiry, self.name]);
            }
            ask(master, self.name, self.kind);
        }
    }
}

/// How many of these keys, at least one, hold no more bytes than that together.
fn worth(keys: &[Key<'_>], bytes: usize) -> usize {
    let sizes = keys.iter().map(|key| key.holds.map_or(0, <[u8]>::len));
    let sums = sizes.scan(0, |sum, size| {
        *sum += size;
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= bytes).count().max(1)
}

/// Fails where a server has refused to read; that a key is gone or has another type by now is no refusal.
fn refuse(raw: &Raw, replies: &Replies) -> Result<()> {
    match replies.refusals().find(|said| !changed(said)) {
        Some(said) if said.word == "NOPERM" => {
            Err(raw.refused("reads of keys", &said).remedy("allow it +@read on all keys (~*)"))
        }
        Some(said) => Err(raw.refused("reads of keys", &said)),
        None => Ok(()),
    }
}
