//! Guesses of types by names: keys that are named alike are of one type nearly always.
//!
//! A guess saves a `TYPE` and a round trip. A wrong one does no harm: the command that reads another type is refused.

use std::collections::HashMap;

use crate::rdb::Seed;

/// How many ways of naming are remembered. Where there are more, names tell nothing.
const MOST: usize = 4096;

/// How a key is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    String,
    Hash,
    Set,
    Zset,
    List,
    Stream,
    /// By the typed reads only.
    Other,
}

impl Kind {
    /// By the word that `TYPE` has for it.
    pub fn of(word: &[u8]) -> Self {
        match word {
            b"string" => Kind::String,
            b"hash" => Kind::Hash,
            b"set" => Kind::Set,
            b"zset" => Kind::Zset,
            b"list" => Kind::List,
            b"stream" => Kind::Stream,
            _ => Kind::Other,
        }
    }
}

/// What keys were, by how they are named.
pub struct Kinds {
    seed: Seed,
    /// None where names alike are of several types, or of one that is not guessed.
    known: HashMap<u64, Option<Kind>>,
    /// What is the same in names that are alike.
    pattern: Vec<u8>,
}

impl Kinds {
    pub fn new(seed: Seed) -> Self {
        Kinds { seed, known: HashMap::new(), pattern: Vec::new() }
    }

    /// What a key of this name probably is. None if that is to be asked.
    pub fn guess(&mut self, name: &[u8]) -> Option<Kind> {
        let pattern = self.pattern(name);
        self.known.get(&pattern).copied().flatten()
    }

    /// A key of this name is this.
    pub fn learn(&mut self, name: &[u8], kind: Kind) {
        let pattern = self.pattern(name);
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let new = Some(kind).filter(|kind| *kind != Kind::Other);
        let known = self.known.entry(pattern).or_insert(new);
        *known = known.filter(|_| *known == new);
    }

    /// A guess by this name was wrong.
    pub fn doubt(&mut self, name: &[u8]) {
        let pattern = self.pattern(name);
        self.known.insert(pattern, None);
    }

    /// Numbers and identifiers don't count: `user:1029:cart` and `user:7f3e:cart` are alike, `user:1029:name` is not.
    fn pattern(&mut self, name: &[u8]) -> u64 {
        self.pattern.clear();
        for word in name.split_inclusive(|byte| !byte.is_ascii_alphanumeric()) {
            match word.iter().any(u8::is_ascii_digit) {
                true => self.pattern.extend(word.last().filter(|byte| !byte.is_ascii_alphanumeric())),
                false => self.pattern.extend_from_slice(word),
            }
        }
        self.seed.text(&self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Kinds {
        Kinds::new(Seed::random())
    }

    #[test]
    fn names_that_are_alike_are_guessed() {
        let mut kinds = kinds();
        assert_eq!(kinds.guess(b"user:1:cart"), None);
        kinds.learn(b"user:1:cart", Kind::List);
        for alike in ["user:2:cart", "user:7f3e:cart", "user:10000:cart"] {
            assert_eq!(kinds.guess(alike.as_bytes()), Some(Kind::List), "{alike}");
        }
        for other in ["user:1:name", "user:1", "user.1.cart", "user:cart"] {
            assert_eq!(kinds.guess(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn nothing_is_guessed_where_a_guess_was_wrong_or_types_are_mixed() {
        let mut kinds = kinds();
        kinds.learn(b"a:1", Kind::Set);
        kinds.doubt(b"a:2");
        kinds.learn(b"a:3", Kind::Set);
        kinds.learn(b"b:1", Kind::Set);
        kinds.learn(b"b:2", Kind::String);
        kinds.learn(b"c:1", Kind::Other);
        for name in [b"a:4", b"b:4", b"c:4"] {
            assert_eq!(kinds.guess(name), None);
        }
    }

    #[test]
    fn names_without_end_take_no_memory_without_end() {
        let mut kinds = kinds();
        let letters = |n: u32| format!("{n:b}").replace('0', "a").replace('1', "b");
        (0..20_000).for_each(|n| kinds.learn(letters(n).as_bytes(), Kind::String));
        assert!(kinds.known.len() <= MOST);
    }
}
