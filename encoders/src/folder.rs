//! Where models come from: inside the binary, a directory, or a name on the search path.
//!
//! A model is a plain directory that can be copied: one with a `pictor.json` (`models/export/` writes it), or one in a layout that
//! others use (`layout/`). Nothing is downloaded here.

use std::borrow::Cow;
use std::env;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bundled;
use crate::error::ModelError;
use crate::graphs;
use crate::install::noted_as;
use crate::layout;
use crate::manifest::{MANIFEST_FILE, MatcherHead, ModelManifest, fingerprint, is_inside};
use crate::onnx::{GraphFacts, extract};

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
    /// One tower of a file that holds both, and the directory of that file.
    Cut {
        bytes: Vec<u8>,
        directory: PathBuf,
    },
}

impl ModelFolder {
    /// Finds a model: `pictor-mini` is the bundled one, then a model folder, then one of that name on the
    /// [`model_search_path`], then the model there that was installed from the hub id `name_or_dir` or whose manifest gives it
    /// that name.
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
        let holds_model = |dir: &PathBuf| layout::is_model(dir);
        let directory = Some(PathBuf::from(name_or_dir))
            .filter(holds_model)
            .or_else(|| searched.iter().map(|dir| dir.join(name_or_dir)).find(holds_model))
            .or_else(|| noted_as(name_or_dir).into_iter().map(|model| model.path).find(holds_model));
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

    /// The file that states the model's settings, for messages.
    pub(crate) fn stated_in(&self) -> PathBuf {
        let stated = |file: &&str| self.path(file).is_file();
        [MANIFEST_FILE, "open_clip_config.json", "config.json"]
            .iter()
            .find(|file| stated(file))
            .map_or_else(|| self.path(MANIFEST_FILE), |file| self.path(file))
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

    /// The ONNX file `file`, for a runtime that wants `outputs` from `inputs`: cut down to that tower when it takes more than these, or
    /// also gives what only a matcher has a use for, `features`. ONNX Runtime would compute it with every batch.
    pub(crate) fn tower(
        &self,
        file: &str,
        inputs: &[&str],
        outputs: &[&str],
        features: Option<&str>,
    ) -> Result<GraphFile, ModelError> {
        let (graph, path) = (self.graph(file)?, self.path(file));
        let facts = GraphFacts::read(&graph, &path)?;
        let idle = features.is_some_and(|features| {
            !outputs.contains(&features) && facts.outputs.iter().any(|port| port.name == features)
        });
        if facts.inputs.len() <= inputs.len() && !idle {
            return Ok(graph);
        }
        let bytes = extract(&self.read(file)?, outputs, &path)?;
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(GraphFile::Cut { bytes, directory })
    }

    /// Rows of every batch of a graph with these inputs, when it was exported for that many and no others.
    pub(crate) fn fixed_batch(&self, file: &str, inputs: &[&str]) -> Result<Option<usize>, ModelError> {
        let facts = GraphFacts::read(&self.graph(file)?, &self.path(file))?;
        let rows = |name: &&str| facts.input(name).and_then(|port| port.shape.first().copied().flatten());
        Ok(inputs.iter().find_map(rows).map(|rows| rows as usize))
    }

    /// Tokens, and numbers in each, of an image as a matcher's graph takes them.
    pub(crate) fn image_features(&self, head: &MatcherHead) -> Result<[usize; 2], ModelError> {
        match self.matcher_shape(head, &head.image_features)?.as_slice() {
            [_, Some(tokens), Some(width)] => Ok([*tokens as usize, *width as usize]),
            _ => Err(self.unstated(head, &head.image_features)),
        }
    }

    /// Numbers in each token of a text as a matcher's graph takes them as `input`.
    pub(crate) fn text_features(&self, head: &MatcherHead, input: &str) -> Result<usize, ModelError> {
        match self.matcher_shape(head, input)?.as_slice() {
            [_, _, Some(width)] => Ok(*width as usize),
            _ => Err(self.unstated(head, input)),
        }
    }

    fn matcher_shape(&self, head: &MatcherHead, input: &str) -> Result<Vec<Option<u64>>, ModelError> {
        let facts = GraphFacts::read(&self.graph(&head.file)?, &self.path(&head.file))?;
        Ok(facts.input(input).map(|port| port.shape.clone()).unwrap_or_default())
    }

    fn unstated(&self, head: &MatcherHead, input: &str) -> ModelError {
        let reason = format!("it does not state the shape of '{input}'; export it again");
        ModelError::Onnx { path: self.path(&head.file), reason }
    }

    /// What the folder says of its model, after checking that its files go together: the graphs take and give what the settings
    /// say, and the fingerprint, where one is stated, is that of the files.
    ///
    /// The files that decide the vectors are all read for this, in constant memory; a few milliseconds for the bundled model,
    /// about a second per gigabyte for others.
    ///
    /// # Errors
    /// [`ModelError`]: a file is missing, wrong, or not what the fingerprint says.
    pub fn manifest(&self) -> Result<ModelManifest, ModelError> {
        let path = self.path(MANIFEST_FILE);
        let (json, mut manifest) = match &self.place {
            Place::Directory(directory) if !path.is_file() => {
                let json =
                    serde_json::to_vec(&layout::read(directory)?).expect("a manifest is JSON; this is a bug");
                let manifest = ModelManifest::parse(&json, &self.stated_in())?;
                (json, manifest)
            }
            _ => {
                let json = self.read(MANIFEST_FILE)?;
                let manifest = ModelManifest::parse(&json, &path)?;
                (json.into_owned(), manifest)
            }
        };
        graphs::check(self, &manifest)?;
        // Through text, so that a number is hashed as it is written.
        let value: Value = serde_json::from_slice(&json)
            .map_err(|error| ModelError::Manifest { path: path.clone(), reason: error.to_string() })?;
        let contents = self.deciding_files(&manifest)?;
        let computed = fingerprint(&value, &contents);
        if manifest.fingerprint.is_empty() {
            manifest.fingerprint = computed;
        } else if manifest.fingerprint != computed {
            let files = contents.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ModelError::Fingerprint { path, files, stated: manifest.fingerprint, computed });
        }
        Ok(manifest)
    }

