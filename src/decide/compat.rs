//! Which server can take over the data of which: by the RDB version each one writes and reads.
//!
//! Tried between real servers for every pair of Redis 6.0, 7.0, 8.0, 8.6 and Valkey 8.0, 8.1, 9.1. Product lines have
//! gone apart after 7.2: compare formats, never version numbers.

use crate::server::info::{Identity, Product, Version};

/// Whether a full sync from one server to another can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The target reads what the source writes.
    Works,
    /// The source writes an older format for this target, which works as long as that can hold the data.
    DependsOnData,
    /// The target refuses the source's format.
    Refused {
        /// What the source writes.
        written: u16,
        /// The newest the target reads.
        read: u16,
    },
}

/// The last format that Redis and Valkey have in common (7.2).
const COMMON: u16 = 11;
/// What Valkey 9 writes.
const VALKEY_9: u16 = 80;

/// The RDB version a server writes.
pub fn rdb_version(server: &Identity) -> u16 {
    match (server.product, server.version) {
        (Product::Valkey, v) if v >= Version(9, 0, 0) => VALKEY_9,
        (Product::Valkey, _) => COMMON,
        (Product::Redis, v) if v >= Version(8, 4, 0) => 13,
        (Product::Redis, v) if v >= Version(7, 4, 0) => 12,
        (Product::Redis, v) if v >= Version(7, 2, 0) => COMMON,
        (Product::Redis, v) if v >= Version(7, 0, 0) => 10,
        (Product::Redis, v) if v >= Version(5, 0, 0) => 9,
        (Product::Redis, _) => 8,
    }
}

/// Whether `target` can do a full sync from `source`.
pub fn verdict(source: &Identity, target: &Identity) -> Verdict {
    let written = rdb_version(source);
    if reads(target, written) {
        Verdict::Works
    } else if written == VALKEY_9 && reads(target, COMMON) {
        Verdict::DependsOnData
    } else {
        Verdict::Refused { written, read: rdb_version(target) }
    }
}

fn reads(server: &Identity, format: u16) -> bool {
    let own = rdb_version(server);
    match server.product {
        Product::Redis => format <= own,
        // The numbers between belong to Redis.
        Product::Valkey => format <= COMMON || format == own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows are masters, columns replicas, both in this order: seen between real servers.
    const SERVERS: [(&str, Product, Version); 7] = [
        ("redis-6.0", Product::Redis, Version(6, 0, 16)),
        ("redis-7.0", Product::Redis, Version(7, 0, 15)),
        ("redis-8.0", Product::Redis, Version(8, 0, 2)),
        ("redis-8.6", Product::Redis, Version(8, 6, 3)),
        ("valkey-8.0", Product::Valkey, Version(8, 0, 1)),
        ("valkey-8.1", Product::Valkey, Version(8, 1, 1)),
        ("valkey-9.1", Product::Valkey, Version(9, 1, 2)),
    ];
    const SEEN: [&str; 7] = ["+++++++", "-++++++", "--++---", "---+---", "--+++++", "--+++++", "--****+"];

    #[test]
    fn the_verdict_is_what_real_servers_did() {
        let identity = |(_, product, version): &(&str, Product, Version)| Identity {
            product: *product,
            version: *version,
            ..Identity::default()
        };
        for (row, source) in SERVERS.iter().enumerate() {
            for (column, target) in SERVERS.iter().enumerate() {
                let sign = match verdict(&identity(source), &identity(target)) {
                    Verdict::Works => '+',
                    Verdict::DependsOnData => '*',
                    Verdict::Refused { .. } => '-',
                };
                let seen = SEEN[row].as_bytes()[column] as char;
                assert_eq!(sign, seen, "{} -> {}", source.0, target.0);
            }
        }
    }
}
