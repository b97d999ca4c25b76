//! A server process on this host: started so that it outlives whoever started it, and ended again where it is of no use.

use std::{
    fs::{self, File},
    io::{Read, Result as IoResult, Seek, SeekFrom},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use super::Owner;

/// So many bytes of a log are looked at.
const TAIL: u64 = 16 << 10;

/// So many lines of it are told, and so many characters.
const LINES: usize = 2;
const CHARACTERS: usize = 200;

/// What a server finds in its environment: nothing of ours.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the program, in a session of its own.
const FOR_GOOD: &str = r#"umask 077; exec >>"$0" 2>&1; exec setsid "$@""#;

/// Becomes the program, which ends with us even where we are killed, if this system can do that.
const FOR_A_MOMENT: &str =
    r#"umask 077; exec >>"$0" 2>&1; end="setpriv --pdeathsig KILL"; $end true 2>/dev/null || end=; exec $end "$@""#;

/// A process that is ours until it is let go.
pub struct Started {
    child: Option<Child>,
}

impl Started {
    /// Starts a server that is to outlive us, unless it is dropped.
    pub fn for_good(
        program: &Path,
        arguments: &[&str],
        directory: &Path,
        log: &Path,
        owner: Option<Owner>,
    ) -> IoResult<Self> {
        Self::start(FOR_GOOD, program, arguments, directory, log, owner)
    }

    /// Starts a server that ends with us.
    pub fn for_a_moment(program: &Path, arguments: &[&str], directory: &Path, log: &Path) -> IoResult<Self> {
        Self::start(FOR_A_MOMENT, program, arguments, directory, log, None)
    }

    /// Starts it with an empty environment, and with files that only its user can read. Safe Rust can set neither session nor
    /// umask of a child, so a shell does, which then becomes the program: the process stays the same. The shell opens the log
    /// too: it is the server's user by then, and root would follow whatever link that one has put there.
    fn start(
        how: &str,
        program: &Path,
        arguments: &[&str],
        directory: &Path,
        log: &Path,
        owner: Option<Owner>,
    ) -> IoResult<Self> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", how])
            .arg(log)
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(owner) = owner {
            command.gid(owner.gid).uid(owner.uid);
        }
        let child = command.spawn()?;
        Ok(Started { child: Some(child) })
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> IoResult<Option<ExitStatus>> {
        self.child.as_mut().map_or(Ok(None), Child::try_wait)
    }

    /// Lets it go on by itself.
    pub fn release(mut self) {
        if let Some(mut child) = self.child.take() {
            // It would stay a zombie for as long as the caller's process lives.
            thread::spawn(move || child.wait());
        }
    }
}

impl Drop for Started {
    /// What was not let go is of no use, and holds nothing that anybody could miss.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a server says of a value that it does not take.
#[derive(Debug, PartialEq, Eq)]
pub struct RefusedValue {
    /// The parameter.
    pub parameter: String,
    /// Why, in the server's words.
    pub why: String,
}

/// What a server has said.
pub struct Said(Vec<String>);

impl Said {
    /// In a log, from so many bytes on.
    pub fn in_file(path: &Path, from: u64) -> Self {
        let read = || -> IoResult<String> {
            let mut file = File::open(path)?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL))))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Self::of(&read().unwrap_or_default())
    }

    /// In this text.
    pub fn of(text: &str) -> Self {
        let words = |line: &str| said(line).split_whitespace().collect::<Vec<_>>().join(" ");
        Said(text.lines().map(words).filter(|line| !line.is_empty()).collect())
    }

    /// Whether it was nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its last lines as one. A line of the configuration is left out: it may hold a password. So are the warnings that
    /// every start begins with.
    pub fn tail(&self) -> String {
        let told = |line: &&String| !line.starts_with(">>>") && !line.starts_with("WARNING");
        let lines: Vec<String> = self.0.iter().filter(told).cloned().collect();
        let text = lines[lines.len().saturating_sub(LINES)..].join(" / ");
        match text.char_indices().nth(CHARACTERS) {
            _ if text.is_empty() => "it said nothing".into(),
            Some((end, _)) => format!("it said: {}...", &text[..end]),
            None => format!("it said: {text}"),
        }
    }

    /// The value that the server has refused to start with, if that was it.
    pub fn refused_value(&self) -> Option<RefusedValue> {
        let lines = &self.0;
        let at = lines.iter().rposition(|line| line.starts_with(">>> '"))?;
        let parameter = lines[at].trim_start_matches(">>> '").split([' ', '\'']).next()?.to_owned();
        let why = lines.get(at + 1).cloned().unwrap_or_else(|| "it does not say why".into());
        Some(RefusedValue { parameter, why: why.trim_end_matches('.').to_owned() })
    }
}

/// What a line of the log says, without process and time.
fn said(line: &str) -> &str {
    let head = line.split_once(':').is_some_and(|(pid, _)| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()));
    // Such as `123:M 24 Nov 2026 21:26:30.123 # Fatal error`.
    let rest = || line.splitn(7, ' ').nth(6);
    if head { rest().unwrap_or(line) } else { line }
}

/// The server that works in a directory, if one does: by its pid file; or, where it has just been started and has not come so
/// far, by the configuration that it was told to read.
pub fn at_work_in(directory: &Path, pid_file: &Path, config: &Path) -> Option<u32> {
    let directory = fs::canonicalize(directory).ok()?;
    let works_there = |pid: u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == directory);
    let noted = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok());
    // Another process may have the number by now.
    if let Some(pid) = noted.filter(|pid| works_there(*pid)) {
        return Some(pid);
    }
    let reads_it = |pid: u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == config.as_os_str().as_encoded_bytes())
    };
    let processes = fs::read_dir("/proc").ok()?;
    let mut numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.find(|pid| works_there(*pid) && reads_it(*pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_value_is_named_and_never_shown() {
        let text = "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\nReading the configuration file, at line 2\n\
            >>> 'requirepass \"hunter2\" x'\nwrong number of arguments\n";
        let said = Said::of(text);
        let (found, tail) = (said.refused_value().unwrap(), said.tail());
        assert_eq!((found.parameter.as_str(), found.why.as_str()), ("requirepass", "wrong number of arguments"));
        assert!(tail.contains("wrong number") && !tail.contains("hunter2"), "{tail}");
    }

    #[test]
    fn the_last_lines_are_told_without_process_and_time() {
        let text = "1:C 24 Nov 2026 21:26:30.123 # one\n7:M 24 Nov 2026 21:26:30.124 # Failed  listening\n";
        let tail = Said::of(text).tail();
        assert_eq!(tail, "it said: one / Failed listening");
    }
}
