//! What a call of `switchover` or `rollback` knows and decides before the machine runs: locks, the look at both servers,
//! the journal. What `src/pair.rs` and `src/step/` do is put here in short; [`course`], `stage`, `follows` and
//! `share_history` are the production functions.

use redis_baton::{
    decide::{
        course::{Course, Refusal, Standing, course},
        stage::{Stage, share_history, stage},
    },
    server::Side,
};

use crate::{
    servers::{Exec, Op, Port, Reply, Servers},
    world::Setup,
};

/// A line `handover` in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    pub back: bool,
    pub public: Port,
    pub aside: Port,
    pub from: Port,
    /// The history of the demoted one.
    pub replid: u8,
    /// The target's run id.
    pub target: u8,
    /// The demoted one is shut down, and not demoted.
    pub fenced: bool,
}

impl Record {
    pub fn demoted(&self) -> Side {
        if self.back { Side::Target } else { Side::Source }
    }

    pub fn promoted(&self) -> Side {
        self.demoted().other()
    }

    fn is_takeover(&self) -> bool {
        self.public != self.from
    }

    fn home(&self) -> Port {
        if self.is_takeover() { self.public } else { self.aside }
    }

    pub fn demotion(&self) -> Exec {
        Exec { port: moved(self.home(), self.aside), follow: Some(Some(self.public)), kill: true, unpause: false }
    }

    pub fn promotion(&self) -> Exec {
        Exec { port: moved(self.from, self.public), follow: Some(None), ..Exec::default() }
    }

    pub fn undoing(&self) -> Exec {
        Exec { port: moved(self.aside, self.home()), follow: Some(None), kill: false, unpause: true }
    }

    /// Where the server on that side has to listen to serve, if it does not.
    pub fn missed(&self, side: Side, servers: &Servers) -> Option<Port> {
        let wanted = if side == self.promoted() { self.public } else { self.home() };
        (self.is_takeover() && servers.of(side).port != wanted).then_some(wanted)
    }

    /// Whether the promoted one was a master in the meantime, so that only it may have everything.
    fn served(&self, servers: &Servers) -> bool {
        let (demoted, promoted) = (servers.of(self.demoted()), servers.of(self.promoted()));
        let own_history = promoted.replid != self.replid && promoted.replid2 == self.replid;
        own_history || promoted.log.len() > demoted.log.len()
    }

    /// The port that the demoted one was to leave, and has not left.
    pub fn left(&self, servers: &Servers) -> Option<Port> {
        let demoted = servers.of(self.demoted());
        let stays = demoted.alive && demoted.follows.is_some() && demoted.port == self.home();
        (stays && self.home() != self.aside).then_some(self.aside)
    }
}

fn moved(now: Port, then: Port) -> Option<Port> {
    (now != then).then_some(then)
}

/// What is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Journal {
    /// Handovers that were begun and not taken back.
    pub standing: Vec<Record>,
    pub settled: bool,
    /// The offset at which the demoted one has ended, or is about to.
    pub ended: Option<u32>,
}

impl Journal {
    pub fn begin(&mut self, record: Record) {
        self.standing.push(record);
        (self.settled, self.ended) = (false, None);
    }

    pub fn undone(&mut self) {
        self.standing.pop();
        (self.settled, self.ended) = (true, None);
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Switched,
    /// The rest of an earlier call's handover was done.
    Resumed,
    /// It had been done before.
    Settled,
    TakenBack,
    Undone,
    Unchanged,
    Interrupted,
    Refused,
}

/// A message under way, or answered and not yet seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Waits {
    pub to: Side,
    pub op: Op,
    /// Over a connection made for it, which kills the first one before anything else.
    pub over_new: bool,
    pub began: u8,
    pub reply: Option<Reply>,
}

/// A message whose sender does not wait any more: executed late, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Late {
    pub of: u8,
    pub to: Side,
    pub op: Op,
    pub over_new: bool,
    /// Its connection holds the lock until it is closed, which comes behind the message.
    pub locks: bool,
}

/// What comes after plain commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    TakenBack,
    Settle,
    GoOn,
    /// The source is gone, and the target was made master: settle.
    Alone,
    CalledOff,
}

