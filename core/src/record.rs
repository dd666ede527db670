//! What is known of an image besides its vector.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::RasterSize;

/// BLAKE3 of an image file's bytes, 32 bytes, shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

impl std::str::FromStr for ContentHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no content hash: expected 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for ContentHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One image of the index: where it is, which bytes were encoded, what is said of it. Its id is kept beside it, not in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Where the bytes are: an absolute file path for an indexed file; whatever an import said for an imported vector.
    pub uri: String,
    /// Hash of the bytes that were encoded; `None` when they were never seen here, as with imported vectors.
    pub content_hash: Option<ContentHash>,
    /// Length of the file in bytes; 0 when it was never seen.
    pub bytes: u64,
    /// Last change of the file, nanoseconds since the Unix epoch; `None` when the source does not say. Together with
    /// `bytes` it lets a second run skip a file without reading it.
    pub modified_ns: Option<i128>,
    /// Size as a viewer shows it, in pixels, after EXIF orientation; `None` when nobody said.
    pub size: Option<RasterSize>,
    /// What people wrote about it, searchable by BM25.
    pub captions: Vec<String>,
    /// Everything else that is known of it, by name: what filters compare.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

/// Attributes of one image by name.
pub type Attributes = BTreeMap<String, Attribute>;

/// The value of an attribute. As JSON it is the plain value.
///
/// A text that is a date, in RFC 3339 (`2024-05-01T12:00:00Z`) or as a day (`2024-05-01`), is compared as one by filters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// Anything else.
    Text(String),
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_hash_reads_what_it_prints() {
        let hash = ContentHash(std::array::from_fn(|i| (i * 9) as u8));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("zz".parse::<ContentHash>().is_err());
        assert!("é".repeat(32).parse::<ContentHash>().is_err());
    }
}
