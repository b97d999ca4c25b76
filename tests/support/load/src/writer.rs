//! One connection's closed loop: a write is sent when the one before it was acknowledged.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::options::Options;
use crate::report::{Tally, lock};
use crate::wire::{Connection, Reply};
use crate::workload;

const SHORTEST_BACKOFF: Duration = Duration::from_micros(50);
const LONGEST_BACKOFF: Duration = Duration::from_millis(1);
/// A writer that is later than this against its rate does not try to catch up: a gap should not be followed by a burst.
const CATCH_UP: Duration = Duration::from_millis(10);

/// The next thing to write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Set,
    Incr,
}

/// A connection that writes.
pub struct Writer {
    number: usize,
    options: Arc<Options>,
    clock: Arc<Clock>,
    tally: Arc<Mutex<Tally>>,
    connection: Option<Connection>,
    backoff: Duration,
}

impl Writer {
    /// The writer with that number; what it achieves is found in `tally`.
    pub fn new(number: usize, options: Arc<Options>, clock: Arc<Clock>, tally: Arc<Mutex<Tally>>) -> Self {
        Self { number, options, clock, tally, connection: None, backoff: SHORTEST_BACKOFF }
    }

    /// Writes until the clock is stopped; says when it is connected.
    pub fn run(mut self, connected: &Sender<()>) {
        while self.connection.is_none() {
            self.connect();
        }
        // Main may have given up waiting: then the process is about to end anyhow.
        let _ = connected.send(());
        while !self.clock.has_begun() {
            thread::sleep(LONGEST_BACKOFF);
        }
        let mut pace = Pace::new(&self.options, self.number);
        let round = self.options.sets_per_incr + 1;
        for step in 1_u64.. {
            pace.wait();
            if self.clock.is_stopped() {
                return;
            }
            self.write(if step % round == 0 { Write::Incr } else { Write::Set });
        }
    }

    /// Tries one write until it is acknowledged, or in doubt and not to be repeated, or the run ends.
    fn write(&mut self, write: Write) {
        let begun = Instant::now();
        let (sets, incrs, maybe) = {
            let tally = lock(&self.tally);
            (tally.acknowledged_sets, tally.acknowledged_incrs, tally.maybe_incrs)
        };
        let words = match write {
            Write::Set => {
                let key = workload::key(&self.options, self.number, sets);
                let value = workload::value(&self.options, &key);
                vec![b"SET".to_vec(), key.into_bytes(), value]
            }
            Write::Incr => vec![b"INCR".to_vec(), workload::counter(&self.options, self.number).into_bytes()],
        };
        while !self.clock.is_stopped() {
            let Some(connection) = &mut self.connection else {
                self.connect();
                continue;
            };
            let reply = connection.call(&words, &|| self.clock.is_over());
            let mut tally = lock(&self.tally);
            let right = match &reply {
                Ok(Reply::Error(text)) => {
                    tally.error(text);
                    drop(tally);
                    self.back_off();
                    continue;
                }
                Err(_) => {
                    self.connection = None;
                    tally.disconnects += u64::from(!self.clock.is_stopped());
                    if write == Write::Incr {
                        tally.maybe_incrs += 1;
                        return;
                    }
                    continue;
                }
                Ok(Reply::Status(text)) => write == Write::Set && text == b"OK",
                // An INCR in doubt was executed once or not at all.
                Ok(Reply::Integer(value)) => u64::try_from(*value)
                    .is_ok_and(|value| write == Write::Incr && (incrs + 1..=incrs + 1 + maybe).contains(&value)),
                Ok(_) => false,
            };
            tally.wrong_replies += u64::from(!right);
            match write {
                Write::Set => tally.acknowledged_sets += 1,
                Write::Incr => tally.acknowledged_incrs += 1,
            }
            tally.latency.saturating_record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
            self.clock.acknowledged();
            self.backoff = SHORTEST_BACKOFF;
            return;
        }
    }

    /// Tries once to connect and log in; waits a little if that fails.
    fn connect(&mut self) {
        let found = self.options.locate(&self.options.address, &|| self.clock.is_over());
        let Ok(mut connection) = found.and_then(|addresses| Connection::open(&addresses)) else {
            lock(&self.tally).refused_connects += 1;
            return self.back_off();
        };
        if let Some(password) = &self.options.password {
            let words = match &self.options.user {
                Some(user) => vec!["AUTH", user, password],
                None => vec!["AUTH", password],
            };
            match connection.call(&words, &|| self.clock.is_over()) {
                Ok(Reply::Status(_)) => {}
                Ok(reply) => {
                    if let Reply::Error(text) = reply {
                        lock(&self.tally).error(&text);
                    }
                    return self.back_off();
                }
                Err(_) => {
                    lock(&self.tally).disconnects += 1;
                    return self.back_off();
                }
            }
        }
        self.connection = Some(connection);
    }

    fn back_off(&mut self) {
        thread::sleep(self.backoff);
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
    }
}

/// Spreads a connection's share of the rate evenly over time.
struct Pace {
    interval: Duration,
    due: Instant,
}

impl Pace {
    fn new(options: &Options, number: usize) -> Self {
        let (interval, offset) = match options.rate {
            0.0 => (Duration::ZERO, Duration::ZERO),
            rate => {
                let between_any_two = Duration::from_secs_f64(1.0 / rate);
                let connections = u32::try_from(options.connections).unwrap_or(u32::MAX);
                (between_any_two * connections, between_any_two * u32::try_from(number).unwrap_or_default())
            }
        };
        Self { interval, due: Instant::now() + offset }
    }

    fn wait(&mut self) {
        if self.interval.is_zero() {
            return;
        }
        let now = Instant::now();
        if self.due > now {
            thread::sleep(self.due - now);
        } else if now - self.due > CATCH_UP {
            self.due = now;
        }
        self.due += self.interval;
    }
}
