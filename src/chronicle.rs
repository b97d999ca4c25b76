//! What the calls of an upgrade leave behind for whoever wants to know afterwards: JSON lines beside the pair's journal.
//!
//! No step reads it, and nothing depends on it: lines are appended whole, but not forced to the disk, and a call that can't
//! write them goes on without. A call without an `end` was killed, or runs still. It sees what callbacks see, so there
//! are no secrets in it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    endpoint::Endpoint,
    error::{Code, Error, Result},
    journal::{Journal, unix_time},
    mutex::lock,
    run::{Event, Run},
};

/// One line of a chronicle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Seconds since 1970.
    pub time: f64,
    /// The call it is of: its run's token.
    pub call: String,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Entry {
    /// A call begins.
    Begin(Begin),
    /// Something happens.
    Event {
        /// A [`crate::run::Event`], as callbacks get it.
        event: Value,
    },
    /// The call ends.
    End(End),
}

/// Who called what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The step, or `guard`.
    pub step: String,
    /// Of redis-baton.
    pub version: String,
    /// The source's address, as it was given.
    pub source: String,
    /// The target's.
    pub target: String,
    /// The name of the host it ran on.
    pub controller: String,
    /// Its process.
    pub pid: u32,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum End {
    /// It did what it was to do.
    Done {
        /// What it returned.
        result: Value,
    },
    /// It did not.
    Failed {
        /// Why.
        error: Failure,
    },
}

/// An error, as it was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable reason.
    pub code: String,
    /// The server it is about.
    pub server: Option<String>,
    /// What was found.
    pub found: String,
    /// What to do next; may be empty.
    pub remedy: String,
    /// `unchanged`, `undone` or `interrupted`.
    pub state: String,
    /// All of it in one sentence.
    pub message: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Failure {
            code: error.code.as_str().to_owned(),
            server: error.server.clone(),
            found: error.found.clone(),
            remedy: error.remedy.clone(),
            state: error.state.as_str().to_owned(),
            message: error.to_string(),
        }
    }
}

/// The chronicle of a pair.
#[derive(Debug, Clone)]
pub struct Chronicle {
    path: PathBuf,
}

impl Chronicle {
    /// The one beside this journal.
    pub fn beside(journal: &Journal) -> Self {
        Chronicle { path: journal.path().with_extension("chronicle.jsonl") }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All lines, oldest first. What a crash has cut short is passed over. One that does not exist has none.
    pub fn lines(&self) -> Result<Vec<Line>> {
        match fs::read(&self.path) {
            Ok(text) => {
                Ok(text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Error::new(
                Code::JournalFailed,
                format!("the chronicle {} can't be read: {e}", self.path.display()),
            )),
        }
    }

    fn open(&self) -> io::Result<File> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&self.path)?;
        // What a crash has cut short is not to spoil the next line.
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
        Ok(file)
    }
}

/// Writes down what one call does. The call begins when it tells of its first step: one that was refused for its arguments
/// leaves nothing behind.
pub struct Scribe {
    chronicle: Chronicle,
    source: String,
    target: String,
    page: Mutex<Page>,
}

enum Page {
    Blank,
    Open {
        file: File,
        call: String,
    },
    /// It could not be written, which was said once.
    Lost,
}

impl Scribe {
    /// Of a call on these two.
    pub fn new(chronicle: Chronicle, source: &Endpoint, target: &Endpoint) -> Self {
        Scribe { chronicle, source: source.to_string(), target: target.to_string(), page: Mutex::new(Page::Blank) }
    }

    /// Writes an event down. Where that fails, the operator is told, once.
    pub fn note(&self, run: &Run, event: &Event) {
        if let Err(e) = self.try_to_note(run.token(), event) {
            let path = self.chronicle.path.display();
            run.warn(format!("the chronicle {path} can't be written, so a report will lack this call: {e}"));
        }
    }

