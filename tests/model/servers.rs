//! Two servers: roles, ports, replication, the pause, clients. What a command does to them, and what dies with them.
//!
//! A write is one element of a log, and the offset is the log's length. Modelled: partial and full resyncs (a full one
//! wipes), links that survive a demotion or do not, histories (`replid`), ports that are taken, the configuration file
//! that a restart reads. Not modelled: PING in the stream, backlogs that overflow, a resync that stops half-way, more
//! than two servers, clients that read.

use redis_baton::{
    decide::stage::{self, Part},
    server::{
        Side,
        info::{Replication, Role},
    },
};

/// Where a server can listen: where clients arrive, where the old one is parked, where the new one was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    Public,
    Aside,
    From,
}

impl Port {
    pub const ALL: [Port; 3] = [Port::Public, Port::Aside, Port::From];

    pub fn number(self) -> u16 {
        self as u16 + 1
    }
}

/// The writes a server holds, in order: four bits each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Log(u32);

impl Log {
    pub fn len(self) -> u32 {
        (u32::BITS - self.0.leading_zeros()).div_ceil(4)
    }

    pub fn push(&mut self, write: u8) {
        self.0 |= u32::from(write) << (4 * self.len());
    }

    pub fn at(self, n: u32) -> u8 {
        (self.0 >> (4 * n) & 15) as u8
    }

    pub fn is_prefix_of(self, other: Log) -> bool {
        (0..self.len()).all(|n| self.at(n) == other.at(n))
    }

    /// Whether it has the writes 1 to `last`.
    pub fn has_all(self, last: u8) -> bool {
        (1..=last).all(|write| (0..self.len()).any(|n| self.at(n) == write))
    }
}

/// The commands of one transaction, and always a look at the end. The port is moved first, clients are cut last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Exec {
    pub port: Option<Port>,
    /// `REPLICAOF`: of nobody, or of who listens there.
    pub follow: Option<Option<Port>>,
    /// `CLIENT KILL TYPE normal SKIPME yes`.
    pub kill: bool,
    /// `CLIENT UNPAUSE` right behind it.
    pub unpause: bool,
}

/// One message to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// `CLIENT PAUSE`, and a look.
    Pause,
    Info,
    Unpause,
    Exec(Exec),
    /// Before 6.2: whether the pause holds, and a look.
    Fence,
    /// Refused by the server itself once the pause may be over, or another one has begun: it watches this one's key.
    ShutDown(u8),
}

