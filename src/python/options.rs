//! Arguments of Python functions, read into the options of steps: ranges are checked here, under the argument's name.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pyo3::{
    exceptions::PyException,
    prelude::*,
    types::{PyBool, PyInt, PyList, PyMapping, PyString, PyTuple},
};

use super::{
    call::{Raised, keep},
    convert::{exception, to_py},
    endpoint::endpoint,
};
use crate::{
    Error, Result,
    decide::clients::Selection,
    hook::{Hook, Hooks, Moment},
    probe::Wish,
    redirect::Redirect,
    step::{self, Login, seconds},
};

pub fn login(user: Option<String>, password: Option<String>) -> Result<Option<Login>> {
    match (user, password) {
        (None, None) => Ok(None),
        (user, Some(password)) => Ok(Some(Login { user, password })),
        (Some(_), None) => {
            Err(Error::input("replication_password", "is missing: a replication_user was given without one"))
        }
    }
}

/// How clients are moved: a word, or a mapping of one word to its options; by default the port is taken over.
pub fn wished_redirect(given: Option<&Bound<'_, PyAny>>) -> PyResult<Redirect> {
    let Some(given) = given else { return Ok(Redirect::default()) };
    let dumps = given.py().import("json")?.getattr("dumps")?;
    let parsed = match dumps.call1((given,)).and_then(|json| json.extract::<String>()) {
        Ok(json) => Redirect::parse(&json),
        Err(_) => Err(Error::input("redirect", "is neither a word nor a mapping of a word to its options")),
    };
    parsed.map_err(|error| exception(&error, None))
}

/// Whether a probe looks on, and where it comes to: a truth value, an Endpoint or a URL.
pub fn wished_probe(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Wish>> {
    let Some(given) = given else { return Ok(None) };
    if let Ok(flag) = given.cast::<PyBool>() {
        return Ok(flag.is_true().then_some(Wish::AsClients));
    }
    let at = endpoint("probe", given).map_err(|error| exception(&error, None))?;
    Ok(Some(Wish::At(Box::new(at))))
}

/// A mapping of moments to commands, each a list of words, or functions. What a function raises that is no ordinary
/// exception, such as Ctrl-C, is kept in `raised`.
pub fn wished_hooks(given: Option<&Bound<'_, PyAny>>, timeout: f64, raised: &Raised) -> Result<Hooks> {
    let wrong = |problem: &str| Error::input("hooks", problem);
    let timeout = seconds("hook_timeout", timeout)?;
    let mut hooks = BTreeMap::new();
    let Some(given) = given else { return Ok(Hooks::new(hooks, timeout)) };
    let mapping =
        given.cast::<PyMapping>().map_err(|_| wrong("is not a mapping of moments to commands or functions"))?;
    for item in mapping.items().map_err(|_| wrong("can't be read"))? {
        let (moment, what): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
            item.extract().map_err(|_| wrong("can't be read"))?;
        let moment: String = moment.extract().map_err(|_| wrong("a moment is not a string"))?;
        let moment = Moment::parse(&moment)?;
        hooks.insert(moment, hook(moment, &what, raised)?);
    }
    Ok(Hooks::new(hooks, timeout))
}

fn hook(moment: Moment, what: &Bound<'_, PyAny>, raised: &Raised) -> Result<Hook> {
    if what.is_callable() {
        return Ok(function(what, raised));
    }
    let is_list = what.is_instance_of::<PyList>() || what.is_instance_of::<PyTuple>();
    match what.extract::<Vec<String>>() {
        Ok(words) if is_list => Hook::command(moment, words),
        _ => Err(Error::input(
            "hooks",
            format!("{}: is neither a list of words (a program and its arguments) nor a function", moment.as_str()),
        )),
    }
}

fn function(function: &Bound<'_, PyAny>, raised: &Raised) -> Hook {
    let name = function.getattr("__qualname__").and_then(|name| name.extract());
    let (function, raised) = (function.clone().unbind(), Arc::clone(raised));
    let call = move |facts: &serde_json::Value| {
        Python::attach(|py| {
            let called = to_py(py, facts).and_then(|facts| function.call1(py, (facts,)));
            called.map(drop).map_err(|error| {
                let text = error.to_string();
                if !error.is_instance_of::<PyException>(py) {
                    keep(&raised, error);
                }
                text
            })
        })
    };
    Hook::Function { name: name.unwrap_or_else(|_| "a function".to_owned()), call: Arc::new(call) }
}

pub fn checks(redirect: Redirect, aside_port: Option<i64>, force: bool) -> Result<step::preflight::Options> {
    let port = |port: i64| {
        u16::try_from(port)
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| Error::input("aside_port", format!("{port} is not a port (1 to 65535)")))
    };
    Ok(step::preflight::Options { redirect, aside_port: aside_port.map(port).transpose()?, force })
}

