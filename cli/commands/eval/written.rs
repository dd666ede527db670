//! A report on the terminal, as JSON, and as files.

use std::collections::BTreeMap;
use std::path::Path;

use pictor_eval::{ImageRef, RetrievalReport, Verdict};
use serde::Serialize;

/// What the command prints: the report, and how it stands against a baseline.
#[derive(Serialize)]
pub struct Said<'a> {
    #[serde(flatten)]
    pub report: &'a RetrievalReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<&'a Verdict>,
}

impl Said<'_> {
    pub fn text(&self) -> String {
        match self.baseline {
            None => format!("{}\n", self.report),
            Some(verdict) => format!("{}\n\n{verdict}\n", self.report),
        }
    }
}

/// Fails when the report would be written over the baseline: a gate that failed once would pass from then on.
pub fn spare(folder: &Path, baseline: Option<&Path>) -> anyhow::Result<()> {
    let Some(baseline) = baseline else { return Ok(()) };
    let report = fs_err::canonicalize(folder)?.join("report.json");
    anyhow::ensure!(
        fs_err::canonicalize(baseline)? != report,
        "--report {} would overwrite the baseline; name another folder",
        folder.display()
    );
    Ok(())
}

/// Writes `report.json`, `report.md` and `report.html`, the last with small copies of the photographs it shows.
pub fn write(
    folder: &Path,
    report: &RetrievalReport,
    images: &BTreeMap<&str, &ImageRef>,
) -> anyhow::Result<()> {
    let thumbnail = |name: &str| {
        let bytes = images.get(name)?.read().ok()?;
        pictor_encoders::thumbnail_jpeg(&bytes, THUMBNAIL).ok()
    };
    fs_err::write(folder.join("report.json"), serde_json::to_vec_pretty(report)?)?;
    fs_err::write(folder.join("report.md"), report.to_markdown())?;
    fs_err::write(folder.join("report.html"), report.to_html(&thumbnail))?;
    Ok(())
}

/// Longest side of a photograph in the page, pixels.
const THUMBNAIL: u32 = 160;
