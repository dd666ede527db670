//! Numbers of bytes as people write them.

use thiserror::Error;

/// Why a text is no number of bytes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct SizeError(pub String);

/// A number of bytes, such as `300`, `64K`, `256M` or `2G`: K, M and G (either case) are times 1024, 1024² and 1024³.
///
/// # Errors
/// [`SizeError`] for anything else, or more than a `u64` counts.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let (number, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| SizeError("expected a number of bytes, such as 300, 64K, 256M or 2G".into()))?;
    number.checked_mul(1 << shift).ok_or_else(|| SizeError(format!("{text} is more than can be counted")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [("0", 0), ("300", 300), ("64K", 65_536), ("2m", 2 << 20), ("3G", 3 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for text in ["", "G", "x", "-1", "1.5G", "99999999999999999999", "99999999999999999G", "1T"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
