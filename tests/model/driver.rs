//! One call at work: it carries out what the machine says, as `src/handover.rs` does, one message at a time.

use std::time::Duration;

use redis_baton::{
    decide::{
        course::Course,
        handover::{Changed, End, Limits, Machine, Next, Outcome as Seen_, Position, Seen},
    },
    server::{Side, info::Keyspace},
};

use crate::{
    controller::{Controller, Outcome, Phase, Then, Verdict, Waits, decide, planned},
    decides::{Decides, Part},
    servers::{Exec, Op, Reply},
    world::{Setup, World},
};

/// A quarter of the pause.
pub const TICK: Duration = Duration::from_millis(250);
pub const PAUSE: u8 = 4;
pub const LIMITS: Limits = Limits {
    pause: TICK.saturating_mul(PAUSE as u32),
    drain: TICK.saturating_mul(2),
    patience: TICK.saturating_mul(2),
};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    Reply(Reply),
    Refused,
    Lost,
}

impl<D: Decides> World<D> {
    /// The next step of a controller that waits for no message.
    pub fn go(&mut self, setup: &Setup, n: usize) {
        let controller = &self.controllers[n];
        match controller.phase {
            Phase::Lock => {
                for side in [Side::Source, Side::Target] {
                    if !self.take_lock(setup, n, side) {
                        return self.controllers[n].end(Outcome::Refused);
                    }
                }
                self.controllers[n].phase = Phase::Look;
                // Where nobody else can come between them, the look belongs to the same step.
                if !setup.parallel {
                    self.go(setup, n);
                }
            }
            Phase::Look => self.look(setup, n),
            Phase::Moment => {
                let record = controller.record.expect("a cut has its record");
                if self.servers.of(record.promoted()).linked && self.servers.of(record.demoted()).alive {
                    self.drive(setup, n, Machine::new(LIMITS, setup.way()).holding(true), true);
                } else {
                    self.put_back();
                    self.controllers[n].end(Outcome::Unchanged);
                }
            }
            Phase::Finish { outcome } => self.finish(n, outcome),
            Phase::Drive { .. } | Phase::Script { .. } | Phase::Ended(_) => {}
        }
    }

    fn take_lock(&mut self, setup: &Setup, n: usize, side: Side) -> bool {
        let (name, server) = (self.controllers[n].name, *self.servers.of(side));
        let other = self.controllers.iter().any(|other| other.name != name && other.locked[side as usize]);
        let late = self.late.iter().any(|late| late.of != name && late.to == side && late.locks);
        if setup.locks && (other || late) {
            return false;
        }
        let controller = &mut self.controllers[n];
        controller.lives[side as usize] = server.life;
        controller.up[side as usize] = server.alive;
        controller.locked[side as usize] = server.alive && setup.locks;
        true
    }

    fn look(&mut self, setup: &Setup, n: usize) {
        let to = self.controllers[n].to;
        let record = self.journal.standing.last().copied();
        self.controllers[n].record = record;
        match decide(&self.servers, &self.journal, to, self.controllers[n].guard, setup) {
            Verdict::Refuse => self.controllers[n].end(Outcome::Refused),
            Verdict::BringBack => {
                let undoing = record.expect("checked").undoing();
                let port = undoing.port.map(|_| (to, Exec { port: undoing.port, ..Exec::default() }));
                let role = (to, Exec { follow: Some(None), unpause: true, ..Exec::default() });
                self.script(setup, n, port.into_iter().chain([role]).collect(), Then::TakenBack);
            }
            Verdict::Alone => {
                let record = record.expect("checked");
                let master = (to, Exec { follow: Some(None), ..Exec::default() });
                let port = record.missed(to, &self.servers);
                let port = port.map(|port| (to, Exec { port: Some(port), ..Exec::default() }));
                self.script(setup, n, [master].into_iter().chain(port).collect(), Then::Alone);
            }
            Verdict::Relink => match self.servers.link(Side::Source) {
                true => self.look(setup, n),
                false => self.controllers[n].end(Outcome::Refused),
            },
            Verdict::CallOff => {
                let unpause = (to.other(), Exec { unpause: true, ..Exec::default() });
                let ends = !record.is_some_and(|record| record.fenced);
                self.script(setup, n, ends.then_some(unpause).into_iter().collect(), Then::CalledOff);
            }
            Verdict::Do(Course::Settle) => {
                let mut commands = Vec::new();
                if let Some(record) = record {
                    let leaves = record.left(&self.servers).filter(|_| setup.rules.places && to == record.promoted());
                    commands.extend(leaves.map(|port| (to.other(), Exec { port: Some(port), ..Exec::default() })));
                    let either = to == Side::Target || setup.rules.places;
                    let arrives = record.missed(to, &self.servers).filter(|_| either);
                    commands.extend(arrives.map(|port| (to, Exec { port: Some(port), ..Exec::default() })));
                }
                self.script(setup, n, commands, Then::Settle);
            }
            Verdict::Do(Course::Cut) if setup.rules.settles_first && record.is_some() && !self.saved() => {
                self.save([Side::Source, Side::Target]);
                self.look(setup, n);
            }
            Verdict::Do(Course::Cut) => match planned(&self.servers, &self.journal, to, setup) {
                None => self.controllers[n].end(Outcome::Refused),
                Some(record) => {
                    self.journal.begin(record);
                    self.servers.of_mut(Side::Source).fused |= !record.back;
                    self.controllers[n].record = Some(record);
                    self.controllers[n].phase = Phase::Moment;
                }
            },
            Verdict::Do(Course::GoOn) => {
                let leaves = record.and_then(|record| record.left(&self.servers)).filter(|_| setup.rules.places);
                let leaves = leaves.map(|port| (to.other(), Exec { port: Some(port), ..Exec::default() }));
                self.script(setup, n, leaves.into_iter().collect(), Then::GoOn);
            }
            Verdict::Do(Course::TakeBack) => self.drive(setup, n, Machine::take_back(LIMITS), false),
            Verdict::Do(Course::Refuse(_)) => unreachable!("told apart before"),
        }
    }

