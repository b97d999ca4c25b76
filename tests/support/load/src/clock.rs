//! When the run ends, and the longest time in which no write was acknowledged on any connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a writer waits, once stopped, for the reply to its last command.
const GRACE: Duration = Duration::from_secs(1);

/// How many gaps are remembered: the longest ones.
const REMEMBERED: usize = 64;

/// A time without an acknowledged write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gap {
    /// The acknowledged write before it, in nanoseconds since the clock's start.
    pub began: u64,
    /// Its length in nanoseconds.
    pub length: u64,
}

/// Time as all connections share it. Only the newest acknowledgement is kept, so a run may last for hours.
pub struct Clock {
    start: Instant,
    start_unix: f64,
    began: AtomicU64,
    stopped: AtomicU64,
    last_ack: AtomicU64,
    /// The longest gaps, longest first.
    longest: Mutex<Vec<Gap>>,
}

impl Clock {
    /// A clock that runs from now on.
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Instant::now(),
            start_unix: unix.as_secs_f64(),
            began: AtomicU64::new(u64::MAX),
            stopped: AtomicU64::new(u64::MAX),
            last_ack: AtomicU64::new(0),
            longest: Mutex::default(),
        }
    }

    /// The time since the start in nanoseconds.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// All connections are up: the writing begins.
    pub fn begin(&self) {
        let now = self.now();
        self.last_ack.store(now, Ordering::SeqCst);
        self.began.store(now, Ordering::SeqCst);
    }

    /// Whether the writing has begun.
    pub fn has_begun(&self) -> bool {
        self.began.load(Ordering::SeqCst) != u64::MAX
    }

    /// Ends the run. A server that acknowledged nothing up to here had a gap until here.
    pub fn stop(&self) {
        let now = self.now();
        self.stopped.store(now, Ordering::SeqCst);
        let began = self.last_ack.load(Ordering::SeqCst);
        self.note(Gap { began, length: now.saturating_sub(began) });
    }

    /// Whether no further write should begin.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) != u64::MAX
    }

    /// Whether a writer should no longer wait for a reply.
    pub fn is_over(&self) -> bool {
        let stopped = self.stopped.load(Ordering::Relaxed);
        stopped != u64::MAX && Duration::from_nanos(self.now().saturating_sub(stopped)) > GRACE
    }

    /// A write was acknowledged just now.
    pub fn acknowledged(&self) {
        let now = self.now();
        let began = self.last_ack.fetch_max(now, Ordering::Relaxed);
        self.note(Gap { began, length: now.saturating_sub(began) });
    }

    /// Counts the gaps anew.
    pub fn forget_gaps(&self) {
        self.gaps().clear();
    }

    /// The longest times without an acknowledged write so far, longest first.
    pub fn longest_gaps(&self) -> Vec<Gap> {
        self.gaps().clone()
    }

    /// The seconds of writing so far, or of all of it when stopped.
    pub fn seconds(&self) -> f64 {
        let end = self.now().min(self.stopped.load(Ordering::SeqCst));
        Duration::from_nanos(end.saturating_sub(self.began.load(Ordering::SeqCst))).as_secs_f64()
    }

    /// A time of this clock as seconds since 1970.
    pub fn unix(&self, nanoseconds: u64) -> f64 {
        self.start_unix + Duration::from_nanos(nanoseconds).as_secs_f64()
    }

    /// Now, as seconds since 1970.
    pub fn unix_now(&self) -> f64 {
        self.unix(self.now())
    }

    fn note(&self, gap: Gap) {
        let mut gaps = self.gaps();
        let place = gaps.partition_point(|known| known.length >= gap.length);
        if place < REMEMBERED {
            gaps.truncate(REMEMBERED - 1);
            gaps.insert(place, gap);
        }
    }

    fn gaps(&self) -> MutexGuard<'_, Vec<Gap>> {
        self.longest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
