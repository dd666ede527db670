//! The files that a caption file's images are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pictor_core::CaptionEntry;

use super::SHOWN;
use crate::EvalError;

/// The file of each entry.
pub(super) fn find_images(entries: &[CaptionEntry], dir: &Path) -> Result<Vec<PathBuf>, EvalError> {
    let mut images = Vec::with_capacity(entries.len());
    let mut missing = Vec::new();
    let mut owners: HashMap<PathBuf, &str> = HashMap::new();
    for entry in entries {
        let name = entry.image.as_str();
        let Some(path) = find(dir, name) else {
            missing.push(name);
            continue;
        };
        if let Some(first) = owners.insert(path.clone(), name) {
            return Err(EvalError::SameFile { first: first.into(), second: name.into(), path });
        }
        images.push(path);
    }
    if !missing.is_empty() {
        return Err(EvalError::MissingImages {
            dir: dir.into(),
            count: missing.len(),
            of: entries.len(),
            first: missing.into_iter().take(SHOWN).map(String::from).collect(),
        });
    }
    Ok(images)
}

/// An image at the path it is named by, or by its file name alone.
pub(crate) fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let file_name = name.rsplit('/').next().unwrap_or(name);
    // An empty name would find the folder itself; an absolute one is taken as it is.
    [name, file_name].map(|name| dir.join(name)).into_iter().find(|path| path.is_file())
}
