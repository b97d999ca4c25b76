//! `persistence`: the server writes an RDB file, an AOF, both or neither, switched while it runs.
//!
//! What there was before stays on until the new way's file is complete and was checked, and the configuration file never
//! names a file that is not: see `decide::persistence`. Settings that end a way are made in one transaction with the
//! `CONFIG REWRITE` that says so, so a controller that dies can't leave the one without the other.

use std::{path::PathBuf, time::Duration};

use serde_json::json;

use super::{ServerCall, saving::Saving};
use crate::{
    decide::persistence::{Aof, AofWatch, AofWork, Mode, Plan, Present, STOP_WRITES, Wanted, plan},
    error::{Code, Error, Result, State},
    facts::{Facts, finish, step_result},
    journal::{Journal, Raised, Record},
    run::Deadline,
    server::{
        Command, Server,
        config::is_another,
        info::{Info, Replication},
    },
};

/// What is wished.
#[derive(Debug, Clone)]
pub struct Options {
    /// The files to write, and how.
    pub wanted: Wanted,
    /// Save that to the configuration file.
    pub rewrite: bool,
    /// How long writing the files may take.
    pub wait_timeout: Duration,
    /// Where the journal is kept; none for the default.
    pub journal_dir: Option<PathBuf>,
}

step_result! {
    /// What `persistence` returns.
    pub struct Persistence {
        /// What the server writes: `rdb`, `aof`, `both` or `none`.
        pub mode: String,
        /// What it wrote before.
        pub previous_mode: String,
        /// Its save points; empty without.
        pub save: String,
        /// When its AOF is told to be on disk: `always`, `everysec` or `no`.
        pub appendfsync: String,
        /// Whether the configuration file was rewritten, so that a restart keeps it.
        pub rewritten: bool,
        /// Whether the files themselves were looked at, besides what the server says of them.
        pub files_seen: bool,
        /// Bytes of the AOF; none without.
        pub aof_bytes: Option<u64>,
        /// Changes since the last RDB save: what a crash loses where there is no AOF.
        pub unsaved_changes: u64,
    }
}

/// Switches to the wished files, or leaves those there were on.
pub async fn persistence(call: &ServerCall, options: &Options) -> Result<Persistence> {
    let server = call.begin_alone("persistence").await?;
    let journal = Journal::of_one(options.journal_dir.as_deref(), &call.server)?;
    let (present, info) = look(&server, &journal).await?;
    let switch = Switch {
        server: &server,
        journal: &journal,
        options,
        saving: Saving::new(&server, &info, Deadline::after(options.wait_timeout)),
        begun: journal.persisting(&server.identity.run_id)?,
        raised: !server.raised(&journal)?.is_empty(),
        plan: plan(&present, &options.wanted, &server.identity),
        present: &present,
    };
    let rewritten = switch.carry_out(&info).await?;
    switch.warn(rewritten);
    let (after, info_after) = match call.run.dry {
        true => (switch.predicted(), info.clone()),
        false => switch.confirm().await?,
    };
    Ok(finish!(
        call.run,
        facts(&server, &info, &present),
        facts(&server, &info_after, &after),
        Persistence {
            mode: after.mode().as_str().to_owned(),
            previous_mode: present.mode().as_str().to_owned(),
            save: after.save.clone(),
            appendfsync: after.appendfsync.clone(),
            rewritten,
            files_seen: switch.saving.sees_files(),
            aof_bytes: info_after.number("aof_current_size").filter(|_| after.aof),
            unsaved_changes: info_after.number("rdb_changes_since_last_save").unwrap_or_default(),
        }
    ))
}

/// What the server has now. What a switch that did not end has lowered counts as it was before.
async fn look(server: &Server, journal: &Journal) -> Result<(Present, Info)> {
    if server.identity.mode == "sentinel" {
        return Err(Error::new(Code::SentinelMode, "is a sentinel, which keeps no data").at(server));
    }
    let info = server.info("default").await?;
    if info.flag("loading") || info.flag("async_loading") {
        return Err(Error::new(Code::Loading, "is loading its data set")
            .at(server)
            .remedy("wait until it has finished"));
    }
    let config = server.config(&["save", "appendonly", "appendfsync", STOP_WRITES]).await?;
    let value = |name| config.get(name).cloned().unwrap_or_default();
    let is_raised = |known: &Raised| known.parameter == "appendfsync" && !is_another(&value("appendfsync"), known);
    let raised = server.raised(journal)?.into_iter().find(is_raised);
    let present = Present {
        save: value("save"),
        aof: value("appendonly") == "yes",
        appendfsync: raised.and_then(|known| known.original).unwrap_or_else(|| value("appendfsync")),
        stop_writes: value(STOP_WRITES) == "yes",
        saved: info.get("rdb_last_bgsave_status") == Some("ok"),
        rewritten: info.get("aof_last_bgrewrite_status") == Some("ok"),
    };
    Ok((present, info))
}