impl Op {
    pub fn changes(self) -> bool {
        !matches!(self, Op::Info | Op::Fence) && self != Op::Exec(Exec::default())
    }
}

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reply {
    pub master: bool,
    pub offset: u32,
    /// The port was refused; by a fence or a shutdown: the pause is over.
    pub refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Server {
    pub alive: bool,
    /// It was a handover that ended it.
    pub shut_down: bool,
    /// How often it was started: its run id.
    pub life: u8,
    /// Whom it was told to follow; none: a master.
    pub follows: Option<Port>,
    /// Whether the link to its master is up.
    pub linked: bool,
    pub port: Port,
    /// Whether clients have connections to it, or can make them.
    pub open: bool,
    /// For how many ticks writes wait.
    pub pause: u8,
    /// Before 6.2: a write that was read together with the pause may still be carried out.
    pub slips: bool,
    /// Before 6.2: the key that tells one pause from the other.
    pub key: u8,
    /// As a replica it can't log in to its master, so that it never links by itself.
    pub fused: bool,
    pub log: Log,
    pub replid: u8,
    pub replid2: u8,
    /// What its configuration file says: port, role, fuse.
    pub file: (Port, Option<Port>, bool),
    /// Whether its log says that it was promoted in a handover, and not demoted since.
    pub promoted: bool,
}

/// What differs between the kinds of handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Manner {
    /// Whether ports are taken over; else both servers stay at their addresses, and clients are moved.
    pub takeover: bool,
    /// Before 6.2: it is shut down in its own pause, and that can't be ended.
    pub old_source: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Servers {
    pub two: [Server; 2],
    /// How many writes were acknowledged: 1 to this.
    pub writes: u8,
    /// Somebody else's process listens there.
    pub stranger: Option<Port>,
    pub histories: u8,
}

impl Servers {
    /// The target follows the source and has all of the first write.
    pub fn following() -> Self {
        let mut log = Log::default();
        log.push(1);
        let source = Server {
            alive: true,
            shut_down: false,
            life: 0,
            follows: None,
            linked: false,
            port: Port::Public,
            open: true,
            pause: 0,
            slips: false,
            key: 0,
            fused: false,
            log,
            replid: 1,
            replid2: 0,
            file: (Port::Public, None, false),
            promoted: false,
        };
        let target = Server {
            follows: Some(Port::Public),
            linked: true,
            port: Port::From,
            open: false,
            file: (Port::From, None, false),
            ..source
        };
        Servers { two: [source, target], writes: 1, stranger: None, histories: 1 }
    }

    /// The target has taken over, all was settled, and the source follows it.
    pub fn switched(manner: Manner) -> Self {
        let mut servers = Servers::following();
        let [source, target] = &mut servers.two;
        (target.follows, target.linked, target.replid, target.replid2) = (None, false, 2, 1);
        (source.linked, source.fused, source.replid, source.replid2) = (true, true, 2, 1);
        (target.open, target.promoted, source.open) = (true, true, !manner.takeover);
        if manner.takeover {
            (source.port, target.port) = (Port::Aside, Port::Public);
        }
        source.follows = Some(target.port);
        (source.file, target.file) = ((source.port, source.follows, true), (target.port, None, false));
        servers.histories = 2;
        servers
    }

    pub fn of(&self, side: Side) -> &Server {
        &self.two[side as usize]
    }

    pub fn of_mut(&mut self, side: Side) -> &mut Server {
        &mut self.two[side as usize]
    }

    /// Whether this one takes writes from clients now.
    pub fn writable(&self, side: Side) -> bool {
        let server = self.of(side);
        server.alive && server.follows.is_none() && server.open && (server.pause == 0 || server.slips)
    }

    /// Clients use it as the master, perhaps after a pause.
    pub fn serves(&self, side: Side) -> bool {
        let server = self.of(side);
        server.alive && server.follows.is_none() && server.open
    }

    pub fn write(&mut self, side: Side) {
        self.writes += 1;
        let write = self.writes;
        let server = self.of_mut(side);
        server.log.push(write);
        server.slips = false;
    }

    pub fn free(&self, port: Port) -> bool {
        self.stranger != Some(port) && !self.two.iter().any(|server| server.alive && server.port == port)
    }

    pub fn tick(&mut self) {
        for server in &mut self.two {
            server.pause = server.pause.saturating_sub(1);
            server.slips = false;
        }
    }

    /// The next step of replication on this side; none if there is nothing to do.
    pub fn replicate(&self, side: Side) -> Option<Servers> {
        let (replica, master) = (self.of(side), self.of(side.other()));
        if !replica.alive || !master.alive {
            return None;
        }
        let mut next = self.clone();
        let of = next.of_mut(side);
        if replica.linked {
            if replica.log.len() >= master.log.len() {
                return None;
            }
            of.log.push(master.log.at(replica.log.len()));
        } else {
            // A master that is a replica itself has no stream to give.
            if replica.fused || replica.follows != Some(master.port) || master.follows.is_some() {
                return None;
            }
            if self.resumable(side) {
                if replica.replid != master.replid {
                    of.replid2 = replica.replid;
                }
            } else {
                // A full resync: whatever it had is gone.
                (of.log, of.replid2) = (master.log, 0);
            }
            (of.replid, of.linked) = (master.replid, true);
        }
        Some(next)
    }

    /// Whether this one can follow the other one by a partial resync.
    pub fn resumable(&self, side: Side) -> bool {
        let (replica, master) = (self.of(side), self.of(side.other()));
        [master.replid, master.replid2].contains(&replica.replid) && replica.log.is_prefix_of(master.log)
    }

    /// Lets this one log in to the other one, waits, and sets the fuse again. Whether it follows.
    pub fn link(&mut self, side: Side) -> bool {
        self.of_mut(side).fused = false;
        if let (false, Some(linked)) = (self.of(side).linked, self.replicate(side)) {
            *self = linked;
        }
        self.of_mut(side).fused = side == Side::Source;
        self.of(side).linked
    }

    /// A server that was demoted has cut its replica off: what it had sent may arrive, and no more.
    pub fn cut_off(&self, side: Side) -> bool {
        self.of(side).linked && self.of(side.other()).follows.is_some()
    }

    /// Executes one message. The caller has made sure that the server lives.
    pub fn execute(&mut self, side: Side, op: Op, pause: u8, manner: Manner) -> Reply {
        let mut refused = false;
        match op {
            Op::Pause => {
                let server = self.of_mut(side);
                server.pause = pause;
                server.key += u8::from(manner.old_source);
                server.slips = manner.old_source;
            }
            Op::Fence => {
                self.of_mut(side).slips = false;
                refused = self.of(side).pause == 0;
            }
            Op::ShutDown(key) if self.of(side).pause == 0 || self.of(side).key != key => refused = true,
            Op::Unpause if !manner.old_source => self.of_mut(side).pause = 0,
            Op::Unpause | Op::Info => {}
            Op::ShutDown(_) => {
                self.die(side, manner);
                self.of_mut(side).shut_down = true;
            }
            Op::Exec(exec) => refused = self.transaction(side, exec, manner),
        }
        let server = self.of(side);
        Reply { master: server.follows.is_none(), offset: server.log.len(), refused }
    }

    fn transaction(&mut self, side: Side, exec: Exec, manner: Manner) -> bool {
        let free = exec.port.is_none_or(|port| self.of(side).port == port || self.free(port));
        let history = self.histories + 1;
        let [this, other] = match (side, &mut self.two) {
            (Side::Source, [source, target]) => [source, target],
            (Side::Target, [source, target]) => [target, source],
        };
        if let (Some(port), true) = (exec.port, free) {
            this.port = port;
            this.open |= manner.takeover && port == Port::Public;
        }
        match exec.follow {
            Some(Some(port)) if this.follows != Some(port) => {
                (this.follows, this.linked, this.promoted) = (Some(port), false, false);
            }
            Some(None) if this.follows.is_some() => {
                (this.follows, this.linked, this.promoted) = (None, false, true);
                (this.replid2, this.replid) = (this.replid, history);
                other.linked = false;
                self.histories = history;
                // Where nobody's port is taken over, clients are sent to whoever was promoted.
                this.open |= !manner.takeover;
            }
            _ => {}
        }
        if exec.kill {
            this.open = !manner.takeover || this.port == Port::Public;
        }
        if exec.unpause {
            this.pause = 0;
        }
        !free
    }

    pub fn die(&mut self, side: Side, manner: Manner) {
        let server = self.of_mut(side);
        (server.alive, server.linked, server.pause, server.slips) = (false, false, 0, false);
        server.open &= !manner.takeover;
        self.of_mut(side.other()).linked = false;
    }

    /// Started again, as its configuration file says, with its data or without. None where its port is taken.
    pub fn restart(&self, side: Side, empty: bool, manner: Manner) -> Option<Servers> {
        let mut next = self.clone();
        next.histories += 1;
        let history = next.histories;
        let server = next.of_mut(side);
        (server.port, server.follows, server.fused) = server.file;
        if server.alive || !self.free(server.port) {
            return None;
        }
        (server.alive, server.shut_down) = (true, false);
        server.life += 1;
        server.open |= manner.takeover && server.port == Port::Public;
        if empty {
            (server.log, server.replid, server.replid2) = (Log::default(), history, 0);
        } else if server.follows.is_none() {
            (server.replid2, server.replid) = (server.replid, history);
        }
        Some(next)
    }

    /// What `INFO replication` says, for the production functions that read it.
    pub fn replication(&self, side: Side) -> Replication {
        let server = self.of(side);
        Replication {
            role: if server.follows.is_some() { Role::Replica } else { Role::Master },
            master: server.follows.map(|port| ("host".to_owned(), port.number())),
            link_up: server.linked,
            replid: server.replid.to_string(),
            replid2: server.replid2.to_string(),
            offset: server.log.len().into(),
            ..Replication::default()
        }
    }

    /// Its part, as a controller tells it. A handover in the journal has moved both only between the three ports.
    pub fn part(&self, side: Side, recorded: bool) -> Part {
        let (this, other) = (self.replication(side), self.replication(side.other()));
        let ports = if recorded { Port::ALL.to_vec() } else { vec![self.of(side.other()).port] };
        let ports: Vec<_> = ports.into_iter().map(Port::number).collect();
        Part { role: this.role, follows_other: stage::follows(&this, &other, &["host"], &ports) }
    }
}
