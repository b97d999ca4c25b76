//! The process: started, and waited for until it answers.

use std::time::Duration;

use super::{Options, at, is_ours, plan::Plan};
use crate::{
    error::{Code, Error, Result},
    host::{
        Owner,
        place::Place,
        process::{Log, Started},
        systemd,
    },
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

/// Starts it and waits until it answers. Where it does not, it is ended.
pub(super) async fn start(
    call: &Call,
    options: &Options,
    place: &Place,
    plan: &Plan,
    owner: Option<Owner>,
) -> Result<Server> {
    let deadline = Deadline::after(options.wait_timeout);
    let Some(unit) = &options.unit else {
        let config = place.config().display().to_string();
        let started = Started::for_good(plan.program.as_ref(), &[&config], &place.directory, &place.log(), owner);
        let mut started = started.map_err(|e| {
            Error::new(Code::HostDenied, format!("{} can't be started: {e}", plan.program)).at(at(call))
        })?;
        call.run.action(action(call, options, place, plan));
        let server = come_up(call, place, Some(&mut started), deadline).await?;
        started.release();
        return Ok(server);
    };
    let from = std::fs::metadata(place.log()).map_or(0, |about| about.len());
    let refused = systemd::tell("start", unit, options.wait_timeout).await;
    let outcome = match refused {
        Some(said) => Err(Error::new(Code::LaunchFailed, format!("{unit} was not started: {said}"))),
        None => {
            call.run.action(action(call, options, place, plan));
            come_up(call, place, None, deadline).await
        }
    };
    let Err(error) = outcome else { return outcome };
    let state = systemd::look(unit).await.map(|unit| unit.state).unwrap_or_default();
    systemd::tell("stop", unit, options.wait_timeout).await;
    let log = Log { path: place.log(), from };
    let found = match log.refused_value() {
        Some(refused) => format!("{unit} does not take {}: {}", refused.parameter, refused.why),
        None => format!("{} ({unit} is {state}); {}", error.found, log.tail()),
    };
    let remedy = format!("see that it runs {} {}, and journalctl -u {unit}", plan.program, place.config().display());
    Err(Error { found, ..error }.at(at(call)).remedy(remedy))
}

/// Waits until our own process answers.
async fn come_up(call: &Call, place: &Place, mut started: Option<&mut Started>, deadline: Deadline) -> Result<Server> {
    let failed = |found: String| Error::new(Code::LaunchFailed, found).at(at(call));
    let mut last = String::new();
    loop {
        if let Some(started) = &mut started
            && let Some(status) = started.ended().map_err(|e| failed(e.to_string()))?
        {
            return Err(match started.log.refused_value() {
                Some(refused) => failed(format!("does not take {}: {}", refused.parameter, refused.why))
                    .remedy(format!("give {} another value in parameters", refused.parameter)),
                None => failed(format!("ended at once ({status}); {}", started.log.tail()))
                    .remedy("mend what it says, then run this again"),
            });
        }
        let found = match log_in(&call.run, Side::Target, &call.target, Some(&call.source)).await {
            Ok(server) if is_ours(&server, place) => return Ok(server),
            Ok(_) => "another server has come to that address meanwhile".to_owned(),
            Err(error) if error.code == Code::Cancelled => return Err(error),
            Err(error) => error.found,
        };
        if deadline.passed() {
            let said = started.map(|started| format!("; {}", started.log.tail())).unwrap_or_default();
            return Err(failed(format!("did not answer in {} s: {found}{said}", deadline.given.as_secs_f64()))
                .remedy("see that its bind has this address and its users have this login, or wait longer"));
        }
        if found != last {
            call.run.emit(&Event::Waiting { wanted: "the new instance to answer", found: found.clone() });
            last = found;
        }
        call.run.sleep(BREATH).await?;
    }
}
