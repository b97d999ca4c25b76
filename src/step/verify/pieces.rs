//! The commands by which a key of any size is read piece by piece, and what their replies hold.

use super::content::{PIECES, Part, Reader};
use crate::server::{
    Command,
    raw::{bulk, elements, length, number, word},
};

/// Bytes of a string in one piece.
const BYTES: usize = 256 << 10;

/// Elements in the first piece; then as many as make pieces of about `WISHED` bytes.
const FIRST: usize = 64;
const WISHED: usize = 256 << 10;
const LARGEST: usize = 4096;

/// Arrays in arrays: the entries of a stream are two deep in the reply to `XRANGE`. Deeper ones come from no server.
const DEEPEST: usize = 8;

/// A key that is being read.
pub struct Pieces {
    name: Vec<u8>,
    place: Place,
    size: usize,
    parts: Vec<Part>,
    /// Whether to ask when fields expire.
    field_expiry: bool,
    /// Whether consumers count that have nothing pending.
    consumers: bool,
    groups: Vec<Vec<u8>>,
}

/// What comes next.
enum Place {
    Bytes(usize),
    Fields(String),
    /// When these fields expire, and from where to go on.
    FieldExpiry(Vec<Vec<u8>>, String),
    Members(String),
    Scores(String),
    Items(usize),
    Entries(String),
    StreamInfo,
    Groups,
    Consumers(Vec<u8>),
    Pending(Vec<u8>, String),
    End,
}

/// The parts of a stream, after its entries.
const LAST_ID: usize = 1;
const GROUPS: usize = 2;
const CONSUMERS: usize = 3;
const PENDING: usize = 4;

impl Pieces {
    /// None for a type that can't be read in general, and for no key.
    pub fn of(kind: &str, name: &[u8], field_expiry: bool, reader: &Reader) -> Option<Self> {
        let start = || "0".to_owned();
        let (place, parts) = match kind {
            "string" => (Place::Bytes(0), vec![Part::new(PIECES, true)]),
            "hash" => (Place::Fields(start()), vec![Part::new("fields", false), Part::new("field expiries", false)]),
            "set" => (Place::Members(start()), vec![Part::new("members", false)]),
            "zset" => (Place::Scores(start()), vec![Part::new("members", false)]),
            "list" => (Place::Items(0), vec![Part::new("items", true)]),
            "stream" => {
                let called = ["entries", "last ids", "groups", "consumers", "pending entries"];
                (Place::Entries("-".to_owned()), called.map(|called| Part::new(called, false)).into())
            }
            _ => return None,
        };
        let (name, consumers) = (name.to_vec(), reader.consumers);
        Some(Pieces { name, place, size: FIRST, parts, field_expiry, consumers, groups: Vec::new() })
    }

    /// The command for the next piece; none at the end.
    pub fn next(&self) -> Option<Command> {
        let to = |name: &str| Command::new([name]).word(&self.name);
        let size = self.size.to_string();
        let range = |name: &str, from: usize, length: usize| {
            to(name).word(from.to_string()).word((from + length - 1).to_string())
        };
        Some(match &self.place {
            Place::Bytes(from) => range("GETRANGE", *from, BYTES),
            Place::Fields(cursor) => to("HSCAN").word(cursor).word("COUNT").word(size),
            Place::FieldExpiry(fields, _) => {
                let ask = to("HPEXPIRETIME").word("FIELDS").word(fields.len().to_string());
                fields.iter().fold(ask, Command::secret)
            }
            Place::Members(cursor) => to("SSCAN").word(cursor).word("COUNT").word(size),
            Place::Scores(cursor) => to("ZSCAN").word(cursor).word("COUNT").word(size),
            Place::Items(from) => range("LRANGE", *from, self.size),
            Place::Entries(from) => to("XRANGE").word(from).word("+").word("COUNT").word(size),
            Place::StreamInfo => Command::new(["XINFO", "STREAM"]).word(&self.name),
            Place::Groups => Command::new(["XINFO", "GROUPS"]).word(&self.name),
            Place::Consumers(group) => Command::new(["XINFO", "CONSUMERS"]).word(&self.name).word(group),
            Place::Pending(group, from) => to("XPENDING").word(group).word(from).word("+").word(size),
            Place::End => return None,
        })
    }

