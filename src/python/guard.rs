//! The guard's process: see [`crate::step::guard`].

use std::io;

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::step::guard::{stand, take_over};

/// Stand guard over the handover that the job on standard input is about. Returns when the controller has come to its
/// end, or what it left undone was done: then with what came of it.
#[pyfunction]
pub fn stand_guard(py: Python<'_>) -> PyResult<Option<String>> {
    py.detach(|| {
        let Some(job) = stand(io::stdin().lock(), io::stdout())? else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        anyhow::Ok(Some(runtime.block_on(take_over(&job))?))
    })
    .map_err(|error| PyRuntimeError::new_err(format!("{error:#}")))
}
