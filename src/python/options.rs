//! Arguments of Python functions, read into the options of steps: ranges are checked here, under the argument's name.

use std::time::Duration;

use pyo3::{
    prelude::*,
    types::{PyBool, PyInt, PyList, PyMapping, PyString, PyTuple},
};

use crate::{
    Error, Result,
    decide::findings::Redirect,
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

pub fn checks(redirect: &str, aside_port: Option<i64>, force: bool) -> Result<step::preflight::Options> {
    let port = |port: i64| {
        u16::try_from(port)
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| Error::input("aside_port", format!("{port} is not a port (1 to 65535)")))
    };
    Ok(step::preflight::Options {
        redirect: Redirect::parse(redirect)?,
        aside_port: aside_port.map(port).transpose()?,
        force,
    })
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
    pub redirect: String,
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
    pub guard: bool,
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
            preflight: checks(&self.redirect, self.aside_port, false)?,
            pause_budget,
            patience: seconds("patience", self.patience)?,
            attempts: within("attempts", self.attempts, 1, 1000)?,
            max_lag_bytes: at_least("max_lag_bytes", self.max_lag_bytes, 0)?,
            backlog_bytes: at_least("backlog_bytes", self.backlog_bytes, 0)?,
            login: login(self.replication_user, self.replication_password)?,
            max_latency: seconds("max_latency", self.max_latency)?,
            rewrite: self.rewrite,
            guard: self.guard.then_some(guard_command),
        })
    }
}

pub fn quiescence(quiet_for: f64, wait_timeout: f64) -> Result<step::wait_quiescent::Options> {
    Ok(step::wait_quiescent::Options {
        quiet_for: seconds("quiet_for", quiet_for)?,
        wait_timeout: seconds("wait_timeout", wait_timeout)?,
    })
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

impl Comparison<'static> {
    /// What `upgrade` compares.
    pub fn sample(sample_keys: i64, wait_timeout: f64) -> Self {
        Comparison {
            level: "sample",
            by: "streams",
            sample_keys,
            max_differences: 20,
            max_latency: 0.01,
            rate: None,
            resume: false,
            wait_timeout,
        }
    }
}

impl Comparison<'_> {
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
