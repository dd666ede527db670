//! Whether two runs over the same queries differ by more than chance.
//!
//! Both are asked the same things, so each query is its own control: what counts is its difference between the runs, and a hard query is
//! hard for both. The interval is a bootstrap of these differences; p is from a permutation test, which asks how often a
//! difference as large comes about when the labels of the runs are exchanged at random, cluster by cluster (for R@K of
//! independent queries this is McNemar's test with its exact distribution sampled). What must stay true: both lists are of the same queries in
//! the same order.

use rayon::prelude::*;

use crate::EvalError;
use crate::bootstrap::{Clusters, SplitMix64, interval};
use crate::report::{Comparison, Direction};

/// Random exchanges behind a p.
pub const PERMUTATIONS: usize = 10_000;

/// The mean of R@1, R@5 and R@10, in one number how much better a ranking is.
const MEAN_RECALL: &str = "mean R@1,5,10";

/// The run's R@1, R@5, R@10 and the mean of the three against the base's, in points, and its mean rank where both have one. Labels
/// come with the runs; `direction` is `text_to_image` or `image_to_text`. A p is never below 1 / ([`PERMUTATIONS`] + 1).
///
/// # Errors
/// [`EvalError::DifferentQueries`] when the numbers of queries differ, or `clusters` are of other queries. That the queries
/// are the same ones is the caller's to know: the reports' dataset hashes are equal.
pub fn compare(
    base: (&str, &Direction),
    run: (&str, &Direction),
    direction: &str,
    clusters: &Clusters,
) -> Result<Vec<Comparison>, EvalError> {
    let queries = base.1.ranks.len();
    for (second, second_queries) in [(run.0, run.1.ranks.len()), ("the list of clusters", clusters.queries())]
    {
        if second_queries != queries {
            let first = base.0.into();
            return Err(EvalError::DifferentQueries {
                first,
                first_queries: queries,
                second: second.into(),
                second_queries,
            });
        }
    }
    let comparisons = FIGURES.into_iter().filter_map(|(metric, figure)| {
        let pairs = base.1.ranks.iter().zip(&run.1.ranks);
        let differences: Vec<i64> =
            pairs.map(|(&base, &run)| Some(figure(run)? - figure(base)?)).collect::<Option<_>>()?;
        // Points of percent for a share, ranks for a rank.
        let unit = match metric {
            "mean_rank" => 1.0,
            MEAN_RECALL => 100.0 / 3.0,
            _ => 100.0,
        };
        let mean = |sum: i64, queries: usize| unit * sum as f64 / queries as f64;
        let resampled = clusters.resample(|places| {
            mean(places.iter().map(|&place| differences[place as usize]).sum(), places.len())
        });
        Some(Comparison {
            base: base.0.into(),
            run: run.0.into(),
            direction: direction.into(),
            metric: metric.into(),
            difference: mean(differences.iter().sum(), queries),
            interval: interval(resampled)?,
            p: sign_flips(&differences, clusters),
        })
    });
    Ok(comparisons.collect())
}

/// Figures that are means over queries of a whole number, which is a function of the rank alone.
type OfRank = fn(Option<u32>) -> Option<i64>;
const FIGURES: [(&str, OfRank); 5] = [
    ("R@1", |rank| Some(hit(rank, 1))),
    ("R@5", |rank| Some(hit(rank, 5))),
    ("R@10", |rank| Some(hit(rank, 10))),
    (MEAN_RECALL, |rank| Some(hit(rank, 1) + hit(rank, 5) + hit(rank, 10))),
    ("mean_rank", |rank| rank.map(i64::from)),
];

fn hit(rank: Option<u32>, k: u32) -> i64 {
    i64::from(rank.is_some_and(|rank| rank <= k))
}

