//! An RDB save or a rewrite of the AOF: begun, watched to its end, and checked.

use std::time::{Duration, Instant};

use crate::{
    decide::persistence::{Aof, AofWatch, is_writing},
    error::{Code, Error, Result, State},
    run::{Deadline, Event},
    server::{
        Command, Server, elements,
        files::{Files, Stamp, named_in_manifest},
        info::Info,
        text,
    },
};

/// The longest pause between two looks.
const SLOWEST_LOOK: Duration = Duration::from_millis(200);

/// How often files are looked at before they count as missing: a rewrite may replace them while we look.
const LOOKS: u32 = 3;

/// What watches them.
pub(super) struct Saving<'a> {
    server: &'a Server,
    deadline: Deadline,
    /// The files themselves, where they can be looked at.
    files: Option<Files>,
}

impl<'a> Saving<'a> {
    /// All of it has to end by `deadline`.
    pub(super) fn new(server: &'a Server, info: &Info, deadline: Deadline) -> Self {
        Saving { server, deadline, files: Files::of(server, info) }
    }

    /// Whether the files themselves are looked at.
    pub(super) fn sees_files(&self) -> bool {
        self.files.is_some()
    }

    /// Writes a dump that has all that was written before this call.
    pub(super) async fn dump(&self) -> Result<()> {
        let command = Command::new(["BGSAVE"]);
        if self.server.run.dry {
            return self.server.change(&command).await;
        }
        let path = self.dump_path().await?;
        let earlier = self.stamp(&path)?;
        let last_save = loop {
            let last_save = self.until_free().await?;
            match self.server.ask(&command).await? {
                Ok(_) => break last_save,
                // Another one has begun since.
                Err(said) if ["in progress", "active"].iter().any(|word| said.text.contains(word)) => {}
                Err(said) => return Err(self.refused(&command, &said)),
            }
        };
        self.server.run.action(format!("{}: {command}", self.server));
        let mut looks = Looks::new("rdb");
        loop {
            let info = self.server.info("persistence").await?;
            if !info.flag("rdb_bgsave_in_progress") {
                // A save that was killed is no failed one to the server.
                let ok = info.get("rdb_last_bgsave_status") == Some("ok") && saved_at(&info) > last_save;
                return if ok { self.check_dump(&path, earlier) } else { Err(self.failed("its RDB file")) };
            }
            self.wait(&mut looks, &info, "writing").await?;
        }
    }

    /// Turns the AOF on, and waits until it has everything.
    pub(super) async fn turn_aof_on(&self, rewritten: bool) -> Result<()> {
        self.begin_aof(&Command::config_set("appendonly", "yes"), AofWatch::new(rewritten, false)).await
    }

    /// Rewrites the AOF that there is.
    pub(super) async fn rewrite_aof(&self) -> Result<()> {
        self.begin_aof(&Command::new(["BGREWRITEAOF"]), AofWatch::new(false, true)).await
    }

    async fn begin_aof(&self, command: &Command, watch: AofWatch) -> Result<()> {
        match self.server.change(command).await {
            Err(error) if error.code == Code::CommandFailed => {
                Err(Error { code: Code::SaveFailed, ..error }.remedy(LOG))
            }
            Ok(()) if !self.server.run.dry => self.until_complete(watch).await,
            other => other,
        }
    }

    /// Waits until the AOF has everything; a dry run looks once.
    pub(super) async fn until_complete(&self, mut watch: AofWatch) -> Result<()> {
        let mut looks = Looks::new("aof");
        let mut idle_since = Instant::now();
        loop {
            let info = self.server.info("persistence").await?;
            if is_writing(&info) {
                idle_since = Instant::now();
            }
            match watch.judge(&info, idle_since.elapsed()) {
                Aof::Complete => return self.check_aof().await,
                Aof::Failed => return Err(self.failed("its AOF")),
                Aof::Busy if self.server.run.dry => return Ok(()),
                Aof::Busy => {}
            }
            let stage = if info.flag("aof_rewrite_in_progress") { "writing" } else { "waiting" };
            self.wait(&mut looks, &info, stage).await?;
        }
    }

    /// Waits until a save can begin whose end can be told from the one before: times are whole seconds. Returns when the
    /// last one ended.
    async fn until_free(&self) -> Result<u64> {
        let mut looks = Looks::new("rdb");
        loop {
            let info = self.server.info("persistence").await?;
            if !is_writing(&info) && self.clock().await? > saved_at(&info) {
                return Ok(saved_at(&info));
            }
            self.wait(&mut looks, &info, "waiting").await?;
        }
    }

    /// The server's clock, in whole seconds.
    async fn clock(&self) -> Result<u64> {
        let time = elements(self.server.read(&Command::new(["TIME"])).await?);
        Ok(time.first().map(text).transpose()?.and_then(|seconds| seconds.parse().ok()).unwrap_or_default())
    }

    async fn wait(&self, looks: &mut Looks, info: &Info, stage: &'static str) -> Result<()> {
        self.server.run.emit(&looks.event(info, stage));
        if self.deadline.passed() {
            let seconds = self.deadline.given.as_secs_f64();
            let found = format!("has not finished writing its {} file after {seconds} seconds", looks.file);
            return Err(Error::new(Code::SaveTimedOut, found)
                .at(self.server)
                .remedy("it goes on, and what there was before is still on: run again to wait on")
                .state(State::Interrupted));
        }
        self.server.run.sleep(looks.pause()).await
    }

