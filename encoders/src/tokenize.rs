//! Text to token ids: the model's cleaning recipe, then its own `tokenizer.json`.
//!
//! The Hugging Face library does the work (normalising, splitting, vocabulary, special tokens), because being almost the same
//! as the tokenizer a model was trained with is not enough. What is ours is what training code does around it: the cleaning
//! before ([`Clean`](crate::Clean)), and the length after, for which the folder's `context_length` replaces whatever truncation
//! and padding the file carries.
//!
//! What must stay true: ids equal the reference's (`tests/tokens.rs`, `golden.json`); a text longer than the context keeps its
//! last special token, which many models pool at.

use pictor_core::EncodeError;
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

use crate::clean::Clean;
use crate::manifest::{Padding, TextTower};

/// Token ids of a text, with its special tokens and without padding.
pub(crate) type Ids = Vec<i64>;

/// A model's tokenizer, set to its context length.
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    clean: Clean,
    context_length: usize,
    pad_id: i64,
    pad: Padding,
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`. The error is the reason and the next step; the caller knows the path.
    pub fn new(json: &[u8], tower: &TextTower) -> Result<Self, String> {
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(|error| unreadable(json, &error.to_string()))?;
        let special = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if tower.context_length <= special {
            let length = tower.context_length;
            return Err(format!(
                "adds {special} special tokens, and text.context_length is only {length}; correct it in the manifest"
            ));
        }
        if tokenizer.id_to_token(tower.pad_id).is_none() {
            let (pad, size) = (tower.pad_id, tokenizer.get_vocab_size(true));
            return Err(format!(
                "text.pad_id is {pad}, which none of the {size} tokens has; correct it in the manifest, \
                 or put the tokenizer of this model beside it"
            ));
        }
        let truncation = TruncationParams { max_length: tower.context_length, ..TruncationParams::default() };
        tokenizer.with_padding(None).with_truncation(Some(truncation)).map_err(|error| error.to_string())?;
        let (context_length, pad_id, pad) = (tower.context_length, i64::from(tower.pad_id), tower.pad);
        Ok(Self { tokenizer, clean: tower.clean, context_length, pad_id, pad })
    }

    /// At most `context_length` ids.
    ///
    /// # Errors
    /// [`EncodeError::Tokenize`] in the library's words; no text is known that makes it fail.
    pub fn ids(&self, text: &str) -> Result<Ids, EncodeError> {
        let encoding = self
            .tokenizer
            .encode_fast(self.clean.apply(text), true)
            .map_err(|error| EncodeError::Tokenize(error.to_string()))?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    /// Texts by position, grouped so that each group has one length and at most `most` texts, and the length.
    ///
    /// With [`Padding::Longest`] the groups are of equal natural length, so nothing is padded: no time is spent on padding,
    /// and a text's vector cannot depend on its neighbours.
    pub fn groups(&self, texts: &[Ids], most: usize) -> Vec<(usize, Vec<usize>)> {
        let length = |i: usize| match self.pad {
            Padding::Longest => texts[i].len().max(1),
            Padding::MaxLength => self.context_length,
        };
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| length(i));
        order
            .chunk_by(|&a, &b| length(a) == length(b))
            .flat_map(|equal| equal.chunks(most).map(|group| (length(group[0]), group.to_vec())))
            .collect()
    }

    /// Ids and attention mask (1 for a token, 0 for padding) of one text, appended up to `length`.
    pub fn pad(&self, text: &Ids, length: usize, ids: &mut Vec<i64>, mask: &mut Vec<i64>) {
        for i in 0..length {
            ids.push(text.get(i).copied().unwrap_or(self.pad_id));
            mask.push(i64::from(i < text.len()));
        }
    }
}

/// Why these bytes are no tokenizer, when that can be seen: what downloads leave in its place comes before the parser's words.
fn unreadable(json: &[u8], parser: &str) -> String {
    let start = json.trim_ascii_start();
    if start.is_empty() {
        "is empty; download it again".into()
    } else if start.starts_with(b"version https://git-lfs") {
        "is a Git LFS pointer, not the file; run `git lfs pull` in its repository, or download the file itself".into()
    } else if start.starts_with(b"<") {
        "is a web page, not JSON; download the file itself".into()
    } else if !start.starts_with(b"{") {
        format!("is not JSON ({parser}); a Hugging Face tokenizer.json belongs here")
    } else if serde_json::from_slice::<serde::de::IgnoredAny>(json).is_err_and(|error| error.is_eof()) {
        format!("ends in the middle ({parser}): only partly downloaded; download it again")
    } else {
        format!("is not a Hugging Face tokenizer.json ({parser}); export it again with models/export")
    }
}
