//! Model folders as they exist in the wild, read unmodified into a [`ModelManifest`].
//!
//! | layout | told by | file |
//! |---|---|---|
//! | Pictor's own | `pictor.json` | here |
//! | immich-app | `visual/`, `textual/` | `open_clip.rs` |
//! | open_clip | `open_clip_config.json` | `open_clip.rs` |
//! | transformers.js, Optimum | `config.json`, `preprocessor_config.json` | `optimum.rs` |
//!
//! What a model wants is read from its files and never inferred from its name. Where a file leaves a setting out, the default is that
//! of the code which defines the file's format, and the line says which; a setting that has none is an error.
//!
//! What must stay true: after a layout is read the rest of Pictor cannot tell which it was.

mod open_clip;
mod optimum;
mod tokenizer;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::ModelError;
use crate::manifest::{MANIFEST_FILE, ModelManifest, Variants};
use crate::onnx::GraphFacts;

/// Files and directories by which a model folder is told from any other.
const MARKS: [&str; 7] = [
    MANIFEST_FILE,
    "open_clip_config.json",
    "config.json",
    "preprocessor_config.json",
    "onnx",
    "visual",
    "textual",
];

/// Whether `directory` looks like a model, complete or not.
pub(crate) fn is_model(directory: &Path) -> bool {
    MARKS.iter().any(|mark| directory.join(mark).exists())
}

/// The manifest of a folder that has no `pictor.json`. Its fingerprint is left empty.
///
/// # Errors
/// [`ModelError::Missing`], [`ModelError::Manifest`], [`ModelError::Onnx`]: which file lacks or contradicts what.
pub(crate) fn read(directory: &Path) -> Result<ModelManifest, ModelError> {
    let folder = Folder(directory);
    if folder.has("visual") || folder.has("textual") {
        open_clip::read_immich(folder)
    } else if folder.has("open_clip_config.json") {
        open_clip::read(folder)
    } else {
        optimum::read(folder)
    }
}

/// A directory that is being read.
#[derive(Clone, Copy)]
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    fn has(&self, file: &str) -> bool {
        self.path(file).exists()
    }

    /// The folder's own name, which names the model.
    fn name(&self) -> String {
        let absolute = std::path::absolute(self.0).unwrap_or_else(|_| self.0.to_owned());
        absolute.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
    }

    /// A JSON file that has to be there; `supply` says where to get it.
    fn json<T: DeserializeOwned>(&self, file: &str, supply: &str) -> Result<T, ModelError> {
        let path = self.path(file);
        if !path.is_file() {
            return Err(self.missing(file, supply));
        }
        serde_json::from_slice(&fs_err::read(&path)?).map_err(|error| wrong(&path, error.to_string()))
    }

    /// The first of `files` that is there.
    fn first(&self, files: &[&str]) -> Option<String> {
        files.iter().find(|file| self.path(file).is_file()).map(|file| (*file).to_owned())
    }

    /// A tower's graph and its variants: `stem.onnx`, `stem_fp16.onnx`, `stem_quantized.onnx` or else `stem_int8.onnx` (the suffixes of
    /// transformers.js, `utils/dtypes.js`). When the full one is not there, the best that is takes its place.
    fn tower(&self, stem: &str) -> Option<(String, Variants)> {
        let full = self.first(&[&format!("{stem}.onnx")]);
        let fp16 = self.first(&[&format!("{stem}_fp16.onnx")]);
        let int8 = self.first(&[&format!("{stem}_quantized.onnx"), &format!("{stem}_int8.onnx")]);
        match (full, fp16, int8) {
            (Some(full), fp16, int8) => Some((full, Variants { fp16, int8 })),
            (None, Some(fp16), int8) => Some((fp16, Variants { fp16: None, int8 })),
            (None, None, Some(int8)) => Some((int8, Variants::default())),
            (None, None, None) => None,
        }
    }

    fn facts(&self, file: &str) -> Result<GraphFacts, ModelError> {
        let path = self.path(file);
        GraphFacts::read(&crate::folder::GraphFile::Path(path.clone()), &path)
    }

    fn missing(&self, file: &str, supply: &str) -> ModelError {
        ModelError::Missing { directory: self.0.to_owned(), file: file.into(), supply: supply.into() }
    }
}

fn wrong(path: &Path, reason: impl Into<String>) -> ModelError {
    ModelError::Manifest { path: path.to_owned(), reason: reason.into() }
}

/// What a licence is when the folder does not tell.
pub(crate) const UNKNOWN_LICENSE: &str = "not stated in the folder; see where the model came from";
