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

/// What both hold.
pub struct Counts {
    /// Whether all looks were at one offset.
    exact: bool,
    databases: Vec<Database>,
    /// At the master, the replica, the master.
    looks: [Position; 3],
    attempts: u64,
}

impl Counts {
    /// Looks at master, replica, master, until all three were at one offset, or the load did not rest for that long.
    pub async fn take(pair: &Pair, master: &Server, replica: &Server, within: Duration) -> Result<Self> {
        let deadline = Deadline::after(within.min(ONE_OFFSET_WITHIN));
        let mut waiting = Waiting::default();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let looks = [position(master).await?, position(replica).await?, position(master).await?];
            let [first, there, second] = &looks;
            let exact = first.0 == there.0 && there.0 == second.0;
            if exact || deadline.passed() || pair.run.dry {
                return Ok(Counts { exact, databases: databases(&second.1, &there.1), looks, attempts });
            }
            waiting.tell(&pair.run, "both servers at one offset", || format!("{} and {}", first.0, there.0));
            pair.run.sleep(Duration::from_millis(1)).await?;
        }
    }

    /// The databases, if both surely hold as many keys in each, and as many that expire.
    pub fn alike(&self) -> Option<&[Database]> {
        (self.exact && !self.databases.iter().any(Database::differs)).then_some(&self.databases)
    }

    /// These are what the comparison goes by; exact ones before others.
    pub fn tell(self, master: &Server, replica: &Server, seen: &mut Comparison) {
        seen.attempts += self.attempts;
        if seen.exact && !self.exact {
            seen.count_differences.extend(beyond_the_load(&self));
            return;
        }
        let differ = || self.databases.iter().filter(|d| d.differs());
        seen.count_differences = match self.exact {
            true => differ().map(|d| in_words(d, master, replica)).collect(),
            false => beyond_the_load(&self),
        };
        (seen.exact, seen.offset, seen.databases) = (self.exact, self.looks[0].0, self.databases);
    }
}

/// Compares them: exactly, or, if the load never rests, the last counts must lie within what the stream between the two looks at
/// the master can have changed.
pub async fn compare(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    options: &Options,
    seen: &mut Comparison,
) -> Result<()> {
    Counts::take(pair, master, replica, options.wait_timeout).await?.tell(master, replica, seen);
    Ok(())
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
fn beyond_the_load(counts: &Counts) -> Vec<String> {
    let [first, there, second] = &counts.looks;
    let lowest = first.0.min(there.0);
    let slack = second.0.saturating_sub(lowest) / 7;
    counts
        .databases
        .iter()
        .filter(|d| d.source_keys.abs_diff(d.target_keys) > slack)
        .map(|d| {
            format!("database {} holds {} keys on the one and {} on the other", d.number, d.source_keys, d.target_keys)
        })
        .collect()
}
