//! How fast this machine reads memory: the limit of an exact scan.

use std::hint::black_box;
use std::time::Instant;

use pictor_ann::VectorIndex;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::Serialize;

use super::searches::{Pools, timed};

/// Numbers summed: 512 MiB, many times the largest cache.
const NUMBERS: usize = 1 << 26;
const NUMBERS_PER_TASK: usize = 1 << 16;
const ROUNDS: usize = 5;

/// What some threads read from memory together.
#[derive(Serialize)]
pub struct Bandwidth {
    pub threads: usize,
    /// 10⁹ bytes a second.
    pub gigabytes_per_second: f64,
}

/// An exact search of all rows, one query at a time, beside the time that reading them takes at least.
#[derive(Serialize)]
pub struct Scan {
    pub threads: usize,
    pub bytes: u64,
    pub mean_ms: f64,
    pub limit_ms: f64,
    /// `mean_ms / limit_ms`.
    pub to_limit: f64,
}

/// The fastest of some sums over a large array, for each pool.
pub fn measure(pools: &Pools) -> Vec<Bandwidth> {
    let numbers: Vec<u64> = (0..NUMBERS as u64).collect();
    let of = |pool: &ThreadPool| {
        let time = |_| {
            let start = Instant::now();
            let tasks = black_box(&numbers).par_chunks(NUMBERS_PER_TASK);
            let sums = tasks.map(|task| task.iter().fold(0_u64, |sum, n| sum.wrapping_add(*n)));
            black_box(sums.reduce(|| 0, u64::wrapping_add));
            start.elapsed().as_secs_f64()
        };
        let fastest = pool.install(|| (0..ROUNDS).map(time).fold(f64::INFINITY, f64::min));
        let gigabytes_per_second = size_of_val(numbers.as_slice()) as f64 / 1e9 / fastest;
        Bandwidth { threads: pool.current_num_threads(), gigabytes_per_second }
    };
    pools.iter().map(of).collect()
}

/// Exact search over `bytes` of vectors beside the limit, for each pool.
pub fn scans(
    exact: &dyn VectorIndex,
    queries: &[Vec<f32>],
    bytes: u64,
    pools: &Pools,
    limits: &[Bandwidth],
    rounds: u32,
) -> anyhow::Result<Vec<Scan>> {
    let of = |(pool, limit): (&ThreadPool, &Bandwidth)| {
        let (_, latency) = timed(exact, queries, |_| None, (10, None), pool, rounds)?;
        let limit_ms = bytes as f64 / 1e6 / limit.gigabytes_per_second;
        let to_limit = latency.mean_ms / limit_ms;
        Ok(Scan { threads: limit.threads, bytes, mean_ms: latency.mean_ms, limit_ms, to_limit })
    };
    pools.iter().zip(limits).map(of).collect()
}
