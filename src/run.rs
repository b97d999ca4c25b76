//! One call of a step: its event stream, what it did so far, and the wish to stop.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::Notify;

use crate::{
    error::{Code, Error, Result, State},
    mutex::lock,
    probe::Bucket,
    server::info::Role,
    side::Side,
};

/// The name of connections of redis-baton; behind a `.` or `:` follows what is special about one.
pub const CLIENT_NAME: &str = "redis-baton";

/// What happens while a step runs. The only progress channel: callbacks, the Ansible output, the journal's
/// reader and reports all see the same events.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A step begins.
    Step {
        /// Its name.
        step: &'static str,
    },
    /// A command that changes a server was sent (secrets masked).
    Action {
        /// The server and the command, as in a result's `actions`: those do not have what a step has put back by its end,
        /// as `verify` does.
        action: String,
    },
    /// The initial sync moves on.
    Sync {
        /// What the target is doing: `waiting`, `receiving`, `loading` or `streaming`.
        stage: &'static str,
        /// Bytes received so far.
        bytes: u64,
        /// Bytes in all, where the server knows.
        total: Option<u64>,
        /// Bytes a second since the transfer began.
        rate: Option<u64>,
        /// Seconds that are left at this rate.
        seconds_left: Option<f64>,
    },
    /// A save or a rewrite of the AOF moves on.
    Saving {
        /// What is being written: `rdb` or `aof`.
        file: &'static str,
        /// `waiting` (for another save or rewrite to end) or `writing`.
        stage: &'static str,
        /// Keys written so far, where the server tells (7.0), as all that follows.
        keys: Option<u64>,
        /// Keys in all.
        total: Option<u64>,
        /// Memory that was copied meanwhile, in bytes: what clients have changed since it began.
        copied_bytes: Option<u64>,
        /// Keys a second since it was first seen.
        rate: Option<u64>,
        /// Seconds that are left at this rate.
        seconds_left: Option<f64>,
    },
    /// A comparison of every key moves on.
    Comparing {
        /// Keys compared so far.
        done: u64,
        /// Keys in all, as they were counted at the beginning.
        total: u64,
        /// Keys a second since it began.
        rate: u64,
        /// Seconds that are left at this rate.
        seconds_left: Option<f64>,
    },
    /// A wait goes on.
    Waiting {
        /// For what.
        wanted: &'static str,
        /// What it saw instead.
        found: String,
    },
    /// `MONITOR` begins, as it was asked for.
    Monitor {
        /// For how long at most.
        seconds: f64,
        /// For how many lines at most.
        lines: u64,
        /// What that costs the server.
        cost: &'static str,
    },
    /// A phase of the handover has ended.
    Phase {
        /// Its name.
        name: &'static str,
        /// How long it took.
        microseconds: u64,
    },
    /// How a server is doing, about once a second; not in the cut.
    Sample(Sample),
    /// What the probe has seen for a short time.
    Probe(Bucket),
    /// A hook has ended.
    Hook {
        /// Its moment.
        moment: &'static str,
        /// The program, or the name of the function.
        hook: String,
        /// How long it took.
        microseconds: u64,
        /// Why it failed, if it did.
        failed: Option<String>,
        /// The last lines that a program has written.
        output: Vec<String>,
    },
    /// Something the operator should know.
    Warning {
        /// In one sentence.
        warning: String,
    },
}

/// How a server is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Where it listens now.
    pub server: String,
    /// Which of the two it is.
    pub side: Side,
    /// What it is now.
    pub role: Role,
    /// Commands a second, as it counts them itself.
    pub ops_per_second: u64,
    /// Connections of applications.
    pub clients: u64,
    /// Memory in use.
    pub memory_bytes: u64,
    /// Keys in all databases.
    pub keys: u64,
    /// Bytes of its replication stream.
    pub offset: u64,
    /// How far it is behind the other one, if it follows that.
    pub lag_bytes: Option<u64>,
}

type Sink = Box<dyn Fn(&Run, &Event) + Send + Sync>;

/// The context every step runs in.
pub struct Run {
    /// Look and decide only: no command that changes a server is sent.
    pub dry: bool,
    /// The name that its connections have in CLIENT LIST.
    pub client_name: &'static str,
    caller: Arc<Caller>,
    started: Instant,
    actions: Mutex<Vec<String>>,
    /// Whether one of them was for a server.
    sent: AtomicBool,
    warnings: Mutex<Vec<String>>,
}

/// Who called: listens to events, and may want to stop.
struct Caller {
    sink: Sink,
    cancelled: AtomicBool,
    shields: AtomicUsize,
    times_shielded: AtomicUsize,
    wake: Notify,
    token: String,
}

impl Run {
    /// A context that hands every event to `sink`.
    pub fn new(dry: bool, sink: impl Fn(&Run, &Event) + Send + Sync + 'static) -> Self {
        Run::of(
            dry,
            Arc::new(Caller {
                sink: Box::new(sink),
                cancelled: AtomicBool::new(false),
                shields: AtomicUsize::new(0),
                times_shielded: AtomicUsize::new(0),
                wake: Notify::new(),
                token: format!("{:016x}", RandomState::new().hash_one(std::process::id())),
            }),
        )
    }

    /// A context for somebody who looks on beside a call: nobody hears of it, and it changes nothing.
    pub fn onlooker(client_name: &'static str) -> Self {
        Run { client_name, ..Run::new(true, |_, _| {}) }
    }

