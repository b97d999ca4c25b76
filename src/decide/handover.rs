//! The handover of mastership, as a machine without I/O: told what was seen, it says what to do next.
//!
//! Invariants, whatever dies and whenever:
//! - The target is promoted only when the source has been demoted and the target has every byte the source had
//!   produced by then. The demotion reports that offset from inside its own transaction, so a pause that ran out
//!   early, or a PING in the stream, can't hide a write.
//! - Before the demotion every way out ends the pause and leaves the source serving.
//! - After it, the source is made master again only if the target has refused to be promoted, or has not reached
//!   the offset: never when the target's answer was lost.
//! - A source before 6.2 can't be demoted so that its replica still gets the rest, and can't leave its port. It is shut
//!   down instead, by a command that the server itself refuses once the pause may be over, and only when the target has
//!   every byte. Until then nothing was changed.

use std::time::Duration;

use crate::server::info::Keyspace;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Next {
    /// Pause writes on the source and read its offset and key counts.
    Pause,
    /// Read the target's offset and key counts.
    Poll,
    /// End the pause.
    Release,
    /// Hold the clients: from now on nobody new reaches the source.
    Hold,
    /// Demote the source in one transaction: clients off, out of the way, replica of the target.
    Demote,
    /// The reply to that was lost: ask the source what it is.
    AskSource,
    /// See that the pause still holds, and read where the source stands in it.
    Fence,
    /// Shut the source down, if the pause still holds.
    ShutDown,
    /// Promote the target in one transaction: master, at the public ports.
    Promote,
    /// The reply to that was lost: ask the target what it is.
    AskTarget,
    /// Make the source master again, at the public ports.
    Undo,
    /// Stop: this is how it ended.
    Stop(End),
}

/// How a handover ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum End {
    /// The target serves.
    Switched,
    /// The source serves as before; it was only paused.
    Unchanged(Why),
    /// The source serves again; its clients were disconnected once.
    Undone(Why),
    /// Between demotion and promotion, or it can't be told: a rerun goes on.
    HalfDone(Why),
    /// The source has died, and took that many acknowledged bytes with it that the target does not have. Nothing was
    /// promoted.
    SourceGone {
        /// Bytes of the replication stream.
        missing: u64,
    },
}

/// Why it did not go on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Why {
    /// It was asked for.
    Wished,
    /// The target was that many bytes behind when its time was over.
    Behind(u64),
    /// Key counts differ at the same offset.
    CountsDiffer,
    /// The source does not answer.
    SourceSilent,
    /// The target does not answer.
    TargetSilent,
    /// The source refused a command.
    SourceRefused(String),
    /// The target refused a command.
    TargetRefused(String),
    /// The source could not listen on the port it was to move to.
    AsideTaken(String),
    /// The target could not listen on the public port.
    PublicTaken(String),
    /// What moves the clients could not hold them.
    NotHeld(String),
}

/// An offset with the key counts at it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// Bytes of the replication stream.
    pub offset: u64,
    /// Keys by database.
    pub keyspace: Keyspace,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome<T> {
    /// It was done.
    Done(T),
    /// The server refused it: nothing was done.
    Refused(String),
    /// No answer: it may have been done or not.
    Lost,
}

/// A server after a change of role.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Changed {
    /// Whether it is a master now.
    pub master: bool,
    /// Its offset.
    pub offset: u64,
    /// What it said against listening on its new ports, if it did.
    pub port_refused: Option<String>,
}

/// What was seen of the last thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Seen {
    /// Of a pause, a poll or a fence.
    Position(Outcome<Position>),
    /// Of an end of the pause: whether the source answered. If not, the pause runs out by itself.
    Released(bool),
    /// Of holding the clients.
    Held(Outcome<()>),
    /// Of a shutdown: done when the source is gone, refused when it serves on.
    ShutDown(Outcome<()>),
    /// Of a demotion, a promotion, an undoing, or of asking after one.
    Role(Outcome<Changed>),
}

/// What becomes of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// It is demoted: it can follow the target, and be made master again.
    Reversible,
    /// It is shut down (before 6.2).
    Fenced,
}

/// How long after its source's demotion a target may still be reading what it was sent before. No more comes: a server
/// that was demoted cuts its replicas off, and links them again only when it is linked itself (`NOMASTERLINK`).
const REST_ARRIVES: Duration = Duration::from_millis(300);

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// How long the source is paused at most.
    pub pause: Duration,
    /// How long the target may take to catch up under the pause; well below `pause`.
    pub drain: Duration,
    /// How long it is tried to find out about, or finish, something uncertain.
    pub patience: Duration,
}

