//! Whether a text looks like mojibake: neighbours that hardly occur in any language but do when UTF-8 is read wrongly.
//!
//! The categories and rules are those of ftfy 6.3.1 (`badness.py`, Robyn Speer, Apache-2.0), found there by trial on many
//! languages; they are restated, not derived.

use std::sync::LazyLock;

use regex::Regex;

/// Occur in many contexts, and so say nothing alone.
const COMMON: &str = "\u{a0}\u{ad}´·–—―’…";
/// The C1 control characters, which have no use left but in mojibake.
const C1: &str = "\u{80}-\u{9f}";
/// Hardly ever anything but mojibake.
const BAD: &str = "¤¦¨ª¬¯¸ºƒˆˇ˘˛˜†‡‰⌐◊\u{fffd}";
const LAW: &str = "§¶";
const CURRENCY: &str = "¢£¥₧€";
/// Open a phrase. The last is the Apple logo on a Mac.
const START: &str = "¡©«¿΄΅‘‚“„•‹\u{f8ff}";
/// Close a phrase.
const END: &str = "®»˝”›™";
const NUMERIC: &str = "±²³µ¹¼½¾×÷⁄№∂∆∏∑√∞∩∫≈≠≡≤≥";
/// Letters that faces are drawn with, which therefore have odd neighbours.
const KAOMOJI: &str = "°Ò-ÖÙ-Üò-öø-üŌŐŪŲ";
const UPPER: &str = "À-ÑØÜÝĀĂĄĆČĎĐĒĖĘĚĞĢĪİĶĹĻĽŁŃŅŇŒŘŚŞŠŢŤŮŰŸŹŻŽҐ";
const LOWER: &str = "ß-ñüāăąćčďđēėęěğģīįķĺļľłœŕśşšťźżžґﬁﬂ";
/// Greek and Cyrillic: they stand at the ends of words, where an accented letter would look like mojibake.
const UPPER_COMMON: &str = "ÞΆΈΉΊΌΎΏΑ-ΫЁ-Я";
const LOWER_COMMON: &str = "ά-ωа-џ";
/// Boxes and blocks; not the single horizontal line, of which faces are made.
const BOX: &str = "│┌┐┘├┤┬┼═-╬▀▄█▌▐-▓";

/// Whether `text` has a pair of neighbours that betrays mojibake.
pub(super) fn is_bad(text: &str) -> bool {
    static BAD_NEIGHBOURS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(&rules().join("|")).expect("a constant expression compiles; this is a bug")
    });
    BAD_NEIGHBOURS.is_match(text)
}

/// ftfy's `BADNESS_RE`, one alternative each. Python's `\s` and `\w` are spelt out, which in `regex` mean something else.
fn rules() -> Vec<String> {
    let space = r"[\s\x1c-\x1f]";
    let word = r"[\p{L}\p{N}_]";
    let mark = format!("{BOX}{START}{END}{CURRENCY}{NUMERIC}{LAW}");
    let arabic = format!("[ØÙ][{COMMON}{CURRENCY}{BAD}{NUMERIC}{START}ŸŠ®°µ»]");
    vec![
        format!("[{C1}]"),
        format!("[{BAD}{LOWER}{UPPER}{mark}][{BAD}]"),
        format!("[a-zA-Z][{LOWER_COMMON}{UPPER_COMMON}][{BAD}]"),
        format!("[{BAD}][{LOWER}{UPPER}{mark}]"),
        format!("[{LOWER}{LOWER_COMMON}{BOX}{END}{CURRENCY}{NUMERIC}][{UPPER}]"),
        format!("[{BOX}{END}{CURRENCY}{NUMERIC}][{LOWER}]"),
        format!("[{LOWER}{BOX}{END}][{CURRENCY}]"),
        format!("{space}[{UPPER}][{CURRENCY}]"),
        format!("[{UPPER}{BOX}][{NUMERIC}{LAW}]"),
        format!("[{LOWER}{UPPER}{BOX}{CURRENCY}{END}][{START}][{NUMERIC}]"),
        format!("[{LOWER}{UPPER}{CURRENCY}{NUMERIC}{BOX}{LAW}][{END}][{START}]"),
        format!("[{CURRENCY}{NUMERIC}{BOX}][{START}]"),
        format!("[a-z][{UPPER}][{START}{CURRENCY}]"),
        format!("[{BOX}][{KAOMOJI}]"),
        format!("[{LOWER}{UPPER}{CURRENCY}{NUMERIC}{START}{END}{LAW}][{BOX}]"),
        format!("[{BOX}][{END}]"),
        format!("[{LOWER}{UPPER}][{START}{END}]{word}"),
        // œ that is not followed by a plain letter; a degree sign after a capital.
        "[Œœ][^A-Za-z]".into(),
        format!("[{UPPER}]°"),
        // Pairs that Windows-1252 makes and the rules above do not see.
        format!("[ÂÃÎÐ][€œŠš¢£Ÿž\u{a0}\u{ad}®©°·»{START}{END}–—´]"),
        "×[²³]".into(),
        // Arabic in Windows-1252: of characters so common that two pairs are asked for.
        format!("{arabic}{arabic}"),
        // The scripts of southern India in Windows-1252.
        "à[²µ¹¼½¾]".into(),
        // Mac Roman.
        "√[±∂†≠®™´≤≥¥µø]".into(),
        "≈[°¢]".into(),
        "‚Ä[ìîïòôúùû†°¢π]".into(),
        "‚[âó][àä°ê]".into(),
        // Windows-1251: of U+2000 and up, of Latin-1 or Cyrillic, and on top of Windows-1252.
        "вЂ".into(),
        format!("[ВГРС][{C1}{BAD}{START}{END}{CURRENCY}°µ][ВГРС]"),
        "ГўВЂВ.[A-Za-z ]".into(),
        // à, á and the no-break space in Windows-1252, and Â before what it encodes.
        "Ã[\u{a0}¡]".into(),
        format!("[a-z]{space}?[ÃÂ] "),
        "^[ÃÂ] ".into(),
        format!("[a-z.,?!{END}]Â[ {START}{END}]"),
        // Windows-1253: of U+2000 and up, of Latin-1 or Greek. Windows-1257.
        "β€[™\u{a0}Ά\u{ad}®°]".into(),
        format!("[ΒΓΞΟ][{C1}{BAD}{START}{END}{CURRENCY}°][ΒΓΞΟ]"),
        "ā€".into(),
    ]
}
