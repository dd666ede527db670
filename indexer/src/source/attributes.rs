//! Attributes for images, from an attribute file.

use std::collections::BTreeMap;
use std::path::Path;

use pictor_core::{Attribute, AttributeEntry, Attributes, parse_attributes};

use super::Asset;
use super::named::Named;
use crate::IndexError;

/// What an attribute file says, by the names it uses: file names, or paths relative to some folder.
///
/// An image has what is said of the longest name that its path ends with, folder by folder (`source/named.rs`). The file sets the
/// attributes that it has a value for and takes away those that it says there is none of; all others stay, so that one file may
/// follow another.
#[derive(Clone, Debug, Default)]
pub struct AttributeFile(Named<BTreeMap<String, Option<Attribute>>>);

impl AttributeFile {
    /// Reads an attribute file in any layout of [`parse_attributes`].
    ///
    /// # Errors
    /// [`IndexError::ReadAttributes`] when it cannot be read or is not UTF-8, [`IndexError::Attributes`] when it is no such file.
    pub fn read(path: &Path) -> Result<Self, IndexError> {
        let text = fs_err::read_to_string(path).map_err(IndexError::ReadAttributes)?;
        let entries =
            parse_attributes(&text).map_err(|source| IndexError::Attributes { path: path.into(), source })?;
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

    /// What the attributes of an image are, once `known` are changed as the file says; `None` when it is not named.
    pub fn of(&self, asset: &Asset, known: &Attributes) -> Option<Attributes> {
        let said = self.0.of(asset)?;
        let mut attributes = known.clone();
        for (name, value) in said {
            match value {
                Some(value) => drop(attributes.insert(name.clone(), value.clone())),
                None => drop(attributes.remove(name)),
            }
        }
        Some(attributes)
    }
}

impl From<Vec<AttributeEntry>> for AttributeFile {
    /// Of an image that is named twice, what is said last counts.
    fn from(entries: Vec<AttributeEntry>) -> Self {
        let mut named = Named::<BTreeMap<_, _>>::default();
        for entry in entries {
            named.entry(&entry.image).extend(entry.attributes);
        }
        Self(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_takes_away_and_leaves() {
        let file = "f,camera,iso\nv/a.jpg,Canon,\nb.jpg,Nikon,100\nb.jpg,,200\n";
        let file = AttributeFile::from(parse_attributes(file).unwrap());
        let asset = |path: &str| Asset { uri: path.into(), path: path.into(), bytes: 0, modified_ns: None };
        let known: Attributes = [("iso", 400), ("stars", 5)]
            .map(|(name, value)| (name.to_owned(), Attribute::Integer(value)))
            .into();
        let of = |path: &str| {
            let attributes = file.of(&asset(path), &known)?;
            Some(
                attributes
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        assert_eq!(of("/p/v/a.jpg").as_deref(), Some("camera=Canon stars=5"));
        assert_eq!(of("/p/b.jpg").as_deref(), Some("iso=200 stars=5"));
        assert_eq!(of("/p/w/a.jpg"), None);
        assert_eq!(file.len(), 2);
    }
}
