//! What happened, in figures.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::Clock;
use crate::verify::Finding;

/// What one connection has achieved and gone through.
#[derive(Clone)]
pub struct Tally {
    /// SETs acknowledged; they are the keys 0 to this, as a SET is repeated until it is acknowledged.
    pub acknowledged_sets: u64,
    /// INCRs acknowledged.
    pub acknowledged_incrs: u64,
    /// INCRs whose connection was cut before the reply: executed or not, nobody knows. They are not repeated.
    pub maybe_incrs: u64,
    /// How often the connection was cut.
    pub disconnects: u64,
    /// How often nobody answered a connect.
    pub refused_connects: u64,
    /// Replies that were acknowledgements by their form and can't be right by their content.
    pub wrong_replies: u64,
    /// Error replies by their first word.
    pub errors: BTreeMap<String, u64>,
    /// From the first attempt of a write to its acknowledgement, in microseconds.
    pub latency: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        // Up to ten minutes with two digits; these bounds are known to be good.
        let latency = Histogram::new_with_bounds(1, 600_000_000, 2).expect("the bounds are constants");
        Self {
            acknowledged_sets: 0,
            acknowledged_incrs: 0,
            maybe_incrs: 0,
            disconnects: 0,
            refused_connects: 0,
            wrong_replies: 0,
            errors: BTreeMap::new(),
            latency,
        }
    }
}

impl Tally {
    /// Counts an error reply.
    pub fn error(&mut self, text: &str) {
        let word = text.split_whitespace().next().unwrap_or("?");
        *self.errors.entry(word.to_owned()).or_default() += 1;
    }
}

/// A tally, whether or not a writer panicked while it held it.
pub fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The figures of all connections together.
#[derive(Serialize)]
pub struct Report {
    seconds: f64,
    acknowledged_sets: u64,
    acknowledged_incrs: u64,
    maybe_incrs: u64,
    writes_per_second: f64,
    longest_gap_us: u64,
    /// The longest gaps, longest first: when each began, in seconds since 1970, and its length in microseconds.
    gaps: Vec<(f64, u64)>,
    latency_p50_us: u64,
    latency_p99_us: u64,
    latency_max_us: u64,
    disconnects: u64,
    disconnects_min: u64,
    disconnects_max: u64,
    /// How many connections were cut how often.
    disconnects_per_connection: BTreeMap<u64, u64>,
    refused_connects: u64,
    wrong_replies: u64,
    errors: BTreeMap<String, u64>,
    /// The look-up's figures are absent as long as there was none.
    lost_sets: Option<u64>,
    lost_incrs: Option<u64>,
    surplus_incrs: Option<u64>,
    lost_examples: Vec<String>,
    verify_error: Option<String>,
}

impl Report {
    /// The figures so far.
    pub fn new(clock: &Clock, tallies: &[Tally]) -> Self {
        let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
        let mut latency = Tally::default().latency;
        let mut errors = BTreeMap::new();
        let mut disconnects_per_connection = BTreeMap::new();
        for tally in tallies {
            latency.add(&tally.latency).expect("all histograms have the same bounds");
            *disconnects_per_connection.entry(tally.disconnects).or_default() += 1;
            for (word, count) in &tally.errors {
                *errors.entry(word.clone()).or_default() += count;
            }
        }
        let gaps: Vec<_> =
            clock.longest_gaps().into_iter().map(|gap| (clock.unix(gap.began), gap.length / 1000)).collect();
        let seconds = clock.seconds();
        let acknowledged_sets = sum(|tally| tally.acknowledged_sets);
        let acknowledged_incrs = sum(|tally| tally.acknowledged_incrs);
        Self {
            seconds,
            acknowledged_sets,
            acknowledged_incrs,
            maybe_incrs: sum(|tally| tally.maybe_incrs),
            writes_per_second: (acknowledged_sets + acknowledged_incrs) as f64 / seconds.max(f64::EPSILON),
            longest_gap_us: gaps.first().map_or(0, |(_, length)| *length),
            gaps,
            latency_p50_us: latency.value_at_quantile(0.5),
            latency_p99_us: latency.value_at_quantile(0.99),
            latency_max_us: latency.max(),
            disconnects: sum(|tally| tally.disconnects),
            disconnects_min: tallies.iter().map(|tally| tally.disconnects).min().unwrap_or(0),
            disconnects_max: tallies.iter().map(|tally| tally.disconnects).max().unwrap_or(0),
            disconnects_per_connection,
            refused_connects: sum(|tally| tally.refused_connects),
            wrong_replies: sum(|tally| tally.wrong_replies),
            errors,
            lost_sets: None,
            lost_incrs: None,
            surplus_incrs: None,
            lost_examples: Vec::new(),
            verify_error: None,
        }
    }

    /// Adds what the look-up found.
    pub fn with_finding(mut self, finding: Result<Finding, String>) -> Self {
        match finding {
            Ok(finding) => {
                self.lost_sets = Some(finding.lost_sets);
                self.lost_incrs = Some(finding.lost_incrs);
                self.surplus_incrs = Some(finding.surplus_incrs);
                self.lost_examples = finding.examples;
            }
            Err(problem) => self.verify_error = Some(problem),
        }
        self
    }

    /// Whether all was looked up, and all of it is right.
    pub fn nothing_lost(&self) -> bool {
        let none = Some(0);
        self.lost_sets == none && self.lost_incrs == none && self.surplus_incrs == none && self.wrong_replies == 0
    }

    /// One line of JSON.
    pub fn as_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts can always be written")
    }
}
