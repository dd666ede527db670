//! Mojibake undone: UTF-8 that was read as a single-byte encoding, whole or in parts, once or several times.

use std::borrow::Cow;

use super::badness::is_bad;
use super::code_page::{CODE_PAGES, windows_1252_strict};
use super::{fix_c1_control, utf8};

/// ftfy's `fix_encoding`: one wrong decoding after the other undone, until the text no longer looks like mojibake.
pub(super) fn fix_encoding(text: &str) -> Cow<'_, str> {
    let mut fixed = Cow::Borrowed(text);
    while let Some(next) = undo_one(&fixed).filter(|next| next != &fixed) {
        fixed = Cow::Owned(next);
    }
    fixed
}

/// ftfy's `_fix_encoding_one_step_and_explain`; none when there is nothing to undo.
fn undo_one(text: &str) -> Option<String> {
    if text.is_ascii() || !is_bad(text) {
        return None;
    }
    // UTF-8 read as a single-byte encoding: the first whose bytes are UTF-8.
    let mut latin_1 = false;
    for page in CODE_PAGES.iter() {
        let Some(mut bytes) = page.encode(text) else { continue };
        latin_1 |= page.is_latin_1();
        // In Mac Roman the first is an en dash and a space.
        if !page.is_mac_roman() {
            bytes = utf8::restore_byte_a0(bytes);
        }
        if page.is_sloppy() {
            bytes = utf8::replace_lossy_sequences(bytes);
        }
        if let Some(decoded) = utf8::decode_variants(&bytes) {
            return Some(decoded);
        }
    }
    // Only parts of it were.
    let parts = utf8::replace_detected(text, |part| {
        if part.len() < text.len() && is_bad(part) { fix_encoding(part) } else { Cow::Borrowed(part) }
    });
    if parts != text {
        return Some(parts);
    }
    // Windows-1252 read as Latin-1, whole or in single characters.
    if latin_1 && let Some(decoded) = windows_1252_strict(text).filter(|decoded| decoded != text) {
        return Some(decoded);
    }
    Some(text.chars().map(fix_c1_control).collect())
}
