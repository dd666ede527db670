//! When to rewrite segments: a pure function of their sizes, so that the policy is tested without a disk. `merging.rs` does it.
//!
//! Each commit with new images adds one segment. A search visits every segment and each small one is searched less cleverly
//! than one large one would be, so their number is bounded; rows that are deleted cost space and search time until their
//! segment is rewritten.

/// Most segments an index has once its merges are done.
pub(crate) const MAX_SEGMENTS: usize = 8;
/// From this many segments on, a commit waits for a merge before it adds another. Merging is slower than adding when the
/// nearest-neighbour index is, so without a bound a writer that never pauses would leave ever more segments to every search.
pub(crate) const TOO_MANY_SEGMENTS: usize = 2 * MAX_SEGMENTS;
/// A segment is rewritten when more than this share of its rows is deleted, in percent.
pub(crate) const MAX_DELETED_PERCENT: usize = 30;

/// The size of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentStats {
    /// Rows, deleted ones included.
    pub(crate) rows: usize,
    /// Rows that are not deleted.
    pub(crate) live: usize,
}

/// The segments to replace by one that holds their live rows, by ascending index; none when all is well.
///
/// Every segment with too many deleted rows; and, when there are more than [`MAX_SEGMENTS`], the smallest ones: as many as
/// needed and then each next larger one that at most doubles the result. Doubling keeps the sizes geometric, so that a row is
/// rewritten about log₂(n) times while an index grows to n commits, not n / 8 times.
pub(crate) fn choose(segments: &[SegmentStats]) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..segments.len())
        .filter(|&i| (segments[i].rows - segments[i].live) * 100 > segments[i].rows * MAX_DELETED_PERCENT)
        .collect();
    let surplus = segments.len().saturating_sub(MAX_SEGMENTS);
    if surplus > 0 {
        let mut others: Vec<usize> = (0..segments.len()).filter(|i| !chosen.contains(i)).collect();
        others.sort_by_key(|&i| (segments[i].live, i));
        let mut size: usize = chosen.iter().map(|&i| segments[i].live).sum();
        for i in others {
            // Merging `surplus + 1` segments into one brings their number down to the limit.
            if chosen.len() > surplus && segments[i].live > size {
                break;
            }
            size += segments[i].live;
            chosen.push(i);
        }
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(sizes: &[usize]) -> Vec<SegmentStats> {
        sizes.iter().map(|&rows| SegmentStats { rows, live: rows }).collect()
    }

    /// What is left of `segments` when those `chosen` have become one.
    fn merge(segments: &mut Vec<SegmentStats>, chosen: &[usize]) -> usize {
        let live = chosen.iter().map(|&i| segments[i].live).sum();
        for &i in chosen.iter().rev() {
            segments.remove(i);
        }
        if live > 0 {
            segments.push(SegmentStats { rows: live, live });
        }
        live
    }

    #[test]
    fn leaves_a_few_full_segments_alone() {
        assert_eq!(choose(&[]), [0; 0]);
        assert_eq!(choose(&full(&[100; 8])), [0; 0]);
    }

    #[test]
    fn rewrites_what_is_mostly_deleted() {
        let segments = [SegmentStats { rows: 10, live: 7 }, SegmentStats { rows: 10, live: 6 }];
        assert_eq!(choose(&segments), [1], "30 % may stay, 40 % may not");
        assert_eq!(choose(&[SegmentStats { rows: 10, live: 0 }]), [0], "nothing left of it");
    }

    #[test]
    fn merges_the_small_ones_and_spares_the_large() {
        assert_eq!(choose(&full(&[1000, 5, 5, 5, 5, 5, 5, 5, 5])), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(choose(&full(&[1000, 900, 800, 700, 600, 500, 400, 300, 5])), [7, 8]);
    }

    #[test]
    fn an_index_of_many_commits_stays_small_and_rewrites_little() {
        let (mut segments, mut rewritten, commits, batch) = (vec![], 0, 1000, 20);
        for _ in 0..commits {
            segments.push(SegmentStats { rows: batch, live: batch });
            let chosen = choose(&segments);
            rewritten += merge(&mut segments, &chosen);
            assert!(segments.len() <= MAX_SEGMENTS);
        }
        assert_eq!(segments.iter().map(|s| s.live).sum::<usize>(), commits * batch);
        assert!(rewritten <= 10 * commits * batch, "each row {} times", rewritten / (commits * batch));
    }

    proptest! {
        /// Whatever the sizes, one merge brings the number to the limit, the next finds nothing to do, and no row is lost.
        #[test]
        fn one_merge_is_enough(sizes in prop::collection::vec((0_usize..5000, 0_usize..5000), 0..40)) {
            let mut segments: Vec<_> =
                sizes.iter().map(|&(a, b)| SegmentStats { rows: a + b, live: a }).collect();
            let live: usize = segments.iter().map(|s| s.live).sum();
            let chosen = choose(&segments);
            prop_assert!(chosen.is_sorted_by(|a, b| a < b));
            merge(&mut segments, &chosen);
            prop_assert!(segments.len() <= MAX_SEGMENTS);
            prop_assert_eq!(choose(&segments), Vec::<usize>::new());
            prop_assert_eq!(segments.iter().map(|s| s.live).sum::<usize>(), live);
        }
    }
}
