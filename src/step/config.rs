//! `config`: parameters of one server have these values, and its file too if that is wished.

use redis::Value;
use serde::Serialize;
use serde_json::Value as Json;

use super::ServerCall;
use crate::{
    decide::parameters::{fixed_before_7, names, newest_name, place, same, to_send, to_show},
    error::{Code, Error, Result, State},
    facts::{Facts, finish, step_result},
    server::{
        Command, Said, Server,
        config::{SEVERAL_AT_ONCE, is_secret},
        config_file::ConfigFile,
        info::Version,
    },
};

/// What is wished.
#[derive(Debug, Clone)]
pub struct Options {
    /// Parameters by name, with the values they are to have.
    pub parameters: Vec<(String, String)>,
    /// Save them to the configuration file.
    pub rewrite: bool,
}

/// A parameter that the server takes from its file alone, when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct RestartRequired {
    /// Its name, as it was given.
    pub parameter: String,
    /// The value it has.
    pub present: String,
    /// The value it should have.
    pub wanted: String,
    /// Why it can't be set, in the server's words.
    pub why: String,
}

step_result! {
    /// What `config` returns.
    pub struct Config {
        /// The parameters that were set.
        pub set: Vec<String>,
        /// Those that a restart is needed for, with the new value in the configuration file.
        pub restart_required: Vec<RestartRequired>,
        /// Whether the configuration file was written: where it can be read from here, whether that changed it.
        pub rewritten: bool,
    }
}

/// One parameter with what it should be.
#[derive(Clone)]
struct Wish {
    /// Its name as it was given.
    given: String,
    /// Its name as the server knows it.
    name: String,
    present: String,
    wanted: String,
}

/// Sets what differs from what is wished; several parameters together where the server can.
pub async fn config(call: &ServerCall, options: &Options) -> Result<Config> {
    let asked = read(&options.parameters)?;
    let server = call.begin_alone("config").await?;
    if options.rewrite && server.identity.config_file.is_empty() {
        return Err(Error::new(
            Code::NoConfigFile,
            "was started without a configuration file, so nothing can be saved",
        )
        .at(&server)
        .remedy("start it with one, or leave rewrite out"));
    }
    let wishes = look(&server, &asked).await?;
    let file = if options.rewrite { server.config_file().await } else { None };
    let (mut fixed, mut to_set) = (Vec::new(), Vec::new());
    for (wish, why) in differing(&server, &wishes).await? {
        match why {
            Some(why) => fixed.push((wish, why)),
            None => to_set.push(wish),
        }
    }
    if server.identity.has_redis(SEVERAL_AT_ONCE) {
        set_together(&server, &to_set).await?;
    } else {
        to_set.sort_by_key(|wish| place(&wish.name, &wish.present, &wish.wanted));
        fixed.extend(set_one_by_one(&server, &mut to_set).await?);
    }
    let now = if to_set.is_empty() || server.run.dry { None } else { Some(look(&server, &asked).await?) };
    if let Some(now) = &now {
        compare(&server, &to_set, now);
    }
    let live: Vec<_> = wishes.iter().filter(|wish| !fixed.iter().any(|(fixed, _)| fixed.name == wish.name)).collect();
    let saved = match options.rewrite {
        true => save(&server, &live, file, !to_set.is_empty(), fixed.first().map(|(wish, _)| wish)).await?,
        false => Saved::default(),
    };
    let changed = match &now {
        Some(now) => now.iter().zip(&wishes).any(|(now, before)| now.present != before.present),
        None => !to_set.is_empty(),
    };
    let after = match now {
        Some(now) => now,
        None => predicted(&wishes, &to_set),
    };
    Ok(Config {
        changed: changed || saved.seen,
        ..finish!(
            server.run,
            shown(&wishes, &wishes),
            shown(&after, &wishes),
            Config {
                set: to_set.into_iter().map(|wish| wish.given).collect(),
                restart_required: fixed.into_iter().map(|(wish, why)| wish.needs_restart(why)).collect(),
                rewritten: saved.rewritten,
            }
        )
    })
}

