//! By meaning: cosine similarity of embeddings.

use pictor_core::Hit;
use pictor_storage::Snapshot;

use super::{PreparedQuery, Retriever};
use crate::QueryError;

/// Nearest stored vectors to the query's.
pub(super) struct VectorRetriever;

impl Retriever for VectorRetriever {
    fn name(&self) -> &'static str {
        "vector"
    }

    fn retrieve(
        &self,
        query: &PreparedQuery<'_>,
        snapshot: &Snapshot,
        k: usize,
    ) -> Result<Vec<Hit>, QueryError> {
        let vector = query.vector.as_deref().ok_or(QueryError::EmptyQuery)?;
        Ok(snapshot.search_vectors(vector, k, query.effort, query.filter.as_ref())?)
    }
}
