//! The steps as Python functions: keyword arguments in, a frozen result or an exception out.
#![allow(clippy::too_many_arguments, reason = "keyword arguments of Python functions")]

use std::{
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pyo3::prelude::*;

use super::{
    convert::{exception, to_py},
    endpoint::endpoint,
};
use crate::{
    Code, Error, Event, Result, Run,
    decide::findings::Redirect,
    step::{
        self, Call, Login, clients::Clients, preflight::Preflight, promote::Promote, replicate::Replicate,
        retire::Retire, seconds, switchover::Switchover, verify::Verify, wait_quiescent::WaitQuiescent,
        wait_synced::WaitSynced,
    },
    upgrade::{self as procedure, Step, Upgrade},
};

/// How often a running step gives Python the chance to handle signals.
const SIGNALS: Duration = Duration::from_millis(50);

/// The arguments that every step takes.
struct Common<'a, 'py> {
    source: &'a Bound<'py, PyAny>,
    target: &'a Bound<'py, PyAny>,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
}

/// What the caller's side raised while a step ran: a signal handler, or the callback.
type Raised = Arc<Mutex<Option<PyErr>>>;

impl Common<'_, '_> {
    /// Runs a step on a runtime of its own, which also makes it safe after a fork. Events go to the callback; what that
    /// or a signal handler raises stops the step at its next safe point and is raised then.
    fn run<T, F>(self, py: Python<'_>, start: impl FnOnce(Call) -> Result<F> + Send) -> PyResult<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let raised = Raised::default();
        let on_event = self.on_event;
        let callback_raised = Arc::clone(&raised);
        let run = Arc::new(Run::new(self.dry_run, move |event: &Event| {
            let Some(callback) = &on_event else { return };
            Python::attach(|py| {
                let value = serde_json::to_value(event).unwrap_or_default();
                let called = to_py(py, &value).and_then(|event| callback.call1(py, (event,)));
                if let Err(error) = called {
                    keep(&callback_raised, error);
                }
            });
        }));
        let call = (|| {
            Ok(Call {
                run: Arc::clone(&run),
                source: endpoint("source", self.source)?,
                target: endpoint("target", self.target)?,
                journal_dir: self.journal_dir,
            })
        })()
        .map_err(|e| exception(&e, None))?;
        let result = py.detach(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime =
                runtime.map_err(|e| Error::new(Code::Cancelled, format!("no runtime could be started: {e}")))?;
            let done = runtime.block_on(until_done(start(call)?, &run, &raised));
            // A name that is still being looked up can't be stopped: nobody is to wait for it.
            runtime.shutdown_background();
            done
        });
        let raised = raised.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (raised, result) {
            (None, Ok(result)) => Ok(result),
            (None, Err(error)) => Err(exception(&run.truthful(error), Some(&run))),
            // A bare KeyboardInterrupt would not say in what state things are.
            (Some(raised), Err(error))
                if error.code == Code::Cancelled
                    && raised.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py) =>
            {
                Err(exception(&run.truthful(error), Some(&run)))
            }
            (Some(raised), _) => Err(raised),
        }
    }
}

async fn until_done<T>(step: impl Future<Output = Result<T>>, run: &Run, raised: &Raised) -> Result<T> {
    tokio::pin!(step);
    let mut ticks = tokio::time::interval(SIGNALS);
    loop {
        tokio::select! {
            biased;
            result = &mut step => return result,
            _ = ticks.tick() => {
                // Between the two transactions of the handover nothing may wait for the interpreter.
                if !run.is_shielded() && let Err(error) = Python::attach(|py| py.check_signals()) {
                    keep(raised, error);
                }
                if raised.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                    run.cancel();
                }
            }
        }
    }
}

fn keep(raised: &Raised, error: PyErr) {
    raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
}

fn login(user: Option<String>, password: Option<String>) -> Result<Option<Login>> {
    match (user, password) {
        (None, None) => Ok(None),
        (user, Some(password)) => Ok(Some(Login { user, password })),
        (Some(_), None) => {
            Err(Error::input("replication_password", "is missing: a replication_user was given without one"))
        }
    }
}

fn checks(redirect: &str, aside_port: Option<i64>, force: bool) -> Result<step::preflight::Options> {
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

fn at_least(field: &str, value: i64, least: u32) -> Result<u64> {
    u64::try_from(value)
        .ok()
        .filter(|value| *value >= u64::from(least))
        .ok_or_else(|| Error::input(field, format!("{value} is less than {least}")))
}

fn within(field: &str, value: i64, least: u32, most: u32) -> Result<u32> {
    u32::try_from(value)
        .ok()
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| Error::input(field, format!("{value} is not between {least} and {most}")))
}

/// The options of a handover in either direction.
struct Handover {
    redirect: String,
    aside_port: Option<i64>,
    pause_budget: f64,
    patience: f64,
    attempts: i64,
    max_lag_bytes: i64,
    backlog_bytes: i64,
    replication_user: Option<String>,
    replication_password: Option<String>,
    rewrite: bool,
}

