//! A report held against an earlier one: the gate of a continuous build.
//!
//! A difference counts as a drop when the queries themselves say so: the whole 95 % interval of a paired bootstrap lies below
//! zero, and the difference is larger than what was said to be tolerable. A fixed tolerance alone would fail small sets for
//! their noise and pass large ones that have truly become worse. What has not changed at all differs by nothing and passes; of
//! changes that neither help nor harm, about one figure in forty still seems to fall, which a tolerance is for.
//!
//! What must stay true: two reports are compared only when their queries and their protocol are the same, and what could not
//! be compared is said.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::report::{Comparison, DatasetSummary, REPORT_FORMAT, RetrievalReport};
use crate::table::{Kind, Table};
use crate::{Clusters, EvalError, words};

/// Figures that can fail; a mean rank is shown beside them, because a single query can move it far.
const GATED: [&str; 3] = ["R@1", "R@5", "R@10"];

/// What became of the baseline's figures.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Verdict {
    /// Points that a figure may drop, beyond noise, without failing.
    pub tolerance: f64,
    /// Every common run, direction and figure; `base` is the baseline's.
    pub comparisons: Vec<Comparison>,
    /// Those of `comparisons` that have dropped beyond noise and beyond the tolerance.
    pub dropped: Vec<Comparison>,
    /// Runs and directions of the baseline that this report does not have.
    pub missing: Vec<String>,
}

impl Verdict {
    /// Whether all of the baseline could be compared, and nothing has dropped: a gate that a run can be left out of is none.
    pub fn passed(&self) -> bool {
        self.dropped.is_empty() && self.missing.is_empty()
    }
}

/// Reads a report that was kept as JSON.
///
/// # Errors
/// [`EvalError`] when the file is unreadable, is no report, or one of another format.
pub fn read_report(path: &Path) -> Result<RetrievalReport, EvalError> {
    /// What every format has.
    #[derive(Deserialize)]
    struct Any {
        format: u32,
    }
    let json = fs_err::read(path)?;
    let no_report = |source| EvalError::NoReport { path: path.into(), source };
    let Any { format } = serde_json::from_slice(&json).map_err(no_report)?;
    if format != REPORT_FORMAT {
        return Err(EvalError::ReportFormat { path: path.into(), received: format, expected: REPORT_FORMAT });
    }
    serde_json::from_slice(&json).map_err(no_report)
}

/// Fails unless a baseline is of the data and the protocol of a report to come: what can be known before the work is done.
///
/// # Errors
/// [`EvalError`] when data or protocol differ.
pub fn check_baseline(
    baseline: &RetrievalReport,
    dataset: &DatasetSummary,
    protocol: &str,
) -> Result<(), EvalError> {
    if baseline.dataset.hash != dataset.hash {
        return Err(EvalError::BaselineData {
            expected: format!("{} ({})", baseline.dataset.name, baseline.dataset.hash),
            received: format!("{} ({})", dataset.name, dataset.hash),
        });
    }
    if baseline.protocol != protocol {
        return Err(EvalError::BaselineProtocol {
            expected: baseline.protocol.clone(),
            received: protocol.into(),
        });
    }
    Ok(())
}

/// Compares each run and direction that both reports have. `tolerance` is in points, from 0 up: 0 fails every drop beyond noise. The
/// clusters are those of the texts' and of the images' queries.
///
/// # Errors
/// [`EvalError`] when data or protocol differ, or no run has a label of the baseline's.
pub fn hold_against(
    baseline: &RetrievalReport,
    report: &RetrievalReport,
    tolerance: f64,
    [texts, images]: [&Clusters; 2],
) -> Result<Verdict, EvalError> {
    check_baseline(baseline, &report.dataset, &report.protocol)?;
    let (mut comparisons, mut missing, mut common) = (Vec::new(), Vec::new(), false);
    for base in &baseline.runs {
        let Some(run) = report.runs.iter().find(|run| run.label == base.label) else {
            missing.push(base.label.clone());
            continue;
        };
        common = true;
        for (key, name, before) in words::directions(base) {
            match words::directions(run).find(|(other, ..)| *other == key) {
                Some((.., now)) => {
                    let clusters = if key == "text_to_image" { texts } else { images };
                    let label = base.label.as_str();
                    comparisons.extend(crate::compare((label, before), (label, now), key, clusters)?);
                }
                None => missing.push(format!("{}, {name}", base.label)),
            }
        }
    }
    if !common {
        let labels = |report: &RetrievalReport| report.runs.iter().map(|run| run.label.clone()).collect();
        return Err(EvalError::NoCommonRun { expected: labels(baseline), received: labels(report) });
    }
    let dropped = comparisons.iter().filter(|c| has_dropped(c, tolerance)).cloned().collect();
    Ok(Verdict { tolerance, comparisons, dropped, missing })
}

fn has_dropped(comparison: &Comparison, tolerance: f64) -> bool {
    GATED.contains(&comparison.metric.as_str())
        && comparison.interval[1] < 0.0
        && comparison.difference < -tolerance
}

/// For the terminal.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            ("", "run", Kind::Run),
            ("", "direction", Kind::Words),
            ("", "figure", Kind::Words),
            ("", "difference", Kind::Figure),
            ("", "95 % interval", Kind::Figure),
            ("", "p", Kind::Figure),
            ("", "", Kind::Words),
        ]);
        for c in &self.comparisons {
            let word = match c {
                c if has_dropped(c, self.tolerance) => "DROPPED",
                c if c.interval[0] <= 0.0 && c.interval[1] >= 0.0 => "within noise",
                c if GATED.contains(&c.metric.as_str()) && c.interval[1] < 0.0 => "within tolerance",
                c if GATED.contains(&c.metric.as_str()) => "risen",
                _ => "changed",
            };
            table.rows.push(vec![
                c.run.clone(),
                words::direction(&c.direction).into(),
                words::figure(&c.metric),
                words::signed(c.difference),
                words::interval(c.interval),
                words::p(c.p),
                word.into(),
            ]);
        }
        writeln!(f, "against the baseline, of the same queries:\n{table}")?;
        if !self.missing.is_empty() {
            writeln!(f, "MISSING, in the baseline only and not compared: {}", self.missing.join("; "))?;
        }
        match self.dropped.len() {
            0 => write!(f, "no R@K has dropped beyond noise"),
            n => write!(f, "{n} of the figures dropped beyond noise"),
        }?;
        if self.tolerance > 0.0 {
            write!(f, " and by more than {} points", self.tolerance)?;
        }
        Ok(())
    }
}