    /// A context for one part of this one: same caller, its own actions and warnings.
    pub fn part(&self) -> Self {
        Run::of(self.dry, Arc::clone(&self.caller))
    }

    fn of(dry: bool, caller: Arc<Caller>) -> Self {
        Run {
            dry,
            client_name: CLIENT_NAME,
            caller,
            started: Instant::now(),
            actions: Mutex::default(),
            sent: AtomicBool::default(),
            warnings: Mutex::default(),
        }
    }

    /// Tells this call from every other one.
    pub fn token(&self) -> &str {
        &self.caller.token
    }

    /// Takes over what a part has noted.
    pub fn take_in(&self, part: &Run) {
        lock(&self.actions).extend(part.actions());
        self.sent.fetch_or(part.sent.load(Ordering::SeqCst), Ordering::SeqCst);
        lock(&self.warnings).extend(part.warnings());
    }

    /// Tells whoever listens.
    pub fn emit(&self, event: &Event) {
        (self.caller.sink)(self, event);
    }

    /// Notes a command that changes a server; in a dry run, one that would be sent.
    pub fn action(&self, action: String) {
        self.sent.store(true, Ordering::SeqCst);
        self.mention(action);
    }

    /// Notes something else that was done, which changes no server.
    pub fn mention(&self, action: String) {
        self.emit(&Event::Action { action: action.clone() });
        lock(&self.actions).push(action);
    }

    /// Notes something the operator should know.
    pub fn warn(&self, warning: impl Into<String>) {
        let warning = warning.into();
        self.emit(&Event::Warning { warning: warning.clone() });
        lock(&self.warnings).push(warning);
    }

    /// The commands noted so far.
    pub fn actions(&self) -> Vec<String> {
        lock(&self.actions).clone()
    }

    /// The warnings noted so far.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).clone()
    }

    /// Seconds since the call began.
    pub fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Asks the step to stop at its next safe point.
    pub fn cancel(&self) {
        self.caller.cancelled.store(true, Ordering::SeqCst);
        self.caller.wake.notify_waiters();
    }

    /// While the returned guard lives, the wish to stop waits: between the two transactions of the handover,
    /// and while settings are put back.
    pub fn shield(&self) -> Shield<'_> {
        self.caller.shields.fetch_add(1, Ordering::SeqCst);
        self.caller.times_shielded.fetch_add(1, Ordering::SeqCst);
        Shield(self)
    }

    /// Whether a guard of [`Run::shield`] lives.
    pub fn is_shielded(&self) -> bool {
        self.caller.shields.load(Ordering::SeqCst) > 0
    }

    /// How many there have been: one may come and go between two looks.
    pub fn times_shielded(&self) -> usize {
        self.caller.times_shielded.load(Ordering::SeqCst)
    }

    /// An error as it is true for this run: once commands were sent, "unchanged" no longer is.
    pub fn truthful(&self, error: Error) -> Error {
        let sent = !self.dry && self.sent.load(Ordering::SeqCst);
        match error.state {
            State::Unchanged if sent => error.state(State::Interrupted),
            _ => error,
        }
    }

    /// Waits for `future`, unless the caller wants to stop meanwhile.
    pub async fn interruptible<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            done = future => Ok(done),
            () = self.stop_wanted() => Err(Error::new(Code::Cancelled, "stopped as asked")),
        }
    }

    /// Sleeps, unless the caller wants to stop meanwhile.
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        self.interruptible(tokio::time::sleep(duration)).await
    }

    async fn stop_wanted(&self) {
        loop {
            let woken = self.caller.wake.notified();
            if self.caller.cancelled.load(Ordering::SeqCst) && self.caller.shields.load(Ordering::SeqCst) == 0 {
                return;
            }
            woken.await;
        }
    }
}

/// Holds the wish to stop back for as long as it lives.
pub struct Shield<'a>(&'a Run);

impl Drop for Shield<'_> {
    fn drop(&mut self) {
        self.0.caller.shields.fetch_sub(1, Ordering::SeqCst);
        self.0.caller.wake.notify_waiters();
    }
}

/// Tells of a wait, at most once a second however often it looks.
#[derive(Default)]
pub struct Waiting(Option<Instant>);

impl Waiting {
    const EVERY: Duration = Duration::from_secs(1);

    /// What is waited for, and what is there instead.
    pub fn tell(&mut self, run: &Run, wanted: &'static str, found: impl FnOnce() -> String) {
        if self.0.is_none_or(|told| told.elapsed() >= Self::EVERY) {
            self.0 = Some(Instant::now());
            run.emit(&Event::Waiting { wanted, found: found() });
        }
    }
}

/// A point in time by which something must have happened.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    end: Instant,
    /// The time given, for messages.
    pub given: Duration,
}

impl Deadline {
    /// That long from now.
    pub fn after(given: Duration) -> Self {
        // Far enough for any wait, near enough not to overflow an Instant.
        let given = given.min(Duration::from_secs(365 * 24 * 3600));
        Deadline { end: Instant::now() + given, given }
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        Instant::now() >= self.end
    }

    /// What is left until then.
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_shield_holds_the_wish_to_stop_back() {
        let run = Run::new(false, |_, _| {});
        run.cancel();
        let shield = run.shield();
        run.sleep(Duration::from_millis(1)).await.expect("shielded");
        drop(shield);
        let error = run.sleep(Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(error.code, Code::Cancelled);
    }
}
