//! The charts of a report.

use super::svg::{Anchor, Scale, Svg, spread};
use super::{Keys, escape};
use crate::curves;
use crate::report::{Comparison, Direction, RetrievalReport};
use crate::table::{Kind, Table};
use crate::words;

/// Largest K of the recall curves.
const UP_TO: usize = 100;
/// K that are read off: ticks of the axis, and columns of the table.
const TICKS: [usize; 7] = [1, 2, 5, 10, 20, 50, 100];

/// A direction with the runs that have it: place among all runs, label, figures.
type Panel<'a> = (&'static str, Vec<(usize, &'a str, &'a Direction)>);

fn panels(report: &RetrievalReport) -> Vec<Panel<'_>> {
    let of = |wanted: &'static str| {
        let runs = report.runs.iter().enumerate().flat_map(|(place, run)| {
            words::directions(run)
                .map(move |(_, name, direction)| (place, run.label.as_str(), name, direction))
        });
        let runs = runs.filter(|(_, _, name, direction)| *name == wanted && !direction.ranks.is_empty());
        (wanted, runs.map(|(place, label, _, direction)| (place, label, direction)).collect::<Vec<_>>())
    };
    ["text → image", "image → text"].map(of).into_iter().filter(|(_, runs)| !runs.is_empty()).collect()
}

/// R@K for K = 1..=100, one line for each run, both directions on the same scale.
pub(super) fn recall(report: &RetrievalReport, keys: &Keys) -> String {
    let panels = panels(report);
    if panels.is_empty() {
        return String::new();
    }
    let curves: Vec<Vec<Vec<f64>>> = panels
        .iter()
        .map(|(_, runs)| runs.iter().map(|(.., direction)| curves::recall(&direction.ranks, UP_TO)).collect())
        .collect();
    let values = || curves.iter().flatten().flatten().copied();
    // Whole tens, at least two of them.
    let low = (values().fold(100.0, f64::min) / 10.0).floor().min(8.0) * 10.0;
    let high = ((values().fold(0.0, f64::max) / 10.0).ceil() * 10.0).max(low + 20.0);

    let mut html = keys.legend() + "<div class=\"charts\">\n";
    for ((name, runs), curves) in panels.iter().zip(&curves) {
        html += &format!(
            "<figure><figcaption>{}</figcaption>{}</figure>\n",
            escape(name),
            recall_chart(name, runs, curves, [low, high])
        );
    }
    html += "</div>\n<p class=\"soft\">R@K in percent over K. A query whose ranking ended before a positive was met is a miss at every \
             K.</p>\n<details><summary>The curves as a table</summary>\n";
    let mut table = Table::new([("", "run", Kind::Run), ("", "direction", Kind::Words)].into_iter().chain(
        ["R@1", "R@2", "R@5", "R@10", "R@20", "R@50", "R@100"].map(|title| ("", title, Kind::Figure)),
    ));
    for ((name, runs), curves) in panels.iter().zip(&curves) {
        for ((_, label, _), curve) in runs.iter().zip(curves) {
            let figures = TICKS.iter().map(|k| words::number(curve.get(k - 1).copied(), 1));
            table.rows.push([(*label).into(), (*name).into()].into_iter().chain(figures).collect());
        }
    }
    html + &super::table(&table, "R@K in percent", keys, None) + "</details>\n"
}

