//! The built-in types but streams, in each of their encodings.

use std::io::Read;

use super::{
    Flavour, Problem, Reader, Result, Seed, Unreadable,
    digest::{Ordered, Type, Unordered},
    packed::{self, Bad, Element, Elements, Form},
};

/// The numbers of types and encodings that RDB has.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_2: u8 = 5;
    pub const MODULE_2: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_3: u8 = 21;
    /// Of Valkey; Redis had a release candidate with another meaning.
    pub const HASH_2: u8 = 22;
    pub const HASH_METADATA: u8 = 24;
    pub const HASH_LISTPACK_EX: u8 = 25;
    pub const STREAM_4: u8 = 26;
    pub const STREAM_5: u8 = 27;
}

/// How a node of a quicklist is held.
const PLAIN_NODE: u64 = 1;
const PACKED_NODE: u64 = 2;

impl<R: Read> Reader<R> {
    /// A value's type and digest; none for one of a module, of which nothing is read yet.
    pub(super) fn value(&mut self, kind: u8) -> Result<Option<(Type, u64)>> {
        use Form::{Listpack, Ziplist};
        let seed = self.seed;
        Ok(Some(match kind {
            kind::STRING => (Type::String, self.input.string(seed)?),
            kind::LIST => (Type::List, self.list()?),
            kind::LIST_ZIPLIST => (Type::List, self.packed(Ziplist, list)?),
            kind::LIST_QUICKLIST => (Type::List, self.quicklist(|_| Ok(PACKED_NODE), Ziplist)?),
            kind::LIST_QUICKLIST_2 => (Type::List, self.quicklist(|reader| reader.input.length(), Listpack)?),
            kind::SET => (Type::Set, self.set()?),
            kind::SET_INTSET => (Type::Set, self.intset()?),
            kind::SET_LISTPACK => (Type::Set, self.packed(Listpack, set)?),
            kind::ZSET => (Type::SortedSet, self.sorted_set(Reader::score_as_text)?),
            kind::ZSET_2 => (Type::SortedSet, self.sorted_set(|reader| Ok(f64::from_bits(reader.input.u64_le()?)))?),
            kind::ZSET_ZIPLIST => (Type::SortedSet, self.packed(Ziplist, sorted_set)?),
            kind::ZSET_LISTPACK => (Type::SortedSet, self.packed(Listpack, sorted_set)?),
            kind::HASH => (Type::Hash, self.hash()?),
            kind::HASH_ZIPMAP => (Type::Hash, self.zipmap()?),
            kind::HASH_ZIPLIST => (Type::Hash, self.packed(Ziplist, hash)?),
            kind::HASH_LISTPACK => (Type::Hash, self.packed(Listpack, hash)?),
            kind::HASH_2 if self.flavour == Flavour::Valkey => (Type::Hash, self.hash_of_valkey()?),
            kind::HASH_METADATA => (Type::Hash, self.hash_with_expiry()?),
            kind::HASH_LISTPACK_EX => {
                // The soonest of the expiries, which are all told in full.
                self.input.u64_le()?;
                (Type::Hash, self.packed(Listpack, hash_with_expiry)?)
            }
            kind::STREAM => (Type::Stream, self.stream(1)?),
            kind::STREAM_2 => (Type::Stream, self.stream(2)?),
            kind::STREAM_3 => (Type::Stream, self.stream(3)?),
            kind::STREAM_4 => (Type::Stream, self.stream(4)?),
            kind::STREAM_5 => (Type::Stream, self.stream(5)?),
            kind::MODULE_2 => return Ok(None),
            other => return Err(self.input.error(Problem::Unknown(format!("a key of type {other}")))),
        }))
    }

