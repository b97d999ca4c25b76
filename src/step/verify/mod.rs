//! `verify`: the target holds the source's data. At every level the key counts of all databases are compared at one
//! offset; `sample` reads some random keys in full on both, `full` compares every key.

mod abreast;
mod ahead;
mod bookmark;
mod content;
mod counts;
mod functions;
mod kinds;
mod lighter;
mod one_reply;
mod pace;
mod pages;
mod pieces;
mod reader;
mod reads;
mod sample;
mod scanned;
mod streams;
mod tally;
mod typed;
mod whole_stream;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use counts::Database;
pub(crate) use lighter::put_back;
use typed::Verdict;

use super::Call;
use crate::{
    decide::stage::Stage,
    error::{Code, Error, Result},
    facts::{finish, step_result},
    pair::Pair,
    server::{Command, Server, raw::IDLE},
};

/// How much is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The key counts of every database.
    Counts,
    /// And some random keys in full.
    Sample,
    /// And every key.
    Full,
}

impl Level {
    /// Reads the word for it.
    pub fn parse(word: &str) -> Result<Self> {
        match word {
            "counts" => Ok(Level::Counts),
            "sample" => Ok(Level::Sample),
            "full" => Ok(Level::Full),
            other => Err(Error::input("level", format!("{other:?} is none of counts, sample, full"))),
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Counts => "counts",
            Level::Sample => "sample",
            Level::Full => "full",
        }
    }
}

/// How every key is compared, at the level `full`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By the streams that a replica would be sent.
    Streams,
    /// By reading each key on both.
    Reads,
}

impl By {
    /// Reads the word for it.
    pub fn parse(word: &str) -> Result<Self> {
        match word {
            "streams" => Ok(By::Streams),
            "reads" => Ok(By::Reads),
            other => Err(Error::input("by", format!("{other:?} is none of streams, reads"))),
        }
    }
}

/// What is wished.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How much is compared.
    pub level: Level,
    /// How every key is compared, at the level `full`.
    pub by: By,
    /// How many random keys of every database are read on both servers, at the level `sample`.
    pub sample_keys: u32,
    /// Of how many keys that differ the result says what differs.
    pub max_differences: u32,
    /// How long each wait may take: for one offset, and for keys to rest.
    pub wait_timeout: Duration,
    /// How long the server that serves may take to answer others while every key is read.
    pub max_latency: Duration,
    /// How many keys a second are read at most.
    pub rate: Option<u32>,
    /// Whether to go on where reads of every key were interrupted.
    pub resume: bool,
}

step_result! {
    /// What `verify` returns.
    pub struct Verify {
        /// Whether nothing differed in what was compared, and at the level `full` everything was.
        pub equal: bool,
        /// What was compared: `counts`, `sample` or `full`.
        pub level: String,
        /// Whether the counts were compared at one and the same offset. Under a load that never rests they are compared
        /// between two offsets, and the switchover compares them exactly under its pause.
        pub exact: bool,
        /// Key counts by database.
        pub databases: Vec<Database>,
        /// Offset of the source's stream at the comparison of the counts.
        pub offset: u64,
        /// How many keys were compared in full.
        pub compared: u64,
        /// How many of them differ, or are only on one side.
        pub differing: u64,
        /// What differs, in words: the counts, and so many keys as were wished.
        pub differences: Vec<String>,
        /// How many keys changed all the time, so that they could not be compared.
        pub unsettled: u64,
        /// How many keys can't be compared, by the reason.
        pub not_comparable: BTreeMap<String, u64>,
        /// The share of differing keys that would have been found with a probability of 95 %: 0 where every key was
        /// compared, none where no key was.
        pub detectable_share: Option<f64>,
        /// How often the reading of every key was slowed down, as the server that serves took too long to answer.
        pub slowed: u64,
        /// The median of ten pings of the target, in milliseconds.
        pub ping_ms: f64,
        /// How often the counts were looked at.
        pub attempts: u64,
    }
}

/// Compares the two servers. What differs is in the result; [`require_equal`] makes an error of it.
pub async fn verify(call: &Call, options: &Options) -> Result<Verify> {
    let pair = call.begin("verify").await?;
    let before = pair.facts().await;
    let look = pair.look().await?;
    let mut seen = Comparison { most: options.max_differences as usize, ..Comparison::default() };
    match look.stage {
        Stage::Following => {
            let (master, replica) = (pair.source()?, pair.target()?);
            kept([master, replica], compare(&pair, master, replica, options, &mut seen)).await?;
        }
        Stage::Switched => {
            let (master, replica) = (pair.target()?, pair.source()?);
            kept([master, replica], compare(&pair, master, replica, options, &mut seen)).await?;
        }
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
    for (why, keys) in &seen.not_comparable {
        call.run.warn(format!("could not be compared: {why} ({keys})"));
    }
    let ping_ms = ping(pair.target()?).await?;
    Ok(finish!(
        call.run,
        before.clone(),
        before,
        Verify {
            equal: seen.equal(options.level),
            level: options.level.as_str().to_owned(),
            exact: seen.exact,
            databases: seen.databases,
            offset: seen.offset,
            compared: seen.compared,
            differing: seen.differing,
            differences: [seen.count_differences, seen.differences].concat(),
            unsettled: seen.unsettled,
            not_comparable: seen.not_comparable,
            detectable_share: seen.detectable_share,
            slowed: seen.slowed,
            ping_ms,
            attempts: seen.attempts,
        }
    ))
}

/// The refusal that differences are.
pub fn require_equal(result: &Verify) -> Result<()> {
    if result.differences.is_empty() && result.differing == 0 {
        if result.level != Level::Full.as_str() || result.unsettled == 0 {
            return Ok(());
        }
        let found = format!(
            "of {} keys {} changed whenever they were looked at, and nothing else differs",
            result.compared + result.unsettled,
            result.unsettled
        );
        return Err(
            Error::new(Code::Unsettled, found).remedy("compare again at a quieter hour, or with a longer wait_timeout")
        );
    }
    let code = if result.differing == 0 || result.exact && result.databases.iter().any(Database::differs) {
        Code::CountsDiffer
    } else {
        Code::ValuesDiffer
    };
    let shown = &result.differences[..result.differences.len().min(3)];
    let more = match result.differences.len() - shown.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let what = if shown.is_empty() { format!("{} keys differ", result.differing) } else { shown.join("; ") };
    let found = format!("the servers do not hold the same data: {what}{more}");
    Err(Error::new(code, found).remedy("find out who wrote to the target; replicate to an empty target again"))
}

/// A key of a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    /// The number of the database.
    pub database: u32,
    /// Its name.
    pub name: Vec<u8>,
}

