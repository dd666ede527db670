//! `pictor verify`.

use pictor_storage::{Finding, Remedy};

use crate::args::VerifyArgs;
use crate::bar::bar;
use crate::exit::Outcome;
use crate::output::{Output, count};

pub fn run(args: VerifyArgs, output: &Output) -> anyhow::Result<Outcome> {
    let index = args.index.index;
    let bar = bar(Some(0), "rows", output);
    let verification = pictor_storage::verify(&index, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let verification = verification?;
    output.result(&verification, |verification| {
        let mut text = findings(&verification.findings);
        let (images, vectors) = (count(verification.images as u64), count(verification.vectors as u64));
        text += &match verification.findings.len() {
            0 => format!("sound: {images} images, {vectors} vectors read, every checksum holds\n"),
            1 => "1 finding".to_owned(),
            n => format!("{n} findings"),
        };
        let has = |remedy| verification.findings.iter().any(|finding| finding.remedy == remedy);
        if has(Remedy::Repair) {
            text += &format!("; pictor repair --index {} makes again what can be", index.display());
        }
        if has(Remedy::Restore) {
            text += "; what is to be restored needs a copy of the index, or indexing again into a new folder";
        }
        if verification.findings.is_empty() { text } else { text + "\n" }
    })?;
    Ok(if verification.findings.is_empty() { Outcome::Done } else { Outcome::Failed })
}

/// One line each.
pub(super) fn findings(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let remedy = match finding.remedy {
            Remedy::Repair => "repair",
            Remedy::Restore => "restore",
        };
        format!("{remedy}: {}: {}\n", finding.path.display(), finding.problem)
    };
    findings.iter().map(line).collect()
}
