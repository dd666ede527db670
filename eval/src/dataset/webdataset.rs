//! Samples of a webdataset: neighbouring members of a shard whose names differ in the extension alone.
//!
//! The rules are webdataset's and CLIP_benchmark's (`build_wds_dataset`): the key is the path up to the first dot of the file name,
//! the image is the first of `.webp`, `.png`, `.jpg`, `.jpeg`; the captions of a retrieval set are the lines of `.txt` as Python's
//! `str.splitlines` splits them. A sample without `.txt` may have them as `caption` or `captions` in `.json`, which is where
//! img2dataset puts them too. What must stay true: each sample is whole, or the shard is refused.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;

use super::archive::{self, Member};
use super::image_ref::ImageRef;
use crate::EvalError;

/// In the order in which CLIP_benchmark prefers them.
const IMAGES: [&str; 4] = ["webp", "png", "jpg", "jpeg"];

/// Bytes of a text member that are read: far more than captions are.
const MOST_TEXT: u64 = 1 << 20;

/// An image and the small members that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Where the image is.
    pub(crate) image: ImageRef,
    /// `0.tar/s0000001.webp`: the shard's file name and the member's name.
    pub(crate) name: String,
    /// The shard.
    pub(crate) shard: PathBuf,
    /// The text members asked for, by extension.
    pub(crate) texts: BTreeMap<String, String>,
}

/// All samples of `shards`, with the text members of the extensions `wanted`.
///
/// # Errors
/// [`EvalError::Format`] when a shard is damaged, or a sample lacks an image or has anything twice or of absurd size.
pub(crate) fn samples(shards: &[PathBuf], wanted: &[&str]) -> Result<Vec<Sample>, EvalError> {
    let mut samples = Vec::new();
    let mut names = HashSet::new();
    for shard in shards {
        let wrong = |reason: String| EvalError::Format { path: shard.clone(), reason };
        let members = archive::members(shard)?;
        let keyed: Vec<(&str, String, &Member)> =
            members.iter().filter_map(|m| key(&m.name).map(|(key, extension)| (key, extension, m))).collect();
        if keyed.is_empty() {
            return Err(wrong(
                "it holds no samples such as s0000000.jpg and s0000000.txt; give a webdataset's shards"
                    .into(),
            ));
        }
        let shard_name = shard.file_name().unwrap_or_default().to_string_lossy();
        let mut file = fs_err::File::open(shard)?;
        for group in keyed.chunk_by(|a, b| a.0 == b.0) {
            let key = group[0].0;
            let mut extensions = HashSet::new();
            if let Some(twice) = group.iter().find(|(_, extension, _)| !extensions.insert(extension)) {
                return Err(wrong(format!("it holds '{}' twice; pack it anew", twice.2.name)));
            }
            let image =
                IMAGES.iter().find_map(|kind| group.iter().find(|(_, extension, _)| extension == kind));
            let Some((_, _, image)) = image else {
                return Err(wrong(format!(
                    "sample '{key}' has no image ({}); pack it anew",
                    IMAGES.join(", ")
                )));
            };
            let mut texts = BTreeMap::new();
            for (_, extension, member) in
                group.iter().filter(|(_, extension, _)| wanted.contains(&extension.as_str()))
            {
                if member.length > MOST_TEXT {
                    return Err(wrong(format!(
                        "'{}' has {} bytes, {MOST_TEXT} are read at most",
                        member.name, member.length
                    )));
                }
                let mut bytes = vec![0; member.length as usize];
                file.seek(SeekFrom::Start(member.offset))?;
                file.read_exact(&mut bytes)?;
                let text = String::from_utf8(bytes)
                    .map_err(|_| wrong(format!("'{}' is no UTF-8; convert it", member.name)))?;
                texts.insert(extension.clone(), text);
            }
            let name = format!("{shard_name}/{}", image.name);
            if !names.insert(name.clone()) {
                return Err(wrong(format!("'{name}' comes twice; every image must be packed once")));
            }
            let Member { name: member, offset, length } = (*image).clone();
            let image = ImageRef::Member { archive: shard.clone(), name: member, offset, length };
            samples.push(Sample { image, name, shard: shard.clone(), texts });
        }
    }
    Ok(samples)
}

/// Splits a path at the first dot of its file name, as webdataset does: `a/b.seg.png` → (`a/b`, `seg.png`), extension in lower case.
/// Names that start with a dot, and webdataset's own `__…__` members, are no samples.
fn key(name: &str) -> Option<(&str, String)> {
    let file_name = name.rsplit('/').next()?;
    let dot = file_name.find('.').filter(|&dot| dot > 0)?;
    if file_name.starts_with("__") && file_name.ends_with("__") {
        return None;
    }
    let split = name.len() - file_name.len() + dot;
    Some((&name[..split], name[split + 1..].to_ascii_lowercase()))
}

/// The captions of a sample, surrounding white space removed.
///
/// # Errors
/// [`EvalError::Format`] when it has neither `.txt` nor a `caption` in `.json`.
pub(super) fn captions(sample: &Sample) -> Result<Vec<String>, EvalError> {
    #[derive(Deserialize)]
    struct Json {
        caption: Option<OneOrMany>,
        captions: Option<OneOrMany>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let wrong = |reason: String| EvalError::Format { path: sample.shard.clone(), reason };
    let captions = match (sample.texts.get("txt"), sample.texts.get("json")) {
        (Some(text), _) => split_lines(text.strip_prefix('\u{feff}').unwrap_or(text)),
        (None, Some(json)) => {
            let json: Json = serde_json::from_str(json)
                .map_err(|error| wrong(format!("the .json of '{}' makes no sense: {error}", sample.name)))?;
            match json.captions.or(json.caption) {
                Some(OneOrMany::One(caption)) => vec![caption],
                Some(OneOrMany::Many(captions)) => captions,
                None => {
                    return Err(wrong(format!(
                        "the .json of '{}' has neither caption nor captions",
                        sample.name
                    )));
                }
            }
        }
        (None, None) => {
            return Err(wrong(format!(
                "'{}' has no .txt with captions; a set of classes (.cls) is for `pictor eval zeroshot`",
                sample.name
            )));
        }
    };
    Ok(captions.into_iter().map(|caption| caption.trim().to_owned()).collect())
}

/// Python's `str.splitlines`, which ends lines at more characters than Rust's `lines`.
fn split_lines(text: &str) -> Vec<String> {
    let is_end = |c| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let text = text.replace("\r\n", "\n");
    text.split_terminator(is_end).map(String::from).collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn keys_and_lines() {
        assert_eq!(key("a.b/s0.seg.PNG"), Some(("a.b/s0", "seg.png".into())));
        assert_eq!((key("dir/._s0.jpg"), key("readme"), key("__x.y__")), (None, None, None));
        assert_eq!(split_lines("a\r\nb\n\nc\u{2028}d\n"), ["a", "b", "", "c", "d"]);
        assert_eq!(split_lines(""), Vec::<String>::new());
        assert_eq!(split_lines("\n"), [""]);
    }
}
