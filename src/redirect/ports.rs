//! How ports move: the commands that join the two transactions of the handover.
//!
//! `CONFIG SET port` (6.2) closes the listener and keeps the connections, so nobody is cut by it. With a takeover the
//! demoted server leaves its ports and the promoted one takes them over. Other ways may have the demoted one leave its
//! ports too, so that nobody arrives there in the middle. Where no port changes, no command is needed.

use crate::{
    journal::{Handover, Ports},
    server::Command,
};

/// What the demoted server does in its transaction.
pub fn leave(handover: &Handover) -> Vec<Command> {
    moves(handover.home, handover.aside)
}

/// What the promoted server does in its transaction.
pub fn arrive(handover: &Handover) -> Vec<Command> {
    moves(handover.from, handover.public)
}

/// What the demoted server does to come back.
pub fn come_back(handover: &Handover) -> Vec<Command> {
    moves(handover.aside, handover.home)
}

fn moves(now: Ports, then: Ports) -> Vec<Command> {
    let moved = [("port", now.plain, then.plain), ("tls-port", now.tls, then.tls)];
    moved
        .iter()
        .filter(|(_, now, then)| now != then)
        .map(|(parameter, _, port)| Command::config_set(parameter, &port.to_string()))
        .collect()
}
