//! UTF-8 that lost something: bytes A0 that became spaces, bytes that became `?`, sequences written by other rules, and
//! sequences that are seen only as the characters of the wrong encoding.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::code_page::CODE_PAGES;

/// Bytes A0 put back where a space stands in for one (ftfy's `ALTERED_UTF8_RE` and `restore_byte_a0`).
pub(super) fn restore_byte_a0(bytes: Vec<u8>) -> Vec<u8> {
    static ALTERED: LazyLock<Regex> = LazyLock::new(|| {
        expression(
            r"[\xc2\xc3\xc5\xce\xd0\xd9] |[\xe2\xe3] [\x80-\x84\x86-\x9f\xa1-\xbf]|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf] |\xf0 [\x80-\xbf][\x80-\xbf]|\xf0[\x80-\xbf] [\x80-\xbf]|\xf0[\x80-\xbf][\x80-\xbf] ",
        )
    });
    if !ALTERED.is_match(&bytes) {
        return bytes;
    }
    let words = separate_a_grave(&bytes);
    let restored = ALTERED.replace_all(&words, |found: &regex::bytes::Captures| {
        found[0].iter().map(|&byte| if byte == b' ' { 0xa0 } else { byte }).collect::<Vec<u8>>()
    });
    restored.into_owned()
}

/// `à` as a word of its own keeps the space after it; not in the Portuguese contractions `às`, `àquele`, `àquela`, `àquilo`.
fn separate_a_grave(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    for (i, &byte) in bytes.iter().enumerate() {
        out.push(byte);
        if let Some(after) = bytes[i..].strip_prefix(b"\xc3 ") {
            let part_of_word: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
            if !part_of_word.iter().any(|part| after.starts_with(part)) {
                out.push(0xa0);
            }
        }
    }
    out
}

/// Sequences with a byte that the sloppy encodings write for U+FFFD (1A), or a `?`, become U+FFFD (ftfy's `LOSSY_UTF8_RE`).
pub(super) fn replace_lossy_sequences(bytes: Vec<u8>) -> Vec<u8> {
    static LOSSY: LazyLock<Regex> = LazyLock::new(|| {
        expression(
            r"[\xc2-\xdf]\x1a|[\xc2-\xc3]\?|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]|\x1a",
        )
    });
    LOSSY.replace_all(&bytes, &b"\xef\xbf\xbd"[..]).into_owned()
}

/// UTF-8, or the mixture of it with CESU-8 (surrogate pairs of three bytes each) and Java's null (C0 80) that ftfy calls
/// `utf-8-variants`; none when it is neither.
pub(super) fn decode_variants(bytes: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    // Either byte is where plain UTF-8 may have to be left.
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0xc0 | 0xed)) {
        let (plain, special) = rest.split_at(at);
        let (character, length) = match special {
            // ftfy's expressions match an end by `$`, which is also before a last line end; that one is swallowed.
            [0xc0, 0x80, ..] | [0xc0, b'\n'] => ('\0', 2),
            [0xed, a @ 0xa0..=0xaf, b @ 0x80..=0xbf, 0xed, c @ 0xb0..=0xbf, d @ 0x80..=0xbf, ..]
            | [0xed, a @ 0xa0..=0xaf, b @ 0x80..=0xbf, 0xed, c @ 0xb0..=0xbf, d @ b'\n'] => {
                let bits = |byte: &u8, mask: u8, shift: u32| u32::from(byte & mask) << shift;
                let code = bits(a, 0x0f, 16) + bits(b, 0x3f, 10) + bits(c, 0x0f, 6) + bits(d, 0x3f, 0);
                (char::from_u32(0x1_0000 + code)?, 6)
            }
            // Hangul, or no UTF-8 at all.
            _ => {
                let character =
                    special.get(..3).and_then(|three| str::from_utf8(three).ok())?.chars().next()?;
                (character, 3)
            }
        };
        out.push_str(str::from_utf8(plain).ok()?);
        out.push(character);
        rest = &special[length..];
    }
    out.push_str(str::from_utf8(rest).ok()?);
    Some(out)
}

/// What a character could be in a UTF-8 sequence that was read as one of the seven encodings like Latin-1.
#[derive(Clone, Copy, Default)]
struct Clue {
    /// Characters that should follow it as the first of a sequence; 0 when it is not one.
    following: u8,
    /// It could be a continuation byte.
    continuation: bool,
}

/// Continuations that usually stand for themselves.
const PUNCTUATION: &str = " –—―‘’‚“”„•…";

/// ftfy's `UTF8_CLUES`, made from the encodings again as its `char_data_table.py` does. The first bytes F1, F2 and F4 are left
/// out: they lead to unassigned planes.
static CLUES: LazyLock<HashMap<char, Clue>> = LazyLock::new(|| {
    let mut clues: HashMap<char, Clue> = HashMap::from([(' ', Clue { following: 0, continuation: true })]);
    for page in CODE_PAGES.iter().filter(|page| page.resembles_latin_1()) {
        for byte in 0x80..=0xff {
            let clue = clues.entry(page.decode(byte)).or_default();
            match byte {
                0x80..=0xbf => clue.continuation = true,
                0xc2..=0xdf => clue.following = 1,
                0xe0..=0xef => clue.following = 2,
                0xf0 | 0xf3 => clue.following = 3,
                _ => {}
            }
        }
    }
    clues
});

fn clue(c: char) -> Clue {
    CLUES.get(&c).copied().unwrap_or_default()
}

/// `text` with every run of UTF-8-like sequences replaced by what `fix` makes of it (ftfy's `UTF8_DETECTOR_RE`). A run does not
/// begin after a continuation, so that a few characters of a large garble are left alone.
pub(super) fn replace_detected<'t>(text: &'t str, fix: impl Fn(&'t str) -> Cow<'t, str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let in_garble = before.is_some_and(|b| clue(b).continuation && !PUNCTUATION.contains(b));
        let run = if in_garble { 0 } else { detected(rest) };
        let taken = if run > 0 { run } else { c.len_utf8() };
        let (part, after) = rest.split_at(taken);
        if run > 0 {
            out.push_str(&fix(part));
        } else {
            out.push_str(part);
        }
        before = part.chars().next_back();
        rest = after;
    }
    out
}

/// Bytes of the run of sequences that `text` begins with.
fn detected(text: &str) -> usize {
    let mut length = 0;
    loop {
        let mut sequence = text[length..].chars();
        let following = sequence.next().map_or(0, |first| clue(first).following);
        let mut continuations = (0..following).map(|_| sequence.next().is_some_and(|c| clue(c).continuation));
        if following == 0 || !continuations.all(|is_one| is_one) {
            return length;
        }
        length = text.len() - sequence.as_str().len();
    }
}

fn expression(pattern: &str) -> Regex {
    // Without Unicode an escape is a byte.
    Regex::new(&format!("(?-u){pattern}")).expect("a constant expression compiles; this is a bug")
}
