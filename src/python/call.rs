//! One call of a step from Python: its runtime, its events and signals, what it raises.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use pyo3::{exceptions::PyKeyboardInterrupt, prelude::*};
use serde::Serialize;

use super::{
    convert::{exception, to_py},
    endpoint::endpoint,
};
use crate::{
    Code, Endpoint, Error, Event, Result, Run,
    call::{Call, ServerCall},
    chronicle::{Chronicle, End, Failure, Scribe},
    journal::Journal,
    mutex::lock,
};

/// How often a running step gives Python the chance to handle signals.
const SIGNALS: Duration = Duration::from_millis(50);

/// The arguments that every step on two servers takes.
pub struct Common<'a, 'py> {
    pub source: &'a Bound<'py, PyAny>,
    pub target: &'a Bound<'py, PyAny>,
    pub dry_run: bool,
    pub break_lock: bool,
    pub journal_dir: Option<PathBuf>,
    pub on_event: Option<Py<PyAny>>,
}

/// What the caller's side raised while a step ran: a signal handler, or the callback.
pub type Raised = Arc<Mutex<Option<PyErr>>>;

impl Common<'_, '_> {
    /// Runs a step that only looks, and may do so every second: nothing of it is written down.
    pub fn look<T, F>(self, py: Python<'_>, start: impl FnOnce(Call) -> Result<F> + Send) -> PyResult<T>
    where
        T: Send + Serialize,
        F: Future<Output = Result<T>> + Send,
    {
        self.go(py, Raised::default(), false, start)
    }

    /// Runs a step: see [`run`].
    pub fn run<T, F>(self, py: Python<'_>, start: impl FnOnce(Call) -> Result<F> + Send) -> PyResult<T>
    where
        T: Send + Serialize,
        F: Future<Output = Result<T>> + Send,
    {
        self.run_with(py, Raised::default(), start)
    }

    /// The same where more than the callback may raise.
    pub fn run_with<T, F>(
        self,
        py: Python<'_>,
        raised: Raised,
        start: impl FnOnce(Call) -> Result<F> + Send,
    ) -> PyResult<T>
    where
        T: Send + Serialize,
        F: Future<Output = Result<T>> + Send,
    {
        let kept = !self.dry_run;
        self.go(py, raised, kept, start)
    }

    fn go<T, F>(
        self,
        py: Python<'_>,
        raised: Raised,
        kept: bool,
        start: impl FnOnce(Call) -> Result<F> + Send,
    ) -> PyResult<T>
    where
        T: Send + Serialize,
        F: Future<Output = Result<T>> + Send,
    {
        let Common { source, target, dry_run, break_lock, journal_dir, on_event } = self;
        let given = || Ok((endpoint("source", source)?, endpoint("target", target)?));
        let (source, target) = given().map_err(|e| exception(&e, None))?;
        let scribe = kept.then(|| scribe(journal_dir.as_deref(), &source, &target)).flatten();
        let call = |run| Ok(Call { run, source, target, journal_dir, break_lock });
        run(py, dry_run, Listeners { on_event, scribe }, raised, call, start)
    }
}

/// Who writes down what is done to these two. Where there is no place for that, the step itself says so.
fn scribe(journal_dir: Option<&Path>, source: &Endpoint, target: &Endpoint) -> Option<Arc<Scribe>> {
    let journal = Journal::of(journal_dir, source, target).ok()?;
    Some(Arc::new(Scribe::new(Chronicle::beside(&journal), source, target)))
}

/// The arguments that every step on one server takes.
pub struct Alone<'a, 'py> {
    pub server: &'a Bound<'py, PyAny>,
    pub dry_run: bool,
    pub break_lock: bool,
    pub on_event: Option<Py<PyAny>>,
}

impl Alone<'_, '_> {
    /// Runs a step: see [`run`].
    pub fn run<T, F>(self, py: Python<'_>, start: impl FnOnce(ServerCall) -> Result<F> + Send) -> PyResult<T>
    where
        T: Send + Serialize,
        F: Future<Output = Result<T>> + Send,
    {
        let Alone { server, dry_run, break_lock, on_event } = self;
        let call = |run| Ok(ServerCall { run, server: endpoint("server", server)?, break_lock });
        run(py, dry_run, Listeners { on_event, scribe: None }, Raised::default(), call, start)
    }
}

/// Who hears of what happens.
struct Listeners {
    /// The callback.
    on_event: Option<Py<PyAny>>,
    /// Who writes it down.
    scribe: Option<Arc<Scribe>>,
}

impl Listeners {
    /// What the callback raises is kept.
    fn tell(&self, run: &Run, event: &Event, raised: &Raised) {
        if let Some(scribe) = &self.scribe {
            scribe.note(run, event);
        }
        let Some(callback) = &self.on_event else { return };
        Python::attach(|py| {
            let value = serde_json::to_value(event).unwrap_or_default();
            let called = to_py(py, &value).and_then(|event| callback.call1(py, (event,)));
            if let Err(error) = called {
                keep(raised, error);
            }
        });
    }
}

/// Runs a step on a runtime of its own, which also makes it safe after a fork. Events go to the listeners; what the callback or
/// a signal handler raises stops the step at its next safe point and is raised then.
fn run<C, T, F>(
    py: Python<'_>,
    dry_run: bool,
    listeners: Listeners,
    raised: Raised,
    call: impl FnOnce(Arc<Run>) -> Result<C>,
    start: impl FnOnce(C) -> Result<F> + Send,
) -> PyResult<T>
where
    C: Send,
    T: Send + Serialize,
    F: Future<Output = Result<T>> + Send,
{
    if tokio::runtime::Handle::try_current().is_ok() {
        let found = "a step can't be run within a callback or hook of another one";
        let error = Error::new(Code::InvalidInput, found).remedy("run it afterwards, or in a thread of its own");
        return Err(exception(&error, None));
    }
    let (scribe, callback_raised) = (listeners.scribe.clone(), Arc::clone(&raised));
    let run = Arc::new(Run::new(dry_run, move |run, event| listeners.tell(run, event, &callback_raised)));
    let call = call(Arc::clone(&run)).map_err(|e| exception(&e, None))?;
    let result = py.detach(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Error::new(Code::Cancelled, format!("no runtime could be started: {e}")))?;
        let done = runtime.block_on(until_done(start(call)?, &run, &raised));
        // A name that is still being looked up can't be stopped: nobody is to wait for it.
        runtime.shutdown_background();
        done.map_err(|error| run.truthful(error))
    });
    if let Some(scribe) = scribe {
        scribe.end(end(&result));
    }
    let raised = lock(&raised).take();
    match (raised, result) {
        (None, Ok(result)) => Ok(result),
        (None, Err(error)) => Err(exception(&error, Some(&run))),
        // A bare KeyboardInterrupt would not say in what state things are.
        (Some(raised), Err(error)) if raised.is_instance_of::<PyKeyboardInterrupt>(py) => {
            Err(PyKeyboardInterrupt::new_err(error.to_string()))
        }
        (Some(raised), _) => Err(raised),
    }
}

fn end<T: Serialize>(result: &Result<T>) -> End {
    match result {
        Ok(result) => End::Done { result: serde_json::to_value(result).unwrap_or_default() },
        Err(error) => End::Failed { error: Failure::from(error) },
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
                if lock(raised).is_some() {
                    run.cancel();
                }
            }
        }
    }
}

/// The first one counts.
pub fn keep(raised: &Raised, error: PyErr) {
    lock(raised).get_or_insert(error);
}