pub fn at_least(field: &str, value: i64, least: u32) -> Result<u64> {
    u64::try_from(value)
        .ok()
        .filter(|value| *value >= u64::from(least))
        .ok_or_else(|| Error::input(field, format!("{value} is less than {least}")))
}

pub fn within(field: &str, value: i64, least: u32, most: u32) -> Result<u32> {
    u32::try_from(value)
        .ok()
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| Error::input(field, format!("{value} is not between {least} and {most}")))
}

/// A mapping of parameters to values as text, or to a list of them: the lines that a parameter has in a file.
pub fn parameters(given: &Bound<'_, PyAny>) -> Result<Vec<(String, Vec<String>)>> {
    let wrong = |problem: &str| Error::input("parameters", problem);
    let mapping = given.cast::<PyMapping>().map_err(|_| wrong("is not a mapping of names to values"))?;
    let items = mapping.items().map_err(|_| wrong("can't be read"))?;
    items
        .iter()
        .map(|item| {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
                item.extract().map_err(|_| wrong("can't be read"))?;
            let name: String = name.extract().map_err(|_| wrong("a name is not a string"))?;
            if !value.is_instance_of::<PyList>() && !value.is_instance_of::<PyTuple>() {
                return Ok((name.clone(), vec![text(&name, &value)?]));
            }
            let lines: Vec<Bound<'_, PyAny>> = value.extract().map_err(|_| wrong("can't be read"))?;
            let lines = lines.iter().map(|line| text(&name, line)).collect::<Result<_>>()?;
            Ok((name, lines))
        })
        .collect()
}

/// One value of a parameter as text.
fn text(name: &str, value: &Bound<'_, PyAny>) -> Result<String> {
    // To Python, True is a whole number too.
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(if flag.is_true() { "yes" } else { "no" }.to_owned());
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_string_lossy().into_owned());
    }
    if value.is_instance_of::<PyInt>() {
        return value.str().map(|text| text.to_string()).map_err(|e| Error::input("parameters", e));
    }
    match value.extract::<f64>() {
        Ok(number) if number.is_finite() => Ok(number.to_string()),
        Ok(_) => Err(Error::input("parameters", format!("the value of {name} is not a number"))),
        Err(_) if value.is_none() => {
            Err(Error::input("parameters", format!("{name} has no value; an empty one is \"\"")))
        }
        Err(_) => Err(Error::input(
            "parameters",
            format!("the value of {name} is neither a string, a number, a boolean nor a list of those"),
        )),
    }
}

/// The options of a handover in either direction.
pub struct Handover {
    pub redirect: Redirect,
    pub aside_port: Option<i64>,
    pub pause_budget: f64,
    pub patience: f64,
    pub attempts: i64,
    pub max_lag_bytes: i64,
    pub max_latency: f64,
    pub backlog_bytes: i64,
    pub replication_user: Option<String>,
    pub replication_password: Option<String>,
    pub rewrite: bool,
    pub hooks: Hooks,
    pub guard: bool,
    pub probe: Option<Wish>,
}

