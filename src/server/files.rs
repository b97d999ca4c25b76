//! The files a server writes, looked at from outside: where it runs on this host and this account may look.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Server, info::Info};
use crate::endpoint::Endpoint;

/// The root folder of the server's process, as seen from here.
#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
}

/// Tells one state of a file from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    written: (i64, i64),
    /// Bytes.
    pub length: u64,
}

impl Files {
    /// Those of a server; none where it runs elsewhere, or in a way that can't be looked into.
    ///
    /// A process of that number must have mapped the very program that the server names, so that a number of a container
    /// or of another host is not taken for one of ours.
    pub fn of(server: &Server, info: &Info) -> Option<Self> {
        if !is_here(&server.endpoint) {
            return None;
        }
        let process = PathBuf::from(format!("/proc/{}", server.identity.process_id));
        let files = Files { root: process.join("root") };
        let program = fs::metadata(files.path(info.get("executable")?)).ok()?.ino().to_string();
        let maps = fs::read_to_string(process.join("maps")).ok()?;
        maps.lines().any(|line| line.split_whitespace().nth(4) == Some(&program)).then_some(files)
    }

    /// The state of a file; none where there is none.
    pub fn stamp(&self, path: &str) -> io::Result<Option<Stamp>> {
        match fs::metadata(self.path(path)) {
            Ok(found) => Ok(Some(Stamp {
                inode: found.ino(),
                written: (found.mtime(), found.mtime_nsec()),
                length: found.len(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The text of a file.
    pub fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.path(path))
    }

    /// The path, which is absolute in the server's own eyes, from here.
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }
}

/// Whether the address can only be one of this host.
fn is_here(endpoint: &Endpoint) -> bool {
    let address = endpoint.host.parse::<std::net::IpAddr>();
    endpoint.unix_socket.is_some() || endpoint.host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
}

/// The files that a restart would load by the manifest of a multi-part AOF. None where a name is quoted, or a line is
/// not understood.
pub fn named_in_manifest(text: &str) -> Option<Vec<&str>> {
    // History is about to be deleted.
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#') && !line.ends_with("type h"));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            words.next().filter(|word| *word == "file")?;
            words.next().filter(|name| !name.starts_with(['"', '\'']))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_its_files() {
        let text = "file appendonly.aof.1.base.rdb seq 1 type h\nfile appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.3.incr.aof seq 3 type i\n";
        assert_eq!(named_in_manifest(text).unwrap(), ["appendonly.aof.2.base.rdb", "appendonly.aof.3.incr.aof"]);
        assert_eq!(named_in_manifest("file \"a b\" seq 1 type b\n"), None);
        assert_eq!(named_in_manifest("nonsense\n"), None);
    }
}
