//! `ftfy.fix_text` with its default configuration: text that was decoded, escaped or typeset wrongly is put right.
//!
//! An independent implementation of ftfy 6.3.1 by Robyn Speer (Apache-2.0), whose rules and character categories it restates;
//! OpenAI's CLIP and open_clip clean every text with it. The crate that ports it (`plsfix` 0.1) was measured first: it differs
//! on about one hard text in ten and brings ICU and three sets of encodings.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the order of the fixes, and the small ones |
//! | `encoding.rs` | which wrong decoding to undo |
//! | `badness.rs` | whether a text looks like mojibake at all |
//! | `code_page.rs` | the single-byte encodings |
//! | `utf8.rs` | UTF-8 that lost bytes, seen as bytes and as characters |
//!
//! `fix_surrogates` has no counterpart: a Rust string holds no surrogates.

mod badness;
mod code_page;
mod encoding;
mod utf8;

use std::borrow::Cow;
use std::iter;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use unicode_normalization::UnicodeNormalization;

pub(super) use code_page::windows_1252;

use super::html;

/// ftfy's `fix_text(text)`: line by line, because lines may have been broken differently. ftfy also cuts a line after a million
/// characters; no text comes here with that many.
pub(crate) fn fix_text(text: &str) -> String {
    let mut unescape = true;
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        // A `<` says that this is HTML, here and in all lines after it, whose entities are meant.
        unescape &= !line.contains('<');
        out.push_str(&fix_line(line, unescape));
    }
    out
}

/// ftfy's `fix_and_explain`: all fixes in turn, until none finds anything. Each makes the text shorter or its characters plainer
/// and none undoes another, so this ends.
fn fix_line(line: &str, unescape: bool) -> String {
    let mut text = line.to_owned();
    loop {
        let unescaped = if unescape { unescape_html(&text) } else { Cow::Borrowed(text.as_str()) };
        let decoded = encoding::fix_encoding(&unescaped);
        let plain: String = decoded
            .chars()
            .map(fix_c1_control)
            .flat_map(fix_latin_ligature)
            .flat_map(fix_character_width)
            .map(uncurl_quote)
            .collect();
        let lines = plain.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}', '\u{85}'], "\n");
        let fixed = remove_terminal_escapes(&lines).chars().filter(|&c| !is_control(c)).nfc().collect();
        if fixed == text {
            return fixed;
        }
        text = fixed;
    }
}

/// Entities that end in a semicolon, and the lower-case ones also when someone's database made them upper-case.
fn unescape_html(text: &str) -> Cow<'_, str> {
    static ENTITY: LazyLock<Regex> = LazyLock::new(|| expression("&#?[0-9A-Za-z]{1,24};"));
    ENTITY.replace_all(text, |found: &Captures| {
        let reference = &found[0];
        if reference.starts_with("&#") {
            let character = html::unescape(reference);
            // Not the reference of a semicolon, nor one read only in part.
            return if character.contains(';') { reference.to_owned() } else { character };
        }
        if let Some(characters) = html::entity(reference) {
            return characters.to_owned();
        }
        let shouted = !reference.contains(|c: char| c.is_ascii_lowercase());
        let lower = html::entity(&reference.to_ascii_lowercase());
        match lower {
            // `&AMPX;` begins with `&AMP`, so it is not taken for a shouted `&ampx;`.
            Some(lower) if shouted && html::unescape(reference) == reference => lower.to_uppercase(),
            _ => reference.to_owned(),
        }
    })
}

/// A C1 control character stands for what Windows-1252 has in its place.
fn fix_c1_control(c: char) -> char {
    match c {
        '\u{80}'..='\u{9f}' => windows_1252(c as u8),
        _ => c,
    }
}

/// Latin ligatures and digraphs taken apart; not `æ`, which is meant.
fn fix_latin_ligature(c: char) -> impl Iterator<Item = char> {
    let parts = match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "ʼn",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => "",
    };
    parts.chars().chain(parts.is_empty().then_some(c))
}

/// Full-width and half-width forms, and the ideographic space, in their usual width.
fn fix_character_width(c: char) -> impl Iterator<Item = char> {
    let wide = matches!(c, '\u{ff01}'..='\u{ffef}');
    let usual = if c == '\u{3000}' { ' ' } else { c };
    iter::once(c).filter(move |_| wide).nfkc().chain((!wide).then_some(usual))
}

fn uncurl_quote(c: char) -> char {
    match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        _ => c,
    }
}

fn remove_terminal_escapes(text: &str) -> Cow<'_, str> {
    static ESCAPE: LazyLock<Regex> = LazyLock::new(|| expression(r"\x1b\[[\d;]*[a-zA-Z]"));
    if text.contains('\x1b') { ESCAPE.replace_all(text, "") } else { Cow::Borrowed(text) }
}

/// Control characters that show nothing: not joiners, direction marks or tags, which do.
fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\x08' | '\x0b' | '\x0e'..='\x1f' | '\x7f'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

fn expression(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant expression compiles; this is a bug")
}
