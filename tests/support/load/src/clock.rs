//! When the run ends, and the longest time in which no write was acknowledged on any connection.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How long a writer waits, once stopped, for the reply to its last command.
const GRACE: Duration = Duration::from_secs(1);

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
    longest: Mutex<Gap>,
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

    /// Counts the longest gap anew.
    pub fn forget_gap(&self) {
        *self.longest.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Gap::default();
    }

    /// The longest time without an acknowledged write so far.
    pub fn longest_gap(&self) -> Gap {
        *self.longest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
        let mut longest = self.longest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if gap.length > longest.length {
            *longest = gap;
        }
    }
}
