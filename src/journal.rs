//! What can't be read back from the servers later: an append-only file of JSON lines, one file a pair.
//!
//! State lives in the servers. The journal only keeps the values that raised settings had before, and where each
//! of the two processes listens after a handover, so that a rerun (of this step, the next one, or after a crash)
//! finds them again by their run id. Secrets are never written. Each line is on disk before the command it is
//! about is sent.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    endpoint::Endpoint,
    error::{Code, Error, Result},
    redirect::Plan,
    side::Side,
};

/// A parameter that is raised now.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    /// The run ids that its server had when it was raised, the first one first.
    pub run_ids: Vec<String>,
    /// Its name.
    pub parameter: String,
    /// The value it had first; none where that is a secret.
    pub original: Option<String>,
    /// All that it was set to since; none for a secret.
    pub values: Vec<Option<String>>,
}

impl Raised {
    /// The records that say that it is not raised any more.
    pub fn restored(self) -> impl Iterator<Item = Record> {
        let Raised { run_ids, parameter, .. } = self;
        run_ids.into_iter().map(move |run_id| Record::Restored { run_id, parameter: parameter.clone() })
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A parameter is about to be set for the time of the upgrade.
    Raised {
        /// The server's run id.
        run_id: String,
        /// The parameter.
        parameter: String,
        /// Its value before; none where that is a secret.
        original: Option<String>,
        /// The value it gets; none where that is a secret.
        #[serde(default)]
        value: Option<String>,
    },
    /// A raised parameter has its original value again.
    Restored {
        /// The server's run id.
        run_id: String,
        /// The parameter.
        parameter: String,
    },
    /// A handover is about to demote one server and promote the other.
    Handover(Handover),
    /// The server that is to be demoted was, or is about to be shut down, at this offset: if it is gone, whoever has
    /// reached that has everything.
    Ended {
        /// Bytes of the replication stream.
        offset: u64,
        /// Seconds since 1970 up to when that is sure; none where it is for good. A server that is about to be shut down
        /// serves on if that does not reach it within its pause.
        #[serde(default)]
        until: Option<f64>,
    },
    /// It did not end there after all.
    ServesOn,
    /// The other one was promoted: from now on it may hold what nobody else has.
    Promoted,
    /// A promoted server was restarted, and the operator takes the data it came back with as it is.
    Accepted {
        /// Its present run id.
        run_id: String,
    },
    /// The last handover was taken back: the server that was to be demoted serves.
    Undone,
    /// All that follows the last handover was done: settings restored, configuration saved.
    Settled,
    /// The demoted server follows the other one.
    Warm {
        /// Seconds since 1970.
        since: f64,
        /// Errors that it has met in the streams it followed so far; none where it does not count them.
        errors: Option<u64>,
    },
    /// The demoted server can't take over back without a loss.
    Lossy {
        /// Seconds since 1970: not later than this was it so.
        since: f64,
        /// Why.
        why: String,
    },
    /// The controller died, and its guard has done the rest.
    Guarded {
        /// What came of it.
        outcome: String,
    },
    /// The source was shut down.
    Retired {
        /// Its run id.
        run_id: String,
    },
    /// Users are about to be carried to a server: it may have them and not its file.
    CarryingUsers {
        /// The server's run id.
        run_id: String,
    },
    /// They are there, and saved where it has a file for them.
    CarriedUsers {
        /// The server's run id.
        run_id: String,
    },
    /// A server's persistence is being switched: its configuration file may say something else than it does.
    Persisting {
        /// The server's run id.
        run_id: String,
        /// What it writes whose file is complete: `rdb`, `aof`, `both` or `none`.
        complete: String,
    },
    /// The switch was finished or taken back, and the file says so.
    Persisted {
        /// The server's run id.
        run_id: String,
    },
}

/// A record, and when it was written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Dated {
    /// Seconds since 1970.
    #[serde(default)]
    pub at: f64,
    /// What was written.
    #[serde(flatten)]
    pub record: Record,
}

/// The ports a server listens on; 0 where it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// `port`.
    pub plain: u16,
    /// `tls-port`.
    pub tls: u16,
}

impl Ports {
    /// A server's address once it listens on these.
    pub fn at(self, endpoint: &Endpoint) -> Endpoint {
        match if endpoint.tls.is_some() { self.tls } else { self.plain } {
            0 => endpoint.clone(),
            port if endpoint.unix_socket.is_some() => Endpoint { port, ..endpoint.clone() },
            port => endpoint.with_port(port),
        }
    }
}

