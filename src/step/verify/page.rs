//! The keys of one page of SCAN, read on both with as few commands as can be, and compared as the bytes that came.
//!
//! The replica is read first and tells types and sizes, so that the one that serves is asked for nothing large. What is
//! not plainly equal is a candidate, which the [typed reads](super::typed) look at again: this only has to be fast.

use tokio::sync::Mutex;

use crate::{
    error::Result,
    server::{
        Server,
        info::Version,
        raw::{Raw, Replies, array, bulk, number},
    },
};

use super::pieces::score_bits;

/// A string of so many bytes, or a key of more elements, is read in pieces, as a candidate.
const LARGE_STRING: usize = 16 << 10;
const LAST_OF_STRING: &[u8] = b"16383";
const MANY_ELEMENTS: usize = 512;

/// How far two remaining times to live may lie apart, in milliseconds: they are read one after the other.
const TTL_TOLERANCE_MS: u64 = 1000;

/// How HSCAN and SSCAN begin if they give everything at once.
const ALL_OF_IT: &[u8] = b"*2\r\n$1\r\n0\r\n";

/// A connection to each server, at work on one page at a time.
pub struct Lane<'a> {
    pub master: Raw,
    pub replica: Raw,
    /// Whether both can tell when a key expires, and not only in how long.
    absolute: bool,
    /// Who asks the master: one lane at a time, as others wait for it, too.
    turn: &'a Mutex<()>,
}

/// How a key is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    String,
    Hash,
    Set,
    Zset,
    List,
    /// By the typed reads only.
    Other,
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

impl<'a> Lane<'a> {
    pub async fn open(master: &Server, replica: &Server, turn: &'a Mutex<()>) -> Result<Self> {
        let both = |version| master.identity.has_redis(version) && replica.identity.has_redis(version);
        let absolute = both(Version(7, 0, 0));
        Ok(Lane { master: Raw::open(master).await?, replica: Raw::open(replica).await?, absolute, turn })
    }

    /// Selects a database on both.
    pub async fn select(&mut self, database: u32) -> Result<()> {
        self.master.select(database).await?;
        self.replica.select(database).await
    }

    /// The next page of names, and the cursor after it.
    pub async fn scan(raw: &mut Raw, cursor: &str, count: usize) -> Result<(String, Vec<Vec<u8>>)> {
        raw.ask(&[b"SCAN", cursor.as_bytes(), b"COUNT", count.to_string().as_bytes()]);
        let replies = raw.replies().await?;
        refuse(raw, &replies, 0, "SCAN")?;
        let page = array(replies.of(0));
        let names = page.get(1).map_or(Vec::new(), |names| array(names));
        let cursor = page.first().and_then(|cursor| bulk(cursor)).unwrap_or(b"0");
        let names = names.into_iter().filter_map(bulk).map(<[u8]>::to_vec).collect();
        Ok((String::from_utf8_lossy(cursor).into_owned(), names))
    }

    /// Those of these names that the replica lacks.
    pub async fn missing(&mut self, names: &[Vec<u8>]) -> Result<Page> {
        names.iter().for_each(|name| self.replica.ask(&[b"EXISTS", name]));
        let replies = self.replica.replies().await?;
        let mut candidates = Vec::new();
        for (n, name) in names.iter().enumerate() {
            refuse(&self.replica, &replies, n, "EXISTS")?;
            if number(replies.of(n)) == Some(0) {
                candidates.push(name.clone());
            }
        }
        Ok(Page { equal: 0, candidates })
    }