    /// Takes the reply in, and moves on. None if it is no reply to what was asked.
    pub fn take(&mut self, reply: &[u8], reader: &Reader) -> Option<()> {
        let place = std::mem::replace(&mut self.place, Place::End);
        self.place = match place {
            Place::Bytes(from) => {
                let bytes = word(reply);
                self.parts[0].add((from / BYTES) as u64, reader.hash(bytes));
                if bytes.len() < BYTES { Place::End } else { Place::Bytes(from + BYTES) }
            }
            Place::Fields(_) => {
                let (cursor, words) = self.page(reply)?;
                for (field, value) in pairs(&words) {
                    self.parts[0].add(reader.hash(field), reader.hash(value));
                }
                match self.field_expiry && !words.is_empty() {
                    true => Place::FieldExpiry(words.iter().step_by(2).map(|field| field.to_vec()).collect(), cursor),
                    false => after(cursor, Place::Fields),
                }
            }
            Place::FieldExpiry(fields, cursor) => {
                for (field, expiry) in fields.iter().zip(elements(reply)) {
                    if let Some(at @ 0..) = number(expiry) {
                        self.parts[1].add(reader.hash(field), at.unsigned_abs());
                    }
                }
                after(cursor, Place::Fields)
            }
            Place::Members(_) => {
                let (cursor, words) = self.page(reply)?;
                words.iter().for_each(|member| self.parts[0].add(reader.hash(member), 0));
                after(cursor, Place::Members)
            }
            Place::Scores(_) => {
                let (cursor, words) = self.page(reply)?;
                for (member, score) in pairs(&words) {
                    self.parts[0].add(reader.hash(member), score_bits(score));
                }
                after(cursor, Place::Scores)
            }
            Place::Items(from) => {
                let (words, asked) = (flat(reply), self.size);
                for (n, item) in words.iter().enumerate() {
                    self.parts[0].add((from + n) as u64, reader.hash(item));
                }
                self.adapt(&words);
                if words.len() < asked { Place::End } else { Place::Items(from + asked) }
            }
            Place::Entries(_) => {
                let full = length(reply) == self.size;
                let mut last: &[u8] = b"";
                let mut all = Vec::new();
                for entry in elements(reply) {
                    let words = flat(entry);
                    last = words.first().copied().unwrap_or_default();
                    self.parts[0].add(reader.hash(last), reader.hash(&joined(&words)));
                    all.extend(words);
                }
                self.adapt(&all);
                if full { Place::Entries(id_after(last)) } else { Place::StreamInfo }
            }
            Place::StreamInfo => {
                self.parts[LAST_ID].add(0, reader.hash(field(reply, b"last-generated-id")));
                Place::Groups
            }
            Place::Groups => {
                for group in elements(reply) {
                    let name = field(group, b"name");
                    self.parts[GROUPS].add(reader.hash(name), reader.hash(field(group, b"last-delivered-id")));
                    self.groups.push(name.to_vec());
                }
                self.next_group()
            }
            Place::Consumers(group) => {
                for consumer in elements(reply) {
                    if self.consumers || field(consumer, b"pending") != b"0" {
                        let known_by = joined(&[&group, field(consumer, b"name")]);
                        self.parts[CONSUMERS].add(reader.hash(&known_by), 0);
                    }
                }
                Place::Pending(group, "-".to_owned())
            }
            Place::Pending(group, _) => {
                let full = length(reply) == self.size;
                let mut last: &[u8] = b"";
                for entry in elements(reply) {
                    // Id, consumer, how long ago, how often. The third depends on when it is read, and who reads his
                    // history again changes both on the master alone.
                    let mut words = elements(entry).map(word);
                    last = words.next().unwrap_or_default();
                    let owner = words.next().unwrap_or_default();
                    self.parts[PENDING].add(reader.hash(&joined(&[&group, last])), reader.hash(owner));
                }
                if full { Place::Pending(group, id_after(last)) } else { self.next_group() }
            }
            Place::End => Place::End,
        };
        Some(())
    }

