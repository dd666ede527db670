//! Where the bytes of an image are.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// An image of a dataset: a file, or a member of a `.tar` shard, which is read by seeking to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImageRef {
    /// A file of its own.
    File(PathBuf),
    /// Part of an archive.
    Member {
        /// The `.tar` file.
        archive: PathBuf,
        /// The member's name in it.
        name: String,
        /// Where its bytes start in the archive.
        offset: u64,
        /// How many there are.
        length: u64,
    },
}

impl ImageRef {
    /// For people: the file's path as it was found, or the member's name.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::File(path) => path.to_string_lossy(),
            Self::Member { name, .. } => name.into(),
        }
    }

    /// The file's path, unless the image is a member of an archive.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Member { .. } => None,
        }
    }

    /// The image file's bytes, still encoded (JPEG, PNG, WebP …).
    ///
    /// # Errors
    /// When the file cannot be read, or the archive has become shorter since it was listed. The path is in the error.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let (archive, offset, length) = match self {
            Self::File(path) => return fs_err::read(path),
            Self::Member { archive, offset, length, .. } => (archive, *offset, *length),
        };
        let mut file = fs_err::File::open(archive)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            let words = format!("{self} has {} bytes instead of {length}; the archive changed", bytes.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words));
        }
        Ok(bytes)
    }
}

impl fmt::Display for ImageRef {
    /// Where it is: the path, or the archive's path and the member's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Member { archive, name, .. } => write!(f, "{}/{name}", archive.display()),
        }
    }
}
