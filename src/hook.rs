//! Hooks: what an operator wants to be done at the moments of a handover, such as to lead clients in a way of their own.
//!
//! | moment | when | if it fails |
//! |---|---|---|
//! | `before` | nothing was changed yet | nothing is |
//! | `paused` | writes wait, and the one to be promoted has everything | the pause ends, and all is as before |
//! | `promoted` | the promoted one serves, and clients were led to it | a warning; a rerun does it again |
//! | `after` | all that follows was done | a warning |
//! | `undone` | it did not come about: the one that served before serves | a warning |
//!
//! Once one was started, `after` or `undone` is the last. Where a controller was killed, its guard or a rerun can't tell
//! what its hooks have done, and runs those that are still to come, or were under way, once more.

mod command;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::{Code, Error, Result, State},
    journal::Handover,
    pair::Pair,
    run::{Event, Run},
    side::Side,
};

pub use command::end;

/// How long a hook may take, unless it is told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// How the sentence about one that has failed begins.
const FAILED: &str = "the hook ";

/// So much of the pause a hook may use up: what is left is for the demotion.
pub fn share_of_pause(pause: Duration) -> Duration {
    pause / 4 * 3
}

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Nothing was changed yet.
    Before,
    /// Writes wait, and the server to be promoted has everything.
    Paused,
    /// The promoted server serves.
    Promoted,
    /// All that follows was done.
    After,
    /// It did not come about.
    Undone,
}

impl Moment {
    const ALL: [Moment; 5] = [Moment::Before, Moment::Paused, Moment::Promoted, Moment::After, Moment::Undone];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Moment::Before => "before",
            Moment::Paused => "paused",
            Moment::Promoted => "promoted",
            Moment::After => "after",
            Moment::Undone => "undone",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Result<Self> {
        Moment::ALL.into_iter().find(|moment| moment.as_str() == name).ok_or_else(|| {
            let names = Moment::ALL.map(Moment::as_str).join(", ");
            Error::input("hooks", format!("{name:?} is none of {names}"))
        })
    }
}

/// What a function says that was called: why it failed.
type Called = std::result::Result<(), String>;

/// What is run.
#[derive(Clone)]
pub enum Hook {
    /// A program and its arguments. No shell reads them.
    Command(Vec<String>),
    /// A function of the caller's process. It can't be ended, and no guard can call it.
    Function {
        /// Its name, for actions.
        name: String,
        /// The function, which is given the facts.
        call: Arc<dyn Fn(&Value) -> Called + Send + Sync>,
    },
}

impl Hook {
    /// A command.
    pub fn command(moment: Moment, words: Vec<String>) -> Result<Self> {
        let wrong = |problem: &str| Err(Error::input("hooks", format!("{}: {problem}", moment.as_str())));
        match words.first() {
            None => wrong("is an empty list"),
            Some(program) if program.is_empty() => wrong("names no program"),
            _ if words.iter().any(|word| word.contains('\0')) => wrong("a word holds a NUL byte"),
            Some(_) => Ok(Hook::Command(words)),
        }
    }

    /// How it is named: without its arguments, which may be secrets.
    fn name(&self) -> &str {
        match self {
            Hook::Command(words) => words.first().map_or("", String::as_str),
            Hook::Function { name, .. } => name,
        }
    }
}

/// Told of the process group of a command that runs, and that none does.
pub type Watch = Arc<dyn Fn(Option<u32>) + Send + Sync>;

/// The hooks of one call.
#[derive(Clone)]
pub struct Hooks {
    hooks: BTreeMap<Moment, Hook>,
    timeout: Duration,
    watch: Option<Watch>,
}

impl Default for Hooks {
    fn default() -> Self {
        Hooks::new(BTreeMap::new(), TIMEOUT)
    }
}

/// The parts of the facts that are the same at every moment of a handover. No secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scene {
    step: String,
    source: String,
    target: String,
    from: String,
    to: String,
}

