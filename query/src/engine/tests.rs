//! The engine over a real index. With [`HashEncoder`], the text "dog" finds the image whose bytes are "dog".

use std::path::Path;

use pictor_core::testing::HashEncoder;
use pictor_core::{
    Attribute, Attributes, ContentHash, DecodeError, EncodeError, EncoderSpec, ImageId, ImageRecord,
    PreparedImage, RasterSize,
};
use pictor_storage::KindChoice;
use tempfile::TempDir;

use super::*;

const DIM: usize = 32;

/// Bytes and caption of each image; its id is its place.
const IMAGES: [(&str, &str); 5] = [
    ("dog", "A brown dog on grass"),
    ("cat", "A cat sleeps beside a dog"),
    ("cow", "Cows on grass"),
    ("owl", ""),
    ("car", "A red car"),
];

fn store(dir: &Path) -> Arc<Store> {
    let encoder = HashEncoder::new(DIM);
    let store = Store::create(dir, encoder.spec(), KindChoice::Auto).unwrap();
    let mut writer = store.writer().unwrap();
    for (i, (bytes, caption)) in IMAGES.into_iter().enumerate() {
        let record = ImageRecord {
            uri: format!("/photos/{i}.jpg"),
            content_hash: Some(ContentHash([i as u8; 32])),
            bytes: bytes.len() as u64,
            modified_ns: None,
            size: Some(RasterSize { width: 40 + i as u32, height: 30 }),
            captions: if caption.is_empty() { Vec::new() } else { vec![caption.into()] },
            attributes: Attributes::new(),
        };
        assert_eq!(writer.put(record, &encoder.vector(bytes.as_bytes())).unwrap(), ImageId(i as u64));
    }
    writer.commit().unwrap();
    drop(writer);
    Arc::new(store)
}

/// With attributes, in the place of [`store`].
fn engine_with_attributes() -> (TempDir, Engine) {
    let (dir, engine) = engine();
    let mut writer = engine.store().writer().unwrap();
    let snapshot = engine.store().snapshot().unwrap();
    for (id, camera) in [(0, "Canon"), (1, "Nikon"), (2, "Canon"), (3, "Canon")] {
        let mut record = snapshot.record(ImageId(id)).unwrap().unwrap();
        record.attributes.insert("camera".into(), Attribute::Text(camera.into()));
        assert!(writer.update_record(ImageId(id), record).unwrap());
    }
    writer.commit().unwrap();
    drop(writer);
    (dir, engine)
}

fn engine() -> (TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("index"));
    (dir, Engine::new(Arc::new(HashEncoder::new(DIM)), store).unwrap())
}

fn text(text: &str) -> SearchRequest {
    SearchRequest { text: Some(text.into()), ..Default::default() }
}

fn image(bytes: &str) -> SearchRequest {
    SearchRequest { image: Some(bytes.into()), ..Default::default() }
}

fn ids(response: &SearchResponse) -> Vec<u64> {
    response.hits.iter().map(|hit| hit.id.0).collect()
}

#[test]
fn text_and_image_find_their_image_with_all_that_is_known_of_it() {
    let (_dir, engine) = engine();
    for request in [text("cow"), image("cow"), SearchRequest { text: Some("cow".into()), ..image("cow") }] {
        let response = engine.search(&request).unwrap();
        assert_eq!((response.hits.len(), response.images, response.generation.0), (5, 5, 1));
        let best = &response.hits[0];
        assert!((best.score - 1.0).abs() < 2e-3, "{}", best.score);
        assert_eq!((best.rank, best.id, best.uri.as_str()), (1, ImageId(2), "/photos/2.jpg"));
        assert_eq!(
            (best.width, best.height, &best.captions[..]),
            (Some(42), Some(30), &["Cows on grass".to_owned()][..])
        );
        assert_eq!(best.explain, None);
        assert!(response.hits.is_sorted_by(|a, b| a.score >= b.score && a.rank + 1 == b.rank));
        assert!(response.timings_ms.total >= response.timings_ms.encode + response.timings_ms.retrieve);
    }
    assert_eq!(engine.search(&SearchRequest { k: 2, ..text("cow") }).unwrap().hits.len(), 2);
}

#[test]
fn text_and_image_together_are_the_normalised_mean() {
    let (_dir, engine) = engine();
    let response = engine.search(&SearchRequest { text: Some("dog".into()), ..image("owl") }).unwrap();
    assert_eq!(
        {
            let mut best = ids(&response)[..2].to_vec();
            best.sort_unstable();
            best
        },
        [0, 3]
    );
    let encoder = HashEncoder::new(DIM);
    let (dog, owl) = (encoder.vector(b"dog"), encoder.vector(b"owl"));
    let sum = dog.iter().zip(&owl).map(|(a, b)| a + b).collect();
    let mean = EmbeddingBatch::normalise(DIM, sum).unwrap();
    let expected = pictor_core::dot(mean.as_slice(), &dog);
    let score = response.hits.iter().find(|hit| hit.id.0 == 0).unwrap().score;
    assert!((score - expected).abs() < 2e-3, "{score} {expected}");
}