impl Handover {
    fn options(self) -> Result<step::switchover::Options> {
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
            rewrite: self.rewrite,
        })
    }
}

/// Find what stands against the upgrade, what would be done, and what it would cost.
#[pyfunction]
#[pyo3(signature = (*, source, target, redirect="takeover", aside_port=None, force=false, dry_run=false, journal_dir=None,
    on_event=None))]
pub fn preflight(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    redirect: &str,
    aside_port: Option<i64>,
    force: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Preflight> {
    Common { source, target, dry_run, journal_dir, on_event }.run(py, |call| {
        let options = checks(redirect, aside_port, force)?;
        Ok(async move { step::preflight::preflight(&call, &options).await })
    })
}

/// Make the target replicate from the source, with the source's ACL users.
#[pyfunction]
#[pyo3(signature = (*, source, target, redirect="takeover", aside_port=None, force=false, replication_user=None,
    replication_password=None, wait_timeout=60.0, dry_run=false, journal_dir=None, on_event=None))]
pub fn replicate(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    redirect: &str,
    aside_port: Option<i64>,
    force: bool,
    replication_user: Option<String>,
    replication_password: Option<String>,
    wait_timeout: f64,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Replicate> {
    Common { source, target, dry_run, journal_dir, on_event }.run(py, |call| {
        let options = step::replicate::Options {
            preflight: checks(redirect, aside_port, force)?,
            login: login(replication_user, replication_password)?,
            wait_timeout: seconds("wait_timeout", wait_timeout)?,
        };
        Ok(async move { step::replicate::replicate(&call, &options).await })
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
    Common { source, target, dry_run, journal_dir, on_event }.run(py, |call| {
        let options = step::wait_synced::Options {
            wait_timeout: seconds("wait_timeout", wait_timeout)?,
            max_lag_bytes: at_least("max_lag_bytes", max_lag_bytes, 0)?,
        };
        Ok(async move { step::wait_synced::wait_synced(&call, &options).await })
    })
}

/// Compare the servers: key counts, some random keys, a ping.
#[pyfunction]
#[pyo3(signature = (*, source, target, sample_keys=20, wait_timeout=30.0, fail=true, dry_run=false, journal_dir=None,
    on_event=None))]
pub fn verify(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    sample_keys: i64,
    wait_timeout: f64,
    fail: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Verify> {
    Common { source, target, dry_run, journal_dir, on_event }.run(py, |call| {
        let options = step::verify::Options {
            sample_keys: within("sample_keys", sample_keys, 0, 1_000_000)?,
            wait_timeout: seconds("wait_timeout", wait_timeout)?,
        };
        Ok(async move {
            let result = step::verify::verify(&call, &options).await?;
            if fail {
                step::verify::require_equal(&result)?;
            }
            Ok(result)
        })
    })
}

/// Make the target the master, and clients arrive there.
#[pyfunction]
#[pyo3(signature = (*, source, target, redirect="takeover", aside_port=None, pause_budget=1.0, patience=30.0, attempts=3,
    max_lag_bytes=65536, backlog_bytes=268435456, replication_user=None, replication_password=None, rewrite=true,
    dry_run=false, journal_dir=None, on_event=None))]
pub fn switchover(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    redirect: &str,
    aside_port: Option<i64>,
    pause_budget: f64,
    patience: f64,
    attempts: i64,
    max_lag_bytes: i64,
    backlog_bytes: i64,
    replication_user: Option<String>,
    replication_password: Option<String>,
    rewrite: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Switchover> {
    let handover = Handover {
        redirect: redirect.to_owned(),
        aside_port,
        pause_budget,
        patience,
        attempts,
        max_lag_bytes,
        backlog_bytes,
        replication_user,
        replication_password,
        rewrite,
    };
    Common { source, target, dry_run, journal_dir, on_event }.run(py, |call| {
        let options = handover.options()?;
        Ok(async move { step::switchover::switchover(&call, &options).await })
    })
}

/// Make the source serve again, while it is warm.
#[pyfunction]
#[pyo3(signature = (*, source, target, pause_budget=1.0, patience=30.0, attempts=3, max_lag_bytes=65536,
    backlog_bytes=268435456, replication_user=None, replication_password=None, rewrite=true, dry_run=false,
    journal_dir=None, on_event=None))]
