//! Streams: entries, the last id, groups with what is pending, and consumers.
//!
//! Not compared is what a replica lawfully has otherwise: when a consumer was seen, how often and when an entry was delivered (to
//! read one's history again counts, and is not replicated), and the counters of entries (a replica of 7.0 loses them).

use std::io::Read;

use super::{
    Reader, Result, Seed,
    digest::{Ordered, Unordered},
    packed::{Bad, Elements, Form},
};

/// Flags of an entry.
const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// An id of an entry.
#[derive(Clone, Copy)]
struct Id {
    ms: u64,
    seq: u64,
}

impl Id {
    fn digest(self, seed: Seed) -> u64 {
        seed.mix([self.ms, self.seq])
    }
}

impl<R: Read> Reader<R> {
    /// A stream in one of the versions of its encoding.
    pub(super) fn stream(&mut self, version: u8) -> Result<u64> {
        let seed = self.seed;
        let mut entries = Ordered::default();
        for _ in 0..self.input.length()? {
            // The id that those of the node count from: a string of 16 bytes.
            if self.input.length()? != 16 {
                return Err(self.input.corrupt("no id of a stream's entry"));
            }
            let first = self.raw_id()?;
            self.packed(Form::Listpack, |elements, seed| node(elements, seed, first, &mut entries))?;
        }
        self.input.length()?; // how many entries there are
        let last = self.id()?;
        if version >= 2 {
            self.lengths(5)?; // the first id, the largest that was deleted, how many were ever added
        }
        let mut groups = Unordered::default();
        for _ in 0..self.input.length()? {
            groups.add(self.group(version)?);
        }
        if version >= 4 {
            self.producers()?;
        }
        Ok(seed.mix([entries.digest(seed), last.digest(seed), groups.digest(seed)]))
    }

    fn group(&mut self, version: u8) -> Result<u64> {
        let seed = self.seed;
        let name = self.input.string(seed)?;
        let last = self.id()?;
        if version >= 2 {
            self.lengths(1)?; // how many entries it has read
        }
        let mut pending = Unordered::default();
        for _ in 0..self.input.length()? {
            pending.add(self.raw_id()?.digest(seed));
            self.input.u64_le()?; // when it was delivered
            self.lengths(1)?; // how often
        }
        let mut consumers = Unordered::default();
        for _ in 0..self.input.length()? {
            let name = self.input.string(seed)?;
            self.input.u64_le()?; // when it was seen
            if version >= 3 {
                self.input.u64_le()?; // when it was active
            }
            let mut own = Unordered::default();
            for _ in 0..self.input.length()? {
                own.add(self.raw_id()?.digest(seed));
            }
            consumers.add(seed.mix([name, own.digest(seed)]));
        }
        if version >= 5 {
            // Those that nobody owns any more: that they are in no consumer's list says so already.
            for _ in 0..self.input.length()? {
                self.raw_id()?;
            }
        }
        Ok(seed.mix([name, last.digest(seed), pending.digest(seed), consumers.digest(seed)]))
    }

    /// What producers sent lately, by which a repeated entry is known: gone after a while.
    fn producers(&mut self) -> Result<()> {
        self.lengths(2)?; // how long it is kept, and how much of it
        for _ in 0..self.input.length()? {
            self.input.skip_string()?;
            for _ in 0..self.input.length()? {
                self.input.skip_string()?;
                self.lengths(2)?;
            }
        }
        self.lengths(2) // how many were told and how many were repeated
    }

    fn id(&mut self) -> Result<Id> {
        Ok(Id { ms: self.input.length()?, seq: self.input.length()? })
    }

    fn raw_id(&mut self) -> Result<Id> {
        let (ms, seq) = (self.input.array()?, self.input.array()?);
        Ok(Id { ms: u64::from_be_bytes(ms), seq: u64::from_be_bytes(seq) })
    }
}

/// The entries of one node: first the fields that most of them have, then one after the other.
fn node(elements: &mut Elements<'_>, seed: Seed, first: Id, entries: &mut Ordered) -> Result<(), Bad> {
    elements.number()?; // how many live
    elements.number()?; // how many were deleted
    let common = elements.number()?;
    let names = elements.clone();
    for _ in 0..common {
        elements.one()?;
    }
    elements.one()?;
    while let Some(flags) = elements.next()? {
        let super::packed::Element::Number(flags) = flags else { return Err("no flags of a stream's entry") };
        let id = Id {
            ms: first.ms.wrapping_add_signed(elements.number()?),
            seq: first.seq.wrapping_add_signed(elements.number()?),
        };
        let mut entry = Ordered::default();
        let mut names = (flags & SAME_FIELDS != 0).then(|| names.clone());
        let count = if names.is_some() { common } else { elements.number()? };
        for _ in 0..count {
            let name = names.as_mut().unwrap_or(elements).one()?;
            entry.push(seed, seed.element(&name));
            entry.push(seed, seed.element(&elements.one()?));
        }
        elements.one()?; // how many elements it has, for who reads backwards
        if flags & DELETED == 0 {
            entries.push(seed, seed.mix([id.digest(seed), entry.digest(seed)]));
        }
    }
    Ok(())
}
