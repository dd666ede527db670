//! Identities and ranked results.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Names one version of one image in an index.
///
/// Allocated by the writer in increasing order from 0 and never reused: an image whose bytes change gets a new id. The same
/// number names the image in the catalog, in the text index and in every segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub u64);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the commits of an index. Generation 0 is the empty index that `create` makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation that the next commit makes.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How well an image answers a query: larger is better in every stage, and never NaN.
///
/// The scale depends on the stage: cosine similarity in -1..=1 for vectors, BM25 (0 or more) for text, a fused value for hybrid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Score(f32);

impl Score {
    /// Wraps `value`; a NaN, which no ordering could place, becomes negative infinity, the worst score there is.
    pub fn new(value: f32) -> Self {
        Self(if value.is_nan() { f32::NEG_INFINITY } else { value })
    }

    /// The number inside.
    pub fn get(self) -> f32 {
        self.0
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        // `+ 0.0` makes -0.0 equal to 0.0, as `==` has it.
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}

/// One image and how well it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// The image.
    pub id: ImageId,
    /// Its score in the stage that made this hit.
    pub score: Score,
}

impl Hit {
    /// A hit from its parts.
    pub fn new(id: ImageId, score: f32) -> Self {
        Self { id, score: Score::new(score) }
    }

    /// The order of every result list in Pictor: best score first, equal scores by ascending id, so that a ranking is a
    /// function of the scores and never of thread timing.
    pub fn rank(&self, other: &Self) -> Ordering {
        other.score.cmp(&self.score).then(self.id.cmp(&other.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_by_score_then_id_and_puts_nan_last() {
        let mut hits = [
            Hit::new(ImageId(3), 0.5),
            Hit::new(ImageId(1), f32::NAN),
            Hit::new(ImageId(2), 0.5),
            Hit::new(ImageId(9), 0.9),
            Hit::new(ImageId(4), -0.0),
            Hit::new(ImageId(0), 0.0),
        ];
        hits.sort_by(Hit::rank);
        assert_eq!(hits.map(|h| h.id.0), [9, 2, 3, 0, 4, 1]);
    }
}
