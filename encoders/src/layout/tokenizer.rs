//! What a model's tokenizer files say about padding and case.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Folder, wrong};
use crate::error::ModelError;

/// `tokenizer_config.json`.
#[derive(Deserialize)]
struct Config {
    pad_token: Option<Token>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Object { content: String },
}

/// `tokenizer.json`, of which the vocabulary is skipped: a Gemma one is 30 MB.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    padding: Option<FilePadding>,
    normalizer: Option<serde_json::Value>,
    #[allow(dead_code)]
    model: IgnoredAny,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct FilePadding {
    pad_id: u32,
}

pub(super) struct TokenizerFacts {
    /// Token id that fills a text up, if the files say which.
    pub pad_id: Option<u32>,
    /// Whether its normaliser lowers case itself.
    pub lowers_case: bool,
}

impl TokenizerFacts {
    /// Reads `file` and, beside it, `tokenizer_config.json`, which names the padding token; where there is none, the padding that
    /// `file` itself is set to.
    pub fn read(folder: Folder<'_>, file: &str) -> Result<Self, ModelError> {
        let supply = "the tokenizer in the form of the tokenizers library: in Python, \
                      transformers.AutoTokenizer.from_pretrained(MODEL).save_pretrained(DIR) writes it";
        let tokenizer: File = folder.json(file, supply)?;
        let config_file =
            format!("{}tokenizer_config.json", file.strip_suffix("tokenizer.json").unwrap_or_default());
        let config: Option<Config> =
            if folder.has(&config_file) { Some(folder.json(&config_file, "")?) } else { None };
        let pad_id = match config.and_then(|config| config.pad_token) {
            Some(Token::Text(name) | Token::Object { content: name }) => {
                let token = tokenizer.added_tokens.iter().find(|token| token.content == name);
                let id = token.map(|token| token.id).ok_or_else(|| {
                    wrong(&folder.path(&config_file), format!("its pad_token '{name}' is not in {file}"))
                })?;
                Some(id)
            }
            None => tokenizer.padding.map(|padding| padding.pad_id),
        };
        let lowers_case = tokenizer.normalizer.is_some_and(|json| json.to_string().contains("\"Lowercase\""));
        Ok(Self { pad_id, lowers_case })
    }

    /// The padding token, which has to be known.
    pub fn pad_id(&self, folder: Folder<'_>, file: &str) -> Result<u32, ModelError> {
        self.pad_id.ok_or_else(|| {
            let reason = "says nothing of padding, and no tokenizer_config.json beside it names a pad_token; copy that file too";
            wrong(&folder.path(file), reason)
        })
    }
}
