//! The steps as Python functions: keyword arguments in, a frozen result or an exception out.
#![allow(clippy::too_many_arguments, reason = "keyword arguments of Python functions")]

use std::path::PathBuf;

use pyo3::prelude::*;

use super::{
    call::{Alone, Common, Raised},
    convert::exception,
    options::{
        Comparison, Handover, at_least, checks, guard_command, login, monitor_limits, parameters as read_parameters,
        quiescence, selection, wished_hooks, wished_probe, wished_redirect,
    },
};
use crate::{
    decide::persistence::Wanted,
    step::{
        self, clients::Clients, config::Config, launch::Launch, persistence::Persistence, preflight::Preflight,
        promote::Promote, relay::Relay, replicate::Replicate, report::Report, retire::Retire, seconds, status::Status,
        switchover::Switchover, verify::Verify, wait_quiescent::WaitQuiescent, wait_ready::WaitReady,
        wait_synced::WaitSynced,
    },
    upgrade::{self as procedure, Step, Upgrade},
    watch::watched,
};

/// Find what stands against the upgrade, what would be done, and what it would cost.
#[pyfunction]
#[pyo3(signature = (*, source, target, redirect=None, aside_port=None, force=false, dry_run=false, journal_dir=None,
    on_event=None))]
pub fn preflight(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    redirect: Option<&Bound<'_, PyAny>>,
    aside_port: Option<i64>,
    force: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Preflight> {
    let redirect = wished_redirect(redirect)?;
    Common { source, target, dry_run, break_lock: false, journal_dir, on_event }.run(py, |call| {
        let options = checks(redirect, aside_port, force)?;
        Ok(async move { step::preflight::preflight(&call, &options).await })
    })
}

/// Run a target on this host with the live configuration of the source, and files of its own.
#[pyfunction]
#[pyo3(signature = (*, source, target, directory, program=None, parameters=None, unit=None, user=None, wait_timeout=30.0,
    force=false, break_lock=false, dry_run=false, journal_dir=None, on_event=None))]
pub fn launch(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    directory: PathBuf,
    program: Option<PathBuf>,
    parameters: Option<&Bound<'_, PyAny>>,
    unit: Option<String>,
    user: Option<String>,
    wait_timeout: f64,
    force: bool,
    break_lock: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Launch> {
    let parameters = parameters.map_or(Ok(Vec::new()), read_parameters).map_err(|e| exception(&e, None))?;
    let parameters = parameters.into_iter().map(|(name, lines)| (name.to_lowercase(), lines)).collect();
    Common { source, target, dry_run, break_lock, journal_dir, on_event }.run(py, |call| {
        let wait_timeout = seconds("wait_timeout", wait_timeout)?;
        let options = step::launch::Options { directory, program, parameters, unit, user, wait_timeout, force };
        Ok(async move { step::launch::launch(&call, &options).await })
    })
}

/// Look who still comes through the relay that a switchover has left, and end it if that is wished.
#[pyfunction]
#[pyo3(signature = (*, source, target, end=false, force=false, dry_run=false, journal_dir=None, on_event=None))]
pub fn relay(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    end: bool,
    force: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Relay> {
    Common { source, target, dry_run, break_lock: false, journal_dir, on_event }.run(py, |call| {
        let options = step::relay::Options { end, force };
        Ok(async move { step::relay::relay(&call, &options).await })
    })
}

/// Make the target replicate from the source, with the source's ACL users.
#[pyfunction]
#[pyo3(signature = (*, source, target, redirect=None, aside_port=None, force=false, replication_user=None,
    replication_password=None, wait_timeout=60.0, break_lock=false, dry_run=false, journal_dir=None, on_event=None))]
pub fn replicate(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    redirect: Option<&Bound<'_, PyAny>>,
    aside_port: Option<i64>,
    force: bool,
    replication_user: Option<String>,
    replication_password: Option<String>,
    wait_timeout: f64,
    break_lock: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Replicate> {
    let redirect = wished_redirect(redirect)?;
    Common { source, target, dry_run, break_lock, journal_dir, on_event }.run(py, |call| {
        let options = step::replicate::Options {
            preflight: checks(redirect, aside_port, force)?,
            login: login(replication_user, replication_password)?,
            wait_timeout: seconds("wait_timeout", wait_timeout)?,
        };
        Ok(async move { watched(&call, step::replicate::replicate(&call, &options)).await })
    })
}

/// Wait until the initial sync has completed and the link is steady.
#[pyfunction]
#[pyo3(signature = (*, source, target, wait_timeout=3600.0, max_lag_bytes=1048576, dry_run=false, journal_dir=None,
    on_event=None))]
