//! Digests of 64 bits: that two things which differ have the same has a probability of 2^-64. They are XXH3: fast, and even, but no
//! proof against somebody who makes collisions on purpose; the seed, another one in every comparison, makes that hard.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::packed::Element;

/// What digests begin with: only digests of one seed can be compared.
#[derive(Debug, Clone, Copy)]
pub struct Seed(u64);

impl Seed {
    /// Another one each time.
    pub fn random() -> Self {
        Seed(RandomState::new().hash_one(0))
    }

    /// The hash by which a key is known, from its database and the digest of its name.
    pub fn key(self, db: u64, name: u64) -> u64 {
        self.mix([db, name])
    }

    /// The digest of a text.
    pub fn text(self, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.0)
    }

    /// The same of one that comes in pieces.
    pub(super) fn pieces(self) -> Xxh3 {
        Xxh3::with_seed(self.0)
    }

    /// The same of a number as decimal text.
    pub(super) fn number(self, number: i64) -> u64 {
        self.text(itoa::Buffer::new().format(number).as_bytes())
    }

    pub(super) fn element(self, element: &Element<'_>) -> u64 {
        match element {
            Element::Text(bytes) => self.text(bytes),
            Element::Number(number) => self.number(*number),
        }
    }

    /// One digest of several.
    pub fn mix<const N: usize>(self, digests: [u64; N]) -> u64 {
        self.text(digests.map(u64::to_le_bytes).as_flattened())
    }
}

/// A type of key, as digests tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
}

/// Elements whose order says nothing.
#[derive(Default)]
pub(super) struct Unordered {
    sum: u64,
    count: u64,
}

impl Unordered {
    pub(super) fn add(&mut self, digest: u64) {
        self.sum = self.sum.wrapping_add(digest);
        self.count += 1;
    }

    pub(super) fn digest(&self, seed: Seed) -> u64 {
        seed.mix([self.sum, self.count])
    }
}

/// Elements in an order.
#[derive(Default)]
pub(super) struct Ordered {
    state: u64,
    count: u64,
}

impl Ordered {
    pub(super) fn push(&mut self, seed: Seed, digest: u64) {
        self.state = seed.mix([self.state, digest]);
        self.count += 1;
    }

    pub(super) fn digest(&self, seed: Seed) -> u64 {
        seed.mix([self.state, self.count])
    }
}
