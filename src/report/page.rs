//! The account as one HTML page that needs nothing beside it.

use minijinja::{Environment, value::Serde};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Account, Called, Cut, Outcome, Setting,
    chart::{Block, Chart, Scale, Series, zoom},
    words,
};

/// Around a handover that is shown of what the probe saw.
const AROUND: f64 = 4.0;
/// Samples that are further apart were seen at another time.
const APART: f64 = 300.0;

/// A chart, and what is said about it.
#[derive(Serialize)]
struct Figure {
    id: &'static str,
    title: &'static str,
    legend: Vec<(&'static str, &'static str)>,
    svg: String,
}

/// What the template is given.
#[derive(Serialize)]
struct Shown<'a> {
    account: &'a Account,
    version: &'static str,
    /// The colour of the outcome.
    mood: &'static str,
    cuts: Vec<Value>,
    /// Settings that have not their first value.
    raised: Vec<&'a Setting>,
    unended: Vec<&'a Called>,
    /// How many calls have failed.
    failed: usize,
    figures: Vec<Figure>,
    /// The last handover.
    last: Option<&'a Cut>,
    spans: Vec<Value>,
}

/// The page.
pub fn page(account: &Account) -> Result<String, minijinja::Error> {
    let mut pages = Environment::new();
    pages.add_filter("date", |time: f64| words::date(time));
    pages.add_filter("clock", words::clock_ms);
    pages.add_filter("duration", words::duration);
    pages.add_filter("short", words::short);
    pages.add_filter("bytes", words::bytes);
    pages.add_filter("count", words::count);
    pages.add_filter("words", |text: String| text.replace('_', " "));
    pages.add_filter("yes", |flag: bool| if flag { "yes" } else { "no" });
    // The name tells that it is HTML: what is put in is escaped.
    pages.add_template("page.html", include_str!("page.html"))?;
    let cuts: Vec<_> = account.handovers.iter().map(cut).collect();
    let raised: Vec<_> = account.settings.iter().filter(|setting| setting.stands()).collect();
    let mood = match account.outcome {
        Outcome::Switched | Outcome::Retired | Outcome::RolledBack if is_harmed(account) => "bad",
        Outcome::Switched | Outcome::Retired | Outcome::RolledBack => "good",
        Outcome::Nothing | Outcome::Following => "plain",
        Outcome::Failed | Outcome::Undone => "fair",
        Outcome::Interrupted => "bad",
    };
    let unended: Vec<_> = account.calls.iter().filter(|call| call.outcome == "unended").collect();
    let failed = account.calls.iter().filter(|call| call.outcome == "failed").count();
    let shown = Shown {
        account,
        version: env!("CARGO_PKG_VERSION"),
        mood,
        cuts,
        raised,
        unended,
        failed,
        figures: figures(account),
        last: account.handovers.last(),
        spans: account.calls.iter().map(spans).collect(),
    };
    pages.get_template("page.html")?.render(Serde(shown))
}

/// Whether clients have lost something, or the data differs.
fn is_harmed(account: &Account) -> bool {
    let lost = |cut: &Cut| cut.probe.as_ref().is_some_and(|probe| probe["lost"].as_u64() > Some(0));
    account.handovers.iter().any(lost) || account.verification.as_ref().is_some_and(super::differs)
}

/// A handover with its phases as shares of the whole.
fn cut(cut: &Cut) -> Value {
    let whole: u64 = cut.phases.iter().map(|phase| phase.microseconds).sum();
    json!({ "cut": cut, "microseconds": whole })
}

/// The steps of a call as shares of its time, in percent.
fn spans(call: &Called) -> Value {
    let share = |seconds: f64| 100.0 * seconds / call.seconds.max(1e-9);
    let spans = call.steps.iter().map(|step| {
        json!({ "name": step.name, "left": share(step.began - call.began), "width": share(step.ended - step.began),
            "seconds": step.ended - step.began })
    });
    json!({ "call": call, "spans": spans.collect::<Vec<_>>() })
}