pub fn wait_synced(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    wait_timeout: f64,
    max_lag_bytes: i64,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<WaitSynced> {
    Common { source, target, dry_run, break_lock: false, journal_dir, on_event }.run(py, |call| {
        let options = step::wait_synced::Options {
            wait_timeout: seconds("wait_timeout", wait_timeout)?,
            max_lag_bytes: at_least("max_lag_bytes", max_lag_bytes, 0)?,
        };
        Ok(async move { watched(&call, step::wait_synced::wait_synced(&call, &options)).await })
    })
}

/// Compare the servers: key counts, some random keys, a ping.
#[pyfunction]
#[pyo3(signature = (*, source, target, level="sample", by="streams", sample_keys=20, max_differences=20, max_latency=0.01, rate=None,
    resume=false, wait_timeout=30.0, fail=true, dry_run=false, journal_dir=None, on_event=None))]
pub fn verify(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    level: &str,
    by: &str,
    sample_keys: i64,
    max_differences: i64,
    max_latency: f64,
    rate: Option<i64>,
    resume: bool,
    wait_timeout: f64,
    fail: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Verify> {
    Common { source, target, dry_run, break_lock: false, journal_dir, on_event }.run(py, |call| {
        let options = Comparison { level, by, sample_keys, max_differences, max_latency, rate, resume, wait_timeout };
        let options = options.options()?;
        Ok(async move {
            let result = watched(&call, step::verify::verify(&call, &options)).await?;
            if fail {
                step::verify::require_equal(&result)?;
            }
            Ok(result)
        })
    })
}

/// Make the target the master, and clients arrive there.
#[pyfunction]
#[pyo3(signature = (*, source, target, redirect=None, aside_port=None, pause_budget=1.0, patience=30.0, attempts=16,
    max_lag_bytes=65536, max_latency=0.025,
    backlog_bytes=268435456, replication_user=None, replication_password=None, rewrite=true, hooks=None, hook_timeout=30.0, guard=true, probe=None,
    break_lock=false, dry_run=false, journal_dir=None, on_event=None))]
pub fn switchover(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    redirect: Option<&Bound<'_, PyAny>>,
    aside_port: Option<i64>,
    pause_budget: f64,
    patience: f64,
    attempts: i64,
    max_lag_bytes: i64,
    max_latency: f64,
    backlog_bytes: i64,
    replication_user: Option<String>,
    replication_password: Option<String>,
    rewrite: bool,
    hooks: Option<&Bound<'_, PyAny>>,
    hook_timeout: f64,
    guard: bool,
    probe: Option<&Bound<'_, PyAny>>,
    break_lock: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Switchover> {
    let raised = Raised::default();
    let hooks = wished_hooks(hooks, hook_timeout, &raised).map_err(|e| exception(&e, None))?;
    let handover = Handover {
        redirect: wished_redirect(redirect)?,
        aside_port,
        pause_budget,
        patience,
        attempts,
        max_lag_bytes,
        max_latency,
        backlog_bytes,
        replication_user,
        replication_password,
        rewrite,
        hooks,
        guard,
        probe: wished_probe(probe)?,
    };
    let guard_command = guard_command(py)?;
    Common { source, target, dry_run, break_lock, journal_dir, on_event }.run_with(py, raised, |call| {
        let options = handover.options(guard_command)?;
        Ok(async move { watched(&call, step::switchover::switchover(&call, &options)).await })
    })
}

/// Make the source serve again, while it is warm.
#[pyfunction]
#[pyo3(signature = (*, source, target, redirect=None, pause_budget=1.0, patience=30.0, attempts=16, max_lag_bytes=65536,
    max_latency=0.025, backlog_bytes=268435456, replication_user=None, replication_password=None, rewrite=true, hooks=None, hook_timeout=30.0, guard=true, probe=None,
    break_lock=false, dry_run=false,
    journal_dir=None, on_event=None))]
