//! How clients are made to arrive at the promoted server: the commands that join the two transactions of the
//! handover.
//!
//! With a takeover the demoted server leaves its ports and the promoted one takes them over. `CONFIG SET port` (6.2)
//! closes the listener and keeps the connections, so nobody is cut by it. Where clients are moved by other means,
//! the ports before and after are the same and no command is needed.

use crate::{
    journal::{Handover, Ports},
    server::{Command, Side},
};

/// What the demoted server does in its transaction.
pub fn leave(handover: &Handover) -> Vec<Command> {
    moves(handover.public_of_demoted(), handover.aside)
}

/// What the promoted server does in its transaction.
pub fn arrive(handover: &Handover) -> Vec<Command> {
    moves(handover.from, handover.public)
}

/// What the demoted server does to come back.
pub fn come_back(handover: &Handover) -> Vec<Command> {
    moves(handover.aside, handover.public_of_demoted())
}

fn moves(now: Ports, then: Ports) -> Vec<Command> {
    let moved = [("port", now.plain, then.plain), ("tls-port", now.tls, then.tls)];
    moved
        .iter()
        .filter(|(_, now, then)| now != then)
        .map(|(parameter, _, port)| Command::config_set(parameter, &port.to_string()))
        .collect()
}

impl Handover {
    /// The side that is demoted.
    pub fn demoted(&self) -> Side {
        if self.back { Side::Target } else { Side::Source }
    }

    /// The ports that the demoted server has before: the public ones if they are taken over, else its own.
    pub fn public_of_demoted(&self) -> Ports {
        if self.is_takeover() { self.public } else { self.aside }
    }

    /// Whether the promoted server takes the demoted one's ports over.
    pub fn is_takeover(&self) -> bool {
        self.public != self.from
    }
}
