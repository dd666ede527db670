//! From a request to ranked hits. Synchronous; knows no HTTP and no concrete model.
//!
//! [`Engine::search`] is the whole way, each step in a module of its own: check the request (`parse`), encode it once and find what
//! its filter matches (`engine`), ask the retrievers on one snapshot for the best of that (`retrieve`), combine their lists
//! (`fuse`), on request order the best of them by a matcher (`rerank`), fetch the records of the best (`hydrate`), and on request say
//! where each score comes from (`explain`).
//!
//! What must stay true: everything in one response comes from one snapshot; a ranking is a function of the index and the request (and
//! of the image files, when it is reranked), never of timing, unless the request has a deadline; a request that cannot be answered as asked is an error, not a different answer.
//!
//! ```
//! use std::sync::Arc;
//!
//! use pictor_core::{ContentHash, Encoder, ImageRecord, RasterSize, testing::HashEncoder};
//! use pictor_query::{Engine, SearchRequest};
//! use pictor_storage::{KindChoice, Store};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("photos.pictor");
//! let encoder = Arc::new(HashEncoder::new(16));
//! let store = Arc::new(Store::create(&dir, encoder.spec(), KindChoice::Auto)?);
//! # let mut writer = store.writer()?;
//! # let record = ImageRecord {
//! #     uri: "/photos/dog.jpg".into(),
//! #     content_hash: Some(ContentHash([0; 32])),
//! #     bytes: 3,
//! #     modified_ns: None,
//! #     size: Some(RasterSize { width: 640, height: 480 }),
//! #     captions: Vec::new(),
//! #     attributes: Default::default(),
//! # };
//! # writer.put(record, &encoder.vector(b"dog"))?;
//! # writer.commit()?;
//! # drop(writer);
//! // … index some photographs …
//! let engine = Engine::new(encoder, store)?;
//! let response = engine.search(&SearchRequest { text: Some("dog".into()), ..Default::default() })?;
//! assert_eq!(response.hits[0].uri, "/photos/dog.jpg");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod engine;
mod error;
mod explain;
pub mod fuse;
mod hydrate;
mod parse;
mod request;
mod rerank;
mod retrieve;

pub use engine::{Engine, Metrics};
pub use error::QueryError;
pub use explain::{Evidence, Explanation};
pub use parse::{MAX_EFFORT, MAX_K, MAX_RERANK, MAX_TEXT_CHARS};
pub use request::{Mode, RankedHit, SearchRequest, SearchResponse, Timings};
pub use rerank::{BATCH as RERANK_BATCH, HitMatch, RerankMetrics, RerankOutcome, Reranked, Reranker};
