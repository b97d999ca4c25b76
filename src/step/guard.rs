//! The guard: a process of its own that waits beside a handover and does the rest of it if the controller dies.
//!
//! Between demotion and promotion nobody takes writes. A controller that is killed there would leave that until somebody
//! runs it again. So it posts a guard first: the job on its standard input, which stays open. Where that ends without the
//! word that all is done, the controller is gone, and the guard does what a rerun would do at that stage, but never
//! begins a handover: the half-done one is finished, or taken back; one that had demoted nothing is called off.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    Call,
    aftermath::call_off,
    hand_over::{Options, hand_over},
    login::Login,
    preflight,
};
use crate::{
    chronicle::{Chronicle, End, Failure, Scribe},
    endpoint::{Endpoint, Tls},
    error::Result,
    hook::{self, Hook, Hooks, Moment, Scene, Watch},
    journal::{Journal, Record},
    mutex::lock,
    redirect::Redirect,
    run::{Deadline, Run},
    server::Side,
};

/// How long a guard may take to be ready; one that is not is done without.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// How long a guard tries to do the rest.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries.
const BREATH: Duration = Duration::from_millis(100);

/// Told by a controller that has come to an end, whatever it was.
const DONE: &str = "done\n";

/// Told by a controller whose hook begins, with its process group, or has ended.
const HOOK: &str = "hook ";

/// Told by a guard that is on its post.
const READY: &str = "ready\n";

/// All that a guard has to know. It goes through a pipe, since it holds passwords.
#[derive(Serialize, Deserialize)]
pub struct Job {
    source: Address,
    target: Address,
    journal_dir: Option<PathBuf>,
    to: Side,
    login: Option<(Option<String>, String)>,
    redirect: Redirect,
    backlog_bytes: u64,
    rewrite: bool,
    /// Functions can't be passed on.
    hooks: BTreeMap<Moment, Vec<String>>,
    hook_timeout: Duration,
    scene: Scene,
    /// The process group of a hook that the controller has left.
    #[serde(skip)]
    orphan: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Address {
    host: String,
    port: u16,
    unix_socket: Option<PathBuf>,
    master_name: Option<String>,
    user: Option<String>,
    password: Option<String>,
    tls: Option<Tls>,
    connect_timeout: Duration,
}

impl Job {
    pub(super) fn new(call: &Call, to: Side, options: &Options, scene: &Scene) -> Self {
        Job {
            source: Address::of(&call.source),
            target: Address::of(&call.target),
            journal_dir: call.journal_dir.clone(),
            to,
            login: options.login.clone().map(|login| (login.user, login.password)),
            redirect: options.preflight.redirect.clone(),
            backlog_bytes: options.backlog_bytes,
            rewrite: options.rewrite,
            hooks: options.hooks.commands(),
            hook_timeout: options.hooks.timeout(),
            scene: scene.clone(),
            orphan: None,
        }
    }

    fn options(&self) -> Options {
        let hooks = self.hooks.iter().map(|(moment, words)| (*moment, Hook::Command(words.clone()))).collect();
        Options {
            hooks: Hooks::new(hooks, self.hook_timeout),
            preflight: preflight::Options { redirect: self.redirect.clone(), ..preflight::Options::default() },
            backlog_bytes: self.backlog_bytes,
            login: self.login.clone().map(|(user, password)| Login { user, password }),
            rewrite: self.rewrite,
            ..Options::default()
        }
    }

    fn call(&self, scribe: &Arc<Scribe>) -> Call {
        let scribe = Arc::clone(scribe);
        Call {
            run: Arc::new(Run::new(false, move |run, event| scribe.note(run, event))),
            source: self.source.endpoint(),
            target: self.target.endpoint(),
            journal_dir: self.journal_dir.clone(),
            break_lock: false,
        }
    }
}

impl Address {
    fn of(endpoint: &Endpoint) -> Self {
        let Endpoint { host, port, unix_socket, master_name, user, password, tls, connect_timeout } = endpoint.clone();
        Address { host, port, unix_socket, master_name, user, password, tls, connect_timeout }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            host: self.host.clone(),
            port: self.port,
            unix_socket: self.unix_socket.clone(),
            master_name: self.master_name.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            tls: self.tls.clone(),
            connect_timeout: self.connect_timeout,
        }
    }
}

/// A guard on its post.
pub struct Guard {
    pipe: Arc<Mutex<ChildStdin>>,
    ready: Option<oneshot::Receiver<()>>,
}

impl Guard {
    /// Starts one. It is out of reach of signals to the controller's process group.
    pub(super) fn post(command: &[String], job: &Job) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("no command is given")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Whoever reads the controller's output to its end is not to wait for the guard.
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("{program} can't be started"))?;
        let mut pipe = child.stdin.take().context("it has no input")?;
        let output = child.stdout.take().context("it has no output")?;
        let (tell, ready) = oneshot::channel();
        thread::spawn(move || {
            let mut line = String::new();
            if BufReader::new(output).read_line(&mut line).is_ok() && line == READY {
                let _ = tell.send(());
            }
            // It would stay a zombie until the controller's process ends.
            let _ = child.wait();
        });
        writeln!(pipe, "{}", serde_json::to_string(job)?).context("it has ended at once")?;
        Ok(Guard { pipe: Arc::new(Mutex::new(pipe)), ready: Some(ready) })
    }

    /// Tells it that it is not needed any more. One that is not told goes on: with what a controller left that died, and
    /// where it came to its own end without knowing what became of its last command.
    pub(super) fn dismiss(self) {
        let _ = lock(&self.pipe).write_all(DONE.as_bytes());
    }

    /// Lets it know which hook runs: it would go on without us, and beside what the guard does.
    pub(super) fn watch(&self) -> Watch {
        let pipe = Arc::clone(&self.pipe);
        Arc::new(move |group| {
            let group = group.map(|group| group.to_string()).unwrap_or_default();
            let _ = writeln!(lock(&pipe), "{HOOK}{group}");
        })
    }

    /// Waits until it is on its post; false if it never came.
    pub(super) async fn is_ready(&mut self) -> bool {
        match self.ready.take() {
            Some(ready) => matches!(tokio::time::timeout(READY_WITHIN, ready).await, Ok(Ok(()))),
            None => true,
        }
    }
}

