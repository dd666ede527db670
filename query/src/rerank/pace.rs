//! How many candidates there is time for.

use std::time::{Duration, Instant};

use super::BATCH;

/// The time left, and what the last batch says of the time that the next one takes.
pub(super) struct Pace {
    deadline: Option<Instant>,
    /// Reading, preparing and encoding one image.
    image: Option<Duration>,
    /// Scoring one pair.
    pair: Option<Duration>,
}

impl Pace {
    pub(super) fn new(deadline: Option<Instant>) -> Self {
        Self { deadline, image: None, pair: None }
    }

    /// How many of the next candidates to take, of each of which `cached` says whether its features are at hand: at most [`BATCH`], and 0
    /// when there is no time for any. What was never timed is tried on one candidate alone.
    pub(super) fn batch(&self, cached: impl Iterator<Item = bool>) -> usize {
        let cached = cached.take(BATCH);
        let Some(deadline) = self.deadline else { return cached.count() };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return 0;
        }
        let mut expected = Duration::ZERO;
        let mut batch = 0;
        for cached in cached {
            let (Some(pair), Some(image)) =
                (self.pair, if cached { Some(Duration::ZERO) } else { self.image })
            else {
                return batch.max(1);
            };
            expected += pair + image;
            if expected > left {
                break;
            }
            batch += 1;
        }
        batch
    }

    /// `images` were read and encoded in the time `spent`.
    pub(super) fn encoded(&mut self, images: usize, spent: Duration) {
        if let Ok(images @ 1..) = u32::try_from(images) {
            self.image = Some(spent / images);
        }
    }

    /// `pairs` were scored in the time `spent`.
    pub(super) fn scored(&mut self, pairs: usize, spent: Duration) {
        if let Ok(pairs @ 1..) = u32::try_from(pairs) {
            self.pair = Some(spent / pairs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_deadline_batches_are_whole() {
        let pace = Pace::new(None);
        assert_eq!(pace.batch([false; 100].into_iter()), BATCH);
        assert_eq!(pace.batch([true; 3].into_iter()), 3);
    }

    #[test]
    fn takes_what_there_is_time_for() {
        // Hours, so that the time this test takes is nothing beside them.
        let hours = |n: u64| Duration::from_secs(3600 * n);
        let mut pace = Pace::new(Some(Instant::now() + hours(10) + Duration::from_secs(600)));
        assert_eq!(pace.batch([false; 9].into_iter()), 1, "nothing is known");
        pace.encoded(1, hours(2));
        assert_eq!(pace.batch([false; 9].into_iter()), 1, "nothing is known of scores");
        pace.scored(2, hours(2));
        assert_eq!(pace.batch([false; 9].into_iter()), 3, "three hours each");
        assert_eq!(pace.batch([true; 9].into_iter()), 9, "an hour each");
        let mixed = [true, true, false, true, false, false];
        assert_eq!(pace.batch(mixed.into_iter()), 5, "1 + 1 + 3 + 1 + 3, and 3 more is too much");
        pace.encoded(3, hours(36));
        assert_eq!(pace.batch([false].into_iter()), 0);
        assert_eq!(pace.batch([true, false].into_iter()), 1);
        pace.encoded(0, hours(9));
        assert_eq!(pace.batch([false].into_iter()), 0, "of none nothing is learnt");
        assert_eq!(Pace::new(Some(Instant::now())).batch([true].into_iter()), 0);
        assert_eq!(Pace::new(Some(Instant::now() + hours(1))).batch(std::iter::empty()), 0);
    }
}