fn recall_chart(
    name: &str,
    runs: &[(usize, &str, &Direction)],
    curves: &[Vec<f64>],
    values: [f64; 2],
) -> String {
    let (width, height) = (480.0, 330.0);
    let [left, right, top, bottom] = [40.0, width - 34.0, 12.0, height - 44.0];
    let x = Scale { values: [1.0, UP_TO as f64], pixels: [left, right], log: true };
    let y = Scale { values, pixels: [bottom, top], log: false };
    let mut svg = Svg::new(width, height);
    let step = if values[1] - values[0] > 50.0 { 20.0 } else { 10.0 };
    let mut tick = (values[0] / step).ceil() * step;
    while tick <= values[1] {
        svg.line("grid", [left, y.at(tick)], [right, y.at(tick)]);
        svg.text("tick", [left - 7.0, y.at(tick) + 4.0], Anchor::End, &format!("{tick:.0}"));
        tick += step;
    }
    for k in TICKS {
        let at = x.at(k as f64);
        svg.line("grid", [at, top], [at, bottom]);
        svg.text("tick", [at, bottom + 17.0], Anchor::Middle, &k.to_string());
    }
    svg.line("axis", [left, bottom], [right, bottom]);
    svg.text("tick", [(left + right) / 2.0, height - 8.0], Anchor::Middle, "K (logarithmic)");

    let ends: Vec<f64> = curves.iter().map(|curve| y.at(curve.last().copied().unwrap_or(0.0))).collect();
    let labels = spread(&ends, 15.0, [top, bottom]);
    for (((place, label, _), curve), (end, at)) in runs.iter().zip(curves).zip(ends.iter().zip(&labels)) {
        let class = Keys::class(*place);
        let points = curve.iter().enumerate().map(|(i, value)| [x.at((i + 1) as f64), y.at(*value)]);
        svg.polyline(&format!("curve {class}"), points);
        for k in [1, 5, 10] {
            let value = curve[k - 1];
            svg.dot(
                &format!("dot {class}"),
                [x.at(k as f64), y.at(value)],
                3.5,
                &format!("{label}: R@{k} {value:.1}"),
            );
        }
        svg.line(&format!("lead {class}"), [right, *end], [right + 10.0, *at]);
        svg.text("name", [right + 13.0, at + 4.5], Anchor::Start, &Keys::letter(*place));
    }
    let says: Vec<String> = runs
        .iter()
        .zip(curves)
        .map(|((_, label, _), curve)| {
            format!("{label} rises from {:.1} at K = 1 to {:.1} at K = {UP_TO}", curve[0], curve[UP_TO - 1])
        })
        .collect();
    svg.finish(&format!("Recall at K, {name}: {}", says.join("; ")))
}

/// How many queries have their best positive at which rank; one small chart for each run and direction, all on one scale.
pub(super) fn ranks(report: &RetrievalReport, keys: &Keys) -> String {
    let panels = panels(report);
    let all = || panels.iter().flat_map(|(_, runs)| runs.iter().map(|(.., direction)| &direction.ranks));
    let Some(largest) = all().flatten().flatten().max().copied().or_else(|| all().next().map(|_| 1)) else {
        return String::new();
    };
    let ends = curves::bin_ends(largest);
    let with_missed = all().flatten().any(Option::is_none);
    let highest = all()
        .map(|ranks| curves::histogram(ranks, &ends))
        .flat_map(|(bins, missed)| bins.into_iter().chain([missed]))
        .fold(1.0, f64::max);
    let mut html = String::from(
        "<p class=\"soft\">Percent of queries by the rank of their best positive. A bar ends at the rank below it and begins after the one \
         before: 1, 2, 3–5, 6–10, …</p>\n<div class=\"charts small\">\n",
    );
    for (name, runs) in &panels {
        for (_, label, direction) in runs {
            let (bins, missed) = curves::histogram(&direction.ranks, &ends);
            let place = keys.0.iter().position(|known| known == label).unwrap_or(0);
            let mut bars: Vec<(String, f64)> = ends.iter().map(|end| short(*end)).zip(bins).collect();
            bars.extend(with_missed.then(|| ("none".into(), missed)));
            html += &format!(
                "<figure><figcaption>{} · {}</figcaption>{}</figure>\n",
                keys.name(label),
                escape(name),
                histogram_chart(&format!("{label}, {name}"), &bars, highest, &Keys::class(place))
            );
        }
    }
    html + "</div>\n"
}

fn histogram_chart(name: &str, bars: &[(String, f64)], highest: f64, class: &str) -> String {
    let (width, height) = (400.0, 170.0);
    let (top, bottom) = (18.0, height - 22.0);
    let y = Scale { values: [0.0, highest], pixels: [bottom, top], log: false };
    let each = width / bars.len() as f64;
    let mut svg = Svg::new(width, height);
    for (i, (end, percent)) in bars.iter().enumerate() {
        let x = each * i as f64;
        let at = y.at(*percent);
        svg.bar(
            &format!("mark {class}"),
            [x + 2.0, at],
            [each - 4.0, bottom - at],
            &format!("up to {end}: {percent:.2} %"),
        );
        let value = match percent {
            p if *p >= 0.95 => format!("{p:.0}"),
            p if *p > 0.0 => "<1".into(),
            _ => String::new(),
        };
        svg.text("value", [x + each / 2.0, at - 4.0], Anchor::Middle, &value);
        svg.text("value", [x + each / 2.0, bottom + 14.0], Anchor::Middle, end);
    }
    svg.line("axis", [0.0, bottom], [width, bottom]);
    let says: Vec<String> = bars.iter().map(|(end, percent)| format!("up to {end} {percent:.1} %")).collect();
    svg.finish(&format!("Ranks, {name}: {}", says.join(", ")))
}

