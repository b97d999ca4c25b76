//! The model: everything that can happen next, and what it does.

use std::{fmt::Debug, marker::PhantomData};

use redis_baton::{decide::handover::Way, server::Side};
use stateright::{Model, Property};

use crate::{
    controller::{Controller, Journal, Late, Phase, Record, Waits},
    decides::{Decides, How},
    driver::{Got, PAUSE, undeliverable},
    properties,
    servers::{Manner, Op, Port, Reply, Servers},
};

/// How many of each may happen on one path, and how many in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    pub in_all: u8,
    pub crashes: u8,
    pub lost: u8,
    pub refused: u8,
    pub links: u8,
    pub strangers: u8,
    /// A server dies.
    pub deaths: [u8; 2],
    /// A dead one is started again.
    pub restarts: [u8; 2],
}

/// The rules of the code around the machine: see `setups::rules`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A rerun puts both where the record says: a demoted server that could not leave the public port leaves it before
    /// the other one is promoted or settled there; a master that is not where clients arrive is brought there, on
    /// either side, and not handed over from before.
    pub places: bool,
    /// A rollback that begins again takes the ports of the one that stands in the journal.
    pub back_again: bool,
    /// A promoted one that was a master in between is not taken back from, nor undone.
    pub asks_promoted: bool,
    /// What an earlier handover has left to do is done before one from the start: the configuration files above all.
    pub settles_first: bool,
    /// The note at what offset the source has ended is taken off the journal before it is made master again.
    pub unmarks: bool,
    /// The note about a source that is shut down is made when it was seen to be gone within its pause.
    pub notes_done: bool,
    /// A connection made in the middle takes the lock again.
    pub locks_anew: bool,
    /// Who has lost its locks on both stops, and does not go on over a new connection.
    pub stops_unlocked: bool,
    /// A promotion that is refused when it is sent again counts as lost.
    pub refused_is_lost: bool,
}

/// One configuration.
#[derive(Debug, Clone)]
pub struct Setup {
    pub name: &'static str,
    pub manner: Manner,
    /// The first call is for this side; a rollback begins with the handover to the target done.
    pub first: Side,
    pub writes: u8,
    /// Calls in all: the first one and reruns.
    pub calls: u8,
    /// Reruns may also be of the other one.
    pub both: bool,
    /// Reruns are guards.
    pub guards: bool,
    /// A call may start while another one is at work.
    pub parallel: bool,
    pub locks: bool,
    pub rules: Rules,
    /// The operator looks whether the one that died was promoted before he makes the other one serve.
    pub reads_log: bool,
    /// The target comes back without its data.
    pub comes_back_empty: bool,
    pub faults: Faults,
    pub how: How,
    /// The clock of a controller stops there.
    pub clock: u8,
}

