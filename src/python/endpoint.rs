//! `redis_baton.Endpoint`.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    path::PathBuf,
};

use pyo3::{prelude::*, types::PyString};

use super::convert::exception;
use crate::{Endpoint, Error, Tls, step::seconds};

/// Where a server is and how to log in. Immutable; its repr never shows the password.
#[pyclass(frozen, eq, name = "Endpoint", module = "redis_baton")]
#[derive(Clone, PartialEq, Eq)]
pub struct PyEndpoint(pub Endpoint);

#[pymethods]
impl PyEndpoint {
    #[new]
    #[pyo3(signature = (host="127.0.0.1".to_owned(), port=6379, *, unix_socket=None, master_name=None, user=None, password=None, tls=false,
        validate_certs=true, ca_certs=None, client_cert_file=None, client_key_file=None, connect_timeout=5.0),
        text_signature = "(host='127.0.0.1', port=6379, *, unix_socket=None, master_name=None, user=None, password=None, tls=False, validate_certs=True, ca_certs=None, client_cert_file=None, client_key_file=None, connect_timeout=5.0)")]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python constructor")]
    fn new(
        #[pyo3(from_py_with = argument::host)] host: String,
        #[pyo3(from_py_with = argument::port)] port: i64,
        #[pyo3(from_py_with = argument::unix_socket)] unix_socket: Option<PathBuf>,
        #[pyo3(from_py_with = argument::master_name)] master_name: Option<String>,
        #[pyo3(from_py_with = argument::user)] user: Option<String>,
        #[pyo3(from_py_with = argument::password)] password: Option<String>,
        #[pyo3(from_py_with = argument::tls)] tls: bool,
        #[pyo3(from_py_with = argument::validate_certs)] validate_certs: bool,
        #[pyo3(from_py_with = argument::ca_certs)] ca_certs: Option<PathBuf>,
        #[pyo3(from_py_with = argument::client_cert_file)] client_cert_file: Option<PathBuf>,
        #[pyo3(from_py_with = argument::client_key_file)] client_key_file: Option<PathBuf>,
        #[pyo3(from_py_with = argument::connect_timeout)] connect_timeout: f64,
    ) -> PyResult<Self> {
        let make = || {
            let port =
                u16::try_from(port).map_err(|_| Error::input("port", format!("{port} is not a port (1 to 65535)")))?;
            let endpoint = Endpoint {
                host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
                port,
                unix_socket,
                master_name,
                user,
                password,
                tls: tls.then_some(Tls { validate_certs, ca_certs, client_cert_file, client_key_file }),
                connect_timeout: seconds("connect_timeout", connect_timeout)?,
            };
            endpoint.check()?;
            Ok(PyEndpoint(endpoint))
        };
        make().map_err(|e| exception(&e, None))
    }

    /// Reads a URL: `redis://`, `rediss://`, `valkey://`, `valkeys://`, `unix://` or `redis+sentinel://`.
    #[staticmethod]
    #[pyo3(signature = (url, *, user=None, password=None, validate_certs=true, ca_certs=None, client_cert_file=None,
        client_key_file=None, connect_timeout=5.0))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
    fn from_url(
        #[pyo3(from_py_with = argument::url)] url: String,
        #[pyo3(from_py_with = argument::user)] user: Option<String>,
        #[pyo3(from_py_with = argument::password)] password: Option<String>,
        #[pyo3(from_py_with = argument::validate_certs)] validate_certs: bool,
        #[pyo3(from_py_with = argument::ca_certs)] ca_certs: Option<PathBuf>,
        #[pyo3(from_py_with = argument::client_cert_file)] client_cert_file: Option<PathBuf>,
        #[pyo3(from_py_with = argument::client_key_file)] client_key_file: Option<PathBuf>,
        #[pyo3(from_py_with = argument::connect_timeout)] connect_timeout: f64,
    ) -> PyResult<Self> {
        let make = || {
            let mut endpoint = Endpoint::read_url(&url)?;
            endpoint.user = user.or(endpoint.user);
            endpoint.password = password.or(endpoint.password);
            endpoint.connect_timeout = seconds("connect_timeout", connect_timeout)?;
            if let Some(tls) = &mut endpoint.tls {
                *tls = Tls { validate_certs, ca_certs, client_cert_file, client_key_file };
            }
            endpoint.check()?;
            Ok(PyEndpoint(endpoint))
        };
        make().map_err(|e| exception(&e, None))
    }

    #[getter]
    fn host(&self) -> &str {
        &self.0.host
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.port
    }

    #[getter]
    fn unix_socket(&self) -> Option<String> {
        self.0.unix_socket.as_ref().map(|path| path.display().to_string())
    }

    #[getter]
    fn master_name(&self) -> Option<&str> {
        self.0.master_name.as_deref()
    }

    #[getter]
    fn user(&self) -> Option<&str> {
        self.0.user.as_deref()
    }

    #[getter]
    fn tls(&self) -> bool {
        self.0.tls.is_some()
    }

    #[getter]
    fn connect_timeout(&self) -> f64 {
        self.0.connect_timeout.as_secs_f64()
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }
}

/// Reads the arguments of a constructor, each one under its name: one of a wrong type is bad input like any other.
mod argument {
    use std::path::PathBuf;

    use pyo3::prelude::*;

    use crate::{Error, python::convert::exception};

    macro_rules! arguments {
        ($($name:ident: $type:ty,)+) => {$(
            pub fn $name(value: &Bound<'_, PyAny>) -> PyResult<$type> {
                value.extract().map_err(|e| {
                    let problem: PyErr = e;
                    exception(&Error::input(stringify!($name), problem.value(value.py())), None)
                })
            }
        )+};
    }

    arguments! {
        url: String,
        host: String,
        port: i64,
        unix_socket: Option<PathBuf>,
        master_name: Option<String>,
        user: Option<String>,
        password: Option<String>,
        tls: bool,
        validate_certs: bool,
        ca_certs: Option<PathBuf>,
        client_cert_file: Option<PathBuf>,
        client_key_file: Option<PathBuf>,
        connect_timeout: f64,
    }
}

/// Reads what `source=` and `target=` take: an Endpoint or a URL.
pub fn endpoint(field: &str, value: &Bound<'_, PyAny>) -> Result<Endpoint, Error> {
    if let Ok(endpoint) = value.cast::<PyEndpoint>() {
        return Ok(endpoint.get().0.clone());
    }
    if let Ok(url) = value.cast::<PyString>() {
        let url = url.to_string_lossy();
        return Endpoint::from_url(&url).map_err(|e| Error::input(field, e.found));
    }
    let kind = value.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    Err(Error::input(field, format!("is {kind}, neither an Endpoint nor a URL")))
}
