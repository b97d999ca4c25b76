//! The account of an upgrade: made from the journal, which knows how things stand, and the chronicle, which knows what was seen
//! meanwhile. No I/O.

mod calls;
mod chart;
mod metrics;
mod page;
mod words;

use serde::Serialize;
use serde_json::Value;

pub use calls::{Action, Called, Phase, Said};
pub use metrics::metrics;
pub use page::page;

use crate::{
    chronicle::Line,
    journal::{Dated, Record},
};

/// How things stand, as far as the journal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing was done with these two.
    Nothing,
    /// The source serves, and the target follows it or is about to.
    Following,
    /// The last call failed before there was a handover.
    Failed,
    /// A handover was taken back: the source serves.
    Undone,
    /// A handover, or the last call, was begun and has no end.
    Interrupted,
    /// The target serves, the source is there.
    Switched,
    /// The source serves again.
    RolledBack,
    /// The target serves, the source was shut down.
    Retired,
}

impl Outcome {
    pub const ALL: [Outcome; 8] = [
        Outcome::Nothing,
        Outcome::Following,
        Outcome::Failed,
        Outcome::Undone,
        Outcome::Interrupted,
        Outcome::Switched,
        Outcome::RolledBack,
        Outcome::Retired,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Nothing => "nothing",
            Outcome::Following => "following",
            Outcome::Failed => "failed",
            Outcome::Undone => "undone",
            Outcome::Interrupted => "interrupted",
            Outcome::Switched => "switched",
            Outcome::RolledBack => "rolled_back",
            Outcome::Retired => "retired",
        }
    }
}

/// All that is known of an upgrade.
#[derive(Debug, Serialize)]
pub struct Account {
    pub outcome: Outcome,
    /// The outcome in one sentence.
    pub sentence: String,
    pub source: Party,
    pub target: Party,
    pub began: Option<f64>,
    pub ended: Option<f64>,
    /// The address clients arrive at, as the last handover told it.
    pub serving: Option<String>,
    pub warm: Option<Warmth>,
    pub handovers: Vec<Cut>,
    /// What the last comparison found.
    pub verification: Option<Value>,
    /// What the last preflight found.
    pub findings: Vec<Value>,
    pub settings: Vec<Setting>,
    /// What a guard did in place of a controller that died.
    pub guarded: Vec<String>,
    pub calls: Vec<Called>,
    pub actions: Vec<Action>,
    pub warnings: Vec<Said>,
    pub samples: Vec<Value>,
    pub probe: Vec<Value>,
}

/// One of the two servers.
#[derive(Debug, Default, Serialize)]
pub struct Party {
    /// The address it was given by.
    pub address: String,
    pub version: Option<String>,
}

/// Whether the way back loses nothing.
#[derive(Debug, Serialize)]
pub struct Warmth {
    pub warm: bool,
    pub since: f64,
    pub why: Option<String>,
}

/// A handover that was done.
#[derive(Debug, Serialize)]
pub struct Cut {
    pub step: String,
    /// When the other one was promoted.
    pub time: f64,
    /// How long it waited for the right moment.
    pub moment_microseconds: Option<u64>,
    pub phases: Vec<Phase>,
    /// None where the call has no end.
    pub write_gap_ms: Option<f64>,
    pub attempts: Option<u64>,
    pub probe: Option<Value>,
}

/// A parameter that was set for the time of the upgrade.
#[derive(Debug, Serialize)]
pub struct Setting {
    pub server: String,
    pub parameter: String,
    /// None where it is a secret.
    pub original: Option<String>,
    pub raised: f64,
    pub restored: Option<f64>,
    /// Its server was shut down.
    pub gone: bool,
}

impl Setting {
    /// Whether it has still another value than it had.
    pub fn stands(&self) -> bool {
        self.restored.is_none() && !self.gone
    }
}

