//! Captions for images, from a caption file.

use std::path::Path;

use pictor_core::{CaptionEntry, parse_captions};

use super::Asset;
use super::named::Named;
use crate::IndexError;

/// What a caption file says, by the names it uses: file names, or paths relative to some folder.
///
/// An image has the captions of the longest name that its path ends with, folder by folder (`source/named.rs`). An image that the
/// file names gets exactly the file's captions, even if those are none; an image that it does not name keeps what the index has.
#[derive(Clone, Debug, Default)]
pub struct Captions(Named<Vec<String>>);

impl Captions {
    /// Reads a caption file in any layout of [`parse_captions`].
    ///
    /// # Errors
    /// [`IndexError::ReadCaptions`] when it cannot be read or is not UTF-8, [`IndexError::Captions`] when it is no such file.
    pub fn read(path: &Path) -> Result<Self, IndexError> {
        let text = fs_err::read_to_string(path).map_err(IndexError::ReadCaptions)?;
        let entries =
            parse_captions(&text).map_err(|source| IndexError::Captions { path: path.into(), source })?;
        Ok(entries.into())
    }

    /// Number of images named.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no image is named.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The captions of an image, `None` when it is not named.
    pub fn of(&self, asset: &Asset) -> Option<&[String]> {
        self.0.of(asset).map(Vec::as_slice)
    }
}

impl From<Vec<CaptionEntry>> for Captions {
    /// Empty captions, which nothing could be found by, are left out.
    fn from(entries: Vec<CaptionEntry>) -> Self {
        let mut named = Named::<Vec<String>>::default();
        for entry in entries {
            let captions = entry.captions.into_iter().filter(|caption| !caption.is_empty());
            named.entry(&entry.image).extend(captions);
        }
        Self(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captions(text: &str) -> Captions {
        parse_captions(text).unwrap().into()
    }

    fn asset(path: &str, uri: &str) -> Asset {
        Asset { uri: uri.into(), path: path.into(), bytes: 0, modified_ns: None }
    }

    #[test]
    fn the_longest_name_wins_and_folders_tell_images_apart() {
        let captions = captions(
            "7.jpg\tany seven\n./val/7.jpg\tthe seven of val\ntrain/8.jpg\teight\n/abs/9.jpg\tnine\n",
        );
        let of = |path: &str| captions.of(&asset(path, path)).map(<[_]>::concat);
        assert_eq!(captions.len(), 4);
        assert_eq!(of("/photos/val/7.jpg").as_deref(), Some("the seven of val"));
        assert_eq!(of("/photos/test/7.jpg").as_deref(), Some("any seven"));
        assert_eq!(of("/photos/train/8.jpg").as_deref(), Some("eight"));
        assert_eq!(of("/abs/9.jpg").as_deref(), Some("nine"));
        assert_eq!(of("/photos/val/8.jpg"), None);
        assert_eq!(of("/photos/17.jpg"), None, "a name ends at a slash");
    }

    #[test]
    fn links_are_known_by_both_names_and_no_caption_is_a_statement() {
        let captions = captions("dog.jpg\tA dog\nnone.jpg\t\n");
        assert_eq!(captions.of(&asset("/a/dog.jpg", "/store/6f3a")).unwrap(), ["A dog"]);
        assert_eq!(captions.of(&asset("/a/x.jpg", "/store/dog.jpg")).unwrap(), ["A dog"]);
        assert!(captions.of(&asset("/a/none.jpg", "/a/none.jpg")).unwrap().is_empty());
    }
}
