//! The keys of one page of SCAN, read on both with as few commands as can be, and compared as the bytes that came.
//!
//! The replica is read first and tells types and sizes, so that the one that serves is asked for nothing large. It is asked
//! when keys expire only where they do on the replica. What is not plainly equal is a candidate, which the
//! [typed reads](super::typed) look at again: this only has to be fast.

use std::sync::Mutex;

use tokio::sync::Mutex as Turn;

use crate::{
    error::Result,
    mutex::lock,
    rdb::Seed,
    server::{
        Server,
        raw::{Raw, Replies, bulk, elements, length, number},
    },
};

use super::{
    content::{expire_alike, tell_when},
    kinds::{Kind, Kinds},
    pieces::score_bits,
    whole_stream,
};

/// A string of so many bytes, or a key of more elements or bytes, is read in pieces, as a candidate.
const LARGE_STRING: usize = 16 << 10;
const LAST_OF_STRING: &[u8] = b"16383";
const MANY_ELEMENTS: usize = 512;
const MOST_ELEMENTS: &[u8] = b"512";
const LARGE_REPLY: usize = 64 << 10;

/// How many keys are read at a time, and for how many bytes. Fewer keys cost more round trips, more keep others waiting.
const FIRST_KEYS: usize = 25;
const MOST_KEYS: usize = 500;
const MANY_BYTES: usize = 512 << 10;

/// How HSCAN and SSCAN begin if they give everything at once.
const ALL_OF_IT: &[u8] = b"*2\r\n$1\r\n0\r\n";

/// What lanes share.
pub struct Shared {
    /// The one connection to the server that serves: lanes take turns, as others wait for it, too.
    pub master: Turn<Raw>,
    kinds: Mutex<Kinds>,
    /// Whether both are of 7.0 or newer: these tell when a key expires, and not only in how long, and a replica knows all consumers.
    seven: bool,
    seed: Seed,
}

impl Shared {
    pub async fn open(master: &Server, replica: &Server) -> Result<Self> {
        let seed = Seed::random();
        Ok(Shared {
            master: Turn::new(Raw::open(master).await?),
            kinds: Mutex::new(Kinds::new(seed)),
            seven: tell_when(master, replica),
            seed,
        })
    }

    fn expiry(&self) -> &'static [u8] {
        if self.seven { b"PEXPIRETIME" } else { b"PTTL" }
    }

    fn same_expiry(&self, here: i64, there: i64) -> bool {
        here != GONE && there != GONE && expire_alike(here, there, self.seven)
    }

    fn same_stream(&self, here: &[u8], there: &[u8]) -> bool {
        let digest = |reply| whole_stream::digest(reply, self.seven, self.seed);
        digest(here).is_some_and(|here| digest(there) == Some(here))
    }
}

/// Reads one page at a time.
pub struct Lane<'a> {
    shared: &'a Shared,
    replica: Raw,
    /// How many keys are read at a time.
    at_a_time: usize,
    /// What the replica said, and what the master said.
    here: Replies,
    there: Replies,
}

/// Keys by what came of them.
#[derive(Default)]
pub struct Page {
    /// How many are equal.
    pub equal: u64,
    /// Those to be looked at again.
    pub candidates: Vec<Vec<u8>>,
}

impl Page {
    pub fn add(&mut self, more: Page) {
        self.equal += more.equal;
        self.candidates.extend(more.candidates);
    }
}

/// A page of SCAN.
pub struct Scanned(Replies);

impl Scanned {
    /// Asks for it.
    pub async fn ask(raw: &mut Raw, cursor: &str, count: usize) -> Result<Scanned> {
        raw.ask(&[b"SCAN", cursor.as_bytes(), b"COUNT", count.to_string().as_bytes()]);
        let replies = raw.replies().await?;
        if let Some(said) = replies.refusal(0) {
            return Err(raw.refused("SCAN", &said));
        }
        match elements(replies.of(0)).count() {
            2 => Ok(Scanned(replies)),
            _ => Err(raw.odd()),
        }
    }

