//! Where candidates come from: each retriever ranks images of one snapshot by one kind of evidence.
//!
//! A third kind (a remote vector database, another text field) is one more implementer and one more arm in [`of_mode`].

use pictor_core::Hit;
use pictor_storage::{Filter, Snapshot};

use crate::{Mode, QueryError};

mod text;
mod vector;

use text::TextRetriever;
use vector::VectorRetriever;

/// A request after parsing and encoding.
pub(crate) struct PreparedQuery<'a> {
    /// Words, when there are any.
    pub text: Option<&'a str>,
    /// Unit vector, when the mode asks for one.
    pub vector: Option<Vec<f32>>,
    /// Search effort of an approximate index.
    pub effort: Option<usize>,
    /// Which images may be found.
    pub filter: Option<Filter>,
}

/// Ranks images by one kind of evidence.
pub(crate) trait Retriever: Send + Sync {
    /// Its word in explanations.
    fn name(&self) -> &'static str;

    /// The best `k` images that the filter matches, in the order of [`Hit::rank`]; fewer when no more have any evidence.
    fn retrieve(
        &self,
        query: &PreparedQuery<'_>,
        snapshot: &Snapshot,
        k: usize,
    ) -> Result<Vec<Hit>, QueryError>;
}

/// What one retriever answered.
pub(crate) struct Ranking {
    pub retriever: &'static str,
    pub hits: Vec<Hit>,
}

/// The retrievers that a mode asks.
fn of_mode(mode: Mode) -> &'static [&'static dyn Retriever] {
    match mode {
        Mode::Vector => &[&VectorRetriever],
        Mode::Text => &[&TextRetriever],
        Mode::Hybrid => &[&VectorRetriever, &TextRetriever],
    }
}

/// Asks every retriever of the mode, side by side, on the one snapshot.
pub(crate) fn retrieve(
    mode: Mode,
    query: &PreparedQuery<'_>,
    snapshot: &Snapshot,
    k: usize,
) -> Result<Vec<Ranking>, QueryError> {
    let ask = |retriever: &dyn Retriever| -> Result<Ranking, QueryError> {
        let hits = retriever.retrieve(query, snapshot, k)?;
        Ok(Ranking { retriever: retriever.name(), hits })
    };
    match of_mode(mode) {
        // The one that is always there runs here: a thread costs more than most searches.
        [only] => Ok(vec![ask(*only)?]),
        [first, others @ ..] => std::thread::scope(|scope| {
            let others: Vec<_> = others.iter().map(|other| scope.spawn(|| ask(*other))).collect();
            let mut rankings = vec![ask(*first)?];
            for other in others {
                rankings.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(rankings)
        }),
        [] => Ok(Vec::new()),
    }
}
