//! The whole way of a query, in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pictor_core::{EmbeddingBatch, Encoder, Hit};
use pictor_storage::{Snapshot, StorageError, Store};

use crate::retrieve::{PreparedQuery, Ranking, retrieve};
use crate::{Mode, QueryError, SearchRequest, SearchResponse, Timings, explain, fuse, hydrate, parse};

/// Answers searches over one index with one encoder. Shared by reference between threads; holds no lock while it searches.
pub struct Engine {
    encoder: Arc<dyn Encoder>,
    store: Arc<Store>,
}

impl Engine {
    /// An engine, once it is sure that `encoder` made the vectors of `store`.
    ///
    /// # Errors
    /// [`QueryError::Storage`] with both encoders' specs when it did not.
    pub fn new(encoder: Arc<dyn Encoder>, store: Arc<Store>) -> Result<Self, QueryError> {
        store.check_encoder(encoder.spec())?;
        Ok(Self { encoder, store })
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
    /// 6. fuses their rankings, if there is more than one, and keeps the best `k`;
    /// 7. reads the records of those, and explains them on request.
    ///
    /// # Errors
    /// [`QueryError`]; the request, the query image, the model or the index is at fault, and the variant says which.
    pub fn search(&self, request: &SearchRequest) -> Result<SearchResponse, QueryError> {
        let start = Instant::now();
        let text = parse::check(request)?;
        let filter = parse::filter(request)?;
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
        let wanted = request.k + usize::from(request.like.is_some());
        let depth = if request.mode == Mode::Hybrid { fuse::depth(wanted) } else { wanted };
        let rankings = retrieve(request.mode, &query, &snapshot, depth)?;
        let retrieve = lap.next();

        let mut hits = fused(&rankings);
        hits.retain(|hit| Some(hit.id) != request.like);
        hits.truncate(request.k);
        let fuse = lap.next();

        let evidence = |hit: &Hit| {
            request.explain.then(|| explain::explain(hit.id, &query, &rankings, &snapshot)).transpose()
        };
        let hits = hydrate::hydrate(&hits, &snapshot, evidence)?;
        let hydrate = lap.next();

        let total = milliseconds(start.elapsed());
        let timings_ms = Timings { encode, filter, retrieve, fuse, hydrate, total };
        let (generation, images) = (snapshot.generation(), snapshot.len());
        Ok(SearchResponse { hits, timings_ms, generation, images, matches })
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
