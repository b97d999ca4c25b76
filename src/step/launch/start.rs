//! The process: started, and waited for until it answers.

use std::time::Duration;

use super::{Options, at, is_ours, plan::Plan};
use crate::{
    error::{Code, Error, Result, State},
    host::{
        Owner,
        place::Place,
        process::{Said, Started},
        systemd,
    },
    journal::unix_time,
    pair::log_in,
    run::{Deadline, Event},
    server::{Server, Side},
    step::Call,
};

/// Between two looks whether it has come up.
const BREATH: Duration = Duration::from_millis(20);

/// How it is started, in words.
pub(super) fn action(call: &Call, options: &Options, place: &Place, plan: &Plan) -> String {
    match &options.unit {
        Some(unit) => format!("{}: systemctl start {unit}", at(call)),
        None => format!("{}: start {} {}", at(call), plan.program, place.config().display()),
    }
}

/// Who runs it.
enum Runner<'a> {
    /// This call, until it lets go.
    Us(Started),
    /// A unit: its name, and when it was started.
    Unit(&'a str, u64),
}

impl Runner<'_> {
    /// How it has ended, if it has.
    async fn ended(&mut self) -> Option<String> {
        match self {
            Runner::Us(started) => started.ended().map_or_else(|e| Some(e.to_string()), |s| s.map(|s| s.to_string())),
            Runner::Unit(unit, _) => {
                let unit = systemd::look(unit).await.ok().filter(|unit| !unit.runs())?;
                Some(format!("the unit is {}", unit.state))
            }
        }
    }

    /// What the server has said.
    async fn said(&self, place: &Place, from: u64) -> Said {
        let log = Said::in_file(&place.log(), from);
        match self {
            // Before a server has read where its log is, it speaks to the journal.
            Runner::Unit(unit, since) if log.is_empty() => systemd::said(unit, *since).await,
            _ => log,
        }
    }
}

/// Starts it and waits until it answers. Where it does not, it is ended; where that fails too, the error's state is `interrupted`.
pub(super) async fn start(
    call: &Call,
    options: &Options,
    place: &Place,
    plan: &Plan,
    owner: Option<Owner>,
) -> Result<Server> {
    let deadline = Deadline::after(options.wait_timeout);
    let config = place.config().display().to_string();
    let from = std::fs::metadata(place.log()).map_or(0, |about| about.len());
    let Some(unit) = options.unit.as_deref() else {
        let started = Started::for_good(plan.program.as_ref(), &[&config], &place.directory, &place.log(), owner);
        let started = started.map_err(|e| {
            Error::new(Code::HostDenied, format!("{} can't be started: {e}", plan.program)).at(at(call))
        })?;
        call.run.action(action(call, options, place, plan));
        let mut runner = Runner::Us(started);
        let server = come_up(call, place, &mut runner, from, deadline).await.map_err(|e| e.state(State::Undone))?;
        if let Runner::Us(started) = runner {
            started.release();
        }
        return Ok(server);
    };
    let mut runner = Runner::Unit(unit, unix_time() as u64);
    let ordered = call.run.interruptible(systemd::tell("start", unit, options.wait_timeout)).await;
    let mut outcome = match ordered {
        Ok(None) => {
            call.run.action(action(call, options, place, plan));
            come_up(call, place, &mut runner, from, deadline).await
        }
        Ok(Some(said)) => Err(failure(call, &said, &runner.said(place, from).await)),
        Err(error) => Err(error),
    };
    if let Err(error) = &mut outcome {
        match systemd::tell("stop", unit, options.wait_timeout).await {
            None => error.state = State::Undone,
            Some(said) => {
                error.found = format!("{}; and {unit} could not be stopped: {said}", error.found);
                error.state = State::Interrupted;
            }
        }
    }
    outcome.map_err(|error| {
        let more = format!("see that {unit} runs {} {config}", plan.program);
        if error.remedy.is_empty() { error.remedy(more) } else { error }
    })
}

/// Waits until our own process answers.
async fn come_up(call: &Call, place: &Place, runner: &mut Runner<'_>, from: u64, deadline: Deadline) -> Result<Server> {
    let mut last = String::new();
    loop {
        let found = match log_in(&call.run, Side::Target, &call.target, Some(&call.source)).await {
            Ok(server) if is_ours(&server, place) => return Ok(server),
            Ok(_) => "another server has come to that address meanwhile".to_owned(),
            Err(error) if error.code == Code::Cancelled => return Err(error),
            Err(error) => error.found,
        };
        if let Some(how) = runner.ended().await {
            return Err(failure(call, &format!("ended at once ({how})"), &runner.said(place, from).await));
        }
        if deadline.passed() {
            let found = format!("did not answer in {} s: {found}", deadline.given.as_secs_f64());
            let error = failure(call, &found, &runner.said(place, from).await);
            return Err(match runner {
                Runner::Us(_) => {
                    error.remedy("see that its bind has this address and its users this login, or wait longer")
                }
                Runner::Unit(..) => error,
            });
        }
        if found != last {
            call.run.emit(&Event::Waiting { wanted: "the new instance to answer", found: found.clone() });
            last = found;
        }
        call.run.sleep(BREATH).await?;
    }
}

fn failure(call: &Call, found: &str, said: &Said) -> Error {
    let error = match said.refused_value() {
        Some(refused) => {
            let error = Error::new(Code::LaunchFailed, format!("does not take {}: {}", refused.parameter, refused.why));
            error.remedy(format!("give {} another value in parameters", refused.parameter))
        }
        None => Error::new(Code::LaunchFailed, format!("{found}; {}", said.tail())),
    };
    error.at(at(call))
}
