//! `pictor export`.

use pictor_indexer::ExportOptions;
use pictor_storage::Store;

use crate::args::ExportArgs;
use crate::bar::bar;
use crate::exit::Outcome;
use crate::output::{Output, bytes, count};

pub fn run(args: ExportArgs, output: &Output) -> anyhow::Result<Outcome> {
    let snapshot = Store::open(&args.index.index)?.snapshot()?;
    let options = ExportOptions { rows_per_file: args.rows_per_file as usize, dtype: args.dtype };
    let bar = bar(Some(snapshot.len() as u64), "images", output);
    let report = pictor_indexer::export(&snapshot, &args.out, &options, &|done| bar.set_position(done));
    bar.finish_and_clear();
    output.result(&report?, |report| {
        format!(
            "{}: {} images × {} {}, {} attributes, in {} pairs of files, {} in {:.1} s\n",
            report.out.display(),
            count(report.images),
            report.dim,
            report.dtype,
            report.attributes,
            report.parts,
            bytes(report.bytes),
            report.seconds
        )
    })?;
    Ok(Outcome::Done)
}
