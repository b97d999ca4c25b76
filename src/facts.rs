//! Named facts of any shape, as results carry them in `before` and `after`.

use serde::Serialize;
use serde_json::{Map, Value};

/// An object of named JSON values.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Facts(pub Map<String, Value>);

impl Facts {
    /// Sets a fact.
    pub fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

/// A step's result: its own facts, and what every result has.
macro_rules! step_result {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// Whether a command that changes a server was sent and took effect; in a dry run, whether one would be.
            pub changed: bool,
            /// The servers before the step.
            pub before: $crate::facts::Facts,
            /// The servers after it.
            pub after: $crate::facts::Facts,
            /// The commands sent that change a server, in order, secrets masked; in a dry run, those it would send.
            pub actions: Vec<String>,
            /// What the operator should know.
            pub warnings: Vec<String>,
            /// Seconds it took.
            pub elapsed: f64,
        }
    };
}

/// Builds a step's result from its own facts, the run and the two looks.
macro_rules! finish {
    ($run:expr, $before:expr, $after:expr, $name:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        let actions = $run.actions();
        $name {
            $($field $(: $value)?,)*
            changed: !actions.is_empty(),
            before: $before,
            after: $after,
            actions,
            warnings: $run.warnings(),
            elapsed: $run.elapsed(),
        }
    }};
}

pub(crate) use {finish, step_result};
