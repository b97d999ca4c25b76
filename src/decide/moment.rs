//! Whether now is a good moment to let writes wait: decided from one look at both servers.

use std::{fmt, time::Duration};

use crate::server::info::{Info, Replication};

/// What makes a moment good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// How many bytes the target may be behind.
    pub lag_bytes: u64,
    /// How long the source may take to answer.
    pub latency: Duration,
}

/// One look at both servers.
#[derive(Debug, Clone, Default)]
pub struct Glimpse {
    /// How long the server that is to be demoted took to answer.
    pub latency: Duration,
    /// `INFO` of it, replication and persistence; none while a script keeps it busy.
    pub ahead: Option<Info>,
    /// The same of the one that is to be promoted.
    pub behind: Option<Info>,
}

/// What speaks against now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The one to be demoted runs a script or function that lets nobody else in.
    SourceBusy,
    /// The same on the one to be promoted.
    TargetBusy,
    /// The link is down, or the initial sync is not over.
    NotInSync,
    /// A few bytes behind is also where a stream stands that has not begun, as after a diskless sync until the replica's
    /// once-a-second cron: it has not been seen to get on yet.
    NotMoving,
    /// So many bytes behind.
    Lag(u64),
    /// It took so long to answer.
    Slow(Duration),
    /// It is writing an RDB or AOF file: a fork that makes it slower.
    Fork,
    /// Another replica is in its full sync, which would be lost with the handover.
    OtherSync,
}

impl Obstacle {
    /// Whether it is the replica that is too slow, rather than something that has to end by itself.
    pub fn is_lag(self) -> bool {
        matches!(self, Obstacle::Lag(_) | Obstacle::NotMoving | Obstacle::NotInSync)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::SourceBusy => write!(f, "the server that serves is busy with a script or function"),
            Obstacle::TargetBusy => write!(f, "the replica is busy with a script or function"),
            Obstacle::NotInSync => write!(f, "the replica's link is down, or its initial sync is not over"),
            Obstacle::NotMoving => write!(f, "no progress of the replica has been seen yet"),
            Obstacle::Lag(bytes) => write!(f, "the replica is {bytes} bytes behind"),
            Obstacle::Slow(latency) => {
                write!(f, "the server that serves took {:.1} ms to answer", milliseconds(latency))
            }
            Obstacle::Fork => write!(f, "the server that serves is writing an RDB or AOF file"),
            Obstacle::OtherSync => write!(f, "another replica is in its initial sync"),
        }
    }
}

fn milliseconds(duration: &Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// What speaks against now; none if nothing does. `goal` is an offset that the target must have passed to be known to
/// move: what the source had when it was looked at first.
pub fn obstacle(seen: &Glimpse, goal: u64, wanted: Wanted) -> Option<Obstacle> {
    let Some(ahead_info) = &seen.ahead else { return Some(Obstacle::SourceBusy) };
    let Some(behind) = &seen.behind else { return Some(Obstacle::TargetBusy) };
    let (ahead, behind) = (Replication::from(ahead_info), Replication::from(behind));
    let lag = ahead.offset.saturating_sub(behind.offset);
    let forks = ["rdb_bgsave_in_progress", "aof_rewrite_in_progress"];
    let syncing = |state: &str| ["wait_bgsave", "send_bulk", "bg_transfer"].contains(&state);
    // One that has synced, and not acknowledged anything since, has not begun to read the stream: it still stands where its
    // sync began, and could not follow the target from there.
    let others = ahead.replicas.len() > 1 && ahead.offset > 0;
    let unsettled = |offset: u64| others && offset == 0;
    match () {
        () if !behind.link_up || behind.syncing => Some(Obstacle::NotInSync),
        // A full sync is a fork too, and says more.
        () if ahead.replicas.iter().any(|one| syncing(&one.state) || unsettled(one.offset)) => {
            Some(Obstacle::OtherSync)
        }
        () if forks.iter().any(|fork| ahead_info.flag(fork)) => Some(Obstacle::Fork),
        () if lag > wanted.lag_bytes => Some(Obstacle::Lag(lag)),
        () if behind.offset < goal => Some(Obstacle::NotMoving),
        () if seen.latency > wanted.latency => Some(Obstacle::Slow(seen.latency)),
        () => None,
    }
}

/// How long the drain of the n-th attempt (from 1) may take: short ones first, which nobody notices and in each of which
/// the target comes nearer, then longer ones up to the budget.
pub fn drain_limit(attempt: u32, budget: Duration) -> Duration {
    const FIRST: Duration = Duration::from_millis(4);
    let most = budget / 2;
    FIRST.saturating_mul(1 << (attempt.saturating_sub(1) / 2).min(16)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { lag_bytes: 10, latency: Duration::from_millis(5) };

    fn look(ahead: &str, behind: &str, milliseconds: u64) -> Option<Obstacle> {
        let seen = Glimpse {
            latency: Duration::from_millis(milliseconds),
            ahead: Some(Info::parse(&format!("role:master\nmaster_repl_offset:100\n{ahead}"))),
            behind: Some(Info::parse(&format!("role:slave\nmaster_host:h\nmaster_port:1\n{behind}"))),
        };
        obstacle(&seen, 90, WANTED)
    }

    #[test]
    fn each_obstacle_is_seen() {
        let steady = "master_link_status:up\nslave_repl_offset:95\n";
        assert_eq!(look("", steady, 1), None);
        assert_eq!(look("", "master_link_status:down\nslave_repl_offset:95\n", 1), Some(Obstacle::NotInSync));
        assert_eq!(look("", "master_link_status:up\nslave_repl_offset:80\n", 1), Some(Obstacle::Lag(20)));
        assert_eq!(look("rdb_bgsave_in_progress:1\n", steady, 1), Some(Obstacle::Fork));
        assert_eq!(look("slave1:ip=h,port=2,state=send_bulk,offset=0,lag=0\n", steady, 1), Some(Obstacle::OtherSync));
        let settled = "slave0:ip=h,port=1,state=online,offset=95,lag=0\n";
        assert_eq!(look(settled, steady, 1), None);
        let not_yet = format!("{settled}slave1:ip=h,port=2,state=online,offset=0,lag=0\n");
        assert_eq!(look(&not_yet, steady, 1), Some(Obstacle::OtherSync));
        assert_eq!(look("", steady, 9), Some(Obstacle::Slow(Duration::from_millis(9))));
        assert_eq!(obstacle(&Glimpse::default(), 0, WANTED), Some(Obstacle::SourceBusy));
    }

    #[test]
    fn a_stream_that_has_not_begun_is_waited_for() {
        let seen = Glimpse {
            latency: Duration::ZERO,
            ahead: Some(Info::parse("role:master\nmaster_repl_offset:100\n")),
            behind: Some(Info::parse("role:slave\nmaster_link_status:up\nslave_repl_offset:95\n")),
        };
        assert_eq!(obstacle(&seen, 96, WANTED), Some(Obstacle::NotMoving));
        assert_eq!(obstacle(&seen, 95, WANTED), None);
    }

    #[test]
    fn attempts_grow_up_to_half_the_budget() {
        let limits: Vec<u128> = (1..=20).map(|n| drain_limit(n, Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(limits[..6], [4, 4, 8, 8, 16, 16]);
        assert_eq!(limits.last(), Some(&500));
    }
}