/// Stands guard until the controller ends. Returns the job if it has died.
pub fn stand(mut input: impl BufRead, mut output: impl Write) -> anyhow::Result<Option<Job>> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut job: Job = serde_json::from_str(&line).context("the job can't be read")?;
    output.write_all(READY.as_bytes())?;
    output.flush()?;
    loop {
        line.clear();
        input.read_line(&mut line)?;
        match line.strip_prefix(HOOK) {
            Some(group) => job.orphan = group.trim_end().parse().ok(),
            None => return Ok((line != DONE).then_some(job)),
        }
    }
}

/// Does the rest of the handover of a controller that has died, and notes in the journal what came of it.
pub async fn take_over(job: &Job) -> Result<String> {
    if let Some(group) = job.orphan {
        hook::end(group);
    }
    let (source, target) = (job.source.endpoint(), job.target.endpoint());
    let journal = Journal::of(job.journal_dir.as_deref(), &source, &target)?;
    let scribe = Arc::new(Scribe::new(Chronicle::beside(&journal), &source, &target));
    let deadline = Deadline::after(PATIENCE);
    let mut options = job.options();
    let done = loop {
        let call = job.call(&scribe);
        match rest(&call, job, &options).await {
            // Of hooks that have failed nobody else hears.
            Ok(outcome) => break Ok([vec![outcome], hook::failures(&call.run)].concat().join("; ")),
            Err(error) if deadline.passed() => break Err(call.run.truthful(error)),
            Err(_) => tokio::time::sleep(BREATH).await,
        }
        options.hooks = options.hooks.left_by(&call.run);
    };
    scribe.end(match &done {
        Ok(outcome) => End::Done { result: json!({ "outcome": outcome }) },
        Err(error) => End::Failed { error: Failure::from(error) },
    });
    let outcome = done.unwrap_or_else(|error| error.to_string());
    journal.append(&Record::Guarded { outcome: outcome.clone() })?;
    Ok(outcome)
}

async fn rest(call: &Call, job: &Job, options: &Options) -> Result<String> {
    let to = job.to;
    let mut pair = call.begin_alone("guard").await?;
    let look = pair.look().await?;
    if look.stage.serves() == Some(to.other()) {
        call_off(&pair, &look, to, options).await?;
        options.hooks.led(&call.run, Moment::Undone, &job.scene).await;
        return Ok(format!("the handover was called off: the {} serves as before", to.other().as_str()));
    }
    hand_over(call, &mut pair, &look, to, options).await?;
    Ok(format!("the handover was finished: the {} serves", to.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> String {
        let call = Call {
            run: Arc::new(Run::new(false, |_, _| {})),
            source: Endpoint { password: Some("hunter2".into()), ..Endpoint::default() },
            target: Endpoint::default().with_port(7000),
            journal_dir: None,
            break_lock: false,
        };
        let words = vec!["/bin/true".to_owned()];
        let hooks = BTreeMap::from([(Moment::Undone, Hook::Command(words))]);
        let options = Options { hooks: Hooks::new(hooks, Duration::from_secs(1)), ..Options::default() };
        let scene = serde_json::json!({"step": "switchover", "source": "", "target": "", "from": "", "to": ""});
        let scene = serde_json::from_value(scene).unwrap();
        serde_json::to_string(&Job::new(&call, Side::Target, &options, &scene)).unwrap() + "\n"
    }

    #[test]
    fn a_controller_that_ends_needs_no_guard() {
        let mut said = Vec::new();
        let left = stand((job() + DONE).as_bytes(), &mut said).unwrap();
        assert!(left.is_none() && said == READY.as_bytes());
    }

    #[test]
    fn a_controller_that_dies_leaves_its_job() {
        let left = stand(job().as_bytes(), Vec::new()).unwrap().unwrap();
        let (source, target) = (left.source.endpoint(), left.target.endpoint());
        assert_eq!((source.password.as_deref(), target.port), (Some("hunter2"), 7000));
        assert!(left.options().hooks.has(Moment::Undone));
    }

    #[test]
    fn a_hook_that_runs_on_without_its_controller_is_known() {
        let left = |said: &str| stand((job() + said).as_bytes(), Vec::new()).unwrap().map(|job| job.orphan);
        assert_eq!(left("hook 41\nhook \nhook 42\n"), Some(Some(42)));
        assert_eq!(left("hook 41\nhook \n"), Some(None));
        assert_eq!(left("hook 41\nhook \ndone\n"), None);
    }
}
