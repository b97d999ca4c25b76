//! What goes wrong, in words an operator can act on.
//!
//! Callers branch on two things only: the [`Kind`] (which becomes the Python exception class) and the
//! stable [`Code`] (which becomes `reason` in Ansible). Everything else is for a person: which server,
//! what was found, what to do next, and in what [`State`] things are.

use std::fmt;

use serde::Serialize;

/// Result of anything that can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The family an error belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An argument is wrong: nothing was asked of any server.
    InvalidInput,
    /// A server can't be reached, or does not let us in.
    ConnectionFailed,
    /// The servers are in a state in which going on would be unsafe.
    Refused,
    /// A wait ended without what was waited for.
    TimedOut,
    /// A command failed, or an end state could not be confirmed.
    Failed,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident, $text:literal, $kind:ident;)+) => {
        /// Stable reason codes: scripts and playbooks may branch on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// Every code, in the order of the reference.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// The stable text.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)+ }
            }

            /// The family the code belongs to.
            pub fn kind(self) -> Kind {
                match self { $(Code::$name => Kind::$kind,)+ }
            }

            /// What it means, as the reference prints it.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    /// An argument has the wrong type, form or range.
    InvalidInput, "invalid_input", InvalidInput;
    /// The host name does not resolve.
    HostUnknown, "host_unknown", ConnectionFailed;
    /// Nothing listens at the address: the connection is refused.
    Unreachable, "unreachable", ConnectionFailed;
    /// No answer in time: the server hangs, or the way to it is cut. It may well live.
    NoAnswer, "no_answer", ConnectionFailed;
    /// User or password are wrong, or one is needed and none was given.
    AuthFailed, "auth_failed", ConnectionFailed;
    /// TLS was used against a plain port, plain against a TLS port, or the certificate was not accepted.
    TlsFailed, "tls_failed", ConnectionFailed;
    /// The server is loading its data set.
    Loading, "loading", ConnectionFailed;
    /// The server answers, but not as a Redis or Valkey does.
    NotRedis, "not_redis", ConnectionFailed;
    /// The account may not use a command that the step needs (ACL, or a renamed command).
    PermissionDenied, "permission_denied", Refused;
    /// Source and target are the same process.
    SameServer, "same_server", Refused;
    /// The source is itself a replica of another server.
    SourceIsReplica, "source_is_replica", Refused;
    /// The target holds data of its own, which the initial sync would wipe.
    TargetHasData, "target_has_data", Refused;
    /// The target replicates from another server than the source.
    TargetFollowsOther, "target_follows_other", Refused;
    /// The target can't read the source's data format (RDB version).
    RdbTooNew, "rdb_too_new", Refused;
    /// There is data in the source that the target can't hold, though it reads the format.
    DataNotHeld, "data_not_held", Refused;
    /// The source can't be handed over from: before 6.0.15, or before 6.2 and over TLS.
    SourceTooOld, "source_too_old", Refused;
    /// The target lacks a command of the reversible handover (6.2).
    TargetTooOld, "target_too_old", Refused;
    /// A server runs in cluster mode, which is not supported yet.
    ClusterMode, "cluster_mode", Refused;
    /// Sentinel watches the source, and is not to move the clients; or an address is a sentinel's.
    SentinelMode, "sentinel_mode", Refused;
    /// The target lacks a module that the source has loaded.
    ModuleMissing, "module_missing", Refused;
    /// The target has fewer databases than the source.
    DatabasesTooFew, "databases_too_few", Refused;
    /// The target takes fewer clients than are connected to the source.
    MaxclientsTooSmall, "maxclients_too_small", Refused;
    /// The target's maxmemory is below what the source's data needs.
    MaxmemoryTooSmall, "maxmemory_too_small", Refused;
    /// The target would refuse writes: its min-replicas-to-write can't be met.
    MinReplicas, "min_replicas", Refused;
    /// The target accepts writes while it is a replica.
    TargetWritable, "target_writable", Refused;
    /// A takeover of the port needs both servers on one host, and a port the target may bind.
    TakeoverImpossible, "takeover_impossible", Refused;
    /// What moves the clients (a proxy, Sentinel, a relay) can't do so, or did not.
    RedirectFailed, "redirect_failed", Refused;
    /// A hook failed, or took too long.
    HookFailed, "hook_failed", Failed;
    /// Clients are still connected through the relay that was to end.
    RelayInUse, "relay_in_use", Refused;
    /// Something else listens on the port that the source would move to.
    AsidePortTaken, "aside_port_taken", Refused;
    /// The target can't reach the source by the address given, as far as can be seen.
    AddressNotShared, "address_not_shared", Refused;
    /// The target does not replicate from the source yet.
    NotReplicating, "not_replicating", Refused;
    /// The servers' roles fit no stage of an upgrade.
    UnexpectedRoles, "unexpected_roles", Refused;
    /// Another controller is at work on one of these servers.
    Locked, "locked", Refused;
    /// The target was restarted or made anew, and no longer continues the source's replication history.
    HistoryLost, "history_lost", Refused;
    /// The source still takes application commands.
    SourceInUse, "source_in_use", Refused;
    /// The old one no longer follows the new one, so going back would lose writes.
    NotWarm, "not_warm", Refused;
    /// The source's data would be the only copy, or the target is not the one that serves.
    OnlyCopy, "only_copy", Refused;
    /// The two servers do not hold the same number of keys.
    CountsDiffer, "counts_differ", Refused;
    /// A key that was read on both servers differs.
    ValuesDiffer, "values_differ", Refused;
    /// Keys changed all the time, so that they could not be compared.
    Unsettled, "unsettled", TimedOut;
    /// The server does not know a parameter.
    ParameterUnknown, "parameter_unknown", Refused;
    /// The server was started without a configuration file, so nothing can be saved in it.
    NoConfigFile, "no_config_file", Refused;
    /// The server did not take the value of a parameter.
    ParameterRefused, "parameter_refused", Failed;
    /// The server could not write its configuration file.
    NotSaved, "not_saved", Failed;
    /// The server could not write its RDB or AOF file: the disk, the folder, or the memory for a fork.
    SaveFailed, "save_failed", Failed;
    /// The target does not know a rule of an ACL user of the source.
    UserRefused, "user_refused", Refused;
    /// Something else listens where the new instance is to run.
    PortTaken, "port_taken", Refused;
    /// The new instance is to run on another host than the one this runs on.
    OtherHost, "other_host", Refused;
    /// The new instance runs already, but was launched with other parameters or another program.
    LaunchedOtherwise, "launched_otherwise", Refused;
    /// The directory holds files of something else, or another server works in it.
    DirectoryInUse, "directory_in_use", Refused;
    /// This host does not allow it: a directory can't be written, or another user not be taken.
    HostDenied, "host_denied", Refused;
    /// The program is no Redis or Valkey that runs on this host.
    ProgramUnusable, "program_unusable", Refused;
    /// There is not enough memory for a second server with the same data.
    MemoryShort, "memory_short", Refused;
    /// There is not enough space for the files of a second server.
    DiskShort, "disk_short", Refused;
    /// The new instance did not come up; it was ended, and nothing of it is left.
    LaunchFailed, "launch_failed", Failed;
    /// The initial sync starts over and over.
    SyncLoops, "sync_loops", Failed;
    /// The replication link did not come up, or the sync did not end, in time.
    SyncTimedOut, "sync_timed_out", TimedOut;
    /// The replica did not catch up in time.
    LagTooHigh, "lag_too_high", TimedOut;
    /// The moment for the handover never came: something else kept the server busy.
    NoGoodMoment, "no_good_moment", TimedOut;
    /// Application commands kept arriving.
    NotQuiet, "not_quiet", TimedOut;
    /// A save or a rewrite of the AOF did not end in time.
    SaveTimedOut, "save_timed_out", TimedOut;
    /// The process that was to be restarted is still the same one.
    NotRestarted, "not_restarted", TimedOut;
    /// The server did not end in time after SHUTDOWN.
    StillRunning, "still_running", TimedOut;
    /// A server did not answer a command in time, or the connection broke.
    ConnectionLost, "connection_lost", Failed;
    /// A server's data, as it sends it to a replica, can't be read here: it is damaged, or of a newer format.
    StreamUnreadable, "stream_unreadable", Failed;
    /// A server refused a command.
    CommandFailed, "command_failed", Failed;
    /// The end state read back is not the one asked for.
    NotConfirmed, "not_confirmed", Failed;
    /// The handover stands between its two transactions.
    HalfDone, "half_done", Failed;
    /// The journal can't be read or written.
    JournalFailed, "journal_failed", Failed;
    /// The caller asked to stop (Ctrl-C).
    Cancelled, "cancelled", Failed;
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// In what state an error leaves things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No server was changed.
    Unchanged,
    /// What had been changed was put back: who served before serves.
    Undone,
    /// Something is under way or half done: run the same thing again.
    Interrupted,
}