/// The parameters as they were asked for, once their names can be names.
fn read(parameters: &[(String, String)]) -> Result<Vec<(String, String)>> {
    let mut asked: Vec<(String, String)> = Vec::new();
    for (given, wanted) in parameters {
        // CONFIG GET would take `*` and the like for a pattern.
        if given.is_empty() || !given.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Err(Error::input("parameters", format!("{given:?} is not the name of a parameter")));
        }
        let name = given.to_lowercase();
        if asked.iter().any(|(other, _)| *other == name) {
            return Err(Error::input("parameters", format!("{name} is there twice")));
        }
        asked.push((name, wanted.clone()));
    }
    Ok(asked)
}

/// What the server has of each. One that it does not know is an error.
async fn look(server: &Server, asked: &[(String, String)]) -> Result<Vec<Wish>> {
    let all: Vec<_> = asked.iter().flat_map(|(given, _)| names(given)).collect();
    let present = server.config_at_once(&all).await?;
    let (mut wishes, mut unknown): (Vec<Wish>, Vec<&str>) = (Vec::new(), Vec::new());
    for (given, wanted) in asked {
        let known = names(given).into_iter().find_map(|name| Some((present.get(&name)?.clone(), name)));
        let Some((present, name)) = known else {
            unknown.push(given);
            continue;
        };
        let wanted = to_send(&name, &present, wanted);
        let wish = Wish { given: given.clone(), name, present, wanted };
        let twin = wishes.iter().find(|other| newest_name(&other.name) == newest_name(&wish.name));
        if let Some(twin) = twin.filter(|twin| !same(&wish.name, &twin.wanted, &wish.wanted, module_events(server))) {
            let problem = format!("{} and {given} are one parameter, and can't have two values", twin.given);
            return Err(Error::input("parameters", problem));
        }
        wishes.push(wish);
    }
    if unknown.is_empty() {
        return Ok(wishes);
    }
    let found =
        format!("does not know the parameter{} {}", if unknown.len() > 1 { "s" } else { "" }, unknown.join(", "));
    Err(Error::new(Code::ParameterUnknown, found)
        .at(server)
        .remedy(format!("leave out what {} does not have", server.identity.title())))
}

/// Whether `A` in notify-keyspace-events stands for the events of modules too.
fn module_events(server: &Server) -> bool {
    server.identity.has_redis(Version(6, 2, 0))
}

/// What is not as wished, and why it can't be set if it can't.
async fn differing(server: &Server, wishes: &[Wish]) -> Result<Vec<(Wish, Option<String>)>> {
    let mut open: Vec<Wish> = Vec::new();
    for wish in wishes.iter().filter(|wish| !wish.holds(server)) {
        if !open.iter().any(|other| newest_name(&other.name) == newest_name(&wish.name)) {
            open.push(wish.clone());
        }
    }
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let whys = if server.identity.has_redis(SEVERAL_AT_ONCE) {
        ask_what_is_fixed(server, &open).await?
    } else if server.run.dry {
        let before_6_2 = !server.identity.has_redis(Version(6, 2, 0));
        let why = |wish: &Wish| fixed_before_7(&wish.name, before_6_2).then(|| UNSUPPORTED.to_owned());
        open.iter().map(why).collect()
    } else {
        vec![None; open.len()] // it says so when they are set
    };
    Ok(open.into_iter().zip(whys).collect())
}

/// How a server before 7.0 refuses what it takes from its file alone, or does not know at all.
const UNSUPPORTED: &str = "Unsupported CONFIG parameter";

/// Asks the server which of these it takes from its file alone. Each is named twice with the value it has: a command like
/// that is refused whatever it is about, before anything is set, and whether it can be set is looked at first.
async fn ask_what_is_fixed(server: &Server, wishes: &[Wish]) -> Result<Vec<Option<String>>> {
    let commands: Vec<_> = wishes
        .iter()
        .map(|Wish { name, present, .. }| Command::config_set_all([(name.as_str(), present.as_str()); 2]))
        .collect();
    let mut whys = Vec::new();
    for (command, reply) in commands.iter().zip(server.pipeline(&commands).await?) {
        let why = match reply {
            Err(said) if said.word != "ERR" => return Err(server.refused(command, &said)),
            Err(said) => ["can't set immutable config", "can't set protected config"]
                .into_iter()
                .find(|why| said.text.contains(why))
                .map(str::to_owned),
            Ok(_) => None,
        };
        whys.push(why);
    }
    Ok(whys)
}

