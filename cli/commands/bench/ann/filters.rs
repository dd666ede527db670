//! Search among some of the rows: filters of known selectivity that have nothing to do with the query, go with it, or against it.
//!
//! What a filter does to a graph walk depends on where the allowed rows lie. Those that go with the query lie where the walk is
//! anyway; those that go against it lie where no walk would look, which is where indexes that filter on the way return too little.

use pictor_ann::{RowSet, SearchOptions, VectorIndex};
use rayon::prelude::*;
use serde::Serialize;

use super::searches::{Latency, Pools, scores as scores_of, timed};
use super::truth::{recall, scores};

/// Shares of the rows that a filter lets through.
pub const SELECTIVITIES: [f64; 5] = [0.5, 0.1, 0.01, 0.001, 0.0001];

/// How a filter relates to the query.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Correlation {
    /// Rows by lot.
    Uncorrelated,
    /// The rows of largest score after adding noise of the scores' own spread: near the query, and not the answer itself.
    Correlated,
    /// The rows of least score, without noise: the hardest there is.
    Anticorrelated,
}

const CORRELATIONS: [Correlation; 3] =
    [Correlation::Uncorrelated, Correlation::Correlated, Correlation::Anticorrelated];

/// One correlation and selectivity: for each query the rows allowed and the exact scores of the best of them.
pub struct Case {
    correlation: Correlation,
    selectivity: f64,
    filters: Vec<(RowSet, Vec<f32>)>,
}

/// What a filtered search costs and finds, with the kind's default effort.
#[derive(Serialize)]
pub struct Filtered {
    pub correlation: Correlation,
    pub selectivity: f64,
    /// Rows that the filter lets through.
    pub allowed: usize,
    pub k: usize,
    /// Mean over the queries, and of the worst query.
    pub recall: f64,
    pub worst_recall: f64,
    /// Queries that got fewer than `min(k, allowed)` rows.
    pub incomplete: usize,
    /// In one thread; making the set of rows is not part of it.
    #[serde(flatten)]
    pub latency: Latency,
}

/// All cases for these queries; a filter is other rows for each query.
pub fn cases(exact: &dyn VectorIndex, queries: &[Vec<f32>], k: usize) -> anyhow::Result<Vec<Case>> {
    let all = CORRELATIONS.iter().flat_map(|&c| SELECTIVITIES.map(|selectivity| (c, selectivity)));
    let mut cases: Vec<Case> = all
        .map(|(correlation, selectivity)| Case { correlation, selectivity, filters: Vec::new() })
        .collect();
    let filters = queries.par_iter().enumerate().map(|(i, query)| {
        // Every row with its score, by row.
        let mut score = vec![0.0; exact.len()];
        for found in exact.search(query, exact.len(), &SearchOptions::default())? {
            score[found.row as usize] = found.score;
        }
        let mut noise = Noise(i as u64);
        let keys = CORRELATIONS.map(|correlation| keys(correlation, &score, &mut noise));
        keys.iter()
            .flat_map(|keys| SELECTIVITIES.map(|selectivity| largest(keys, selectivity)))
            .map(|allow| {
                let best = scores(exact, query, k, &SearchOptions { effort: None, allow: Some(&allow) })?;
                Ok((allow, best))
            })
            .collect::<anyhow::Result<Vec<_>>>()
    });
    for of_query in filters.collect::<anyhow::Result<Vec<_>>>()? {
        for (case, filter) in cases.iter_mut().zip(of_query) {
            case.filters.push(filter);
        }
    }
    Ok(cases)
}

/// By which the rows of a filter are chosen, the largest first.
fn keys(correlation: Correlation, score: &[f32], noise: &mut Noise) -> Vec<f32> {
    match correlation {
        Correlation::Uncorrelated => score.iter().map(|_| noise.next()).collect(),
        Correlation::Correlated => {
            let n = score.len().max(1) as f32;
            let mean = score.iter().sum::<f32>() / n;
            let spread = (score.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / n).sqrt();
            score.iter().map(|s| s + spread * noise.next()).collect()
        }
        Correlation::Anticorrelated => score.iter().map(|s| -s).collect(),
    }
}

