//! The single-byte encodings that mojibake comes from, both ways.
//!
//! The Windows pages are "sloppy" as browsers are: a byte without a meaning is the character of the same number. In them byte
//! 1A stands for U+FFFD, which is what is left of a character that some other program could not decode.

use std::collections::HashMap;
use std::sync::LazyLock;

/// One encoding: ASCII, and this for the bytes from 80.
pub(super) struct CodePage {
    upper: Vec<char>,
    bytes: HashMap<char, u8>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Latin1,
    Windows,
    Iso8859Part2,
    MacRoman,
    Dos,
}

/// In the order in which they are tried (ftfy's `CHARMAP_ENCODINGS`).
pub(super) static CODE_PAGES: LazyLock<[CodePage; 10]> = LazyLock::new(|| {
    [
        CodePage::new(Kind::Latin1, ('\u{80}'..='\u{ff}').collect()),
        CodePage::new(Kind::Windows, WINDOWS_1252.chars().collect()),
        CodePage::new(Kind::Windows, WINDOWS_1251.chars().collect()),
        CodePage::new(Kind::Windows, WINDOWS_1250.chars().collect()),
        CodePage::new(Kind::Windows, WINDOWS_1253.chars().collect()),
        CodePage::new(Kind::Windows, WINDOWS_1254.chars().collect()),
        CodePage::new(Kind::Windows, WINDOWS_1257.chars().collect()),
        CodePage::new(Kind::Iso8859Part2, ('\u{80}'..'\u{a0}').chain(ISO_8859_2.chars()).collect()),
        CodePage::new(Kind::MacRoman, MAC_ROMAN.chars().collect()),
        CodePage::new(Kind::Dos, CP437.chars().collect()),
    ]
});

impl CodePage {
    fn new(kind: Kind, upper: Vec<char>) -> Self {
        let bytes = upper.iter().copied().zip(0x80..=0xff).collect();
        Self { upper, bytes, kind }
    }

    /// The bytes that this encoding reads as `text`; none when there are none.
    pub fn encode(&self, text: &str) -> Option<Vec<u8>> {
        text.chars()
            .map(|c| match c {
                '\x1a' if self.is_sloppy() => None,
                char::REPLACEMENT_CHARACTER if self.is_sloppy() => Some(0x1a),
                '\0'..='\x7f' => Some(c as u8),
                _ => self.bytes.get(&c).copied(),
            })
            .collect()
    }

    /// The character of a byte from 80 up.
    pub fn decode(&self, byte: u8) -> char {
        self.upper[usize::from(byte & 0x7f)]
    }

    pub fn is_latin_1(&self) -> bool {
        self.kind == Kind::Latin1
    }

    pub fn is_mac_roman(&self) -> bool {
        self.kind == Kind::MacRoman
    }

    pub fn is_sloppy(&self) -> bool {
        self.kind == Kind::Windows
    }

    /// Whether its letters are where Latin-1 has letters.
    pub fn resembles_latin_1(&self) -> bool {
        matches!(self.kind, Kind::Latin1 | Kind::Windows)
    }
}

/// The character of a byte from 80 up in sloppy Windows-1252.
pub(in super::super) fn windows_1252(byte: u8) -> char {
    CODE_PAGES[1].decode(byte)
}

/// `text` encoded as Latin-1 and decoded as Windows-1252; none when it holds a byte without a meaning there.
pub(super) fn windows_1252_strict(text: &str) -> Option<String> {
    let decode = |c: char| match c {
        '\u{81}' | '\u{8d}' | '\u{8f}' | '\u{90}' | '\u{9d}' => None,
        '\u{80}'..='\u{ff}' => Some(windows_1252(c as u8)),
        _ => c.is_ascii().then_some(c),
    };
    text.chars().map(decode).collect()
}

// Bytes 80 to FF, as in Python's codecs; ISO 8859-2 from A0.

const WINDOWS_1252: &str = "\
    €\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯°±²³´µ¶·¸¹º»¼\
    ½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ";
const WINDOWS_1251: &str = "\
    ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\u{98}™љ›њќћџ\u{a0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{ad}®Ї°±Ііґµ¶·ё№є»јЅѕїАБВГДЕЖЗИЙКЛМНОПР\
    СТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя";
const WINDOWS_1250: &str = "\
    €\u{81}‚\u{83}„…†‡\u{88}‰Š‹ŚŤŽŹ\u{90}‘’“”•–—\u{98}™š›śťžź\u{a0}ˇ˘Ł¤Ą¦§¨©Ş«¬\u{ad}®Ż°±˛ł´µ¶·¸ąş»Ľ\
    ˝ľżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙";
const WINDOWS_1253: &str = "\
    €\u{81}‚ƒ„…†‡\u{88}‰\u{8a}‹\u{8c}\u{8d}\u{8e}\u{8f}\u{90}‘’“”•–—\u{98}™\u{9a}›\u{9c}\u{9d}\u{9e}\
    \u{9f}\u{a0}΅Ά£¤¥¦§¨©ª«¬\u{ad}®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡÒΣΤΥΦΧΨΩΪΫάέήίΰαβγδεζηθικλμνξο\
    πρςστυφχψωϊϋόύώÿ";
const WINDOWS_1254: &str = "\
    €\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}\u{8e}\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}\u{9e}Ÿ\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯°±²\
    ³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞßàáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ";
const WINDOWS_1257: &str = "\
    €\u{81}‚\u{83}„…†‡\u{88}‰\u{8a}‹\u{8c}¨ˇ¸\u{90}‘’“”•–—\u{98}™\u{9a}›\u{9c}¯˛\u{9f}\u{a0}¡¢£¤¥¦§Ø\
    ©Ŗ«¬\u{ad}®Æ°±²³´µ¶·ø¹ŗ»¼½¾æĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽßąįāćäåęēčéźėģķīļšńņóōõö÷ųłśūüżž˙";
const ISO_8859_2: &str = "\
    \u{a0}Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\u{ad}ŽŻ°ą˛ł´ľśˇ¸šşťź˝žżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôő\
    ö÷řůúűüýţ˙";
const MAC_ROMAN: &str = "\
    ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø¿¡¬√ƒ≈∆«»…\u{a0}ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄\
    €‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\u{f8ff}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ";
const CP437: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
    αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
