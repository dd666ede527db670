//! Where models come from: inside the binary, a directory, or a name on the search path.
//!
//! A model is a folder with a `pictor.json` and the files that it names. Nothing is downloaded here; a folder is exported once
//! (`models/export/`) and then is a plain directory that can be copied.

use std::borrow::Cow;
use std::env;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bundled;
use crate::error::ModelError;
use crate::install::noted_as;
use crate::manifest::{MANIFEST_FILE, ModelManifest, fingerprint};

/// A place that holds one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFolder {
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Bundled,
    Directory(PathBuf),
}

/// An ONNX graph to load: bytes inside the binary, or a file, beside which a large graph keeps its weights.
pub(crate) enum GraphFile {
    Bytes(&'static [u8]),
    Path(PathBuf),
}

impl ModelFolder {
    /// Finds a model: `pictor-mini` is the bundled one, then a directory that holds a `pictor.json`, then a directory of that
    /// name on the [`model_search_path`], then the model there that was installed from the hub id `name_or_dir` or whose
    /// manifest gives it that name.
    ///
    /// A directory that happens to be called `pictor-mini` is named by `./pictor-mini`.
    ///
    /// # Errors
    /// [`ModelError::NotFound`] with the places searched.
    pub fn find(name_or_dir: &str) -> Result<Self, ModelError> {
        if name_or_dir == bundled::NAME {
            return Ok(Self::bundled());
        }
        let searched = model_search_path();
        let holds_model = |dir: &PathBuf| dir.join(MANIFEST_FILE).is_file();
        let directory = Some(PathBuf::from(name_or_dir))
            .filter(holds_model)
            .or_else(|| searched.iter().map(|dir| dir.join(name_or_dir)).find(holds_model))
            .or_else(|| noted_as(name_or_dir).map(|model| model.path).filter(holds_model));
        match directory {
            Some(directory) => Ok(Self { place: Place::Directory(directory) }),
            None => Err(ModelError::NotFound { name: name_or_dir.into(), bundled: bundled::NAME, searched }),
        }
    }

    /// The model inside the binary.
    pub fn bundled() -> Self {
        Self { place: Place::Bundled }
    }

    /// The directory; none for the model inside the binary.
    pub fn directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Bundled => None,
            Place::Directory(directory) => Some(directory),
        }
    }

    /// Where `file` is, for messages.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        match &self.place {
            Place::Bundled => Path::new("(bundled)").join(bundled::NAME).join(file),
            Place::Directory(directory) => directory.join(file),
        }
    }

    /// The bytes of `file`.
    pub(crate) fn read(&self, file: &str) -> io::Result<Cow<'static, [u8]>> {
        match &self.place {
            Place::Bundled => bundled_file(file).map(Cow::Borrowed),
            Place::Directory(directory) => fs_err::read(directory.join(file)).map(Cow::Owned),
        }
    }

    /// The ONNX file `file`, for a runtime.
    pub(crate) fn graph(&self, file: &str) -> io::Result<GraphFile> {
        match &self.place {
            Place::Bundled => bundled_file(file).map(GraphFile::Bytes),
            Place::Directory(directory) => Ok(GraphFile::Path(directory.join(file))),
        }
    }

    /// The manifest, after checking that the fingerprint it states is that of the files beside it.
    ///
    /// All files are read for this, in constant memory; a few milliseconds for the bundled model, about a second per
    /// gigabyte for others.
    ///
    /// # Errors
    /// [`ModelError`]: the manifest is missing or wrong, or a file is not what the fingerprint says.
    pub fn manifest(&self) -> Result<ModelManifest, ModelError> {
        let path = self.path(MANIFEST_FILE);
        let json = self.read(MANIFEST_FILE)?;
        let manifest = ModelManifest::parse(&json, &path)?;
        let files = manifest.files();
        let mut contents = [blake3::Hash::from_bytes([0; 32]); 3];
        for (content, file) in contents.iter_mut().zip(files) {
            *content = self.hash(file)?;
        }
        let value: Value = serde_json::from_slice(&json)
            .map_err(|error| ModelError::Manifest { path: path.clone(), reason: error.to_string() })?;
        let computed = fingerprint(&value, files, contents);
        if computed == manifest.fingerprint {
            return Ok(manifest);
        }
        Err(ModelError::Fingerprint { path, files: files.join(", "), stated: manifest.fingerprint, computed })
    }

    fn hash(&self, file: &str) -> io::Result<blake3::Hash> {
        match &self.place {
            Place::Bundled => bundled_file(file).map(blake3::hash),
            Place::Directory(directory) => {
                let mut hasher = blake3::Hasher::new();
                hasher.update_reader(fs_err::File::open(directory.join(file))?)?;
                Ok(hasher.finalize())
            }
        }
    }
}

fn bundled_file(file: &str) -> io::Result<&'static [u8]> {
    let found = bundled::FILES.iter().find(|(name, _)| *name == file);
    found.map(|(_, bytes)| *bytes).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{file} is not part of the bundled model"))
    })
}

/// Directories whose subdirectories are models: each of `$PICTOR_MODELS` (separated like `$PATH`), then
/// `$XDG_DATA_HOME/pictor/models`, which is `~/.local/share/pictor/models` unless set.
pub fn model_search_path() -> Vec<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let mut path: Vec<PathBuf> = set("PICTOR_MODELS")
        .iter()
        .flat_map(env::split_paths)
        .filter(|dir| !dir.as_os_str().is_empty())
        .collect();
    let data = set("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| set("HOME").map(|home| Path::new(&home).join(".local/share")));
    path.extend(data.map(|data| data.join("pictor/models")));
    path
}