    /// Compares the keys of these names. With `fields_expire` hashes are left to the typed reads.
    pub async fn compare(&mut self, names: &[Vec<u8>], fields_expire: bool) -> Result<Page> {
        let heads = self.heads(names).await?;
        let mut kinds = Vec::with_capacity(names.len());
        for n in 0..names.len() {
            refuse(&self.replica, &heads, 2 * n, "TYPE")?;
            refuse(&self.replica, &heads, 2 * n + 1, self.expiry())?;
            kinds.push(match bulk(heads.of(2 * n)) {
                Some(b"string") => Kind::String,
                Some(b"hash") if !fields_expire => Kind::Hash,
                Some(b"set") => Kind::Set,
                Some(b"zset") => Kind::Zset,
                Some(b"list") => Kind::List,
                _ => Kind::Other,
            });
        }
        let here = self.replicas(names, &kinds).await?;
        let there = self.masters(names, &kinds, &here).await?;
        Ok(there.judge(names, &kinds, &heads, &here, self.absolute))
    }

    /// The type of each key on the replica, and when it expires.
    async fn heads(&mut self, names: &[Vec<u8>]) -> Result<Replies> {
        for name in names {
            self.replica.ask(&[b"TYPE", name]);
            self.replica.ask(&[self.expiry().as_bytes(), name]);
        }
        self.replica.replies().await
    }

    /// What the replica holds of them, but no more than is read at once.
    async fn replicas<'k>(&mut self, names: &[Vec<u8>], kinds: &'k [Kind]) -> Result<Contents<'k>> {
        let mut at = Vec::with_capacity(names.len());
        let mut asked = 0;
        for (name, kind) in names.iter().zip(kinds) {
            let reads = *kind != Kind::Other;
            at.push(reads.then_some(asked));
            if reads {
                ask(&mut self.replica, name, *kind, true);
                asked += 1;
            }
        }
        let replies = self.replica.replies().await?;
        refuse_any(&self.replica, &replies)?;
        Ok(Contents { kinds, replies, at })
    }

    /// Reads on the master what the replica has given in full.
    async fn masters(&mut self, names: &[Vec<u8>], kinds: &[Kind], here: &Contents<'_>) -> Result<Masters> {
        let strings: Vec<usize> =
            (0..names.len()).filter(|n| kinds[*n] == Kind::String && here.of(*n).is_some()).collect();
        if !strings.is_empty() {
            self.master.begin(1 + strings.len());
            self.master.word(b"MGET");
            strings.iter().for_each(|n| self.master.word(&names[*n]));
        }
        for (n, name) in names.iter().enumerate().filter(|(n, _)| here.of(*n).is_some()) {
            self.master.ask(&[self.expiry().as_bytes(), name]);
            if kinds[n] != Kind::String {
                ask(&mut self.master, name, kinds[n], false);
            }
        }
        let turn = self.turn.lock().await;
        let replies = self.master.replies().await?;
        drop(turn);
        refuse_any(&self.master, &replies)?;
        Ok(Masters { replies, has_strings: !strings.is_empty() })
    }

    fn expiry(&self) -> &'static str {
        if self.absolute { "PEXPIRETIME" } else { "PTTL" }
    }
}

fn refuse(raw: &Raw, replies: &Replies, n: usize, command: &str) -> Result<()> {
    match replies.refusal(n) {
        Some(said) => Err(raw.refused(command, &said)),
        None => Ok(()),
    }
}

/// The same for all replies; a key that has another type by now is no refusal.
fn refuse_any(raw: &Raw, replies: &Replies) -> Result<()> {
    match replies.refusals().find(|said| said.word != "WRONGTYPE") {
        Some(said) => Err(raw.refused("reads of keys", &said)),
        None => Ok(()),
    }
}

/// Adds the command that reads a key. `bounded` ones give no more than [`MANY_ELEMENTS`] or what is packed together.
fn ask(raw: &mut Raw, name: &[u8], kind: Kind, bounded: bool) {
    let most = MANY_ELEMENTS.to_string();
    let most = most.as_bytes();
    match kind {
        Kind::Hash if bounded => raw.ask(&[b"HSCAN", name, b"0", b"COUNT", most]),
        Kind::Hash => raw.ask(&[b"HGETALL", name]),
        Kind::Set if bounded => raw.ask(&[b"SSCAN", name, b"0", b"COUNT", most]),
        Kind::Set => raw.ask(&[b"SMEMBERS", name]),
        Kind::Zset => raw.ask(&[b"ZRANGE", name, b"0", most, b"WITHSCORES"]),
        Kind::List => raw.ask(&[b"LRANGE", name, b"0", most]),
        Kind::String => raw.ask(&[b"GETRANGE", name, b"0", LAST_OF_STRING]),
        Kind::Other => {}
    }
}

