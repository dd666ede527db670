//! The images that a list of questions names, each once.
//!
//! Why: POPE asks six questions about an image and SugarCrepe many, and an image is encoded once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::EvalError;
use crate::dataset::{ImageRef, SHOWN, find};

/// Images in the order of their first mention.
#[derive(Default)]
pub(crate) struct ImageTable {
    names: Vec<String>,
    by_name: HashMap<String, usize>,
}

impl ImageTable {
    /// Index of an image.
    pub(crate) fn of(&mut self, name: &str) -> usize {
        *self.by_name.entry(name.to_owned()).or_insert_with(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    /// The file of each image in `folder`.
    ///
    /// # Errors
    /// [`EvalError::MissingImages`] when one is not there.
    pub(crate) fn find(self, folder: &Path) -> Result<Vec<ImageRef>, EvalError> {
        let found: Vec<Option<PathBuf>> = self.names.iter().map(|name| find(folder, name)).collect();
        let missing: Vec<&String> =
            self.names.iter().zip(&found).filter(|(_, file)| file.is_none()).map(|(name, _)| name).collect();
        if !missing.is_empty() {
            return Err(EvalError::MissingImages {
                dir: folder.into(),
                count: missing.len(),
                of: self.names.len(),
                first: missing.into_iter().take(SHOWN).cloned().collect(),
            });
        }
        Ok(found.into_iter().flatten().map(ImageRef::File).collect())
    }
}
