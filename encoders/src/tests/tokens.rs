//! Cleaning and token ids on a thousand hard texts, against open_clip, ftfy, transformers and sentencepiece.
//!
//! `tests/golden/tokens/` holds the texts and what the references made of them with small vocabularies
//! (`tests/golden/make_tokens.py`). `PICTOR_TOKENIZERS` names a directory of the same form with full ones, which
//! `models/export/check_tokens.py` writes.

use std::env;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::bundled_model;
use crate::clean::Clean;
use crate::clean::ftfy::fix_text;
use crate::manifest::{Padding, TextTower, Variants};
use crate::tokenize::TextTokenizer;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    cleaned: Vec<Cleaned>,
    /// What `open-clip-whitespace` makes of a text where it makes anything, to see what went wrong.
    whitespace: Vec<Option<String>>,
    tokenizers: Vec<Case>,
}

#[derive(Deserialize)]
struct Cleaned {
    recipe: Clean,
    /// The hashes of the cleaned texts, one after the other.
    hashes: String,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// File beside the golden one, or in the bundled model.
    tokenizer: PathBuf,
    clean: Clean,
    context_length: usize,
    pad_id: u32,
    /// The hashes of the texts' ids, in decimal and separated by spaces, one after the other.
    hashes: String,
    /// The script that made it says why; differences are counted only.
    #[serde(default)]
    known_to_differ: bool,
}

impl Golden {
    fn read(directory: &Path) -> Self {
        serde_json::from_slice(&fs_err::read(directory.join("texts.json")).unwrap()).unwrap()
    }

    /// One line for each cleaned text that is not the reference's.
    fn cleaning_differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        for (text, expected) in self.texts.iter().zip(&self.whitespace) {
            let ours = Clean::OpenClipWhitespace.apply(text);
            let expected = expected.as_ref().unwrap_or(text);
            if ours != *expected {
                differences.push(format!("{text:?}\n    {ours:?}\n    {expected:?}"));
            }
        }
        for Cleaned { recipe, hashes } in &self.cleaned {
            assert_eq!(hashes.len(), 8 * self.texts.len());
            for (text, hash) in self.texts.iter().zip(hashes.as_bytes().chunks(8)) {
                let ours = recipe.apply(text);
                if fnv(&ours).as_bytes() != hash {
                    differences.push(format!("{recipe:?} {text:?}\n    {ours:?}"));
                }
            }
        }
        differences
    }

    /// One line for each text whose ids are not the reference's; prints the count of each tokenizer.
    fn id_differences(&self, directory: &Path) -> Vec<String> {
        let mut differences = Vec::new();
        for case in &self.tokenizers {
            let before = differences.len();
            let file = directory.join(&case.tokenizer);
            let tower = tower(case.clean, case.context_length, case.pad_id);
            let tokenizer = TextTokenizer::new(&fs_err::read(file).unwrap(), &tower).unwrap();
            assert_eq!(case.hashes.len(), 8 * self.texts.len());
            for (text, hash) in self.texts.iter().zip(case.hashes.as_bytes().chunks(8)) {
                let ids = tokenizer.ids(text).unwrap();
                assert!(ids.len() <= case.context_length);
                let ids = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
                if fnv(&ids).as_bytes() != hash {
                    differences.push(format!("{} {text:?}\n    {ids}", case.name));
                }
            }
            println!("{}: {} of {} texts differ", case.name, differences.len() - before, self.texts.len());
            if case.known_to_differ {
                differences.truncate(before);
            }
        }
        differences
    }
}

fn tower(clean: Clean, context_length: usize, pad_id: u32) -> TextTower {
    TextTower {
        features: None,
        file: "text.onnx".into(),
        input_ids: "input_ids".into(),
        attention_mask: None,
        output: "text_embeds".into(),
        variants: Variants::default(),
        tokenizer: "tokenizer.json".into(),
        clean,
        context_length,
        pad_id,
        pad: Padding::MaxLength,
    }
}

/// FNV-1a, 32 bits, in hexadecimal: for telling texts apart in a small file.
fn fnv(text: &str) -> String {
    let hash =
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokens")
}

fn assert_none(differences: &[String]) {
    let first = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} differ:\n{first}", differences.len());
}

#[test]
fn cleaned_texts_are_the_references() {
    let golden = Golden::read(&committed());
    assert!(golden.texts.len() >= 1000 && golden.cleaned.len() >= 4);
    assert_none(&golden.cleaning_differences());
}

