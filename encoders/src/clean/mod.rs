//! What a text goes through before the tokenizer: the cleaning that a model's training code did outside its tokenizer.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the recipes, and Python's notions of whitespace that they are written in |
//! | `html.rs` | `html.unescape` of Python's standard library |
//! | `ftfy/` | `ftfy.fix_text`: mojibake, ligatures, widths, quotes, control characters, NFC |
//!
//! The reference is Python code, so its oddities are kept: a text that was cleaned otherwise in training has other tokens and
//! another vector. Nothing here can fail, and nothing depends on the model.
//!
//! What must stay true: every recipe gives, character by character, what its Python original gives (`tests/tokens.rs`), for
//! texts of up to 10,000 characters and characters that both Unicode tables know: Python's are those of its release.

pub(crate) mod ftfy;
mod html;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Most words of a caption that BLIP keeps: `max_words=30` of `coco_karpathy_retrieval_eval` (BLIP,
/// data/coco_karpathy_dataset.py). LAVIS passes 50, of which the 35 tokens that the tower reads hold at most 33; captions of up to 30
/// words, and that is nearly all of COCO's, are the same in both.
const BLIP_WORDS: usize = 30;

/// Characters of a text that open_clip's cleaning looks at; the rest is cut off. The models read 77 tokens, which a tenth of this
/// fills; without a limit `&amp;amp;amp;…`, of which ftfy takes off one layer a time, would take minutes for a megabyte.
const LONGEST_TEXT: usize = 10_000;

/// A cleaning recipe, named after the code that defines it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clean {
    /// None: the tokenizer file does all there is to do (transformers' fast tokenizers).
    #[default]
    None,
    /// Lower case alone (SigLIP 2 in transformers).
    Lowercase,
    /// open_clip's `clean="whitespace"`: `ftfy.fix_text`, `html.unescape` twice, runs of whitespace to one space, trimmed.
    OpenClipWhitespace,
    /// open_clip's `clean="lower"`, OpenAI CLIP's own: as above, then lower case.
    OpenClipLower,
    /// open_clip's `clean="canonicalize"` (SigLIP): as above, `_` to space, ASCII punctuation removed, lower case.
    OpenClipCanonicalize,
    /// BLIP's `pre_caption`: lower case, `.!"()*#:;~` to spaces, runs of whitespace to one space, trimmed, first 30 words.
    BlipCaption,
}

impl Clean {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// `text` as the recipe leaves it (open_clip 3.3 tokenizer.py, `basic_clean` to `canonicalize_text`; BLIP data/utils.py).
    ///
    /// ```
    /// use pictor_encoders::Clean;
    ///
    /// assert_eq!(Clean::OpenClipLower.apply("L&rsquo;Ã©tÃ©  ｂｙ <b>"), "l’été by <b>");
    /// assert_eq!(Clean::OpenClipCanonicalize.apply("A well-known_place."), "a wellknown place");
    /// assert_eq!(Clean::BlipCaption.apply("A dog (in snow)!"), "a dog in snow");
    /// ```
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self {
            Self::None => Cow::Borrowed(text),
            Self::Lowercase => text.to_lowercase().into(),
            Self::OpenClipWhitespace => one_space(&basic_clean(text)).into(),
            Self::OpenClipLower => one_space(&basic_clean(text)).to_lowercase().into(),
            Self::OpenClipCanonicalize => canonicalize(&basic_clean(text)).into(),
            Self::BlipCaption => blip_caption(text).into(),
        }
    }
}

/// open_clip's `basic_clean`, less the trimming, which all that follows it does again.
fn basic_clean(text: &str) -> String {
    let text = text.char_indices().nth(LONGEST_TEXT).map_or(text, |(end, _)| &text[..end]);
    html::unescape(&html::unescape(&ftfy::fix_text(text)))
}

/// open_clip's `canonicalize_text`, after big_vision's `prompt_engineering.py`.
fn canonicalize(text: &str) -> String {
    let bare: String =
        text.chars().map(|c| if c == '_' { ' ' } else { c }).filter(|c| !c.is_ascii_punctuation()).collect();
    one_space(&bare.to_lowercase())
}

/// BLIP's `pre_caption` (data/utils.py).
fn blip_caption(text: &str) -> String {
    let lower = text.to_lowercase();
    let bare = lower.chars().map(|c| if ".!\"()*#:;~".contains(c) { ' ' } else { c });
    // Runs of two and more become a space; a lone one stays what it is, a line end or a no-break space.
    let mut caption = String::with_capacity(lower.len());
    let mut run = 0;
    for c in bare {
        run = if is_space(c) { run + 1 } else { 0 };
        match run {
            0 | 1 => caption.push(c),
            2 => {
                caption.pop();
                caption.push(' ');
            }
            _ => {}
        }
    }
    let trimmed = caption.trim_end_matches('\n').trim_matches(' ');
    trimmed.split(' ').take(BLIP_WORDS).collect::<Vec<_>>().join(" ")
}

/// Python's `" ".join(text.split())`.
fn one_space(text: &str) -> String {
    text.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Python's `str.isspace` of one character: Unicode's White_Space and the four ASCII separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
