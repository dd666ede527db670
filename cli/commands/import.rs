//! `pictor import`.

use anyhow::Context;
use pictor_core::EncoderSpec;
use pictor_encoders::{INT8_FINGERPRINT, ModelFolder, Precision};
use pictor_indexer::{ImportOptions, ImportReport, ImportSource};
use pictor_storage::{StorageError, Store};

use crate::args::ImportArgs;
use crate::bar::bar;
use crate::exit::Outcome;
use crate::output::{Output, count};
use crate::{interrupt, wiring};

pub fn run(args: ImportArgs, output: &Output) -> anyhow::Result<Outcome> {
    let spec = spec(&args)?;
    // Before an index is made: a source that cannot be used leaves nothing behind.
    let source = ImportSource::open(&args.source, !args.no_metadata, &spec)?;
    let store = wiring::open_or_create(&args.index.index, &args.layout, &spec)?;
    let options = ImportOptions { commit_every: args.commit_every as usize };

    let cancel = interrupt::cancel(output)?;
    let bar = bar(Some(source.rows()), "rows", output);
    let report = pictor_indexer::import(&source, &store, &options, &|done| bar.set_position(done), &cancel);
    bar.finish_and_clear();
    let report = report?;
    wiring::note_kind(&store, output)?;
    output.result(&report, |report| describe(report, &args))?;
    Ok(if args.strict && report.skipped > 0 { Outcome::Skipped } else { Outcome::Done })
}

/// What made the vectors: the model named, or that of the index. The model is not run, so its description is all that is read.
fn spec(args: &ImportArgs) -> anyhow::Result<EncoderSpec> {
    let Some(model) = &args.model else {
        return match Store::open(&args.index.index) {
            Ok(store) => Ok(store.spec().clone()),
            Err(StorageError::Missing { .. } | StorageError::NotAnIndex { .. }) => {
                anyhow::bail!("a new index needs the model that made the vectors: name it with --model")
            }
            Err(error) => Err(error.into()),
        };
    };
    let manifest = ModelFolder::find(model)?.manifest().with_context(|| format!("the model {model}"))?;
    let mut spec = manifest.spec();
    if args.precision == Precision::Int8 {
        spec.fingerprint += INT8_FINGERPRINT;
    }
    Ok(spec)
}

fn describe(report: &ImportReport, args: &ImportArgs) -> String {
    let mut text = String::new();
    for (column, reason) in &report.ignored_columns {
        text += &format!("column {column} left out: {reason}\n");
    }
    for skipped in &report.first_skipped {
        text += &format!("skipped {}: {}\n", skipped.uri, skipped.reason);
    }
    if report.skipped > report.first_skipped.len() as u64 {
        text += &format!("{} skipped in all; pictor inspect --skipped lists them\n", count(report.skipped));
    }
    if report.cancelled {
        text += "stopped early; run the same command again to go on\n";
    }
    text += &format!(
        "{} rows: {} imported, {} unchanged, {} replaced, {} skipped",
        count(report.rows),
        count(report.imported),
        count(report.unchanged),
        count(report.replaced),
        count(report.skipped)
    );
    for (n, what) in [
        (report.updated, "with a new description"),
        (report.duplicates, "of an image that an earlier row has"),
        (report.normalised, "brought to length 1"),
    ] {
        if n > 0 {
            text += &format!(", {} {what}", count(n));
        }
    }
    text += &format!(" in {:.1} s\n", report.seconds);
    text + &format!("generation {} of {}\n", report.generation, args.index.index.display())
}