    /// The cursor of the next page; none if this is the last one.
    pub fn cursor(&self) -> Option<String> {
        let cursor = elements(self.0.of(0)).next().and_then(bulk).filter(|cursor| *cursor != b"0");
        cursor.map(|cursor| String::from_utf8_lossy(cursor).into_owned())
    }

    pub fn names(&self) -> Vec<&[u8]> {
        elements(self.0.of(0)).nth(1).map_or(Vec::new(), |names| elements(names).filter_map(bulk).collect())
    }
}

impl<'a> Lane<'a> {
    pub async fn open(shared: &'a Shared, replica: &Server) -> Result<Self> {
        let (here, there) = Default::default();
        Ok(Lane { shared, replica: Raw::open(replica).await?, at_a_time: FIRST_KEYS, here, there })
    }

    /// Selects a database on the replica.
    pub async fn select(&mut self, database: u32) -> Result<()> {
        self.at_a_time = FIRST_KEYS; // this one's keys may be large
        self.replica.select(database).await
    }

    /// The next of these names, as many as are read at a time, and those that are left.
    pub fn next<'n, 'k>(&self, names: &'n [&'k [u8]]) -> (&'n [&'k [u8]], &'n [&'k [u8]]) {
        names.split_at(self.at_a_time.min(names.len()))
    }

    /// Those of these names of the master that the replica lacks, or that expire at another time there.
    pub async fn missing(&mut self, names: &[&[u8]]) -> Result<Page> {
        let shared = self.shared;
        names.iter().for_each(|name| self.replica.ask(&[shared.expiry(), name]));
        self.replica.replies_into(&mut self.here).await?;
        refuse(&self.replica, &self.here)?;
        {
            let mut master = shared.master.lock().await;
            names.iter().for_each(|name| master.ask(&[shared.expiry(), name]));
            master.replies_into(&mut self.there).await?;
            refuse(&master, &self.there)?;
        }
        let differs = |n: &usize| !shared.same_expiry(expires(self.here.of(*n)), expires(self.there.of(*n)));
        let candidates = (0..names.len()).filter(differs).map(|n| names[n].to_vec()).collect();
        Ok(Page { equal: 0, candidates })
    }

    /// Compares the keys of these names. With `fields_expire` hashes are left to the typed reads.
    pub async fn compare(&mut self, names: &[&[u8]], fields_expire: bool) -> Result<Page> {
        let shared = self.shared;
        let readable = |kind: &Kind| *kind != Kind::Other && !(fields_expire && *kind == Kind::Hash);
        let guess = |name: &&[u8]| lock(&shared.kinds).guess(name).filter(readable);
        let guesses: Vec<_> = names.iter().map(guess).collect();
        for (name, guess) in names.iter().zip(&guesses) {
            self.replica.ask(&[shared.expiry(), name]);
            match guess {
                Some(kind) => ask(&mut self.replica, name, *kind, true),
                None => self.replica.ask(&[b"TYPE", name]),
            }
        }
        self.replica.replies_into(&mut self.here).await?;
        refuse(&self.replica, &self.here)?;
        let mut keys = Vec::with_capacity(names.len());
        for (n, (name, guess)) in names.iter().zip(&guesses).enumerate() {
            let (expires, said) = (expires(self.here.of(2 * n)), self.here.of(2 * n + 1));
            let kind = guess.unwrap_or_else(|| Kind::of(bulk(said).unwrap_or_default()));
            let mut key = Key { name, kind, expires, holds: None };
            match guess {
                None => lock(&shared.kinds).learn(name, kind),
                Some(_) if self.here.refusal(2 * n + 1).is_some() => lock(&shared.kinds).doubt(name),
                Some(_) => key.take(said),
            }
            keys.push(key);
        }

        // Those whose type had to be asked.
        let mut late = Replies::default();
        let is_late = |n: &usize| guesses[*n].is_none() && readable(&keys[*n].kind);
        let open: Vec<usize> = (0..keys.len()).filter(is_late).collect();
        if !open.is_empty() {
            open.iter().for_each(|n| ask(&mut self.replica, keys[*n].name, keys[*n].kind, true));
            self.replica.replies_into(&mut late).await?;
            refuse(&self.replica, &late)?;
            open.iter().enumerate().for_each(|(n, open)| keys[*open].take(late.of(n)));
        }
        self.at_a_time = match self.here.size() + late.size() {
            MANY_BYTES.. => (names.len() / 2).max(1),
            size if size < MANY_BYTES / 4 => (2 * self.at_a_time).min(MOST_KEYS),
            _ => self.at_a_time,
        };

        {
            let mut master = shared.master.lock().await;
            ask_the_same(&mut master, &keys, shared.expiry());
            master.replies_into(&mut self.there).await?;
            refuse(&master, &self.there)?;
        }
        Ok(self.judge(&keys))
    }

    fn judge(&self, keys: &[Key<'_>]) -> Page {
        let mut replies = (0..).map(|n| self.there.of(n));
        let has_strings = strings(keys).next().is_some();
        let mut strings = elements(if has_strings { replies.next().unwrap_or_default() } else { b"" });
        let mut reply = || replies.next().unwrap_or_default();
        let mut page = Page::default();
        for key in keys {
            let equal = key.holds.is_some_and(|holds| {
                let expires = key.expires < 0 || self.shared.same_expiry(key.expires, expires(reply()));
                let content = match key.kind {
                    Kind::String => Some(holds) == strings.next(),
                    Kind::Stream => self.shared.same_stream(holds, reply()),
                    kind => same(kind, holds, reply(), self.shared.seed),
                };
                expires && content
            });
            match equal {
                true => page.equal += 1,
                false => page.candidates.push(key.name.to_vec()),
            }
        }
        page
    }
}

