//! Recall and speed of one index at one k and one effort.
//!
//! Latency is measured one query after another in one thread, as one caller sees it; the rate of several threads is measured
//! with as many queries in flight, as a busy service has them.

use std::time::{Duration, Instant};

use pictor_ann::{Neighbor, RowSet, SearchOptions, VectorIndex};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;

use super::truth::{Truth, recall};

/// Threads that search at once.
pub struct Pools(Vec<ThreadPool>);

impl Pools {
    /// One pool for each of these numbers, and one of a single thread in front.
    pub fn new(threads: &[usize]) -> anyhow::Result<Self> {
        let pool = |&n: &usize| Ok(ThreadPoolBuilder::new().num_threads(n).build()?);
        let others = threads.iter().filter(|&&n| n != 1);
        Ok(Self([1].iter().chain(others).map(pool).collect::<anyhow::Result<_>>()?))
    }

    /// The pool of one thread. A search that shares its work among threads finds only this one.
    pub fn single(&self) -> &ThreadPool {
        &self.0[0]
    }

    /// All, the single one first.
    pub fn iter(&self) -> impl Iterator<Item = &ThreadPool> {
        self.0.iter()
    }
}

/// What a search of `k` rows at one effort costs and finds.
#[derive(Serialize)]
pub struct Search {
    pub k: usize,
    /// `null` is the kind's default.
    pub effort: Option<usize>,
    /// Share of the `k` nearest that is found, mean over the queries.
    pub recall: f64,
    /// In one thread.
    #[serde(flatten)]
    pub latency: Latency,
    pub rates: Vec<Rate>,
}

/// Time of one query, milliseconds.
#[derive(Serialize)]
pub struct Latency {
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Queries a second of several threads together.
#[derive(Serialize)]
pub struct Rate {
    pub threads: usize,
    pub queries_per_second: f64,
}

/// Measures one point of the curve; every timing is that of the fastest of `rounds`.
pub fn measure(
    index: &dyn VectorIndex,
    queries: &[Vec<f32>],
    truth: &Truth,
    (k, effort): (usize, Option<usize>),
    pools: &Pools,
    rounds: u32,
) -> anyhow::Result<Search> {
    let options = SearchOptions { effort, allow: None };
    let (found, latency) = timed(index, queries, |_| None, (k, effort), pools.single(), rounds)?;
    let recalls = found.iter().enumerate().map(|(i, found)| recall(&scores(found), truth.of(i), k));
    let mut rates = vec![Rate { threads: 1, queries_per_second: 1e3 / latency.mean_ms }];
    for pool in pools.iter().skip(1) {
        let mut best = Duration::MAX;
        for _ in 0..rounds {
            let start = Instant::now();
            pool.install(|| {
                let search = |query: &Vec<f32>| index.search(query, k, &options).map(drop);
                queries.par_iter().with_max_len(1).try_for_each(search)
            })?;
            best = best.min(start.elapsed());
        }
        let queries_per_second = queries.len() as f64 / best.as_secs_f64();
        rates.push(Rate { threads: pool.current_num_threads(), queries_per_second });
    }
    Ok(Search { k, effort, recall: recalls.sum::<f64>() / queries.len() as f64, latency, rates })
}

/// What each query finds, one query after another in `pool`, and how long that takes in the fastest of `rounds`.
pub fn timed<'a>(
    index: &dyn VectorIndex,
    queries: &[Vec<f32>],
    allow: impl Fn(usize) -> Option<&'a RowSet> + Sync,
    (k, effort): (usize, Option<usize>),
    pool: &ThreadPool,
    rounds: u32,
) -> anyhow::Result<(Vec<Vec<Neighbor>>, Latency)> {
    let mut best: Option<(Vec<Vec<Neighbor>>, Vec<Duration>, Duration)> = None;
    for _ in 0..rounds {
        let (mut found, mut times) = (Vec::with_capacity(queries.len()), Vec::with_capacity(queries.len()));
        pool.install(|| {
            queries.iter().enumerate().try_for_each(|(i, query)| {
                let options = SearchOptions { effort, allow: allow(i) };
                let start = Instant::now();
                found.push(index.search(query, k, &options)?);
                times.push(start.elapsed());
                anyhow::Ok(())
            })
        })?;
        let total = times.iter().sum();
        if best.as_ref().is_none_or(|(_, _, best)| total < *best) {
            best = Some((found, times, total));
        }
    }
    let (found, times, _) = best.unwrap_or_default();
    Ok((found, Latency::of(times)))
}

impl Latency {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let last = times.len().saturating_sub(1);
        let percentile =
            |share: f64| ms(times.get((last as f64 * share) as usize).copied().unwrap_or_default());
        let mean_ms = ms(times.iter().sum()) / times.len().max(1) as f64;
        Self { mean_ms, p50_ms: percentile(0.5), p99_ms: percentile(0.99) }
    }
}

/// Best first.
pub fn scores(found: &[Neighbor]) -> Vec<f32> {
    found.iter().map(|found| found.score).collect()
}
