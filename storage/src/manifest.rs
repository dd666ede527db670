//! `manifest.json`: the one small file that says what the index is. Replacing it *is* the commit.
//!
//! JSON, because someone will one day read it with `cat` in anger; checksummed, because a hand edit or a flipped bit must be
//! an error and not an answer. What is not named here does not exist (I1, I5).

use std::io;
use std::path::{Path, PathBuf};

use pictor_ann::{Dtype, IndexKind};
use pictor_core::{EncoderSpec, Generation};
use serde::{Deserialize, Serialize};

use crate::directory::Directory;
use crate::{KindChoice, StorageError};

/// Version of the whole on-disk layout. Any change of meaning, in any file, gets the next number.
pub const FORMAT_VERSION: u32 = 2;

/// A list of deleted rows, as a manifest names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeletedEntry {
    /// File name within the segment's directory.
    pub(crate) file: String,
    /// Rows in the list.
    pub(crate) rows: u32,
}

/// A segment, as a manifest names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentEntry {
    /// Directory name: eight digits or more, [`Manifest::next_segment`] when it was made.
    pub(crate) name: String,
    /// Rows, deleted ones included.
    pub(crate) rows: u32,
    /// The nearest-neighbour index built over them.
    pub(crate) kind: IndexKind,
    /// Its deleted rows, if any.
    pub(crate) deleted: Option<DeletedEntry>,
}

/// What an index is, as of one generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// [`FORMAT_VERSION`].
    pub(crate) format: u32,
    /// Counts commits. The catalog and the text index carry the same number when all three agree.
    pub(crate) generation: Generation,
    /// The next image gets this id.
    pub(crate) next_id: u64,
    /// The next segment is named after this number, so that no two that a manifest names ever share a directory.
    pub(crate) next_segment: u64,
    /// The directory of the three stores within the index directory: `""`, or `model-1` and so on after a migration.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) home: String,
    /// What made the vectors.
    pub(crate) encoder: EncoderSpec,
    /// What was asked for when the index was made.
    pub(crate) kind: KindChoice,
    /// How the vectors' components are written.
    pub(crate) dtype: Dtype,
    /// Oldest first.
    pub(crate) segments: Vec<SegmentEntry>,
    /// BLAKE3, in hexadecimal, of this same object as compact JSON with its fields in this order and this field empty.
    pub(crate) checksum: String,
}

impl Manifest {
    /// Generation 0: no images.
    pub(crate) fn empty(encoder: EncoderSpec, kind: KindChoice, dtype: Dtype) -> Self {
        Self {
            format: FORMAT_VERSION,
            generation: Generation(0),
            next_id: 0,
            next_segment: 1,
            home: String::new(),
            encoder,
            kind,
            dtype,
            segments: vec![],
            checksum: String::new(),
        }
    }

    /// Components of a vector, and how they are written.
    pub(crate) fn shape(&self) -> (usize, Dtype) {
        (self.encoder.dim, self.dtype)
    }

    /// Where the manifest of the index in `root` is.
    pub(crate) fn path(root: &Path) -> PathBuf {
        root.join("manifest.json")
    }