    /// Reads a packed value. One that is too large counts as empty, and the key as one that can't be compared.
    pub(super) fn packed<T: Default>(
        &mut self,
        form: Form,
        read: impl FnOnce(&mut Elements<'_>, Seed) -> Result<T, Bad>,
    ) -> Result<T> {
        let seed = self.seed;
        let offset = self.input.offset();
        let Some(packed) = self.input.blob()? else {
            self.oversized = true;
            return Ok(T::default());
        };
        Elements::new(form, packed).and_then(|mut elements| read(&mut elements, seed)).map_err(bad(offset))
    }

    fn list(&mut self) -> Result<u64> {
        let mut digest = Ordered::default();
        for _ in 0..self.input.length()? {
            digest.push(self.seed, self.input.string(self.seed)?);
        }
        Ok(digest.digest(self.seed))
    }

    fn quicklist(&mut self, container: impl Fn(&mut Self) -> Result<u64>, form: Form) -> Result<u64> {
        let mut digest = Ordered::default();
        for _ in 0..self.input.length()? {
            match container(self)? {
                PLAIN_NODE => digest.push(self.seed, self.input.string(self.seed)?),
                PACKED_NODE => self.packed(form, |elements, seed| push_all(elements, seed, &mut digest))?,
                _ => return Err(self.input.corrupt("no kind of a list's node that there is")),
            }
        }
        Ok(digest.digest(self.seed))
    }

    fn set(&mut self) -> Result<u64> {
        let mut digest = Unordered::default();
        for _ in 0..self.input.length()? {
            digest.add(self.input.string(self.seed)?);
        }
        Ok(digest.digest(self.seed))
    }

    fn intset(&mut self) -> Result<u64> {
        let mut digest = Unordered::default();
        let offset = self.input.offset();
        match self.input.blob()? {
            Some(packed) => {
                packed::intset(packed).map_err(bad(offset))?.for_each(|number| digest.add(self.seed.number(number)));
            }
            None => self.oversized = true,
        }
        Ok(digest.digest(self.seed))
    }

    fn sorted_set(&mut self, score: impl Fn(&mut Self) -> Result<f64>) -> Result<u64> {
        let mut digest = Unordered::default();
        for _ in 0..self.input.length()? {
            let member = self.input.string(self.seed)?;
            digest.add(scored(self.seed, member, score(self)?));
        }
        Ok(digest.digest(self.seed))
    }

    /// A score as it was before RDB 8.
    fn score_as_text(&mut self) -> Result<f64> {
        match self.input.byte()? {
            253 => Ok(f64::NAN),
            254 => Ok(f64::INFINITY),
            255 => Ok(f64::NEG_INFINITY),
            length => {
                let score = score(self.input.take(usize::from(length))?);
                score.ok_or_else(|| self.input.corrupt("a score that is no number"))
            }
        }
    }

    fn hash(&mut self) -> Result<u64> {
        self.fields(|reader| {
            let (field, value) = (reader.input.string(reader.seed)?, reader.input.string(reader.seed)?);
            Ok((field, value, 0))
        })
    }

    fn hash_of_valkey(&mut self) -> Result<u64> {
        self.fields(|reader| {
            let (field, value) = (reader.input.string(reader.seed)?, reader.input.string(reader.seed)?);
            let due = i64::from_le_bytes(reader.input.array()?);
            Ok((field, value, u64::try_from(due).unwrap_or(0)))
        })
    }

    /// Of Redis 7.4 and later: expiries count from the soonest of them, as 1, and 0 is none.
    fn hash_with_expiry(&mut self) -> Result<u64> {
        let soonest = self.input.u64_le()?;
        self.fields(|reader| {
            let due = match reader.input.length()? {
                0 => 0,
                after => soonest.wrapping_add(after).wrapping_sub(1),
            };
            Ok((reader.input.string(reader.seed)?, reader.input.string(reader.seed)?, due))
        })
    }

    fn fields(&mut self, field: impl Fn(&mut Self) -> Result<(u64, u64, u64)>) -> Result<u64> {
        let mut digest = Unordered::default();
        for _ in 0..self.input.length()? {
            let (field, value, due) = field(self)?;
            digest.add(self.seed.mix([field, value, due]));
        }
        Ok(digest.digest(self.seed))
    }

    fn zipmap(&mut self) -> Result<u64> {
        let seed = self.seed;
        let mut digest = Unordered::default();
        let offset = self.input.offset();
        match self.input.blob()? {
            Some(packed) => packed::zipmap(packed, |field, value| {
                digest.add(seed.mix([seed.text(field), seed.text(value), 0]));
            })
            .map_err(bad(offset))?,
            None => self.oversized = true,
        }
        Ok(digest.digest(seed))
    }
}

/// What is wrong with a packed value that began at that byte.
fn bad(offset: u64) -> impl Fn(Bad) -> Unreadable {
    move |what| Unreadable { offset, problem: Problem::Corrupt(what) }
}

fn push_all(elements: &mut Elements<'_>, seed: Seed, digest: &mut Ordered) -> Result<(), Bad> {
    while let Some(element) = elements.next()? {
        digest.push(seed, seed.element(&element));
    }
    Ok(())
}

fn list(elements: &mut Elements<'_>, seed: Seed) -> Result<u64, Bad> {
    let mut digest = Ordered::default();
    push_all(elements, seed, &mut digest)?;
    Ok(digest.digest(seed))
}

fn set(elements: &mut Elements<'_>, seed: Seed) -> Result<u64, Bad> {
    let mut digest = Unordered::default();
    while let Some(member) = elements.next()? {
        digest.add(seed.element(&member));
    }
    Ok(digest.digest(seed))
}

fn sorted_set(elements: &mut Elements<'_>, seed: Seed) -> Result<u64, Bad> {
    let mut digest = Unordered::default();
    while let Some(member) = elements.next()? {
        let score = match elements.one()? {
            // It was a double before it was packed.
            Element::Number(number) => number as f64,
            Element::Text(text) => score(text).ok_or("a score that is no number")?,
        };
        digest.add(scored(seed, seed.element(&member), score));
    }
    Ok(digest.digest(seed))
}

fn hash(elements: &mut Elements<'_>, seed: Seed) -> Result<u64, Bad> {
    let mut digest = Unordered::default();
    while let Some(field) = elements.next()? {
        let value = elements.one()?;
        digest.add(seed.mix([seed.element(&field), seed.element(&value), 0]));
    }
    Ok(digest.digest(seed))
}

fn hash_with_expiry(elements: &mut Elements<'_>, seed: Seed) -> Result<u64, Bad> {
    let mut digest = Unordered::default();
    while let Some(field) = elements.next()? {
        let value = elements.one()?;
        let due = elements.number()?;
        digest.add(seed.mix([seed.element(&field), seed.element(&value), due.unsigned_abs()]));
    }
    Ok(digest.digest(seed))
}

fn score(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// A member with its score. Versions print scores with other digits, so what counts is the number; and 0 has no sign, which
/// packed values do not keep.
fn scored(seed: Seed, member: u64, score: f64) -> u64 {
    seed.mix([member, (score + 0.0).to_bits()])
}