impl Scene {
    /// That of a handover.
    pub fn of(pair: &Pair, handover: &Handover) -> Self {
        let (demoted, promoted) = (handover.demoted(), handover.demoted().other());
        let endpoint = |side: Side| pair.side(side).map_or(pair.address(side), |server| &server.endpoint);
        Scene {
            step: if handover.back { "rollback" } else { "switchover" }.to_owned(),
            source: pair.address(Side::Source).to_string(),
            target: pair.address(Side::Target).to_string(),
            from: handover.home.at(endpoint(demoted)).to_string(),
            to: handover.public.at(endpoint(promoted)).to_string(),
        }
    }

    /// What a hook is told at that moment.
    fn facts(&self, moment: Moment) -> Map<String, Value> {
        let serving = match moment {
            Moment::Before | Moment::Paused | Moment::Undone => &self.from,
            Moment::Promoted | Moment::After => &self.to,
        };
        let facts = [
            ("moment", moment.as_str()),
            ("step", &self.step),
            ("source", &self.source),
            ("target", &self.target),
            ("from", &self.from),
            ("to", &self.to),
            ("serving", serving),
        ];
        facts.into_iter().map(|(name, text)| (name.to_owned(), Value::from(text))).collect()
    }
}

/// What came of a hook.
pub struct Performed {
    moment: Moment,
    name: String,
    microseconds: u64,
    /// The last lines that it has written.
    output: Vec<String>,
    /// Why it failed, if it did.
    failed: Option<String>,
}

impl Performed {
    /// What was done, as a result's `actions`; none if it failed.
    pub fn action(&self) -> Option<String> {
        self.failed.is_none().then(|| action(self.moment, &self.name))
    }

    /// What went wrong, if anything did.
    pub fn error(&self) -> Option<Error> {
        let failed = self.failed.as_ref()?;
        let said = match self.output.as_slice() {
            [] => String::new(),
            [.., last] => format!(", having said: {last}"),
        };
        let found = format!("{FAILED}{} ({}) {failed}{said}", self.moment.as_str(), self.name);
        let error = Error::new(Code::HookFailed, found).remedy("put that right and run again");
        Some(if self.moment == Moment::Paused { error.state(State::Undone) } else { error })
    }

    /// Tells whoever listens.
    pub fn tell(&self, run: &Run) {
        run.emit(&Event::Hook {
            moment: self.moment.as_str(),
            hook: self.name.clone(),
            microseconds: self.microseconds,
            failed: self.failed.clone(),
            output: self.output.clone(),
        });
    }
}

impl Hooks {
    /// Hooks by their moments; each may take that long.
    pub fn new(hooks: BTreeMap<Moment, Hook>, timeout: Duration) -> Self {
        Hooks { hooks, timeout, watch: None }
    }

    /// The same with somebody who is told what runs, and ends it where we are killed.
    pub fn watched(&self, watch: Option<Watch>) -> Self {
        Hooks { watch, ..self.clone() }
    }

    /// Those that a try has not done: for the next one.
    pub fn left_by(mut self, run: &Run) -> Self {
        let done = run.actions();
        self.hooks.retain(|moment, hook| !done.contains(&action(*moment, hook.name())));
        self
    }

    /// The commands among them: what another process can run too.
    pub fn commands(&self) -> BTreeMap<Moment, Vec<String>> {
        let command = |(moment, hook): (&Moment, &Hook)| match hook {
            Hook::Command(words) => Some((*moment, words.clone())),
            Hook::Function { .. } => None,
        };
        self.hooks.iter().filter_map(command).collect()
    }

    /// How long each may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Refuses a command that can't be run here, before anything is done.
    pub fn check(&self) -> Result<()> {
        for (moment, words) in self.commands() {
            if let Some(program) = words.first().filter(|program| !command::is_program(program)) {
                let problem = format!("{}: {program} is no program that can be run here", moment.as_str());
                return Err(Error::input("hooks", problem));
            }
        }
        Ok(())
    }

