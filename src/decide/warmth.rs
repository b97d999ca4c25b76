//! Whether the old server is warm: it follows the new one without a gap, so that it can take over back with nothing
//! lost.

use crate::server::info::{Info, Replication, Role};

/// How it stands with the server that was demoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warmth {
    /// It has everything, as far as the replication stream tells.
    Warm,
    /// Its link is down, and the new one still has in its backlog all that it misses: it can follow again.
    Resumable,
    /// It can't take over without a loss, and why.
    Lossy(String),
}

/// Errors that a server met in the stream it follows. Redis counts them from 7.0 on; before, those errors that it gave to
/// anybody count which a stream leads to, and a client that may only read does not. None where it counts neither (6.0).
pub fn stream_errors(info: &Info) -> Option<u64> {
    let counted = |name| info.get(name).and_then(|line| line.strip_prefix("count=")?.parse::<u64>().ok());
    let before = || {
        info.number("total_error_replies")?;
        Some(["errorstat_ERR", "errorstat_WRONGTYPE"].into_iter().filter_map(counted).sum())
    };
    info.number("unexpected_error_replies").or_else(before)
}

/// How warm the follower is. `errors` is how many more errors it has met in the stream than when it began to follow.
pub fn warmth(follower: &Replication, master: &Replication, master_info: &Info, errors: u64) -> Warmth {
    if follower.role == Role::Master {
        return Warmth::Lossy("it is no replica".into());
    }
    if errors > 0 {
        return Warmth::Lossy(format!("it could not carry out {errors} commands of the newer one"));
    }
    if follower.syncing {
        return Warmth::Lossy("it is in a full resync".into());
    }
    if follower.link_up {
        return Warmth::Warm;
    }
    match resumable(follower, master, master_info) {
        true => Warmth::Resumable,
        false => Warmth::Lossy("its link is down, and the new one no longer has what it missed since".into()),
    }
}

/// Whether a partial resync would succeed: the master knows the history, and its backlog reaches back to where the
/// follower stands. (`masterTryPartialResync` in `replication.c` of Redis 4 and newer.)
pub fn resumable(follower: &Replication, master: &Replication, master_info: &Info) -> bool {
    let number = |name| master_info.number(name).unwrap_or_default();
    let next = follower.offset + 1;
    let known =
        follower.replid == master.replid || follower.replid == master.replid2 && next <= number("second_repl_offset");
    let first = number("repl_backlog_first_byte_offset");
    let kept = first <= next && next <= first + number("repl_backlog_histlen");
    !follower.replid.is_empty() && known && master_info.flag("repl_backlog_active") && kept
}

/// For how many seconds the link may be down before the backlog no longer reaches back: at this rate of bytes a second.
/// None where nothing is written.
pub fn backlog_seconds(follower: &Replication, master: &Replication, backlog_bytes: u64, rate: f64) -> Option<f64> {
    let left = backlog_bytes.saturating_sub(master.offset.saturating_sub(follower.offset));
    (rate > 0.0).then(|| left as f64 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(link_up: bool, offset: u64) -> Replication {
        Replication { role: Role::Replica, link_up, offset, replid: "h".into(), ..Replication::default() }
    }

    fn judge(follower: &Replication, first: u64, length: u64, errors: u64) -> Warmth {
        let info =
            format!("repl_backlog_active:1\nrepl_backlog_first_byte_offset:{first}\nrepl_backlog_histlen:{length}\n");
        let master = Replication { replid: "h".into(), offset: first + length, ..Replication::default() };
        warmth(follower, &master, &Info::parse(&info), errors)
    }

    #[test]
    fn the_backlog_decides_when_the_link_is_down() {
        assert_eq!(judge(&follower(true, 5), 50, 10, 0), Warmth::Warm);
        assert_eq!(judge(&follower(false, 55), 50, 10, 0), Warmth::Resumable);
        assert_eq!(judge(&follower(false, 49), 50, 10, 0), Warmth::Resumable);
        assert!(matches!(judge(&follower(false, 48), 50, 10, 0), Warmth::Lossy(_)));
        assert!(matches!(judge(&follower(true, 55), 50, 10, 1), Warmth::Lossy(_)));
    }

    #[test]
    fn errors_of_the_stream_are_counted_in_both_dialects() {
        assert_eq!(stream_errors(&Info::parse("unexpected_error_replies:2\ntotal_error_replies:9\n")), Some(2));
        let before = "total_error_replies:9\nerrorstat_ERR:count=3\nerrorstat_READONLY:count=6\n";
        assert_eq!(stream_errors(&Info::parse(before)), Some(3));
        assert_eq!(stream_errors(&Info::parse("role:slave\n")), None);
    }

    #[test]
    fn an_older_history_counts_up_to_where_it_ended() {
        let info = |second| {
            Info::parse(&format!(
                "repl_backlog_active:1\nrepl_backlog_first_byte_offset:1\nrepl_backlog_histlen:99\nsecond_repl_offset:{second}\n"
            ))
        };
        let master = Replication { replid: "new".into(), replid2: "h".into(), ..Replication::default() };
        assert!(resumable(&follower(false, 10), &master, &info(11)));
        assert!(!resumable(&follower(false, 11), &master, &info(11)));
    }

    #[test]
    fn what_is_left_of_the_backlog_lasts_as_long_as_writes_take_to_fill_it() {
        let master = Replication { offset: 120, ..Replication::default() };
        assert_eq!(backlog_seconds(&follower(true, 100), &master, 1020, 10.0), Some(100.0));
        assert_eq!(backlog_seconds(&follower(true, 100), &master, 1020, 0.0), None);
    }
}
