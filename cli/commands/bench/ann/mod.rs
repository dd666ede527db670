//! `pictor bench ann`: what each index kind finds and what that costs, over any vectors.
//!
//! Recall and latency are one figure here: neither means anything without the other. Everything is measured in one run over the
//! same queries and held against the same exact answer; `benches/ann` runs the libraries beside it in the same way.

mod bandwidth;
mod filters;
mod matrix;
mod opening;
mod scratch;
mod searches;
mod table;
mod truth;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use indicatif::ProgressBar;
use pictor_ann::{Dtype, IndexKind, Rows};
use serde::Serialize;

use bandwidth::{Bandwidth, Scan};
use filters::{Case, Filtered};
use matrix::Matrix;
use opening::Opened;
use scratch::Scratch;
use searches::{Pools, Search};
use truth::Truth;

use crate::args::BenchAnnArgs;
use crate::bar::bar;
use crate::exit::Outcome;
use crate::output::Output;

/// Queries for exact search, which is slow, and whose recall needs no many to be known.
const EXACT_QUERIES: usize = 100;

/// What was measured, and on what.
#[derive(Serialize)]
struct Benchmark {
    version: &'static str,
    base: PathBuf,
    rows: usize,
    dim: usize,
    dtype: Dtype,
    /// Of the vectors as they are searched.
    vector_bytes: u64,
    queries: usize,
    cpu_cores: usize,
    rounds: u32,
    read_bandwidth: Vec<Bandwidth>,
    kinds: Vec<Figures>,
}

/// Of one index kind.
#[derive(Serialize)]
struct Figures {
    kind: String,
    /// With all cores, until the index is on the disk.
    build_seconds: f64,
    /// Of the index, beside the vectors.
    index_bytes: u64,
    /// With the files not in the page cache, and with them there.
    open_cold: Opened,
    open_warm: Opened,
    searches: Vec<Search>,
    filtered: Vec<Filtered>,
    /// Of the exact kind: how close to reading as fast as the memory gives.
    scans: Vec<Scan>,
}

pub fn run(args: BenchAnnArgs, output: &Output) -> anyhow::Result<Outcome> {
    if let Some(folder) = &args.open_only {
        let opened = opening::measure(&args, folder)?;
        output.result(&opened, table::opened)?;
        return Ok(Outcome::Done);
    }
    let scratch = Scratch::new(&args.dir.clone().unwrap_or_else(std::env::temp_dir))?;
    let measured = measure(&args, &scratch, output);
    // Removed whatever the outcome was.
    let removed = scratch.remove();
    let benchmark = measured?;
    removed?;
    output.result(&benchmark, table::benchmark)?;
    Ok(Outcome::Done)
}

/// Everything that the kinds have in common.
struct Bench<'a> {
    args: &'a BenchAnnArgs,
    scratch: &'a Scratch,
    /// In memory: a file that is mapped cannot be dropped from the page cache.
    rows: Rows,
    queries: Vec<Vec<f32>>,
    truth: Truth,
    cases: Vec<Case>,
    pools: Pools,
    read_bandwidth: Vec<Bandwidth>,
}