/// `20000` as `20k`.
fn short(rank: u32) -> String {
    match rank {
        u32::MAX => "∞".into(),
        r if r >= 1_000_000 => format!("{}M", r / 1_000_000),
        r if r >= 1_000 => format!("{}k", r / 1_000),
        r => r.to_string(),
    }
}

/// The interval of each difference on one scale, zero in all of them: heading and cells of a column. Ranks are of another unit
/// and are not drawn.
pub(super) fn forest(comparisons: &[Comparison]) -> (String, Vec<String>) {
    let points = |c: &Comparison| !c.metric.ends_with("rank");
    let ends = || {
        comparisons.iter().filter(|c| points(c)).flat_map(|c| [c.interval[0], c.interval[1], c.difference])
    };
    let ends = || ends().filter(|value| value.is_finite());
    let low = ends().fold(0.0, f64::min).floor();
    let high = ends().fold(0.0, f64::max).ceil().max(low + 1.0);
    let (width, height) = (180.0, 22.0);
    let x = Scale { values: [low, high], pixels: [8.0, width - 8.0], log: false };

    let mut heading = Svg::new(width, height);
    for value in [low, 0.0, high] {
        heading.line("axis", [x.at(value), height - 4.0], [x.at(value), height]);
    }
    for (value, anchor) in [(low, Anchor::Start), (high, Anchor::End)] {
        let edge = if value == low { 0.0 } else { width };
        // Beside zero there is no room for a second number.
        if value != 0.0 && (x.at(value) - x.at(0.0)).abs() > 30.0 {
            heading.text("tick", [edge, height - 8.0], anchor, &format!("{value:+.0}").replace('-', "−"));
        }
    }
    heading.text("tick", [x.at(0.0), height - 8.0], Anchor::Middle, "0");
    let heading = heading.finish(&format!("points, from {low:.0} to {high:.0}"));

    let cells = comparisons.iter().map(|c| {
        if !points(c) {
            return String::new();
        }
        let class = match c.interval {
            [low, _] if low > 0.0 => "up",
            [_, high] if high < 0.0 => "down",
            _ => "even",
        };
        let mut svg = Svg::new(width, height);
        let middle = height / 2.0;
        svg.line("grid", [x.at(0.0), 0.0], [x.at(0.0), height]);
        let [from, to] = c.interval.map(|value| x.at(value));
        svg.line(&format!("whisker {class}"), [from, middle], [to, middle]);
        let says =
            format!("{} points, 95 % interval {}", words::signed(c.difference), words::interval(c.interval));
        svg.dot(&format!("dot {class}"), [x.at(c.difference), middle], 4.5, &says);
        svg.finish(&says)
    });
    (heading, cells.collect())
}

/// Milliseconds an item, as lengths of the longest: a bar for each stage, in the order of the table of stages.
pub(super) fn stage_bars(report: &RetrievalReport) -> Vec<String> {
    let stages = || {
        report
            .runs
            .iter()
            .enumerate()
            .flat_map(|(place, run)| run.stages.iter().map(move |stage| (place, stage)))
    };
    let each = |seconds: f64, items: usize| if items == 0 { 0.0 } else { seconds / items as f64 };
    let longest =
        stages().map(|(_, stage)| each(stage.seconds, stage.items)).fold(f64::MIN_POSITIVE, f64::max);
    stages()
        .map(|(place, stage)| {
            let percent = 100.0 * each(stage.seconds, stage.items) / longest;
            format!("<span class=\"bar {}\" style=\"width: {percent:.1}%\"></span>", Keys::class(place))
        })
        .collect()
}
