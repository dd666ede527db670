//! The tables of a report, which the terminal, Markdown and HTML show alike.

use std::fmt;

use crate::report::{Comparison, RetrievalReport};
use crate::table::{Kind, Table};
use crate::words::{self, NONE};

/// R@1, R@5 and R@10 of each run, both directions in one row.
pub(crate) fn summary(report: &RetrievalReport) -> Table {
    let mut columns = vec![("", "run", Kind::Run)];
    for group in ["text → image", "image → text"] {
        columns.extend(["R@1", "R@5", "R@10"].map(|title| (group, title, Kind::Figure)));
    }
    let mut table = Table::new(columns);
    for run in &report.runs {
        let mut row = vec![run.label.clone()];
        for direction in [Some(&run.text_to_image), run.image_to_text.as_ref()] {
            row.extend(match direction {
                None => [NONE; 3].map(String::from),
                Some(d) => [("R@1", d.metrics.r1), ("R@5", d.metrics.r5), ("R@10", d.metrics.r10)]
                    .map(|(name, value)| words::with_half_width(d, name, value)),
            });
        }
        table.rows.push(row);
    }
    table.compact()
}

/// The other figures, one row for each run and direction.
pub(crate) fn further(report: &RetrievalReport) -> Table {
    let mut table = Table::new([
        ("", "run", Kind::Run),
        ("", "direction", Kind::Words),
        ("", "mAP@R", Kind::Figure),
        ("", "R-precision", Kind::Figure),
        ("", "median rank", Kind::Figure),
        ("", "mean rank", Kind::Figure),
        ("", "queries", Kind::Figure),
        ("", "not found", Kind::Figure),
    ]);
    for run in &report.runs {
        for (_, name, direction) in words::directions(run) {
            let metrics = &direction.metrics;
            let missed = direction.ranks.iter().filter(|rank| rank.is_none()).count();
            let figure = |name, value: Option<f64>| {
                value.map_or_else(|| NONE.into(), |value| words::with_half_width(direction, name, value))
            };
            table.rows.push(vec![
                run.label.clone(),
                name.into(),
                figure("mAP@R", metrics.map_at_r),
                figure("R-precision", metrics.r_precision),
                words::number(metrics.median_rank, 1),
                words::number(metrics.mean_rank, 1),
                words::count(direction.ranks.len()),
                if missed == 0 { NONE.into() } else { words::count(missed) },
            ]);
        }
    }
    table.compact()
}

/// Two runs at a time, query by query.
pub(crate) fn comparisons(comparisons: &[Comparison]) -> Table {
    let mut table = Table::new([
        ("", "run", Kind::Run),
        ("", "against", Kind::Run),
        ("", "direction", Kind::Words),
        ("", "figure", Kind::Words),
        ("", "difference", Kind::Figure),
        ("", "95 % interval", Kind::Figure),
        ("", "p", Kind::Figure),
    ]);
    for c in comparisons {
        table.rows.push(vec![
            c.run.clone(),
            c.base.clone(),
            words::direction(&c.direction).into(),
            words::figure(&c.metric),
            words::signed(c.difference),
            words::interval(c.interval),
            words::p(c.p),
        ]);
    }
    table
}

/// Where the time went.
pub(crate) fn stages(report: &RetrievalReport) -> Table {
    let mut table = Table::new([
        ("", "run", Kind::Run),
        ("", "stage", Kind::Words),
        ("", "items", Kind::Figure),
        ("", "of", Kind::Words),
        ("", "seconds", Kind::Figure),
        ("", "ms each", Kind::Figure),
        ("", "a second", Kind::Figure),
    ]);
    for run in &report.runs {
        for stage in &run.stages {
            let items = stage.items as f64;
            table.rows.push(vec![
                run.label.clone(),
                stage.name.clone(),
                words::count(stage.items),
                stage.unit.clone(),
                words::digits(stage.seconds),
                words::digits(1000.0 * stage.seconds / items),
                words::digits(items / stage.seconds),
            ]);
        }
    }
    table
}

/// What each run is, so that a label need not say it.
pub(crate) fn runs(report: &RetrievalReport) -> Table {
    let mut table = Table::new([
        ("", "run", Kind::Run),
        ("", "ranked by", Kind::Words),
        ("", "model", Kind::Words),
        ("", "dimensions", Kind::Figure),
        ("", "precision", Kind::Words),
        ("", "runtime", Kind::Words),
        ("", "fingerprint", Kind::Words),
    ]);
    let or_dash = |text: &str| if text.is_empty() { NONE.into() } else { text.to_owned() };
    for run in &report.runs {
        let matcher = match &run.ranking {
            crate::report::Ranking::Rerank { matcher, .. } => Some(matcher),
            _ => None,
        };
        let ranked_by = [words::ranking(&run.ranking), String::new()];
        for (model, ranked_by) in [Some(&run.model), matcher].into_iter().flatten().zip(ranked_by) {
            table.rows.push(vec![
                run.label.clone(),
                ranked_by,
                model.name.clone(),
                if model.dim == 0 { NONE.into() } else { model.dim.to_string() },
                or_dash(&model.precision),
                or_dash(&model.runtime),
                or_dash(&model.fingerprint),
            ]);
        }
    }
    table
}

/// For the terminal.
impl fmt::Display for RetrievalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", words::dataset(self))?;
        write!(f, "{}\n{}", summary(self), further(self))?;
        if !self.comparisons.is_empty() {
            write!(f, "\n{}", comparisons(&self.comparisons))?;
        }
        let stages = stages(self);
        if !stages.rows.is_empty() {
            write!(f, "\n{stages}")?;
        }
        writeln!(f, "\n± is half of a 95 % bootstrap interval over queries.\n{}", self.protocol)?;
        write!(f, "{}", words::made_by(self))
    }
}
