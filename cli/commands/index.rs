//! `pictor index`.

use std::path::PathBuf;

use pictor_core::Encoder;
use pictor_indexer::{AttributeFile, Captions, IndexOptions, IndexReport};
use pictor_storage::Store;
use serde::Serialize;

use crate::args::IndexArgs;
use crate::bar::IndexBar;
use crate::exit::Outcome;
use crate::fast_decode::{self, FastDecodeCost};
use crate::output::{Output, bytes, count};
use crate::{interrupt, wiring};

/// The indexer's report, and what else is to be told.
#[derive(Serialize)]
struct Indexed {
    #[serde(flatten)]
    report: IndexReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    fast_decode: Option<FastDecodeCost>,
}

pub fn run(args: IndexArgs, output: &Output) -> anyhow::Result<Outcome> {
    let captions = args.captions.as_deref().map(Captions::read).transpose()?;
    let attributes = args.attributes.as_deref().map(AttributeFile::read).transpose()?;
    pictor_indexer::check_sources(&args.sources, &args.index.index)?;
    let encoder = wiring::encoder(&args.model, args.decode.options(), output)?;
    let store = wiring::open_or_create(&args.index.index, &args.layout, encoder.spec())?;
    let options = IndexOptions {
        batch: wiring::batch(args.batch, &encoder),
        prepare_threads: args.model.runtime.placement.threads,
        captions,
        attributes,
        prune: args.prune,
        max_file_bytes: args.decode.max_file_size,
        ..IndexOptions::default()
    };

    let cancel = interrupt::cancel(output)?;
    let bar = IndexBar::new(output);
    let report = pictor_indexer::index(&args.sources, &store, encoder.clone(), &options, &bar, &cancel);
    bar.finish();
    let report = report?;
    wiring::note_kind(&store, output)?;

    let fast_decode = match args.decode.fast_decode {
        true => FastDecodeCost::measure(&encoder, &some_files(&store)?, &args.decode.options(), output)?,
        false => None,
    };
    let indexed = Indexed { report, fast_decode };
    output.result(&indexed, |indexed| describe(&indexed.report, &args))?;
    Ok(if args.strict && !indexed.report.skipped.is_empty() { Outcome::Skipped } else { Outcome::Done })
}

/// Files of the index, enough to measure on.
fn some_files(store: &Store) -> anyhow::Result<Vec<PathBuf>> {
    let snapshot = store.snapshot()?;
    let paths = snapshot.records().take(fast_decode::IMAGES).map(|record| Ok(record?.1.uri.into()));
    paths.collect()
}

fn describe(report: &IndexReport, args: &IndexArgs) -> String {
    let mut text = String::new();
    for skipped in &report.skipped {
        text += &format!("skipped {}: {}\n", skipped.uri, skipped.reason);
    }
    if args.captions.is_some() && report.captioned < report.found {
        text += &format!("{} of {} files have captions\n", count(report.captioned), count(report.found));
    }
    if args.attributes.is_some() && report.attributed < report.found {
        text += &format!("{} of {} files have attributes\n", count(report.attributed), count(report.found));
    }
    if report.cancelled {
        text += "stopped early; run the same command again to go on\n";
    }
    text += &format!(
        "{} indexed, {} unchanged, {} skipped",
        count(report.indexed),
        count(report.unchanged),
        count(report.skipped.len() as u64)
    );
    if report.updated > 0 {
        text += &format!(", {} with new captions or attributes", count(report.updated));
    }
    if report.removed > 0 {
        text += &format!(", {} removed", count(report.removed));
    }
    text += &format!(" in {:.1} s", report.seconds);
    if report.indexed > 0 {
        text += &format!(" ({:.0} images/s, {} read)", report.images_per_second, bytes(report.bytes));
    }
    text += &format!("\ngeneration {} of {}\n", report.generation, args.index.index.display());
    if report.indexed > 0 {
        let t = &report.stages;
        text += &format!(
            "busy seconds: read {:.1}, decode {:.1}, resize {:.1}, encode {:.1}, write {:.1}, commit {:.1}\n",
            t.read, t.decode, t.resize, t.encode, t.write, t.commit
        );
    }
    text
}
