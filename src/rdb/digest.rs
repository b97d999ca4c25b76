//! Digests of 128 bits. They are XXH3: fast, and even, but no proof against somebody who makes collisions on purpose; the seed,
//! another one in every comparison, makes that hard.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_seed};

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
    pub fn key(self, db: u64, name: u128) -> u64 {
        // Half of the digest is as good a hash.
        self.mix([u128::from(db), name]) as u64
    }

    /// The digest of a text.
    pub fn text(self, bytes: &[u8]) -> u128 {
        xxh3_128_with_seed(bytes, self.0)
    }

    /// The same of one that comes in pieces.
    pub(super) fn pieces(self) -> Xxh3 {
        Xxh3::with_seed(self.0)
    }

    /// The same of a number as decimal text.
    pub(super) fn number(self, number: i64) -> u128 {
        self.text(itoa::Buffer::new().format(number).as_bytes())
    }

    pub(super) fn element(self, element: &Element<'_>) -> u128 {
        match element {
            Element::Text(bytes) => self.text(bytes),
            Element::Number(number) => self.number(*number),
        }
    }

    /// One digest of several.
    pub(super) fn mix<const N: usize>(self, digests: [u128; N]) -> u128 {
        self.text(digests.map(u128::to_le_bytes).as_flattened())
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
    sum: u128,
    count: u64,
}

impl Unordered {
    pub(super) fn add(&mut self, digest: u128) {
        self.sum = self.sum.wrapping_add(digest);
        self.count += 1;
    }

    pub(super) fn digest(&self, seed: Seed) -> u128 {
        seed.mix([self.sum, u128::from(self.count)])
    }
}

/// Elements in an order.
#[derive(Default)]
pub(super) struct Ordered {
    state: u128,
    count: u64,
}

impl Ordered {
    pub(super) fn push(&mut self, seed: Seed, digest: u128) {
        self.state = seed.mix([self.state, digest]);
        self.count += 1;
    }

    pub(super) fn digest(&self, seed: Seed) -> u128 {
        seed.mix([self.state, u128::from(self.count)])
    }
}
