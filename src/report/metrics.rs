//! The account as metrics, in the text format that the textfile collector of node_exporter reads.

use std::fmt::Write;

use super::{Account, Outcome};

/// One family of metrics.
struct Family<'a> {
    text: &'a mut String,
    labels: &'a str,
    name: &'static str,
}

impl Family<'_> {
    fn add(&mut self, more: &[(&str, &str)], value: f64) -> &mut Self {
        let more: String = more.iter().map(|(name, value)| format!(",{name}=\"{}\"", escaped(value))).collect();
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "redis_baton_{}{{{}{more}}} {value}", self.name, self.labels);
        self
    }
}

/// All metrics; what is not known is left out.
pub fn metrics(account: &Account) -> String {
    let labels =
        format!("source=\"{}\",target=\"{}\"", escaped(&account.source.address), escaped(&account.target.address));
    let mut text = String::new();
    let mut family = |name: &'static str, help: &str, samples: &[(Vec<(&str, &str)>, f64)]| {
        if samples.is_empty() {
            return;
        }
        let _ = writeln!(text, "# HELP redis_baton_{name} {help}\n# TYPE redis_baton_{name} gauge");
        let mut family = Family { text: &mut text, labels: &labels, name };
        for (more, value) in samples {
            family.add(more, *value);
        }
    };
    let one = |value: Option<f64>| value.map(|value| vec![(Vec::new(), value)]).unwrap_or_default();
    let is = |outcome: Outcome| f64::from(u8::from(account.outcome == outcome));
    let outcomes: Vec<_> = Outcome::ALL.into_iter().map(|o| (vec![("outcome", o.as_str())], is(o))).collect();
    family("outcome", "1 for the outcome that holds, else 0.", &outcomes);

    let last = account.handovers.last();
    family("handover_timestamp_seconds", "When the last handover was done.", &one(last.map(|cut| cut.time)));
    let gap = last.and_then(|cut| cut.write_gap_ms).map(|ms| ms / 1e3);
    family("write_gap_seconds", "How long writes waited in the last handover.", &one(gap));
    let phases = last.map(|cut| &*cut.phases).unwrap_or_default();
    let phases: Vec<_> = phases.iter().map(|p| (vec![("phase", &*p.name)], p.microseconds as f64 / 1e6)).collect();
    family("phase_seconds", "How long each phase of the last handover took.", &phases);

    let probe = last.and_then(|cut| cut.probe.as_ref());
    let of_probe = |name: &str, unit: f64| one(probe.and_then(|probe| probe[name].as_f64()).map(|value| value / unit));
    family(
        "probe_gap_seconds",
        "The longest time without an acknowledged write, as the probe saw it.",
        &of_probe("longest_gap_ms", 1e3),
    );
    family(
        "probe_read_gap_seconds",
        "The longest time without an answered read.",
        &of_probe("longest_read_gap_ms", 1e3),
    );
    family("probe_lost_writes", "Writes of the probe that were acknowledged and are gone.", &of_probe("lost", 1.0));
    let errors = probe.and_then(|probe| probe["errors"].as_object()).into_iter().flatten();
    let errors: Vec<_> = errors.filter_map(|(word, count)| Some((vec![("error", &**word)], count.as_f64()?))).collect();
    family("probe_errors", "What the probe got instead of an answer.", &errors);

    let flag = |flag: bool| f64::from(u8::from(flag));
    family("warm", "Whether the old server follows without a gap.", &one(account.warm.as_ref().map(|w| flag(w.warm))));
    let equal = account.verification.as_ref().and_then(|found| found["equal"].as_bool());
    family("verified", "Whether the last comparison found the data equal.", &one(equal.map(flag)));
    let raised = account.settings.iter().filter(|setting| setting.stands()).count();
    family(
        "settings_raised",
        "Parameters that have another value until the upgrade is over.",
        &one(Some(raised as f64)),
    );
    let failed = account.calls.iter().filter(|call| call.outcome != "done").count();
    family("calls_not_done", "Calls that have failed or have no end.", &one(Some(failed as f64)));
    family(
        "last_call_timestamp_seconds",
        "When the last call began.",
        &one(account.calls.last().map(|call| call.began)),
    );
    text
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
