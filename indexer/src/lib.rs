//! From sources to commits: finds image files, turns them into vectors with whatever encoder it is given, and writes them
//! to an index.
//!
//! [`index`] is the whole of it. `source/` says which files there are, `pipeline` moves them through reading, decoding,
//! encoding and writing with bounded memory, `progress` says how it goes while it runs, `report` what came of it.
//!
//! [`reindex()`] encodes the images of an index again, with another model.
//!
//! [`import()`] and [`export()`] are the other way in and out: vectors that are there already, in clip-retrieval's layout (`exchange/`).
//!
//! A bad image is data, never an abort and never a lost path: it ends up in [`IndexReport::skipped`] and in the index's own
//! ledger with its reason. What stops a job is a broken model, a full disk, or the caller.
//!
//! ```
//! use std::sync::{Arc, atomic::AtomicBool};
//!
//! use pictor_core::{Encoder, testing::HashEncoder};
//! use pictor_indexer::{IndexOptions, index};
//! use pictor_storage::{KindChoice, Store};
//!
//! # let root = tempfile::tempdir()?;
//! # let (photos, dir) = (root.path().join("photos"), root.path().join("photos.pictor"));
//! # std::fs::create_dir(&photos)?;
//! # std::fs::write(photos.join("dog.jpg"), "dog")?;
//! # std::fs::write(photos.join("empty.jpg"), "")?;
//! let encoder = Arc::new(HashEncoder::new(16));
//! let store = Store::create(&dir, encoder.spec(), KindChoice::Auto)?;
//! let never = AtomicBool::new(false);
//! let report = index(&[photos], &store, encoder, &IndexOptions::default(), &(), &never)?;
//! assert_eq!((report.found, report.indexed), (2, 1));
//! assert_eq!(report.skipped[0].reason, "the file is empty");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod exchange;
mod export;
mod import;
mod pipeline;
mod progress;
mod reindex;
mod report;
mod source;

pub use error::IndexError;
pub use exchange::{read_integers, read_vectors};
pub use export::{ExportOptions, ExportReport, export};
pub use import::{ImportOptions, ImportReport, ImportSource, import};
pub use pipeline::{IndexOptions, MAX_FILE_BYTES, check_sources, index};
pub use progress::{Progress, ProgressState, StageTimes};
pub use reindex::{ReindexReport, reindex};
pub use report::IndexReport;
pub use source::{Asset, AttributeFile, Captions, IMAGE_EXTENSIONS};
