//! Where the score of a hit comes from.

use pictor_core::{Hit, ImageId, dot};
use pictor_storage::Snapshot;
use serde::Serialize;

use crate::QueryError;
use crate::retrieve::{PreparedQuery, Ranking};

/// What each retriever said of a hit. Absent where it was not asked, or had nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Explanation {
    /// Cosine similarity, and place by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Evidence>,
    /// BM25, and place by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Evidence>,
}

/// One retriever's view of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// The retriever's own score.
    pub score: f32,
    /// Place in the retriever's list, from 1; absent when the image is below the depth asked for ([`crate::fuse::depth`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
}

/// Collects the evidence for `id`. The cosine is known for every hit of a query that has a vector, wherever it ranks: the image's own
/// vector is at hand.
pub(crate) fn explain(
    id: ImageId,
    query: &PreparedQuery<'_>,
    rankings: &[Ranking],
    snapshot: &Snapshot,
) -> Result<Explanation, QueryError> {
    let place = |name: &str| {
        let ranking = rankings.iter().find(|ranking| ranking.retriever == name)?;
        let (rank, hit): (usize, &Hit) = (1..).zip(&ranking.hits).find(|(_, hit)| hit.id == id)?;
        Some(Evidence { score: hit.score.get(), rank: Some(rank) })
    };
    let cosine = || -> Result<_, QueryError> {
        let Some(query) = query.vector.as_deref() else { return Ok(None) };
        Ok(snapshot.vector(id)?.map(|image| Evidence { score: dot(query, &image), rank: None }))
    };
    let vector = place("vector").map_or_else(cosine, |evidence| Ok(Some(evidence)))?;
    Ok(Explanation { vector, text: place("text") })
}