pub fn rollback(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    pause_budget: f64,
    patience: f64,
    attempts: i64,
    max_lag_bytes: i64,
    backlog_bytes: i64,
    replication_user: Option<String>,
    replication_password: Option<String>,
    rewrite: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Switchover> {
    let handover = Handover {
        redirect: "takeover".to_owned(),
        aside_port: None,
        pause_budget,
        patience,
        attempts,
        max_lag_bytes,
        backlog_bytes,
        replication_user,
        replication_password,
        rewrite,
    };
    Common { source, target, dry_run, journal_dir, on_event }.run(py, |call| {
        let options = handover.options()?;
        Ok(async move { step::rollback::rollback(&call, &options).await })
    })
}

/// List who is connected where, of what kind; optionally disconnect them.
#[pyfunction]
#[pyo3(signature = (*, source, target, disconnect=false, dry_run=false, journal_dir=None, on_event=None))]
pub fn clients(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    disconnect: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Clients> {
    Common { source, target, dry_run, journal_dir, on_event }
        .run(py, |call| Ok(async move { step::clients::clients(&call, disconnect).await }))
}

/// Wait until the source receives no application command any more.
#[pyfunction]
#[pyo3(signature = (*, source, target, quiet_for=1.0, wait_timeout=60.0, dry_run=false, journal_dir=None, on_event=None))]
pub fn wait_quiescent(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    quiet_for: f64,
    wait_timeout: f64,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<WaitQuiescent> {
    Common { source, target, dry_run, journal_dir, on_event }.run(py, |call| {
        let options = quiescence(quiet_for, wait_timeout)?;
        Ok(async move { step::wait_quiescent::wait_quiescent(&call, &options).await })
    })
}

fn quiescence(quiet_for: f64, wait_timeout: f64) -> Result<step::wait_quiescent::Options> {
    Ok(step::wait_quiescent::Options {
        quiet_for: seconds("quiet_for", quiet_for)?,
        wait_timeout: seconds("wait_timeout", wait_timeout)?,
    })
}

/// Make the target a master, for those who move clients by hand.
#[pyfunction]
#[pyo3(signature = (*, source, target, force=false, wait_timeout=10.0, dry_run=false, journal_dir=None, on_event=None))]
pub fn promote(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    force: bool,
    wait_timeout: f64,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Promote> {
    Common { source, target, dry_run, journal_dir, on_event }.run(py, |call| {
        let options = step::promote::Options { force, wait_timeout: seconds("wait_timeout", wait_timeout)? };
        Ok(async move { step::promote::promote(&call, &options).await })
    })
}

/// Shut the source down.
#[pyfunction]
#[pyo3(signature = (*, source, target, wait_timeout=30.0, rewrite=true, dry_run=false, journal_dir=None, on_event=None))]
pub fn retire(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    wait_timeout: f64,
    rewrite: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Retire> {
    Common { source, target, dry_run, journal_dir, on_event }.run(py, |call| {
        let options = step::retire::Options { wait_timeout: seconds("wait_timeout", wait_timeout)?, rewrite };
        Ok(async move { step::retire::retire(&call, &options).await })
    })
}

/// Run all steps, up to and with `until`, from wherever things stand.
#[pyfunction]
#[pyo3(signature = (*, source, target, until="wait_quiescent", redirect="takeover", aside_port=None, force=false,
    replication_user=None, replication_password=None, sync_timeout=3600.0, sample_keys=20, pause_budget=1.0,
    patience=30.0, attempts=3, max_lag_bytes=65536, backlog_bytes=268435456, quiet_for=1.0, wait_timeout=60.0,
    rewrite=true, dry_run=false, journal_dir=None, on_event=None))]
pub fn upgrade(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    target: &Bound<'_, PyAny>,
    until: &str,
    redirect: &str,
    aside_port: Option<i64>,
    force: bool,
    replication_user: Option<String>,
    replication_password: Option<String>,
    sync_timeout: f64,
    sample_keys: i64,
    pause_budget: f64,
    patience: f64,
    attempts: i64,
    max_lag_bytes: i64,
    backlog_bytes: i64,
    quiet_for: f64,
    wait_timeout: f64,
    rewrite: bool,
    dry_run: bool,
    journal_dir: Option<PathBuf>,
    on_event: Option<Py<PyAny>>,
) -> PyResult<Upgrade> {
    let until = Step::parse(until).map_err(|e| exception(&e, None))?;
    let checks = checks(redirect, aside_port, force).map_err(|e| exception(&e, None))?;
    let handover = Handover {
        redirect: redirect.to_owned(),
        aside_port,
        pause_budget,
        patience,
        attempts,
        max_lag_bytes,
        backlog_bytes,
        replication_user: replication_user.clone(),
        replication_password: replication_password.clone(),
        rewrite,
    };
    Common { source, target, dry_run, journal_dir, on_event }.run(py, |call| {
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
            verify: step::verify::Options {
                sample_keys: within("sample_keys", sample_keys, 0, 1_000_000)?,
                wait_timeout: timeout,
            },
            switchover: handover.options()?,
            wait_quiescent: quiescence(quiet_for, wait_timeout)?,
            retire: step::retire::Options { wait_timeout: timeout, rewrite },
        };
        Ok(async move { procedure::upgrade(&call, &options).await })
    })
}
