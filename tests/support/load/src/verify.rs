//! Looks up everything that was acknowledged, value by value.

use std::io;
use std::time::{Duration, Instant};

use crate::options::{Address, Options};
use crate::report::Tally;
use crate::wire::{Connection, Reply};
use crate::workload;

/// Keys per MGET: enough to make the round trip cheap, few enough not to hold up the server.
const BATCH: u64 = 500;
const CONNECT_TIME: Duration = Duration::from_secs(2);
const WHOLE_TIME: Duration = Duration::from_secs(120);
const EXAMPLES: usize = 10;

/// What the look-up found.
#[derive(Debug, Default)]
pub struct Finding {
    /// SETs that were acknowledged and are not there, or not with their value.
    pub lost_sets: u64,
    /// INCRs that were acknowledged and are not in their counter.
    pub lost_incrs: u64,
    /// What a counter has beyond all that was acknowledged or in doubt: something was executed twice.
    pub surplus_incrs: u64,
    /// The first few keys that are wrong.
    pub examples: Vec<String>,
}

/// Looks up what the tallies say was acknowledged, connection by connection.
pub fn look_up(options: &Options, address: &Address, tallies: &[Tally]) -> Result<Finding, String> {
    let deadline = Instant::now() + WHOLE_TIME;
    let mut reader = Reader::open(options, address, deadline).map_err(|error| format!("{address}: {error}"))?;
    let mut finding = Finding::default();
    for (connection, tally) in tallies.iter().enumerate() {
        for begin in (0..tally.acknowledged_sets).step_by(BATCH as usize) {
            let end = (begin + BATCH).min(tally.acknowledged_sets);
            let keys = (begin..end).map(|index| workload::key(options, connection, index)).collect::<Vec<_>>();
            let values = reader.values(&keys).map_err(|error| format!("{address}: {error}"))?;
            for (key, value) in keys.into_iter().zip(values) {
                if value != Some(workload::value(options, &key)) {
                    finding.lost_sets += 1;
                    finding.note(key);
                }
            }
        }
        let key = workload::counter(options, connection);
        let values = reader.values(std::slice::from_ref(&key)).map_err(|error| format!("{address}: {error}"))?;
        let found = count(values.into_iter().next().flatten());
        let lost = tally.acknowledged_incrs.saturating_sub(found);
        let surplus = found.saturating_sub(tally.acknowledged_incrs + tally.maybe_incrs);
        if lost + surplus > 0 {
            finding.lost_incrs += lost;
            finding.surplus_incrs += surplus;
            finding.note(key);
        }
    }
    Ok(finding)
}

impl Finding {
    fn note(&mut self, key: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(key);
        }
    }
}

/// A counter that is gone, or is no number, counts as nothing.
fn count(value: Option<Vec<u8>>) -> u64 {
    value.and_then(|value| String::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

struct Reader {
    connection: Connection,
    deadline: Instant,
}

impl Reader {
    fn open(options: &Options, address: &Address, deadline: Instant) -> io::Result<Self> {
        let addresses = options.locate(address, &|| Instant::now() > deadline)?;
        let connect_until = Instant::now() + CONNECT_TIME;
        let connection = loop {
            match Connection::open(&addresses) {
                Ok(connection) => break connection,
                Err(error) if Instant::now() > connect_until => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let mut reader = Self { connection, deadline };
        if let Some(password) = &options.password {
            match &options.user {
                Some(user) => reader.call(&["AUTH", user, password])?,
                None => reader.call(&["AUTH", password])?,
            };
        }
        Ok(reader)
    }

    fn values(&mut self, keys: &[String]) -> io::Result<Vec<Option<Vec<u8>>>> {
        let words: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
        let Reply::Array(replies) = self.call(&words)? else { return Err(io::ErrorKind::InvalidData.into()) };
        let value = |reply| if let Reply::Bulk(value) = reply { value } else { None };
        Ok(replies.into_iter().map(value).collect())
    }

    fn call(&mut self, words: &[&str]) -> io::Result<Reply> {
        match self.connection.call(words, &|| Instant::now() > self.deadline)? {
            Reply::Error(text) => Err(io::Error::other(text)),
            reply => Ok(reply),
        }
    }
}
