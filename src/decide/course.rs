//! What a call of `switchover` or `rollback` does, from where things stand: the first call and every rerun alike.

use super::stage::Stage;
use crate::server::Side;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Course {
    /// A handover from the start: pause, drain, demote, promote.
    Cut,
    /// The rest of a handover that has demoted its server.
    GoOn,
    /// The demoted server is made master again.
    TakeBack,
    /// It was done before: what a crash right after it has left undone.
    Settle,
    /// Nothing, and why.
    Refuse(Refusal),
}

/// Why nothing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The target does not replicate from the source.
    NotReplicating,
    /// The source is gone, so there is no way back.
    SourceRetired,
    /// The one that serves is not yet where clients arrive: to hand over from there would lose their address.
    NotArrived,
    /// Both are replicas, and nothing here tells of a handover between them.
    NoRecord,
    /// The one to be promoted lacks the data of the one that was demoted.
    HistoryLost,
}

/// Where things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// How far the upgrade has come.
    pub stage: Stage,
    /// The side that the last handover in the journal demotes, if there is one that was not taken back.
    pub demotes: Option<Side>,
    /// Whether the one that serves listens where clients arrive.
    pub arrived: bool,
    /// Whether the two share a replication history.
    pub continues: bool,
}

/// What is done so that the server on side `to` serves.
pub fn course(to: Side, standing: &Standing) -> Course {
    let Standing { stage, demotes, arrived, continues } = *standing;
    match (stage, to) {
        (Stage::Apart, Side::Target) => Course::Refuse(Refusal::NotReplicating),
        (Stage::Retired, Side::Source) => Course::Refuse(Refusal::SourceRetired),
        (stage, to) if !arrived && stage.serves() == Some(to.other()) => Course::Refuse(Refusal::NotArrived),
        (Stage::HalfDone, _) => match demotes {
            None => Course::Refuse(Refusal::NoRecord),
            Some(demoted) if demoted == to => Course::TakeBack,
            Some(_) if !continues => Course::Refuse(Refusal::HistoryLost),
            Some(_) => Course::GoOn,
        },
        (stage, to) if stage.serves() == Some(to) => Course::Settle,
        _ => Course::Cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(stage: Stage, demotes: Option<Side>) -> Standing {
        Standing { stage, demotes, arrived: true, continues: true }
    }

    #[test]
    fn from_each_stage_to_each_side() {
        use Side::{Source, Target};
        let plain = |stage, to| course(to, &standing(stage, None));
        assert_eq!(plain(Stage::Apart, Source), Course::Settle);
        assert_eq!(plain(Stage::Apart, Target), Course::Refuse(Refusal::NotReplicating));
        assert_eq!(plain(Stage::Following, Source), Course::Settle);
        assert_eq!(plain(Stage::Following, Target), Course::Cut);
        assert_eq!(plain(Stage::HalfDone, Target), Course::Refuse(Refusal::NoRecord));
        assert_eq!(plain(Stage::Switched, Source), Course::Cut);
        assert_eq!(plain(Stage::Switched, Target), Course::Settle);
        assert_eq!(plain(Stage::Retired, Source), Course::Refuse(Refusal::SourceRetired));
        assert_eq!(plain(Stage::Retired, Target), Course::Settle);
    }

    #[test]
    fn half_done_goes_on_or_back_as_asked() {
        let half = standing(Stage::HalfDone, Some(Side::Source));
        assert_eq!(course(Side::Target, &half), Course::GoOn);
        assert_eq!(course(Side::Source, &half), Course::TakeBack);
        let back = standing(Stage::HalfDone, Some(Side::Target));
        assert_eq!(course(Side::Source, &back), Course::GoOn);
        assert_eq!(course(Side::Target, &back), Course::TakeBack);
    }

    #[test]
    fn what_lacks_the_data_is_not_gone_on_to() {
        let lost = Standing { continues: false, ..standing(Stage::HalfDone, Some(Side::Source)) };
        assert_eq!(course(Side::Target, &lost), Course::Refuse(Refusal::HistoryLost));
        assert_eq!(course(Side::Source, &lost), Course::TakeBack);
    }

    #[test]
    fn no_way_back_before_clients_can_arrive() {
        let early = Standing { arrived: false, ..standing(Stage::Switched, Some(Side::Source)) };
        assert_eq!(course(Side::Source, &early), Course::Refuse(Refusal::NotArrived));
        assert_eq!(course(Side::Target, &early), Course::Settle);
        let undone = Standing { arrived: false, ..standing(Stage::Following, Some(Side::Source)) };
        assert_eq!(course(Side::Target, &undone), Course::Refuse(Refusal::NotArrived));
        assert_eq!(course(Side::Source, &undone), Course::Settle);
    }
}