    async fn dump_path(&self) -> Result<String> {
        let found = self.server.config(&["dir", "dbfilename"]).await?;
        let part = |name| found.get(name).map(String::as_str).unwrap_or_default();
        Ok(format!("{}/{}", part("dir"), part("dbfilename")))
    }

    /// The state of a file, where it can be looked at.
    fn stamp(&self, path: &str) -> Result<Option<Stamp>> {
        // What may not be looked at is no failure.
        Ok(self.files.as_ref().and_then(|files| files.stamp(path).ok()).flatten())
    }

    fn check_dump(&self, path: &str, earlier: Option<Stamp>) -> Result<()> {
        let Some(Ok(now)) = self.files.as_ref().map(|files| files.stamp(path)) else { return Ok(()) };
        match now {
            Some(now) if now.length > 0 && Some(now) != earlier => Ok(()),
            _ => Err(self.failed(&format!("a new {path}, though it says that it has saved"))),
        }
    }

    /// Looks at the files of the AOF: all that a restart would load are there, with as many bytes as the server says.
    async fn check_aof(&self) -> Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        let found = self.server.config(&["dir", "appenddirname", "appendfilename"]).await?;
        let part = |name| found.get(name).map(String::as_str).unwrap_or_default();
        let mut looks = LOOKS;
        loop {
            let wanted = self.server.info("persistence").await?.number("aof_base_size").unwrap_or_default();
            let length = match found.get("appenddirname") {
                Some(folder) => parts_length(files, &format!("{}/{folder}", part("dir")), part("appendfilename")),
                None => length(files, &format!("{}/{}", part("dir"), part("appendfilename"))),
            };
            looks -= 1;
            match length {
                Length::Unknown => return Ok(()),
                Length::Bytes(bytes) if bytes >= wanted => return Ok(()),
                _ if looks > 0 => self.server.run.sleep(SLOWEST_LOOK).await?,
                Length::Bytes(bytes) => {
                    return Err(self.failed(&format!("its AOF: its files have {bytes} bytes, and not {wanted}")));
                }
                Length::Missing(path) => {
                    return Err(
                        self.failed(&format!("its AOF: {path} is not there, though it says that it is complete"))
                    );
                }
            }
        }
    }

    fn refused(&self, command: &Command, said: &crate::server::Said) -> Error {
        let error = self.server.refused(command, said);
        match error.code {
            Code::CommandFailed => Error { code: Code::SaveFailed, ..error }.remedy(LOG),
            _ => error,
        }
    }

    fn failed(&self, what: &str) -> Error {
        Error::new(Code::SaveFailed, format!("could not write {what}")).at(self.server).remedy(LOG)
    }
}

const LOG: &str = "its log says why: a full disk, a folder that it may not write to, too little memory for a fork";

fn saved_at(info: &Info) -> u64 {
    info.number("rdb_last_save_time").unwrap_or_default()
}

/// How many bytes files have.
enum Length {
    Bytes(u64),
    Missing(String),
    /// They may not be looked at.
    Unknown,
}

fn length(files: &Files, path: &str) -> Length {
    match files.stamp(path) {
        Ok(Some(stamp)) => Length::Bytes(stamp.length),
        Ok(None) => Length::Missing(path.to_owned()),
        Err(_) => Length::Unknown,
    }
}

/// Of a multi-part AOF (7.0): what its manifest names.
fn parts_length(files: &Files, folder: &str, name: &str) -> Length {
    let manifest = format!("{folder}/{name}.manifest");
    if let missing @ Length::Missing(_) = length(files, &manifest) {
        return missing;
    }
    let Ok(text) = files.read(&manifest) else { return Length::Unknown };
    let Some(named) = named_in_manifest(&text) else { return Length::Unknown };
    let mut sum = 0;
    for name in named {
        match length(files, &format!("{folder}/{name}")) {
            Length::Bytes(bytes) => sum += bytes,
            other => return other,
        }
    }
    Length::Bytes(sum)
}

/// The looks at one file that is being written.
struct Looks {
    file: &'static str,
    pause: Duration,
    /// When it was first seen to have keys, and how many.
    first: Option<(Instant, u64)>,
}

impl Looks {
    fn new(file: &'static str) -> Self {
        Looks { file, pause: Duration::from_millis(5), first: None }
    }

    fn pause(&mut self) -> Duration {
        self.pause = (self.pause * 2).min(SLOWEST_LOOK);
        self.pause
    }

    fn event(&mut self, info: &Info, stage: &'static str) -> Event {
        let writing = |name| info.number(name).filter(|_| stage == "writing");
        let keys = writing("current_save_keys_processed");
        let total = writing("current_save_keys_total").filter(|total| *total > 0);
        let rate = keys.filter(|keys| *keys > 0).and_then(|keys| {
            let (since, first) = *self.first.get_or_insert_with(|| (Instant::now(), keys));
            let seconds = since.elapsed().as_secs_f64();
            (seconds > 0.0).then(|| (keys.saturating_sub(first) as f64 / seconds) as u64).filter(|rate| *rate > 0)
        });
        let left =
            total.zip(keys).zip(rate).map(|((total, keys), rate)| total.saturating_sub(keys) as f64 / rate as f64);
        Event::Saving {
            file: self.file,
            stage,
            keys,
            total,
            copied_bytes: writing("current_cow_size"),
            rate,
            seconds_left: left,
        }
    }
}
