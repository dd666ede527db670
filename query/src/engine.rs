//! The whole way of a query, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pictor_core::{EmbeddingBatch, Encoder, Hit};
use pictor_storage::{Snapshot, StorageError, Store};
use serde::Serialize;

use crate::rerank::Reordered;
use crate::retrieve::{PreparedQuery, Ranking, retrieve};
use crate::{
    Mode, QueryError, RerankMetrics, Reranker, SearchRequest, SearchResponse, Timings, explain, fuse,
    hydrate, parse,
};

/// Answers searches over one index with one encoder. Shared by reference between threads; holds no lock while it searches.
pub struct Engine {
    encoder: Arc<dyn Encoder>,
    store: Arc<Store>,
    reranker: Option<Reranker>,
    searches: AtomicU64,
    failed: AtomicU64,
}

/// What an engine has done since it was made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Searches that were begun.
    pub searches: u64,
    /// Those that had no answer: an error of the request's, or of ours.
    pub failed: u64,
    /// What reranking came to; absent without a matcher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<RerankMetrics>,
}

impl Engine {
    /// An engine, once it is sure that `encoder` made the vectors of `store`.
    ///
    /// # Errors
    /// [`QueryError::Storage`] with both encoders' specs when it did not.
    pub fn new(encoder: Arc<dyn Encoder>, store: Arc<Store>) -> Result<Self, QueryError> {
        store.check_encoder(encoder.spec())?;
        Ok(Self { encoder, store, reranker: None, searches: AtomicU64::new(0), failed: AtomicU64::new(0) })
    }

    /// The same engine, which can rerank.
    #[must_use]
    pub fn with_reranker(mut self, reranker: Reranker) -> Self {
        self.reranker = Some(reranker);
        self
    }

    /// What orders results anew, if anything.
    pub fn reranker(&self) -> Option<&Reranker> {
        self.reranker.as_ref()
    }

