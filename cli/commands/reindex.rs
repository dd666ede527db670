//! `pictor reindex`.

use anyhow::{Context, bail};
use pictor_core::Encoder;
use pictor_indexer::{IndexOptions, ReindexReport};
use pictor_storage::{Migration, Store};
use serde::Serialize;

use crate::args::ReindexArgs;
use crate::bar::IndexBar;
use crate::exit::Outcome;
use crate::output::{Output, count};
use crate::{interrupt, wiring};

/// What the command did.
#[derive(Serialize)]
struct Reindexed {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    report: Option<ReindexReport>,
    /// Whether the index is of another model than before.
    switched: bool,
    /// The model that the index is of now.
    model: String,
    /// What was done, or is to be done, in words.
    note: String,
}

/// Uris that are listed for people; JSON lists all.
const SHOWN: usize = 10;

pub fn run(args: ReindexArgs, output: &Output) -> anyhow::Result<Outcome> {
    let dir = &args.index.index;
    let migration = Migration::begin(dir)?;
    let (report, switched, note) = if args.rollback {
        migration.rollback()?;
        (
            None,
            true,
            "went back; the vectors that were replaced are kept, and --rollback again brings them back"
                .into(),
        )
    } else if args.discard {
        let note = if migration.discard()? {
            "the unfinished vectors are gone"
        } else {
            "there were no unfinished vectors"
        };
        (None, false, note.into())
    } else if args.forget_previous {
        let note = if migration.forget_previous()? {
            "the earlier model's vectors are gone"
        } else {
            "there were none of an earlier model"
        };
        (None, false, note.into())
    } else {
        let report = encode_again(&args, &migration, output)?;
        let stays = |why: String| format!("{why}; the index is as it was and serves searches");
        if report.cancelled {
            let note = stays("stopped early: run the same command again to go on".into());
            (Some(report), false, note)
        } else if report.missing.len() as u64 == report.images {
            bail!(
                "none of the {} images could be encoded again: their files are gone, or cannot be read; the index is as it was",
                count(report.images)
            );
        } else if !report.missing.is_empty() && !args.drop_missing {
            let note = stays(format!(
                "{} of {} images could not be encoded again: bring their files back and run the same command, or let them go with --drop-missing",
                count(report.missing.len() as u64),
                count(report.images)
            ));
            (Some(report), false, note)
        } else {
            migration.switch()?;
            let note = "switched; --rollback goes back, --forget-previous deletes the old vectors".into();
            (Some(report), true, note)
        }
    };
    let model = Store::open(dir)?.spec().name.clone();
    let waits = report.as_ref().is_some_and(|_| !switched);
    output.result(&Reindexed { report, switched, model, note }, describe)?;
    Ok(if waits { Outcome::Failed } else { Outcome::Done })
}

fn encode_again(args: &ReindexArgs, migration: &Migration, output: &Output) -> anyhow::Result<ReindexReport> {
    let model = args.model.as_deref().context("name the new model with --model")?;
    let encoder = wiring::encoder_named(model, &args.runtime, args.decode.options(), output)?;
    let old = migration.old()?;
    if old.is_empty() {
        bail!("the index has no images; index them with the new model into a new directory");
    }
    if old.spec() == encoder.spec() {
        bail!("the index is of the model {model} already");
    }
    let options = IndexOptions {
        batch: wiring::batch(args.batch, &encoder),
        prepare_threads: args.runtime.placement.threads,
        max_file_bytes: args.decode.max_file_size,
        ..IndexOptions::default()
    };
    let cancel = interrupt::cancel(output)?;
    let bar = IndexBar::new(output);
    let report = pictor_indexer::reindex(migration, encoder, &options, &bar, &cancel);
    bar.finish();
    Ok(report?)
}

fn describe(done: &Reindexed) -> String {
    let mut text = String::new();
    if let Some(report) = &done.report {
        for uri in report.missing.iter().take(SHOWN) {
            text += &format!("missing {uri}\n");
        }
        if report.missing.len() > SHOWN {
            text += &format!("… and {} more\n", count((report.missing.len() - SHOWN) as u64));
        }
        if let Some(index) = &report.index {
            text += &format!(
                "{} images: {} encoded, {} encoded before, {} skipped in {:.1} s ({:.0} images/s)\n",
                count(report.images),
                count(index.indexed),
                count(index.unchanged + index.updated),
                count(index.skipped.len() as u64),
                index.seconds,
                index.images_per_second
            );
        }
    }
    text + &format!("{}\nmodel {}\n", done.note, done.model)
}
