//! What files say of images by name.

use std::collections::HashMap;

use super::Asset;

/// Values by the names that a file uses for images: file names, or paths relative to some folder.
///
/// An image has the value of the longest name that its path ends with, folder by folder: for `/photos/val/7.jpg` the name
/// `val/7.jpg` comes before `7.jpg`, and `train/7.jpg` is another image. A file that names bare file names speaks of every
/// image so called.
#[derive(Clone, Debug)]
pub(super) struct Named<T>(HashMap<String, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Named<T> {
    /// Number of names.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value under a name. "./a.jpg" and "a.jpg" are one name.
    pub(super) fn entry(&mut self, name: &str) -> &mut T
    where
        T: Default,
    {
        self.0.entry(name.trim_start_matches("./").into()).or_default()
    }

    /// The value of an image, `None` when it is not named.
    pub(super) fn of(&self, asset: &Asset) -> Option<&T> {
        // As found comes first: a link may be named as people know the image, its target by a hash.
        asset.path.to_str().and_then(|path| self.of_path(path)).or_else(|| self.of_path(&asset.uri))
    }

    fn of_path(&self, path: &str) -> Option<&T> {
        let ends = path.match_indices('/').map(|(at, _)| &path[at + 1..]);
        std::iter::once(path).chain(ends).find_map(|end| self.0.get(end))
    }
}
