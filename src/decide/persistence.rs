//! How data gets to the disk, and in what order that is switched: facts in, a plan or a verdict out.
//!
//! The order holds two things at every moment, so that a crash of the server after any command loses no more than one
//! before the switch would have: a way is turned off only when the other one has its file complete, and the
//! configuration file never tells a restart to load a file that is not complete.

use std::time::Duration;

use crate::{
    error::{Error, Result},
    server::info::{Identity, Info, Version},
};

/// Which files a server writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Save points: a dump now and then.
    Rdb,
    /// Every write, in an append-only file.
    Aof,
    /// Both; a restart loads the AOF.
    Both,
    /// Neither.
    None,
}

impl Mode {
    /// All there are.
    pub const ALL: [Mode; 4] = [Mode::Rdb, Mode::Aof, Mode::Both, Mode::None];

    /// Reads the word for it.
    pub fn parse(word: &str) -> Result<Self> {
        Mode::ALL
            .into_iter()
            .find(|mode| mode.as_str() == word)
            .ok_or_else(|| Error::input("mode", format!("{word:?} is none of rdb, aof, both, none")))
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Rdb => "rdb",
            Mode::Aof => "aof",
            Mode::Both => "both",
            Mode::None => "none",
        }
    }

    /// The one with these two.
    pub fn of(rdb: bool, aof: bool) -> Self {
        match (rdb, aof) {
            (true, true) => Mode::Both,
            (true, false) => Mode::Rdb,
            (false, true) => Mode::Aof,
            (false, false) => Mode::None,
        }
    }

    /// Whether there are save points.
    pub fn rdb(self) -> bool {
        matches!(self, Mode::Rdb | Mode::Both)
    }

    /// Whether there is an AOF.
    pub fn aof(self) -> bool {
        matches!(self, Mode::Aof | Mode::Both)
    }
}

/// Save points as a server prints them: `3600 1 300 100`.
pub fn save_points(text: &str) -> Result<String> {
    let wrong = || Error::input("save", format!("{text:?} is no list of save points such as \"3600 1 300 100\""));
    // What a C int and a positive time hold on every server.
    let numbers: Vec<i32> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let good = |pair: &[i32]| pair.len() == 2 && pair[0] >= 1 && pair[1] >= 0;
    if numbers.is_empty() || !numbers.chunks(2).all(good) {
        return Err(wrong());
    }
    Ok(numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(" "))
}

/// The save points a server of this version has when nothing else is said.
fn default_save_points(identity: &Identity) -> &'static str {
    if identity.has_redis(Version(7, 0, 0)) { "3600 1 300 100 60 10000" } else { "900 1 300 10 60 10000" }
}

/// What is on a server, and how it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Save points; empty without.
    pub save: String,
    /// Whether there is an AOF, complete or not.
    pub aof: bool,
    /// When the AOF is told to be on disk: `always`, `everysec` or `no`.
    pub appendfsync: String,
    /// Whether writes are refused while saving fails.
    pub stop_writes: bool,
    /// Whether the last RDB save succeeded.
    pub saved: bool,
    /// Whether the last rewrite of the AOF succeeded.
    pub rewritten: bool,
}

impl Present {
    /// The files it writes.
    pub fn mode(&self) -> Mode {
        Mode::of(!self.save.is_empty(), self.aof)
    }
}

/// What is wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The files to write.
    pub mode: Mode,
    /// Save points; none for those there are, or else the version's own.
    pub save: Option<String>,
    /// `appendfsync`; none to leave it.
    pub appendfsync: Option<String>,
}

impl Wanted {
    /// Reads what a caller wishes.
    pub fn parse(mode: &str, save: Option<&str>, appendfsync: Option<&str>) -> Result<Self> {
        let mode = Mode::parse(mode)?;
        if save.is_some() && !mode.rdb() {
            return Err(Error::input("save", format!("there are no save points with the mode {}", mode.as_str())));
        }
        if let Some(wish) = appendfsync {
            if !mode.aof() {
                return Err(Error::input("appendfsync", format!("there is no AOF with the mode {}", mode.as_str())));
            }
            if !["always", "everysec", "no"].contains(&wish) {
                return Err(Error::input("appendfsync", format!("{wish:?} is none of always, everysec, no")));
            }
        }
        Ok(Wanted { mode, save: save.map(save_points).transpose()?, appendfsync: appendfsync.map(str::to_owned) })
    }

