//! `verify`: the target holds the source's data. Key counts of every database at one offset, some random keys read in
//! full on both, and how fast the target answers.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use redis::Value;
use serde::Serialize;

use super::Call;
use crate::{
    decide::stage::Stage,
    error::{Code, Error, Result},
    facts::{finish, step_result},
    pair::Pair,
    run::{Deadline, Event},
    server::{
        Command, Server, elements,
        info::{Info, Keyspace, Replication, keyspace},
        text,
    },
};

/// The most elements of one key that are read; of larger keys only the length is compared.
const MOST_ELEMENTS: u64 = 1000;

/// How far two remaining times to live may lie apart, in milliseconds: they are read one after the other.
const TTL_TOLERANCE_MS: i64 = 1000;

/// How long it is tried to find both servers at one offset: a load that rests at all does so within this.
const ONE_OFFSET_WITHIN: Duration = Duration::from_millis(300);

/// How long the replica may take to have what the master had when a difference was seen.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(3);

/// What is wished.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many random keys are read on both servers.
    pub sample_keys: u32,
    /// How long it is tried at most.
    pub wait_timeout: Duration,
}

/// The key counts of one database.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct Database {
    /// Its number.
    pub number: u32,
    /// Keys in the source.
    pub source_keys: u64,
    /// Keys in the target.
    pub target_keys: u64,
    /// Keys in the source that expire.
    pub source_expires: u64,
    /// Keys in the target that expire.
    pub target_expires: u64,
}

step_result! {
    /// What `verify` returns.
    pub struct Verify {
        /// Whether nothing differed in what was compared.
        pub equal: bool,
        /// Whether the counts were compared at one and the same offset. Under a load that never rests they are compared
        /// between two offsets, and the switchover compares them exactly under its pause.
        pub exact: bool,
        /// Key counts by database.
        pub databases: Vec<Database>,
        /// Offset of the source's stream at the comparison.
        pub offset: u64,
        /// How many random keys were read on both and found equal.
        pub sampled: u32,
        /// How many of the random keys could not be compared, because they changed all the time or are of a type of a
        /// module.
        pub skipped: u32,
        /// What differs, in words.
        pub differences: Vec<String>,
        /// The median of ten pings of the target, in milliseconds.
        pub ping_ms: f64,
        /// How often it was looked.
        pub attempts: u64,
    }
}

/// Compares the two servers. What differs is in the result; [`require_equal`] makes an error of it.
pub async fn verify(call: &Call, options: &Options) -> Result<Verify> {
    let pair = call.begin("verify").await?;
    let before = pair.facts().await;
    let look = pair.look().await?;
    let mut seen = Comparison::default();
    match look.stage {
        Stage::Following => compare(&pair, pair.source()?, pair.target()?, options, &mut seen).await?,
        Stage::Switched => compare(&pair, pair.target()?, pair.source()?, options, &mut seen).await?,
        Stage::Apart if !call.run.dry => {
            return Err(Error::new(
                Code::NotReplicating,
                "does not replicate from the source, so there is nothing to compare",
            )
            .at(pair.target()?)
            .remedy("run replicate and wait_synced first"));
        }
        Stage::Apart => call.run.warn("the target does not replicate yet, so there is nothing to compare"),
        Stage::HalfDone => call.run.warn("the handover is half done, so there is nothing to compare: run switchover"),
        Stage::Retired => call.run.warn("the source is gone, so there is nothing to compare with"),
    }
    let ping_ms = ping(pair.target()?).await?;
    let equal = seen.differences.is_empty();
    Ok(finish!(
        call.run,
        before.clone(),
        before,
        Verify {
            equal,
            exact: seen.exact,
            databases: seen.databases,
            offset: seen.offset,
            sampled: seen.sampled,
            skipped: seen.skipped,
            differences: seen.differences,
            ping_ms,
            attempts: seen.attempts,
        }
    ))
}

/// The refusal that differences are.
pub fn require_equal(result: &Verify) -> Result<()> {
    if result.equal {
        return Ok(());
    }
    let counts =
        result.databases.iter().any(|d| (d.source_keys, d.source_expires) != (d.target_keys, d.target_expires));
    let code = if counts { Code::CountsDiffer } else { Code::ValuesDiffer };
    let shown = &result.differences[..result.differences.len().min(3)];
    let more = match result.differences.len() - shown.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let found = format!("the servers do not hold the same data: {}{more}", shown.join("; "));
    Err(Error::new(code, found).remedy("find out who wrote to the target; replicate to an empty target again"))
}