    /// The files that the fingerprint covers, in its order, with their hashes.
    fn deciding_files(&self, manifest: &ModelManifest) -> Result<Vec<(String, blake3::Hash)>, ModelError> {
        let mut names: Vec<String> = Vec::new();
        for (i, graph) in manifest.graphs().enumerate() {
            names.push(graph.into());
            names.extend(self.external(graph)?);
            // After the two towers, before the matcher.
            if i == 1 {
                names.push(manifest.text.tokenizer.clone());
            }
        }
        let mut hashes: Vec<(String, blake3::Hash)> = Vec::with_capacity(names.len());
        for name in names {
            // One file may hold both towers.
            let known = hashes.iter().find(|(hashed, _)| *hashed == name).map(|(_, hash)| *hash);
            let hash = match known {
                Some(hash) => hash,
                None => self.hash(&name)?,
            };
            hashes.push((name, hash));
        }
        Ok(hashes)
    }

    /// The files beside `graph` that hold its weights.
    fn external(&self, graph: &str) -> Result<Vec<String>, ModelError> {
        let path = self.path(graph);
        let facts = GraphFacts::read(&self.graph(graph)?, &path)?;
        let beside = Path::new(graph).parent().unwrap_or(Path::new(""));
        let name = |location: String| {
            let name = beside.join(&location).to_string_lossy().into_owned();
            if !is_inside(&name) {
                let reason =
                    format!("its weights are said to be in '{location}', which is outside the folder");
                return Err(ModelError::Onnx { path: path.clone(), reason });
            }
            if !self.path(&name).is_file() {
                return Err(ModelError::Missing {
                    directory: self.path(""),
                    file: name,
                    supply: format!("it holds weights of {graph}; copy or download it too"),
                });
            }
            Ok(name)
        };
        facts.external.into_iter().map(name).collect()
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
