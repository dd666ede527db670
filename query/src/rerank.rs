//! The head of a list, ordered anew by a matcher: a model that looks at the text and each image together.
//!
//! Candidates are scored in the order of the first stage, in batches of at most [`BATCH`]: features of their images from the cache, or made
//! from the files (`features.rs`), then one score for each. Those that were scored come first, by [`MatchScore::score`], equal ones in
//! the order of the first stage; all others follow as they were (`BLIP/train_retrieval.py::evaluation` orders the best `k_test` of the
//! dual encoder so).
//!
//! What must stay true: reranking never loses an image, and never fails a search. A model that fails leaves the order of the first
//! stage, an image that cannot be read keeps its place after those that were scored, and the answer says so. Without a deadline the
//! order depends on index, files and request alone: features are rounded as the cache rounds them, whether one is there or not.
//!
//! A batch that was begun is finished. Under a deadline a batch is no larger than what the one before it suggests there is time for
//! (`pace.rs`), and the first is one image; so the deadline is missed by one batch that took longer than expected, or by one image and
//! its score when there is nothing to expect yet.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pictor_core::{EncodeError, Hit, ImageFeatures, ImageRecord, MatchScore, Matcher, TextFeatures};
use pictor_storage::{FeatureCache, FeatureCacheStats, Snapshot};
use serde::Serialize;

use crate::QueryError;

mod features;
mod pace;
#[cfg(test)]
mod tests;

use features::Looked;
use pace::Pace;

/// Most candidates that a matcher is given at once. Enough to keep a processor or a GPU busy; with BLIP's 577 tokens an image, more
/// takes half a gigabyte a layer.
pub const BATCH: usize = 16;

/// Orders the best of a first stage anew. Shared by reference between threads.
pub struct Reranker {
    matcher: Arc<dyn Matcher>,
    cache: Option<FeatureCache>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    scored: AtomicU64,
    cut: AtomicU64,
    failed: AtomicU64,
    unreadable: AtomicU64,
}

/// What reranking came to, over all requests since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RerankMetrics {
    /// The matcher's name.
    pub matcher: String,
    /// Requests that asked for it.
    pub requests: u64,
    /// Candidates that were scored.
    pub scored: u64,
    /// Requests that their deadline cut short.
    pub cut: u64,
    /// Requests that the matcher failed on.
    pub failed: u64,
    /// Candidates whose image could not be read.
    pub unreadable: u64,
    /// The cache of features; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<FeatureCacheStats>,
}

/// How one request's list was ordered anew.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reranked {
    /// The matcher's name.
    pub matcher: String,
    /// Candidates wanted.
    pub asked: usize,
    /// Candidates that there were: fewer than `asked` when the index, or the filter, has no more to offer.
    pub candidates: usize,
    /// Candidates that were scored.
    pub scored: usize,
    /// Those of `candidates` whose features were in the cache.
    pub cache_hits: usize,
    /// Candidates whose image could not be read; one of the warnings says why.
    pub unreadable: usize,
    /// How it ended.
    pub outcome: RerankOutcome,
}

/// How reranking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RerankOutcome {
    /// Every candidate that could be read was scored.
    Complete,
    /// The deadline left some candidates where the first stage had them.
    Deadline,
    /// The matcher failed; the order is the first stage's. One of the warnings says why.
    Failed,
}

/// What the matcher says of one hit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HitMatch {
    /// Place in the first stage, from 1.
    pub first_stage_rank: usize,
    /// The score that it is ranked by, and its parts.
    #[serde(flatten)]
    pub score: MatchScore,
}

/// A list in its new order.
pub(crate) struct Reordered {
    pub hits: Vec<(Hit, Option<HitMatch>)>,
    pub reranked: Reranked,
    pub warnings: Vec<String>,
}

/// What has been found out so far about a request's candidates.
#[derive(Default)]
struct Progress {
    /// Those of the first candidates, as far as they were looked at.
    records: Vec<ImageRecord>,
    /// Places of candidates with their scores, in the order of the first stage.
    scored: Vec<(usize, MatchScore)>,
    cache_hits: usize,
    /// Candidates whose image could not be read, and why the first could not.
    unreadable: (usize, Option<String>),
    /// Why features could not be kept.
    unkept: Option<String>,
}

/// Why not all candidates were scored.
enum Stop {
    Deadline,
    Matcher(EncodeError),
    Index(QueryError),
}

impl From<EncodeError> for Stop {
    fn from(error: EncodeError) -> Self {
        Self::Matcher(error)
    }
}

impl Reranker {
    /// Ranks by `matcher`, which looks at every candidate's image each time.
    pub fn new(matcher: Arc<dyn Matcher>) -> Self {
        Self { matcher, cache: None, counts: Counts::default() }
    }

