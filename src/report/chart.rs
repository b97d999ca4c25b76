//! Charts as SVG: without a script, and coloured by the page's style.

use std::fmt::Write;

use super::words;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 30.0;

/// One line of a chart: points of time and value, oldest first.
pub struct Series<'a> {
    /// Its class, which the style colours.
    pub class: &'a str,
    pub points: Vec<(f64, f64)>,
}

/// What a step up of a chart means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Ten times as much.
    Logarithmic,
    /// As much as the one before, a round number.
    Decimal,
    /// As much as the one before, a power of two: for bytes.
    Binary,
}

/// What a chart shows.
pub struct Chart<'a> {
    /// What it is called for those who can't see it.
    pub title: &'a str,
    pub series: Vec<Series<'a>>,
    /// Points in time that are marked on the time axis, such as errors, each with what it says.
    pub marks: Vec<(f64, String)>,
    /// The handovers.
    pub cuts: &'a [f64],
    pub since: f64,
    pub until: f64,
    pub scale: Scale,
    /// Between points that are further apart there is no line.
    pub gap: f64,
    pub unit: fn(f64) -> String,
}

impl Chart<'_> {
    /// The chart.
    pub fn svg(&self) -> String {
        let values = || self.series.iter().flat_map(|series| &series.points).map(|(_, value)| *value);
        let (low, ticks) = match self.scale {
            Scale::Logarithmic => decades(values()),
            Scale::Decimal => (0.0, steps(decimal_step(highest(values())))),
            Scale::Binary => (0.0, steps(binary_step(highest(values())))),
        };
        let high = ticks.last().copied().unwrap_or(1.0);
        let y = |value: f64| {
            let share = if self.scale == Scale::Logarithmic {
                (value.max(low) / low).log10() / (high / low).log10()
            } else {
                (value - low) / (high - low)
            };
            HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
        };
        let x = |time: f64| LEFT + (time - self.since) / (self.until - self.since).max(1e-6) * (WIDTH - LEFT - RIGHT);
        let mut svg = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            self.title
        );
        let mut put = |text: String| svg.push_str(&text);
        for tick in &ticks {
            let at = y(*tick);
            put(format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                WIDTH - RIGHT
            ));
            let label = (self.unit)(*tick);
            put(format!("<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>", LEFT - 8.0, at + 4.0));
        }
        for n in 0..=4 {
            let time = self.since + (self.until - self.since) * f64::from(n) / 4.0;
            let label = if self.until - self.since < 20.0 { words::clock_ms(time) } else { words::clock(time) };
            let class = ["tick start", "tick middle", "tick middle", "tick middle", "tick end"][n as usize];
            put(format!("<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>", x(time), HEIGHT - 8.0));
        }
        for cut in self.cuts.iter().filter(|cut| (self.since..=self.until).contains(*cut)) {
            let at = x(*cut);
            put(format!(
                "<line class=\"cut\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>",
                HEIGHT - BOTTOM
            ));
        }
        for series in &self.series {
            for part in series.points.chunk_by(|a, b| b.0 - a.0 <= self.gap) {
                let points: Vec<_> =
                    part.iter().map(|(time, value)| format!("{:.1},{:.1}", x(*time), y(*value))).collect();
                match &*points {
                    [only] => {
                        let (at, height) = only.split_once(',').unwrap_or_default();
                        put(format!("<circle class=\"dot {}\" cx=\"{at}\" cy=\"{height}\" r=\"2.5\"/>", series.class));
                    }
                    points => put(format!("<polyline class=\"{}\" points=\"{}\"/>", series.class, points.join(" "))),
                }
            }
        }
        for (time, says) in &self.marks {
            let at = x(*time);
            put(format!(
                "<circle class=\"mark\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"4\"><title>{says}</title></circle>",
                HEIGHT - BOTTOM
            ));
        }
        svg + "</svg>"
    }
}

