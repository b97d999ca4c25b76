//! What a client has seen, from when each thing it asked for began and ended. No I/O; times are microseconds since it came.

use std::collections::BTreeMap;

use serde::Serialize;

/// Values below this are counted one by one, and those above in so many steps up to twice as much: to 3 %.
const STEPS: u64 = 32;

/// How long things took: any number of them in the same memory.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    counts: BTreeMap<u64, u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// Adds one.
    pub fn add(&mut self, value: u64) {
        *self.counts.entry(rounded_up(value)).or_default() += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// What that share of them does not exceed, to 3 %; 0 without any.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        let found = self.counts.iter().find(|(_, count)| {
            below += **count;
            below >= rank
        });
        found.map_or(0, |(value, _)| (*value).min(self.max))
    }
}

/// The largest value that is counted together with this one.
fn rounded_up(value: u64) -> u64 {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEPS.trailing_zeros() + 1);
    value | ((1 << shift) - 1)
}

/// The times between things that succeeded.
#[derive(Debug, Clone, Default)]
struct Gaps {
    last: Option<u64>,
    longest: u64,
    /// The longest since the last bucket.
    recent: u64,
}

impl Gaps {
    fn done(&mut self, at: u64) {
        let gap = self.open_at(at);
        (self.longest, self.recent) = (self.longest.max(gap), self.recent.max(gap));
        self.last = Some(at);
    }

    /// How long nothing has succeeded.
    fn open_at(&self, now: u64) -> u64 {
        self.last.map_or(0, |last| now.saturating_sub(last))
    }

    fn take_recent(&mut self, now: u64) -> u64 {
        std::mem::take(&mut self.recent).max(self.open_at(now))
    }
}

/// A short time, for charts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Bucket {
    /// When it began, in seconds since 1970.
    pub since: f64,
    /// When it ended.
    pub until: f64,
    /// Reads that were answered.
    pub reads: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// What else it got instead, by word.
    pub errors: BTreeMap<String, u64>,
    /// How long half of them took at most.
    pub median_us: u64,
    /// How long the slowest took, until it was answered.
    pub max_us: u64,
    /// The longest time without an acknowledged write up to its end, wherever that began.
    pub longest_gap_us: u64,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct Probed {
    /// Reads that were answered.
    pub reads: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// What it got instead, and how often: `refused`, `closed`, `timeout`, `failed`, or an error's first word.
    pub errors: BTreeMap<String, u64>,
    /// Writes that were acknowledged and are gone.
    pub lost: u64,
    /// Microseconds that half of all reads and writes took at most, from the first try to the answer; to 3 %, as the next.
    pub median_us: u64,
    /// Microseconds that 99 % of them took at most.
    pub p99_us: u64,
    /// Microseconds that the slowest took.
    pub max_us: u64,
    /// The longest time between two acknowledged writes, in milliseconds.
    pub longest_gap_ms: f64,
    /// The longest time between two answered reads, in milliseconds.
    pub longest_read_gap_ms: f64,
    /// How often it connected again.
    pub reconnects: u64,
    /// For how many seconds it was there.
    pub seconds: f64,
}

/// Gathers what a client sees. What it misses before anything has succeeded does not count: it may not have found the way yet.
#[derive(Debug, Default)]
pub struct Seen {
    total: Probed,
    all: Histogram,
    writes: Gaps,
    reads: Gaps,
    first: Option<u64>,
    bucket: Bucket,
    recent: Histogram,
}

impl Seen {
    /// A write was acknowledged.
    pub fn wrote(&mut self, began: u64, now: u64) {
        self.total.writes += 1;
        self.bucket.writes += 1;
        self.writes.done(now);
        self.took(began, now);
    }

    /// A read was answered.
    pub fn read(&mut self, began: u64, now: u64) {
        self.total.reads += 1;
        self.bucket.reads += 1;
        self.reads.done(now);
        self.took(began, now);
    }

    fn took(&mut self, began: u64, now: u64) {
        self.first.get_or_insert(began);
        self.all.add(now.saturating_sub(began));
        self.recent.add(now.saturating_sub(began));
    }

    /// It got an error instead.
    pub fn missed(&mut self, word: &str) {
        if self.any() {
            *self.total.errors.entry(word.to_owned()).or_default() += 1;
            *self.bucket.errors.entry(word.to_owned()).or_default() += 1;
        }
    }

    /// It connected once more.
    pub fn connected_again(&mut self) {
        self.total.reconnects += u64::from(self.any());
    }

    /// So many acknowledged writes are gone.
    pub fn lost(&mut self, writes: u64) {
        self.total.lost += writes;
    }

    /// Whether anything has succeeded yet.
    pub fn any(&self) -> bool {
        self.first.is_some()
    }

    /// Whether something is wrong in this bucket.
    pub fn is_odd(&self, now: u64, slow: u64) -> bool {
        !self.bucket.errors.is_empty() || self.writes.open_at(now) > slow
    }

