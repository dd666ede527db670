//! From ids to what a caller can show.

use pictor_core::Hit;
use pictor_storage::Snapshot;

use crate::{Explanation, HitMatch, QueryError, RankedHit};

/// One record per hit, in order.
///
/// # Errors
/// [`QueryError::MissingRecord`] when the catalog does not know an image that a retriever found: a shorter list would hide that the
/// index is damaged.
pub(crate) fn hydrate(
    hits: &[(Hit, Option<HitMatch>)],
    snapshot: &Snapshot,
    explain: impl Fn(&Hit) -> Result<Option<Explanation>, QueryError>,
) -> Result<Vec<RankedHit>, QueryError> {
    let ranked = |(rank, (hit, rerank)): (usize, &(Hit, Option<HitMatch>))| {
        let record = snapshot.record(hit.id)?.ok_or(QueryError::MissingRecord(hit.id))?;
        Ok(RankedHit {
            rank,
            id: hit.id,
            uri: record.uri,
            score: hit.score.get(),
            captions: record.captions,
            attributes: record.attributes,
            width: record.size.map(|size| size.width),
            height: record.size.map(|size| size.height),
            explain: explain(hit)?,
            rerank: *rerank,
        })
    };
    (1..).zip(hits).map(ranked).collect()
}
