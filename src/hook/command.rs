//! A command as a hook: a process group of its own, with a time limit.

use std::{
    collections::VecDeque,
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value};
use tokio::{sync::oneshot, time::timeout};

use super::{Watch, late};
use crate::mutex::lock;

/// So many of its last lines are kept, and so many characters of each.
const LINES: usize = 20;
const CHARACTERS: usize = 200;

/// How long its end, or that of its output, is waited for when it has to be over.
const GRACE: Duration = Duration::from_millis(100);

/// Its last lines.
type Tail = Arc<Mutex<VecDeque<String>>>;

/// Runs a command with the facts in its environment and, as JSON, on its standard input. Returns why it failed, if it did,
/// and the last lines it has written.
pub(super) async fn run(
    words: &[String],
    facts: &Map<String, Value>,
    within: Duration,
    watch: Option<&Watch>,
) -> (Option<String>, Vec<String>) {
    let (mut child, output) = match start(words, facts) {
        Ok(started) => started,
        Err(error) => return (Some(format!("can't be started: {error}")), Vec::new()),
    };
    let mut running = Running { group: Some(child.id()), watch };
    running.tell();
    let (tail, read) = follow(output);
    let (tell, mut ended) = oneshot::channel();
    thread::spawn(move || tell.send(child.wait()));
    let failed = match timeout(within, &mut ended).await {
        Ok(Ok(Ok(status))) => {
            // What it has left in the background is meant to go on.
            running.group = None;
            (!status.success()).then(|| format!("ended with {status}"))
        }
        Ok(_) => Some("can't be waited for".to_owned()),
        Err(_) => {
            running.end();
            let _ = timeout(GRACE, ended).await;
            Some(late(within))
        }
    };
    drop(running);
    let _ = timeout(GRACE, read).await;
    let lines = std::mem::take(&mut *lock(&tail));
    (failed, lines.into())
}

fn start(words: &[String], facts: &Map<String, Value>) -> io::Result<(Child, impl Read + Send + use<>)> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let (output, both) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(both.try_clone()?).stderr(both).process_group(0);
    for (name, value) in facts {
        command.env(format!("REDIS_BATON_{}", name.to_uppercase()), value.as_str().unwrap_or_default());
    }
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // It is shorter than what a pipe holds, so this never waits; and who does not read it may end before.
        let _ = writeln!(input, "{}", Value::from(facts.clone()));
    }
    Ok((child, output))
}

/// Reads what a command writes, for as long as anybody holds the other end.
fn follow(output: impl Read + Send + 'static) -> (Tail, oneshot::Receiver<()>) {
    let (tail, (tell, read)) = (Tail::default(), oneshot::channel());
    let lines = Arc::clone(&tail);
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        // A line without an end is not to fill the memory.
        while matches!(output.by_ref().take(64 << 10).read_until(b'\n', &mut line), Ok(1..)) {
            let text = tidy(&String::from_utf8_lossy(&line));
            line.clear();
            if text.is_empty() {
                continue;
            }
            let mut lines = lock(&lines);
            lines.push_back(text);
            if lines.len() > LINES {
                lines.pop_front();
            }
        }
        let _ = tell.send(());
    });
    (tail, read)
}

/// One line of not too many characters, fit for a sentence.
pub(super) fn tidy(text: &str) -> String {
    let words: Vec<_> = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// A process group that ends with this, unless it has ended.
struct Running<'a> {
    group: Option<u32>,
    watch: Option<&'a Watch>,
}

impl Running<'_> {
    fn tell(&self) {
        if let Some(watch) = self.watch {
            watch(self.group);
        }
    }

    fn end(&mut self) {
        if let Some(group) = self.group.take() {
            end(group);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.end();
        self.tell();
    }
}

/// Kills a process group.
pub fn end(group: u32) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Whether that names a program, as the system would look for it.
pub(super) fn is_program(name: &str) -> bool {
    let runs = |path: &Path| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        return runs(Path::new(name));
    }
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| runs(&folder.join(name))))
}