    /// The save points to have on a server with these.
    pub fn save_on(&self, present: &Present, identity: &Identity) -> String {
        match &self.save {
            _ if !self.mode.rdb() => String::new(),
            Some(save) => save.clone(),
            None if present.save.is_empty() => default_save_points(identity).to_owned(),
            None => present.save.clone(),
        }
    }
}

/// What to do about the AOF before anything is turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AofWork {
    /// Nothing.
    Nothing,
    /// Turn it on: a rewrite follows.
    TurnOn,
    /// Rewrite it anew: it is about to be all there is, and its last rewrite has failed.
    Rewrite,
}

/// With this set, a server with save points refuses writes when a save has failed.
pub const STOP_WRITES: &str = "stop-writes-on-bgsave-error";

/// What has to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is set until the new files are complete: the parameter and its value, and what it has.
    pub meanwhile: Vec<(&'static str, &'static str, &'static str)>,
    /// Write a fresh dump.
    pub save: bool,
    /// The work on the AOF.
    pub aof: AofWork,
    /// What is set at the end, together.
    pub settings: Vec<(&'static str, String)>,
    /// Whether one of these turns a way off.
    pub turns_off: bool,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        !self.save && self.aof == AofWork::Nothing && self.settings.is_empty()
    }
}

/// The way from one to the other.
///
/// New save points come last, after a save that succeeded: with save points a server that fails to save refuses writes.
pub fn plan(present: &Present, wanted: &Wanted, identity: &Identity) -> Plan {
    let save = wanted.save_on(present, identity);
    let (from, to) = (present.mode(), wanted.mode);
    let (drops_rdb, drops_aof) = (from.rdb() && !to.rdb(), from.aof() && !to.aof());
    let mut settings = Vec::new();
    if present.save != save {
        settings.push(("save", save));
    }
    if let Some(wish) = wanted.appendfsync.as_ref().filter(|wish| **wish != present.appendfsync) {
        settings.push(("appendfsync", wish.clone()));
    }
    if drops_aof {
        settings.push(("appendonly", "no".to_owned()));
    }
    let save = to.rdb() && (!from.rdb() || drops_aof || !present.saved);
    let aof = match () {
        () if to.aof() && !from.aof() => AofWork::TurnOn,
        () if to == Mode::Aof && drops_rdb && !present.rewritten => AofWork::Rewrite,
        () => AofWork::Nothing,
    };
    let mut meanwhile = Vec::new();
    if save && from == Mode::Both && present.stop_writes {
        // A save that fails is no reason to refuse writes: they are in the AOF.
        meanwhile.push((STOP_WRITES, "no", "yes"));
    }
    if aof == AofWork::TurnOn && present.appendfsync == "always" {
        // With `always` a server that can't write its AOF ends. Nobody would load it before it is complete.
        meanwhile.push(("appendfsync", "everysec", "always"));
    }
    Plan { meanwhile, save, aof, settings, turns_off: drops_rdb || drops_aof }
}

/// How long a rewrite that can't begin may be scheduled while nothing else runs, after one has failed before we came.
const STUCK: Duration = Duration::from_secs(5);

/// How the AOF stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aof {
    /// It has everything, and is being written.
    Complete,
    /// A rewrite runs, or waits for another process that writes a file.
    Busy,
    /// The rewrite has failed, or writing to it fails.
    Failed,
}

/// Watches an AOF until it is complete or has failed.
#[derive(Debug, Clone, Copy)]
pub struct AofWatch {
    /// Whether a failed rewrite is one from before we came: all that the server remembers is how the last one ended.
    old_failure: bool,
    /// Whether a new rewrite has to succeed. Otherwise an AOF that is being written will do.
    anew: bool,
}

impl AofWatch {
    /// Begins, with what the server said of the last rewrite before the one to come.
    pub fn new(rewritten: bool, anew: bool) -> Self {
        AofWatch { old_failure: !rewritten, anew }
    }

    /// One look; `idle` is how long nothing has been seen to run.
    ///
    /// An AOF that was just turned on counts as enabled before it has anything. But a rewrite is in progress or
    /// scheduled then, until one succeeds.
    pub fn judge(&mut self, info: &Info, idle: Duration) -> Aof {
        if info.get("aof_last_write_status") == Some("err") {
            return Aof::Failed;
        }
        if info.flag("aof_rewrite_in_progress") {
            self.old_failure = false;
            return Aof::Busy;
        }
        let failed = info.get("aof_last_bgrewrite_status") == Some("err");
        let waits = info.flag("aof_rewrite_scheduled");
        if failed && (!self.old_failure || (waits || self.anew) && idle >= STUCK) {
            return Aof::Failed;
        }
        let pending = info.number("aof_pending_bio_fsync").is_some_and(|fsyncs| fsyncs > 0);
        if waits || pending || failed && self.anew || !info.flag("aof_enabled") { Aof::Busy } else { Aof::Complete }
    }
}