    fn try_to_note(&self, token: &str, event: &Event) -> io::Result<()> {
        let mut page = lock(&self.page);
        if let (Page::Blank, Event::Step { step }) = (&*page, event) {
            // Until it is open it counts as lost.
            *page = Page::Lost;
            *page = Page::Open { file: self.chronicle.open()?, call: token.to_owned() };
            write(&mut page, self.begin(step))?;
        }
        write(&mut page, Entry::Event { event: serde_json::to_value(event)? })
    }

    /// Writes down how the call has ended. Where that fails, nobody is left to be told.
    pub fn end(&self, end: End) {
        let _ = write(&mut lock(&self.page), Entry::End(end));
    }

    fn begin(&self, step: &str) -> Entry {
        Entry::Begin(Begin {
            step: step.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            source: self.source.clone(),
            target: self.target.clone(),
            controller: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
        })
    }
}

/// Among other calls' a line stays whole: it is one write at the end of the file.
fn write(page: &mut Page, entry: Entry) -> io::Result<()> {
    let Page::Open { file, call } = page else { return Ok(()) };
    let mut line = serde_json::to_vec(&Line { time: unix_time(), call: call.clone(), entry })?;
    line.push(b'\n');
    let written = file.write_all(&line);
    if written.is_err() {
        *page = Page::Lost;
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch(name: &str) -> Chronicle {
        let dir = std::env::temp_dir().join(format!("redis-baton-chronicle-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Chronicle::beside(&Journal::of(Some(&dir), &Endpoint::default(), &target()).unwrap())
    }

    fn target() -> Endpoint {
        Endpoint { password: Some("hunter2".into()), ..Endpoint::default().with_port(7000) }
    }

    fn begun(chronicle: &Chronicle) -> (Scribe, Run) {
        let (scribe, run) =
            (Scribe::new(chronicle.clone(), &Endpoint::default(), &target()), Run::new(false, |_, _| {}));
        scribe.note(&run, &Event::Step { step: "upgrade" });
        (scribe, run)
    }

    #[test]
    fn a_call_is_read_as_it_was_written() {
        let chronicle = scratch("read");
        let (scribe, run) = begun(&chronicle);
        scribe.note(&run, &Event::Step { step: "preflight" });
        let error = Error::new(Code::Locked, "is locked").at("source 127.0.0.1:6379");
        scribe.end(End::Failed { error: Failure::from(&error) });
        let lines = chronicle.lines().unwrap();
        let [begin, _, event, end] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(
            matches!(&begin.entry, Entry::Begin(begin) if (&*begin.step, &*begin.target) == ("upgrade", "127.0.0.1:7000"))
        );
        assert_eq!(event.entry, Entry::Event { event: serde_json::json!({"event": "step", "step": "preflight"}) });
        assert!(matches!(&end.entry, Entry::End(End::Failed { error }) if error.code == "locked"));
        assert!(lines.iter().all(|line| line.call == run.token()));
        let mode = fs::metadata(chronicle.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_line_cut_short_spoils_no_other() {
        let chronicle = scratch("cut");
        let _ = begun(&chronicle);
        let mut file = OpenOptions::new().append(true).open(chronicle.path()).unwrap();
        file.write_all(b"{\"time\":1,\"call\":\"a\",\"li").unwrap();
        assert_eq!(chronicle.lines().unwrap().len(), 2);
        let (scribe, _) = begun(&chronicle);
        scribe.end(End::Done { result: serde_json::json!({"equal": true}) });
        assert_eq!(chronicle.lines().unwrap().len(), 5);
    }

    #[test]
    fn what_can_t_be_written_is_told_once() {
        let chronicle = scratch("lost");
        fs::write(chronicle.path().parent().unwrap(), "a file where the folder is to be").unwrap();
        let (scribe, run) = begun(&chronicle);
        scribe.note(&run, &Event::Step { step: "verify" });
        assert!(matches!(run.warnings().as_slice(), [said] if said.contains("can't be written")));
    }

    #[test]
    fn a_call_that_never_began_leaves_nothing() {
        let chronicle = scratch("none");
        let scribe = Scribe::new(chronicle.clone(), &Endpoint::default(), &target());
        scribe.end(End::Done { result: Value::Null });
        assert!(!chronicle.path().exists() && chronicle.lines().unwrap().is_empty());
    }
}
