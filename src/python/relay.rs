//! The relay's process: see [`crate::relay`].

use std::path::PathBuf;

use pyo3::{exceptions::PyRuntimeError, prelude::*};

/// Take orders at this unix socket, and forward what they say, until told to end.
#[pyfunction]
pub fn run_relay(py: Python<'_>, socket: PathBuf) -> PyResult<()> {
    py.detach(|| crate::relay::run(&socket)).map_err(|error| PyRuntimeError::new_err(format!("{error:#}")))
}