impl Handover {
    pub fn options(self, guard_command: Vec<String>) -> Result<step::switchover::Options> {
        let pause_budget = seconds("pause_budget", self.pause_budget)?;
        if pause_budget < Duration::from_millis(50) || pause_budget > Duration::from_secs(60) {
            return Err(Error::input(
                "pause_budget",
                format!("{} is not between 0.05 and 60 seconds", self.pause_budget),
            ));
        }
        Ok(step::switchover::Options {
            preflight: checks(self.redirect, self.aside_port, false)?,
            pause_budget,
            patience: seconds("patience", self.patience)?,
            attempts: within("attempts", self.attempts, 1, 1000)?,
            max_lag_bytes: at_least("max_lag_bytes", self.max_lag_bytes, 0)?,
            backlog_bytes: at_least("backlog_bytes", self.backlog_bytes, 0)?,
            login: login(self.replication_user, self.replication_password)?,
            max_latency: seconds("max_latency", self.max_latency)?,
            rewrite: self.rewrite,
            hooks: self.hooks,
            guard: self.guard.then_some(guard_command),
            probe: self.probe,
        })
    }
}

pub fn quiescence(quiet_for: f64, wait_timeout: f64) -> Result<step::wait_quiescent::Options> {
    Ok(step::wait_quiescent::Options {
        quiet_for: seconds("quiet_for", quiet_for)?,
        wait_timeout: seconds("wait_timeout", wait_timeout)?,
        monitor: None,
    })
}

/// The limits of MONITOR; none without a time.
pub fn monitor_limits(time: Option<f64>, lines: i64) -> Result<Option<step::wait_quiescent::Monitor>> {
    let lines = u64::from(within("monitor_lines", lines, 1, 1_000_000)?);
    let Some(time) = time else { return Ok(None) };
    if !(0.0..=60.0).contains(&time) || time == 0.0 {
        return Err(Error::input("monitor", format!("{time} is not more than 0 and at most 60 seconds")));
    }
    Ok(Some(step::wait_quiescent::Monitor { time: seconds("monitor", time)?, lines }))
}

/// Whom to disconnect: a mapping of criteria to lists of values.
pub fn selection(given: &Bound<'_, PyAny>) -> Result<Selection> {
    let wrong = |problem: &str| Error::input("disconnect", problem);
    let mapping = given.cast::<PyMapping>().map_err(|_| wrong("is not a mapping of criteria to lists"))?;
    let items = mapping.items().map_err(|_| wrong("can't be read"))?;
    let mut selection = Selection::default();
    for item in items.iter() {
        let (criterion, values): (String, Bound<'_, PyAny>) =
            item.extract().map_err(|_| wrong("a criterion is not a string"))?;
        if values.is_instance_of::<PyString>() {
            return Err(wrong(&format!("{criterion} is a string and not a list of those")));
        }
        let values = values.extract().map_err(|_| wrong(&format!("{criterion} is not a list of strings")))?;
        selection.criterion(&criterion, values)?;
    }
    selection.check()
}

/// The command that starts a guard: this interpreter with the package's module for it.
pub fn guard_command(py: Python<'_>) -> PyResult<Vec<String>> {
    let interpreter = py.import("sys")?.getattr("executable")?.extract()?;
    Ok(vec![interpreter, "-m".into(), "redis_baton.guard".into()])
}

/// The options of a comparison.
pub struct Comparison<'a> {
    pub level: &'a str,
    pub by: &'a str,
    pub sample_keys: i64,
    pub max_differences: i64,
    pub max_latency: f64,
    pub rate: Option<i64>,
    pub resume: bool,
    pub wait_timeout: f64,
}

impl<'a> Comparison<'a> {
    /// The rest of what `upgrade` compares.
    pub fn of(level: &'a str, by: &'a str, sample_keys: i64, wait_timeout: f64) -> Self {
        Comparison {
            level,
            by,
            sample_keys,
            max_differences: 20,
            max_latency: 0.01,
            rate: None,
            resume: false,
            wait_timeout,
        }
    }

    pub fn options(self) -> Result<step::verify::Options> {
        Ok(step::verify::Options {
            level: step::verify::Level::parse(self.level)?,
            by: step::verify::By::parse(self.by)?,
            sample_keys: within("sample_keys", self.sample_keys, 0, 1_000_000)?,
            max_differences: within("max_differences", self.max_differences, 0, 1_000_000)?,
            max_latency: seconds("max_latency", self.max_latency)?,
            rate: self.rate.map(|rate| within("rate", rate, 1, 1_000_000_000)).transpose()?,
            resume: self.resume,
            wait_timeout: seconds("wait_timeout", self.wait_timeout)?,
        })
    }
}
