//! The layouts that are JSON.

use std::collections::HashMap;

use serde::Deserialize;

use super::{CaptionsError, Entries};

/// Both layouts that are one JSON object.
#[derive(Deserialize)]
struct Dataset {
    images: Vec<Image>,
    annotations: Option<Vec<Annotation>>,
}

#[derive(Deserialize)]
struct Image {
    // COCO
    id: Option<Id>,
    file_name: Option<String>,
    // Karpathy
    filename: Option<String>,
    filepath: Option<String>,
    split: Option<String>,
    sentences: Option<Vec<Sentence>>,
    cocoid: Option<u64>,
}

#[derive(Deserialize)]
struct Sentence {
    raw: String,
    sentid: Option<u64>,
}

#[derive(Deserialize)]
struct Annotation {
    id: Option<Id>,
    image_id: Id,
    caption: Option<String>,
}

/// Official files number their images; files that others make in the same layout also name them.
#[derive(Deserialize, PartialEq, Eq, Hash)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Name(String),
}

impl Id {
    /// COCO's own ids are numbers from 1.
    fn coco(&self) -> Option<u64> {
        match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            Self::Name(_) => None,
        }
    }
}

pub(super) fn read_dataset(text: &str, entries: &mut Entries) -> Result<(), CaptionsError> {
    let dataset: Dataset = serde_json::from_str(text)?;
    match dataset.annotations {
        Some(annotations) => read_coco(dataset.images, annotations, entries),
        None => read_karpathy(dataset.images, entries),
    }
}

fn read_coco(
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    entries: &mut Entries,
) -> Result<(), CaptionsError> {
    let mut by_id = HashMap::with_capacity(images.len());
    for image in images {
        let (Some(id), Some(name)) = (image.id, image.file_name) else {
            return Err(CaptionsError::NoCaptions("an image lacks `id` or `file_name`"));
        };
        let at = entries.of(&name);
        entries.list[at].id = id.coco();
        by_id.insert(id, at);
    }
    for annotation in annotations {
        let Some(caption) = annotation.caption else {
            return Err(CaptionsError::NoCaptions("an annotation lacks `caption`"));
        };
        let Some(&at) = by_id.get(&annotation.image_id) else {
            return Err(CaptionsError::UnknownImage(match annotation.image_id {
                Id::Number(number) => number.to_string(),
                Id::Name(name) => name,
            }));
        };
        entries.add(at, &caption, annotation.id.as_ref().and_then(Id::coco));
    }
    Ok(())
}

fn read_karpathy(images: Vec<Image>, entries: &mut Entries) -> Result<(), CaptionsError> {
    for image in images {
        let (Some(name), Some(sentences)) = (image.filename, image.sentences) else {
            return Err(CaptionsError::NoCaptions("an image lacks `filename` or `sentences`"));
        };
        let at = match image.filepath.as_deref() {
            None | Some("") => entries.of(&name),
            Some(folder) => entries.of(&format!("{}/{name}", folder.trim_end_matches('/'))),
        };
        entries.list[at].split = image.split;
        entries.list[at].id = image.cocoid;
        for sentence in sentences {
            entries.add(at, &sentence.raw, image.cocoid.and(sentence.sentid));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Row {
    image: String,
    caption: OneOrMany,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub(super) fn read_list(text: &str, entries: &mut Entries) -> Result<(), CaptionsError> {
    for row in serde_json::from_str::<Vec<Row>>(text)? {
        let at = entries.of(&row.image);
        match row.caption {
            OneOrMany::One(caption) => entries.add(at, &caption, None),
            OneOrMany::Many(captions) => captions.iter().for_each(|caption| entries.add(at, caption, None)),
        }
    }
    Ok(())
}
