//! What a key holds, read in pieces and remembered as hashes: neither a large value nor a secret one is kept.

use std::fmt::Write;

use super::pieces::Pieces;
use crate::{
    error::Result,
    rdb::Seed,
    server::{
        Command, Said, Server,
        info::{Identity, Product, Version},
        raw::{Raw, Replies, bulk, number},
    },
};

/// How far two remaining times to live may lie apart, in milliseconds: they are read one after the other.
const TTL_TOLERANCE_MS: u64 = 1000;

/// Up to how many elements each is remembered. Of more only a sum is, and what differs can't be counted.
const MOST_ELEMENTS: usize = 4 << 20;

/// What the elements of a string are called.
pub(super) const PIECES: &str = "pieces of 256 KiB";

/// Reads keys of both servers in the same way.
pub struct Reader {
    /// Whether both can tell when a key expires, and not only in how long.
    absolute: bool,
    /// Whether both know all consumers: before 7.0 a replica is not told of those that got nothing.
    pub(super) consumers: bool,
    seed: Seed,
}

/// What a key holds.
pub struct Content {
    kind: String,
    /// The type, where its content can't be read in general (a module's).
    pub foreign: Option<String>,
    /// When or in how long it expires, in milliseconds; -1 for never.
    expiry: i64,
    absolute: bool,
    parts: Vec<Part>,
    /// Its type changed while it was read.
    pub torn: bool,
}

/// One aspect of a content: the fields of a hash, or their expiries.
pub(super) struct Part {
    /// What its elements are called.
    pub called: &'static str,
    /// Whether an element is known by its place.
    ordered: bool,
    /// Each element: what it is known by, and what it holds.
    kept: Vec<(u64, u64)>,
    count: u64,
    sum: u128,
}

impl Part {
    pub fn new(called: &'static str, ordered: bool) -> Self {
        Part { called, ordered, kept: Vec::new(), count: 0, sum: 0 }
    }

    /// Adds an element.
    pub fn add(&mut self, known_by: u64, holds: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(u128::from(known_by) << 64 | u128::from(holds));
        if self.count <= MOST_ELEMENTS as u64 {
            self.kept.push((known_by, holds));
        } else {
            self.kept = Vec::new();
        }
    }

    /// SCAN may give an element twice.
    fn close(&mut self) {
        if self.count <= MOST_ELEMENTS as u64 {
            self.kept.sort_unstable();
            self.kept.dedup();
            self.count = self.kept.len() as u64;
            self.sum = 0;
        }
    }

    fn same(&self, other: &Part) -> bool {
        (self.count, self.sum, &self.kept) == (other.count, other.sum, &other.kept)
    }

    /// Such as `3 of 20 fields differ`.
    fn in_words(&self, other: &Part) -> String {
        let all = self.count.max(other.count);
        if self.kept.len() as u64 != self.count || other.kept.len() as u64 != other.count {
            return format!("the {} differ ({} and {})", self.called, self.count, other.count);
        }
        let differing: std::collections::BTreeSet<u64> = one_sided(&self.kept, &other.kept)
            .chain(one_sided(&other.kept, &self.kept))
            .map(|(known_by, _)| known_by)
            .collect();
        let mut words = match (all, differing.len()) {
            (1, _) if self.called == PIECES => "the value differs".to_owned(),
            (1, _) => format!("the {} differ", self.called),
            (_, many) => format!("{many} of {all} {} differ", self.called),
        };
        if let Some(first) = differing.first().filter(|_| self.ordered) {
            let _ = write!(words, ", the first at index {first}");
        }
        if self.count != other.count {
            let _ = write!(words, " ({} and {})", self.count, other.count);
        }
        words
    }
}

/// What is in the one and not in the other; both are sorted.
fn one_sided<'a>(one: &'a [(u64, u64)], other: &'a [(u64, u64)]) -> impl Iterator<Item = (u64, u64)> + 'a {
    one.iter().filter(|element| other.binary_search(element).is_err()).copied()
}

impl Reader {
    /// One that fits both.
    pub fn of(one: &Server, other: &Server) -> Self {
        let seven = tell_when(one, other);
        Reader { absolute: seven, consumers: seven, seed: Seed::random() }
    }

    /// Reads keys of the selected database. Keys of whatever size are read in pieces, all at the same pace.
    pub async fn read(&self, raw: &mut Raw, names: &[&[u8]]) -> Result<Vec<Content>> {
        let expiry = if self.absolute { "PEXPIRETIME" } else { "PTTL" };
        let looks: Vec<Command> = names
            .iter()
            .flat_map(|name| [Command::new(["TYPE"]).word(name), Command::new([expiry]).word(name)])
            .collect();
        let mut contents = Vec::with_capacity(names.len());
        let mut open = Vec::new();
        let field_expiry = knows_field_expiry(&raw.server().identity);
        let replies = ask(raw, &looks).await?;
        for (n, name) in names.iter().enumerate() {
            let (kind, expiry) = (bulk(replies.of(2 * n)), number(replies.of(2 * n + 1)));
            let (Some(kind), Some(expiry)) = (kind, expiry) else { return Err(raw.odd()) };
            let kind = String::from_utf8_lossy(kind).into_owned();
            let pieces = Pieces::of(&kind, name, field_expiry, self);
            contents.push(Content {
                foreign: (pieces.is_none() && kind != "none").then(|| kind.clone()),
                kind,
                expiry,
                absolute: self.absolute,
                parts: Vec::new(),
                torn: false,
            });
            open.extend(pieces.map(|pieces| (n, pieces)));
        }
        while !open.is_empty() {
            let commands: Vec<Command> = open.iter().filter_map(|(_, pieces)| pieces.next()).collect();
            let replies = ask(raw, &commands).await?;
            let mut still = Vec::new();
            for (reply, (n, mut pieces)) in open.into_iter().enumerate() {
                match replies.refusal(reply) {
                    Some(_) => contents[n].torn = true,
                    None => pieces.take(replies.of(reply), self).ok_or_else(|| raw.odd())?,
                }
                if contents[n].torn || pieces.next().is_none() {
                    contents[n].parts = pieces.into_parts();
                    contents[n].parts.iter_mut().for_each(Part::close);
                } else {
                    still.push((n, pieces));
                }
            }
            open = still;
        }
        Ok(contents)
    }

