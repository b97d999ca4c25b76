//! Where reads of every key stand, in a file beside the journal, so that they can go on after they were interrupted.
//!
//! A cursor of SCAN means something to the process that gave it only. So the file names the two, and is passed over
//! when either was restarted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{Comparison, Key};
use crate::{
    error::{Code, Error, Result},
    pair::Pair,
    server::Server,
};

/// Whose names are gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Names {
    /// The replica's, and the content is compared.
    OfReplica,
    /// The master's: does the replica have it, and does it expire on both?
    OfMaster,
}

/// Where it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bookmark {
    run_ids: [String; 2],
    /// Whose names are being gone through.
    pub names: Names,
    /// How far, by the numbers of the databases.
    reached: BTreeMap<u32, Reached>,
    /// Keys that are to be looked at again.
    pub candidates: Vec<Key>,
    /// Those that had not rested then.
    pub moving: Vec<Key>,
    /// Whether a key was gone when it was looked at. It may have expired, and still count on a replica.
    pub gone: bool,
    found: Found,
}

/// How far the names of a database were gone through.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reached {
    /// From where on; none at its end.
    pub cursor: Option<String>,
    /// How many names SCAN gave up to there, and how many of them expire.
    pub given: u64,
    pub expiring: u64,
}

/// What was found so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Found {
    compared: u64,
    differing: u64,
    differences: Vec<String>,
    named: BTreeSet<Key>,
    not_comparable: BTreeMap<String, u64>,
}

impl Bookmark {
    /// At the beginning.
    pub fn of(master: &Server, replica: &Server) -> Self {
        Bookmark {
            run_ids: [master, replica].map(|server| server.identity.run_id.clone()),
            names: Names::OfReplica,
            reached: BTreeMap::new(),
            candidates: Vec::new(),
            moving: Vec::new(),
            gone: false,
            found: Found::default(),
        }
    }

    /// Where an interrupted comparison of these two stood; what it had found is taken over. None, with a warning, where
    /// there is none.
    pub fn read(pair: &Pair, master: &Server, replica: &Server, seen: &mut Comparison) -> Result<Option<Self>> {
        let text = match fs::read(path(pair)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                pair.run.warn("no comparison was interrupted, so this one begins anew");
                return Ok(None);
            }
            Err(error) => return Err(failed(pair, "read", &error)),
        };
        let Ok(mut mark) = serde_json::from_slice::<Bookmark>(&text) else {
            pair.run.warn("where the comparison was interrupted is written down in another way, so it begins anew");
            return Ok(None);
        };
        if mark.run_ids != Bookmark::of(master, replica).run_ids {
            pair.run.warn("a server was restarted since the comparison was interrupted, so it begins anew");
            return Ok(None);
        }
        let found = std::mem::take(&mut mark.found);
        seen.compared = found.compared;
        seen.differing = found.differing;
        seen.differences = found.differences;
        seen.named = found.named;
        seen.not_comparable = found.not_comparable;
        Ok(Some(mark))
    }

    /// Comes to a database: the cursor to go on from, or none if it was done before.
    pub fn enter(&mut self, names: Names, database: u32) -> Option<String> {
        if names > self.names {
            self.names = names;
            self.reached.clear();
        }
        let start = || Reached { cursor: Some("0".to_owned()), ..Reached::default() };
        self.reached.entry(database).or_insert_with(start).cursor.clone()
    }

    /// How far it is in a database that was entered.
    pub fn reached(&self, database: u32) -> Option<&Reached> {
        self.reached.get(&database)
    }

    /// The same, to go on.
    pub fn reached_mut(&mut self, database: u32) -> &mut Reached {
        self.reached.entry(database).or_default()
    }

    /// Writes it down.
    pub fn write(&mut self, pair: &Pair, seen: &Comparison) -> Result<()> {
        self.found = Found {
            compared: seen.compared,
            differing: seen.differing,
            differences: seen.differences.clone(),
            named: seen.named.clone(),
            not_comparable: seen.not_comparable.clone(),
        };
        let path = path(pair);
        let new = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            // Names of keys are in it.
            let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            fs::rename(&new, &path)
        };
        write().map_err(|error| failed(pair, "written", &error))
    }

    /// Removes it: the comparison is complete.
    pub fn remove(pair: &Pair) -> Result<()> {
        match fs::remove_file(path(pair)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(pair, "removed", &error)),
            _ => Ok(()),
        }
    }
}

fn path(pair: &Pair) -> PathBuf {
    pair.journal.path().with_extension("verify")
}

fn failed(pair: &Pair, what: &str, error: &std::io::Error) -> Error {
    Error::new(Code::JournalFailed, format!("{} can't be {what}: {error}", path(pair).display()))
        .remedy("give a journal_dir that can be written")
}