    fn drive(&mut self, setup: &Setup, n: usize, machine: Machine, cut: bool) {
        let machine = D::around(machine, setup.how);
        self.controllers[n].phase = Phase::Drive { machine, cut, part: 0, said: None };
        self.send_next(setup, n);
    }

    /// Sends plain commands one by one; they are kept last first.
    fn script(&mut self, setup: &Setup, n: usize, mut commands: Vec<(Side, Exec)>, then: Then) {
        commands.reverse();
        let next = commands.last().copied();
        self.controllers[n].phase = Phase::Script { commands, then };
        match (next, then) {
            (Some((to, exec)), _) => self.send(n, to, Op::Exec(exec), false),
            (None, Then::TakenBack) => {
                self.put_back();
                self.controllers[n].end(Outcome::TakenBack);
            }
            (None, Then::CalledOff) => {
                let to = self.controllers[n].to;
                if self.journal.standing.last().is_some_and(|record| record.promoted() == to) {
                    self.put_back();
                }
                self.controllers[n].end(Outcome::Undone);
            }
            (None, Then::Alone) => self.controllers[n].phase = Phase::Finish { outcome: Outcome::Resumed },
            (None, Then::Settle) => self.controllers[n].phase = Phase::Finish { outcome: Outcome::Settled },
            (None, Then::GoOn) => {
                let left = self.servers.of(self.controllers[n].to.other()).log.len();
                self.drive(setup, n, Machine::resume(LIMITS, setup.way(), left.into()), false);
            }
        }
    }

    /// Sends over a new connection, or stops: without any lock left somebody else may be at work, or have been.
    fn send_again(&mut self, setup: &Setup, n: usize, to: Side, op: Op) {
        if setup.locks && setup.rules.stops_unlocked && !self.controllers[n].locked[to.other() as usize] {
            return self.controllers[n].end(Outcome::Interrupted);
        }
        self.send(n, to, op, true);
    }

    fn send(&mut self, n: usize, to: Side, op: Op, over_new: bool) {
        let began = self.controllers[n].clock;
        self.controllers[n].waits = Some(Waits { to, op, over_new, began, reply: None });
    }

