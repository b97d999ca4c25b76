//! Decisions, apart from I/O: facts in; a verdict, or what to do next, out.

pub mod carry;
pub mod clients;
pub mod compat;
pub mod course;
pub mod findings;
pub mod handover;
pub mod haproxy;
pub mod moment;
pub mod parameters;
pub mod persistence;
pub mod room;
pub mod sentinels;
pub mod stage;
pub mod throttle;
pub mod traffic;
pub mod warmth;