#[test]
fn token_ids_are_the_references() {
    let golden = Golden::read(&committed());
    assert!(golden.tokenizers.len() >= 4);
    assert_none(&golden.id_differences(&committed()));
}

#[test]
fn token_ids_of_full_vocabularies_are_the_references() {
    let Some(directory) = env::var_os("PICTOR_TOKENIZERS").map(PathBuf::from) else {
        eprintln!(
            "note: PICTOR_TOKENIZERS is not set (models/export/check_tokens.py sets it), so only small ones were tested"
        );
        return;
    };
    let golden = Golden::read(&directory);
    let mut differences = golden.cleaning_differences();
    println!("cleaning: {} differences", differences.len());
    differences.extend(golden.id_differences(&directory));
    assert_none(&differences);
}

#[test]
fn what_is_not_a_tokenizer_says_so() {
    let sound = fs_err::read(bundled_model().join("tokenizer.json")).unwrap();
    let half = &sound[..sound.len() / 2];
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    let wrong: [(&[u8], &str); 7] = [
        (half, "only partly downloaded; download it again"),
        (pointer, "Git LFS pointer"),
        (b"<!doctype html>", "web page"),
        (b"", "is empty; download it again"),
        (b"Entry not found", "is not JSON"),
        (b"{\"model_type\": \"clip\"}", "not a Hugging Face tokenizer.json"),
        (
            b"{\"version\": \"1.0\", \"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": [\"a b\"]}}",
            "tokenizer.json",
        ),
    ];
    for (bytes, expected) in wrong {
        let error = TextTokenizer::new(bytes, &tower(Clean::None, 77, 0)).map(drop).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let error = TextTokenizer::new(&sound, &tower(Clean::None, 77, 49_407)).map(drop).unwrap_err();
    assert!(error.contains("pad_id is 49407"), "{error}");
    let error = TextTokenizer::new(&sound, &tower(Clean::None, 2, 0)).map(drop).unwrap_err();
    assert!(error.contains("context_length is only 2"), "{error}");
}

#[test]
fn names_are_the_manifests() {
    let names = [
        "none",
        "lowercase",
        "open-clip-whitespace",
        "open-clip-lower",
        "open-clip-canonicalize",
        "blip-caption",
    ];
    for name in names {
        let recipe: Clean = serde_json::from_value(Value::from(name)).unwrap();
        assert_eq!(serde_json::to_value(recipe).unwrap(), name);
    }
}

#[test]
fn hostile_texts_end() {
    let chain = format!("é&{}lt;", "amp;".repeat(200_000));
    assert!(Clean::OpenClipLower.apply(&chain).len() < 10);
    for unit in ["Ã", "Ã ", "Ã©", "雪â€", "&", "&#", "a\u{301}\u{323}", "\u{85}", "\x1b[", "ðŸ", "&amp;"]
    {
        let text = unit.repeat(100_000);
        for clean in [Clean::OpenClipCanonicalize, Clean::BlipCaption] {
            assert!(clean.apply(&text).len() <= 2 * text.len());
        }
    }
}

/// Any characters, with a bent for those that the fixes look at.
fn odd_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        prop::char::range('\0', '\u{2ff}').prop_map(String::from),
        prop::char::range('\u{370}', '\u{45f}').prop_map(String::from),
        prop::char::range('\u{2000}', '\u{22ff}').prop_map(String::from),
        prop::char::range('\u{ff00}', '\u{ffff}').prop_map(String::from),
        prop::sample::select(vec![
            "&", "#", "x41", ";", "&amp", "&lt;", "<", "\r\n", "\x1b[1", "m", "â€", "Ã", " ", "ð", "\u{fffd}"
        ])
        .prop_map(String::from),
        prop::collection::vec(0x80_u8..=0xff, 1..6)
            .prop_map(|bytes| bytes.into_iter().map(char::from).collect()),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn cleaning_settles(text in odd_text()) {
        // Of one line, which ftfy fixes until it stays; line ends that a fix makes are seen only by the next call.
        let once = fix_text(&text);
        if !text.contains('\n') && !once.contains('\n') {
            prop_assert_eq!(fix_text(&once), once);
        }
        let once = Clean::BlipCaption.apply(&text);
        prop_assert_eq!(Clean::BlipCaption.apply(&once), once.as_ref());
        for clean in [Clean::OpenClipWhitespace, Clean::OpenClipLower, Clean::OpenClipCanonicalize] {
            let cleaned = clean.apply(&text);
            prop_assert_eq!(cleaned.split_whitespace().collect::<Vec<_>>().join(" "), cleaned.as_ref());
        }
    }
}