pub fn rollback(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    redirect: Option<&Bound<'_, PyAny>>,
    pause_budget: f64,
    patience: f64,
    attempts: i64,
    max_lag_bytes: i64,
    max_latency: f64,
    backlog_bytes: i64,
    replication_user: Option<String>,
    replication_password: Option<String>,
    rewrite: bool,
    hooks: Option<&Bound<'_, PyAny>>,
    hook_timeout: f64,
    guard: bool,
    probe: Option<&Bound<'_, PyAny>>,
    break_lock: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Switchover> {
    let raised = Raised::default();
    let hooks = wished_hooks(hooks, hook_timeout, &raised).map_err(|e| exception(&e, None))?;
    let handover = Handover {
        redirect: wished_redirect(redirect)?,
        aside_port: None,
        pause_budget,
        patience,
        attempts,
        max_lag_bytes,
        max_latency,
        backlog_bytes,
        replication_user,
        replication_password,
        rewrite,
        hooks,
        guard,
        probe: wished_probe(probe)?,
    };
    let guard_command = guard_command(py)?;
    Common { source, target, dry_run, break_lock, journal_dir, on_event }.run_with(py, raised, |call| {
        let options = handover.options(guard_command)?;
        Ok(async move { watched(&call, step::rollback::rollback(&call, &options)).await })
    })
}

/// List who is connected where and how they follow; optionally disconnect some.
#[pyfunction]
#[pyo3(signature = (*, source, target, disconnect=None, dry_run=false, journal_dir=None, on_event=None))]
pub fn clients(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    disconnect: Option<&Bound<'_, PyAny>>,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Clients> {
    let disconnect = disconnect.map(selection).transpose().map_err(|e| exception(&e, None))?;
    Common { source, target, dry_run, break_lock: false, journal_dir, on_event }
        .run(py, |call| Ok(async move { step::clients::clients(&call, disconnect.as_ref()).await }))
}

/// See to it that parameters of one server have these values.
#[pyfunction]
#[pyo3(signature = (*, server, parameters, rewrite=false, break_lock=false, dry_run=false, on_event=None))]
pub fn config(
    py: Python<'_>,
    server: &Bound<'_, PyAny>,
    parameters: &Bound<'_, PyAny>,
    rewrite: bool,
    break_lock: bool,
    dry_run: bool,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Config> {
    let parameters = read_parameters(parameters).map_err(|e| exception(&e, None))?;
    // Over the wire a parameter has one value, of as many words as it needs.
    let parameters = parameters.into_iter().map(|(name, lines)| (name, lines.join(" "))).collect();
    Alone { server, dry_run, break_lock, on_event }.run(py, |call| {
        let options = step::config::Options { parameters, rewrite };
        Ok(async move { step::config::config(&call, &options).await })
    })
}

/// Wait until the source receives no application command any more.
#[pyfunction]
#[pyo3(signature = (*, source, target, quiet_for=1.0, wait_timeout=60.0, monitor=None, monitor_lines=10000, dry_run=false,
    journal_dir=None, on_event=None))]
pub fn wait_quiescent(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    quiet_for: f64,
    wait_timeout: f64,
    monitor: Option<f64>,
    monitor_lines: i64,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<WaitQuiescent> {
    Common { source, target, dry_run, break_lock: false, journal_dir, on_event }.run(py, |call| {
        let monitor = monitor_limits(monitor, monitor_lines)?;
        let options = step::wait_quiescent::Options { monitor, ..quiescence(quiet_for, wait_timeout)? };
        Ok(async move { step::wait_quiescent::wait_quiescent(&call, &options).await })
    })
}

/// Make the target a master, for those who move clients by hand.
#[pyfunction]
#[pyo3(signature = (*, source, target, force=false, wait_timeout=10.0, break_lock=false, dry_run=false, journal_dir=None, on_event=None))]
pub fn promote(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    force: bool,
    wait_timeout: f64,
    break_lock: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Promote> {
    Common { source, target, dry_run, break_lock, journal_dir, on_event }.run(py, |call| {
        let options = step::promote::Options { force, wait_timeout: seconds("wait_timeout", wait_timeout)? };
        Ok(async move { step::promote::promote(&call, &options).await })
    })
}

/// Shut the source down.
#[pyfunction]
#[pyo3(signature = (*, source, target, redirect=None, wait_timeout=30.0, rewrite=true, break_lock=false, dry_run=false,
    journal_dir=None, on_event=None))]
pub fn retire(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    redirect: Option<&Bound<'_, PyAny>>,
    wait_timeout: f64,
    rewrite: bool,
    break_lock: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Retire> {
    let redirect = wished_redirect(redirect)?;
    Common { source, target, dry_run, break_lock, journal_dir, on_event }.run(py, |call| {
        let options = step::retire::Options { redirect, wait_timeout: seconds("wait_timeout", wait_timeout)?, rewrite };
        Ok(async move { step::retire::retire(&call, &options).await })
    })
}

/// Switch what a server writes to its disk, while it runs.
#[pyfunction]
#[pyo3(signature = (*, server, mode, save=None, appendfsync=None, rewrite=true, wait_timeout=3600.0, break_lock=false,
    dry_run=false, journal_dir=None, on_event=None))]
pub fn persistence(
    py: Python<'_>,
    server: &Bound<'_, PyAny>,
    mode: &str,
    save: Option<&str>,
    appendfsync: Option<&str>,
    rewrite: bool,
    wait_timeout: f64,
    break_lock: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Persistence> {
    Alone { server, dry_run, break_lock, on_event }.run(py, |call| {
        let options = step::persistence::Options {
            wanted: Wanted::parse(mode, save, appendfsync)?,
            rewrite,
            wait_timeout: seconds("wait_timeout", wait_timeout)?,
            journal_dir,
        };
        Ok(async move { step::persistence::persistence(&call, &options).await })
    })
}

/// Run all steps, up to and with `until`, from wherever things stand.
#[pyfunction]
#[pyo3(signature = (*, source, target, until="wait_quiescent", redirect=None, aside_port=None, force=false,
    replication_user=None, replication_password=None, sync_timeout=3600.0, level="sample", by="streams", sample_keys=20, pause_budget=1.0,
    patience=30.0, attempts=16, max_lag_bytes=65536, max_latency=0.025,
    backlog_bytes=268435456, quiet_for=1.0, wait_timeout=60.0,
    rewrite=true, hooks=None, hook_timeout=30.0, guard=true, probe=None, break_lock=false, dry_run=false, journal_dir=None, on_event=None))]
