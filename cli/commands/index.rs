//! `pictor index`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use pictor_core::{Encoder, EncoderSpec};
use pictor_indexer::{Captions, IndexOptions, IndexReport};
use pictor_storage::{StorageError, Store};
use serde::Serialize;

use crate::args::IndexArgs;
use crate::bar::IndexBar;
use crate::exit::Outcome;
use crate::fast_decode::{self, FastDecodeCost};
use crate::output::{Output, bytes, count};
use crate::wiring;

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
    pictor_indexer::check_sources(&args.sources, &args.index.index)?;
    let encoder = wiring::encoder(&args.model, args.decode.options(), output)?;
    let store = open_or_create(&args, encoder.spec())?;
    let options = IndexOptions {
        batch: wiring::batch(args.batch, &encoder),
        prepare_threads: args.model.runtime.placement.threads,
        captions,
        prune: args.prune,
        max_file_bytes: args.decode.max_file_size,
        ..IndexOptions::default()
    };

    let cancel = cancel_on_interrupt(output)?;
    let bar = IndexBar::new(output);
    let report = pictor_indexer::index(&args.sources, &store, encoder.clone(), &options, &bar, &cancel);
    bar.finish();
    let report = report?;

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

fn open_or_create(args: &IndexArgs, spec: &EncoderSpec) -> anyhow::Result<Store> {
    let dir = &args.index.index;
    let store = match Store::open(dir) {
        // `create` has words of its own for a folder that holds something else.
        Err(StorageError::Missing { .. } | StorageError::NotAnIndex { .. }) => {
            return Ok(Store::create(dir, spec, args.index_kind.clone().unwrap_or_default())?);
        }
        opened => opened?,
    };
    store.check_encoder(spec)?;
    let kept = store.kind()?;
    if let Some(wanted) = args.index_kind.as_ref().filter(|wanted| **wanted != kept) {
        bail!(
            "{} was made with --index-kind {kept}, not {wanted}; leave the flag out, or index into a new folder",
            dir.display()
        );
    }
    Ok(store)
}

/// The first Ctrl-C asks the pipeline to commit what is done; the second ends the process at once, as people expect.
fn cancel_on_interrupt(output: &Output) -> anyhow::Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = cancel.clone();
    let quiet = output.quiet;
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        if !quiet {
            let _ = writeln!(
                std::io::stderr(),
                "stopping: committing what is done (again to quit at once; the last commit stays)"
            );
        }
    })
    .context("failed to listen for Ctrl-C")?;
    Ok(cancel)
}

fn describe(report: &IndexReport, args: &IndexArgs) -> String {
    let mut text = String::new();
    for skipped in &report.skipped {
        text += &format!("skipped {}: {}\n", skipped.uri, skipped.reason);
    }
    if args.captions.is_some() && report.captioned < report.found {
        text += &format!("{} of {} files have captions\n", count(report.captioned), count(report.found));
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
    if report.updated_captions > 0 {
        text += &format!(", {} with new captions", count(report.updated_captions));
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