/// The powers of ten around these values, and the lowest of them.
fn decades(values: impl Iterator<Item = f64> + Clone) -> (f64, Vec<f64>) {
    let positive = values.filter(|value| *value > 0.0);
    let low = positive.clone().fold(f64::MAX, f64::min).min(1e12).log10().floor();
    let high = positive.fold(1.0, f64::max).log10().ceil().max(low + 1.0);
    let ticks = (low as i32..=high as i32).map(|power| 10f64.powi(power)).collect();
    (10f64.powf(low), ticks)
}

/// How many steps a chart has.
const STEPS: f64 = 4.0;

fn highest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(1.0, f64::max)
}

/// The values at which there are lines.
fn steps(step: f64) -> Vec<f64> {
    (0..=STEPS as u32).map(|n| f64::from(n) * step).collect()
}

/// A round number, so many of which reach past the highest value.
fn decimal_step(highest: f64) -> f64 {
    let power = 10f64.powf((highest / STEPS).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0].map(|n| n * power).into_iter().find(|step| step * STEPS >= highest);
    step.unwrap_or(power * 10.0).max(0.25)
}

/// The same as a power of two.
fn binary_step(highest: f64) -> f64 {
    2f64.powf((highest / STEPS).log2().ceil()).max(1.0)
}

/// A stretch of time with a name.
pub struct Block<'a> {
    pub name: &'a str,
    pub seconds: f64,
}

/// The steps of a call, and below, enlarged, the phases of the cut in it.
pub fn zoom(steps: &[Block<'_>], cut_after: f64, phases: &[Block<'_>]) -> String {
    const WHOLE: f64 = WIDTH - 2.0;
    let mut svg = format!(
        "<svg class=\"zoom\" viewBox=\"0 0 {WIDTH} 196\" role=\"img\" aria-label=\"The steps of the call, and the phases of its cut\">"
    );
    let total = steps.iter().map(|step| step.seconds).sum::<f64>().max(1e-9);
    let at = 1.0 + (cut_after / total).clamp(0.0, 1.0) * WHOLE;
    let _ = write!(svg, "<polygon class=\"lens\" points=\"{at:.1},60 {:.1},116 1,116\"/>", 1.0 + WHOLE);
    bar(&mut svg, steps, 24.0, 36.0);
    let _ = write!(svg, "<line class=\"cut\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"18\" y2=\"66\"/>");
    bar(&mut svg, phases, 116.0, 44.0);
    svg + "</svg>"
}

fn bar(svg: &mut String, blocks: &[Block<'_>], top: f64, height: f64) {
    let total = blocks.iter().map(|block| block.seconds).sum::<f64>().max(1e-9);
    let mut left = 1.0;
    for (n, block) in blocks.iter().enumerate() {
        let width = block.seconds / total * (WIDTH - 2.0);
        let (name, took) = (block.name.replace('_', " "), words::duration(block.seconds));
        let _ = write!(
            svg,
            "<g><title>{name}: {took}</title><rect class=\"block b{}\" x=\"{left:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{height}\" rx=\"2\"/>",
            n % 2,
            (width - 1.0).max(0.6)
        );
        // A name that does not fit stands in the table below.
        if width > 7.0 * name.chars().count().max(took.chars().count()) as f64 + 8.0 {
            let middle = left + width / 2.0;
            let _ = write!(
                svg,
                "<text class=\"label middle\" x=\"{middle:.1}\" y=\"{:.1}\">{name}</text><text class=\"tick middle\" x=\"{middle:.1}\" y=\"{:.1}\">{took}</text>",
                top + height / 2.0 + 4.5,
                top + height + 15.0
            );
        }
        svg.push_str("</g>");
        left += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_reach_the_highest_value() {
        for highest in [1.0, 3.0, 16.0, 99.0, 100.0, 101.0, 123_456.0, 5e9] {
            let (decimal, binary) = (decimal_step(highest), binary_step(highest));
            assert!(decimal * STEPS >= highest && binary * STEPS >= highest, "{highest}: {decimal}, {binary}");
            assert!(highest < 2.0 || (decimal * STEPS < highest * 2.5 && binary * STEPS < highest * 2.0), "{highest}");
        }
        assert_eq!((decimal_step(100.0), binary_step(100.0)), (25.0, 32.0));
        assert_eq!(steps(25.0), [0.0, 25.0, 50.0, 75.0, 100.0]);
    }
}
