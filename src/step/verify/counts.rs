//! Key counts of every database, at one offset where the load rests at all.

use std::time::Duration;

use serde::Serialize;

use super::{Comparison, Options};
use crate::{
    error::Result,
    pair::Pair,
    run::{Deadline, Waiting},
    server::{
        Command, Server,
        info::{Info, Keyspace, Replication, keyspace},
        text,
    },
};

/// How long it is tried to find both servers at one offset: a load that rests at all does so within this.
const ONE_OFFSET_WITHIN: Duration = Duration::from_millis(300);

/// The key counts of one database.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct Database {
    /// Its number.
    pub number: u32,
    /// Keys in the one that serves: before the switchover the source, after it the target.
    pub source_keys: u64,
    /// Keys in the one that follows.
    pub target_keys: u64,
    /// Keys that expire, in the one that serves.
    pub source_expires: u64,
    /// Keys that expire, in the one that follows.
    pub target_expires: u64,
}

impl Database {
    /// Whether the two sides differ.
    pub fn differs(&self) -> bool {
        (self.source_keys, self.source_expires) != (self.target_keys, self.target_expires)
    }
}

/// Looks at master, replica, master, until all three were at one offset; if the load never rests for that long, the last
/// counts must lie within what the stream between the two looks at the master can have changed.
pub async fn compare(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    options: &Options,
    seen: &mut Comparison,
) -> Result<()> {
    let deadline = Deadline::after(options.wait_timeout.min(ONE_OFFSET_WITHIN));
    let mut waiting = Waiting::default();
    loop {
        seen.attempts += 1;
        let first = position(master).await?;
        let there = position(replica).await?;
        let second = position(master).await?;
        seen.exact = first.0 == there.0 && there.0 == second.0;
        if seen.exact || deadline.passed() || pair.run.dry {
            seen.offset = first.0;
            seen.databases = databases(&second.1, &there.1);
            seen.differences = match seen.exact {
                true => seen.databases.iter().filter(|d| d.differs()).map(|d| in_words(d, master, replica)).collect(),
                false => beyond_the_load(&first, &there, &second),
            };
            return Ok(());
        }
        waiting.tell(&pair.run, "both servers at one offset", || format!("{} and {}", first.0, there.0));
        pair.run.sleep(Duration::from_millis(1)).await?;
    }
}

fn in_words(d: &Database, master: &Server, replica: &Server) -> String {
    format!(
        "database {} holds {} keys ({} expire) on {master} and {} ({}) on {replica}",
        d.number, d.source_keys, d.source_expires, d.target_keys, d.target_expires
    )
}

type Position = (u64, Keyspace);

async fn position(server: &Server) -> Result<Position> {
    let sections = ["replication", "keyspace"].map(Command::info);
    let mut infos = Vec::new();
    for (command, reply) in sections.iter().zip(server.pipeline(&sections).await?) {
        infos.push(Info::parse(&text(&reply.map_err(|said| server.refused(command, &said))?)?));
    }
    Ok((Replication::from(&infos[0]).offset, keyspace(&infos[1])))
}

fn databases(master: &Keyspace, replica: &Keyspace) -> Vec<Database> {
    let mut numbers: Vec<u32> = master.keys().chain(replica.keys()).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    let of = |keyspace: &Keyspace, number| keyspace.get(&number).copied().unwrap_or_default();
    let line = |number| {
        let (source, target) = (of(master, number), of(replica, number));
        Database {
            number,
            source_keys: source.keys,
            target_keys: target.keys,
            source_expires: source.expires,
            target_expires: target.expires,
        }
    };
    numbers.into_iter().map(line).collect()
}

/// Differences that a running load can't explain: no command of the stream adds or removes a key in fewer than 7 bytes
/// (`$1 CRLF k CRLF` of a DEL of many keys).
fn beyond_the_load(first: &Position, there: &Position, second: &Position) -> Vec<String> {
    let lowest = first.0.min(there.0);
    let slack = second.0.saturating_sub(lowest) / 7;
    let lines = databases(&second.1, &there.1);
    lines
        .iter()
        .filter(|d| d.source_keys.abs_diff(d.target_keys) > slack)
        .map(|d| {
            format!("database {} holds {} keys on the one and {} on the other", d.number, d.source_keys, d.target_keys)
        })
        .collect()
}