#[test]
fn more_like_this_leaves_it_out() {
    let (_dir, engine) = engine();
    let like = SearchRequest { like: Some(ImageId(1)), ..Default::default() };
    let by_image = engine.search(&image("cat")).unwrap();
    let response = engine.search(&SearchRequest { k: 4, ..like.clone() }).unwrap();
    assert_eq!(ids(&response), ids(&by_image)[1..], "the same ranking without the image itself");
    assert_eq!(response.hits[0].rank, 1);
    let unknown = engine.search(&SearchRequest { like: Some(ImageId(77)), ..like }).unwrap_err();
    assert!(matches!(unknown, QueryError::UnknownImage(ImageId(77))), "{unknown}");
}

#[test]
fn text_mode_needs_no_model_and_finds_only_what_has_the_words() {
    let (dir, _) = engine();
    let store = Arc::new(Store::open(&dir.path().join("index")).unwrap());
    let engine = Engine::new(Arc::new(Broken(HashEncoder::new(DIM))), store).unwrap();
    let response = engine.search(&SearchRequest { mode: Mode::Text, ..text("dog") }).unwrap();
    let mut found = ids(&response);
    found.sort_unstable();
    assert_eq!(found, [0, 1]);
    assert!(response.hits.iter().all(|hit| hit.score > 0.0));
    for odd in ["\"", "a AND (", "field:", "*", "+-!^~", "\u{0}"] {
        engine.search(&SearchRequest { mode: Mode::Text, ..text(odd) }).unwrap();
    }
    assert!(matches!(engine.search(&text("dog")).unwrap_err(), QueryError::Encode(_)));
}

#[test]
fn hybrid_holds_both_and_says_where_a_score_comes_from() {
    let (_dir, engine) = engine();
    // By vector "dog" is image 0 and then any order; by words it is images 0 and 1.
    let request = SearchRequest { mode: Mode::Hybrid, explain: true, ..text("dog") };
    let response = engine.search(&request).unwrap();
    let by_words = engine.search(&SearchRequest { mode: Mode::Text, ..text("dog") }).unwrap();
    assert_eq!(ids(&response).len(), 5, "everything has a vector");
    for hit in &response.hits {
        let explain = hit.explain.unwrap();
        let vector = explain.vector.unwrap();
        let words = by_words.hits.iter().find(|other| other.id == hit.id);
        assert_eq!(
            explain.text.map(|text| (text.score, text.rank)),
            words.map(|hit| (hit.score, Some(hit.rank)))
        );
        let ranks = [vector.rank, explain.text.and_then(|text| text.rank)];
        let expected: f64 = ranks.iter().flatten().map(|&rank| 1.0 / (60 + rank) as f64).sum();
        assert_eq!(hit.score, expected as f32);
    }
    assert!((response.hits[0].explain.unwrap().vector.unwrap().score - 1.0).abs() < 2e-3);
}

#[test]
fn explains_one_list_by_that_list() {
    let (_dir, engine) = engine();
    let by = |mode| {
        engine.search(&SearchRequest { mode, explain: true, ..text("grass") }).unwrap().hits[0].explain
    };
    let (vector, words) = (by(Mode::Vector).unwrap(), by(Mode::Text).unwrap());
    assert_eq!((vector.vector.unwrap().rank, vector.text), (Some(1), None));
    assert_eq!((words.text.unwrap().rank, words.vector), (Some(1), None));
}

#[test]
fn refuses_another_model_and_a_damaged_image() {
    let (dir, engine) = engine();
    let store = Arc::new(Store::open(&dir.path().join("index")).unwrap());
    let error = Engine::new(Arc::new(HashEncoder::new(DIM * 2)), store).err().unwrap();
    assert!(matches!(error, QueryError::Storage(StorageError::EncoderMismatch { .. })), "{error}");
    assert!(matches!(engine.search(&image("bad bytes")).unwrap_err(), QueryError::Decode(_)));
    assert!(matches!(engine.search(&image("")).unwrap_err(), QueryError::Decode(DecodeError::Empty)));
}

#[test]
fn refuses_an_index_that_was_made_anew_with_another_model() {
    let (dir, engine) = engine();
    engine.search(&text("dog")).unwrap();
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let other = HashEncoder::new(DIM * 2);
    Store::create(&dir.path().join("index"), other.spec(), KindChoice::Auto).unwrap();
    let error = engine.search(&text("dog")).unwrap_err();
    assert!(matches!(error, QueryError::Storage(StorageError::EncoderMismatch { .. })), "{error}");
}

#[test]
fn opposite_queries_have_no_direction() {
    let (dir, _) = engine();
    let store = Arc::new(Store::open(&dir.path().join("index")).unwrap());
    let engine = Engine::new(Arc::new(Opposite(HashEncoder::new(DIM))), store).unwrap();
    let error = engine.search(&SearchRequest { text: Some("dog".into()), ..image("dog") }).unwrap_err();
    assert!(matches!(error, QueryError::NoDirection(_)), "{error}");
}

