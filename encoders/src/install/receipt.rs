//! What an installation notes in the model's folder: where it came from, and the checksum of every file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::hub::{InstallError, sha256_of_file};

/// Its file in the folder.
const RECEIPT_FILE: &str = ".pictor-install.json";
const FORMAT: u32 = 1;

/// `.pictor-install.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of this description; 1.
    pub format: u32,
    /// Where the files came from.
    pub origin: Origin,
    /// The name that the manifest states, which an index remembers.
    pub model: String,
    /// Which recipe the model follows, as the manifest has it.
    pub family: String,
    /// Components of an embedding.
    pub dim: usize,
    /// Licence of the weights, from the manifest or the model's page.
    pub license: String,
    /// Fingerprint of the model.
    pub fingerprint: String,
    /// Every file, sorted by name.
    pub files: Vec<InstalledFile>,
}

/// Where a model came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Origin {
    /// A repository of a hub.
    Hub {
        /// The hub's address.
        endpoint: String,
        /// `organisation/name`.
        id: String,
        /// What was asked for: branch, tag or commit.
        revision: String,
        /// What that was.
        commit: String,
    },
    /// A directory of this machine.
    Folder {
        /// Its absolute path.
        path: String,
    },
    /// An archive.
    Archive {
        /// Its address, without credentials and query.
        url: String,
    },
}

/// One file of an installed model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledFile {
    /// Path in the folder.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content in lower-case hexadecimal.
    pub sha256: String,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hub { endpoint, id, revision, commit } if revision == commit => {
                write!(f, "{endpoint}/{id}@{commit}")
            }
            Self::Hub { endpoint, id, revision, commit } => {
                write!(f, "{endpoint}/{id}@{revision} ({commit})")
            }
            Self::Folder { path } => f.write_str(path),
            Self::Archive { url } => f.write_str(url),
        }
    }
}

impl Receipt {
    /// The receipt of a model's folder; none when there is none that this version reads.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        let json = fs_err::read(folder.join(RECEIPT_FILE)).ok()?;
        serde_json::from_slice::<Self>(&json).ok().filter(|receipt| receipt.format == FORMAT)
    }

    pub(super) const fn format() -> u32 {
        FORMAT
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), InstallError> {
        let json = serde_json::to_vec_pretty(self).map_err(std::io::Error::from)?;
        Ok(fs_err::write(folder.join(RECEIPT_FILE), json)?)
    }

    /// `organisation/name`, for a model from a hub.
    pub fn hub_id(&self) -> Option<&str> {
        match &self.origin {
            Origin::Hub { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Reads every file of `folder` again and says which differ from what was installed.
    pub(crate) fn changed(&self, folder: &Path) -> Vec<String> {
        let differs = |file: &InstalledFile| match sha256_of_file(&folder.join(&file.file)) {
            Ok(sha256) if sha256 == file.sha256 => None,
            Ok(sha256) => Some(format!("{}: SHA-256 is {sha256}, {} was installed", file.file, file.sha256)),
            Err(error) => Some(error.to_string()),
        };
        self.files.iter().filter_map(differs).collect()
    }
}