#[derive(Default)]
struct Comparison {
    exact: bool,
    databases: Vec<Database>,
    offset: u64,
    sampled: u32,
    skipped: u32,
    differences: Vec<String>,
    attempts: u64,
}

async fn compare(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    options: &Options,
    seen: &mut Comparison,
) -> Result<()> {
    counts(pair, master, replica, options, seen).await?;
    let differing = seen
        .databases
        .iter()
        .filter(|d| !seen.exact || (d.source_keys, d.source_expires) != (d.target_keys, d.target_expires));
    if seen.exact {
        seen.differences.extend(differing.map(|d| {
            format!(
                "database {} holds {} keys ({} expire) on {master} and {} ({}) on {replica}",
                d.number, d.source_keys, d.source_expires, d.target_keys, d.target_expires
            )
        }));
    }
    match sample(pair, master, replica, options, seen).await {
        // An account that may run an upgrade need not be one that may read the data.
        Err(error) if error.code == Code::PermissionDenied => {
            pair.run.warn(format!("random keys were not compared: {error}"));
            Ok(())
        }
        sampled => sampled,
    }
}

/// Looks at master, replica, master, until all three were at one offset; if the load never rests for that long, the last
/// counts must lie within what the stream between the two looks at the master can have changed.
async fn counts(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    options: &Options,
    seen: &mut Comparison,
) -> Result<()> {
    let deadline = Deadline::after(options.wait_timeout.min(ONE_OFFSET_WITHIN));
    loop {
        seen.attempts += 1;
        let first = position(master).await?;
        let there = position(replica).await?;
        let second = position(master).await?;
        let exact = first.0 == there.0 && there.0 == second.0;
        if exact || deadline.passed() || pair.run.dry {
            seen.exact = exact;
            seen.offset = first.0;
            seen.databases = databases(&second.1, &there.1);
            if !exact {
                seen.differences = beyond_the_load(&first, &there, &second);
            }
            return Ok(());
        }
        pair.run.emit(&Event::Waiting {
            wanted: "both servers at one offset",
            found: format!("{} and {}", first.0, there.0),
        });
        pair.run.sleep(Duration::from_millis(1)).await?;
    }
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

/// Reads random keys on both. A key that changes between the reads is read again, and left out if it never rests.
async fn sample(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    options: &Options,
    seen: &mut Comparison,
) -> Result<()> {
    let databases: Vec<u32> = seen.databases.iter().filter(|d| d.source_keys > 0).map(|d| d.number).collect();
    if databases.is_empty() || options.sample_keys == 0 {
        return Ok(());
    }
    // SELECT and READONLY state are a connection's own.
    let (on_master, on_replica) = (master.reconnect().await?, replica.reconnect().await?);
    let each = (options.sample_keys as usize).div_ceil(databases.len());
    for database in databases {
        let select = Command::new(["SELECT", &database.to_string()]);
        on_master.read(&select).await?;
        on_replica.read(&select).await?;
        let keys = random_keys(&on_master, each).await?;
        for key in keys {
            match same(pair, &on_master, &on_replica, &key).await? {
                Some(true) => seen.sampled += 1,
                None => seen.skipped += 1,
                Some(false) => {
                    let key = String::from_utf8_lossy(&key).into_owned();
                    seen.differences.push(format!("key {key:?} of database {database} differs"));
                }
            }
        }
    }
    Ok(())
}

/// Random keys of the selected database, each once: as many as wished, or fewer where it hardly has more.
async fn random_keys(server: &Server, wished: usize) -> Result<BTreeSet<Vec<u8>>> {
    let random = Command::new(["RANDOMKEY"]);
    let mut keys = BTreeSet::new();
    for _ in 0..4 {
        let missing = wished - keys.len();
        if missing == 0 {
            break;
        }
        for reply in server.pipeline(&vec![random.clone(); missing]).await? {
            if let Value::BulkString(key) = reply.map_err(|said| server.refused(&random, &said))? {
                keys.insert(key);
            }
        }
    }
    Ok(keys)
}

/// Whether a key is the same on both; none if it does not rest for long enough to tell, or if the replica does not catch
/// up. It differs only where the replica has everything that made the master's content.
async fn same(pair: &Pair, master: &Server, replica: &Server, key: &[u8]) -> Result<Option<bool>> {
    for _ in 0..5 {
        let Some(first) = content(master, key).await? else { return Ok(None) };
        let Some(there) = content(replica, key).await? else { return Ok(None) };
        if first.equals(&there) {
            return Ok(Some(true));
        }
        // The stream may not have begun: after a diskless sync it waits for the replica's once-a-second cron.
        if !reached(pair, replica, master.replication().await?.offset).await? {
            return Ok(None);
        }
        let Some(there) = content(replica, key).await? else { return Ok(None) };
        let Some(second) = content(master, key).await? else { return Ok(None) };
        if second.equals(&first) {
            return Ok(Some(there.equals(&first)));
        }
        pair.run.sleep(Duration::from_millis(20)).await?;
    }
    Ok(None)
}

/// Waits until a replica has processed the stream up to there.
async fn reached(pair: &Pair, replica: &Server, offset: u64) -> Result<bool> {
    let deadline = Deadline::after(CATCH_UP_WITHIN);
    while replica.replication().await?.offset < offset {
        if deadline.passed() {
            return Ok(false);
        }
        pair.run.sleep(Duration::from_millis(2)).await?;
    }
    Ok(true)
}

/// A key's type, time to live and content, the latter without order where the type has none.
struct Content {
    kind: String,
    ttl_ms: i64,
    parts: Vec<Vec<u8>>,
}

impl Content {
    fn equals(&self, other: &Content) -> bool {
        let ttl = (self.ttl_ms < 0) == (other.ttl_ms < 0) && (self.ttl_ms - other.ttl_ms).abs() <= TTL_TOLERANCE_MS;
        self.kind == other.kind && ttl && self.parts == other.parts
    }
}

/// None for a type that can't be read in general (a module's).
async fn content(server: &Server, key: &[u8]) -> Result<Option<Content>> {
    let word = |name: &str| Command::new([name]).word(key);
    let kind = text(&server.read(&word("TYPE")).await?)?;
    let ttl_ms = match server.read(&word("PTTL")).await? {
        Value::Int(ms) => ms,
        _ => -1,
    };
    let (length, read) = match kind.as_str() {
        "none" => return Ok(Some(Content { kind, ttl_ms, parts: Vec::new() })),
        "string" => ("STRLEN", word("GET")),
        "hash" => ("HLEN", word("HGETALL")),
        "set" => ("SCARD", word("SMEMBERS")),
        "zset" => ("ZCARD", word("ZRANGE").word("0").word("-1").word("WITHSCORES")),
        "list" => ("LLEN", word("LRANGE").word("0").word("-1")),
        "stream" => ("XLEN", word("XRANGE").word("-").word("+")),
        _ => return Ok(None),
    };
    let length = match server.read(&word(length)).await? {
        Value::Int(length) => length.unsigned_abs(),
        _ => 0,
    };
    let mut parts = vec![length.to_string().into_bytes()];
    if kind == "string" || length <= MOST_ELEMENTS {
        match server.ask(&read).await? {
            Ok(value) => parts.extend(flat(&kind, value)),
            Err(said) if said.word == "NOPERM" => return Err(server.refused(&read, &said)),
            // Gone or retyped meanwhile: that is a change, not an error.
            Err(_) => {}
        }
    }
    Ok(Some(Content { kind, ttl_ms, parts }))
}

fn flat(kind: &str, value: Value) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    flatten(value, &mut words);
    let width = match kind {
        "hash" | "zset" => 2,
        "set" => 1,
        _ => return words,
    };
    let mut elements: Vec<Vec<u8>> = words
        .chunks(width)
        .map(|element| match element {
            // Versions print scores with other digits: compare them as the numbers they are.
            [member, score] if kind == "zset" => [member.as_slice(), b"\0", &score_bits(score)].concat(),
            element => element.join(&b"\0"[..]),
        })
        .collect();
    elements.sort();
    elements
}

fn flatten(value: Value, words: &mut Vec<Vec<u8>>) {
    match value {
        Value::BulkString(bytes) => words.push(bytes),
        Value::Array(_) | Value::Set(_) => elements(value).into_iter().for_each(|element| flatten(element, words)),
        other => words.extend(text(&other).map(String::into_bytes)),
    }
}

fn score_bits(score: &[u8]) -> [u8; 8] {
    let number: f64 = std::str::from_utf8(score).ok().and_then(|s| s.parse().ok()).unwrap_or(f64::NAN);
    number.to_bits().to_be_bytes()
}

async fn ping(server: &Server) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        server.read(&Command::new(["PING"])).await?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2] * 1000.0).round() / 1000.0)
}