/// The rows of the largest keys, a share of them all and at least one.
fn largest(keys: &[f32], share: f64) -> RowSet {
    let count = ((keys.len() as f64 * share).round() as usize).clamp(1, keys.len().max(1));
    let mut rows: Vec<u32> = (0..keys.len() as u32).collect();
    let by_key = |a: &u32, b: &u32| keys[*b as usize].total_cmp(&keys[*a as usize]);
    if count < rows.len() {
        rows.select_nth_unstable_by(count, by_key);
    }
    let mut set = RowSet::empty(keys.len());
    for &row in rows.iter().take(count) {
        set.insert(row);
    }
    set
}

/// Numbers that look drawn from a distribution of mean 0 and variance 1, the same for the same seed: SplitMix64 (Steele, Lea &
/// Flood 2014), three uniform numbers added up.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        let mut uniform = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
        };
        // Three of variance 1/12 have variance 1/4 together.
        (uniform() + uniform() + uniform() - 1.5) * 2.0
    }
}

/// Searches with each of a case's filters.
pub fn measure(
    index: &dyn VectorIndex,
    queries: &[Vec<f32>],
    case: &Case,
    k: usize,
    pools: &Pools,
    rounds: u32,
) -> anyhow::Result<Filtered> {
    let filters = &case.filters;
    let queries = &queries[..filters.len()];
    let (found, latency) = timed(index, queries, |i| Some(&filters[i].0), (k, None), pools.single(), rounds)?;
    let recalls: Vec<f64> =
        found.iter().zip(filters).map(|(found, (_, truth))| recall(&scores_of(found), truth, k)).collect();
    let short = |(found, (_, truth)): &(&Vec<_>, &(_, Vec<f32>))| found.len() < truth.len();
    Ok(Filtered {
        correlation: case.correlation,
        selectivity: case.selectivity,
        allowed: filters.first().map_or(0, |(allow, _)| allow.len()),
        k,
        recall: recalls.iter().sum::<f64>() / recalls.len().max(1) as f64,
        worst_recall: recalls.iter().copied().fold(1.0, f64::min),
        incomplete: found.iter().zip(filters).filter(short).count(),
        latency,
    })
}

#[cfg(test)]
mod tests {
    use pictor_ann::Rows;

    use super::*;
    use crate::commands::bench::ann::truth::exact;

    #[test]
    fn filters_are_where_they_say() {
        let unit = |i: usize| [(i as f32 / 1000.0).cos(), (i as f32 / 1000.0).sin()];
        let rows = Rows::from_vec(2, (0..3000).flat_map(unit).collect()).unwrap();
        let cases = cases(&*exact(&rows).unwrap(), &[vec![1.0, 0.0]], 5).unwrap();
        assert_eq!(cases.len(), 15);
        // Rows are sorted by angle to the query, so the mean row number says how far the allowed lie.
        let middle = |case: &Case| {
            let allow = &case.filters[0].0;
            allow.iter().map(f64::from).sum::<f64>() / allow.len() as f64
        };
        let sizes: Vec<usize> = cases.iter().map(|case| case.filters[0].0.len()).collect();
        assert_eq!(sizes[..5], [1500, 300, 30, 3, 1]);
        let tenth: Vec<f64> = [1, 6, 11].map(|i| middle(&cases[i])).to_vec();
        assert!((1300.0..1700.0).contains(&tenth[0]), "{tenth:?}");
        assert!(tenth[1] < 1000.0 && tenth[2] > 2800.0, "{tenth:?}");
        assert_eq!(cases[3].filters[0].1.len(), 3, "as many as there are");
    }
}
