//! `baton-load` writes to a Redis or Valkey from many connections, remembers what was acknowledged, and looks all of it
//! up at the end, on the same server or on the one that took its place.
//!
//! - [`options`]: what to do, from the command line
//! - [`wire`]: one blocking connection that speaks the protocol
//! - [`workload`]: which keys there are and what must be in them
//! - [`clock`]: when the run ends, and the longest time in which nothing was acknowledged
//! - [`writer`]: one connection's closed loop of writes
//! - [`verify`]: the look-up of everything that was acknowledged
//! - [`report`]: the figures, as JSON
//!
//! It prints `{"ready": true, ...}` when all connections are up, runs until its standard input ends (or for
//! `--seconds`), and prints one report. Lines it understands on standard input: `mark` prints the figures so far and
//! counts the longest gaps anew, `verify HOST PORT` says where to look things up at the end.
//!
//! Exit status: 0 nothing was lost, 1 something was or could not be looked up, 2 the options make no sense.

mod clock;
mod options;
mod report;
mod verify;
mod wire;
mod workload;
mod writer;

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clock::Clock;
use options::{Address, Options};
use report::{Report, Tally};
use serde_json::json;
use writer::Writer;

/// How long all connections together may take to come up.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// What arrives on standard input.
enum Order {
    Mark,
    Verify(Address),
    End,
}

fn main() -> ExitCode {
    let options = match Options::from_command_line() {
        Ok(options) => Arc::new(options),
        Err(problem) => {
            eprintln!("baton-load: {problem}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            println!("{}", json!({ "error": problem }));
            ExitCode::from(1)
        }
    }
}

/// Runs the load to its end; true when everything that was acknowledged was found.
fn run(options: Arc<Options>) -> Result<bool, String> {
    let clock = Arc::new(Clock::start());
    let (connected, connections) = channel();
    let mut tallies = Vec::new();
    let mut writers = Vec::new();
    for number in 0..options.connections {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let writer = Writer::new(number, options.clone(), clock.clone(), tally.clone());
        let connected = connected.clone();
        writers.push(thread::spawn(move || writer.run(&connected)));
        tallies.push(tally);
    }
    let deadline = Instant::now() + CONNECT_TIME;
    for _ in 0..options.connections {
        let left = deadline.saturating_duration_since(Instant::now());
        if connections.recv_timeout(left).is_err() {
            return Err(format!("{} connections to {} did not come up", options.connections, options.address));
        }
    }
    clock.begin();
    println!("{}", json!({ "ready": true, "connections": options.connections, "unix": clock.unix_now() }));

    let verify_at = follow_orders(&options, &clock, &tallies);
    clock.stop();
    for writer in writers {
        writer.join().map_err(|_| "a writer panicked".to_owned())?;
    }
    let tallies: Vec<Tally> = tallies.iter().map(|tally| report::lock(tally).clone()).collect();
    let finding = verify::look_up(&options, &verify_at, &tallies);
    let report = Report::new(&clock, &tallies).with_finding(finding);
    println!("{}", report.as_json());
    Ok(report.nothing_lost())
}

/// Does what standard input asks for until it ends or the time is up; returns where to look things up.
fn follow_orders(options: &Options, clock: &Clock, tallies: &[Arc<Mutex<Tally>>]) -> Address {
    let orders = read_orders();
    let end = Instant::now() + options.duration;
    let mut verify_at = options.verify_at.clone();
    loop {
        match orders.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Order::Mark) => {
                let tallies: Vec<Tally> = tallies.iter().map(|tally| report::lock(tally).clone()).collect();
                println!("{}", Report::new(clock, &tallies).as_json());
                clock.forget_gaps();
            }
            Ok(Order::Verify(address)) => verify_at = address,
            Ok(Order::End) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return verify_at,
        }
    }
}

/// Standard input is read in a thread of its own, as reading can't be given a deadline.
fn read_orders() -> Receiver<Order> {
    let (sender, orders) = channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let order = match words[..] {
                ["mark"] => Order::Mark,
                ["verify", host, port] if port.parse::<u16>().is_ok() => {
                    Order::Verify(Address { host: host.to_owned(), port: port.parse().unwrap_or_default() })
                }
                _ => {
                    eprintln!("baton-load: not understood: {line:?}");
                    continue;
                }
            };
            if sender.send(order).is_err() {
                return;
            }
        }
        let _ = sender.send(Order::End);
    });
    orders
}
