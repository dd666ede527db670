//! Exact search between two sets of embeddings, without ever holding a score matrix.
//!
//! Of each query two things are kept: how many items go before its best positive (a count, so a rank costs no memory however
//! low it is) and the head of its ranking, at least as long as the query has positives, which is all that mAP@R asks for.
//! Scores are made in small tiles, looked at and forgotten. Each direction is a pass of its own in which a task owns its
//! queries: twice the multiplications of one pass that serves both, and nothing to merge between threads. Memory is the
//! embeddings once more and what is kept.
//!
//! CLIP_benchmark ranks by `torch.topk`, which leaves the order of equal scores open; the order here
//! ([`Candidate::order`]) is one of those that it may give. What must stay true: a pair's score depends on its two
//! vectors alone and not on where in a tile or in which direction it is computed, else equal vectors would not tie; hence one
//! kernel, the same order of additions for each pair, and padding instead of edges.

use pictor_core::EmbeddingBatch;
use rayon::prelude::*;

use crate::rankings::{Candidate, Outcome, Ranked, Rankings};
use crate::tile::{ITEMS, Kernel, Panels, QUERIES, kernel};
use crate::{EvalError, Relevance};

/// Groups of [`QUERIES`] queries that one task takes through all items, so that they stay in the L2 cache.
const GROUPS_PER_TASK: usize = 16;

/// Ranks all images for each text and all texts for each image, by inner product. `keep` is how much of each ranking to
/// keep: as many as reranking will ask for. `progress` is told how many further queries are done, from any thread; there are
/// [`Relevance::text_queries`] and then [`Relevance::image_queries`].
///
/// # Errors
/// [`EvalError`] when the embeddings are not those that `relevance` is about, or the dimensions differ.
///
/// # Example
/// ```
/// use pictor_core::EmbeddingBatch;
/// use pictor_eval::{Clusters, Relevance, direction, exact};
/// let images = EmbeddingBatch::new(2, vec![1.0, 0.0, 0.0, 1.0])?;
/// let texts = EmbeddingBatch::new(2, vec![0.8, 0.6, 0.6, 0.8, 1.0, 0.0])?;
/// let image_of_text = [0, 1, 1];
/// let rankings = exact(&images, &texts, &Relevance::from_captions(&image_of_text, 2)?, 10, &|_| ())?;
/// let clusters = Clusters::new(&rankings.text_to_image, |text| image_of_text[text as usize] as u32);
/// let figures = direction(&rankings.text_to_image, &clusters)?.metrics;
/// assert_eq!(figures.r1.round(), 67.0); // the third caption is nearer to image 0 than to its own
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn exact(
    images: &EmbeddingBatch,
    texts: &EmbeddingBatch,
    relevance: &Relevance,
    keep: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Rankings, EvalError> {
    if images.dim() != texts.dim() {
        return Err(EvalError::Dimensions { images: images.dim(), texts: texts.dim() });
    }
    if (images.len(), texts.len()) != (relevance.images(), relevance.texts()) {
        return Err(EvalError::Embeddings {
            images: images.len(),
            texts: texts.len(),
            expected_images: relevance.images(),
            expected_texts: relevance.texts(),
        });
    }
    let pass = |queries, items| Pass { queries, items, kernel: kernel(), keep, progress };
    Ok(Rankings {
        text_to_image: pass(texts, images).run(|text| relevance.images_of_text(text)),
        image_to_text: pass(images, texts).run(|image| relevance.texts_of_image(image)),
    })
}

/// One direction.
struct Pass<'a> {
    queries: &'a EmbeddingBatch,
    items: &'a EmbeddingBatch,
    kernel: Kernel,
    keep: usize,
    progress: &'a (dyn Fn(usize) + Sync),
}

