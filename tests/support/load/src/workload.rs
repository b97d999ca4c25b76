//! Which keys a connection writes and what must be in them. Everything follows from the connection's number and a count,
//! so that millions of acknowledged writes are remembered in two numbers.

use crate::options::Options;

/// The key of a connection's `index`-th SET.
pub fn key(options: &Options, connection: usize, index: u64) -> String {
    format!("{}:{connection}:{index}", options.prefix)
}

/// The key of a connection's own counter.
pub fn counter(options: &Options, connection: usize) -> String {
    format!("{}:counter:{connection}", options.prefix)
}

/// The value that belongs to a key: the key itself, filled up to the size, so that no two are alike.
pub fn value(options: &Options, key: &str) -> Vec<u8> {
    let mut value = key.as_bytes().to_vec();
    value.resize(options.value_size.max(value.len()), b'.');
    value
}
