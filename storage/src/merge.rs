//! When to rewrite segments: a pure function of their sizes, so that the policy is tested without a disk.
//!
//! A commit adds one segment. A search visits every segment and each small one is searched less cleverly than one large one
//! would be, so their number is bounded; rows that are deleted cost space and search time until their segment is rewritten.
//! The commit itself does the rewriting: the chosen segments and the new rows become one new segment.

/// Most segments an index has.
pub(crate) const MAX_SEGMENTS: usize = 8;
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

/// The segments to fold into the one that a commit of `new_rows` rows makes, by ascending index.
///
/// Every segment with too many deleted rows; and, when the count would go over [`MAX_SEGMENTS`], the smallest ones: as many as
/// needed and then each next larger one that at most doubles the result. Doubling keeps the sizes geometric, so that a row is
/// rewritten about log₂(n) times while an index grows to n commits, not n / 8 times.
pub(crate) fn choose(segments: &[SegmentStats], new_rows: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..segments.len())
        .filter(|&i| (segments[i].rows - segments[i].live) * 100 > segments[i].rows * MAX_DELETED_PERCENT)
        .collect();
    let mut others: Vec<usize> = (0..segments.len()).filter(|i| !chosen.contains(i)).collect();
    others.sort_by_key(|&i| (segments[i].live, i));

    let mut size = new_rows + chosen.iter().map(|&i| segments[i].live).sum::<usize>();
    let fresh = usize::from(size > 0);
    let surplus = (others.len() + fresh).saturating_sub(MAX_SEGMENTS);
    if surplus > 0 {
        for (n, &i) in others.iter().enumerate() {
            // Folding `surplus` segments into the fresh one brings the count down to the limit.
            if n >= surplus && segments[i].live > size {
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
    use super::*;

    fn full(sizes: &[usize]) -> Vec<SegmentStats> {
        sizes.iter().map(|&rows| SegmentStats { rows, live: rows }).collect()
    }

    #[test]
    fn leaves_a_few_full_segments_alone() {
        assert_eq!(choose(&[], 10), [0; 0]);
        assert_eq!(choose(&full(&[100; 7]), 10), [0; 0]);
    }

    #[test]
    fn rewrites_what_is_mostly_deleted() {
        let segments = [SegmentStats { rows: 10, live: 7 }, SegmentStats { rows: 10, live: 6 }];
        assert_eq!(choose(&segments, 0), [1], "30 % may stay, 40 % may not");
        assert_eq!(choose(&[SegmentStats { rows: 10, live: 0 }], 0), [0], "nothing left of it");
    }

    #[test]
    fn folds_the_small_ones_and_spares_the_large() {
        assert_eq!(choose(&full(&[1000, 5, 5, 5, 5, 5, 5, 5]), 5), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(choose(&full(&[1000, 900, 800, 700, 600, 500, 400, 300]), 5), [7]);
    }

    #[test]
    fn an_index_of_many_commits_stays_small_and_rewrites_little() {
        let (mut segments, mut rewritten, commits, batch) = (vec![], 0, 1000, 20);
        for _ in 0..commits {
            let chosen = choose(&segments, batch);
            let size = batch + chosen.iter().map(|&i| segments[i].live).sum::<usize>();
            rewritten += size - batch;
            for &i in chosen.iter().rev() {
                segments.remove(i);
            }
            segments.push(SegmentStats { rows: size, live: size });
            assert!(segments.len() <= MAX_SEGMENTS);
        }
        assert_eq!(segments.iter().map(|s| s.live).sum::<usize>(), commits * batch);
        assert!(rewritten <= 10 * commits * batch, "each row {} times", rewritten / (commits * batch));
    }
}