fn measure(args: &BenchAnnArgs, scratch: &Scratch, output: &Output) -> anyhow::Result<Benchmark> {
    let cpu_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match args.threads.as_slice() {
        [] if cpu_cores == 1 => vec![1],
        [] => vec![1, cpu_cores],
        asked => asked.iter().map(|&n| usize::from(n)).collect(),
    };
    let pools = Pools::new(&threads)?;
    let vectors = Matrix::read(&args.base)?;
    vectors.seal(&scratch.vectors())?;
    let rows = vectors.into_rows()?;
    let queries = matrix::queries(&args.queries, args.queries_limit as usize)?;
    output.note(format_args!("{} rows of {}, {} queries", rows.len(), rows.dim(), queries.len()));
    let read_bandwidth = bandwidth::measure(&pools);
    let exact = truth::exact(&rows)?;
    output.note("exact answers …");
    let most = args.k.iter().copied().max().unwrap_or(10) as usize;
    let truth = Truth::get(&*exact, &queries, most, args.truth.as_deref())?;
    let filtered = &queries[..queries.len().min(args.filter_queries as usize)];
    let cases = match filtered {
        [] => Vec::new(),
        queries => filters::cases(&*exact, queries, filtered_k(args))?,
    };
    let bench = Bench { args, scratch, rows, queries, truth, cases, pools, read_bandwidth };

    // Building, opening twice, every point of the curve with the default effort, and every filter.
    let steps = 3 + args.k.len() * (args.efforts.len() + 1) + bench.cases.len();
    let bar = bar(Some((args.kinds.len() * steps) as u64), "measurements", output);
    let mut kinds = Vec::new();
    for (i, kind) in args.kinds.iter().enumerate() {
        output.note(format_args!("{kind} …"));
        bar.set_position((i * steps) as u64);
        kinds.push(bench.kind(kind, &bar).with_context(|| format!("failed to measure {kind}"))?);
        scratch.remove_index()?;
    }
    bar.finish_and_clear();
    let Bench { rows, queries, read_bandwidth, .. } = bench;
    Ok(Benchmark {
        version: env!("CARGO_PKG_VERSION"),
        base: args.base.clone(),
        rows: rows.len(),
        dim: rows.dim(),
        dtype: rows.dtype(),
        vector_bytes: vector_bytes(&rows),
        queries: queries.len(),
        cpu_cores,
        rounds: args.rounds,
        read_bandwidth,
        kinds,
    })
}

/// Filtered search is measured at the first k.
fn filtered_k(args: &BenchAnnArgs) -> usize {
    args.k.first().map_or(10, |&k| k as usize)
}

impl Bench<'_> {
    fn kind(&self, kind: &IndexKind, bar: &ProgressBar) -> anyhow::Result<Figures> {
        let (rounds, step) = (self.args.rounds, || bar.inc(1));
        let start = Instant::now();
        pictor_ann::build(kind, &self.rows, &self.scratch.index())?;
        let build_seconds = start.elapsed().as_secs_f64();
        step();
        let opened =
            |cold| opening::in_a_fresh_process(self.args, kind, self.scratch, cold).inspect(|_| step());
        let (open_cold, open_warm) = (opened(true)?, opened(false)?);

        // From here on as an index has them: mapped.
        let rows = matrix::mapped(&self.scratch.vectors())?;
        let index = pictor_ann::open(kind, rows, &self.scratch.index())?;
        let exact = *kind == IndexKind::Flat;
        let (queries, efforts) = match exact {
            true => (&self.queries[..self.queries.len().min(EXACT_QUERIES)], &[][..]),
            false => (&self.queries[..], &self.args.efforts[..]),
        };
        let efforts: Vec<Option<usize>> =
            std::iter::once(None).chain(efforts.iter().map(|&effort| Some(effort as usize))).collect();
        let mut searches = Vec::new();
        for &k in &self.args.k {
            for &effort in &efforts {
                let point = (k as usize, effort);
                searches.push(searches::measure(&*index, queries, &self.truth, point, &self.pools, rounds)?);
                step();
            }
        }
        let k = filtered_k(self.args);
        let filtered = self.cases.iter().map(|case| {
            filters::measure(&*index, &self.queries, case, k, &self.pools, rounds).inspect(|_| step())
        });
        let filtered = filtered.collect::<anyhow::Result<_>>()?;
        let scans = match exact {
            true => {
                let bytes = vector_bytes(&self.rows);
                bandwidth::scans(&*index, queries, bytes, &self.pools, &self.read_bandwidth, rounds)?
            }
            false => Vec::new(),
        };
        let (kind, index_bytes) = (kind.to_string(), self.scratch.index_bytes()?);
        Ok(Figures { kind, build_seconds, index_bytes, open_cold, open_warm, searches, filtered, scans })
    }
}

fn vector_bytes(rows: &Rows) -> u64 {
    rows.len() as u64 * rows.row_bytes() as u64
}