    /// Ends a bucket, and begins the next one. None where nothing has succeeded yet.
    pub fn bucket(&mut self, now: u64, since: f64, until: f64) -> Option<Bucket> {
        let (bucket, recent) = (std::mem::take(&mut self.bucket), std::mem::take(&mut self.recent));
        let longest_gap_us = self.writes.take_recent(now);
        self.any().then(|| Bucket {
            since,
            until,
            median_us: recent.quantile(0.5),
            max_us: recent.max,
            longest_gap_us,
            ..bucket
        })
    }

    /// What there was in all, up to now.
    pub fn all(&self, now: u64) -> Option<Probed> {
        let first = self.first?;
        let milliseconds = |gaps: &Gaps| gaps.longest.max(gaps.open_at(now)) as f64 / 1000.0;
        Some(Probed {
            median_us: self.all.quantile(0.5),
            p99_us: self.all.quantile(0.99),
            max_us: self.all.max,
            longest_gap_ms: milliseconds(&self.writes),
            longest_read_gap_ms: milliseconds(&self.reads),
            seconds: now.saturating_sub(first) as f64 / 1e6,
            ..self.total.clone()
        })
    }
}

/// The numbers that are written, one after the other.
#[derive(Debug, Default)]
pub struct Counter {
    acknowledged: u64,
}

impl Counter {
    /// What is written next, until it is acknowledged.
    pub fn next(&self) -> u64 {
        self.acknowledged + 1
    }

    /// The next one was acknowledged.
    pub fn acknowledge(&mut self) {
        self.acknowledged += 1;
    }

    /// How many acknowledged writes are gone where this is what is there. One that was not acknowledged may be there.
    pub fn lost(&self, found: Option<u64>) -> u64 {
        self.acknowledged.saturating_sub(found.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quantile_is_right_to_three_percent(mut values in prop::collection::vec(0u64..5_000_000, 1..300), share in 0.01f64..1.0) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            values.sort_unstable();
            let exact = values[((values.len() as f64 * share).ceil() as usize).max(1) - 1];
            let found = histogram.quantile(share);
            prop_assert!(exact <= found && found as f64 <= exact as f64 * 1.04 + 1.0, "{} for {}", found, exact);
        }

        #[test]
        fn the_buckets_have_what_the_whole_has(steps in prop::collection::vec((0u8..4, 1u64..40_000), 1..200)) {
            let (mut seen, mut now) = (Seen::default(), 0);
            let (mut reads, mut writes, mut errors, mut gap) = (0, 0, 0, 0);
            for (kind, took) in steps {
                let began = now;
                now += took;
                match kind {
                    0 => seen.wrote(began, now),
                    1 => seen.read(began, now),
                    2 => seen.missed("closed"),
                    _ => if let Some(bucket) = seen.bucket(now, 0.0, 0.0) {
                        reads += bucket.reads;
                        writes += bucket.writes;
                        errors += bucket.errors.values().sum::<u64>();
                        gap = gap.max(bucket.longest_gap_us);
                    }
                }
            }
            let last = seen.bucket(now, 0.0, 0.0).unwrap_or_default();
            let all = seen.all(now).unwrap_or_default();
            prop_assert_eq!((all.reads, all.writes), (reads + last.reads, writes + last.writes));
            prop_assert_eq!(all.errors.values().sum::<u64>(), errors + last.errors.values().sum::<u64>());
            prop_assert_eq!(all.longest_gap_ms, gap.max(last.longest_gap_us) as f64 / 1000.0);
        }

        #[test]
        fn only_what_was_acknowledged_can_be_lost(acknowledged in 0u64..100, found in prop::option::of(0u64..120)) {
            let counter = Counter { acknowledged };
            prop_assert_eq!(counter.lost(found) > 0, found.unwrap_or(0) < acknowledged);
            prop_assert_eq!(counter.lost(Some(counter.next())), 0);
        }
    }

    #[test]
    fn a_gap_that_is_open_is_in_every_bucket_it_spans() {
        let mut seen = Seen::default();
        seen.wrote(0, 100);
        seen.bucket(200, 0.0, 0.0);
        assert!(!seen.is_odd(5_000, 20_000) && seen.is_odd(30_000, 20_000));
        let gaps: Vec<_> = [20_100, 40_100].iter().filter_map(|now| seen.bucket(*now, 0.0, 0.0)).collect();
        assert_eq!((gaps[0].longest_gap_us, gaps[1].longest_gap_us), (20_000, 40_000));
        seen.wrote(1_000, 50_100);
        let all = seen.all(50_200).unwrap();
        assert_eq!((all.longest_gap_ms, all.max_us), (50.0, 49_100));
    }

    #[test]
    fn nothing_counts_before_something_has_succeeded() {
        let mut seen = Seen::default();
        seen.missed("READONLY");
        seen.connected_again();
        assert!(seen.bucket(10, 0.0, 0.0).is_none() && seen.all(10).is_none());
        seen.read(10, 20);
        seen.missed("closed");
        let all = seen.all(1_000_010).unwrap();
        assert_eq!((all.errors.len(), all.reconnects, all.seconds), (1, 0, 1.0));
    }
}
