//! What a relay forwards, in a file beside its socket: one that is killed, or comes up again with its host, goes on there.

use std::{
    fs::{self, File},
    io::{ErrorKind, Result as IoResult, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};

use super::{Way, beside, log};
use crate::mutex::lock;

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    ways: Vec<Way>,
    idle: Option<u64>,
    /// It has ended for good: nobody is to start it again for this.
    ended: bool,
}

pub struct Memory {
    path: PathBuf,
    /// Counts what was said, so that what is overtaken is not written any more.
    said: Mutex<u64>,
}

impl Memory {
    pub fn beside(socket: &Path) -> Self {
        Memory { path: beside(socket, "json"), said: Mutex::new(0) }
    }

    /// Whether a relay at this socket has ended for good.
    pub fn is_ended(socket: &Path) -> bool {
        Memory::beside(socket).read().is_some_and(|kept| kept.ended)
    }

    /// What it forwarded before, if it is to do so again.
    pub fn forwards(&self) -> Option<(Vec<Way>, Option<u64>)> {
        self.read().filter(|kept| !kept.ended).map(|kept| (kept.ways, kept.idle))
    }

    /// It forwards this from now on.
    pub async fn forward(&self, ways: Vec<Way>, idle: Option<u64>) {
        let before = *lock(&self.said);
        let (path, kept) = (self.path.clone(), Kept { ways, idle, ended: false });
        let aside = self.path.with_extension("json.new");
        let written = tokio::task::spawn_blocking({
            let aside = aside.clone();
            move || write(&aside, &kept)
        });
        let written = written.await.unwrap_or_else(|error| Err(error.into()));
        // Unless it was told to forget it meanwhile.
        let said = lock(&self.said);
        match written.and_then(|()| if *said == before { fs::rename(&aside, &path) } else { fs::remove_file(&aside) }) {
            Ok(()) => {}
            Err(error) => {
                log(format_args!("{} can't be written, so a restart forwards nothing: {error}", path.display()))
            }
        }
    }

    /// It forwards nothing any more.
    pub fn forget(&self) {
        let mut said = lock(&self.said);
        *said += 1;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                log(format_args!("{} can't be removed: {error}", self.path.display()));
            }
            _ => {}
        }
    }

    /// It has ended for good, if it forwarded anything.
    pub fn end(&self) {
        let mut said = lock(&self.said);
        *said += 1;
        if self.path.exists()
            && let Err(error) = write(&self.path, &Kept { ended: true, ..Kept::default() })
        {
            log(format_args!("{} can't be written: {error}", self.path.display()));
        }
    }

    fn read(&self) -> Option<Kept> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }
}

fn write(path: &Path, kept: &Kept) -> IoResult<()> {
    let mut file = File::create(path)?;
    file.write_all(serde_json::to_string(kept)?.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_was_forgotten_or_ended_is_not_done_again() {
        let folder = std::env::temp_dir().join(format!("baton-relay-memory-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("r.sock");
        let memory = Memory::beside(&socket);
        let way = Way { bind: vec!["127.0.0.1".into()], port: 6379, to: ([127, 0, 0, 1], 6380).into() };
        memory.end();
        assert!(memory.forwards().is_none() && !Memory::is_ended(&socket), "nothing has been forwarded yet");
        memory.forward(vec![way.clone()], Some(60)).await;
        assert_eq!(Memory::beside(&socket).forwards(), Some((vec![way.clone()], Some(60))));
        memory.end();
        assert!(memory.forwards().is_none() && Memory::is_ended(&socket));
        memory.forward(vec![way], None).await;
        memory.forget();
        assert!(memory.forwards().is_none() && !Memory::is_ended(&socket));
        fs::remove_dir_all(&folder).unwrap();
    }
}