/// Whether a process that writes a file runs. One that is only scheduled may fail to begin for ever, and is no obstacle.
pub fn is_writing(info: &Info) -> bool {
    info.flag("rdb_bgsave_in_progress") || info.flag("aof_rewrite_in_progress")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn present(mode: Mode) -> Present {
        Present {
            save: if mode.rdb() { "3600 1".into() } else { String::new() },
            aof: mode.aof(),
            appendfsync: "everysec".into(),
            stop_writes: true,
            saved: true,
            rewritten: true,
        }
    }

    fn wanted(mode: Mode) -> Wanted {
        Wanted { mode, save: None, appendfsync: None }
    }

    fn plan_of(present: &Present, wanted: &Wanted) -> Plan {
        plan(present, wanted, &Identity::default())
    }

    fn sets(plan: &Plan, name: &str) -> bool {
        plan.settings.iter().any(|(parameter, _)| *parameter == name)
    }

    #[test]
    fn each_switch_turns_off_only_what_the_new_way_replaces() {
        for from in Mode::ALL {
            for to in Mode::ALL {
                let plan = plan_of(&present(from), &wanted(to));
                assert_eq!(plan.is_empty(), from == to, "{from:?} to {to:?}");
                assert_eq!(plan.aof == AofWork::TurnOn, to.aof() && !from.aof(), "{from:?} to {to:?}");
                assert_eq!(sets(&plan, "appendonly"), from.aof() && !to.aof(), "{from:?} to {to:?}");
                assert_eq!(plan.turns_off, from.rdb() && !to.rdb() || from.aof() && !to.aof(), "{from:?} to {to:?}");
                // Without an AOF a dump is all there is; with save points there is to be one.
                assert!(!(from.aof() && to == Mode::Rdb) || plan.save, "{from:?} to {to:?}");
                assert!(!to.rdb() || from.rdb() || plan.save, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn what_has_failed_is_done_anew_before_it_is_relied_on() {
        let failing = Present { saved: false, rewritten: false, ..present(Mode::Both) };
        assert_eq!(plan_of(&failing, &wanted(Mode::Aof)).aof, AofWork::Rewrite);
        assert!(plan_of(&failing, &wanted(Mode::Both)).save);
        assert!(!plan_of(&failing, &wanted(Mode::None)).save);
    }

    #[test]
    fn a_failing_disk_neither_ends_the_server_nor_stops_writes() {
        let always = |mode| Present { appendfsync: "always".into(), ..present(mode) };
        let lowered = |from, to| plan_of(&always(from), &wanted(to)).meanwhile;
        assert_eq!(lowered(Mode::Rdb, Mode::Aof), [("appendfsync", "everysec", "always")]);
        assert_eq!(lowered(Mode::Both, Mode::Rdb), [(STOP_WRITES, "no", "yes")]);
        // Without save points a server never refuses writes for a save, and an AOF that is on is what it is.
        assert_eq!(lowered(Mode::Aof, Mode::Rdb), []);
        assert_eq!(lowered(Mode::Both, Mode::Aof), []);
    }

    #[test]
    fn settings_alone_write_no_file() {
        let wish = Wanted { save: Some("60 1".into()), appendfsync: Some("always".into()), ..wanted(Mode::Both) };
        let plan = plan_of(&present(Mode::Both), &wish);
        assert_eq!(plan.settings, [("save", "60 1".into()), ("appendfsync", "always".into())]);
        assert!(!plan.save && plan.aof == AofWork::Nothing && !plan.turns_off);
    }

    #[test]
    fn an_aof_that_was_just_turned_on_is_not_complete() {
        let info = |text: &str| Info::parse(&format!("aof_enabled:1\n{}", text.replace(' ', "\n")));
        let now = Duration::ZERO;
        let mut watch = AofWatch::new(true, false);
        let scheduled = "aof_rewrite_in_progress:0 aof_rewrite_scheduled:1 aof_last_bgrewrite_status:ok";
        assert_eq!(watch.judge(&info(scheduled), now), Aof::Busy);
        assert_eq!(watch.judge(&info("aof_rewrite_in_progress:1"), now), Aof::Busy);
        assert_eq!(watch.judge(&info("aof_last_bgrewrite_status:ok aof_pending_bio_fsync:1"), now), Aof::Busy);
        assert_eq!(watch.judge(&info("aof_last_bgrewrite_status:ok"), now), Aof::Complete);
        assert_eq!(watch.judge(&info("aof_last_write_status:err"), now), Aof::Failed);
        assert_eq!(watch.judge(&Info::parse("aof_enabled:0\n"), now), Aof::Busy);
    }

    #[test]
    fn an_old_failure_is_not_taken_for_a_new_one() {
        let now = Duration::ZERO;
        let failed = Info::parse("aof_enabled:1\naof_rewrite_scheduled:1\naof_last_bgrewrite_status:err\n");
        assert_eq!(AofWatch::new(true, false).judge(&failed, now), Aof::Failed);
        let mut watch = AofWatch::new(false, false);
        assert_eq!(watch.judge(&failed, now), Aof::Busy);
        assert_eq!(watch.judge(&failed, STUCK), Aof::Failed);
        watch.judge(&Info::parse("aof_enabled:1\naof_rewrite_in_progress:1\n"), now);
        assert_eq!(watch.judge(&failed, now), Aof::Failed);
    }

    #[test]
    fn an_aof_whose_last_rewrite_failed_will_do_unless_it_is_to_be_all_there_is() {
        let failed = Info::parse("aof_enabled:1\naof_rewrite_scheduled:0\naof_last_bgrewrite_status:err\n");
        assert_eq!(AofWatch::new(false, false).judge(&failed, STUCK), Aof::Complete);
        assert_eq!(AofWatch::new(false, true).judge(&failed, Duration::ZERO), Aof::Busy);
        assert_eq!(AofWatch::new(false, true).judge(&failed, STUCK), Aof::Failed);
    }

    #[test]
    fn save_points_are_the_wished_ones_else_those_there_are_else_the_versions_own() {
        let identity = |version| Identity { version, ..Identity::default() };
        let (old, new) = (identity(Version(6, 0, 16)), identity(Version(7, 0, 0)));
        let save = |wanted: &Wanted, mode, identity| wanted.save_on(&present(mode), identity);
        let wish = Wanted { save: Some("60 1".into()), ..wanted(Mode::Rdb) };
        assert_eq!(save(&wish, Mode::Both, &new), "60 1");
        assert_eq!(save(&wanted(Mode::Rdb), Mode::Both, &new), "3600 1");
        assert_eq!(save(&wanted(Mode::Both), Mode::Aof, &new), "3600 1 300 100 60 10000");
        assert_eq!(save(&wanted(Mode::Both), Mode::Aof, &old), "900 1 300 10 60 10000");
        assert_eq!(save(&wanted(Mode::Aof), Mode::Both, &new), "");
    }

    #[test]
    fn a_wish_that_means_nothing_is_refused() {
        assert!(Wanted::parse("both", Some("60 1"), Some("always")).is_ok());
        assert!(Wanted::parse("snapshots", None, None).is_err());
        assert!(Wanted::parse("aof", Some("60 1"), None).is_err());
        assert!(Wanted::parse("rdb", None, Some("always")).is_err());
        assert!(Wanted::parse("aof", None, Some("sometimes")).is_err());
    }

    proptest! {
        #[test]
        fn save_points_are_read_however_they_are_spaced(pairs in prop::collection::vec((1..i32::MAX, 0..i32::MAX), 1..5)) {
            let words: Vec<_> = pairs.iter().flat_map(|(s, c)| [s.to_string(), c.to_string()]).collect();
            prop_assert_eq!(save_points(&format!("  {} ", words.join("   "))).unwrap(), words.join(" "));
            prop_assert!(save_points(&words[1..].join(" ")).is_err());
        }

        #[test]
        fn no_text_for_save_points_is_trusted(text in ".*") {
            if let Ok(points) = save_points(&text) {
                prop_assert_eq!(save_points(&points).unwrap(), points);
            }
        }
    }

    #[test]
    fn save_points_that_no_server_takes_are_refused() {
        for text in ["", " ", "3600", "0 1", "-1 1", "60 -1", "60 x", "99999999999 1"] {
            assert!(save_points(text).is_err(), "{text:?}");
        }
    }
}