    /// What was read.
    pub fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    /// A page of HSCAN, SSCAN, or ZSCAN: the next cursor, and the elements.
    fn page<'r>(&mut self, reply: &'r [u8]) -> Option<(String, Vec<&'r [u8]>)> {
        let mut parts = elements(reply);
        let cursor = std::str::from_utf8(bulk(parts.next()?)?).ok()?;
        let words = flat(parts.next()?);
        self.adapt(&words);
        Some((cursor.to_owned(), words))
    }

    fn adapt(&mut self, words: &[&[u8]]) {
        let bytes: usize = words.iter().map(|word| word.len() + 16).sum();
        if bytes > WISHED {
            self.size = (self.size / 2).max(1);
        } else if bytes < WISHED / 2 {
            self.size = (self.size * 2).min(LARGEST);
        }
    }

    fn next_group(&mut self) -> Place {
        self.groups.pop().map_or(Place::End, Place::Consumers)
    }
}

fn after(cursor: String, place: fn(String) -> Place) -> Place {
    if cursor == "0" { Place::End } else { place(cursor) }
}

/// All words of a reply, in their order.
fn flat(reply: &[u8]) -> Vec<&[u8]> {
    fn into<'r>(reply: &'r [u8], deeper: usize, words: &mut Vec<&'r [u8]>) {
        match reply.first() {
            Some(b'*') if deeper > 0 => elements(reply).for_each(|element| into(element, deeper - 1, words)),
            _ => words.push(word(reply)),
        }
    }
    let mut words = Vec::with_capacity(length(reply).min(reply.len()));
    into(reply, DEEPEST, &mut words);
    words
}

fn pairs<'r>(words: &[&'r [u8]]) -> impl Iterator<Item = (&'r [u8], &'r [u8])> {
    words.chunks_exact(2).map(|pair| (pair[0], pair[1]))
}

/// The value of a name in an array of names and values.
fn field<'r>(reply: &'r [u8], name: &[u8]) -> &'r [u8] {
    let mut elements = elements(reply);
    while let Some(found) = elements.next() {
        let value = elements.next();
        if bulk(found) == Some(name) {
            return value.map(word).unwrap_or_default();
        }
    }
    b""
}

/// Words as one, so that no two lists of words look alike.
fn joined(words: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::with_capacity(words.iter().map(|word| word.len() + 8).sum());
    for word in words {
        all.extend_from_slice(&word.len().to_le_bytes());
        all.extend_from_slice(word);
    }
    all
}

/// Versions print scores with other digits: compare them as the numbers they are. And 0 has no sign, which packed sets do not keep.
pub(super) fn score_bits(score: &[u8]) -> u64 {
    let number: f64 = std::str::from_utf8(score).ok().and_then(|s| s.parse().ok()).unwrap_or(f64::NAN);
    (number + 0.0).to_bits()
}

/// The smallest id of a stream after this one: 6.0 knows no exclusive ranges.
fn id_after(id: &[u8]) -> String {
    let id = String::from_utf8_lossy(id);
    let (time, number) = id.split_once('-').unwrap_or((&id, "0"));
    match number.parse::<u64>() {
        Ok(number) if number < u64::MAX => format!("{time}-{}", number + 1),
        _ => format!("{}-0", time.parse::<u64>().unwrap_or_default().saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_on() {
        assert_eq!(id_after(b"5-1"), "5-2");
        assert_eq!(id_after(format!("5-{}", u64::MAX).as_bytes()), "6-0");
    }

    #[test]
    fn scores_are_numbers() {
        assert_eq!(score_bits(b"73135.582999999999"), score_bits(b"73135.583"));
        assert_eq!(score_bits(b"-inf"), f64::NEG_INFINITY.to_bits());
        assert_eq!(score_bits(b"-0"), score_bits(b"0"));
        assert_ne!(score_bits(b"1"), score_bits(b"1.0000000000000002"));
    }
}