    /// Sends what the machine wants next, or ends.
    fn send_next(&mut self, setup: &Setup, n: usize) {
        let controller = &self.controllers[n];
        let Phase::Drive { machine, .. } = &controller.phase else { return };
        let record = controller.record.expect("a drive has its record");
        let (demoted, promoted) = (record.demoted(), record.promoted());
        let ended = machine.ended_at().map(|offset| offset as u32);
        let back = matches!(machine.next(), Next::Undo | Next::Stop(_)) && setup.rules.unmarks;
        let known = !record.fenced || !setup.rules.notes_done || *machine.next() == Next::Promote;
        if let (Some(offset), false, true) = (ended, back, known) {
            self.journal.ended.get_or_insert(offset);
        }
        let controller = &mut self.controllers[n];
        let up = controller.up;
        let Phase::Drive { machine, part, .. } = &mut controller.phase else { return };
        let lost = |side: Side| !up[side as usize];
        let (to, op, over_new) = match machine.next() {
            Next::Pause => {
                controller.paused = controller.clock;
                // The promoted one is asked beside it: the earliest it may answer.
                let server = self.servers.of(promoted);
                let answers =
                    server.alive && up[promoted as usize] && server.life == controller.lives[promoted as usize];
                controller.reached = (answers && !record.fenced).then(|| server.log.len());
                (demoted, Op::Pause, false)
            }
            // It can't be ended early, and runs out soon.
            Next::Release if record.fenced => {
                machine.saw(Seen::Released(true), TICK, TICK);
                return self.send_next(setup, n);
            }
            // What holds the clients is none of the servers. That it fails is like a target that falls behind.
            Next::Hold => {
                let now = TICK * u32::from(controller.clock);
                machine.saw(Seen::Held(Seen_::Done(())), now, now);
                return self.send_next(setup, n);
            }
            Next::Fence => (demoted, Op::Fence, false),
            Next::Poll if let Some(offset) = controller.reached.take() => {
                let now = TICK * u32::from(controller.clock);
                let reached = Position { offset: offset.into(), keyspace: Keyspace::new() };
                machine.saw(Seen::Position(Seen_::Done(reached)), now, now);
                return self.send_next(setup, n);
            }
            Next::Poll => (promoted, Op::Info, false),
            Next::Release => (demoted, Op::Unpause, false),
            Next::Demote => match machine.parts() {
                Some(parts) => (demoted, Op::Exec(of_part(parts[usize::from(*part)], record.demotion())), false),
                None => (demoted, Op::Exec(record.demotion()), false),
            },
            Next::AskSource => (demoted, Op::Exec(Exec::default()), true),
            Next::AskTarget => (promoted, Op::Exec(Exec::default()), true),
            Next::Promote => (promoted, Op::Exec(record.promotion()), lost(promoted)),
            Next::Undo => {
                if setup.rules.unmarks {
                    self.journal.ended = None;
                }
                (demoted, Op::Exec(record.undoing()), lost(demoted))
            }
            Next::ShutDown => (demoted, Op::ShutDown(controller.key), false),
            Next::Stop(end) => {
                let end = end.clone();
                return self.stopped(n, &end);
            }
        };
        match over_new {
            true => self.send_again(setup, n, to, op),
            false => self.send(n, to, op, false),
        }
    }

    fn stopped(&mut self, n: usize, end: &End) {
        let Phase::Drive { cut, machine, .. } = &self.controllers[n].phase else { return };
        let taken_back = !*cut && machine.ended_at().is_none();
        match end {
            End::Switched => {
                let outcome = if *cut { Outcome::Switched } else { Outcome::Resumed };
                self.controllers[n].phase = Phase::Finish { outcome };
            }
            End::Undone(_) => {
                self.put_back();
                self.controllers[n].end(if taken_back { Outcome::TakenBack } else { Outcome::Undone });
            }
            End::Unchanged(_) => {
                if *cut {
                    self.put_back();
                }
                self.controllers[n].end(Outcome::Unchanged);
            }
            End::HalfDone(_) | End::SourceGone { .. } => self.controllers[n].end(Outcome::Interrupted),
        }
    }

    /// The controller sees what became of its message.
    pub fn see(&mut self, setup: &Setup, n: usize, mut got: Got) {
        let Some(waits) = self.controllers[n].waits.take() else { return };
        if let Phase::Script { commands, then } = &mut self.controllers[n].phase {
            commands.pop();
            let (rest, then) = (commands.iter().rev().copied().collect(), *then);
            return match got {
                Got::Reply(reply) if !reply.refused => self.script(setup, n, rest, then),
                _ => self.controllers[n].end(Outcome::Interrupted),
            };
        }
        let now = TICK * u32::from(self.controllers[n].clock);
        let Phase::Drive { machine, part, said, .. } = &mut self.controllers[n].phase else { return };
        match machine.next() {
            // Without the old connection the transaction is sent again over a new one.
            Next::Promote | Next::Undo if got == Got::Lost && !waits.over_new => {
                return self.send_again(setup, n, waits.to, waits.op);
            }
            // The first one may have been executed: that the second one was refused does not tell.
            Next::Promote if got == Got::Refused && waits.over_new && setup.rules.refused_is_lost => got = Got::Lost,
            Next::Demote => {
                if let (Some(parts), Got::Reply(reply)) = (machine.parts(), got) {
                    let so_far = said.get_or_insert(reply);
                    so_far.master = reply.master;
                    so_far.refused |= reply.refused;
                    if parts[usize::from(*part)] == Part::Look {
                        so_far.offset = reply.offset;
                    }
                    got = Got::Reply(*so_far);
                    *part += 1;
                    if usize::from(*part) < parts.len() {
                        return self.send_next(setup, n);
                    }
                }
            }
            _ => {}
        }
        let seen = seen(machine.next(), got);
        machine.saw(seen, TICK * u32::from(waits.began), now);
        self.send_next(setup, n);
    }