/// Sets them all in one command, which does all of it or nothing.
async fn set_together(server: &Server, wishes: &[Wish]) -> Result<()> {
    if wishes.is_empty() {
        return Ok(());
    }
    let command = Command::config_set_all(wishes.iter().map(|wish| (wish.name.as_str(), wish.wanted.as_str())));
    if server.run.dry {
        return server.change(&command).await;
    }
    // Stopped before the reply, it could not say whether they were set.
    let _shield = server.run.shield();
    match server.ask(&command).await? {
        Ok(_) => server.run.action(format!("{server}: {command}")),
        Err(said) => {
            let error = refusal(server, &command, wishes, &said);
            return Err(match as_before(server, wishes).await {
                true => error,
                false => error.state(State::Interrupted),
            });
        }
    }
    Ok(())
}

/// Sets one after the other, and if one is refused puts those before it back. Returns those that the server takes from its
/// file alone.
async fn set_one_by_one(server: &Server, wishes: &mut Vec<Wish>) -> Result<Vec<(Wish, String)>> {
    // Stopped half way, it could put nothing back.
    let _shield = server.run.shield();
    let mut fixed = Vec::new();
    let mut done: Vec<Wish> = Vec::new();
    for wish in std::mem::take(wishes) {
        let command = Command::config_set(&wish.name, &wish.wanted);
        let reply = if server.run.dry { Ok(Value::Okay) } else { server.ask(&command).await? };
        match reply {
            Ok(_) => {
                server.run.action(format!("{server}: {command}"));
                done.push(wish);
            }
            // CONFIG GET has shown it, so it is known.
            Err(said) if said.text.contains(UNSUPPORTED) => fixed.push((wish, UNSUPPORTED.to_owned())),
            Err(said) => {
                let error = refusal(server, &command, std::slice::from_ref(&wish), &said);
                return Err(put_back(server, &done, error).await);
            }
        }
    }
    *wishes = done;
    Ok(fixed)
}

/// Sets these back to what they were, the last one first. The error, in the state that things are in then.
async fn put_back(server: &Server, done: &[Wish], error: Error) -> Error {
    if done.is_empty() {
        return error;
    }
    for wish in done.iter().rev() {
        // Whether it worked is looked at below.
        let _ = server.change(&Command::config_set(&wish.name, &wish.present)).await;
    }
    match as_before(server, done).await {
        true => error.state(State::Undone),
        false => error.state(State::Interrupted),
    }
}

/// Whether these have the values that they had first.
async fn as_before(server: &Server, wishes: &[Wish]) -> bool {
    let names: Vec<_> = wishes.iter().map(|wish| wish.name.clone()).collect();
    match server.config_at_once(&names).await {
        Ok(now) => wishes.iter().all(|wish| now.get(&wish.name) == Some(&wish.present)),
        Err(_) => false,
    }
}

/// What the server has against a value, in its own words.
fn refusal(server: &Server, command: &Command, wishes: &[Wish], said: &Said) -> Error {
    if said.word != "ERR" {
        return server.refused(command, said);
    }
    let secrets = wishes.iter().filter(|wish| is_secret(&wish.name) && !wish.wanted.is_empty());
    let text = secrets.fold(said.text.clone(), |text, wish| text.replace(&wish.wanted, "***"));
    let text = text.strip_prefix("ERR ").unwrap_or(&text);
    let named = text.split_once("to argument '").and_then(|(_, rest)| rest.split_once("') - "));
    let (name, why) = match (named, wishes) {
        (Some((name, why)), _) => (name.to_owned(), why),
        (None, [one]) => (one.name.clone(), text),
        (None, several) => (several.iter().map(|wish| wish.name.as_str()).collect::<Vec<_>>().join(", "), text),
    };
    Error::new(Code::ParameterRefused, format!("refused the value of {name}: {why}"))
        .at(server)
        .remedy("give one that it takes")
}

/// Warns of what the server has made something else of.
fn compare(server: &Server, set: &[Wish], now: &[Wish]) {
    for now in now.iter().filter(|now| set.iter().any(|set| set.name == now.name) && !now.holds(server)) {
        let shown = if is_secret(&now.name) { String::new() } else { format!(": {}, not {}", now.present, now.wanted) };
        server.run.warn(format!("{server}: {} reads back as something else than what was set{shown}", now.given));
    }
}

