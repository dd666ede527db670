//! Reranking over a real index of real files. With [`HashMatcher`], an image's score grows with the text's words among its bytes.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use pictor_core::testing::{HashEncoder, HashMatcher};
use pictor_core::{
    Attribute, Attributes, DecodeError, EmbeddingBatch, Encoder, ImageId, MatcherSpec, PreparedImage,
};
use pictor_storage::{KindChoice, Store, content_hash};
use tempfile::TempDir;

use super::*;
use crate::{Engine, Mode, SearchRequest, SearchResponse};

mod cache;

const DIM: usize = 32;
const TEXT: &str = "dog grass";

/// Bytes of each image. For [`TEXT`] the first stage has them in this order.
const IMAGES: [&str; 8] =
    ["red car", "dog", "cat grass", "dog on grass", "a dog", "red car", "dog grass", "grass dog snow"];

/// A matcher that can be made to fail or to take its time, and counts what it is asked.
struct Probe {
    matcher: HashMatcher,
    asked: Mutex<[usize; 3]>,
    /// Which of its calls fails: 0 texts, 1 images, 2 scores; and on which call from 1.
    fails: Option<(usize, usize)>,
    /// The scores it gives on that call are not numbers.
    odd: bool,
    /// How long its second scoring takes.
    slow: Duration,
}

impl Probe {
    fn new() -> Self {
        let matcher = HashMatcher::new(DIM);
        Self { matcher, asked: Mutex::default(), fails: None, odd: false, slow: Duration::ZERO }
    }

    fn call(&self, which: usize) -> Result<usize, EncodeError> {
        let mut asked = self.asked.lock().unwrap();
        asked[which] += 1;
        match self.fails == Some((which, asked[which])) && !self.odd {
            true => Err(EncodeError::Runtime { runtime: "test", batch: 1, reason: "on purpose".into() }),
            false => Ok(asked[which]),
        }
    }
}

impl Matcher for Probe {
    fn spec(&self) -> &MatcherSpec {
        self.matcher.spec()
    }
    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError> {
        self.matcher.prepare_image(bytes)
    }
    fn encode_images(&self, batch: &[PreparedImage]) -> Result<Vec<ImageFeatures>, EncodeError> {
        self.call(1)?;
        assert!(batch.len() <= BATCH);
        self.matcher.encode_images(batch)
    }
    fn encode_texts(&self, batch: &[&str]) -> Result<Vec<TextFeatures>, EncodeError> {
        self.call(0)?;
        self.matcher.encode_texts(batch)
    }
    fn score(&self, pairs: &[(&TextFeatures, &ImageFeatures)]) -> Result<Vec<MatchScore>, EncodeError> {
        let call = self.call(2)?;
        assert!(!pairs.is_empty() && pairs.len() <= BATCH);
        if call == 2 {
            std::thread::sleep(self.slow);
        }
        let mut scores = self.matcher.score(pairs)?;
        if self.odd {
            scores[0].score = f32::NAN;
        }
        Ok(scores)
    }
}

/// An index of files.
struct Shelf {
    dir: TempDir,
    store: Arc<Store>,
}

impl Shelf {
    fn new(images: &[&str], hashed: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let encoder = HashEncoder::new(DIM);
        let store = Store::create(&dir.path().join("index"), encoder.spec(), KindChoice::Auto).unwrap();
        let mut writer = store.writer().unwrap();
        let query = encoder.vector(TEXT.as_bytes());
        let aside = encoder.vector(b"something else");
        for (i, bytes) in images.iter().enumerate() {
            let path = dir.path().join(format!("{i:02}.bin"));
            std::fs::write(&path, bytes).unwrap();
            let stars = Attribute::Integer(i as i64);
            let record = ImageRecord {
                uri: path.to_str().unwrap().into(),
                content_hash: hashed.then(|| content_hash(bytes.as_bytes())),
                bytes: bytes.len() as u64,
                modified_ns: None,
                size: None,
                captions: vec![bytes.to_string()],
                attributes: Attributes::from([("stars".to_owned(), stars)]),
            };
            // Further and further from the query.
            let mixed = query.iter().zip(&aside).map(|(q, a)| q + 0.1 * i as f32 * a).collect();
            let vector = EmbeddingBatch::normalise(DIM, mixed).unwrap();
            assert_eq!(writer.put(record, vector.as_slice()).unwrap(), ImageId(i as u64));
        }
        writer.commit().unwrap();
        drop(writer);
        Self { dir, store: Arc::new(store) }
    }