/// What the replica holds.
struct Contents<'a> {
    kinds: &'a [Kind],
    replies: Replies,
    /// Which reply is that of a key.
    at: Vec<Option<usize>>,
}

impl Contents<'_> {
    /// All that a key holds; none if it is more than fits in one reply.
    fn of(&self, n: usize) -> Option<&[u8]> {
        let reply = self.replies.of(self.at[n]?);
        match self.kinds[n] {
            Kind::String => Some(reply).filter(|reply| bulk(reply).is_some_and(|text| text.len() < LARGE_STRING)),
            Kind::Hash | Kind::Set => reply.strip_prefix(ALL_OF_IT).filter(|all| length(all) <= 2 * MANY_ELEMENTS),
            Kind::Zset | Kind::List => {
                Some(reply).filter(|reply| reply.starts_with(b"*") && length(reply) <= MANY_ELEMENTS)
            }
            Kind::Other => None,
        }
    }
}

/// What the master holds: all strings in the first reply, then each key's expiry and what else it holds.
struct Masters {
    replies: Replies,
    has_strings: bool,
}

impl Masters {
    fn judge(&self, names: &[Vec<u8>], kinds: &[Kind], heads: &Replies, here: &Contents<'_>, absolute: bool) -> Page {
        let strings = if self.has_strings { array(self.replies.of(0)) } else { Vec::new() };
        let mut strings = strings.into_iter();
        let mut next = usize::from(self.has_strings);
        let mut reply = || {
            next += 1;
            self.replies.of(next - 1)
        };
        let mut page = Page { equal: 0, candidates: Vec::new() };
        for (n, name) in names.iter().enumerate() {
            let Some(content) = here.of(n) else {
                page.candidates.push(name.clone());
                continue;
            };
            let expires = same_expiry(heads.of(2 * n + 1), reply(), absolute);
            let equal = match kinds[n] {
                Kind::String => Some(content) == strings.next(),
                kind => same(kind, content, reply()),
            };
            match equal && expires {
                true => page.equal += 1,
                false => page.candidates.push(name.clone()),
            }
        }
        page
    }
}

fn same_expiry(here: &[u8], there: &[u8], absolute: bool) -> bool {
    match (number(here), number(there)) {
        // Gone, and so no empty string.
        (Some(-2), _) | (_, Some(-2)) | (None, _) | (_, None) => false,
        (Some(here), Some(there)) if absolute => here == there,
        (Some(here), Some(there)) => (here < 0) == (there < 0) && here.abs_diff(there) <= TTL_TOLERANCE_MS,
    }
}

/// Whether two replies hold the same, in whatever order the type allows.
fn same(kind: Kind, here: &[u8], there: &[u8]) -> bool {
    if here == there {
        return true;
    }
    if kind == Kind::List || length(here) != length(there) {
        return false;
    }
    let width = if kind == Kind::Set { 1 } else { 2 };
    let elements = |reply| {
        let words: Vec<&[u8]> = array(reply).into_iter().filter_map(bulk).collect();
        let mut elements: Vec<(&[u8], u64, &[u8])> = words
            .chunks_exact(width)
            .map(|words| match (kind, words) {
                (Kind::Zset, [member, score]) => (*member, score_bits(score), &b""[..]),
                (_, [field, value]) => (*field, 0, *value),
                (_, words) => (words.first().copied().unwrap_or_default(), 0, &b""[..]),
            })
            .collect();
        elements.sort_unstable();
        elements
    };
    elements(here) == elements(there)
}

/// The elements of an array, by its head.
fn length(reply: &[u8]) -> usize {
    let head = reply.split(|byte| *byte == b'\r').next().unwrap_or_default();
    head.get(1..).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
}
