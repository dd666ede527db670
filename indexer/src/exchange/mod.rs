//! Files by which vectors and what is known of their images travel between programs: clip-retrieval's layout.
//!
//! ```text
//! img_emb/img_emb_0.npy   metadata/metadata_0.parquet      row i of one is row i of the other
//! img_emb/img_emb_1.npy   metadata/metadata_1.parquet
//! ```
//!
//! `parts` finds the files and holds them against each other before anything is written, `npy` and `metadata` read them,
//! `table` writes the metadata. Who drives them is in `import.rs` and `export.rs`.
//!
//! Why the row interface of the `parquet` crate and not Arrow: a row is what becomes a record, and Arrow would triple the crate
//! for columns that nobody scans.
//!
//! What must stay true: no file is ever held in memory whole; and what `table` writes, `metadata` reads back as the same record
//! (except for a time of change outside the years 1678 to 2262, which the format's nanoseconds cannot hold and which is left
//! out). To that end a file written here names the model and this layout in its key-value metadata; any other file is read
//! by the names of its columns.

mod metadata;
mod npy;
mod parts;
mod table;
#[cfg(test)]
mod tests;
mod time;

pub(crate) use metadata::{Described, Metadata};
pub(crate) use npy::VectorFile;
pub use npy::{read_integers, read_vectors};
pub(crate) use parts::{Part, find_parts};
pub(crate) use table::{ColumnKind, MetadataWriter, attribute_columns, model_mark};

/// Key-value metadata of a file that Pictor wrote: the version of what the columns mean.
const MARK: &str = "pictor.layout";
/// The one version there is.
const MARK_VERSION: &str = "1";
/// Fingerprint of the model that made the vectors, with the model's name before it and a space between.
const MARK_MODEL: &str = "pictor.model";
/// JSON list of the columns whose texts are JSON values, because the attribute's values are of several types.
const MARK_JSON: &str = "pictor.json-columns";
/// Stands before the name of an attribute that is called like one of the columns below.
const ATTRIBUTE_PREFIX: &str = "attributes.";

/// Columns that a file written here has for itself.
const OWN_COLUMNS: [&str; 9] =
    ["image_path", "caption", "captions", "id", "content_hash", "bytes", "modified", "width", "height"];