/// What a controller is at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase<D> {
    Lock,
    Look,
    /// The journal has the line; a moment of little lag is waited for.
    Moment,
    Drive {
        machine: D,
        /// A cut from the start, not the rest of one.
        cut: bool,
        /// Of a demotion in parts: which one, and what they have said so far.
        part: u8,
        said: Option<Reply>,
    },
    /// Plain commands, one after the other, and what comes then.
    Script {
        commands: Vec<(Side, Exec)>,
        then: Then,
    },
    Finish {
        outcome: Outcome,
    },
    Ended(Outcome),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Controller<D> {
    pub name: u8,
    pub to: Side,
    /// The guard of a controller that has died: it never begins a handover.
    pub guard: bool,
    /// Ticks since the machine began.
    pub clock: u8,
    /// When the pause was asked for.
    pub paused: u8,
    /// What the promoted one had when the pause was asked for.
    pub reached: Option<u32>,
    /// The key that the fence watches.
    pub key: u8,
    pub phase: Phase<D>,
    /// Whether the first connection to each server is up in its view.
    pub up: [bool; 2],
    pub locked: [bool; 2],
    /// The run ids that it found.
    pub lives: [u8; 2],
    pub record: Option<Record>,
    pub waits: Option<Waits>,
}

impl<D> Controller<D> {
    pub fn new(name: u8, to: Side, guard: bool) -> Self {
        Controller {
            name,
            to,
            guard,
            clock: 0,
            paused: 0,
            reached: None,
            key: 0,
            phase: Phase::Lock,
            up: [false; 2],
            locked: [false; 2],
            lives: [0; 2],
            record: None,
            waits: None,
        }
    }

    pub fn ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    pub fn end(&mut self, outcome: Outcome) {
        self.phase = Phase::Ended(outcome);
        (self.waits, self.up, self.locked, self.record) = (None, [false; 2], [false; 2], None);
        (self.clock, self.paused, self.key, self.lives) = (0, 0, 0, [0; 2]);
    }
}

/// What a look at both leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Do(Course),
    /// The demoted one serves again: its successor is gone or lacks its data.
    BringBack,
    /// The one to be promoted has everything, and the other one is gone, or has less.
    Alone,
    /// The old one can follow again before it is handed over to.
    Relink,
    /// A guard ends a handover that has demoted nothing.
    CallOff,
    Refuse,
}

/// Looks at both and decides.
pub fn decide(servers: &Servers, journal: &Journal, to: Side, guard: bool, setup: &Setup) -> Verdict {
    let record = journal.standing.last();
    let [source, target] = &servers.two;
    // Without a record the two are where they were given; with one they are told by run id and configuration file.
    if record.is_none() && (!source.alive || source.port != Port::Public || !target.alive || target.port != Port::From)
    {
        return Verdict::Refuse;
    }
    if let Some(record) = record {
        let demoted = servers.of(record.demoted());
        let orphan = !servers.of(record.promoted()).alive && !journal.settled;
        let lost = setup.rules.places && record.missed(record.demoted(), servers).is_some();
        if orphan && demoted.alive && (demoted.follows.is_some() || lost) {
            return bring_back(servers, record, to, setup);
        }
        if !target.alive {
            return Verdict::Refuse;
        }
        let stage = match source.alive {
            true => stage(servers.part(Side::Source, true), servers.part(Side::Target, true)),
            false if record.back => return Verdict::Refuse,
            false if target.follows.is_some() => {
                // `check_demoted`.
                let has_all = journal.ended == Some(target.log.len()) && target.replid == record.replid;
                return if has_all && to == Side::Target { Verdict::Alone } else { Verdict::Refuse };
            }
            false => Some(Stage::Retired),
        };
        let Some(stage) = stage else { return Verdict::Refuse };
        if [Stage::Retired, Stage::Switched].contains(&stage) && !history_holds(servers, journal, record) {
            return bring_back(servers, record, to, setup);
        }
        return judge(servers, Some(record), stage, to, guard, setup);
    }
    match stage(servers.part(Side::Source, false), servers.part(Side::Target, false)) {
        Some(stage) => judge(servers, None, stage, to, guard, setup),
        None => Verdict::Refuse,
    }
}