/// Who hands over to whom, and where each one listens before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Run id of the source of the upgrade.
    pub source: String,
    /// Run id of the target of the upgrade.
    pub target: String,
    /// Whether it is a rollback: the target hands over to the source.
    pub back: bool,
    /// Configuration file of the source: tells who it is after a restart.
    #[serde(default)]
    pub source_config: String,
    /// Configuration file of the target.
    #[serde(default)]
    pub target_config: String,
    /// The replication history of the server that is demoted: the promoted one continues it.
    #[serde(default)]
    pub replid: String,
    /// The ports that the demoted one has before.
    pub home: Ports,
    /// The ports that the server which is promoted has afterwards.
    pub public: Ports,
    /// The ports that the demoted one has afterwards.
    pub aside: Ports,
    /// The ports the promoted one had before.
    pub from: Ports,
    /// Whether the demoted one is shut down, since it is too old to be demoted (before 6.2).
    #[serde(default)]
    pub fenced: bool,
    /// How clients are moved.
    #[serde(default)]
    pub plan: Plan,
}

impl Handover {
    /// The side that is demoted.
    pub fn demoted(&self) -> Side {
        if self.back { Side::Target } else { Side::Source }
    }

    /// Whether the promoted server moves to other ports.
    pub fn arrives(&self) -> bool {
        self.public != self.from
    }

    /// Whether the demoted server moves to other ports.
    pub fn leaves(&self) -> bool {
        self.home != self.aside
    }