    /// What comes after a handover: the configuration files, if the old one follows, and the line that all was done.
    fn finish(&mut self, n: usize, outcome: Outcome) {
        let controller = &self.controllers[n];
        let to = controller.to;
        if !self.servers.of(to).alive || self.servers.of(to).life != controller.lives[to as usize] {
            return self.controllers[n].end(Outcome::Interrupted);
        }
        if outcome != Outcome::Settled || !self.journal.settled {
            let (other, this) = (self.servers.of(to.other()), self.servers.of(to));
            let follows = other.alive && other.follows == Some(this.port) && this.follows.is_none();
            let may = outcome != Outcome::Settled || self.servers.resumable(to.other());
            let warm = follows && (other.linked || may && self.servers.link(to.other()));
            if to == Side::Source {
                self.servers.of_mut(Side::Source).fused = false;
            }
            self.save([Some(to), warm.then_some(to.other())].into_iter().flatten());
        }
        self.controllers[n].end(outcome);
    }

    /// The line that the handover was taken back; what was set for it on the source is as before.
    fn put_back(&mut self) {
        self.journal.undone();
        self.servers.of_mut(Side::Source).fused &= self.servers.of(Side::Source).follows.is_some();
    }

    fn saved(&self) -> bool {
        self.journal.settled
            && self.servers.two.iter().all(|server| server.file == (server.port, server.follows, server.fused))
    }

    /// `CONFIG REWRITE`, and the line that all was done.
    fn save(&mut self, sides: impl IntoIterator<Item = Side>) {
        for side in sides {
            let server = self.servers.of_mut(side);
            if server.alive {
                server.file = (server.port, server.follows, server.fused);
            }
        }
        self.journal.settled = true;
    }
}

fn of_part(part: Part, whole: Exec) -> Exec {
    match part {
        Part::Follow => Exec { follow: whole.follow, ..Exec::default() },
        Part::Cut => Exec { kill: whole.kill, ..Exec::default() },
        Part::Move => Exec { port: whole.port, ..Exec::default() },
        Part::Look => Exec::default(),
    }
}

/// What the machine is told.
fn seen(next: &Next, got: Got) -> Seen {
    let said = || "refused".to_owned();
    let outcome = match got {
        Got::Reply(reply) => Seen_::Done(reply),
        Got::Refused => Seen_::Refused(said()),
        Got::Lost => Seen_::Lost,
    };
    fn map<T, U>(outcome: Seen_<T>, with: impl Fn(T) -> U) -> Seen_<U> {
        match outcome {
            Seen_::Done(done) => Seen_::Done(with(done)),
            Seen_::Refused(said) => Seen_::Refused(said),
            Seen_::Lost => Seen_::Lost,
        }
    }
    match next {
        Next::Fence if matches!(got, Got::Reply(reply) if reply.refused) => Seen::Position(Seen_::Refused(said())),
        Next::ShutDown if matches!(got, Got::Reply(reply) if reply.refused) => Seen::ShutDown(Seen_::Refused(said())),
        Next::Pause | Next::Poll | Next::Fence => {
            Seen::Position(map(outcome, |reply| Position { offset: reply.offset.into(), keyspace: Keyspace::new() }))
        }
        Next::Release => Seen::Released(got != Got::Lost),
        Next::ShutDown => Seen::ShutDown(map(outcome, |_| ())),
        _ => Seen::Role(map(outcome, |reply| Changed {
            master: reply.master,
            offset: reply.offset.into(),
            port_refused: reply.refused.then(said),
        })),
    }
}

/// Whether a message can't arrive any more: its server, or its connection, is gone.
pub fn undeliverable<D>(controller: &Controller<D>, waits: &Waits, alive: bool, life: u8) -> bool {
    let side = waits.to as usize;
    !alive || life != controller.lives[side] || !waits.over_new && !controller.up[side]
}