    fn engine(&self, reranker: Reranker) -> Engine {
        let encoder = Arc::new(HashEncoder::new(DIM));
        Engine::new(encoder, Arc::clone(&self.store)).unwrap().with_reranker(reranker)
    }

    fn file(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("{i:02}.bin"))
    }
}

fn request(rerank: usize) -> SearchRequest {
    SearchRequest { text: Some(TEXT.into()), rerank: Some(rerank), ..Default::default() }
}

fn ids(response: &SearchResponse) -> Vec<usize> {
    response.hits.iter().map(|hit| hit.id.0 as usize).collect()
}

/// What the matcher says of `text` and an image's bytes.
fn score(text: &str, bytes: &str) -> MatchScore {
    let matcher = HashMatcher::new(DIM);
    let image = matcher.prepare_image(bytes.as_bytes()).unwrap();
    let (texts, images) = (matcher.encode_texts(&[text]).unwrap(), matcher.encode_images(&[image]).unwrap());
    matcher.score(&[(&texts[0], &images[0])]).unwrap()[0]
}

/// The slow twin: places of `IMAGES` when the first `r` are ordered by their scores.
fn expected(images: &[&str], r: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images.len()).collect();
    let r = r.min(order.len());
    order[..r].sort_by(|&a, &b| score(TEXT, images[b]).score.total_cmp(&score(TEXT, images[a]).score));
    order
}

