//! The Python edge: translates arguments, results and errors, and decides nothing.

mod call;
mod convert;
mod endpoint;
mod guard;
mod options;
mod relay;
mod steps;

use pyo3::prelude::*;

/// The Rust core of redis-baton.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::endpoint::PyEndpoint;
    #[pymodule_export]
    use super::guard::stand_guard;
    #[pymodule_export]
    use super::relay::run_relay;
    #[pymodule_export]
    use super::steps::{
        clients, config, launch, persistence, preflight, promote, relay, replicate, report, retire, rollback, status,
        switchover, upgrade, verify, wait_quiescent, wait_ready, wait_synced,
    };
    #[pymodule_export]
    use crate::{
        decide::{
            carry::Dropped,
            clients::{ClientGroup, Straggler},
            findings::Finding,
            traffic::ActiveClient,
        },
        handover::Phase,
        probe::Probed,
        relay::Connection,
        step::{
            clients::Clients,
            config::{Config, RestartRequired},
            launch::Launch,
            persistence::Persistence,
            preflight::{Estimates, Preflight},
            promote::Promote,
            relay::Relay,
            replicate::Replicate,
            report::Report,
            retire::Retire,
            status::Status,
            switchover::Switchover,
            verify::{Database, Verify},
            wait_quiescent::WaitQuiescent,
            wait_ready::WaitReady,
            wait_synced::WaitSynced,
        },
        upgrade::{StepReport, Upgrade},
    };

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // Whoever starts a relay does so by the interpreter that has this library. An embedded one may have none.
        if let Ok(interpreter) = module.py().import("sys")?.getattr("executable")?.extract::<String>() {
            crate::relay::remote::set_program(vec![interpreter, "-m".into(), "redis_baton.relayd".into()]);
        }
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        let codes: Vec<_> = crate::Code::ALL.iter().map(|code| (code.as_str(), code.meaning())).collect();
        module.add("REASONS", codes.into_iter().collect::<std::collections::BTreeMap<_, _>>())
    }
}
