//! Who decides: the production machine, or one that is broken on purpose around it.

use std::{fmt::Debug, hash::Hash, time::Duration};

use redis_baton::decide::handover::{Changed, End, Machine, Next, Outcome, Position, Seen, Why};

/// What the driver needs of a machine.
pub trait Decides: Clone + Debug + PartialEq + Eq + Hash + Send + Sync + 'static {
    fn around(machine: Machine, how: How) -> Self;
    fn next(&self) -> &Next;
    fn saw(&mut self, seen: Seen, began: Duration, now: Duration);
    fn ended_at(&self) -> Option<u64>;
    /// The order of the parts of the demotion, where it is not one transaction.
    fn parts(&self) -> Option<[Part; 4]> {
        None
    }
}

/// A part of the demotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    Follow,
    Cut,
    Move,
    Look,
}

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    Sound,
    /// The target is promoted before the source is demoted.
    PromoteFirst,
    /// The demotion is four messages, in this order, and not one transaction.
    Parts([Part; 4]),
    /// What counts is the offset that was read under the pause, not the one that the demotion reports.
    EarlyOffset,
    /// A promotion whose answer was lost is undone.
    UndoLostPromotion,
    /// The source is shut down as soon as it is fenced.
    ShutDownFirst,
}

impl Decides for Machine {
    fn around(machine: Machine, how: How) -> Self {
        assert_eq!(how, How::Sound);
        machine
    }

    fn next(&self) -> &Next {
        Machine::next(self)
    }

    fn saw(&mut self, seen: Seen, began: Duration, now: Duration) {
        Machine::saw(self, seen, began, now);
    }

    fn ended_at(&self) -> Option<u64> {
        Machine::ended_at(self)
    }
}

/// The production machine with one thing wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Broken {
    machine: Machine,
    how: How,
    /// What it says instead of the machine.
    instead: Option<Next>,
    /// It has said so once.
    done: bool,
    /// What the source said under the pause.
    paused_at: u64,
}

impl Decides for Broken {
    fn around(machine: Machine, how: How) -> Self {
        Broken { machine, how, instead: None, done: false, paused_at: 0 }
    }

    fn next(&self) -> &Next {
        self.instead.as_ref().unwrap_or(self.machine.next())
    }

    fn ended_at(&self) -> Option<u64> {
        self.machine.ended_at()
    }

    fn parts(&self) -> Option<[Part; 4]> {
        match self.how {
            How::Parts(parts) => Some(parts),
            _ => None,
        }
    }

    fn saw(&mut self, mut seen: Seen, began: Duration, now: Duration) {
        if let (Next::Pause, Seen::Position(Outcome::Done(Position { offset, .. }))) = (self.machine.next(), &seen) {
            self.paused_at = *offset;
        }
        if let Some(said) = self.instead.take() {
            self.instead = self.saw_instead(&said, &seen);
            return;
        }
        let demoting = matches!(self.machine.next(), Next::Demote | Next::AskSource);
        let fencing = *self.machine.next() == Next::Fence;
        if let Seen::Role(Outcome::Done(Changed { master: false, offset, .. })) = &mut seen
            && self.how == How::EarlyOffset
            && demoting
        {
            *offset = self.paused_at;
        }
        self.machine.saw(seen, began, now);
        self.instead = match (self.how, self.machine.next()) {
            (How::PromoteFirst, Next::Demote) if !self.done => Some(Next::Promote),
            (How::UndoLostPromotion, Next::AskTarget) => Some(Next::Undo),
            (How::ShutDownFirst, Next::Poll) if fencing => Some(Next::ShutDown),
            _ => None,
        };
        self.done |= self.instead.is_some();
    }
}

impl Broken {
    /// What it says after that, if not what the machine says.
    fn saw_instead(&self, said: &Next, seen: &Seen) -> Option<Next> {
        let stop = |end| Some(Next::Stop(end));
        match (self.how, said, seen) {
            (How::PromoteFirst, ..) => None,
            (How::UndoLostPromotion, _, Seen::Role(Outcome::Done(_))) => stop(End::Undone(Why::TargetSilent)),
            (How::ShutDownFirst, Next::ShutDown, Seen::ShutDown(Outcome::Done(()))) => Some(Next::Promote),
            (How::ShutDownFirst, Next::Promote, Seen::Role(Outcome::Done(_))) => stop(End::Switched),
            _ => stop(End::HalfDone(Why::TargetSilent)),
        }
    }
}