#[test]
fn orders_the_first_r_and_leaves_the_rest() {
    let shelf = Shelf::new(&IMAGES, true);
    let engine = shelf.engine(Reranker::new(Arc::new(Probe::new())));
    let plain = engine.search(&SearchRequest { rerank: None, ..request(1) }).unwrap();
    assert_eq!(ids(&plain), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!((plain.reranked, plain.hits[0].rerank, plain.timings_ms.rerank), (None, None, 0.0));
    for r in [1, 2, 5, 7, 8, 9, 1000] {
        let whole = expected(&IMAGES, r);
        for k in [1, 3, 8, 20] {
            let response = engine.search(&SearchRequest { k, ..request(r) }).unwrap();
            assert_eq!(ids(&response), whole[..k.min(8)], "k {k} r {r}");
            let reranked = response.reranked.as_ref().unwrap();
            let there = r.min(8);
            assert_eq!((reranked.asked, reranked.candidates, reranked.scored), (r, there, there));
            assert_eq!((reranked.outcome, &response.warnings[..]), (RerankOutcome::Complete, &[][..]));
            for (rank, hit) in (1..).zip(&response.hits) {
                let place = hit.id.0 as usize;
                assert_eq!((hit.rank, hit.score), (rank, plain.hits[place].score));
                let said = HitMatch { first_stage_rank: place + 1, score: score(TEXT, IMAGES[place]) };
                assert_eq!(hit.rerank, (place < r).then_some(said));
            }
        }
    }
    assert_eq!(ids(&engine.search(&request(8)).unwrap())[0], 6, "the words themselves");
}

#[test]
fn equal_scores_stay_in_the_order_of_the_first_stage() {
    let images: Vec<&str> = (0..40).map(|i| if i % 3 == 0 { "a dog" } else { "red car" }).collect();
    let shelf = Shelf::new(&images, true);
    let engine = shelf.engine(Reranker::new(Arc::new(Probe::new())));
    let response = engine.search(&SearchRequest { k: 40, ..request(40) }).unwrap();
    let dogs = (0..40).filter(|i| i % 3 == 0);
    assert_eq!(ids(&response), dogs.chain((0..40).filter(|i| i % 3 != 0)).collect::<Vec<_>>());
}

#[test]
fn every_mode_filters_and_images_beside_the_text() {
    let shelf = Shelf::new(&IMAGES, true);
    let engine = shelf.engine(Reranker::new(Arc::new(Probe::new())));
    let words = engine.search(&SearchRequest { mode: Mode::Text, ..request(100) }).unwrap();
    assert_eq!(words.reranked.as_ref().unwrap().candidates, 6, "those with a word of it");
    assert_eq!(ids(&words)[0], 6);
    let both = engine.search(&SearchRequest { mode: Mode::Hybrid, explain: true, ..request(100) }).unwrap();
    assert_eq!(ids(&both)[0], 6);
    assert!(both.hits.iter().all(|hit| hit.explain.is_some() && hit.rerank.is_some()));

    let filter = Some("stars:[2 TO 5]".to_owned());
    let some = engine.search(&SearchRequest { filter, ..request(3) }).unwrap();
    assert_eq!((some.matches, some.reranked.as_ref().unwrap().candidates), (Some(4), 3));
    assert_eq!(ids(&some)[..1], [3]);
    assert_eq!(ids(&some)[3], 5);
    let none = engine.search(&SearchRequest { filter: Some("stars:99".into()), ..request(3) }).unwrap();
    assert_eq!((none.hits.len(), none.reranked.unwrap().candidates), (0, 0));

    // Whatever finds the candidates, the words order them.
    let image = SearchRequest { image: Some("red car".into()), ..request(8) };
    assert_eq!(ids(&engine.search(&image).unwrap())[0], 6);
    let like = engine.search(&SearchRequest { like: Some(ImageId(6)), ..request(8) }).unwrap();
    assert_eq!((like.hits.len(), like.reranked.as_ref().unwrap().candidates), (7, 7));
    assert!(!ids(&like).contains(&6));

    let bare = Engine::new(Arc::new(HashEncoder::new(DIM)), Arc::clone(&shelf.store)).unwrap();
    assert!(matches!(bare.search(&request(3)).unwrap_err(), QueryError::NoMatcher));
    let wordless = SearchRequest { text: None, image: Some("red car".into()), ..request(3) };
    assert!(matches!(engine.search(&wordless).unwrap_err(), QueryError::RerankNeedsText));
}

#[test]
fn a_deadline_cuts_short_and_says_how_far_it_got() {
    let shelf = Shelf::new(&IMAGES, true);
    let engine = shelf.engine(Reranker::new(Arc::new(Probe::new())));
    let at_once = SearchRequest { deadline: Some(Duration::ZERO), ..request(8) };
    let response = engine.search(&at_once).unwrap();
    assert_eq!(ids(&response), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(response.hits.iter().all(|hit| hit.rerank.is_none()));
    let reranked = response.reranked.unwrap();
    assert_eq!((reranked.scored, reranked.candidates, reranked.outcome), (0, 8, RerankOutcome::Deadline));
    for far in [Duration::from_secs(3600), Duration::MAX] {
        let response = engine.search(&SearchRequest { deadline: Some(far), ..request(8) }).unwrap();
        assert_eq!(ids(&response), expected(&IMAGES, 8));
        assert_eq!(response.reranked.unwrap().outcome, RerankOutcome::Complete);
    }

    // The first batch is one image; the second takes until after the deadline; there is no third.
    let images: Vec<&str> = IMAGES.into_iter().cycle().take(60).collect();
    let shelf = Shelf::new(&images, true);
    let slow = Probe { slow: Duration::from_millis(3100), ..Probe::new() };
    let engine = shelf.engine(Reranker::new(Arc::new(slow)));
    let deadline = Some(Duration::from_secs(3));
    let response = engine.search(&SearchRequest { k: 60, deadline, ..request(60) }).unwrap();
    let reranked = response.reranked.as_ref().unwrap();
    assert_eq!(reranked.outcome, RerankOutcome::Deadline);
    assert!((2..=1 + BATCH).contains(&reranked.scored), "{reranked:?}");
    assert_eq!(ids(&response), expected(&images, reranked.scored), "the first of them, in order");
    assert_eq!(engine.metrics().rerank.unwrap().cut, 1);
}

#[test]
fn an_image_that_cannot_be_read_keeps_its_place_after_the_others() {
    let mut images = IMAGES;
    images[4] = "bad dog grass";
    let shelf = Shelf::new(&images, true);
    std::fs::remove_file(shelf.file(1)).unwrap();
    std::fs::remove_file(shelf.file(6)).unwrap();
    std::fs::create_dir(shelf.file(6)).unwrap();
    let engine = shelf.engine(Reranker::new(Arc::new(Probe::new())));
    let response = engine.search(&request(7)).unwrap();
    assert_eq!(ids(&response)[4..], [1, 4, 6, 7]);
    assert_eq!(ids(&response)[0], 3);
    assert!(response.hits[4..].iter().all(|hit| hit.rerank.is_none()));
    let reranked = response.reranked.unwrap();
    assert_eq!((reranked.scored, reranked.unreadable, reranked.outcome), (4, 3, RerankOutcome::Complete));
    let [warning] = &response.warnings[..] else { panic!("{:?}", response.warnings) };
    assert!(warning.starts_with("3 images") && warning.contains("01.bin"), "{warning}");

    // None can be read.
    for i in [0, 2, 3, 5, 7] {
        std::fs::remove_file(shelf.file(i)).unwrap();
    }
    let response = engine.search(&request(7)).unwrap();
    assert_eq!((ids(&response), response.reranked.unwrap().scored), ((0..8).collect(), 0));
}

#[test]
fn a_matcher_that_fails_leaves_the_first_stage() {
    let images: Vec<&str> = IMAGES.into_iter().cycle().take(40).collect();
    let shelf = Shelf::new(&images, true);
    for fails in [(0, 1), (1, 1), (1, 2), (2, 1), (2, 3)] {
        let probe = Probe { fails: Some(fails), ..Probe::new() };
        let engine = shelf.engine(Reranker::new(Arc::new(probe)));
        let response = engine.search(&SearchRequest { k: 40, ..request(40) }).unwrap();
        assert_eq!(ids(&response), (0..40).collect::<Vec<_>>(), "{fails:?}");
        assert!(response.hits.iter().all(|hit| hit.rerank.is_none()));
        let reranked = response.reranked.unwrap();
        assert_eq!((reranked.scored, reranked.outcome), (0, RerankOutcome::Failed));
        assert!(response.warnings[0].contains("on purpose"), "{:?}", response.warnings);
        // The next one works.
        let response = engine.search(&request(40)).unwrap();
        assert_eq!((ids(&response)[0], &response.warnings[..]), (6, &[][..]));
        let metrics = engine.metrics();
        let rerank = metrics.rerank.unwrap();
        assert_eq!((metrics.searches, metrics.failed, rerank.requests, rerank.failed), (2, 0, 2, 1));
        assert_eq!((rerank.scored, rerank.cache), (40, None));
    }
    let odd = shelf.engine(Reranker::new(Arc::new(Probe { odd: true, ..Probe::new() })));
    let response = odd.search(&request(5)).unwrap();
    assert_eq!(response.reranked.unwrap().outcome, RerankOutcome::Failed);
    assert!(response.warnings[0].contains("NaN"), "{:?}", response.warnings);
}

/// The answer as it is printed: what scripts rely on.
#[test]
fn the_answer_has_the_documented_shape() {
    let shelf = Shelf::new(&IMAGES[..1], true);
    std::fs::remove_file(shelf.file(0)).unwrap();
    let engine = shelf.engine(Reranker::new(Arc::new(Probe::new())));
    let answer = serde_json::to_value(engine.search(&request(2)).unwrap()).unwrap();
    let expected = serde_json::json!({
        "matcher": "hash-matcher", "asked": 2, "candidates": 1, "scored": 0, "cache_hits": 0, "unreadable": 1,
        "outcome": "complete"
    });
    assert_eq!(answer["reranked"], expected);
    assert!(answer["warnings"].as_array().is_some_and(|warnings| warnings.len() == 1));
    assert!(answer["hits"][0].get("rerank").is_none());
    std::fs::write(shelf.file(0), IMAGES[0]).unwrap();
    let answer = serde_json::to_value(engine.search(&request(2)).unwrap()).unwrap();
    assert!(answer.get("warnings").is_none());
    let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        fields(&answer["hits"][0]["rerank"]),
        ["first_stage_rank", "itc_cosine", "itm_logit", "itm_probability", "score"]
    );
    let metrics = serde_json::to_value(engine.metrics()).unwrap();
    assert_eq!(fields(&metrics), ["failed", "rerank", "searches"]);
    assert!(Path::new(answer["hits"][0]["uri"].as_str().unwrap()).is_file());
}