fn facts(server: &Server, info: &Info, present: &Present) -> Facts {
    let mut facts = Facts::default();
    facts.insert("address", json!(server.endpoint.to_string()));
    facts.insert("version", json!(server.identity.title()));
    facts.insert("role", json!(Replication::from(info).role));
    facts.insert("mode", json!(present.mode().as_str()));
    facts.insert("save", json!(present.save));
    facts.insert("appendonly", json!(present.aof));
    facts.insert("appendfsync", json!(present.appendfsync));
    facts
}

/// One switch.
struct Switch<'a> {
    server: &'a Server,
    journal: &'a Journal,
    options: &'a Options,
    saving: Saving<'a>,
    present: &'a Present,
    plan: Plan,
    /// A switch that did not come to its end, with what was complete by then: the configuration file may say something
    /// else than the server does.
    begun: Option<String>,
    /// Whether that has left settings to restore.
    raised: bool,
}

impl Switch<'_> {
    /// Does what is to be done. Returns whether the configuration file was written.
    async fn carry_out(&self, info: &Info) -> Result<bool> {
        if self.plan.is_empty() && self.begun.is_none() && !self.raised {
            if self.present.aof {
                // It may have been turned on a moment ago by somebody else, and have nothing yet.
                self.saving.until_complete(self.watch()).await?;
            }
            return Ok(false);
        }
        if self.options.rewrite && self.server.identity.config_file.is_empty() {
            return Err(Error::new(Code::NoConfigFile, "has no configuration file, so a restart would not keep this")
                .at(self.server)
                .remedy("start it with one, or switch it for as long as it runs with rewrite=false"));
        }
        let sound = match self.begin(info).await {
            Ok(sound) => sound,
            Err(error) if self.half_begun() => return Err(self.taken_back(error, true).await),
            // Nothing was begun, so there is nothing to take back.
            Err(error) => return Err(error),
        };
        if let Err(error) = self.complete_the_new().await {
            let aof_is_new = self.plan.aof == AofWork::TurnOn || self.half_begun() && !sound;
            return Err(self.taken_back(error, aof_is_new).await);
        }
        self.settle().await
    }

    /// Sees that the configuration file can be written, before anything is done, and notes what is about to be. Returns
    /// whether everything that is on is complete, and so may stand in the file.
    async fn begin(&self, info: &Info) -> Result<bool> {
        let keeps_aof = self.present.aof && self.options.wanted.mode.aof();
        if keeps_aof {
            self.saving.until_complete(self.watch()).await?;
        }
        // An AOF that is not complete is not to get into the file.
        let sound = !self.present.aof || keeps_aof || self.watch().judge(info, Duration::ZERO) == Aof::Complete;
        if sound {
            self.note_complete(self.present.mode())?;
        }
        if sound && !self.plan.is_empty() {
            self.rewrite().await?;
        }
        Ok(sound)
    }

    fn watch(&self) -> AofWatch {
        AofWatch::new(self.present.rewritten, false)
    }

    /// Whether there is an AOF that a switch has turned on and not seen complete.
    fn half_begun(&self) -> bool {
        let complete = self.begun.as_deref();
        self.present.aof && complete.is_some_and(|mode| mode == Mode::Rdb.as_str() || mode == Mode::None.as_str())
    }

    /// Everything up to where something is turned off.
    async fn complete_the_new(&self) -> Result<()> {
        for (parameter, value, _) in &self.plan.meanwhile {
            self.server.raise(self.journal, parameter, value).await?;
        }
        if self.plan.save {
            self.saving.dump().await?;
        }
        match self.plan.aof {
            AofWork::Nothing => {}
            AofWork::TurnOn => {
                self.saving.turn_aof_on(self.present.rewritten).await?;
                self.note_complete(Mode::of(self.present.mode().rdb(), true))?;
            }
            AofWork::Rewrite => self.saving.rewrite_aof().await?,
        }
        self.restore().await?;
        if self.plan.aof == AofWork::TurnOn && self.plan.turns_off {
            self.rewrite().await?;
        }
        Ok(())
    }

    /// Puts back what was set for the time of the switch.
    async fn restore(&self) -> Result<()> {
        if self.server.run.dry {
            // Nothing was raised, so there is no record to go by.
            let commands =
                self.plan.meanwhile.iter().map(|(parameter, _, value)| Command::config_set(parameter, value));
            return self.server.change_all(&commands.collect::<Vec<_>>()).await;
        }
        self.server.restore(self.journal, Some(&["appendfsync"])).await?;
        if self.server.info("persistence").await?.get("rdb_last_bgsave_status") == Some("ok") {
            return self.server.restore(self.journal, Some(&[STOP_WRITES])).await;
        }
        if self.server.raised(self.journal)?.iter().any(|known| known.parameter == STOP_WRITES) {
            self.server.run.warn(format!(
                "{}: {STOP_WRITES} stays no until a save has succeeded: the server would refuse all writes",
                self.server
            ));
        }
        Ok(())
    }

    /// The settings that end the old way, together with the file that says so.
    async fn settle(&self) -> Result<bool> {
        let mut commands: Vec<_> =
            self.plan.settings.iter().map(|(name, value)| Command::config_set(name, value)).collect();
        if self.options.rewrite {
            commands.push(Command::new(["CONFIG", "REWRITE"]));
        }
        match commands.as_slice() {
            [] => {}
            [_] if self.options.rewrite => self.rewrite().await?,
            [command] => self.server.change(command).await?,
            commands => self.server.change_together(commands).await.map_err(|e| self.not_saved(e))?,
        }
        self.note_end()?;
        Ok(self.options.rewrite)
    }

    /// Makes all as it was before, with the AOF turned off again if it is the new one. An end of our own waiting is no
    /// reason to.
    async fn taken_back(&self, error: Error, aof_is_new: bool) -> Error {
        if [Code::Cancelled, Code::ConnectionLost, Code::SaveTimedOut].contains(&error.code) {
            return error;
        }
        let _shield = self.server.run.shield();
        let back = async {
            if aof_is_new && self.server.info("persistence").await?.flag("aof_enabled") {
                self.server.change(&Command::config_set("appendonly", "no")).await?;
            }
            self.restore().await?;
            // What an earlier switch has left in the file is still to be put right.
            if self.begun.is_none() || aof_is_new { self.note_end() } else { Ok(()) }
        };
        match back.await {
            Ok(()) => error.state(State::Undone),
            Err(more) => {
                let found = format!("{}; to take it back failed: {}", error.found, more.found);
                Error { found, ..error }.state(State::Interrupted)
            }
        }
    }

    async fn rewrite(&self) -> Result<()> {
        if !self.options.rewrite {
            return Ok(());
        }
        self.server.change(&Command::new(["CONFIG", "REWRITE"])).await.map_err(|e| self.not_saved(e))
    }

    fn not_saved(&self, error: Error) -> Error {
        match error.code {
            Code::CommandFailed => Error { code: Code::NotSaved, ..error }
                .remedy("let the server write the file and its folder, then run again; or give rewrite=false"),
            _ => error,
        }
    }

    /// Notes what is complete, before it gets into the configuration file.
    fn note_complete(&self, mode: Mode) -> Result<()> {
        let run_id = self.server.identity.run_id.clone();
        self.note(&Record::Persisting { run_id, complete: mode.as_str().to_owned() })
    }

    fn note_end(&self) -> Result<()> {
        self.note(&Record::Persisted { run_id: self.server.identity.run_id.clone() })
    }

    fn note(&self, record: &Record) -> Result<()> {
        if self.server.run.dry { Ok(()) } else { self.journal.append(record) }
    }

    fn warn(&self, rewritten: bool) {
        let run = &self.server.run;
        if self.options.wanted.mode == Mode::None {
            run.warn(format!(
                "{}: nothing is written to disk from now on: a restart comes back empty, or with the last RDB file \
                 there is, however old",
                self.server
            ));
        }
        if self.options.wanted.mode.aof() && self.present.aof && !self.present.rewritten {
            run.warn(format!("{}: the last rewrite of its AOF had failed", self.server));
        }
        if !rewritten && !self.plan.is_empty() {
            run.warn(format!(
                "{}: its configuration file still says what it said: a restart loads what that names",
                self.server
            ));
        }
    }

    /// What would be.
    fn predicted(&self) -> Present {
        let wanted = &self.options.wanted;
        Present {
            save: wanted.save_on(self.present, &self.server.identity),
            aof: wanted.mode.aof(),
            appendfsync: wanted.appendfsync.clone().unwrap_or_else(|| self.present.appendfsync.clone()),
            ..self.present.clone()
        }
    }

    /// Reads it back.
    async fn confirm(&self) -> Result<(Present, Info)> {
        let (seen, info) = look(self.server, self.journal).await?;
        let wanted = self.predicted();
        let same = |present: &Present| (present.save.clone(), present.aof, present.appendfsync.clone());
        if same(&seen) == same(&wanted) {
            return Ok((seen, info));
        }
        let found = format!("has the mode {} and not {}", seen.mode().as_str(), wanted.mode().as_str());
        Err(Error::new(Code::NotConfirmed, found).at(self.server).state(State::Interrupted))
    }
}
