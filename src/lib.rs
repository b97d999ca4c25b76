//! redis-baton replaces a live Redis or Valkey by another one, and loses no acknowledged write doing so.
//!
//! The map, from the outside to the servers:
//!
//! - [`upgrade`]: the whole procedure as one call.
//! - [`step`]: one file a step: look, decide, act, confirm.
//! - [`decide`]: the decisions, without I/O: the [stage](decide::stage) an upgrade has reached, what stands
//!   [against](decide::findings) it, who can read [whose](decide::compat) data, the [handover](decide::handover).
//! - [`handover`]: carries out what the handover machine says; [`fence`] does so where the source is older than 6.2.
//! - [`redirect`]: how clients are made to arrive at the new server; [`relay`] is the process that forwards them.
//! - [`hook`]: commands and functions of the operator at the moments of a handover.
//! - [`call`]: what a step is called with.
//! - [`pair`]: the two processes of an upgrade, found wherever they listen now.
//! - [`journal`]: what can't be read back from the servers later.
//! - [`chronicle`]: what the calls of an upgrade leave behind for whoever wants to know afterwards.
//! - [`beside`]: work on a thread beside a step: [`watch`], samples of both servers, and [`probe`], what a client sees of it.
//! - `report`: the account of an upgrade for people, from the journal and the chronicle: as JSON, HTML and metrics.
//! - [`rdb`]: what a server's data, as it is written to files and sent to replicas, holds.
//! - [`host`]: the host this runs on: a server's process, its directory, its unit; memory and disk.
//! - [`server`]: one typed connection; the only place where commands leave.
//! - [`endpoint`], [`side`], [`run`], [`error`], [`facts`]: an address and login, source or target, one call's context,
//!   what goes wrong, what results carry.

pub mod beside;
pub mod call;
pub mod chronicle;
pub mod decide;
pub mod endpoint;
pub mod error;
pub mod facts;
pub mod fence;
pub mod handover;
pub mod hook;
pub mod host;
pub mod journal;
mod mutex;
pub mod pair;
pub mod probe;
pub mod rdb;
pub mod redirect;
pub mod relay;
mod report;
pub mod run;
pub mod server;
pub mod side;
pub mod step;
pub mod upgrade;
pub mod watch;

#[cfg(feature = "python")]
mod python;

pub use endpoint::{Endpoint, Tls};
pub use error::{Code, Error, Kind, Result, State};
pub use run::{Event, Run};
