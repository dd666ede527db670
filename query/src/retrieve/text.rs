//! By words: BM25 over captions and the words of file names.

use pictor_core::Hit;
use pictor_storage::Snapshot;

use super::{PreparedQuery, Retriever};
use crate::QueryError;

/// Images about which people wrote words of the query.
pub(super) struct TextRetriever;

impl Retriever for TextRetriever {
    fn name(&self) -> &'static str {
        "text"
    }

    fn retrieve(
        &self,
        query: &PreparedQuery<'_>,
        snapshot: &Snapshot,
        k: usize,
    ) -> Result<Vec<Hit>, QueryError> {
        let text = query.text.ok_or(QueryError::EmptyQuery)?;
        Ok(snapshot.search_text(text, k, query.filter.as_ref())?)
    }
}