    /// Whether there is one for that moment.
    pub fn has(&self, moment: Moment) -> bool {
        self.hooks.contains_key(&moment)
    }

    /// What would be done at these moments, as a dry run shows it.
    pub fn planned(&self, moments: &[Moment]) -> Vec<String> {
        let planned = |moment: &Moment| self.hooks.get(moment).map(|hook| action(*moment, hook.name()));
        moments.iter().filter_map(planned).collect()
    }

    /// Runs the one of that moment, if there is one, and tells nobody yet: listeners must not cost the clients time.
    /// Dropped before its end, it ends the command.
    pub async fn perform(&self, moment: Moment, scene: &Scene, within: Duration) -> Option<Performed> {
        let hook = self.hooks.get(&moment)?;
        let (facts, within) = (scene.facts(moment), within.min(self.timeout));
        let began = Instant::now();
        let (failed, output) = match hook {
            Hook::Command(words) => command::run(words, &facts, within, self.watch.as_ref()).await,
            Hook::Function { call, .. } => (called(call(&Value::Object(facts)), began.elapsed(), within), Vec::new()),
        };
        let microseconds = began.elapsed().as_micros() as u64;
        Some(Performed { moment, name: hook.name().to_owned(), microseconds, output, failed })
    }

    /// Before anything is changed: fails if it does.
    pub async fn before(&self, run: &Run, scene: &Scene) -> Result<()> {
        let performed = run.interruptible(self.perform(Moment::Before, scene, self.timeout)).await?;
        told(run, performed).map_or(Ok(()), Err)
    }

    /// The promoted one serves, or it did not come about. Says whether it was done; a failure is a warning. Where clients are
    /// depends on it, so the wish to stop waits.
    pub async fn led(&self, run: &Run, moment: Moment, scene: &Scene) -> bool {
        let _shield = run.shield();
        let failed = told(run, self.perform(moment, scene, self.timeout).await);
        if let Some(error) = &failed {
            run.warn(format!("{}; {}", error.found, error.remedy));
        }
        failed.is_none()
    }

    /// All was done. A failure is a warning.
    pub async fn after(&self, run: &Run, scene: &Scene) -> Result<()> {
        let performed = run.interruptible(self.perform(Moment::After, scene, self.timeout)).await?;
        if let Some(error) = told(run, performed) {
            run.warn(error.found);
        }
        Ok(())
    }
}

/// The warnings about hooks that have failed in a call.
pub fn failures(run: &Run) -> Vec<String> {
    run.warnings().into_iter().filter(|warning| warning.starts_with(FAILED)).collect()
}

fn action(moment: Moment, name: &str) -> String {
    format!("hook {}: {name}", moment.as_str())
}

fn told(run: &Run, performed: Option<Performed>) -> Option<Error> {
    let performed = performed?;
    performed.tell(run);
    if let Some(action) = performed.action() {
        run.mention(action);
    }
    performed.error()
}

/// A function can't be ended: one that took too long has failed.
fn called(outcome: Called, took: Duration, within: Duration) -> Option<String> {
    match outcome {
        Err(why) => Some(format!("raised {}", command::tidy(&why))),
        Ok(()) if took > within => Some(late(within)),
        Ok(()) => None,
    }
}

