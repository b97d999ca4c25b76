//! `report`: what has happened to a pair, from what its calls have left behind. Asks no server.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde_json::{Map, Value};

use super::Call;
use crate::{
    chronicle::Chronicle,
    error::{Code, Error, Result},
    facts::{Facts, step_result},
    journal::Journal,
    report::{Account, account, metrics, page},
    run::Event,
};

step_result! {
    /// What `report` returns.
    pub struct Report {
        /// `nothing`, `following`, `failed`, `undone`, `interrupted`, `switched`, `rolled_back` or `retired`.
        pub outcome: String,
        /// The outcome in one sentence.
        pub sentence: String,
        /// Each call, oldest first.
        pub calls: Vec<Facts>,
        /// All of it, as in the JSON file.
        pub data: Facts,
    }
}

/// Which files are wished.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A page for people.
    pub html: Option<PathBuf>,
    /// All of it for machines.
    pub json: Option<PathBuf>,
    /// Metrics for the textfile collector of node_exporter.
    pub prometheus: Option<PathBuf>,
}

/// Tells what has happened.
pub async fn report(call: &Call, options: &Options) -> Result<Report> {
    call.run.emit(&Event::Step { step: "report" });
    let journal = Journal::of(call.journal_dir.as_deref(), &call.source, &call.target)?;
    let (records, lines) = (journal.dated()?, Chronicle::beside(&journal).lines()?);
    let account = account(&call.source.to_string(), &call.target.to_string(), &records, &lines);
    let data = fields(&account)?;
    let mut changed = false;
    for (option, path, text) in wished(options, &account)? {
        let is_file = fs::metadata(path).map_or(true, |about| about.is_file());
        if is_file && fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
            continue;
        }
        if !call.run.dry {
            let to = path.to_owned();
            // Whoever reads a pipe may let it wait.
            let writing =
                tokio::task::spawn_blocking(move || if is_file { write(&to, &text) } else { pass_on(&to, &text) });
            let written = call.run.interruptible(writing).await?;
            written.unwrap_or_else(|ended| Err(io::Error::other(ended))).map_err(|e| {
                Error::input(option, format!("{} can't be written: {e}", path.display()))
                    .remedy("give a path in a folder that exists and can be written")
            })?;
        }
        changed = true;
        call.run.mention(format!("write {}", path.display()));
    }
    let calls = data.get("calls").and_then(Value::as_array).into_iter().flatten();
    Ok(Report {
        outcome: account.outcome.as_str().to_owned(),
        sentence: account.sentence,
        calls: calls.filter_map(Value::as_object).cloned().map(Facts).collect(),
        data: Facts(data),
        changed,
        before: Facts::default(),
        after: Facts::default(),
        actions: call.run.actions(),
        warnings: call.run.warnings(),
        elapsed: call.run.elapsed(),
    })
}

fn wished<'a>(options: &'a Options, account: &Account) -> Result<Vec<(&'static str, &'a Path, String)>> {
    let mut files = Vec::new();
    if let Some(path) = &options.html {
        files.push(("html", &**path, page(account).map_err(not_made)?));
    }
    if let Some(path) = &options.json {
        files.push(("json", &**path, serde_json::to_string_pretty(account).map_err(not_made)? + "\n"));
    }
    if let Some(path) = &options.prometheus {
        files.push(("prometheus", &**path, metrics(account)));
    }
    Ok(files)
}

fn fields(account: &Account) -> Result<Map<String, Value>> {
    match serde_json::to_value(account).map_err(not_made)? {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

fn not_made(why: impl std::fmt::Display) -> Error {
    Error::new(Code::JournalFailed, format!("the report can't be made from it: {why:#}"))
}

/// Whoever reads it finds the old file or the new one, and never half of one. One that was there keeps its mode; a new one
/// may be read by all, as node_exporter has to.
fn write(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_owned();
    let mode = fs::metadata(path).map_or(0o644, |old| old.permissions().mode() & 0o777);
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// To a pipe, a terminal or a device there is only one way.
fn pass_on(path: &Path, text: &str) -> io::Result<()> {
    // A pipe that nobody reads would keep us in `open`.
    let at_once = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = fs::OpenOptions::new().write(true).custom_flags(at_once).open(path)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    file.write_all(text.as_bytes())
}