impl Pass<'_> {
    fn run<'a>(&self, positives: impl Fn(u32) -> &'a [u32] + Sync) -> Vec<Ranked> {
        let asked: Vec<u32> = (0..self.queries.len() as u32).filter(|&q| !positives(q).is_empty()).collect();
        let queries = Panels::<QUERIES>::pack(self.queries, asked.iter().copied());
        let items = Panels::<ITEMS>::pack(self.items, 0..self.items.len() as u32);
        let ranked: Vec<Vec<Ranked>> = asked
            .par_chunks(GROUPS_PER_TASK * QUERIES)
            .enumerate()
            .map(|(task, asked)| {
                let first = task * GROUPS_PER_TASK * QUERIES;
                let ranked = self.rank(first, asked, &queries, &items, &positives);
                (self.progress)(asked.len());
                ranked
            })
            .collect();
        ranked.into_iter().flatten().collect()
    }

    /// Ranks the queries `asked`, which are packed from row `first` on.
    fn rank<'a>(
        &self,
        first: usize,
        asked: &[u32],
        queries: &Panels<QUERIES>,
        items: &Panels<ITEMS>,
        positives: impl Fn(u32) -> &'a [u32],
    ) -> Vec<Ranked> {
        let score = |row: usize, item: u32| {
            let item = item as usize;
            let tile = (self.kernel)(queries.panel(row / QUERIES), items.panel(item / ITEMS));
            tile[row % QUERIES][item % ITEMS]
        };
        let mut searches: Vec<Search> = asked
            .iter()
            .enumerate()
            .map(|(i, &query)| {
                let positives = positives(query);
                let places = positives.iter().map(|&item| Candidate { item, score: score(first + i, item) });
                // A query without positives is not asked.
                let best =
                    places.min_by(Candidate::order).unwrap_or(Candidate { item: 0, score: f32::INFINITY });
                Search {
                    best,
                    ahead: 0,
                    head: Head::new(self.keep.max(positives.len()).min(self.items.len())),
                }
            })
            .collect();
        for (i, item_panel) in items.iter().enumerate() {
            let real = ITEMS.min(self.items.len() - i * ITEMS);
            for (group, searches) in searches.chunks_mut(QUERIES).enumerate() {
                let tile = (self.kernel)(queries.panel(first / QUERIES + group), item_panel);
                for (search, scores) in searches.iter_mut().zip(&tile) {
                    // The padding of the last panel is no item.
                    search.see((i * ITEMS) as u32, &scores[..real]);
                }
            }
        }
        searches
            .into_iter()
            .zip(asked)
            .map(|(search, &query)| {
                let mut top = search.head.into_sorted();
                let outcome = Outcome::new(&top, positives(query), top.len() == self.items.len());
                top.truncate(self.keep);
                Ranked {
                    query,
                    outcome: Outcome { rank: Some(search.ahead + 1), ..outcome },
                    complete: top.len() == self.items.len(),
                    top,
                }
            })
            .collect()
    }
}

/// What one query has seen so far.
struct Search {
    /// Its best positive.
    best: Candidate,
    /// Items that go before it.
    ahead: u32,
    head: Head,
}

impl Search {
    /// The next items, from index `first` on. Without branches but one, so that it costs little beside making the scores.
    #[inline]
    fn see(&mut self, first: u32, scores: &[f32]) {
        let (best, threshold) = (self.best, self.head.threshold);
        let (mut ahead, mut entering) = (0, 0);
        for (item, &score) in (first..).zip(scores) {
            ahead += u32::from((score > best.score) | ((score == best.score) & (item < best.item)));
            entering += u32::from(score > threshold);
        }
        self.ahead += ahead;
        if entering > 0 {
            for (item, &score) in (first..).zip(scores) {
                self.head.offer(Candidate { item, score });
            }
        }
    }
}

/// The best `size` of items that come by ascending index.
struct Head {
    size: usize,
    /// Only a better score can still enter: equal ones are already there `size` times, and go before by their index.
    threshold: f32,
    /// The best so far, and up to as many again that came since they were last sorted out.
    candidates: Vec<Candidate>,
}

impl Head {
    fn new(size: usize) -> Self {
        // Scores of unit vectors are above -∞; a head of nothing takes nothing.
        let threshold = if size == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
        Self { size, threshold, candidates: Vec::new() }
    }

    fn offer(&mut self, candidate: Candidate) {
        if candidate.score > self.threshold {
            self.candidates.push(candidate);
            // At least 16, so that a small head does not select anew for each item.
            if self.candidates.len() >= (2 * self.size).max(self.size.saturating_add(16)) {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        if self.size > 0 && self.candidates.len() > self.size {
            let (_, last, _) = self.candidates.select_nth_unstable_by(self.size - 1, Candidate::order);
            self.threshold = last.score;
        }
        self.candidates.truncate(self.size);
    }

    /// Best first.
    fn into_sorted(mut self) -> Vec<Candidate> {
        self.cut();
        self.candidates.sort_unstable_by(Candidate::order);
        self.candidates.shrink_to_fit();
        self.candidates
    }
}