/// A key of the replica.
struct Key<'a> {
    name: &'a [u8],
    kind: Kind,
    /// When or in how long, in milliseconds; -1 for never, [`GONE`] if there is no such key.
    expires: i64,
    /// The reply with all that it holds; none if that is more than fits in one.
    holds: Option<&'a [u8]>,
}

impl<'a> Key<'a> {
    /// Takes the reply to a bounded read.
    fn take(&mut self, reply: &'a [u8]) {
        // A key that is gone is no empty string.
        self.holds = all_of_it(self.kind, reply).filter(|_| self.expires != GONE);
    }
}

/// Adds the commands for what the replica has given in full: all strings by one, then each key's expiry and what else it holds.
fn ask_the_same(master: &mut Raw, keys: &[Key<'_>], expiry: &[u8]) {
    match strings(keys).count() {
        0 => {}
        many => {
            master.begin(1 + many);
            master.word(b"MGET");
            strings(keys).for_each(|key| master.word(key.name));
        }
    }
    for key in keys.iter().filter(|key| key.holds.is_some()) {
        if key.expires >= 0 {
            master.ask(&[expiry, key.name]);
        }
        if key.kind != Kind::String {
            ask(master, key.name, key.kind, false);
        }
    }
}

fn strings<'k>(keys: &'k [Key<'_>]) -> impl Iterator<Item = &'k Key<'k>> {
    keys.iter().filter(|key| key.kind == Kind::String && key.holds.is_some())
}

/// What servers say of the expiry of a key that is none.
const GONE: i64 = -2;

fn expires(reply: &[u8]) -> i64 {
    number(reply).unwrap_or(GONE)
}

/// Fails where a server has refused to read; a key that has another type by now is no refusal.
fn refuse(raw: &Raw, replies: &Replies) -> Result<()> {
    match replies.refusals().find(|said| said.word != "WRONGTYPE") {
        Some(said) if said.word == "NOPERM" => {
            Err(raw.refused("reads of keys", &said).remedy("allow it +@read on all keys (~*)"))
        }
        Some(said) => Err(raw.refused("reads of keys", &said)),
        None => Ok(()),
    }
}

/// Adds the command that reads a key. `bounded` ones give no more than [`MANY_ELEMENTS`] or what is packed together.
fn ask(raw: &mut Raw, name: &[u8], kind: Kind, bounded: bool) {
    match kind {
        Kind::Hash if bounded => raw.ask(&[b"HSCAN", name, b"0", b"COUNT", MOST_ELEMENTS]),
        Kind::Hash => raw.ask(&[b"HGETALL", name]),
        Kind::Set if bounded => raw.ask(&[b"SSCAN", name, b"0", b"COUNT", MOST_ELEMENTS]),
        Kind::Set => raw.ask(&[b"SMEMBERS", name]),
        Kind::Zset => raw.ask(&[b"ZRANGE", name, b"0", MOST_ELEMENTS, b"WITHSCORES"]),
        Kind::List => raw.ask(&[b"LRANGE", name, b"0", MOST_ELEMENTS]),
        Kind::Stream => raw.ask(&[b"XINFO", b"STREAM", name, b"FULL", b"COUNT", MOST_ELEMENTS]),
        Kind::String => raw.ask(&[b"GETRANGE", name, b"0", LAST_OF_STRING]),
        Kind::Other => {}
    }
}

/// The reply to a bounded read, if it has all that the key holds.
fn all_of_it(kind: Kind, reply: &[u8]) -> Option<&[u8]> {
    let (all, elements) = match kind {
        Kind::String => return Some(reply).filter(|reply| bulk(reply).is_some_and(|text| text.len() < LARGE_STRING)),
        Kind::Hash => reply.strip_prefix(ALL_OF_IT).map(|all| (all, length(all) / 2))?,
        Kind::Set => reply.strip_prefix(ALL_OF_IT).map(|all| (all, length(all)))?,
        Kind::Zset => (reply, length(reply) / 2),
        Kind::List => (reply, length(reply)),
        // Whether it has all of it, its digest tells.
        Kind::Stream => (reply, 0),
        Kind::Other => return None,
    };
    (all.starts_with(b"*") && all.len() <= LARGE_REPLY && elements <= MANY_ELEMENTS).then_some(all)
}

/// Whether two replies hold the same, in whatever order the type allows.
fn same(kind: Kind, here: &[u8], there: &[u8], seed: Seed) -> bool {
    here == there
        || kind != Kind::List
            && length(here) == length(there)
            && in_any_order(kind, here, seed) == in_any_order(kind, there, seed)
}

/// A digest of a reply's elements in which their order does not count.
fn in_any_order(kind: Kind, reply: &[u8], seed: Seed) -> u64 {
    let mut words = elements(reply).filter_map(bulk);
    let mut sum = 0_u64;
    while let Some(word) = words.next() {
        let element = seed.text(word);
        sum = sum.wrapping_add(match kind {
            Kind::Set => element,
            Kind::Zset => seed.mix([element, score_bits(words.next().unwrap_or_default())]),
            _ => seed.mix([element, seed.text(words.next().unwrap_or_default())]),
        });
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(words: &[&str]) -> Vec<u8> {
        let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        format!("*{}\r\n{}", words.len(), words.collect::<String>()).into_bytes()
    }

    #[test]
    fn order_counts_in_lists_only() {
        let same = |kind, here: &[&str], there: &[&str]| same(kind, &reply(here), &reply(there), Seed::random());
        for kind in [Kind::Set, Kind::Hash, Kind::Zset] {
            assert!(same(kind, &["a", "1", "b", "2"], &["b", "2", "a", "1"]), "{kind:?}");
            assert!(!same(kind, &["a", "1", "b", "2"], &["b", "2", "a", "3"]), "{kind:?}");
            assert!(!same(kind, &["a", "1"], &["a", "1", "b", "2"]), "{kind:?}");
        }
        assert!(!same(Kind::List, &["a", "b"], &["b", "a"]));
        // What belongs to whom counts, and a score is a number.
        assert!(!same(Kind::Hash, &["a", "1", "b", "2"], &["a", "2", "b", "1"]));
        assert!(same(Kind::Zset, &["a", "73135.582999999999"], &["a", "73135.583"]));
    }
}
