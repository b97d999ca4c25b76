//! How far an upgrade has come, read from the two servers' roles.

use serde::Serialize;

use crate::{
    journal::Handover,
    server::{
        Side,
        info::{Identity, Replication, Role},
    },
};

/// The stages of an upgrade, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Two servers that have nothing to do with each other; the source serves.
    Apart,
    /// The source serves, the target follows it.
    Following,
    /// A handover stopped between its two transactions: nobody accepts writes.
    HalfDone,
    /// The target serves, the source follows it.
    Switched,
    /// The target serves, the source is gone.
    Retired,
}

impl Stage {
    /// Who takes writes; none in the middle of a handover.
    pub fn serves(self) -> Option<Side> {
        match self {
            Stage::Apart | Stage::Following => Some(Side::Source),
            Stage::Switched | Stage::Retired => Some(Side::Target),
            Stage::HalfDone => None,
        }
    }
}

/// A server's part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its role.
    pub role: Role,
    /// Whether it is a replica of the other one.
    pub follows_other: bool,
}

/// The stage two live servers are in; none if their roles fit no stage.
pub fn stage(source: Part, target: Part) -> Option<Stage> {
    match (source.role, target.role) {
        (Role::Master, Role::Master) => Some(Stage::Apart),
        (Role::Master, Role::Replica) if target.follows_other => Some(Stage::Following),
        (Role::Replica, Role::Master) if source.follows_other => Some(Stage::Switched),
        (Role::Replica, Role::Replica) if source.follows_other => Some(Stage::HalfDone),
        _ => None,
    }
}

/// Whether two servers have a replication history in common: one continues what the other took part in.
pub fn share_history(a: &Replication, b: &Replication) -> bool {
    let histories = |r: &Replication| [r.replid.clone(), r.replid2.clone()];
    let known = |id: &String| id.bytes().any(|byte| byte != b'0');
    histories(a).iter().any(|id| known(id) && histories(b).contains(id))
}

/// Which of the two of a handover answers, wherever it does: by its run id or, after a restart, by its configuration
/// file. Both are on one host where this is asked, so they can't share one.
pub fn who(handover: &Handover, answering: &Identity) -> Option<Side> {
    let restarted = |file: &str| !file.is_empty() && answering.config_file == file;
    match () {
        () if answering.run_id == handover.source => Some(Side::Source),
        () if answering.run_id == handover.target => Some(Side::Target),
        () if handover.source_config == handover.target_config => None,
        () if restarted(&handover.source_config) => Some(Side::Source),
        () if restarted(&handover.target_config) => Some(Side::Target),
        () => None,
    }
}

/// Whether `replica` is a replica of `master`, which listens on one of `ports` at one of `hosts`.
///
/// While the link is up the history's name tells it for sure; before the first sync, and for a demoted master that has
/// not reached the new one yet, only the address it was given can.
pub fn follows(replica: &Replication, master: &Replication, hosts: &[&str], ports: &[u16]) -> bool {
    let Some((host, port)) = &replica.master else { return false };
    let history = !replica.replid.is_empty() && [&master.replid, &master.replid2].contains(&&replica.replid);
    ports.contains(port) && (history || !replica.link_up && hosts.contains(&host.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_roles_has_one_reading() {
        let part = |role, follows_other| Part { role, follows_other };
        use Role::{Master, Replica};
        assert_eq!(stage(part(Master, false), part(Master, false)), Some(Stage::Apart));
        assert_eq!(stage(part(Master, false), part(Replica, true)), Some(Stage::Following));
        assert_eq!(stage(part(Master, false), part(Replica, false)), None);
        assert_eq!(stage(part(Replica, true), part(Replica, true)), Some(Stage::HalfDone));
        assert_eq!(stage(part(Replica, true), part(Replica, false)), Some(Stage::HalfDone));
        assert_eq!(stage(part(Replica, true), part(Master, false)), Some(Stage::Switched));
        assert_eq!(stage(part(Replica, false), part(Master, false)), None);
    }

    #[test]
    fn a_restarted_server_is_known_by_its_configuration_file() {
        let record = Handover {
            source: "s".into(),
            target: "t".into(),
            back: false,
            source_config: "/old.conf".into(),
            target_config: "/new.conf".into(),
            replid: String::new(),
            home: Default::default(),
            public: Default::default(),
            aside: Default::default(),
            from: Default::default(),
            fenced: false,
            plan: Default::default(),
        };
        let answers = |run_id: &str, config_file: &str| {
            who(&record, &Identity { run_id: run_id.into(), config_file: config_file.into(), ..Identity::default() })
        };
        assert_eq!(answers("s", ""), Some(Side::Source));
        assert_eq!(answers("t", "/old.conf"), Some(Side::Target));
        assert_eq!(answers("x", "/new.conf"), Some(Side::Target));
        assert_eq!(answers("x", ""), None);
    }

    #[test]
    fn a_history_is_shared_by_name_and_zeros_are_no_name() {
        let server = |replid: &str, replid2: &str| Replication {
            replid: replid.into(),
            replid2: replid2.into(),
            ..Replication::default()
        };
        assert!(share_history(&server("new", "old"), &server("old", "000")));
        assert!(!share_history(&server("a", "000"), &server("b", "000")));
    }

    #[test]
    fn an_address_or_a_shared_history_tells_whom_a_replica_follows() {
        let master = Replication { replid: "h".into(), ..Replication::default() };
        let replica = |host: &str, port, replid: &str| Replication {
            role: Role::Replica,
            master: Some((host.into(), port)),
            replid: replid.into(),
            ..Replication::default()
        };
        assert!(follows(&replica("10.0.0.1", 1, "h"), &master, &["db"], &[1]));
        assert!(follows(&replica("db", 1, "other"), &master, &["db"], &[1]));
        assert!(!follows(&replica("10.0.0.1", 1, "other"), &master, &["db"], &[1]));
        assert!(!follows(&replica("db", 2, "h"), &master, &["db"], &[1]));
    }
}
