//! Where images come from. One kind of source today: folders and files ([`folder`]); captions and attributes for
//! them come from files of their own ([`captions`], [`attributes`]). A second kind is one more iterator over [`Found`].

use std::path::PathBuf;

use pictor_storage::Skipped;

mod attributes;
mod captions;
mod folder;
mod named;

pub use attributes::AttributeFile;
pub use captions::Captions;
pub use folder::IMAGE_EXTENSIONS;
pub(crate) use folder::{Sources, modified_ns};

/// One image file that a source offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Names the image in the index: the absolute path, links resolved, as UTF-8.
    pub uri: String,
    /// Where it was found; differs from `uri` for a link.
    pub path: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
    /// Last change, nanoseconds since the Unix epoch; `None` when the file system does not say.
    pub modified_ns: Option<i128>,
}

/// What a source yields: an image file, or a path that cannot be one, with the reason.
pub(crate) type Found = Result<Asset, Skipped>;
