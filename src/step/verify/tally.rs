//! What the two streams held: of each key 16 bytes a side, which are sorted and laid beside each other in the end.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
    iter::Peekable,
};

use crate::rdb::Content;

/// A key's hash, and the digest of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: u64,
    digest: u64,
}

/// All that came from one side.
#[derive(Debug, Default)]
pub(super) struct Tally {
    entries: Vec<Entry>,
    /// Keys with a module's value, by its type.
    modules: BTreeMap<String, Vec<u64>>,
    /// Keys with a value that was too large to look at.
    too_large: Vec<u64>,
}

impl Tally {
    pub fn add(&mut self, key: u64, content: Content) {
        match content {
            Content::Digest(digest) => self.entries.push(Entry { key, digest }),
            Content::Module(kind) => self.modules.entry(kind).or_default().push(key),
            Content::TooLarge => self.too_large.push(key),
        }
    }

    /// How many keys there are.
    pub fn keys(&self) -> u64 {
        let of_modules = self.modules.values().map(Vec::len).sum::<usize>();
        (self.entries.len() + of_modules + self.too_large.len()) as u64
    }

    /// Makes it ready for [`compare`].
    pub fn sort(&mut self) {
        self.entries.sort_unstable();
    }
}

/// Hashes of keys.
pub(super) type Keys = HashSet<u64, BuildHasherDefault<AsItIs>>;

/// What both came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub equal: u64,
    /// Keys that are not.
    pub open: Keys,
    /// Whether there are some among these of which that is not known.
    pub unsure: bool,
    /// Keys that both have with a module's value, by its type.
    pub modules: BTreeMap<String, u64>,
}

/// Lays what came from the two sides beside each other.
pub(super) fn compare(here: Tally, there: Tally) -> Found {
    let mut found = Found { unsure: !here.too_large.is_empty() || !there.too_large.is_empty(), ..Found::default() };
    found.open.extend(here.too_large.iter().chain(&there.too_large));
    let mut sides = [here.entries.into_iter().peekable(), there.entries.into_iter().peekable()];
    while let Some(alike) = next(&mut sides, &mut found.open) {
        found.equal += u64::from(alike);
    }
    for (kind, keys) in &here.modules {
        let here: Keys = keys.iter().copied().collect();
        let there: Keys = there.modules.get(kind).into_iter().flatten().copied().collect();
        // That both have one is all that can be told.
        found.modules.insert(kind.clone(), here.intersection(&there).count() as u64);
        found.open.extend(here.symmetric_difference(&there));
    }
    let only_there = there.modules.iter().filter(|(kind, _)| !here.modules.contains_key(*kind));
    found.open.extend(only_there.flat_map(|(_, keys)| keys));
    found.modules.retain(|_, keys| *keys > 0);
    found
}

/// Takes the next key from both, or the lesser one from where it is, and says whether it was the same; none at the end.
fn next(sides: &mut [Peekable<impl Iterator<Item = Entry>>; 2], open: &mut Keys) -> Option<bool> {
    let [here, there] = sides;
    let order = match (here.peek(), there.peek()) {
        (None, None) => return None,
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(one), Some(other)) => one.cmp(other),
    };
    let of_here = here.next_if(|_| order.is_le());
    let of_there = there.next_if(|_| order.is_ge());
    if order.is_ne() {
        open.extend(of_here.or(of_there).map(|entry| entry.key));
    }
    Some(order.is_eq())
}

/// Keys are hashes already.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(keys: impl IntoIterator<Item = (u64, Content)>) -> Tally {
        let mut tally = Tally::default();
        keys.into_iter().for_each(|(key, content)| tally.add(key, content));
        tally.sort();
        tally
    }

    #[test]
    fn a_key_is_equal_where_both_sides_say_the_same() {
        let side = |keys: &[(u64, u64)]| tally(keys.iter().map(|&(key, digest)| (key, Content::Digest(digest))));
        // 1 and 2 are equal, in whatever order they come; 3 differs; 4 and 5 are on one side only; 6 are two keys of one side.
        let here = side(&[(1, 10), (2, 20), (3, 30), (4, 40), (6, 60), (6, 60)]);
        let there = side(&[(5, 50), (3, 31), (2, 20), (1, 10)]);
        let found = compare(here, there);
        assert_eq!((found.equal, found.unsure), (2, false));
        assert_eq!(found.open, Keys::from_iter([3, 4, 5, 6]));
    }

    #[test]
    fn what_can_not_be_compared_is_not_equal() {
        let json = || Content::Module("ReJSON-RL".into());
        let bloom = || Content::Module("MBbloom--".into());
        let here = tally([(1, json()), (2, json()), (3, Content::TooLarge), (4, json())]);
        let there = tally([(1, json()), (3, Content::Digest(1)), (4, Content::Digest(1)), (5, bloom())]);
        let found = compare(here, there);
        assert_eq!((found.equal, found.unsure), (0, true));
        assert_eq!(found.modules, BTreeMap::from([("ReJSON-RL".into(), 1)]));
        assert_eq!(found.open, Keys::from_iter([2, 3, 4, 5]));
    }
}