#[test]
fn a_filter_holds_in_every_mode() {
    let (_dir, engine) = engine_with_attributes();
    let canon = |request: SearchRequest| {
        let response =
            engine.search(&SearchRequest { filter: Some("camera:canon".into()), ..request }).unwrap();
        assert_eq!((response.matches, response.images), (Some(3), 5));
        let mut found = ids(&response);
        found.sort_unstable();
        found
    };
    assert_eq!(canon(text("cow")), [0, 2, 3]);
    assert_eq!(canon(SearchRequest { mode: Mode::Hybrid, ..text("grass") }), [0, 2, 3]);
    assert_eq!(canon(SearchRequest { mode: Mode::Text, ..text("grass dog") }), [0, 2]);
    assert_eq!(canon(SearchRequest { like: Some(ImageId(0)), ..Default::default() }), [2, 3]);
    assert_eq!(canon(SearchRequest { like: Some(ImageId(1)), ..Default::default() }), [0, 2, 3]);
    assert_eq!(canon(SearchRequest { k: 2, ..image("owl") }).len(), 2);

    let with = |filter: &str| engine.search(&SearchRequest { filter: Some(filter.into()), ..text("dog") });
    assert_eq!(with("  ").unwrap().matches, None, "blank is absent");
    let none = with("camera:kodak").unwrap();
    assert_eq!((none.matches, none.hits.len()), (Some(0), 0));
    let attributes = &with("camera:nikon").unwrap().hits[0].attributes;
    assert_eq!(attributes["camera"], Attribute::Text("Nikon".into()));
    for wrong in ["camera", "kamera:canon", "width:wide", "camera:canon nikon", "("] {
        assert!(matches!(with(wrong).unwrap_err(), QueryError::Filter(_)), "{wrong}");
    }
}

#[test]
fn an_open_engine_sees_new_commits() {
    let (_dir, engine) = engine();
    let mut writer = engine.store().writer().unwrap();
    assert!(writer.delete(ImageId(2)).unwrap());
    assert_eq!(engine.search(&text("cow")).unwrap().hits[0].id, ImageId(2), "not committed");
    writer.commit().unwrap();
    let response = engine.search(&text("cow")).unwrap();
    assert_eq!((response.generation.0, response.images), (2, 4));
    assert!(!ids(&response).contains(&2));
}

/// The answer as it is printed: what scripts rely on.
#[test]
fn the_answer_has_the_documented_shape() {
    let (_dir, engine) = engine();
    let mut response = engine.search(&SearchRequest { k: 1, explain: true, ..text("dog") }).unwrap();
    response.timings_ms = Timings::default();
    response.hits[0].score = 1.0;
    response.hits[0].explain =
        Some(crate::Explanation { vector: Some(crate::Evidence { score: 0.5, rank: Some(1) }), text: None });
    let expected = concat!(
        r#"{"hits":[{"rank":1,"id":0,"uri":"/photos/0.jpg","score":1.0,"captions":["A brown dog on grass"],"#,
        r#""width":40,"height":30,"explain":{"vector":{"score":0.5,"rank":1}}}],"#,
        r#""timings_ms":{"encode":0.0,"filter":0.0,"retrieve":0.0,"fuse":0.0,"rerank":0.0,"hydrate":0.0,"total":0.0},"generation":1,"images":5}"#
    );
    assert_eq!(serde_json::to_string(&response).unwrap(), expected);
}

/// Has a spec and nothing else.
struct Broken(HashEncoder);

fn broken<T>() -> Result<T, EncodeError> {
    Err(EncodeError::Runtime { runtime: "test", batch: 1, reason: "broken".into() })
}

impl Encoder for Broken {
    fn spec(&self) -> &EncoderSpec {
        self.0.spec()
    }
    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError> {
        self.0.prepare_image(bytes)
    }
    fn encode_images(&self, _: &[PreparedImage]) -> Result<EmbeddingBatch, EncodeError> {
        broken()
    }
    fn encode_texts(&self, _: &[&str]) -> Result<EmbeddingBatch, EncodeError> {
        broken()
    }
}

/// Texts point away from their images.
struct Opposite(HashEncoder);

impl Encoder for Opposite {
    fn spec(&self) -> &EncoderSpec {
        self.0.spec()
    }
    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError> {
        self.0.prepare_image(bytes)
    }
    fn encode_images(&self, batch: &[PreparedImage]) -> Result<EmbeddingBatch, EncodeError> {
        self.0.encode_images(batch)
    }
    fn encode_texts(&self, batch: &[&str]) -> Result<EmbeddingBatch, EncodeError> {
        let texts = self.0.encode_texts(batch)?;
        Ok(EmbeddingBatch::new(DIM, texts.as_slice().iter().map(|x| -x).collect())?)
    }
}
