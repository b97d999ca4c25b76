//! The host this runs on: its memory and disks, its users, what runs on it.

pub mod place;
pub mod process;
pub mod systemd;

use std::{
    fs,
    io::{Error as IoError, ErrorKind, Result as IoResult},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{sync::oneshot, time::timeout};

use crate::error::{Code, Error, Result};

/// How long a program of the system may take to answer.
const BRIEFLY: Duration = Duration::from_secs(5);

/// Runs a command of the system and returns what it says; one that does not end in time, or that nobody waits for any more,
/// is ended.
pub async fn ask(program: &str, arguments: &[&str], within: Duration) -> IoResult<Output> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let mut running = Running(Some(Pid::from_child(&child)));
    let (tell, said) = oneshot::channel();
    thread::spawn(move || tell.send(child.wait_with_output()));
    let said =
        timeout(within, said).await.map_err(|_| IoError::new(ErrorKind::TimedOut, format!("{program} did not end")))?;
    running.0 = None;
    said.map_err(IoError::other)?
}

/// A process that is ended with this.
struct Running(Option<Pid>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(process) = self.0 {
            // It may have ended by itself.
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

async fn number(program: &str, arguments: &[&str]) -> Option<u32> {
    let output = ask(program, arguments, BRIEFLY).await.ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// Whose a process and its files are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

impl Owner {
    /// The user of that name, as a call may use it; none where we are that user already.
    pub async fn of(user: &str) -> Result<Option<Self>> {
        if user.is_empty() || user.starts_with('-') {
            return Err(Error::input("user", format!("{user:?} is no name of a user")));
        }
        let (uid, gid) = (number("id", &["-u", user]).await, number("id", &["-g", user]).await);
        let (Some(uid), Some(gid)) = (uid, gid) else {
            return Err(Error::input("user", format!("this host knows no user {user}")));
        };
        match number("id", &["-u"]).await {
            Some(own) if own == uid => Ok(None),
            Some(0) => Ok(Some(Owner { uid, gid })),
            _ => Err(Error::new(Code::HostDenied, format!("only root can run a server as {user}"))
                .remedy("run this as root (become in Ansible), or as that user")),
        }
    }
}

/// Memory of the host, in bytes; none where it does not say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// What it can give without swapping.
    pub available: Option<u64>,
    /// What the control group of this process, or one above it, leaves of its limit.
    pub group: Option<u64>,
    /// `vm.overcommit_memory`.
    pub overcommit: Option<u64>,
    /// What the kernel can still promise where that is 2.
    pub promises: Option<u64>,
}

/// Looks at the memory.
pub fn memory() -> Memory {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    Memory {
        available: field("MemAvailable"),
        group: group(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default()),
        overcommit: read_number(Path::new("/proc/sys/vm/overcommit_memory")),
        promises: field("CommitLimit").zip(field("Committed_AS")).map(|(limit, given)| limit.saturating_sub(given)),
    }
}

/// What the tightest limit on the way up leaves, by the lines of `/proc/self/cgroup`. What is cached of files can be given
/// back and counts as free.
fn group(lines: &str) -> Option<u64> {
    let found = lines.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        match controllers {
            "" => tightest("/sys/fs/cgroup", path, ["memory.max", "memory.current", "inactive_file"]),
            "memory" => {
                let files = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"];
                tightest("/sys/fs/cgroup/memory", path, files)
            }
            _ => None,
        }
    });
    found.min()
}

fn tightest(root: &str, path: &str, [limit, used, cached]: [&str; 3]) -> Option<u64> {
    let all = Path::new(path).ancestors().filter_map(|group| {
        let folder = Path::new(root).join(group);
        let left = read_number(&folder.join(limit))?.saturating_sub(read_number(&folder.join(used))?);
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(cached)?.trim().parse::<u64>().ok());
        Some(left.saturating_add(cached.unwrap_or_default()))
    });
    all.min()
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What is free where a directory is, or will be.
pub async fn disk_free(directory: &Path) -> Option<u64> {
    let there = directory.ancestors().find(|folder| folder.is_dir())?;
    let output = ask("df", &["-Pk", "--", there.to_str()?], BRIEFLY).await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().last()?.split_whitespace().nth(3)?.parse::<u64>().ok()? * 1024)
}

/// Whether that is an address of this host.
pub async fn is_here(address: &str) -> bool {
    tokio::net::TcpListener::bind((address, 0)).await.is_ok()
}

/// The program of that path, if it can be run.
pub fn program(path: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let unusable = |why: &str| {
        Error::new(Code::ProgramUnusable, format!("{} {why}", path.display()))
            .remedy("give the path of the new redis-server or valkey-server on this host as program")
    };
    let found = fs::canonicalize(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => unusable("is not on this host"),
        _ => unusable(&format!("can't be looked at: {e}")),
    })?;
    match fs::metadata(&found) {
        // A path such as /usr/bin/redis-server may be a link that the next update of the package moves: that is meant.
        Ok(about) if about.is_file() && about.permissions().mode() & 0o111 != 0 => Ok(path.to_owned()),
        _ => Err(unusable("is no program")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_does_not_end_is_ended() {
        let error = ask("sleep", &["60"], Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(ask("echo", &["x"], BRIEFLY).await.unwrap().stdout == b"x\n");
        // More than a pipe holds.
        let much = ask("head", &["-c", "1000000", "/dev/zero"], BRIEFLY).await.unwrap();
        assert_eq!(much.stdout.len(), 1_000_000);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_host_says_what_it_has() {
        assert!(memory().available.is_some_and(|bytes| bytes > 0));
        assert!(disk_free(Path::new("/tmp/not/there/yet")).await.is_some());
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let root = std::env::temp_dir().join(format!("baton-groups-{}", std::process::id()));
        let inner = root.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        for (folder, limit) in [(&inner, "max"), (&root.join("a"), "1000")] {
            fs::write(folder.join("memory.max"), limit).unwrap();
            fs::write(folder.join("memory.current"), "400\n").unwrap();
        }
        fs::write(root.join("a/memory.stat"), "anon 1\ninactive_file 50\n").unwrap();
        let files = ["memory.max", "memory.current", "inactive_file"];
        let found = tightest(root.to_str().unwrap(), "a/b", files);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, Some(650));
    }
}
