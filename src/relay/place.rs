//! Where the threads of a relay run.
//!
//! On a small host the scheduler likes to put a thread next to whoever has woken it, and so two of them on the processor of the
//! server. While clients send one small request after the other, and it is woken for each, a thread is better off on a processor of
//! its own. When they send many at a time the scheduler finds better places than that, as on a host with processors to spare.

use std::{cell::Cell, time::Duration};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Pieces of fewer bytes on average are single requests and their replies.
const SMALL: u64 = 1024;

/// How often a thread looks at what it has moved, and how many pieces tell something.
const LOOK: Duration = Duration::from_millis(250);
const ENOUGH: u64 = 250;

/// What a thread has moved since it last looked.
#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    pieces: u64,
    bytes: u64,
}

impl Moved {
    /// Whether it was woken for small pieces; none where it was not woken often enough to matter.
    fn is_small(self) -> Option<bool> {
        (self.pieces >= ENOUGH).then(|| self.bytes / self.pieces < SMALL)
    }
}

thread_local! {
    static MOVED: Cell<Moved> = const { Cell::new(Moved { pieces: 0, bytes: 0 }) };
}

/// Counts a piece that this thread has moved.
pub fn count(bytes: usize) {
    let Moved { pieces, bytes: before } = MOVED.get();
    MOVED.set(Moved { pieces: pieces + 1, bytes: before + bytes as u64 });
}

/// The processor that each thread may have for itself; none where there are more of them than threads, or fewer.
pub fn places(threads: usize) -> Vec<Option<usize>> {
    let set = sched_getaffinity(None).unwrap_or_default();
    let allowed = (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor));
    dealt(threads, &allowed.collect::<Vec<_>>())
}

fn dealt(threads: usize, allowed: &[usize]) -> Vec<Option<usize>> {
    match allowed.len() == threads {
        true => allowed.iter().copied().map(Some).collect(),
        false => vec![None; threads],
    }
}

/// Keeps this thread on its processor for as long as that is better. Where the system refuses, it is only slower.
pub async fn keep(place: Option<usize>) {
    let (Some(processor), Ok(all)) = (place, sched_getaffinity(None)) else { return };
    let mut alone = CpuSet::new();
    alone.set(processor);
    let mut stays = false;
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(small) = MOVED.take().is_small()
            && small != stays
        {
            stays = small;
            let _ = sched_setaffinity(None, if stays { &alone } else { &all });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_a_processor_of_its_own_where_there_are_as_many() {
        assert_eq!(dealt(2, &[3, 5]), [Some(3), Some(5)]);
        assert_eq!(dealt(1, &[7]), [Some(7)]);
    }

    #[test]
    fn threads_go_where_they_like_where_there_are_more_processors_or_fewer() {
        assert_eq!(dealt(4, &[0, 1, 2, 3, 4, 5, 6, 7]), [None; 4]);
        assert_eq!(dealt(2, &[0]), [None; 2]);
        // Where it can't be told.
        assert_eq!(dealt(2, &[]), [None; 2]);
    }

    #[test]
    fn single_requests_are_told_from_many_at_a_time() {
        let moved = |pieces, bytes| Moved { pieces, bytes }.is_small();
        assert_eq!(moved(10_000, 10_000 * 100), Some(true));
        assert_eq!(moved(10_000, 10_000 * 2000), Some(false));
        assert_eq!(moved(10, 1000), None);
    }
}