fn judge(servers: &Servers, record: Option<&Record>, stage: Stage, to: Side, guard: bool, setup: &Setup) -> Verdict {
    let [source, target] = &servers.two;
    let arrived = match (record, stage.serves()) {
        (Some(record), Some(serves)) if setup.rules.places => record.missed(serves, servers).is_none(),
        (Some(record), _) => record.back || !record.is_takeover() || target.port == record.public,
        (None, _) => true,
    };
    if guard && stage.serves() == Some(to.other()) {
        let lost = setup.rules.places && record.is_some_and(|r| r.missed(to.other(), servers).is_some());
        return if lost { Verdict::Refuse } else { Verdict::CallOff };
    }
    if stage == Stage::Switched && to == Side::Source && arrived && !source.linked && !guard {
        let again = source.follows == Some(target.port) && servers.resumable(Side::Source);
        return if again { Verdict::Relink } else { Verdict::Refuse };
    }
    let continues = share_history(&servers.replication(Side::Source), &servers.replication(Side::Target));
    let standing =
        Standing { stage, demotes: record.map(Record::demoted), arrived, continues: continues || !source.alive };
    match course(to, &standing) {
        Course::Refuse(Refusal::NotReplicating | Refusal::SourceRetired | Refusal::NotArrived) => Verdict::Refuse,
        Course::Refuse(Refusal::NoRecord | Refusal::HistoryLost) => Verdict::Refuse,
        Course::Cut if setup.rules.places && record.is_some_and(|r| r.missed(to.other(), servers).is_some()) => {
            Verdict::Refuse
        }
        Course::TakeBack | Course::GoOn if setup.rules.asks_promoted && record.is_some_and(|r| r.served(servers)) => {
            // It can be undone no more.
            if Some(to) == record.map(Record::promoted) { Verdict::Alone } else { Verdict::Refuse }
        }
        course => Verdict::Do(course),
    }
}

/// `check_history`: a target that was restarted before the handover to it was finished must have all of the source's.
fn history_holds(servers: &Servers, journal: &Journal, record: &Record) -> bool {
    let [source, target] = &servers.two;
    let unfinished = !record.back && !journal.settled;
    if target.life == record.target || !unfinished || record.is_takeover() && target.port == record.public {
        return true;
    }
    let has_all = source.alive
        && share_history(&servers.replication(Side::Source), &servers.replication(Side::Target))
        && target.log.len() >= source.log.len();
    record.is_takeover() && has_all
}

/// An operator who does as the documentation says looks into the log of the one that is gone first.
fn bring_back(servers: &Servers, record: &Record, to: Side, setup: &Setup) -> Verdict {
    let demoted = servers.of(record.demoted());
    let served = setup.reads_log && servers.of(record.promoted()).promoted;
    let replica = demoted.follows.is_some();
    let lost = setup.rules.places && !replica && record.missed(to, servers).is_some();
    let ours = record.demoted() == to && demoted.alive && (replica || lost);
    let history = if replica { demoted.replid } else { demoted.replid2 };
    if ours && history == record.replid && !served { Verdict::BringBack } else { Verdict::Refuse }
}

/// The line in the journal of a handover from the start; none if there is no free port to move to.
pub fn planned(servers: &Servers, journal: &Journal, to: Side, setup: &Setup) -> Option<Record> {
    let manner = setup.manner;
    let [source, target] = servers.two.map(|server| server.port);
    let free = || Port::ALL.into_iter().find(|port| servers.free(*port));
    let (public, aside, from) = match (to, journal.standing.last()) {
        (Side::Source, Some(before)) if before.back && before.is_takeover() && setup.rules.back_again => {
            (target, before.aside, source)
        }
        (Side::Source, Some(before)) if before.is_takeover() => (target, before.from, source),
        (Side::Source, _) => (source, target, source),
        (Side::Target, _) if !manner.takeover => (target, source, target),
        (Side::Target, _) if manner.old_source => (source, source, target),
        (Side::Target, _) => (source, free()?, target),
    };
    let back = to == Side::Source;
    let replid = servers.of(to.other()).replid;
    let fenced = manner.old_source && !back;
    Some(Record { back, public, aside, from, replid, target: servers.of(Side::Target).life, fenced })
}