/// Tells what has happened to the pair that is known by these addresses.
pub fn account(source: &str, target: &str, records: &[Dated], lines: &[Line]) -> Account {
    let calls::Gathered { calls, actions, warnings, samples, probe } = calls::gather(lines);
    let results: Vec<_> = calls.iter().flat_map(Called::results).collect();
    let last = |step: &str| results.iter().rev().find(|(name, _)| *name == step).map(|(_, result)| *result);
    let version = |side: &str| {
        let seen = results.iter().rev().find_map(|(_, result)| result["before"][side]["version"].as_str());
        seen.map(str::to_owned)
    };
    let times = || records.iter().map(|r| r.at).chain(lines.iter().map(|line| line.time)).filter(|at| *at > 0.0);
    let mut account = Account {
        outcome: outcome(records, &calls),
        sentence: String::new(),
        source: Party { address: source.to_owned(), version: version("source") },
        target: Party { address: target.to_owned(), version: version("target") },
        began: times().reduce(f64::min),
        ended: times().reduce(f64::max),
        serving: results.iter().rev().find_map(|(_, result)| result["serving"].as_str()).map(str::to_owned),
        warm: warmth(records),
        handovers: calls.iter().flat_map(cuts).collect(),
        // One that found nothing to compare, such as after `retire`, has not looked.
        verification: results
            .iter()
            .rev()
            .find(|(name, result)| *name == "verify" && result["attempts"].as_u64() > Some(0))
            .map(|(_, result)| (*result).clone()),
        findings: last("preflight").and_then(|result| result["findings"].as_array()).cloned().unwrap_or_default(),
        settings: settings(records),
        guarded: records.iter().filter_map(|dated| guarded(&dated.record)).collect(),
        calls,
        actions,
        warnings,
        samples,
        probe,
    };
    account.sentence = sentence(&account, records);
    account
}

fn guarded(record: &Record) -> Option<String> {
    match record {
        Record::Guarded { outcome } => Some(outcome.clone()),
        _ => None,
    }
}

/// The journal is forced to the disk before each thing it is about; so it has the last word.
fn outcome(records: &[Dated], calls: &[Called]) -> Outcome {
    struct Standing {
        back: bool,
        promoted: bool,
    }
    let mut standing: Vec<Standing> = Vec::new();
    let (mut undone, mut retired) = (false, false);
    for Dated { record, .. } in records {
        match record {
            Record::Handover(handover) => {
                standing.push(Standing { back: handover.back, promoted: false });
                (undone, retired) = (false, false);
            }
            Record::Undone => {
                standing.pop();
                undone = true;
            }
            Record::Promoted | Record::Settled => {
                if let Some(last) = standing.last_mut() {
                    last.promoted = true;
                }
            }
            Record::Retired { .. } => retired = true,
            _ => {}
        }
    }
    // One that only looks may fail or be killed as it likes.
    let acting = calls.iter().rfind(|call| !matches!(&*call.step, "preflight" | "verify" | "clients" | "relay"));
    match (standing.last(), acting.map(|call| call.outcome)) {
        (Some(_), _) if retired => Outcome::Retired,
        (Some(last), _) if !last.promoted => Outcome::Interrupted,
        (Some(last), _) if last.back => Outcome::RolledBack,
        (Some(_), _) => Outcome::Switched,
        (None, Some("unended")) => Outcome::Interrupted,
        (None, _) if undone => Outcome::Undone,
        (None, Some("failed")) => Outcome::Failed,
        (None, Some(_)) => Outcome::Following,
        (None, None) if records.is_empty() => Outcome::Nothing,
        (None, None) => Outcome::Following,
    }
}

fn warmth(records: &[Dated]) -> Option<Warmth> {
    let mut warm = None;
    for Dated { record, .. } in records {
        match record {
            Record::Handover(_) | Record::Undone | Record::Retired { .. } => warm = None,
            Record::Warm { since, .. } => warm = Some(Warmth { warm: true, since: *since, why: None }),
            Record::Lossy { since, why } => warm = Some(Warmth { warm: false, since: *since, why: Some(why.clone()) }),
            _ => {}
        }
    }
    warm
}

/// The handovers that a call has done: of several attempts the last one.
fn cuts(call: &Called) -> Option<Cut> {
    let promoted = call.phases.iter().rfind(|phase| phase.name == "promote")?;
    let begin = call.phases.iter().rposition(|phase| phase.name == "pause").unwrap_or_default();
    let results = call.results();
    let result =
        results.iter().rev().find(|(_, result)| result.get("write_gap_ms").is_some()).map(|(_, result)| *result);
    let mut probe = [Some(&call.result), result].into_iter().flatten().map(|result| &result["probe"]);
    Some(Cut {
        step: call
            .steps
            .iter()
            .rfind(|step| step.began <= promoted.at)
            .map_or(&*call.step, |step| &step.name)
            .to_owned(),
        time: promoted.at,
        moment_microseconds: call.phases.iter().rfind(|phase| phase.name == "moment").map(|phase| phase.microseconds),
        phases: call.phases[begin..].to_vec(),
        write_gap_ms: result.and_then(|result| result["write_gap_ms"].as_f64()),
        attempts: result.and_then(|result| result["attempts"].as_u64()),
        probe: probe.find(|probe| probe.is_object()).cloned(),
    })
}

