//! The sentences that a class is encoded as.
//!
//! | set | prompts a class | source |
//! |---|---|---|
//! | plain | 1 | `a photo of a {c}.`, the CLIP paper's own (Radford et al. 2021, section 3.1.4) |
//! | OpenAI | 80 | `templates` |
//! | SigLIP | 81 | OpenAI's and the bare class name, all canonicalised: big_vision's evaluator (`discriminative_classifier.py`, `clip_paper` of `prompt_engineering.py`) |

use super::templates::OPENAI;
use crate::EvalError;

/// Templates, and how a class name is put into them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompts {
    name: String,
    templates: Vec<String>,
    canonical: bool,
}

impl Prompts {
    /// `a photo of a {c}.` alone.
    pub fn plain() -> Self {
        Self { name: "plain".into(), templates: vec!["a photo of a {c}.".into()], canonical: false }
    }

    /// OpenAI's 80 templates for ImageNet.
    pub fn openai() -> Self {
        Self { name: "openai".into(), templates: OPENAI.map(String::from).into(), canonical: false }
    }

    /// What SigLIP was measured with: OpenAI's 80 templates and the bare name, in lower case and without punctuation. Of a class name
    /// with commas the part before the first is used (`first_class_name_only`).
    pub fn siglip() -> Self {
        let templates = OPENAI.into_iter().chain(["{c}"]).map(|template| around_class(template, canonical));
        Self { name: "siglip".into(), templates: templates.collect(), canonical: true }
    }

    /// Templates from a file: one a line, or a JSON list; the class goes where `{c}` or `{}` stands. `name` is for the report.
    ///
    /// # Errors
    /// [`EvalError::Rows`] when there is no template, or one does not have exactly one place for the class.
    pub fn parse(name: &str, text: &str) -> Result<Self, EvalError> {
        let text = text.trim_start_matches('\u{feff}').trim();
        let templates: Vec<String> = match text.starts_with('[') {
            true => serde_json::from_str(text).map_err(|error| EvalError::Rows {
                reason: format!("{error}; expected a JSON list of templates"),
            })?,
            false => text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect(),
        };
        let templates: Vec<String> = templates.iter().map(|template| template.replace("{}", "{c}")).collect();
        if let Some(bad) = templates.iter().find(|template| template.matches("{c}").count() != 1) {
            let reason = format!("the template '{bad}' must have one {{c}} where the class goes");
            return Err(EvalError::Rows { reason });
        }
        if templates.is_empty() {
            return Err(EvalError::Rows {
                reason: "no prompt template; give one a line, such as: a photo of a {c}.".into(),
            });
        }
        Ok(Self { name: name.into(), templates, canonical: false })
    }

    /// For reports: `plain`, `openai`, `siglip` or what [`Prompts::parse`] was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Prompts a class.
    pub fn len(&self) -> usize {
        self.templates.len()
    }

    /// Never: every set has a template.
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// The prompts of a class, in order; as many as [`Prompts::len`].
    pub fn of(&self, class: &str) -> Vec<String> {
        let class = match self.canonical {
            true => {
                let kept = class.split(',').map(canonical).next().unwrap_or_default();
                kept.trim().to_owned()
            }
            false => class.to_owned(),
        };
        self.templates.iter().map(|template| template.replace("{c}", &class)).collect()
    }
}

/// Applies `f` to the text on both sides of `{c}`, the whole trimmed.
fn around_class(template: &str, f: impl Fn(&str) -> String) -> String {
    let parts: Vec<String> = template.split("{c}").map(f).collect();
    parts.join("{c}").trim().to_owned()
}

/// big_vision's `_canonicalize`: `_` becomes a space, ASCII punctuation goes, lower case, white space in single blanks. Blanks at the
/// ends are left, since a template is canonicalised in two parts.
fn canonical(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().map(|c| if c == '_' { ' ' } else { c }).filter(|c| !c.is_ascii_punctuation()) {
        if !c.is_whitespace() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sets() {
        assert_eq!(Prompts::plain().of("dog"), ["a photo of a dog."]);
        let openai = Prompts::openai().of("dog");
        assert_eq!(
            (openai.len(), openai[0].as_str(), openai[79].as_str()),
            (80, "a bad photo of a dog.", "a tattoo of the dog.")
        );
        let siglip = Prompts::siglip().of("Great_White Shark, white  shark");
        assert_eq!(siglip.len(), 81);
        assert_eq!(siglip[20], "a closeup photo of a great white shark");
        assert_eq!(siglip[80], "great white shark");
        assert!(siglip.iter().all(|prompt| !prompt.contains(['.', ',', '-', '{']) && !prompt.contains("  ")));
        // No template of the published set is there twice.
        let distinct: std::collections::HashSet<&str> = OPENAI.into_iter().collect();
        assert_eq!(distinct.len(), 80);
    }

    #[test]
    fn templates_from_files() {
        let of = |text: &str| Prompts::parse("mine", text).map(|prompts| prompts.of("dog"));
        assert_eq!(of("\u{feff}a {c}\r\n\r\nthe {}.\r\n").unwrap(), ["a dog", "the dog."]);
        assert_eq!(of(r#"["a {c}", "{}"]"#).unwrap(), ["a dog", "dog"]);
        for bad in ["", "[]", "a dog", "{c} {c}", "[1]"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        // What a class name holds is no template.
        assert_eq!(Prompts::plain().of("{c}"), ["a photo of a {c}."]);
    }
}