/// What became of the file.
#[derive(Default)]
struct Saved {
    /// It was written, and was changed by that as far as can be seen.
    rewritten: bool,
    /// It was seen to have changed, or would be.
    seen: bool,
}

/// Sees to it that the file holds what is live, by CONFIG REWRITE. That is not sent where the file is seen to hold it
/// already.
async fn save(
    server: &Server,
    live: &[&Wish],
    file: Option<ConfigFile>,
    set: bool,
    fixed: Option<&Wish>,
) -> Result<Saved> {
    let held = |file: &ConfigFile, wish: &Wish| {
        let value = file.value(&names(&wish.name));
        value.map(|value| same(&wish.name, value, &wish.wanted, module_events(server)))
    };
    if !set && file.as_ref().is_some_and(|file| live.iter().all(|wish| held(file, wish) == Some(true))) {
        return Ok(Saved::default());
    }
    let command = Command::new(["CONFIG", "REWRITE"]);
    if server.run.dry {
        server.change(&command).await?;
        // What is not in the file may be a default, which is not written.
        let seen = file.is_some_and(|file| live.iter().any(|wish| held(&file, wish) == Some(false)));
        return Ok(Saved { rewritten: set || seen, seen });
    }
    let _shield = server.run.shield();
    if let Err(said) = server.ask(&command).await? {
        if said.word == "NOPERM" {
            return Err(server.refused(&command, &said));
        }
        return Err(Error::new(Code::NotSaved, format!("could not write its configuration file: {}", said.text))
            .at(server)
            .remedy("see to it that it may write the file and its folder, or leave rewrite out"));
    }
    server.run.action(format!("{server}: {command}"));
    if let Some(wish) = fixed {
        server.run.warn(format!(
            "{server}: its file has the present values of what needs a restart again, such as {}: write the new ones now",
            wish.given
        ));
    }
    let (Some(before), Some(after)) = (file, server.config_file().await) else {
        return Ok(Saved { rewritten: true, seen: false });
    };
    if let Some(wish) = live.iter().find(|wish| held(&after, wish) == Some(false)) {
        let found = format!("has another value of {} in its file than it has itself", wish.given);
        return Err(Error::new(Code::NotSaved, found)
            .at(server)
            .state(State::Interrupted)
            .remedy("look at that line of the file before the server is restarted"));
    }
    let changed = before.lines != after.lines;
    Ok(Saved { rewritten: changed, seen: changed })
}

/// What there will be, as far as that can be told.
fn predicted(wishes: &[Wish], to_set: &[Wish]) -> Vec<Wish> {
    let set = |wish: &Wish| to_set.iter().any(|set| newest_name(&set.name) == newest_name(&wish.name));
    let predict = |wish: &Wish| match set(wish) {
        true => Wish { present: to_show(&wish.name, &wish.present, &wish.wanted), ..wish.clone() },
        false => wish.clone(),
    };
    wishes.iter().map(predict).collect()
}

/// Their values by name. A secret shows only whether there is one, and whether it is another than before.
fn shown(wishes: &[Wish], before: &[Wish]) -> Facts {
    let mut facts = Facts::default();
    for (wish, before) in wishes.iter().zip(before) {
        let value = match is_secret(&wish.name) {
            true if wish.present != before.present => masked(&wish.present, "*** (another)"),
            true => masked(&wish.present, "***"),
            false => wish.present.clone(),
        };
        facts.insert(&wish.given, Json::String(value));
    }
    facts
}

fn masked(value: &str, mask: &str) -> String {
    if value.is_empty() { String::new() } else { mask.to_owned() }
}

impl Wish {
    fn holds(&self, server: &Server) -> bool {
        same(&self.name, &self.present, &self.wanted, module_events(server))
    }

    fn needs_restart(self, why: String) -> RestartRequired {
        let shown = |value: String| if is_secret(&self.name) { masked(&value, "***") } else { value };
        RestartRequired { parameter: self.given, present: shown(self.present), wanted: shown(self.wanted), why }
    }
}