impl State {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unchanged => "unchanged",
            State::Undone => "undone",
            State::Interrupted => "interrupted",
        }
    }
}

/// An error as an operator reads it: one sentence that says what was found where, one that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The stable reason.
    pub code: Code,
    /// The server it is about, such as `source 127.0.0.1:6379`; none where it is about an argument.
    pub server: Option<String>,
    /// What was found.
    pub found: String,
    /// What to do next; may be empty.
    pub remedy: String,
    /// In what state things are.
    pub state: State,
}

impl Error {
    /// An error about the call itself, before any server was asked.
    pub fn new(code: Code, found: impl Into<String>) -> Self {
        Error { code, server: None, found: found.into(), remedy: String::new(), state: State::Unchanged }
    }

    /// A wrong argument, named.
    pub fn input(field: &str, problem: impl fmt::Display) -> Self {
        Error::new(Code::InvalidInput, format!("{field}: {problem}"))
    }

    /// Names the server it is about.
    pub fn at(mut self, server: impl fmt::Display) -> Self {
        self.server = Some(server.to_string());
        self
    }

    /// Says what to do next.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Says in what state things are.
    pub fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(server) = &self.server {
            write!(f, "{server}: ")?;
        }
        if self.remedy.is_empty() {
            write!(f, "{}", self.found)?;
        } else {
            // A server's own words may end as a sentence does.
            write!(f, "{}; {}", self.found.trim_end_matches('.'), self.remedy)?;
        }
        match self.state {
            State::Unchanged => write!(f, " (unchanged)"),
            State::Undone => write!(f, " (undone: all is as before)"),
            State::Interrupted => write!(f, " (interrupted: run the same thing again)"),
        }
    }
}
