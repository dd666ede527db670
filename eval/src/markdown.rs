//! A report as a Markdown document: what the terminal shows, with all that is needed to repeat it.

use std::fmt::Write;

use crate::anchors;
use crate::report::RetrievalReport;
use crate::sections;
use crate::table::markdown_text;
use crate::words;

impl RetrievalReport {
    /// The whole report in GitHub's Markdown. Names and captions of the data are escaped.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# Retrieval on {}\n\n", markdown_text(&self.dataset.name));
        text +=
            &format!("{}\n\n{}\n", markdown_text(&words::dataset(self)), sections::summary(self).markdown());
        text += "± is half of a 95 % bootstrap interval over queries.\n\n";
        text += &sections::further(self).markdown();
        if !self.comparisons.is_empty() {
            text += "\n## Differences\n\nOf the same queries, run minus the one it is held against; the interval is a paired bootstrap's, p \
                     a paired permutation test's.\n\n";
            text += &sections::comparisons(&self.comparisons).markdown();
        }
        if let Some(published) = anchors::beside(self) {
            text += &format!("\n## Published figures\n\n{}\n\n", published.remark);
            text += &anchors::table(&published.near).markdown();
            text += &sources(&published.near);
        }
        let stages = sections::stages(self);
        if !stages.rows.is_empty() {
            text += &format!("\n## Time\n\n{}", stages.markdown());
        }
        text += &format!("\n## Runs\n\n{}", sections::runs(self).markdown());
        text += &format!("\n## Protocol\n\n{}\n\n## Provenance\n\n", markdown_text(&self.protocol));
        text += &provenance(self);
        text
    }
}

/// One line for each source that `anchors` name.
pub(crate) fn sources(anchors: &[&anchors::Anchor]) -> String {
    let mut text = String::from("\n");
    for (key, title) in anchors::sources() {
        if anchors.iter().any(|anchor| anchor.source == *key) {
            text += &format!("- {key}: {}\n", markdown_text(title));
        }
    }
    text
}

fn provenance(report: &RetrievalReport) -> String {
    let command = words::command(&report.provenance.command);
    // A fence longer than any in the command.
    let longest = command.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    let mut text = format!("{fence}sh\n{command}\n{fence}\n\n{}\n\n", markdown_text(&words::made_by(report)));
    for (role, source) in &report.dataset.sources {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "- {}: {}", markdown_text(role), markdown_text(source));
    }
    let _ = writeln!(text, "- data hash (BLAKE3): {}", markdown_text(&report.dataset.hash));
    text
}
