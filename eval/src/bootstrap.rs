//! How far a figure would be off with other queries: resampling.
//!
//! Queries are not independent where several belong to one image: five captions of a hard image miss together. So whole clusters
//! are drawn, each with all its queries (the cluster bootstrap: Davison & Hinkley 1997, "Bootstrap Methods and their
//! Application", section 3.8), which is the plain bootstrap when each query is a cluster of its own. What must stay true: a
//! result is a function of its input alone, whatever the threads do, so each round has its own fixed seed.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::rankings::Ranked;

/// Resamples behind an interval.
pub const RESAMPLES: usize = 2_000;

/// Which of a direction's queries belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters {
    /// Places of queries in their list, by cluster; each is in exactly one.
    members: Vec<Vec<u32>>,
    queries: usize,
}

impl Clusters {
    /// Of the queries of `ranked`, by what `cluster_of` says of each query: for text → image the image that a caption was
    /// written for, for image → text the image itself.
    pub fn new(ranked: &[Ranked], cluster_of: impl Fn(u32) -> u32) -> Self {
        Self::of_queries(ranked.iter().map(|ranked| ranked.query), cluster_of)
    }

    /// As [`Clusters::new`], of these queries in this order.
    pub fn of_queries(asked: impl Iterator<Item = u32>, cluster_of: impl Fn(u32) -> u32) -> Self {
        let mut numbers = HashMap::new();
        let mut members: Vec<Vec<u32>> = Vec::new();
        let mut queries = 0;
        for query in asked {
            let number = *numbers.entry(cluster_of(query)).or_insert(members.len());
            match members.get_mut(number) {
                Some(members) => members.push(queries as u32),
                None => members.push(vec![queries as u32]),
            }
            queries += 1;
        }
        Self { members, queries }
    }

    /// Each of `queries` queries by itself.
    pub fn single(queries: usize) -> Self {
        Self { members: (0..queries as u32).map(|place| vec![place]).collect(), queries }
    }

    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// Places of the queries of each cluster.
    pub(crate) fn members(&self) -> &[Vec<u32>] {
        &self.members
    }

    /// What `statistic` makes of each of [`RESAMPLES`] resamples, given the places of the queries in it: as many clusters as
    /// there are, drawn with replacement.
    pub(crate) fn resample<T: Send>(&self, statistic: impl Fn(&[u32]) -> T + Sync) -> Vec<T> {
        if self.members.is_empty() {
            return Vec::new();
        }
        (0..RESAMPLES as u64)
            .into_par_iter()
            .map_init(Vec::new, |places, round| {
                let mut random = SplitMix64::of_round(round);
                places.clear();
                for _ in 0..self.members.len() {
                    places.extend_from_slice(&self.members[random.below(self.members.len())]);
                }
                statistic(places)
            })
            .collect()
    }
}

/// The central 95 % of `values`: the percentiles 2.5 and 97.5, linear between neighbours. `None` without values.
pub(crate) fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let percentile = |share: f64| {
        let place = share * last as f64;
        let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    Some([percentile(0.025), percentile(0.975)])
}

/// A small generator (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"), good enough to draw
/// samples, and the same everywhere.
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    /// The generator of one round, unlike those of the others.
    pub fn of_round(round: u64) -> Self {
        // The first output of neighbouring seeds is well mixed; starting there keeps rounds from being shifts of each other.
        let mut seed = Self(round);
        Self(seed.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is above 0 and fits 32 bits; uneven by less than `end` / 2³².
    pub fn below(&mut self, end: usize) -> usize {
        (((self.next() >> 32) * end as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_the_published_numbers() {
        // Outputs for seed 1234567, as in the reference implementation's tests (Vigna, prng.di.unimi.it/splitmix64.c).
        let mut random = SplitMix64(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
        let mut seen = [0; 5];
        (0..5_000).for_each(|_| seen[random.below(5)] += 1);
        assert!(seen.iter().all(|count| (900..1_100).contains(count)), "{seen:?}");
    }

    #[test]
    fn the_interval_is_numpys_percentile() {
        // numpy.percentile(numpy.arange(11) ** 2, [2.5, 97.5])
        let received = interval((0..11).map(|i| f64::from(i * i)).collect()).unwrap();
        assert!((received[0] - 0.25).abs() < 1e-12 && (received[1] - 95.25).abs() < 1e-12, "{received:?}");
        assert_eq!(interval(vec![7.0]), Some([7.0, 7.0]));
        assert_eq!(interval(vec![]), None);
    }

    #[test]
    fn intervals_are_as_wide_as_theory_says() {
        // 40 of 100 hits: the standard error of the share is √(0.4 × 0.6 / 100) = 0.049.
        let share =
            |places: &[u32]| places.iter().filter(|&&p| p % 5 < 2).count() as f64 / places.len() as f64;
        let [low, high] = interval(Clusters::single(100).resample(share)).unwrap();
        assert!((low - 0.304).abs() < 0.015 && (high - 0.496).abs() < 0.015, "{low} {high}");
    }

    #[test]
    fn queries_that_fall_together_make_it_wider() {
        // 100 queries in 20 clusters of 5 equal ones are worth 20: √5 times as wide.
        let clusters =
            Clusters { members: (0..20).map(|c| (5 * c..5 * c + 5).collect()).collect(), queries: 100 };
        let share =
            |places: &[u32]| places.iter().filter(|&&p| p / 5 % 5 < 2).count() as f64 / places.len() as f64;
        let [low, high] = interval(clusters.resample(share)).unwrap();
        assert!((high - low - 0.43).abs() < 0.04, "{low} {high}");
        assert_eq!(clusters.resample(share), clusters.resample(share), "the same each time");
    }
}
