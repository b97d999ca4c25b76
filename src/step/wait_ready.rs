//! `wait_ready`: a server answers and has loaded its data; who it is. For a server that is restarted: another process
//! answers than before.

use std::time::Duration;

use serde_json::json;

use super::ServerCall;
use crate::{
    error::{Code, Error, Result},
    facts::{Facts, finish, step_result},
    run::{Deadline, Event, Waiting},
    server::{
        Server,
        info::{Info, Replication, Role},
    },
};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);

/// What is wished.
#[derive(Debug, Clone)]
pub struct Options {
    /// Run id of a process that does not count: the one before the restart.
    pub other_than: Option<String>,
    /// How long the server is waited for.
    pub wait_timeout: Duration,
}

step_result! {
    /// What `wait_ready` returns.
    pub struct WaitReady {
        /// Whether it answers and has loaded its data. Only a dry run returns where that is false.
        pub ready: bool,
        /// The process's own id, new with every start; this and what follows is none where it is not ready.
        pub run_id: Option<String>,
        /// Its process id on its host.
        pub process_id: Option<u64>,
        /// Such as `Redis 7.0.15`.
        pub version: Option<String>,
        /// The file of the program that it says it runs.
        pub program: Option<String>,
        /// Its configuration file; empty without one.
        pub config_file: Option<String>,
        /// `master` or `replica`.
        pub role: Option<String>,
        /// The address of its master, if it is a replica.
        pub follows: Option<String>,
        /// The ACL user with which it logs in to a master (`masteruser`); empty for the default user.
        pub replication_user: Option<String>,
        /// Keys in all its databases.
        pub key_count: Option<u64>,
    }
}

/// A server that is ready.
struct Ready {
    server: Server,
    info: Info,
    replication_user: String,
}

/// Waits until the server is ready. A dry run looks once.
pub async fn wait_ready(call: &ServerCall, options: &Options) -> Result<WaitReady> {
    call.run.emit(&Event::Step { step: "wait_ready" });
    let deadline = Deadline::after(options.wait_timeout);
    let mut waiting = Waiting::default();
    let found = loop {
        match look(call, options).await {
            Ok(ready) => break Some(ready),
            Err(error) if !passes(&error) => return Err(error),
            Err(_) if call.run.dry => break None,
            Err(error) if deadline.passed() => {
                let found = format!("{}, for {} seconds", error.found, options.wait_timeout.as_secs_f64());
                return Err(Error { found, ..error });
            }
            Err(error) => waiting.tell(&call.run, "a server that is ready", || error.found),
        }
        call.run.sleep(LOOK).await?;
    };
    let Some(Ready { server, info, replication_user }) = found else { return Ok(blank(call)) };
    let replication = Replication::from(&info);
    let mut facts = Facts::default();
    let keys = crate::server::info::keyspace(&info).values().map(|counts| counts.keys).sum();
    let version = server.identity.title();
    facts.insert("server", json!({"address": server.endpoint.to_string(), "version": version, "keys": keys}));
    Ok(WaitReady {
        ready: true,
        run_id: Some(server.identity.run_id.clone()),
        process_id: Some(server.identity.process_id),
        version: Some(version),
        program: info.get("executable").map(str::to_owned),
        config_file: Some(server.identity.config_file.clone()),
        role: Some(if replication.role == Role::Master { "master" } else { "replica" }.to_owned()),
        follows: replication.master.map(|(host, port)| format!("{host}:{port}")),
        replication_user: Some(replication_user),
        key_count: Some(keys),
        before: facts.clone(),
        after: facts,
        ..blank(call)
    })
}

/// The result for a server of which nothing is known.
fn blank(call: &ServerCall) -> WaitReady {
    finish!(
        call.run,
        Facts::default(),
        Facts::default(),
        WaitReady {
            ready: false,
            run_id: None,
            process_id: None,
            version: None,
            program: None,
            config_file: None,
            role: None,
            follows: None,
            replication_user: None,
            key_count: None,
        }
    )
}

async fn look(call: &ServerCall, options: &Options) -> Result<Ready> {
    let server = call.connect().await?;
    if options.other_than.as_ref() == Some(&server.identity.run_id) {
        return Err(Error::new(Code::NotRestarted, "is still the process that was to be restarted")
            .at(&server)
            .remedy("restart it, then run this again"));
    }
    let info = server.info("default").await?;
    if info.flag("loading") {
        return Err(Error::new(Code::Loading, "is loading its data set")
            .at(&server)
            .remedy("wait until it has finished"));
    }
    let replication_user = server.config(&["masteruser"]).await?.remove("masteruser").unwrap_or_default();
    Ok(Ready { server, info, replication_user })
}

/// Whether it may pass while a server comes up.
fn passes(error: &Error) -> bool {
    // One that ends the connection at the first command may be on its way down: that looks like a TLS port.
    [Code::Unreachable, Code::NoAnswer, Code::Loading, Code::ConnectionLost, Code::TlsFailed, Code::NotRestarted]
        .contains(&error.code)
}