/// The handover.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    limits: Limits,
    way: Way,
    /// Whether clients are held before the demotion.
    holds: bool,
    next: Next,
    /// Where the source stood when it was paused; after the demotion, where it stands for good.
    source: Position,
    /// What the target had when it was asked last.
    reached: u64,
    paused_at: Duration,
    demoted: bool,
    /// Whether the source has said, in the pause, where it stands for good.
    fenced: bool,
    /// Since when it is tried to finish or find out what is to be done now.
    since: Duration,
    why: Why,
}

impl Machine {
    /// A handover from the start.
    pub fn new(limits: Limits, way: Way) -> Self {
        Machine {
            limits,
            way,
            holds: false,
            next: Next::Pause,
            source: Position { offset: 0, keyspace: Keyspace::new() },
            reached: 0,
            paused_at: Duration::ZERO,
            demoted: false,
            fenced: false,
            since: Duration::ZERO,
            why: Why::SourceSilent,
        }
    }

    /// A handover whose source was demoted in an earlier run, at this offset.
    pub fn resume(limits: Limits, way: Way, offset: u64) -> Self {
        let source = Position { offset, keyspace: Keyspace::new() };
        Machine { next: Next::Poll, source, demoted: true, ..Machine::new(limits, way) }
    }

    /// A handover whose source was demoted in an earlier run and is to serve again.
    pub fn take_back(limits: Limits) -> Self {
        Machine { next: Next::Undo, demoted: true, why: Why::Wished, ..Machine::new(limits, Way::Reversible) }
    }

    /// The same, with clients that are held before the demotion, or not.
    pub fn holding(self, holds: bool) -> Self {
        Machine { holds, ..self }
    }

    /// Where the source has ended, or is about to: whoever has reached it has everything.
    pub fn ended_at(&self) -> Option<u64> {
        // One that is only taken back does not know.
        ((self.demoted || self.fenced) && self.source.offset > 0).then_some(self.source.offset)
    }

    /// What to do next.
    pub fn next(&self) -> &Next {
        &self.next
    }

    /// Takes in what was seen of the last [`Next`]. `began` is when it was begun, `now` when it was seen, both since
    /// the start.
    pub fn saw(&mut self, seen: Seen, began: Duration, now: Duration) {
        let next = match (&self.next, seen) {
            (Next::Pause, Seen::Position(outcome)) => self.paused(outcome, began),
            (Next::Poll, Seen::Position(outcome)) => self.polled(outcome, now),
            // A source that did not answer before has answered since, over another connection: it lives.
            (Next::Release, Seen::Released(false)) if self.source.offset > 0 && self.why != Why::SourceSilent => {
                Next::Stop(End::SourceGone { missing: self.behind() })
            }
            (Next::Release, _) => Next::Stop(End::Unchanged(self.why.clone())),
            (Next::Hold, Seen::Held(outcome)) => self.held(outcome, now),
            (Next::Demote, Seen::Role(Outcome::Lost)) => self.begin(Next::AskSource, now),
            (Next::Demote, Seen::Role(Outcome::Refused(said))) => self.release(Why::SourceRefused(said)),
            (Next::Demote | Next::AskSource, Seen::Role(Outcome::Done(source))) => self.source_is(source, now),
            (Next::AskSource, Seen::Role(_)) => self.again(Next::AskSource, Why::SourceSilent, now),
            (Next::Fence, Seen::Position(outcome)) => self.fence(outcome, now),
            (Next::ShutDown, Seen::ShutDown(Outcome::Done(()))) => {
                self.demoted = true;
                self.begin(Next::Promote, now)
            }
            (Next::ShutDown, Seen::ShutDown(Outcome::Refused(said))) => self.release(Why::SourceRefused(said)),
            (Next::ShutDown, Seen::ShutDown(Outcome::Lost)) => self.again(Next::ShutDown, Why::SourceSilent, now),
            (Next::Promote, Seen::Role(Outcome::Refused(said))) => self.undo(Why::TargetRefused(said), now),
            (Next::Promote | Next::AskTarget, Seen::Role(Outcome::Done(target))) => self.target_is(target, now),
            (Next::Promote | Next::AskTarget, Seen::Role(_)) => self.again(Next::AskTarget, Why::TargetSilent, now),
            (Next::Undo, Seen::Role(Outcome::Done(source))) if source.master && source.port_refused.is_none() => {
                Next::Stop(End::Undone(self.why.clone()))
            }
            (Next::Undo, seen) => match (self.again(Next::Undo, self.why.clone(), now), &self.why) {
                (Next::Stop(_), Why::Behind(missing)) if seen == Seen::Role(Outcome::Lost) => {
                    Next::Stop(End::SourceGone { missing: *missing })
                }
                (next, _) => next,
            },
            (next, _) => next.clone(),
        };
        self.next = next;
    }

