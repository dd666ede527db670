//! What is drawn of ranks: a value for each K, and how many queries lie where; never the queries themselves, so that a drawing
//! of a million queries is as small as one of ten.

/// R@K in percent for K = 1..=`up_to`. A query whose ranking ended before a positive was met is a miss at every K; without
/// queries there is nothing to find, and every value is 0.
pub(crate) fn recall(ranks: &[Option<u32>], up_to: usize) -> Vec<f64> {
    let mut found = vec![0_usize; up_to];
    for &rank in ranks.iter().flatten() {
        if let Some(count) = (rank as usize).checked_sub(1).and_then(|place| found.get_mut(place)) {
            *count += 1;
        }
    }
    let mut sum = 0;
    found
        .into_iter()
        .map(|count| {
            sum += count;
            100.0 * sum as f64 / ranks.len().max(1) as f64
        })
        .collect()
}

/// Last ranks of the bins 1, 2, 3–5, 6–10, 11–20, … (1, 2, 5 in each power of ten), the last one at or above `largest`.
pub(crate) fn bin_ends(largest: u32) -> Vec<u32> {
    let mut ends = Vec::new();
    let steps = (0..10).flat_map(|power| [1, 2, 5].map(|step| step * 10_u64.pow(power)));
    for end in steps {
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        ends.push(end);
        if end >= largest {
            break;
        }
    }
    ends
}

/// Percent of queries in each bin of `ends`, then percent of those whose ranking ended before a positive was met.
pub(crate) fn histogram(ranks: &[Option<u32>], ends: &[u32]) -> (Vec<f64>, f64) {
    let mut counts = vec![0_usize; ends.len()];
    let mut missed = 0;
    for rank in ranks {
        match rank.and_then(|rank| counts.get_mut(ends.partition_point(|&end| end < rank))) {
            Some(count) => *count += 1,
            None => missed += 1,
        }
    }
    let percent = |count: usize| 100.0 * count as f64 / ranks.len().max(1) as f64;
    (counts.into_iter().map(percent).collect(), percent(missed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_counts_up() {
        assert_eq!(recall(&[Some(1), Some(3), None, Some(9)], 4), [25.0, 25.0, 50.0, 50.0]);
        assert_eq!(recall(&[], 2), [0.0, 0.0]);
        assert!(recall(&[Some(1)], 0).is_empty());
    }

    #[test]
    fn bins_hold_every_rank_once() {
        assert_eq!(bin_ends(1), [1]);
        assert_eq!(bin_ends(6), [1, 2, 5, 10]);
        assert_eq!(*bin_ends(u32::MAX).last().unwrap(), u32::MAX);
        let ends = bin_ends(7);
        let (bins, missed) =
            histogram(&[Some(1), Some(2), Some(3), Some(5), Some(6), None, None, Some(7)], &ends);
        assert_eq!((bins, missed), (vec![12.5, 12.5, 25.0, 25.0], 25.0));
        assert_eq!(histogram(&[], &ends), (vec![0.0; 4], 0.0));
    }
}