    /// The bytes of the manifest in `root`.
    ///
    /// # Errors
    /// [`StorageError::Missing`] and [`StorageError::NotAnIndex`] tell no directory from no index in it.
    pub(crate) fn read(root: &Path) -> Result<Vec<u8>, StorageError> {
        match fs_err::read(Self::path(root)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(match root.exists() {
                true => StorageError::NotAnIndex { dir: root.to_owned() },
                false => StorageError::Missing { dir: root.to_owned() },
            }),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                Err(StorageError::NotAnIndex { dir: root.to_owned() })
            }
            bytes => Ok(bytes?),
        }
    }

    /// Understands what [`Manifest::read`] read.
    ///
    /// # Errors
    /// [`StorageError::Version`], or [`StorageError::Damaged`] for anything that is not a manifest with a right checksum.
    pub(crate) fn parse(root: &Path, bytes: &[u8]) -> Result<Self, StorageError> {
        Self::parse_at(Self::path(root), bytes)
    }

    /// As [`Manifest::parse`], of the file at `path`.
    pub(crate) fn parse_at(path: PathBuf, bytes: &[u8]) -> Result<Self, StorageError> {
        /// Read first, and alone: another version may have other fields.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let not_json = |error: serde_json::Error| StorageError::damaged(&path, error.to_string());
        let Format { format } = serde_json::from_slice(bytes).map_err(not_json)?;
        if format != FORMAT_VERSION {
            return Err(StorageError::Version { path, expected: FORMAT_VERSION, received: format });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(not_json)?;
        let found = manifest.compute_checksum();
        let home = &manifest.home;
        if home.contains(['/', '\\']) || home == ".." {
            return Err(StorageError::damaged(
                &path,
                format!("its stores are in '{home}', which is no name"),
            ));
        }
        if found != manifest.checksum {
            let expected = &manifest.checksum;
            return Err(StorageError::damaged(
                &path,
                format!("its checksum is {found}, expected {expected}"),
            ));
        }
        Ok(manifest)
    }

    /// Seals the manifest and puts it in the place of the one in `root`: when this returns, the commit has happened.
    pub(crate) fn replace(&mut self, directory: &dyn Directory, root: &Path) -> Result<(), StorageError> {
        self.replace_at(directory, &Self::path(root))
    }

    /// As [`Manifest::replace`], of the file at `path`.
    pub(crate) fn replace_at(&mut self, directory: &dyn Directory, path: &Path) -> Result<(), StorageError> {
        self.checksum = self.compute_checksum();
        let json = serde_json::to_vec_pretty(self).expect("a manifest is plain data; this is a bug");
        Ok(directory.atomic_write(path, &json)?)
    }

    fn compute_checksum(&self) -> String {
        let unsealed = Self { checksum: String::new(), ..self.clone() };
        let json = serde_json::to_vec(&unsealed).expect("a manifest is plain data; this is a bug");
        blake3::hash(&json).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::FsDirectory;

    fn sample() -> Manifest {
        let encoder = EncoderSpec { name: "hash".into(), dim: 4, fingerprint: "abc".into() };
        let mut manifest = Manifest::empty(encoder, KindChoice::Fixed(IndexKind::Flat), Dtype::F16);
        manifest.segments.push(SegmentEntry {
            name: "00000001".into(),
            rows: 7,
            kind: IndexKind::Hnsw { m: 16, ef_construction: 100 },
            deleted: Some(DeletedEntry { file: "deleted-2.bin".into(), rows: 3 }),
        });
        manifest
    }

    #[test]
    fn reads_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = sample();
        manifest.replace(&FsDirectory, dir.path()).unwrap();
        let bytes = Manifest::read(dir.path()).unwrap();
        assert_eq!(Manifest::parse(dir.path(), &bytes).unwrap(), manifest);
    }

    #[test]
    fn every_changed_or_missing_byte_is_an_error_and_never_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = sample();
        manifest.replace(&FsDirectory, dir.path()).unwrap();
        let bytes = Manifest::read(dir.path()).unwrap();
        for i in 0..bytes.len() {
            assert!(Manifest::parse(dir.path(), &bytes[..i]).is_err(), "cut at {i}");
            let mut flipped = bytes.clone();
            flipped[i] ^= 1;
            // White space turned into other white space is the same manifest.
            if let Ok(read) = Manifest::parse(dir.path(), &flipped) {
                assert_eq!(read, manifest, "flip at {i}");
            }
        }
    }

    #[test]
    fn another_version_says_so_whatever_else_it_holds() {
        let error = Manifest::parse(Path::new("x"), br#"{"format": 9, "shards": []}"#).unwrap_err();
        assert!(matches!(error, StorageError::Version { expected: 2, received: 9, .. }), "{error}");
    }
}
