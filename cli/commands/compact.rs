//! `pictor compact`.

use std::time::Instant;

use pictor_storage::{Description, Store};
use serde::Serialize;

use crate::args::CompactArgs;
use crate::bar;
use crate::exit::Outcome;
use crate::output::{Output, bytes, count};

/// What there is on disk.
#[derive(Serialize)]
struct Size {
    segments: usize,
    /// Deleted ones included.
    rows: usize,
    deleted: usize,
    /// Of all stores.
    bytes: u64,
}

/// What the command did.
#[derive(Serialize)]
struct Compacted {
    /// False when there was nothing to merge.
    compacted: bool,
    before: Size,
    after: Size,
    seconds: f64,
}

pub fn run(args: CompactArgs, output: &Output) -> anyhow::Result<Outcome> {
    let store = Store::open(&args.index.index)?;
    let started = Instant::now();
    let spinner = bar::spinner("compacting", output);
    let compacted = compact(&store);
    spinner.finish_and_clear();
    let (compacted, before, after) = compacted?;
    let compacted = Compacted { compacted, before, after, seconds: started.elapsed().as_secs_f64() };
    output.result(&compacted, describe)?;
    Ok(Outcome::Done)
}

fn compact(store: &Store) -> anyhow::Result<(bool, Size, Size)> {
    let mut writer = store.writer()?;
    let before = size(&store.snapshot()?.describe()?);
    let compacted = writer.compact()?;
    // RocksDB deletes its old files at the latest when it is closed.
    drop(writer);
    Ok((compacted, before, size(&store.snapshot()?.describe()?)))
}

fn size(index: &Description) -> Size {
    Size {
        segments: index.segments.len(),
        rows: index.segments.iter().map(|segment| segment.rows).sum(),
        deleted: index.segments.iter().map(|segment| segment.deleted).sum(),
        bytes: index.bytes.total,
    }
}

fn describe(compacted: &Compacted) -> String {
    let Compacted { compacted, before, after, seconds } = compacted;
    if !compacted {
        return format!(
            "nothing to do: {} segments, {} rows, none deleted, {}\n",
            before.segments,
            count(before.rows as u64),
            bytes(before.bytes)
        );
    }
    format!(
        "{} → {} segments, {} → {} rows ({} deleted ones gone), {} → {} in {seconds:.1} s\n",
        before.segments,
        after.segments,
        count(before.rows as u64),
        count(after.rows as u64),
        count(before.deleted as u64),
        bytes(before.bytes),
        bytes(after.bytes)
    )
}
