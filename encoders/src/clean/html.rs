//! `html.unescape` of Python's standard library: character references as HTML 5 reads them, but for the control characters
//! that it drops where a browser keeps them.
//!
//! The names come from the WHATWG's table in the crate `htmlize`. Its own `unescape` follows browsers and so differs for
//! numbers; the walk over the text is therefore here.

use htmlize::ENTITIES;

use super::ftfy::windows_1252;

/// Longest name that is looked at, in characters, a closing semicolon not counted.
const LONGEST_NAME: usize = 32;

/// `text` with its character references replaced, once: `&amp;lt;` becomes `&lt;`.
pub(super) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let length = if rest.starts_with("&#") { numeric(rest, &mut out) } else { named(rest, &mut out) };
        if length == 0 {
            out.push('&');
        }
        rest = &rest[length.max(1)..];
    }
    out.push_str(rest);
    out
}

/// What a name, `&` in front, stands for: with its semicolon or, for the old ones, without.
pub(super) fn entity(name: &str) -> Option<&'static str> {
    ENTITIES.get(name.as_bytes()).and_then(|bytes| str::from_utf8(bytes).ok())
}

/// Reads `&#65;`, `&#x41;` and both without the semicolon; gives the bytes read, 0 when it is none of them.
fn numeric(text: &str, out: &mut String) -> usize {
    let digits = text[2..].strip_prefix(['x', 'X']);
    let (digits, radix, lead) = digits.map_or((&text[2..], 10, 2), |digits| (digits, 16, 3));
    let length = digits.bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
    if length == 0 {
        return 0;
    }
    // Too many digits for the type are too large for Unicode, too.
    let number = u32::from_str_radix(&digits[..length], radix).unwrap_or(u32::MAX);
    out.extend(referenced(number));
    lead + length + usize::from(digits[length..].starts_with(';'))
}

/// The character of a numeric reference; none for those that Python drops.
fn referenced(number: u32) -> Option<char> {
    match number {
        0 => Some(char::REPLACEMENT_CHARACTER),
        0x80..=0x9f => Some(windows_1252(number as u8)),
        0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => None,
        _ if number <= 0x10_ffff && number & 0xfffe == 0xfffe => None,
        // Surrogates and what is beyond Unicode.
        _ => Some(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)),
    }
}

/// Reads a name, or the longest beginning of one that is known; gives the bytes read, 0 when `&` stands for itself.
fn named(text: &str, out: &mut String) -> usize {
    let part_of_name = |c: char| !matches!(c, '\t' | '\n' | '\x0c' | ' ' | '<' | '&' | '#' | ';');
    let ends = text[1..].char_indices().take_while(|&(_, c)| part_of_name(c)).take(LONGEST_NAME);
    let ends: Vec<usize> = ends.map(|(at, c)| 1 + at + c.len_utf8()).collect();
    let Some(&last) = ends.last() else { return 0 };
    let closed = text[last..].starts_with(';').then_some(last + 1);
    // No name has fewer than two letters.
    for end in closed.into_iter().chain(ends.iter().skip(1).rev().copied()) {
        if let Some(characters) = entity(&text[..end]) {
            out.push_str(characters);
            return end;
        }
    }
    0
}