    /// What an element is remembered by.
    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        self.seed.text(bytes)
    }
}

/// Whether both can tell when a key expires, and not only in how long.
pub(super) fn tell_when(one: &Server, other: &Server) -> bool {
    [one, other].iter().all(|server| server.identity.has_redis(Version(7, 0, 0)))
}

/// Whether two keys expire at the same time, by what was told of each in milliseconds; -1 for never.
pub(super) fn expire_alike(here: i64, there: i64, absolute: bool) -> bool {
    match absolute {
        true => here == there,
        false => (here < 0) == (there < 0) && here.abs_diff(there) <= TTL_TOLERANCE_MS,
    }
}

/// Whether it has hashes whose fields expire, and tells when.
fn knows_field_expiry(identity: &Identity) -> bool {
    match identity.product {
        Product::Redis => identity.version >= Version(7, 4, 0),
        Product::Valkey => identity.version >= Version(9, 0, 0),
    }
}

/// Whether a refusal says no more than that the key is gone or has another type by now.
pub(super) fn changed(said: &Said) -> bool {
    matches!(said.word.as_str(), "WRONGTYPE" | "NOGROUP") || said.text.to_lowercase().contains("no such key")
}

/// Sends commands in one go. What is left refused says that the key is gone or has another type by now.
async fn ask(raw: &mut Raw, commands: &[Command]) -> Result<Replies> {
    commands.iter().for_each(|command| raw.ask_for(command));
    let replies = raw.replies().await?;
    for (n, command) in commands.iter().enumerate() {
        if let Some(said) = replies.refusal(n).filter(|said| !changed(said)) {
            return Err(raw.server().refused(command, &said));
        }
    }
    Ok(replies)
}

impl Content {
    /// Whether there is no such key.
    pub fn is_gone(&self) -> bool {
        self.kind == "none"
    }

    /// Whether both hold the same.
    pub fn same(&self, other: &Content) -> bool {
        !self.torn
            && !other.torn
            && self.kind == other.kind
            && self.expires_like(other)
            && self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(|(one, other)| one.same(other))
    }

    fn expires_like(&self, other: &Content) -> bool {
        expire_alike(self.expiry, other.expiry, self.absolute)
    }
}

/// What differs between two contents, in words that hold nothing of either. The servers are called so.
pub fn what_differs(one: &Content, other: &Content, servers: [&str; 2]) -> String {
    let [here, there] = servers;
    match (one.is_gone(), other.is_gone()) {
        (_, true) => return format!("{}, which only the {here} has", one.kind),
        (true, _) => return format!("{}, which only the {there} has", other.kind),
        _ if one.kind != other.kind => return format!("{} in the {here}, {} in the {there}", one.kind, other.kind),
        _ => {}
    }
    let mut words = one.kind.clone();
    if !one.expires_like(other) {
        match (one.expiry < 0, other.expiry < 0) {
            (true, _) => _ = write!(words, ", expires in the {there} only"),
            (_, true) => _ = write!(words, ", expires in the {here} only"),
            _ => _ = write!(words, ", the expiry differs by {} ms", one.expiry.abs_diff(other.expiry)),
        }
    }
    for (one, other) in one.parts.iter().zip(&other.parts).filter(|(one, other)| !one.same(other)) {
        let _ = write!(words, ", {}", one.in_words(other));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(called: &'static str, ordered: bool, elements: &[(u64, u64)]) -> Part {
        let mut part = Part::new(called, ordered);
        elements.iter().for_each(|(known_by, holds)| part.add(*known_by, *holds));
        part.close();
        part
    }

    #[test]
    fn neither_order_nor_repetition_matters() {
        let one = part("members", false, &[(1, 0), (2, 0), (1, 0)]);
        assert!(one.same(&part("members", false, &[(2, 0), (1, 0)])));
        assert!(!one.same(&part("members", false, &[(2, 0), (3, 0)])));
    }

    #[test]
    fn what_differs_is_counted() {
        let fields = part("fields", false, &[(1, 10), (2, 20), (3, 30)]);
        assert_eq!(fields.in_words(&part("fields", false, &[(1, 10), (2, 21), (3, 30)])), "1 of 3 fields differ");
        assert_eq!(fields.in_words(&part("fields", false, &[(1, 10)])), "2 of 3 fields differ (3 and 1)");
        let items = part("items", true, &[(0, 1), (1, 2)]);
        assert_eq!(
            items.in_words(&part("items", true, &[(0, 1), (1, 3)])),
            "1 of 2 items differ, the first at index 1"
        );
    }
}
