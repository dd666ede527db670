//! What is on disk and what is true after a crash.
//!
//! An index is a directory of three stores and one small file that says what of them counts: segments (vectors, ids, a
//! nearest-neighbour index each; `segment/`), the catalog (RocksDB; `catalog.rs`), the text index (tantivy; `text/`) and
//! `manifest.json` (`manifest.rs`), whose replacement is the commit (`commit.rs`); segments are merged in the background (`merge.rs`
//! chooses, `merging.rs` works). [`Store`] opens it; a [`Snapshot`] reads one generation of it and never changes, and finds what a
//! [`Filter`] matches; the one [`Writer`] gathers changes and commits them. [`verify()`] says what is wrong, [`repair()`] makes again what
//! can be. Beside the index, and no part of it, is a cache of what a matcher keeps of images (`features/`).
//!
//! Why three stores and no database of our own: each is the best at what it does, and a manifest above them makes their
//! commits one. Why no database *around* them: vectors want to be mapped as they lie.
//!
//! What must stay true, in full in FORMAT.md:
//!
//! - **I1** a snapshot shows exactly the ids its manifest lists;
//! - **I2** a file named by a manifest never changes;
//! - **I3** vectors and catalog are the truth: nearest-neighbour and text indexes can be made again from them, and are;
//! - **I4** an [`ImageId`](pictor_core::ImageId) is never reused;
//! - **I5** old data goes only after the manifest that no longer names it is durable;
//! - **I6** another encoder's vectors are refused;
//! - **I7** after a failed write or fsync the writer is poisoned and says so (after a merge that failed before it was put in
//!   place it is not: nothing names its files).
//!
//! ```
//! use pictor_core::{ContentHash, Encoder, ImageRecord, RasterSize, testing::HashEncoder};
//! use pictor_storage::{KindChoice, Store};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("photos.pictor");
//! let encoder = HashEncoder::new(8);
//! let store = Store::create(&dir, encoder.spec(), KindChoice::Auto)?;
//! let mut writer = store.writer()?;
//! let dog = writer.put(
//!     ImageRecord {
//!         uri: "/photos/IMG_1.jpg".into(),
//!         content_hash: Some(ContentHash([0; 32])),
//!         bytes: 3,
//!         modified_ns: None,
//!         size: Some(RasterSize { width: 640, height: 480 }),
//!         captions: vec!["a dog runs over the grass".into()],
//!         attributes: Default::default(),
//!     },
//!     &encoder.vector(b"dog"),
//! )?;
//! writer.commit()?;
//!
//! let snapshot = store.snapshot()?;
//! assert_eq!(snapshot.search_vectors(&encoder.vector(b"dog"), 10, None, None)?[0].id, dog);
//! assert_eq!(snapshot.search_text("running dogs", 10, None)?[0].id, dog);
//! assert_eq!(snapshot.count_matches(&"width:>=640 AND caption:dog".parse()?)?, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod catalog;
mod commit;
mod describe;
mod directory;
mod error;
mod failpoint;
mod features;
mod filter;
mod kind_choice;
mod layout;
mod lock;
mod manifest;
mod matches;
mod memory;
mod merge;
mod merging;
mod migration;
mod recovery;
mod repair;
mod segment;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;
mod text;
mod upgrade;
mod verify;
mod writer;

pub use catalog::Skipped;
pub use describe::{Description, SegmentBytes, SegmentDescription, StoreBytes};
pub use error::{Cause, StorageError};
pub use features::{FeatureCache, FeatureCacheStats, content_hash, round_features};
pub use filter::{Filter, FilterError, MAX_FILTER_CHARS, MAX_NESTING};
pub use kind_choice::KindChoice;
pub use manifest::FORMAT_VERSION;
pub use memory::Memory;
pub use migration::Migration;
pub use pictor_ann::Dtype;
pub use repair::{Repair, repair};
pub use snapshot::Snapshot;
pub use store::Store;
pub use text::AttributeDescription;
pub use verify::{Finding, Part, Remedy, Verification, verify};
pub use writer::Writer;
