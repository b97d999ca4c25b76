//! Whether a host has room for a second server with the same data, decided from numbers.

use crate::error::{Code, Error};

/// What is needed and what there is, in bytes. None is what can't be told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// What the source's data takes in memory.
    pub data: u64,
    /// What the source's last fork has cost, by pages that were written meanwhile.
    pub fork: u64,
    /// Memory that the host can give.
    pub memory: Option<u64>,
    /// Memory that the control group can give.
    pub group: Option<u64>,
    /// `vm.overcommit_memory`.
    pub overcommit: Option<u64>,
    /// What the kernel still promises where it never promises more than it has.
    pub promises: Option<u64>,
    /// What is free where the new instance keeps its files.
    pub disk: Option<u64>,
    /// Whether the new instance writes an RDB file.
    pub rdb: bool,
    /// Whether it writes an AOF.
    pub aof: bool,
}

/// What stands against a second server.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Refusals.
    pub blockers: Vec<Error>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// What a server takes without data.
const BARE: u64 = 16 << 20;

/// Judges it.
pub fn judge(room: &Room) -> Verdict {
    let mut verdict = Verdict::default();
    memory(room, &mut verdict);
    disk(room, &mut verdict);
    verdict
}

fn memory(room: &Room, verdict: &mut Verdict) {
    let needed = BARE + room.data + room.fork;
    // While the source's fork sends the data, each page that is written is there twice.
    let worst = needed.max(BARE + 2 * room.data);
    for (left, whose) in [(room.memory, "this host has"), (room.group, "the control group of this process has")] {
        let Some(left) = left else { continue };
        if left < needed {
            let found = format!(
                "{whose} {} of memory left, and a second server with {} of data needs {}, its sync included",
                size(left),
                size(room.data),
                size(needed)
            );
            let remedy = "free memory or give it more; with force it is tried all the same";
            verdict.blockers.push(Error::new(Code::MemoryShort, found).remedy(remedy));
        } else if left < worst {
            verdict.warnings.push(format!(
                "{whose} {} of memory left: enough for the data, but not if all of it ({}) is written during the sync",
                size(left),
                size(room.data)
            ));
        }
    }
    // A fork asks for as much again as the source has.
    let forked = needed + room.data;
    match (room.overcommit, room.promises) {
        (Some(2), Some(left)) if left < forked => {
            let found = format!(
                "vm.overcommit_memory is 2 and {} can still be promised; data and fork need {}",
                size(left),
                size(forked)
            );
            let remedy = "set vm.overcommit_memory to 1 for the upgrade; with force it is tried all the same";
            verdict.blockers.push(Error::new(Code::MemoryShort, found).remedy(remedy));
        }
        (Some(0), _) if room.memory.is_some_and(|left| left < forked) => {
            verdict.warnings.push(
                "vm.overcommit_memory is 0: the fork for the sync may be refused; set it to 1 for the upgrade".into(),
            );
        }
        _ => {}
    }
}

fn disk(room: &Room, verdict: &mut Verdict) {
    // A rewrite or save writes the new file beside the old one; either is rarely larger than the data in memory.
    let files = 2 * (u64::from(room.rdb) + u64::from(room.aof));
    let (least, most) = (room.data * files.min(1), room.data * files);
    match room.disk {
        Some(free) if free < least => {
            let found =
                format!("{} are free in the directory, and {} of data are written there", size(free), size(least));
            let remedy = "free space or give another directory; with force it is tried all the same";
            verdict.blockers.push(Error::new(Code::DiskShort, found).remedy(remedy));
        }
        Some(free) if free < most => {
            verdict.warnings.push(format!(
                "{} are free in the directory; RDB and AOF files of {} of data may need {} while they are rewritten",
                size(free),
                size(room.data),
                size(most)
            ));
        }
        _ => {}
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 2] = [(1 << 30, "GB"), (1 << 20, "MB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;

    fn roomy() -> Room {
        Room {
            data: 4 * GB,
            fork: GB / 10,
            memory: Some(20 * GB),
            group: None,
            overcommit: Some(1),
            promises: Some(0),
            disk: Some(100 * GB),
            rdb: true,
            aof: true,
        }
    }

    /// Codes of the blockers, and how many warnings.
    fn of(room: Room) -> (Vec<&'static str>, usize) {
        let verdict = judge(&room);
        (verdict.blockers.iter().map(|error| error.code.as_str()).collect(), verdict.warnings.len())
    }

    #[test]
    fn where_there_is_room_nothing_is_said() {
        assert_eq!(of(roomy()), (vec![], 0));
        assert_eq!(of(Room::default()), (vec![], 0));
    }

    #[test]
    fn memory_must_hold_the_data_and_the_fork() {
        let with = |memory| Room { memory: Some(memory), ..roomy() };
        assert_eq!(of(with(4 * GB)), (vec!["memory_short"], 0));
        assert_eq!(of(with(5 * GB)), (vec![], 1));
        assert_eq!(of(with(9 * GB)), (vec![], 0));
        let found = &judge(&with(4 * GB)).blockers[0].found;
        assert!(found.contains("4.0 GB of memory left") && found.contains("needs 4.1 GB"), "{found}");
    }

    #[test]
    fn a_control_group_may_have_less_than_the_host() {
        assert_eq!(of(Room { group: Some(GB), ..roomy() }).0, ["memory_short"]);
    }

    #[test]
    fn a_kernel_that_promises_nothing_beyond_refuses_the_fork() {
        assert_eq!(of(Room { overcommit: Some(2), promises: Some(6 * GB), ..roomy() }).0, ["memory_short"]);
        assert_eq!(of(Room { overcommit: Some(2), promises: Some(9 * GB), ..roomy() }), (vec![], 0));
        assert_eq!(of(Room { overcommit: Some(0), memory: Some(8 * GB + GB / 20), ..roomy() }).1, 1);
    }

    #[test]
    fn the_disk_must_hold_what_is_written() {
        let with = |disk| Room { disk: Some(disk), ..roomy() };
        assert_eq!(of(with(3 * GB)).0, ["disk_short"]);
        assert_eq!(of(with(10 * GB)), (vec![], 1));
        let kept = Room { rdb: false, aof: false, disk: Some(0), ..roomy() };
        assert_eq!(of(kept), (vec![], 0));
    }
}