fn late(within: Duration) -> String {
    format!("did not end within {:.3} seconds", within.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        let text = |text: &str| text.to_owned();
        Scene { step: text("switchover"), source: text("a:1"), target: text("b:2"), from: text("a:1"), to: text("b:1") }
    }

    fn hooks(moment: Moment, words: &[&str], timeout: Duration) -> Hooks {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Hooks::new(BTreeMap::from([(moment, Hook::command(moment, words).unwrap())]), timeout)
    }

    async fn performed(moment: Moment, words: &[&str], within: Duration) -> Performed {
        hooks(moment, words, TIMEOUT).perform(moment, &scene(), within).await.unwrap()
    }

    #[test]
    fn who_serves_depends_on_the_moment() {
        let serving = |moment| scene().facts(moment)["serving"].clone();
        assert_eq!([Moment::Before, Moment::Paused, Moment::Undone].map(serving), ["a:1"; 3]);
        assert_eq!([Moment::Promoted, Moment::After].map(serving), ["b:1"; 2]);
    }

    #[test]
    fn a_command_is_words_of_a_program_that_is_here() {
        let made = |words: &[&str]| Hook::command(Moment::After, words.iter().map(|w| (*w).to_owned()).collect());
        for words in [&[][..], &[""], &["/bin/true", "a\0b"]] {
            assert_eq!(made(words).err().map(|error| error.code), Some(Code::InvalidInput));
        }
        assert!(hooks(Moment::After, &["sh"], TIMEOUT).check().is_ok());
        for program in ["/etc/passwd", "/nowhere/x", "no-such-program"] {
            assert!(hooks(Moment::After, &[program], TIMEOUT).check().is_err(), "{program}");
        }
        assert!(Moment::parse("later").is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_command_is_told_the_facts_twice_and_its_last_lines_are_kept() {
        let script = r#"cat; echo; echo "$REDIS_BATON_MOMENT $REDIS_BATON_SERVING" >&2; exit 3"#;
        let done = performed(Moment::Paused, &["sh", "-c", script], TIMEOUT).await;
        let facts: Value = serde_json::from_str(&done.output[0]).unwrap();
        assert_eq!((&facts["from"], &facts["to"]), (&Value::from("a:1"), &Value::from("b:1")));
        assert_eq!(done.output[1], "paused a:1");
        let error = done.error().unwrap();
        assert_eq!((error.code, error.state), (Code::HookFailed, State::Undone));
        assert!(error.found.contains("status: 3") && error.found.ends_with("paused a:1"), "{}", error.found);
        assert!(done.action().is_none());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_next_try_does_what_this_one_has_left() {
        let run = Run::new(false, |_, _| {});
        let (done, failed) = (hooks(Moment::Promoted, &["true"], TIMEOUT), hooks(Moment::Undone, &["false"], TIMEOUT));
        assert!(done.led(&run, Moment::Promoted, &scene()).await);
        assert!(!failed.led(&run, Moment::Undone, &scene()).await);
        assert_eq!((run.actions(), failures(&run).len()), (vec!["hook promoted: true".to_owned()], 1));
        assert!(!done.left_by(&run).has(Moment::Promoted));
        assert!(failed.left_by(&run).has(Moment::Undone));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn arguments_are_in_no_action() {
        let done = performed(Moment::After, &["sh", "-c", "exit 0", "hunter2"], TIMEOUT).await;
        assert_eq!(done.action().unwrap(), "hook after: sh");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_that_is_late_ends_with_all_that_it_has_started() {
        let script = "sleep 600 & echo $!; wait";
        let done = performed(Moment::Paused, &["sh", "-c", script], Duration::from_millis(500)).await;
        assert!(done.error().unwrap().found.contains("did not end within"));
        let child = format!("/proc/{}/stat", done.output[0]);
        let gone = || std::fs::read_to_string(&child).map_or(true, |stat| stat.contains(") Z "));
        for _ in 0..500 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{child} still runs");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_it_leaves_in_the_background_is_not_waited_for() {
        let done = performed(Moment::After, &["sh", "-c", "echo here; sleep 5 & :"], TIMEOUT).await;
        assert!(done.error().is_none() && done.output == ["here"]);
        assert!(done.microseconds < 4_000_000);
    }

    #[test]
    fn a_function_that_is_late_has_failed() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(1));
        assert!(called(Ok(()), long, short).is_some());
        assert!(called(Ok(()), short, long).is_none());
        assert_eq!(called(Err("E: a\n b".into()), short, long).unwrap(), "raised E: a b");
    }
}