/// How many keys that differ are remembered.
const MOST_NAMED: usize = 100_000;

/// What the levels have found so far.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    exact: bool,
    databases: Vec<Database>,
    offset: u64,
    attempts: u64,
    compared: u64,
    differing: u64,
    /// What differs in the counts.
    count_differences: Vec<String>,
    /// What differs in keys, of so many as are wished.
    differences: Vec<String>,
    /// The keys that differ, so that none counts twice.
    named: BTreeSet<Key>,
    /// Of how many keys `differences` says what differs.
    most: usize,
    unsettled: u64,
    not_comparable: BTreeMap<String, u64>,
    detectable_share: Option<f64>,
    slowed: u64,
}

impl Comparison {
    /// Counts a key by what a look at it has shown. One that has not rested is given back.
    pub fn take(&mut self, key: &Key, verdict: Verdict) -> Option<Key> {
        match verdict {
            Verdict::Equal => self.compared += 1,
            Verdict::Gone => {}
            Verdict::Differs(what) => self.differs(key, &what),
            Verdict::NotComparable(kind) => self.can_not_compare(&format!("type {kind}"), 1),
            Verdict::Moving => return Some(key.clone()),
        }
        None
    }

    fn differs(&mut self, key: &Key, what: &str) {
        // SCAN may name a key twice.
        if self.named.contains(key) {
            return;
        }
        if self.named.len() < MOST_NAMED {
            self.named.insert(key.clone());
        }
        self.compared += 1;
        self.differing += 1;
        if self.differing <= self.most as u64 {
            self.differences.push(format!("key {} of database {}: {what}", shown(&key.name), key.database));
        }
    }

    /// Counts keys that can't be compared.
    pub fn can_not_compare(&mut self, why: &str, keys: u64) {
        *self.not_comparable.entry(why.to_owned()).or_default() += keys;
    }

    /// Never where it was not looked.
    fn equal(&self, level: Level) -> bool {
        let all = self.detectable_share == Some(0.0) && self.unsettled == 0 && self.not_comparable.is_empty();
        let enough = self.attempts > 0 && (all || level != Level::Full);
        enough && self.count_differences.is_empty() && self.differing == 0
    }
}

/// A key's name for people: in quotes, without what is not printable, and not endless. Two that differ in bytes that are no
/// text look different.
fn shown(name: &[u8]) -> String {
    const MOST: usize = 200;
    let text = match std::str::from_utf8(name) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("\"{}\"", name.escape_ascii()),
    };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...\" ({} bytes)", &text[..end], name.len()),
        None => text,
    }
}

/// Keeps connections that are not used while something goes on.
async fn kept<T>(servers: [&Server; 2], work: impl Future<Output = T>) -> T {
    let ping = Command::new(["PING"]);
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = async {
                tokio::time::sleep(IDLE).await;
                // Whoever is gone is found out by the work.
                let _ = tokio::join!(servers[0].read(&ping), servers[1].read(&ping));
            } => {}
        }
    }
}

async fn compare(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    options: &Options,
    seen: &mut Comparison,
) -> Result<()> {
    if let Err(error) = put_back(pair, replica).await {
        pair.run.warn(format!("what an earlier comparison has set is not put back yet: {error}"));
    }
    counts::compare(pair, master, replica, options, seen).await?;
    match options.level {
        Level::Counts => Ok(()),
        Level::Sample => match sample::compare(pair, master, replica, options, seen).await {
            // An account that may run an upgrade need not be one that may read the data.
            Err(error) if error.code == Code::PermissionDenied => {
                pair.run.warn(format!("random keys were not compared: {error}"));
                Ok(())
            }
            sampled => sampled,
        },
        Level::Full => {
            match options.by {
                By::Streams => streams::compare(pair, master, replica, options, seen).await?,
                By::Reads => reads::compare(pair, master, replica, options, seen).await?,
            }
            functions::compare(pair, master, replica, seen).await?;
            seen.detectable_share = (!pair.run.dry).then_some(0.0);
            Ok(())
        }
    }
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