/// Two-sided p of a sum of differences, of which those of one cluster change sign together. Counts are whole numbers, so that
/// equal is equal; the order received counts as one of the permutations (Phipson & Smyth 2010), so p is never 0.
fn sign_flips(differences: &[i64], clusters: &Clusters) -> f64 {
    let of_cluster = |places: &Vec<u32>| places.iter().map(|&place| differences[place as usize]).sum::<i64>();
    let sums: Vec<i64> = clusters.members().iter().map(of_cluster).filter(|&sum| sum != 0).collect();
    let received = sums.iter().sum::<i64>().abs();
    let as_large = (0..PERMUTATIONS as u64).into_par_iter().filter(|&round| {
        let mut random = SplitMix64::of_round(round);
        let flipped: i64 = sums
            .chunks(64)
            .map(|sums| {
                let bits = random.next();
                let sign = |i: usize| 1 - 2 * (bits >> i & 1) as i64;
                sums.iter().enumerate().map(|(i, sum)| sign(i) * sum).sum::<i64>()
            })
            .sum();
        flipped.abs() >= received
    });
    (as_large.count() + 1) as f64 / (PERMUTATIONS + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::direction as figures;
    use crate::rankings::{Outcome, Ranked};

    fn of_ranks(ranks: &[Option<u32>]) -> Direction {
        let outcome = |&rank| Outcome { rank, average_precision: None, r_precision: None };
        let ranked = (0..).zip(ranks).map(|(query, rank)| Ranked {
            query,
            outcome: outcome(rank),
            top: Vec::new(),
            complete: false,
        });
        let ranked: Vec<Ranked> = ranked.collect();
        figures(&ranked, &Clusters::single(ranked.len())).unwrap()
    }

    fn compared(base: &[u32], run: &[u32], clusters: &Clusters) -> Vec<Comparison> {
        let [base, run] =
            [base, run].map(|ranks| of_ranks(&ranks.iter().copied().map(Some).collect::<Vec<_>>()));
        compare(("a", &base), ("b", &run), "text_to_image", clusters).unwrap()
    }

    #[test]
    fn p_is_the_sign_test_of_what_changed() {
        // 10 of 50 queries become right and none wrong: exact McNemar says p = 2 × 0.5¹⁰ = 0.00195.
        let base = [[2; 10].as_slice(), &[1; 20], &[9; 20]].concat();
        let run = [[1; 10].as_slice(), &[1; 20], &[9; 20]].concat();
        let all = compared(&base, &run, &Clusters::single(50));
        assert_eq!(
            all.iter().map(|c| c.metric.as_str()).collect::<Vec<_>>(),
            ["R@1", "R@5", "R@10", "mean R@1,5,10", "mean_rank"]
        );
        assert_eq!((all[0].difference, all[1].difference, all[4].difference), (20.0, 0.0, -0.2));
        assert!((all[3].difference - 20.0 / 3.0).abs() < 1e-12, "{}", all[3].difference);
        assert!((all[0].p - 0.00195).abs() < 0.0012, "{}", all[0].p);
        assert!(all[0].interval[0] > 0.0 && all[0].interval[1] < 40.0, "{:?}", all[0].interval);
        assert_eq!((all[1].p, all[1].interval), (1.0, [0.0, 0.0]), "nothing changed");

        // 6 become right and 4 wrong: 2 × P(X ≥ 6 | 10, 1/2) = 0.754.
        let base = [[2; 6].as_slice(), &[1; 4], &[9; 20]].concat();
        let run = [[1; 6].as_slice(), &[2; 4], &[9; 20]].concat();
        let p = compared(&base, &run, &Clusters::single(30))[0].p;
        assert!((p - 0.754).abs() < 0.015, "{p}");
    }

    #[test]
    fn captions_of_one_image_count_as_one() {
        // Ten captions change, all of one image: that says no more than one caption.
        let clusters = Clusters::new(
            &(0..12)
                .map(|query| Ranked {
                    query,
                    outcome: Outcome { rank: None, average_precision: None, r_precision: None },
                    top: Vec::new(),
                    complete: false,
                })
                .collect::<Vec<_>>(),
            |query| query / 10,
        );
        let base = [[2; 10].as_slice(), &[1; 2]].concat();
        assert_eq!(compared(&base, &[1; 12], &clusters)[0].p, 1.0);
        assert!(compared(&base, &[1; 12], &Clusters::single(12))[0].p < 0.01);
    }

    #[test]
    fn unfinished_rankings_have_no_mean_to_compare() {
        let (base, run) = (of_ranks(&[Some(1), None]), of_ranks(&[None, Some(3)]));
        let all = compare(("a", &base), ("b", &run), "image_to_text", &Clusters::single(2)).unwrap();
        assert_eq!(all.iter().map(|c| c.difference).collect::<Vec<_>>(), [-50.0, 0.0, 0.0, -50.0 / 3.0]);
    }

    #[test]
    fn other_queries_do_not_compare() {
        let (base, run) = (of_ranks(&[Some(1)]), of_ranks(&[Some(1), Some(2)]));
        let error =
            compare(("old", &base), ("new", &run), "text_to_image", &Clusters::single(1)).unwrap_err();
        assert_eq!(error.to_string(), "old has 1 queries and new 2; compare runs over the same queries");
        assert!(compare(("old", &base), ("new", &base), "text_to_image", &Clusters::single(2)).is_err());
        let none = of_ranks(&[]);
        assert!(
            compare(("old", &none), ("new", &none), "text_to_image", &Clusters::single(0))
                .unwrap()
                .is_empty()
        );
    }
}
