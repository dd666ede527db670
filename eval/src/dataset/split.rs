//! Which images of a caption file take part.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use pictor_core::CaptionEntry;

use super::SHOWN;
use crate::EvalError;

/// The entries that a split file names, in the order of the caption file.
pub(super) fn listed(
    entries: Vec<CaptionEntry>,
    list: &Path,
    captions_file: &Path,
) -> Result<Vec<CaptionEntry>, EvalError> {
    let names = names(list)?;
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let id = entry.id.map(|id| id.to_string());
        // A name without folder and extension may be the name as it stands: each entry once under each spelling.
        let all: BTreeSet<String> = spellings(&entry.image).into_iter().map(String::from).chain(id).collect();
        for name in all {
            by_name.entry(name).or_default().push(at);
        }
    }
    let mut kept = vec![false; entries.len()];
    let mut unmet = Vec::new();
    for name in &names {
        // Lists of COCO's Karpathy split put the id after the name.
        let before_id = name.rsplit_once(' ').filter(|(_, id)| id.bytes().all(|b| b.is_ascii_digit()));
        let known = [Some(name.as_str()), before_id.map(|(name, _)| name.trim_end())]
            .into_iter()
            .flatten()
            .flat_map(spellings)
            .find_map(|spelling| by_name.get(spelling));
        match known {
            Some(known) => known.iter().for_each(|&at| kept[at] = true),
            None => unmet.push(name),
        }
    }
    if !unmet.is_empty() {
        return Err(EvalError::NotInCaptions {
            list: list.into(),
            captions: captions_file.into(),
            count: unmet.len(),
            first: unmet.into_iter().take(SHOWN).cloned().collect(),
        });
    }
    Ok(entries.into_iter().zip(kept).filter_map(|(entry, kept)| kept.then_some(entry)).collect())
}

/// The images that a split file names: a JSON list of names or of COCO ids, another caption file in JSON, or a name a line.
fn names(list: &Path) -> Result<Vec<String>, EvalError> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Name {
        Id(u64),
        Name(String),
    }
    let text = fs_err::read_to_string(list)?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if !text.starts_with(['[', '{']) {
        return Ok(text.lines().map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect());
    }
    if let Ok(names) = serde_json::from_str::<Vec<Name>>(text) {
        let name = |name| match name {
            Name::Id(id) => id.to_string(),
            Name::Name(name) => name,
        };
        return Ok(names.into_iter().map(name).collect());
    }
    let entries = pictor_core::parse_captions(text)
        .map_err(|source| EvalError::Captions { path: list.into(), source })?;
    Ok(entries.into_iter().map(|entry| entry.image).collect())
}

/// The names by which a list may mean an image: as the file has it, without folders, without extension (Flickr30k's lists hold
/// bare numbers).
fn spellings(image: &str) -> [&str; 3] {
    let file_name = image.rsplit('/').next().unwrap_or(image);
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
    [image, file_name, stem]
}

/// The entries that the caption file itself puts into `split`.
pub(super) fn of_split(
    mut entries: Vec<CaptionEntry>,
    split: &str,
    captions_file: &Path,
) -> Result<Vec<CaptionEntry>, EvalError> {
    let known: BTreeSet<String> = entries.iter().filter_map(|entry| entry.split.clone()).collect();
    if !known.contains(split) {
        return Err(EvalError::UnknownSplit {
            split: split.into(),
            captions: captions_file.into(),
            known: known.into_iter().collect(),
        });
    }
    entries.retain(|entry| entry.split.as_deref() == Some(split));
    Ok(entries)
}