pub fn upgrade(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    until: &str,
    redirect: Option<&Bound<'_, PyAny>>,
    aside_port: Option<i64>,
    force: bool,
    replication_user: Option<String>,
    replication_password: Option<String>,
    sync_timeout: f64,
    level: &str,
    by: &str,
    sample_keys: i64,
    pause_budget: f64,
    patience: f64,
    attempts: i64,
    max_lag_bytes: i64,
    max_latency: f64,
    backlog_bytes: i64,
    quiet_for: f64,
    wait_timeout: f64,
    rewrite: bool,
    hooks: Option<&Bound<'_, PyAny>>,
    hook_timeout: f64,
    guard: bool,
    probe: Option<&Bound<'_, PyAny>>,
    break_lock: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Upgrade> {
    let until = Step::parse(until).map_err(|e| exception(&e, None))?;
    let redirect = wished_redirect(redirect)?;
    let retired = redirect.clone();
    let checks = checks(redirect.clone(), aside_port, force).map_err(|e| exception(&e, None))?;
    let raised = Raised::default();
    let hooks = wished_hooks(hooks, hook_timeout, &raised).map_err(|e| exception(&e, None))?;
    let handover = Handover {
        redirect,
        aside_port,
        pause_budget,
        patience,
        attempts,
        max_lag_bytes,
        max_latency,
        backlog_bytes,
        replication_user: replication_user.clone(),
        replication_password: replication_password.clone(),
        rewrite,
        hooks,
        guard,
        probe: wished_probe(probe)?,
    };
    let guard_command = guard_command(py)?;
    Common { source, target, dry_run, break_lock, journal_dir, on_event }.run_with(py, raised, |call| {
        let timeout = seconds("wait_timeout", wait_timeout)?;
        let options = procedure::Options {
            until,
            replicate: step::replicate::Options {
                preflight: checks,
                login: login(replication_user, replication_password)?,
                wait_timeout: timeout,
            },
            wait_synced: step::wait_synced::Options {
                wait_timeout: seconds("sync_timeout", sync_timeout)?,
                max_lag_bytes: 1 << 20,
            },
            verify: Comparison::of(level, by, sample_keys, wait_timeout).options()?,
            switchover: handover.options(guard_command)?,
            wait_quiescent: quiescence(quiet_for, wait_timeout)?,
            retire: step::retire::Options { redirect: retired, wait_timeout: timeout, rewrite },
        };
        Ok(async move { watched(&call, procedure::upgrade(&call, &options)).await })
    })
}

/// Look how things stand, and whether there is a way back.
#[pyfunction]
#[pyo3(signature = (*, source, target, dry_run=false, journal_dir=None, on_event=None))]
pub fn status(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Status> {
    Common { source, target, dry_run, break_lock: false, journal_dir, on_event }
        .look(py, |call| Ok(async move { step::status::status(&call).await }))
}

/// Tell what has happened to a pair, from what its calls have left behind.
#[pyfunction]
#[pyo3(signature = (*, source, target, html=None, json=None, prometheus=None, dry_run=false, journal_dir=None,
    on_event=None))]
pub fn report(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    html: Option<PathBuf>,
    json: Option<PathBuf>,
    prometheus: Option<PathBuf>,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Report> {
    Common { source, target, dry_run, break_lock: false, journal_dir, on_event }.look(py, |call| {
        let options = step::report::Options { html, json, prometheus };
        Ok(async move { step::report::report(&call, &options).await })
    })
}

/// Wait until a server answers and has loaded its data, and say who it is.
#[pyfunction]
#[pyo3(signature = (*, server, other_than=None, wait_timeout=60.0, dry_run=false, on_event=None))]
pub fn wait_ready(
    py: Python<'_>,
    server: &Bound<'_, PyAny>,
    other_than: Option<String>,
    wait_timeout: f64,
    dry_run: bool,
    on_event: Option<Py<PyAny>>,
) -> PyResult<WaitReady> {
    Alone { server, dry_run, break_lock: false, on_event }.run(py, |call| {
        let options = step::wait_ready::Options { other_than, wait_timeout: seconds("wait_timeout", wait_timeout)? };
        Ok(async move { step::wait_ready::wait_ready(&call, &options).await })
    })
}
