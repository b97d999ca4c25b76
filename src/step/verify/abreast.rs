//! Keeps the replica's stream from running ahead of the master's.
//!
//! All wait for the master's, which is compressed. Where the two share a machine, the replica would slow it down, and leave a
//! processor with nothing to do later on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// How many keys the follower may be ahead.
const FAR: u64 = 3_000;

/// After how long it looks again.
const STEP: Duration = Duration::from_millis(1);

/// How long it waits at most before it reads on, since a server gives up a replica that reads nothing for its `repl-timeout`; and in all,
/// since its child uses memory for as long.
const AT_ONCE: Duration = Duration::from_secs(1);
const IN_ALL: Duration = Duration::from_secs(30);

/// How many keys of each have come.
#[derive(Default)]
pub struct Progress {
    leader: AtomicU64,
    follower: AtomicU64,
    /// Whether no more of the leader's come.
    over: AtomicBool,
}

impl Progress {
    /// How many have come from both.
    pub fn done(&self) -> u64 {
        (self.leader.load(Relaxed) + self.follower.load(Relaxed)) / 2
    }

    /// Whether the follower is far ahead with so many.
    fn is_ahead(&self, keys: u64) -> bool {
        keys > self.leader.load(Relaxed) + FAR && !self.over.load(Relaxed)
    }
}

/// The master's stream. When this is dropped, however the stream has ended, nobody waits for it any more.
pub struct Leader(Arc<Progress>);

impl Leader {
    pub fn of(progress: &Arc<Progress>) -> Self {
        Leader(Arc::clone(progress))
    }

    /// So many keys have come.
    pub fn arrived(&self, keys: u64) {
        self.0.leader.store(keys, Relaxed);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}

/// The replica's stream.
pub struct Follower {
    progress: Arc<Progress>,
    waited: Duration,
}

impl Follower {
    pub fn of(progress: &Arc<Progress>) -> Self {
        Follower { progress: Arc::clone(progress), waited: Duration::ZERO }
    }

    /// So many keys have come. Blocks where that are too many.
    pub fn arrived(&mut self, keys: u64) {
        self.progress.follower.store(keys, Relaxed);
        if !self.progress.is_ahead(keys) {
            return;
        }
        let began = Instant::now();
        let most = AT_ONCE.min(IN_ALL.saturating_sub(self.waited));
        while self.progress.is_ahead(keys) && began.elapsed() < most {
            thread::sleep(STEP);
        }
        self.waited += began.elapsed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_far_ahead_waits() {
        let progress = Arc::new(Progress::default());
        let (leader, mut follower) = (Leader::of(&progress), Follower::of(&progress));
        leader.arrived(1000);
        follower.arrived(FAR + 1000);
        assert_eq!(follower.waited, Duration::ZERO);
        follower.arrived(FAR + 1001);
        assert!(follower.waited > Duration::ZERO);
        assert_eq!(progress.done(), FAR / 2 + 1000);
    }

    #[test]
    fn who_has_waited_for_long_reads_on() {
        let progress = Arc::new(Progress::default());
        let mut follower = Follower { waited: IN_ALL, ..Follower::of(&progress) };
        (1..=100).for_each(|n| follower.arrived(n * FAR));
        assert!(follower.waited < IN_ALL + AT_ONCE);
    }

    #[test]
    fn nobody_waits_for_a_stream_that_is_over() {
        let progress = Arc::new(Progress::default());
        let (leader, mut follower) = (Leader::of(&progress), Follower::of(&progress));
        drop(leader);
        follower.arrived(10 * FAR);
        assert_eq!(follower.waited, Duration::ZERO);
    }
}