fn figures(account: &Account) -> Vec<Figure> {
    let cuts: Vec<f64> = account.handovers.iter().map(|cut| cut.time).collect();
    let mut figures = Vec::new();
    if let Some(svg) = zoomed(account) {
        figures.push(Figure {
            id: "cut",
            title: "The call with the handover, and the handover enlarged",
            legend: Vec::new(),
            svg,
        });
    }
    if let Some(svg) = latency(account, &cuts) {
        let legend = vec![("slow", "slowest"), ("median", "median"), ("error", "an error")];
        figures.push(Figure { id: "latency", title: "Latency that the probe saw around the handover", legend, svg });
    }
    let both = || vec![("source", "source"), ("target", "target")];
    type Kind = (&'static str, &'static str, &'static str, Scale, fn(f64) -> String);
    let kinds: [Kind; 4] = [
        ("ops", "ops_per_second", "Commands a second on each server", Scale::Decimal, words::count),
        ("clients", "clients", "Clients on each server", Scale::Decimal, words::count),
        ("lag", "lag_bytes", "How far the one that follows is behind", Scale::Binary, words::bytes),
        ("memory", "memory_bytes", "Memory in use", Scale::Binary, words::bytes),
    ];
    for (id, field, title, scale, unit) in kinds {
        if let Some(svg) = samples(account, &cuts, field, title, scale, unit) {
            figures.push(Figure { id, title, legend: both(), svg });
        }
    }
    figures
}

fn zoomed(account: &Account) -> Option<String> {
    let cut = account.handovers.last()?;
    let call = account.calls.iter().rfind(|call| call.began <= cut.time && cut.time <= call.began + call.seconds)?;
    let seconds = |phase: &super::Phase| phase.microseconds as f64 / 1e6;
    let steps: Vec<_> =
        call.steps.iter().map(|step| Block { name: &step.name, seconds: step.ended - step.began }).collect();
    let phases: Vec<_> = cut.phases.iter().map(|phase| Block { name: &phase.name, seconds: seconds(phase) }).collect();
    let first = call.steps.first().map_or(call.began, |step| step.began);
    Some(zoom(&steps, cut.time - first, &phases))
}

fn latency(account: &Account, cuts: &[f64]) -> Option<String> {
    let begins = |bucket: &Value| bucket["since"].as_f64().unwrap_or_default();
    let last = account.probe.last().map(begins)?;
    // Of a handover that was killed nobody has told: then it is the end.
    let middle = cuts.iter().rfind(|cut| account.probe.iter().any(|b| (begins(b) - **cut).abs() < AROUND));
    let middle = middle.copied().unwrap_or(last);
    let near: Vec<_> = account.probe.iter().filter(|b| (begins(b) - middle).abs() <= AROUND).collect();
    let points = |field: &str| {
        let answered = near.iter().filter(|b| b[field].as_f64() > Some(0.0));
        answered.filter_map(|b| Some((b["until"].as_f64()?, b[field].as_f64()?))).collect::<Vec<_>>()
    };
    let errors = near.iter().filter_map(|bucket| {
        let errors = bucket["errors"].as_object().filter(|errors| !errors.is_empty())?;
        // A word of the server's: letters and digits are all that is shown of it.
        let word = |text: &str| text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
        let said: Vec<_> = errors.iter().map(|(name, count)| format!("{} × {count}", word(name))).collect();
        Some((bucket["until"].as_f64()?, said.join(", ")))
    });
    Some(
        Chart {
            title: "Latency that the probe saw",
            series: vec![
                Series { class: "slow", points: points("max_us") },
                Series { class: "median", points: points("median_us") },
            ],
            marks: errors.collect(),
            cuts,
            since: begins(near.first()?),
            until: near.last()?["until"].as_f64()?,
            scale: Scale::Logarithmic,
            gap: 1.0,
            unit: |us| words::duration(us / 1e6),
        }
        .svg(),
    )
}

/// Both servers' samples from around the last handover, else the last that there are.
fn samples(
    account: &Account,
    cuts: &[f64],
    field: &str,
    title: &str,
    scale: Scale,
    unit: fn(f64) -> String,
) -> Option<String> {
    let time = |sample: &Value| sample["time"].as_f64().unwrap_or_default();
    let sessions: Vec<_> = account.samples.chunk_by(|a, b| time(b) - time(a) < APART).collect();
    let around = |session: &&&[Value]| {
        cuts.last().is_some_and(|cut| session.iter().any(|sample| (time(sample) - cut).abs() < APART))
    };
    let session = sessions.iter().rfind(around).or(sessions.last())?;
    let of = |side: &str| {
        let its = session.iter().filter(|sample| sample["side"] == side);
        its.filter_map(|sample| Some((time(sample), sample[field].as_f64()?))).collect::<Vec<_>>()
    };
    let (source, target) = (of("source"), of("target"));
    if source.len() + target.len() < 3 {
        return None;
    }
    let (since, until) = (time(session.first()?), time(session.last()?));
    let series = vec![Series { class: "source", points: source }, Series { class: "target", points: target }];
    Some(Chart { title, series, marks: Vec::new(), cuts, since, until, scale, gap: 5.0, unit }.svg())
}