    /// The sums over all searches.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            searches: self.searches.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            rerank: self.reranker.as_ref().map(Reranker::metrics),
        }
    }

    /// The index.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The encoder of queries.
    pub fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }

    /// Searches the newest commit:
    ///
    /// 1. checks the request;
    /// 2. takes a snapshot, which the rest of the way stays on;
    /// 3. encodes text and image, once each, unless the mode is text alone;
    /// 4. finds what the filter matches;
    /// 5. asks the retrievers of the mode, side by side, for the best of that;
    /// 6. fuses their rankings, if there is more than one;
    /// 7. on request orders the best of them by what a matcher says, and keeps the best `k`;
    /// 8. reads the records of those, and explains them on request.
    ///
    /// # Errors
    /// [`QueryError`]; the request, the query image, the model or the index is at fault, and the variant says which.
    pub fn search(&self, request: &SearchRequest) -> Result<SearchResponse, QueryError> {
        self.searches.fetch_add(1, Ordering::Relaxed);
        self.answer(request).inspect_err(|_| {
            self.failed.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn answer(&self, request: &SearchRequest) -> Result<SearchResponse, QueryError> {
        let start = Instant::now();
        let text = parse::check(request)?;
        let filter = parse::filter(request)?;
        let reranking = self.reranking(request, text)?;
        let snapshot = self.snapshot()?;

        let mut lap = Lap(Instant::now());
        let vector = match request.mode {
            Mode::Text => None,
            Mode::Vector | Mode::Hybrid => Some(self.query_vector(text, request, &snapshot)?),
        };
        let encode = lap.next();

        let matches = filter.as_ref().map(|filter| snapshot.count_matches(filter)).transpose()?;
        let query = PreparedQuery { text, vector, effort: request.effort, filter };
        let filter = lap.next();

        // One more than wanted when one of them is the query itself.
        let best = request.k.max(request.rerank.unwrap_or(0));
        let wanted = best + usize::from(request.like.is_some());
        let depth = if request.mode == Mode::Hybrid { fuse::depth(wanted) } else { wanted };
        let rankings = retrieve(request.mode, &query, &snapshot, depth)?;
        let retrieve = lap.next();

        let mut hits = fused(&rankings);
        hits.retain(|hit| Some(hit.id) != request.like);
        hits.truncate(best);
        let fuse = lap.next();

        let (mut hits, reranked, warnings) = match reranking {
            None => (hits.into_iter().map(|hit| (hit, None)).collect(), None, Vec::new()),
            Some((reranker, text, count)) => {
                // A deadline beyond what the clock counts is none.
                let deadline = request.deadline.and_then(|deadline| start.checked_add(deadline));
                let Reordered { hits, reranked, warnings } =
                    reranker.rerank(text, hits, count, &snapshot, deadline)?;
                (hits, Some(reranked), warnings)
            }
        };
        hits.truncate(request.k);
        let rerank = if reranked.is_some() { lap.next() } else { 0.0 };

        let evidence = |hit: &Hit| {
            request.explain.then(|| explain::explain(hit.id, &query, &rankings, &snapshot)).transpose()
        };
        let hits = hydrate::hydrate(&hits, &snapshot, evidence)?;
        let hydrate = lap.next();

        let total = milliseconds(start.elapsed());
        let timings_ms = Timings { encode, filter, retrieve, fuse, rerank, hydrate, total };
        let (generation, images) = (snapshot.generation(), snapshot.len());
        Ok(SearchResponse { hits, timings_ms, generation, images, matches, reranked, warnings })
    }

    /// What reranks this request, its text, and how many candidates are wanted; `None` when it is not to be reranked.
    fn reranking<'a>(
        &'a self,
        request: &SearchRequest,
        text: Option<&'a str>,
    ) -> Result<Option<(&'a Reranker, &'a str, usize)>, QueryError> {
        let Some(count) = request.rerank else { return Ok(None) };
        let text = text.ok_or(QueryError::RerankNeedsText)?;
        let reranker = self.reranker.as_ref().ok_or(QueryError::NoMatcher)?;
        Ok(Some((reranker, text, count)))
    }

    /// The newest commit, once it is sure that its vectors can be compared with the encoder's: while an engine lives, its index can
    /// be deleted and made anew with another model.
    fn snapshot(&self) -> Result<Arc<Snapshot>, QueryError> {
        let snapshot = self.store.snapshot()?;
        let (stored, own) = (snapshot.spec(), self.encoder.spec());
        if (&stored.fingerprint, stored.dim) != (&own.fingerprint, own.dim) {
            let specs = Box::new((stored.clone(), own.clone()));
            return Err(StorageError::EncoderMismatch { dir: self.store.dir().into(), specs }.into());
        }
        Ok(snapshot)
    }

    /// The normalised mean of what is given: see [`SearchRequest`].
    fn query_vector(
        &self,
        text: Option<&str>,
        request: &SearchRequest,
        snapshot: &Snapshot,
    ) -> Result<Vec<f32>, QueryError> {
        let dim = self.encoder.spec().dim;
        let mut sum = vec![0.0; dim];
        let mut parts = 0;
        let mut add = |vector: &[f32]| {
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
            parts += 1;
        };
        if let Some(text) = text {
            self.encoder.encode_texts(&[text])?.rows().for_each(&mut add);
        }
        if let Some(bytes) = &request.image {
            let image = self.encoder.prepare_image(bytes)?;
            self.encoder.encode_images(&[image])?.rows().for_each(&mut add);
        }
        if let Some(id) = request.like {
            add(&snapshot.vector(id)?.ok_or(QueryError::UnknownImage(id))?);
        }
        match parts {
            0 => Err(QueryError::EmptyQuery),
            // Already of norm 1; left alone, so that an image finds itself with the very same vector.
            1 => Ok(sum),
            _ => {
                let mean = EmbeddingBatch::normalise(dim, sum).map_err(QueryError::NoDirection)?;
                Ok(mean.as_slice().to_vec())
            }
        }
    }
}

/// One list as it is, several by their ranks.
fn fused(rankings: &[Ranking]) -> Vec<Hit> {
    match rankings {
        [only] => only.hits.clone(),
        _ => {
            fuse::reciprocal_rank(&rankings.iter().map(|ranking| ranking.hits.as_slice()).collect::<Vec<_>>())
        }
    }
}

/// Splits time into steps.
struct Lap(Instant);

impl Lap {
    /// Milliseconds since the last call.
    fn next(&mut self) -> f64 {
        let now = Instant::now();
        let spent = milliseconds(now - self.0);
        self.0 = now;
        spent
    }
}

fn milliseconds(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests;
