//! What is asked and what is answered. As JSON (serde), the answer is what `pictor search --json` prints.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use pictor_core::{Attributes, Generation, ImageId};
use serde::{Deserialize, Serialize};

use crate::{Explanation, HitMatch, QueryError, Reranked};

/// What decides the ranking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Cosine similarity between query and image embeddings: what the photographs show. Scores in -1..=1.
    #[default]
    Vector,
    /// BM25 over captions and words of file names: what people wrote. Scores 0 or more.
    Text,
    /// Both, combined by reciprocal rank fusion ([`crate::fuse`]).
    Hybrid,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vector => "vector",
            Self::Text => "text",
            Self::Hybrid => "hybrid",
        })
    }
}

impl FromStr for Mode {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self, QueryError> {
        [Self::Vector, Self::Text, Self::Hybrid]
            .into_iter()
            .find(|mode| mode.to_string() == name)
            .ok_or_else(|| QueryError::UnknownMode(name.into()))
    }
}

/// A search. `SearchRequest { text: Some("two dogs".into()), ..Default::default() }` is a complete one.
///
/// For the vector part, whatever is given of `text`, `image` and `like` is combined: the query vector is the mean of their unit
/// vectors, divided by its norm. For two unit vectors, `q = (t + i) / ‖t + i‖`. Adding unit vectors and normalising again is how
/// clip-retrieval weighs one query against another (`clip_retrieval/clip_back.py::compute_query`); the weights here are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchRequest {
    /// Plain words, at most [`crate::MAX_TEXT_CHARS`]. Blank counts as absent.
    pub text: Option<String>,
    /// Bytes of an image file.
    pub image: Option<Vec<u8>>,
    /// An image of the index, compared by its stored vector and left out of the answer: "more like this".
    pub like: Option<ImageId>,
    /// Which images may be found, in the grammar of [`Filter`](pictor_storage::Filter), such as `camera:canon AND width:>=1000`.
    /// Blank counts as absent.
    pub filter: Option<String>,
    /// What decides the ranking.
    pub mode: Mode,
    /// Most hits wanted, 1 to [`crate::MAX_K`].
    pub k: usize,
    /// How hard an approximate index searches (`efSearch` or `nprobe`, by its kind), 1 to [`crate::MAX_EFFORT`]. `None` leaves
    /// it to the index. Exact search has no use for it.
    pub effort: Option<usize>,
    /// Whether each hit says where its score comes from.
    pub explain: bool,
    /// How many of the best candidates a matcher orders anew by the text, 1 to [`crate::MAX_RERANK`] (`k_test` in BLIP's evaluation, 128
    /// or 256 there); `None` leaves the order of the retrievers. May be less than `k`: hits after the first `rerank` then keep their
    /// order. Needs a text, and uses it alone, whatever else is searched by.
    pub rerank: Option<usize>,
    /// When reranking stops, from the start of the request. What was not scored by then follows what was, in the order of the
    /// retrievers. `None` scores all candidates.
    pub deadline: Option<Duration>,
}

impl Default for SearchRequest {
    fn default() -> Self {
        Self {
            text: None,
            image: None,
            like: None,
            filter: None,
            mode: Mode::Vector,
            k: 10,
            effort: None,
            explain: false,
            rerank: None,
            deadline: None,
        }
    }
}

/// The answer to a [`SearchRequest`], all of it from one snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchResponse {
    /// Best first; equal scores by ascending id. At most `k`, fewer when the index, or the filter, has no more to offer. When reranked:
    /// first those with a `rerank`, by its score, then the others by theirs.
    pub hits: Vec<RankedHit>,
    /// Where the time went.
    pub timings_ms: Timings,
    /// The commit that was searched.
    pub generation: Generation,
    /// Images in it.
    pub images: usize,
    /// Images that the filter matches; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<usize>,
    /// How the list was reranked; absent when that was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranked: Option<Reranked>,
    /// What kept the answer from being all that was asked, for people; absent when nothing did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One image of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankedHit {
    /// Place from 1.
    pub rank: usize,
    /// The image.
    pub id: ImageId,
    /// Where its bytes are: an absolute path.
    pub uri: String,
    /// Larger is better; the scale is the [`Mode`]'s, reranked or not.
    pub score: f32,
    /// What people wrote about it.
    pub captions: Vec<String>,
    /// What else is known of it.
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// Columns as a viewer shows it; absent when nobody said, as with imported vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Rows as a viewer shows it; absent like `width`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Where the score comes from, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explanation>,
    /// What the matcher says, by which this hit is ranked; absent when it was not scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<HitMatch>,
}

/// Wall time of each step, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timings {
    /// Query text and image to one vector; 0 when the mode needs none.
    pub encode: f64,
    /// Which images the filter matches; 0 without one, next to 0 when the same was asked before.
    pub filter: f64,
    /// The ranked lists.
    pub retrieve: f64,
    /// Their combination.
    pub fuse: f64,
    /// Images of the candidates, and their scores; 0 when reranking was not asked.
    pub rerank: f64,
    /// Records of the hits, and explanations.
    pub hydrate: f64,
    /// The whole request, checks and snapshot included.
    pub total: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_what_they_print() {
        for mode in [Mode::Vector, Mode::Text, Mode::Hybrid] {
            assert_eq!(mode.to_string().parse::<Mode>().unwrap(), mode);
        }
        assert!(matches!("bm25".parse::<Mode>(), Err(QueryError::UnknownMode(name)) if name == "bm25"));
    }
}
