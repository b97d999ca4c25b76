//! The calls of an upgrade, each gathered from its lines of the chronicle.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::chronicle::{End, Entry, Failure, Line};

/// One call of a step.
#[derive(Debug, Clone, Serialize)]
pub struct Called {
    pub call: String,
    pub step: String,
    pub version: String,
    pub controller: String,
    pub pid: u32,
    pub began: f64,
    /// None where the controller died, or runs still.
    pub ended: Option<f64>,
    /// Until its last line.
    pub seconds: f64,
    /// `done`, `failed` or `unended`.
    pub outcome: &'static str,
    pub changed: bool,
    pub error: Option<Failure>,
    /// The steps it ran: of `upgrade` several, else itself.
    pub steps: Vec<Span>,
    pub phases: Vec<Phase>,
    pub hooks: Vec<Value>,
    #[serde(skip)]
    pub result: Value,
}

/// A step while it ran.
#[derive(Debug, Clone, Serialize)]
pub struct Span {
    pub name: String,
    pub began: f64,
    pub ended: f64,
}

/// A phase of a handover.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    pub name: String,
    pub microseconds: u64,
    /// When it was told, which is after the cut.
    pub at: f64,
}

/// A command that was sent, or something else that was done.
#[derive(Debug, Clone, Serialize)]
pub struct Action {
    pub time: f64,
    pub step: String,
    pub server: String,
    pub command: String,
}

/// Something the operator was told.
#[derive(Debug, Clone, Serialize)]
pub struct Said {
    pub time: f64,
    pub step: String,
    pub warning: String,
}

/// All that the chronicle holds.
#[derive(Debug, Default)]
pub struct Gathered {
    pub calls: Vec<Called>,
    pub actions: Vec<Action>,
    pub warnings: Vec<Said>,
    /// Events as they were told, each with its `time`.
    pub samples: Vec<Value>,
    pub probe: Vec<Value>,
}

impl Called {
    /// What each step returned.
    pub fn results(&self) -> Vec<(&str, &Value)> {
        match self.result.get("steps").and_then(Value::as_array) {
            Some(steps) => steps.iter().filter_map(|step| Some((step["name"].as_str()?, &step["result"]))).collect(),
            None if self.result.is_object() => vec![(&*self.step, &self.result)],
            None => Vec::new(),
        }
    }

    fn see(&mut self, time: f64) {
        self.seconds = time - self.began;
        if let Some(span) = self.steps.last_mut() {
            span.ended = time;
        }
    }
}

/// Sorts the lines into calls; those without a beginning are passed over.
pub fn gather(lines: &[Line]) -> Gathered {
    let mut all = Gathered::default();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        if let Entry::Begin(begin) = &line.entry {
            known.insert(&line.call, all.calls.len());
            all.calls.push(Called {
                call: line.call.clone(),
                step: begin.step.clone(),
                version: begin.version.clone(),
                controller: begin.controller.clone(),
                pid: begin.pid,
                began: line.time,
                ended: None,
                seconds: 0.0,
                outcome: "unended",
                changed: false,
                error: None,
                steps: Vec::new(),
                phases: Vec::new(),
                hooks: Vec::new(),
                result: Value::Null,
            });
            continue;
        }
        let Some(place) = known.get(&*line.call).copied() else { continue };
        match &line.entry {
            Entry::Event { event } => note(&mut all, place, line.time, event),
            Entry::End(end) => {
                let call = &mut all.calls[place];
                call.see(line.time);
                call.ended = Some(line.time);
                match end {
                    End::Done { result } => {
                        call.outcome = "done";
                        call.changed |= result["changed"].as_bool() == Some(true);
                        call.result = result.clone();
                    }
                    End::Failed { error } => {
                        call.outcome = "failed";
                        call.error = Some(error.clone());
                    }
                }
            }
            Entry::Begin(_) => {}
        }
    }
    all
}

fn note(all: &mut Gathered, place: usize, time: f64, event: &Value) {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let dated = || {
        let mut event = event.clone();
        event["time"] = time.into();
        event
    };
    let call = &mut all.calls[place];
    let step = call.steps.last().map_or_else(|| call.step.clone(), |span| span.name.clone());
    match event["event"].as_str().unwrap_or_default() {
        "step" => {
            let name = text("step");
            // `upgrade` itself is no step of it.
            if call.steps.len() == 1 && call.steps[0].name == call.step && call.step == "upgrade" {
                call.steps.clear();
            }
            call.see(time);
            call.steps.push(Span { name, began: time, ended: time });
            return;
        }
        "action" => {
            let action = text("action");
            let (server, command) = action.split_once(": ").unwrap_or(("", &action));
            all.actions.push(Action { time, step, server: server.to_owned(), command: command.to_owned() });
            call.changed = true;
        }
        "warning" => all.warnings.push(Said { time, step, warning: text("warning") }),
        "phase" => {
            let microseconds = event["microseconds"].as_u64().unwrap_or_default();
            call.phases.push(Phase { name: text("name"), microseconds, at: time });
        }
        "hook" => call.hooks.push(dated()),
        "sample" => all.samples.push(dated()),
        "probe" => all.probe.push(dated()),
        _ => {}
    }
    call.see(time);
}
