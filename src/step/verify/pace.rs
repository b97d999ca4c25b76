//! How fast reads go on: no faster than the one that serves can bear, and evenly.

use std::time::{Duration, Instant};

use crate::decide::throttle::Throttle;

/// How long it takes at most to read some keys at once where the rate is limited.
const PART: Duration = Duration::from_millis(50);

/// The pace of one comparison.
pub struct Pace {
    pub throttle: Throttle,
    /// When the next keys may be read.
    next: Instant,
    began: Instant,
    /// Keys that were compared since then.
    done: u64,
    /// Keys that were compared before, where it goes on.
    before: u64,
}

impl Pace {
    pub fn new(throttle: Throttle, before: u64) -> Self {
        let now = Instant::now();
        Pace { throttle, next: now, began: now, done: 0, before }
    }

    /// So many keys were compared.
    pub fn add(&mut self, keys: usize) {
        self.done += keys as u64;
    }

    /// Keys that were compared so far.
    pub fn compared(&self) -> u64 {
        self.before + self.done
    }

    /// Keys a second.
    pub fn speed(&self) -> f64 {
        self.done as f64 / self.began.elapsed().as_secs_f64().max(0.001)
    }

    /// So many keys at a time, or fewer where the rate is low: others have their turn in between.
    pub fn most(&self, keys: usize) -> usize {
        keys.min((self.throttle.rate() * PART.as_secs_f64()) as usize).max(1)
    }

    /// How long so many keys have to wait for their turn.
    pub fn turn(&mut self, keys: usize) -> Duration {
        let now = Instant::now();
        let start = self.next.max(now);
        self.next = start + Duration::from_secs_f64(keys as f64 / self.throttle.rate());
        start - now
    }
}
