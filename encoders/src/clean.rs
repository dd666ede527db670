//! What a text goes through before the tokenizer: the cleaning that a model's training code did outside its tokenizer.

use serde::{Deserialize, Serialize};

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
    /// BLIP's `pre_caption`.
    BlipCaption,
}

impl Clean {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }
}