    /// The run id that a side had when it began.
    pub fn run_id(&self, side: Side) -> &str {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

/// The journal of a pair, or of one server. Reading one that does not exist finds nothing; the file is made by the first record.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The journal of a pair in `dir`, by default `$XDG_STATE_HOME/redis-baton` or `~/.local/state/redis-baton`.
    pub fn of(dir: Option<&Path>, source: &Endpoint, target: &Endpoint) -> Result<Self> {
        Journal::named(dir, &format!("{}--{}", file_name(source), file_name(target)))
    }

    /// The journal of one server, in the same place.
    pub fn of_one(dir: Option<&Path>, server: &Endpoint) -> Result<Self> {
        Journal::named(dir, &file_name(server))
    }

    fn named(dir: Option<&Path>, name: &str) -> Result<Self> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => default_dir().ok_or_else(|| Error::input("journal_dir", "is needed: HOME is not set"))?,
        };
        Ok(Journal { path: dir.join(format!("{name}.jsonl")) })
    }

    /// Adds a record and returns when it is on disk.
    pub fn append(&self, record: &Record) -> Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            at: f64,
            #[serde(flatten)]
            record: &'a Record,
        }
        let at = unix_time();
        let write = || -> anyhow::Result<()> {
            if let Some(dir) = self.path.parent() {
                fs::create_dir_all(dir).context("its folder can't be made")?;
            }
            let mut line = serde_json::to_string(&Line { at, record })?;
            line.push('\n');
            let is_new = !self.path.exists();
            let mut file = OpenOptions::new().create(true).append(true).read(true).open(&self.path)?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            if whole < text.len() {
                // A crash cut the last line short: what it was about had not been sent.
                file.set_len(whole as u64)?;
            }
            file.write_all(line.as_bytes())?;
            file.sync_data()?;
            if let (true, Some(dir)) = (is_new, self.path.parent()) {
                File::open(dir)?.sync_all()?;
            }
            Ok(())
        };
        write().map_err(|e| {
            self.failed(format!("can't be written: {e:#}")).remedy("give a journal_dir that can be written")
        })
    }

    /// All records, oldest first. A last line that a crash cut short is passed over.
    pub fn records(&self) -> Result<Vec<Record>> {
        Ok(self.dated()?.into_iter().map(|dated| dated.record).collect())
    }

    /// The same, each with the time at which it was written.
    pub fn dated(&self) -> Result<Vec<Dated>> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.failed(format!("can't be read: {e}"))),
        };
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        text[..end]
            .split(|byte| *byte == b'\n')
            .enumerate()
            .map(|(n, line)| {
                serde_json::from_slice(line).map_err(|e| self.failed(format!("line {} can't be read: {e}", n + 1)))
            })
            .collect()
    }

    /// The parameters of a server that are raised now, in the order in which they were.
    pub fn raised(&self, server: &str) -> Result<Vec<Raised>> {
        let mut raised: Vec<Raised> = Vec::new();
        for record in self.records()? {
            match record {
                Record::Raised { run_id, parameter, original, value } if run_id == server => {
                    match raised.iter_mut().find(|known| known.parameter == parameter) {
                        Some(known) => known.values.push(value),
                        None => {
                            raised.push(Raised { run_ids: vec![run_id], parameter, original, values: vec![value] });
                        }
                    }
                }
                Record::Restored { run_id, parameter } if run_id == server => {
                    raised.retain(|known| known.parameter != parameter);
                }
                _ => {}
            }
        }
        Ok(raised)
    }

    /// Whether users were being carried to a server, and nothing says that this came to its end.
    pub fn carries_users(&self, server: &str) -> Result<bool> {
        let last = self.records()?.into_iter().rev().find_map(|record| match record {
            Record::CarryingUsers { run_id } if run_id == server => Some(true),
            Record::CarriedUsers { run_id } if run_id == server => Some(false),
            _ => None,
        });
        Ok(last == Some(true))
    }

    /// The last handover that was begun and not taken back.
    pub fn handover(&self) -> Result<Option<Handover>> {
        Ok(self.standing()?.0)
    }

    /// The same, and how many were ever begun, whatever became of them. Both of one reading: between two another controller
    /// may have begun one.
    pub fn standing(&self) -> Result<(Option<Handover>, usize)> {
        let (mut standing, mut begun) = (Vec::new(), 0);
        for record in self.records()? {
            match record {
                Record::Handover(handover) => {
                    standing.push(handover);
                    begun += 1;
                }
                Record::Undone => drop(standing.pop()),
                _ => {}
            }
        }
        Ok((standing.pop(), begun))
    }

    /// Notes that the last one was taken back, if it is this one, and of all that were begun the one of that number.
    pub fn note_undone(&self, handover: &Handover, number: usize) -> Result<()> {
        let (standing, begun) = self.standing()?;
        if standing.as_ref() == Some(handover) && begun == number { self.append(&Record::Undone) } else { Ok(()) }
    }

    /// The offset at which the server that the last handover was to demote has ended, if it is known.
    pub fn ended_at(&self) -> Result<Option<u64>> {
        let now = unix_time();
        let mut at = None;
        for record in self.records()? {
            match record {
                Record::Handover(_) | Record::Undone | Record::ServesOn => at = None,
                Record::Ended { offset, until } => at = Some(offset).filter(|_| until.is_none_or(|until| now < until)),
                _ => {}
            }
        }
        Ok(at)
    }

    /// Whether the server that the last handover was to promote is known to have been promoted.
    pub fn is_promoted(&self) -> Result<bool> {
        let last = self.records()?.into_iter().rev();
        let mut last = last.filter(|record| matches!(record, Record::Handover(_) | Record::Promoted | Record::Undone));
        Ok(matches!(last.next(), Some(Record::Promoted)))
    }

    /// Whether the operator has taken a server as it is.
    pub fn is_accepted(&self, server: &str) -> Result<bool> {
        Ok(self.records()?.iter().any(|record| matches!(record, Record::Accepted { run_id } if run_id == server)))
    }

    /// The last word on the warmth of the server that the last handover has demoted.
    pub fn warmth(&self) -> Result<Option<Record>> {
        let mut last = None;
        for record in self.records()? {
            match record {
                Record::Handover(_) | Record::Undone => last = None,
                Record::Warm { .. } | Record::Lossy { .. } => last = Some(record),
                _ => {}
            }
        }
        Ok(last)
    }

    /// Whether all that follows the last handover was done.
    pub fn is_settled(&self) -> Result<bool> {
        let last = self.records()?.into_iter().rev();
        let mut last = last.filter(|record| matches!(record, Record::Handover(_) | Record::Settled | Record::Undone));
        Ok(!matches!(last.next(), Some(Record::Handover(_))))
    }

    /// Where a switch of a server's persistence was begun and not ended: what was complete at last.
    pub fn persisting(&self, server: &str) -> Result<Option<String>> {
        let last = self.records()?.into_iter().rev().find_map(|record| match record {
            Record::Persisting { run_id, complete } if run_id == server => Some(Some(complete)),
            Record::Persisted { run_id } if run_id == server => Some(None),
            _ => None,
        });
        Ok(last.flatten())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, found: String) -> Error {
        Error::new(Code::JournalFailed, format!("the journal {} {found}", self.path.display()))
    }
}

/// An address as part of a file's name.
fn file_name(endpoint: &Endpoint) -> String {
    let name = endpoint.to_string();
    name.chars().map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' }).collect()
}

/// Seconds since 1970.
pub fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn default_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("redis-baton"))
}

#[cfg(test)]
mod tests;
