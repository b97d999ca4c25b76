//! A key in one reply: by which command, whether the reply has all that the key holds, and whether two do so alike.

use super::{
    content::{changed, expire_alike, tell_when},
    kinds::Kind,
    pieces::score_bits,
    whole_stream,
};
use crate::{
    error::Result,
    rdb::Seed,
    server::{
        Server,
        raw::{Commands, Raw, Replies, bulk, elements, length, number},
    },
};

/// A string of so many bytes, or a key of more elements or bytes, is read in pieces, as a candidate.
const LARGE_STRING: usize = 16 << 10;
const LAST_OF_STRING: &[u8] = b"16383";
const MANY_ELEMENTS: usize = 512;
const MOST_ELEMENTS: &[u8] = b"512";
const LARGE_REPLY: usize = 64 << 10;

/// How HSCAN, SSCAN, and ZSCAN begin if they give everything at once.
const ALL_OF_IT: &[u8] = b"*2\r\n$1\r\n0\r\n";

/// What servers say of the expiry of a key that is none.
pub const GONE: i64 = -2;

/// What two servers have in common.
pub struct Rules {
    /// Whether both are of 7.0 or newer: these tell when a key expires, and not only in how long, and a replica knows all consumers.
    seven: bool,
    seed: Seed,
}

impl Rules {
    pub fn of(one: &Server, other: &Server) -> Self {
        Rules { seven: tell_when(one, other), seed: Seed::random() }
    }

    /// What digests begin with, so that nobody can make two of them alike.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The command that tells when a key expires.
    pub fn expiry(&self) -> &'static [u8] {
        if self.seven { b"PEXPIRETIME" } else { b"PTTL" }
    }

    /// Whether a key that both have expires alike.
    pub fn same_expiry(&self, here: i64, there: i64) -> bool {
        here != GONE && there != GONE && expire_alike(here, there, self.seven)
    }

    /// What a bounded read has given, if that is all that the key holds, and not nothing.
    pub fn whole<'r>(&self, kind: Kind, reply: &'r [u8]) -> Option<&'r [u8]> {
        let (all, elements) = match kind {
            // What is empty may be none.
            Kind::String => {
                let fits = |text: &[u8]| (1..LARGE_STRING).contains(&text.len());
                return Some(reply).filter(|reply| bulk(reply).is_some_and(fits));
            }
            Kind::Hash | Kind::Zset => reply.strip_prefix(ALL_OF_IT).map(|all| (all, length(all) / 2))?,
            Kind::Set => reply.strip_prefix(ALL_OF_IT).map(|all| (all, length(all)))?,
            Kind::List => (reply, length(reply)),
            Kind::Stream => (reply, self.stream(reply).map(|_| 1)?),
            Kind::Other => return None,
        };
        (all.len() <= LARGE_REPLY && (1..=MANY_ELEMENTS).contains(&elements)).then_some(all)
    }

    /// Whether two replies hold the same, in whatever order the type allows. The first has everything.
    pub fn same(&self, kind: Kind, here: &[u8], there: &[u8]) -> bool {
        match kind {
            Kind::Stream => self.stream(there).is_some_and(|there| self.stream(here) == Some(there)),
            Kind::Hash | Kind::Set | Kind::Zset => self.whole(kind, there).is_some_and(|there| {
                here == there
                    || length(here) == length(there)
                        && in_any_order(kind, here, self.seed) == in_any_order(kind, there, self.seed)
            }),
            Kind::String | Kind::List | Kind::Other => here == there,
        }
    }

    fn stream(&self, reply: &[u8]) -> Option<u64> {
        whole_stream::digest(reply, self.seven, self.seed)
    }
}

/// Fails where a server has refused to read; that a key is gone or has another type by now is no refusal.
pub fn refuse(raw: &Raw, replies: &Replies) -> Result<()> {
    match replies.refusals().find(|said| !changed(said)) {
        Some(said) if said.word == "NOPERM" => {
            Err(raw.refused("reads of keys", &said).remedy("allow it +@read on all keys (~*)"))
        }
        Some(said) => Err(raw.refused("reads of keys", &said)),
        None => Ok(()),
    }
}

/// When a key expires, by the reply.
pub fn expires(reply: &[u8]) -> i64 {
    number(reply).unwrap_or(GONE)
}

/// Adds the command that reads a key. None gives more than [`MANY_ELEMENTS`], or what is packed together.
pub fn ask(wanted: &mut Commands, name: &[u8], kind: Kind) {
    match kind {
        Kind::Hash => wanted.add(&[b"HSCAN", name, b"0", b"COUNT", MOST_ELEMENTS]),
        Kind::Set => wanted.add(&[b"SSCAN", name, b"0", b"COUNT", MOST_ELEMENTS]),
        // Half the work of ZRANGE in 7.0, which prints each score anew.
        Kind::Zset => wanted.add(&[b"ZSCAN", name, b"0", b"COUNT", MOST_ELEMENTS]),
        Kind::List => wanted.add(&[b"LRANGE", name, b"0", MOST_ELEMENTS]),
        // Of each group and consumer, that is, what is pending.
        Kind::Stream => wanted.add(&[b"XINFO", b"STREAM", name, b"FULL", b"COUNT", MOST_ELEMENTS]),
        Kind::String => wanted.add(&[b"GETRANGE", name, b"0", LAST_OF_STRING]),
        Kind::Other => {}
    }
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
        let rules = Rules { seven: true, seed: Seed::random() };
        let same = |kind, here: &[&str], there: &[&str]| {
            let packed = |words: &[&str]| [ALL_OF_IT, &reply(words)].concat();
            let here = packed(here);
            rules.same(kind, rules.whole(kind, &here).unwrap(), &packed(there))
        };
        for kind in [Kind::Set, Kind::Hash, Kind::Zset] {
            assert!(same(kind, &["a", "1", "b", "2"], &["b", "2", "a", "1"]), "{kind:?}");
            assert!(!same(kind, &["a", "1", "b", "2"], &["b", "2", "a", "3"]), "{kind:?}");
            assert!(!same(kind, &["a", "1"], &["a", "1", "b", "2"]), "{kind:?}");
        }
        assert!(!rules.same(Kind::List, &reply(&["a", "b"]), &reply(&["b", "a"])));
        // What belongs to whom counts, and a score is a number.
        assert!(!same(Kind::Hash, &["a", "1", "b", "2"], &["a", "2", "b", "1"]));
        assert!(same(Kind::Zset, &["a", "73135.582999999999"], &["a", "73135.583"]));
    }

    #[test]
    fn what_is_refused_or_empty_or_too_much_holds_nothing() {
        let rules = Rules { seven: true, seed: Seed::random() };
        let many = reply(&vec!["x"; 2 * MANY_ELEMENTS + 2]);
        for kind in [Kind::String, Kind::Hash, Kind::Set, Kind::Zset, Kind::List, Kind::Stream] {
            for none in [&b"-WRONGTYPE of another kind\r\n"[..], b"*0\r\n", b"$-1\r\n", b"$0\r\n\r\n", &many] {
                assert_eq!(rules.whole(kind, none), None, "{kind:?}");
            }
        }
        assert_eq!(rules.whole(Kind::Hash, b"*2\r\n$1\r\n0\r\n*0\r\n"), None);
        // More of it is to come.
        assert_eq!(rules.whole(Kind::Set, b"*2\r\n$2\r\n17\r\n*1\r\n$1\r\na\r\n"), None);
        assert!(rules.whole(Kind::Set, b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n").is_some());
        assert!(rules.whole(Kind::String, b"$1\r\na\r\n").is_some());
    }
}