    /// The same, which keeps features of images in `cache`. It is one of this matcher's features.
    #[must_use]
    pub fn with_cache(mut self, cache: FeatureCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// The matcher.
    pub fn matcher(&self) -> &dyn Matcher {
        &*self.matcher
    }

    /// The sums over all requests.
    pub fn metrics(&self) -> RerankMetrics {
        let Counts { requests, scored, cut, failed, unreadable } = &self.counts;
        let [requests, scored, cut, failed, unreadable] =
            [requests, scored, cut, failed, unreadable].map(|count| count.load(Ordering::Relaxed));
        let cache = self.cache.as_ref().map(FeatureCache::stats);
        let matcher = self.matcher.spec().name.clone();
        RerankMetrics { matcher, requests, scored, cut, failed, unreadable, cache }
    }

    /// `hits` with the best `asked` of them ordered by what the matcher says of `text` and each, as far as that goes until `deadline`.
    ///
    /// # Errors
    /// [`QueryError`] when the index cannot be read; nothing about matcher, images or cache is an error.
    pub(crate) fn rerank(
        &self,
        text: &str,
        hits: Vec<Hit>,
        asked: usize,
        snapshot: &Snapshot,
        deadline: Option<Instant>,
    ) -> Result<Reordered, QueryError> {
        let candidates = &hits[..asked.min(hits.len())];
        let mut progress = Progress::default();
        let (outcome, failure) = match self.score(text, candidates, snapshot, deadline, &mut progress) {
            Ok(()) => (RerankOutcome::Complete, None),
            Err(Stop::Deadline) => (RerankOutcome::Deadline, None),
            Err(Stop::Matcher(error)) => (RerankOutcome::Failed, Some(error)),
            Err(Stop::Index(error)) => return Err(error),
        };
        if failure.is_some() {
            progress.scored.clear();
        }
        let Progress { mut scored, cache_hits, unreadable: (unreadable, unread), unkept, .. } = progress;
        let reranked = Reranked {
            matcher: self.matcher.spec().name.clone(),
            asked,
            candidates: candidates.len(),
            scored: scored.len(),
            cache_hits,
            unreadable,
            outcome,
        };
        self.count(&reranked);
        let warnings = [
            failure.map(|error| format!("not reranked, since the matcher failed: {error}")),
            unread.map(|reason| format!("{unreadable} images could not be reranked; the first: {reason}")),
            unkept.map(|reason| format!("features could not be kept for the next search: {reason}")),
        ];

        // Stable, so equal scores stay in the order of the first stage.
        scored.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score));
        let mut rest: Vec<Option<Hit>> = hits.into_iter().map(Some).collect();
        let mut hits = Vec::with_capacity(rest.len());
        for (place, score) in scored {
            let hit_match = HitMatch { first_stage_rank: place + 1, score };
            hits.extend(rest[place].take().map(|hit| (hit, Some(hit_match))));
        }
        hits.extend(rest.into_iter().flatten().map(|hit| (hit, None)));
        Ok(Reordered { hits, reranked, warnings: warnings.into_iter().flatten().collect() })
    }

    /// Scores candidates in order, batch by batch.
    fn score(
        &self,
        text: &str,
        candidates: &[Hit],
        snapshot: &Snapshot,
        deadline: Option<Instant>,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        let mut pace = Pace::new(deadline);
        if candidates.is_empty() {
            return Ok(());
        }
        if pace.batch([true].into_iter()) == 0 {
            return Err(Stop::Deadline);
        }
        let texts = self.matcher.encode_texts(&[text])?;
        let text = texts.first().ok_or_else(|| miscounted(1, 0))?;
        let mut next = 0;
        while next < candidates.len() {
            for hit in &candidates[progress.records.len()..candidates.len().min(next + BATCH)] {
                let record = snapshot.record(hit.id).map_err(|error| Stop::Index(error.into()))?;
                let missing = || Stop::Index(QueryError::MissingRecord(hit.id));
                progress.records.push(record.ok_or_else(missing)?);
            }
            let batch = pace.batch(progress.records[next..].iter().map(|record| self.is_cached(record)));
            if batch == 0 {
                return Err(Stop::Deadline);
            }
            self.score_batch(text, next..next + batch, &mut pace, progress)?;
            next += batch;
        }
        Ok(())
    }

    /// Scores the candidates at `places` together.
    fn score_batch(
        &self,
        text: &TextFeatures,
        places: Range<usize>,
        pace: &mut Pace,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        let start = Instant::now();
        let Looked { features, cache_hits, unkept } = self.look(&progress.records[places.clone()])?;
        let made = places.len() - cache_hits;
        pace.encoded(made, start.elapsed());
        progress.cache_hits += cache_hits;
        progress.unkept = progress.unkept.take().or(unkept);

        let (mut seen, mut images) = (Vec::new(), Vec::new());
        for (place, features) in places.zip(features) {
            match features {
                Ok(features) => {
                    seen.push(place);
                    images.push(features);
                }
                Err(reason) => {
                    progress.unreadable.0 += 1;
                    progress.unreadable.1.get_or_insert(reason);
                }
            }
        }
        // What reading the cache takes is part of a pair's time.
        let start = if made > 0 { Instant::now() } else { start };
        let pairs: Vec<(&TextFeatures, &ImageFeatures)> = images.iter().map(|image| (text, image)).collect();
        let scores = if pairs.is_empty() { Vec::new() } else { self.matcher.score(&pairs)? };
        if scores.len() != pairs.len() {
            return Err(miscounted(pairs.len(), scores.len()).into());
        }
        if let Some(odd) = scores.iter().find(|score| !score.score.is_finite()) {
            let reason = format!("a score is {}", odd.score);
            return Err(EncodeError::Runtime { runtime: "the matcher", batch: pairs.len(), reason }.into());
        }
        pace.scored(pairs.len(), start.elapsed());
        progress.scored.extend(seen.into_iter().zip(scores));
        Ok(())
    }

    fn count(&self, reranked: &Reranked) {
        let add = |counter: &AtomicU64, more: usize| counter.fetch_add(more as u64, Ordering::Relaxed);
        add(&self.counts.requests, 1);
        add(&self.counts.scored, reranked.scored);
        add(&self.counts.unreadable, reranked.unreadable);
        add(&self.counts.cut, usize::from(reranked.outcome == RerankOutcome::Deadline));
        add(&self.counts.failed, usize::from(reranked.outcome == RerankOutcome::Failed));
    }
}

/// The error of a matcher that answers for another number of items than it was given.
fn miscounted(expected: usize, received: usize) -> EncodeError {
    EncodeError::Shape { received: vec![received], expected: vec![expected] }
}
