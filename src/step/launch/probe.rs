//! What a program knows: it is run for a moment, without data and without a port, and asked.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    decide::carry::Values,
    endpoint::Endpoint,
    error::{Code, Error, Result},
    host::process::{Said, Started},
    run::Deadline,
    server::{
        Server,
        acl::{RefusedRule, Users},
        info::Identity,
    },
    step::Call,
};

/// Where its socket is: the path of a socket may have 107 characters.
const SCRATCH: &str = "/tmp";

/// How long a program may take to answer.
const WITHIN: Duration = Duration::from_secs(10);

/// Between two looks whether it does.
const BREATH: Duration = Duration::from_millis(5);

/// A program that runs, until this is dropped.
pub(super) struct Probe {
    /// What it is.
    pub identity: Identity,
    /// The parameters it knows, with its defaults.
    pub known: Values,
    server: Server,
    _process: Started,
    _scratch: Scratch,
}

/// Runs the program and asks it for its parameters.
pub(super) async fn probe(call: &Call, program: &Path) -> Result<Probe> {
    let unusable = |why: String| {
        Error::new(Code::ProgramUnusable, format!("{} {why}", program.display()))
            .remedy("give the path of the new redis-server or valkey-server on this host as program")
    };
    let scratch = Scratch::new(call.run.token())
        .map_err(|e| Error::new(Code::HostDenied, format!("nothing can be written to {SCRATCH}: {e}")))?;
    let (socket, log) = (scratch.0.join("s"), scratch.0.join("log"));
    let directory = scratch.0.to_string_lossy().into_owned();
    let at = socket.to_string_lossy().into_owned();
    let arguments = ["--port", "0", "--unixsocket", &at, "--dir", &directory, "--save", "", "--daemonize", "no"];
    let started = Started::for_a_moment(program, &arguments, &scratch.0, &log);
    let mut process = started.map_err(|e| unusable(format!("can't be run: {e}")))?;
    let endpoint = Endpoint { unix_socket: Some(socket), ..Endpoint::default() };
    let deadline = Deadline::after(WITHIN);
    let server = loop {
        match Server::connect_alone(&call.run, &endpoint).await {
            Ok(server) => break server,
            Err(error) if error.code == Code::Cancelled => return Err(error),
            Err(_) => {}
        }
        if let Some(status) = process.ended().map_err(|e| unusable(e.to_string()))? {
            return Err(unusable(format!("is no server that runs here ({status}); {}", Said::in_file(&log, 0).tail())));
        }
        if deadline.passed() {
            return Err(unusable(format!("does not answer as a server does; {}", Said::in_file(&log, 0).tail())));
        }
        call.run.sleep(BREATH).await?;
    };
    let known = server.config(&["*"]).await?;
    Ok(Probe { identity: server.identity.clone(), known, server, _process: process, _scratch: scratch })
}

impl Probe {
    /// The first rule of these users that the program does not know.
    pub async fn check(&self, users: &Users) -> Result<Option<RefusedRule>> {
        self.server.refused_rule(users).await
    }
}

/// A folder that is gone again when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(token: &str) -> std::io::Result<Self> {
        let path = Path::new(SCRATCH).join(format!("redis-baton-{token}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