    fn paused(&mut self, outcome: Outcome<Position>, began: Duration) -> Next {
        match outcome {
            Outcome::Done(position) => {
                self.source = position;
                // Counted from before the command was sent: the server's own clock started later.
                self.paused_at = began;
                Next::Poll
            }
            Outcome::Refused(said) => Next::Stop(End::Unchanged(Why::SourceRefused(said))),
            Outcome::Lost => self.release(Why::SourceSilent),
        }
    }

    fn polled(&mut self, outcome: Outcome<Position>, now: Duration) -> Next {
        let target = match outcome {
            Outcome::Done(position) => position,
            Outcome::Refused(said) if self.demoted => return self.undo(Why::TargetRefused(said), now),
            Outcome::Refused(said) => return self.release(Why::TargetRefused(said)),
            // It was never told to be a master, so it is none: a retry within the patience, else back.
            Outcome::Lost if self.demoted => return self.undo(Why::TargetSilent, now),
            Outcome::Lost => return self.release(Why::TargetSilent),
        };
        self.reached = target.offset;
        let behind = self.behind();
        if self.demoted {
            return match behind {
                0 => self.begin(Next::Promote, now),
                _ if now < self.since + REST_ARRIVES.min(self.limits.patience) => Next::Poll,
                _ => self.undo(Why::Behind(behind), now),
            };
        }
        let late = now >= self.paused_at + self.limits.drain;
        match behind {
            // First: if the pause is over, the target may have more than there was in it, and other counts.
            0 if late => self.release(Why::Behind(0)),
            0 if target.keyspace != self.source.keyspace && !self.fenced => self.release(Why::CountsDiffer),
            0 if self.fenced => self.begin(Next::ShutDown, now),
            0 if self.holds => Next::Hold,
            0 => self.cut(),
            _ if late => self.release(Why::Behind(behind)),
            _ => Next::Poll,
        }
    }

    fn held(&mut self, outcome: Outcome<()>, now: Duration) -> Next {
        match outcome {
            Outcome::Done(()) if now < self.paused_at + self.limits.pause => self.cut(),
            Outcome::Done(()) => self.release(Why::NotHeld("was done when the pause was over".to_owned())),
            Outcome::Refused(said) => self.release(Why::NotHeld(said)),
            Outcome::Lost => self.release(Why::NotHeld("does not answer".to_owned())),
        }
    }

    /// The target has everything: the source's time is over.
    fn cut(&self) -> Next {
        match self.way {
            Way::Reversible => Next::Demote,
            Way::Fenced => Next::Fence,
        }
    }

    fn source_is(&mut self, source: Changed, now: Duration) -> Next {
        if source.master {
            return match (&self.next, source.port_refused) {
                // The transaction was executed, and yet it is a master: its port may have moved.
                (Next::Demote, said) => self.undo(Why::SourceRefused(said.unwrap_or_default()), now),
                // It never arrived, and its connection is closed.
                _ => self.release(Why::SourceSilent),
            };
        }
        self.demoted = true;
        self.source.offset = source.offset;
        self.since = now;
        match source.port_refused {
            Some(said) => self.undo(Why::AsideTaken(said), now),
            None if self.behind() == 0 => self.begin(Next::Promote, now),
            None => Next::Poll,
        }
    }

    fn fence(&mut self, outcome: Outcome<Position>, now: Duration) -> Next {
        match outcome {
            Outcome::Done(position) => {
                self.fenced = true;
                self.source.offset = position.offset;
                if self.behind() == 0 { self.begin(Next::ShutDown, now) } else { Next::Poll }
            }
            Outcome::Refused(said) => self.release(Why::SourceRefused(said)),
            Outcome::Lost => self.release(Why::SourceSilent),
        }
    }

    /// Bytes that the target lacked when it was asked last.
    fn behind(&self) -> u64 {
        self.source.offset.saturating_sub(self.reached)
    }

    fn target_is(&mut self, target: Changed, now: Duration) -> Next {
        match target {
            Changed { master: true, port_refused: None, .. } => Next::Stop(End::Switched),
            Changed { master: true, port_refused: Some(said), .. } => {
                self.again(Next::Promote, Why::PublicTaken(said), now)
            }
            // The transaction did not reach it: send it again.
            Changed { master: false, .. } => self.again(Next::Promote, Why::TargetSilent, now),
        }
    }

    fn begin(&mut self, next: Next, now: Duration) -> Next {
        self.since = now;
        next
    }

    fn again(&mut self, next: Next, why: Why, now: Duration) -> Next {
        if now < self.since + self.limits.patience { next } else { Next::Stop(End::HalfDone(why)) }
    }

    fn release(&mut self, why: Why) -> Next {
        self.why = why;
        Next::Release
    }

    fn undo(&mut self, why: Why, now: Duration) -> Next {
        // A source that was shut down can't be made master again.
        if self.way == Way::Fenced {
            return Next::Stop(End::HalfDone(why));
        }
        self.why = why;
        self.begin(Next::Undo, now)
    }
}

#[cfg(test)]
mod tests;
