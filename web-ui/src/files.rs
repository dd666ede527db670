//! The bytes of an indexed image, and nothing else of the disk.
//!
//! A request names an id; the path comes from the record of that id and never from the request. What the path holds today
//! must still be an image by its first bytes, so a file that was replaced by something else is not handed out.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::time::UNIX_EPOCH;

use axum::http::HeaderMap;
use axum::http::header::IF_NONE_MATCH;
use pictor_core::ImageRecord;

use crate::error::ApiError;
use crate::limits::MAX_FILE_BYTES;

/// The file of a record, as it is on disk now.
pub(crate) struct ImageFile<'a> {
    record: &'a ImageRecord,
    metadata: Metadata,
}

impl<'a> ImageFile<'a> {
    /// Looks whether the file is there and may be read.
    ///
    /// # Errors
    /// [`ApiError`] when it is gone, out of reach, too large or no file any more.
    pub(crate) fn find(record: &'a ImageRecord) -> Result<Self, ApiError> {
        let metadata = fs_err::metadata(&record.uri).map_err(|source| explain(record, source))?;
        // A pipe in place of the file would be read for ever.
        if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
            return Err(ApiError::NotAnImage { uri: record.uri.clone() });
        }
        Ok(Self { record, metadata })
    }

    /// The entity tag of what is made from the file. The same id in another index, or the same file with other bytes, gives
    /// another tag.
    pub(crate) fn etag(&self, what: &str) -> String {
        let changed = self.metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let changed = changed.map_or(0, |time| time.as_nanos());
        let hash = self.record.content_hash.map_or_else(String::new, |hash| hash.to_string());
        format!("\"{hash}-{}-{changed}-{what}\"", self.metadata.len())
    }

    /// The bytes and their media type.
    ///
    /// # Errors
    /// [`ApiError`] when the file went away after all, or is no image.
    pub(crate) fn read(&self) -> Result<(Vec<u8>, &'static str), ApiError> {
        let bytes = fs_err::read(&self.record.uri).map_err(|source| explain(self.record, source))?;
        match media_type(&bytes) {
            Some(media_type) => Ok((bytes, media_type)),
            None => Err(ApiError::NotAnImage { uri: self.record.uri.clone() }),
        }
    }
}

fn explain(record: &ImageRecord, source: std::io::Error) -> ApiError {
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => ApiError::Gone { uri: record.uri.clone() },
        _ => ApiError::Unreadable { source },
    }
}

/// Media type by content, for the formats that Pictor indexes.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'B', b'M', ..] => Some("image/bmp"),
        _ => None,
    }
}

/// Whether the browser's copy has this tag.
pub(crate) fn is_fresh(headers: &HeaderMap, etag: &str) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|value| value.split(',')).any(|tag| tag.trim().trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn knows_images_by_content() {
        assert_eq!(media_type(b"\xff\xd8\xff\xe0rest"), Some("image/jpeg"));
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\n"), Some("image/png"));
        assert_eq!(media_type(b"RIFF\x01\x02\x03\x04WEBPVP8 "), Some("image/webp"));
        assert_eq!(media_type(b"GIF89a"), Some("image/gif"));
        assert_eq!(media_type(b"BM...."), Some("image/bmp"));
        for other in [&b"<svg xmlns="[..], b"<!doctype html>", b"RIFF\0\0\0\0WAVE", b"\xff\xd8", b""] {
            assert_eq!(media_type(other), None);
        }
    }

    #[test]
    fn compares_entity_tags() {
        let mut headers = HeaderMap::new();
        assert!(!is_fresh(&headers, "\"a\""));
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"b\", W/\"a\""));
        assert!(is_fresh(&headers, "\"a\"") && is_fresh(&headers, "\"b\""));
        assert!(!is_fresh(&headers, "\"ab\""));
    }
}
