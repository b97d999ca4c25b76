//! Rust values to Python ones, and errors to exceptions.

use pyo3::{
    exceptions::PyKeyboardInterrupt,
    import_exception,
    prelude::*,
    types::{PyDict, PyList},
};
use serde_json::Value;

use crate::{Code, Error, Kind, Run, facts::Facts};

import_exception!(redis_baton.errors, InvalidInput);
import_exception!(redis_baton.errors, ConnectionFailed);
import_exception!(redis_baton.errors, Refused);
import_exception!(redis_baton.errors, TimedOut);
import_exception!(redis_baton.errors, Failed);

/// A JSON value as Python's own types.
pub fn to_py<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(flag) => flag.into_pyobject(py)?.to_owned().into_any(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into_pyobject(py)?.into_any(),
            (None, Some(number)) => number.into_pyobject(py)?.into_any(),
            _ => number.as_f64().into_pyobject(py)?.into_any(),
        },
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::Array(values) => {
            let list = PyList::empty(py);
            for value in values {
                list.append(to_py(py, value)?)?;
            }
            list.into_any()
        }
        Value::Object(fields) => {
            let dict = PyDict::new(py);
            for (name, value) in fields {
                dict.set_item(name, to_py(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

impl<'py> IntoPyObject<'py> for Facts {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &Value::Object(self.0))
    }
}

/// The exception for an error, with the commands that were sent before it.
pub fn exception(error: &Error, run: Option<&Run>) -> PyErr {
    let arguments = (
        error.to_string(),
        error.code.as_str(),
        error.server.clone(),
        error.state.as_str(),
        error.remedy.clone(),
        run.map(Run::actions).unwrap_or_default(),
    );
    match error.code.kind() {
        _ if error.code == Code::Cancelled => PyKeyboardInterrupt::new_err(error.to_string()),
        Kind::InvalidInput => InvalidInput::new_err(arguments),
        Kind::ConnectionFailed => ConnectionFailed::new_err(arguments),
        Kind::Refused => Refused::new_err(arguments),
        Kind::TimedOut => TimedOut::new_err(arguments),
        Kind::Failed => Failed::new_err(arguments),
    }
}

/// `as_dict` and `repr` of everything that a step returns.
macro_rules! result_methods {
    ($($name:path),+ $(,)?) => {$(
        #[pymethods]
        impl $name {
            /// All of it as plain dicts, lists, strings and numbers.
            fn as_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                let value = serde_json::to_value(self)
                    .map_err(|e| pyo3::exceptions::PyValueError::new_err(e.to_string()))?;
                to_py(py, &value)
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                let name = stringify!($name).rsplit("::").next().unwrap_or_default().trim();
                Ok(format!("{name}({})", self.as_dict(py)?.repr()?))
            }
        }
    )+};
}

result_methods!(
    crate::decide::carry::Dropped,
    crate::decide::clients::ClientGroup,
    crate::decide::clients::Straggler,
    crate::decide::findings::Finding,
    crate::decide::traffic::ActiveClient,
    crate::handover::Phase,
    crate::probe::Probed,
    crate::relay::Connection,
    crate::step::clients::Clients,
    crate::step::config::Config,
    crate::step::config::RestartRequired,
    crate::step::persistence::Persistence,
    crate::step::launch::Launch,
    crate::step::preflight::Estimates,
    crate::step::preflight::Preflight,
    crate::step::promote::Promote,
    crate::step::relay::Relay,
    crate::step::replicate::Replicate,
    crate::step::report::Report,
    crate::step::retire::Retire,
    crate::step::status::Status,
    crate::step::switchover::Switchover,
    crate::step::verify::Database,
    crate::step::verify::Verify,
    crate::step::wait_quiescent::WaitQuiescent,
    crate::step::wait_ready::WaitReady,
    crate::step::wait_synced::WaitSynced,
    crate::upgrade::StepReport,
    crate::upgrade::Upgrade,
);