fn settings(records: &[Dated]) -> Vec<Setting> {
    let name = |run_id: &str| {
        let side = records.iter().rev().find_map(|dated| match &dated.record {
            Record::Handover(handover) if handover.source == run_id => Some("source"),
            Record::Handover(handover) if handover.target == run_id => Some("target"),
            _ => None,
        });
        side.map_or_else(|| format!("run id {}", run_id.get(..8).unwrap_or(run_id)), str::to_owned)
    };
    // By name: one that was restarted is the same server.
    let mut settings: Vec<Setting> = Vec::new();
    for Dated { at, record } in records {
        match record {
            Record::Raised { run_id, parameter, original, .. } => {
                let server = name(run_id);
                let same = |s: &Setting| s.server == server && s.parameter == *parameter && s.stands();
                if !settings.iter().any(same) {
                    let (parameter, original) = (parameter.clone(), original.clone());
                    settings.push(Setting { server, parameter, original, raised: *at, restored: None, gone: false });
                }
            }
            Record::Restored { run_id, parameter } => {
                let server = name(run_id);
                for setting in settings.iter_mut().filter(|s| s.server == server && s.parameter == *parameter) {
                    setting.restored.get_or_insert(*at);
                }
            }
            Record::Retired { run_id } => {
                let server = name(run_id);
                settings.iter_mut().filter(|s| s.server == server).for_each(|setting| setting.gone = true);
            }
            _ => {}
        }
    }
    settings
}

fn sentence(account: &Account, records: &[Dated]) -> String {
    let named = |party: &Party| party.version.clone().unwrap_or_else(|| party.address.clone());
    let (old, new) = (named(&account.source), named(&account.target));
    let at = account.serving.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
    let failed = || {
        let error = account.calls.iter().rev().find_map(|call| call.error.as_ref());
        error.map(|error| format!(": {}", error.found)).unwrap_or_default()
    };
    let promoted = records.iter().rev().find(|dated| matches!(dated.record, Record::Promoted));
    let since = promoted.map(|dated| format!(" since {} UTC", words::date(dated.at))).unwrap_or_default();
    let cost = cost(account);
    match account.outcome {
        Outcome::Nothing => "Nothing was done with these two servers: there is no journal of them.".into(),
        Outcome::Following => format!("The source ({old}) serves, and nothing was handed over yet."),
        Outcome::Failed => format!("The source ({old}) serves; the last call failed{}.", failed()),
        Outcome::Undone => format!("The source ({old}) serves: the handover was taken back{}.", failed()),
        Outcome::Interrupted if records.iter().any(|dated| matches!(dated.record, Record::Handover(_))) => {
            "A handover was begun and has no end: it runs still, or its controller died; run the same call again."
                .into()
        }
        Outcome::Interrupted => "The last call has no end: it runs still, or its controller died.".into(),
        Outcome::Switched => format!("The target ({new}) serves{at}{since}{cost}."),
        Outcome::RolledBack => format!("The source ({old}) serves again{at}{since}{cost}."),
        Outcome::Retired => {
            format!("The target ({new}) serves{at}{since}, and the source ({old}) was shut down{cost}.")
        }
    }
}

/// Whether a comparison found a difference. One that could not compare everything is not `equal` either.
fn differs(found: &Value) -> bool {
    found["differing"].as_u64() > Some(0) || found["differences"].as_array().is_some_and(|all| !all.is_empty())
}

/// What the last handover cost clients, and whether the data was compared.
fn cost(account: &Account) -> String {
    let mut said = Vec::new();
    if let Some(cut) = account.handovers.last() {
        if let Some(gap) = cut.write_gap_ms {
            said.push(format!("writes waited {}", words::duration(gap / 1e3)));
        }
        if let Some(lost) = cut.probe.as_ref().and_then(|probe| probe["lost"].as_u64()) {
            said.push(match lost {
                0 => "the probe lost no acknowledged write".into(),
                lost => format!("the probe LOST {lost} acknowledged writes"),
            });
        }
    }
    if let Some(found) = &account.verification {
        let how = match (found["level"].as_str(), found["compared"].as_u64()) {
            (Some("counts"), _) => "key counts",
            // The account may not read keys, or there are none.
            (Some("sample"), Some(0)) => "key counts alone",
            (Some("sample"), _) => "a sample of keys",
            _ => "every key",
        };
        let equal = match found["equal"].as_bool() {
            Some(true) => "found no difference",
            _ if differs(found) => "found DIFFERENCES",
            _ => "found no difference, but could not compare everything",
        };
        said.push(format!("the last comparison, of {how}, {equal}"));
    }
    match said.pop() {
        None => String::new(),
        Some(only) if said.is_empty() => format!(": {only}"),
        Some(last) => format!(": {}, and {last}", said.join(", ")),
    }
}

#[cfg(test)]
mod tests;