impl Setup {
    pub fn way(&self) -> Way {
        if self.manner.old_source { Way::Fenced } else { Way::Reversible }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World<D> {
    pub servers: Servers,
    pub journal: Journal,
    pub controllers: Vec<Controller<D>>,
    pub late: Vec<Late>,
    pub started: u8,
    pub left: Faults,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Tick,
    Write(Side),
    Replicate(Side),
    /// A call begins.
    Start(Side),
    Go(u8),
    /// The server executes the message that a controller waits for.
    Execute(u8),
    See(u8),
    /// A message that nobody waits for any more is executed, or its connection ends before.
    ExecuteLate(usize),
    DropLate(usize),
    // Faults.
    Crash(u8),
    Lose(u8),
    Refuse(u8),
    Unlink(Side),
    Die(Side),
    Restart(Side),
    Stranger(Port),
}

pub struct Handovers<D> {
    pub setup: Setup,
    pub decides: PhantomData<fn() -> D>,
}

impl<D: Decides> Model for Handovers<D> {
    type State = World<D>;
    type Action = Action;

    fn init_states(&self) -> Vec<World<D>> {
        vec![World::start(&self.setup)]
    }

    fn actions(&self, world: &World<D>, actions: &mut Vec<Action>) {
        world.actions(&self.setup, actions);
    }

    fn next_state(&self, world: &World<D>, action: Action) -> Option<World<D>> {
        let mut next = world.clone();
        next.act(&self.setup, action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl<D: Decides> World<D> {
    pub fn start(setup: &Setup) -> Self {
        let mut journal = Journal { standing: Vec::new(), settled: true, ended: None };
        let mut servers = Servers::following();
        if setup.first == Side::Source {
            servers = Servers::switched(setup.manner);
            let [source, target] = servers.two.map(|server| server.port);
            let (public, from) = if setup.manner.takeover { (target, Port::From) } else { (target, target) };
            journal.begin(Record { back: false, public, aside: source, from, replid: 1, target: 0, fenced: false });
            journal.settled = true;
        }
        let left = setup.faults;
        let mut world = World { servers, journal, controllers: Vec::new(), late: Vec::new(), started: 0, left };
        world.act(setup, Action::Start(setup.first));
        world
    }

    fn actions(&self, setup: &Setup, actions: &mut Vec<Action>) {
        let busy = self.controllers.iter().any(|c| !c.ended());
        for c in self.controllers.iter().filter(|c| !c.ended()) {
            match &c.waits {
                None => actions.push(Action::Go(c.name)),
                Some(waits) => {
                    let server = self.servers.of(waits.to);
                    let looks = matches!(waits.op, Op::ShutDown(_)) && waits.over_new;
                    let gone = looks || undeliverable(c, waits, server.alive, server.life);
                    if waits.reply.is_some() || gone {
                        actions.push(Action::See(c.name));
                    } else {
                        actions.push(Action::Execute(c.name));
                        actions.push(Action::Refuse(c.name));
                    }
                    if !gone || waits.reply.is_some() {
                        actions.push(Action::Lose(c.name));
                    }
                }
            }
            actions.push(Action::Crash(c.name));
        }
        for n in 0..self.late.len() {
            actions.extend([Action::ExecuteLate(n), Action::DropLate(n)]);
        }
        let [source, target] = &self.servers.two;
        if self.controllers.iter().any(|c| c.clock < setup.clock && matches!(c.phase, Phase::Drive { .. }))
            || source.pause + target.pause > 0
        {
            actions.push(Action::Tick);
        }
        for side in [Side::Source, Side::Target] {
            actions.extend([Action::Write(side), Action::Replicate(side)]);
            actions.extend([Action::Die(side), Action::Restart(side), Action::Unlink(side)]);
        }
        let guarded = !setup.guards || self.left.crashes < setup.faults.crashes;
        if self.started < setup.calls && (!busy || setup.parallel) && guarded {
            actions.push(Action::Start(setup.first));
            if setup.both {
                actions.push(Action::Start(setup.first.other()));
            }
        }
        actions.extend([Port::Public, Port::Aside].map(Action::Stranger));
    }

    fn number(&self, name: u8) -> usize {
        self.controllers.iter().position(|c| c.name == name).expect("it is at work")
    }

    /// Takes one of that kind from what may still happen.
    fn fault(&mut self, kind: impl Fn(&mut Faults) -> &mut u8) -> bool {
        if self.left.in_all == 0 || *kind(&mut self.left) == 0 {
            return false;
        }
        self.left.in_all -= 1;
        *kind(&mut self.left) -= 1;
        true
    }

    /// Does it, if it can be done.
    pub fn act(&mut self, setup: &Setup, action: Action) -> bool {
        match action {
            Action::Tick => {
                self.servers.tick();
                for c in &mut self.controllers {
                    if matches!(c.phase, Phase::Drive { .. }) {
                        c.clock = (c.clock + 1).min(setup.clock);
                    }
                }
            }
            Action::Write(side) => {
                if self.servers.writes >= setup.writes || !self.servers.writable(side) {
                    return false;
                }
                self.servers.write(side);
            }
            Action::Replicate(side) => match self.servers.replicate(side) {
                Some(servers) => self.servers = servers,
                None => return false,
            },
            Action::Start(side) => {
                self.controllers.retain(|c| !c.ended());
                let guard = setup.guards && self.started > 0;
                self.controllers.push(Controller::new(self.started, side, guard));
                self.started += 1;
            }
            Action::Go(name) => self.go(setup, self.number(name)),
            Action::Execute(name) => self.execute(setup, self.number(name)),
            Action::See(name) => {
                let n = self.number(name);
                let Some(waits) = self.controllers[n].waits else { return false };
                let mut reply = waits.reply;
                if let (None, Op::ShutDown(_)) = (reply, waits.op) {
                    // Told by looking whether anything listens there, for longer than the pause.
                    let (c, server) = (&self.controllers[n], self.servers.of(waits.to));
                    let late = c.clock >= c.paused + PAUSE && setup.rules.notes_done;
                    let refused = Reply { master: true, offset: 0, refused: true };
                    match server.alive {
                        true if server.pause > 0 && server.life == c.lives[waits.to as usize] => return false,
                        true => reply = Some(refused),
                        false if late => {}
                        false => reply = Some(Reply { refused: false, ..refused }),
                    }
                }
                self.see(setup, n, reply.map_or(Got::Lost, Got::Reply));
            }
            Action::ExecuteLate(n) => {
                // Such a pause holds everybody else.
                let late = self.late[n];
                if setup.manner.old_source && late.op == Op::Pause && self.servers.of(late.to).pause > 0 {
                    return false;
                }
                let late = self.late.remove(n);
                self.executed(setup, late.of, late.to, late.op);
            }
            Action::DropLate(n) => drop(self.late.remove(n)),
            Action::Crash(name) => {
                if !self.fault(|left| &mut left.crashes) {
                    return false;
                }
                let n = self.number(name);
                self.leave_behind(setup, n);
                self.controllers.remove(n);
            }
            Action::Lose(name) => {
                let n = self.number(name);
                let Some(waits) = self.controllers[n].waits else { return false };
                let server = self.servers.of(waits.to);
                let gone = undeliverable(&self.controllers[n], &waits, server.alive, server.life);
                if !gone && !self.fault(|left| &mut left.lost) {
                    return false;
                }
                self.leave_behind(setup, n);
                if let Op::ShutDown(_) = waits.op {
                    self.controllers[n].waits = Some(Waits { over_new: true, ..waits });
                    return true;
                }
                // A fence has a connection of its own.
                let fence = waits.op == Op::Fence || setup.manner.old_source && waits.op == Op::Pause;
                if !waits.over_new && !fence {
                    self.controllers[n].up[waits.to as usize] = false;
                    self.controllers[n].locked[waits.to as usize] = false;
                }
                self.see(setup, n, Got::Lost);
            }
            Action::Refuse(name) => {
                let n = self.number(name);
                let op = self.controllers[n].waits.map(|waits| waits.op);
                if !op.is_some_and(Op::changes) || !self.fault(|left| &mut left.refused) {
                    return false;
                }
                self.arrives(setup, n);
                self.see(setup, n, Got::Refused);
            }
            Action::Unlink(side) => {
                let cut_off = self.servers.cut_off(side);
                if !self.servers.of(side).linked || !cut_off && !self.fault(|left| &mut left.links) {
                    return false;
                }
                self.servers.of_mut(side).linked = false;
            }
            Action::Die(side) => {
                if !self.servers.of(side).alive || !self.fault(|left| &mut left.deaths[side as usize]) {
                    return false;
                }
                self.servers.die(side, setup.manner);
                self.gone(side);
            }
            Action::Restart(side) => {
                let empty = setup.comes_back_empty && side == Side::Target;
                // What is to serve after a restart, and has lost its data, has lost it.
                if empty && (self.servers.of(side).promoted || self.servers.of(side).file.0 != Port::From) {
                    return false;
                }
                let allowed = &mut self.left.restarts[side as usize];
                match (*allowed, self.servers.restart(side, empty, setup.manner)) {
                    (1.., Some(servers)) => {
                        *allowed -= 1;
                        self.servers = servers;
                    }
                    _ => return false,
                }
            }
            Action::Stranger(port) => {
                if !self.servers.free(port) || !self.fault(|left| &mut left.strangers) {
                    return false;
                }
                self.servers.stranger = Some(port);
            }
        }
        true
    }

    /// The message that a controller waits for stays behind, if it was not executed.
    fn leave_behind(&mut self, setup: &Setup, n: usize) {
        let c = &self.controllers[n];
        let Some(waits) = c.waits else { return };
        let server = self.servers.of(waits.to);
        let gone = undeliverable(c, &waits, server.alive, server.life);
        let looks = waits.over_new && matches!(waits.op, Op::ShutDown(_));
        if waits.reply.is_none() && waits.op.changes() && !gone && !looks {
            let fence = setup.manner.old_source && waits.op == Op::Pause || matches!(waits.op, Op::ShutDown(_));
            let locks = match waits.over_new {
                true => setup.locks && setup.rules.locks_anew,
                false => c.locked[waits.to as usize] && !fence,
            };
            self.late.push(Late { of: c.name, to: waits.to, op: waits.op, over_new: waits.over_new, locks });
        }
    }

    /// What was sent over the first connection and not yet read is never executed after one over a new connection.
    fn arrives(&mut self, setup: &Setup, n: usize) {
        let c = &mut self.controllers[n];
        if let Some(waits) = c.waits.filter(|waits| waits.over_new) {
            self.late.retain(|late| late.of != c.name || late.to != waits.to || late.over_new);
            c.up[waits.to as usize] = false;
            c.locked[waits.to as usize] = setup.locks && setup.rules.locks_anew;
        }
    }

    fn execute(&mut self, setup: &Setup, n: usize) {
        let (name, Some(waits)) = (self.controllers[n].name, self.controllers[n].waits) else { return };
        self.arrives(setup, n);
        if waits.op == Op::Fence {
            self.controllers[n].key = self.servers.of(waits.to).key;
        }
        let reply = self.executed(setup, name, waits.to, waits.op);
        let n = self.number(name);
        if let Some(waits) = &mut self.controllers[n].waits
            && (reply.refused || !matches!(waits.op, Op::ShutDown(_)))
        {
            waits.reply = Some(reply);
        }
    }

    fn executed(&mut self, setup: &Setup, by: u8, to: Side, op: Op) -> Reply {
        let reply = self.servers.execute(to, op, PAUSE, setup.manner);
        if !self.servers.of(to).alive {
            self.gone(to);
        }
        if matches!(op, Op::Exec(exec) if exec.kill) {
            // Every other connection to it is cut, other controllers' too.
            self.late.retain(|late| late.to != to);
            for c in self.controllers.iter_mut().filter(|c| c.name != by) {
                (c.up[to as usize], c.locked[to as usize]) = (false, false);
            }
        }
        reply
    }

    /// A server is gone: so are its connections and all that was on the way to it.
    fn gone(&mut self, side: Side) {
        self.late.retain(|late| late.to != side);
        for c in &mut self.controllers {
            (c.up[side as usize], c.locked[side as usize]) = (false, false);
        }
    }
}
