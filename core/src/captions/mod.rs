//! Caption files: one reader for every layout that people have, so that indexing and evaluation agree on what a file says.
//!
//! Why in `core`: the indexer attaches captions to images and the evaluation takes them as ground truth; two readers of one
//! format would drift. It is a pure function from text to entries; whoever calls it does the reading and knows the path.
//!
//! | layout | recognised by | image name |
//! |---|---|---|
//! | official COCO captions JSON | object with `images` and `annotations` | `file_name` |
//! | Karpathy's `dataset_coco.json`, `dataset_flickr30k.json` | object with `images` that carry `sentences` | `filepath/filename`, or `filename` |
//! | Karpathy split as BLIP and LAVIS ship it | list of `{"image", "caption"}`, caption a string or a list | `image` |
//! | Flickr token file | line `name.jpg#0`, tab, caption | the part before `#` |
//! | TSV | line `name`, tab, caption; no quoting | first column |
//! | CSV | commas, RFC 4180 quoting | first column, or by heading |
//! | CLIP_benchmark's Flickr30k list | heading `image,caption`, commas of a caption bare | before the first comma |
//! | Flickr30k `results.csv` | `image_name\| comment_number\| comment` | first column |
//!
//! Ids of images and captions are kept where the layout has COCO's: `id` of `images` and `annotations`, or `cocoid` and `sentid`
//! in `dataset_coco.json` (whose `sentid` is the id of COCO's annotation; Flickr's files number sentences for themselves). Relevance
//! judgements that came later (ECCV Caption, CxC) name captions by them.
//!
//! What must stay true: images keep the order of their first mention, captions the order of the file; nothing is dropped in
//! silence, so a line that makes no sense is an error with its number.

mod json;
mod text;

use std::collections::HashMap;

use thiserror::Error;

/// One image and what a caption file says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionEntry {
    /// The image as the file names it: a file name, or a path relative to a folder that the file does not know.
    pub image: String,
    /// `train`, `val`, `restval`, `test` … where the layout says (`dataset_coco.json` and kin).
    pub split: Option<String>,
    /// The captions in file order, surrounding white space removed. May be empty (COCO lists images without captions), and a
    /// caption may be an empty string when the file has one: whether that counts is for the caller to say.
    pub captions: Vec<String>,
    /// COCO's id of the image, where the file has it.
    pub id: Option<u64>,
    /// COCO's id of each caption, where the file has it; as many as captions.
    pub caption_ids: Vec<Option<u64>>,
}

/// Why text is not a caption file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptionsError {
    /// Nothing but white space, or a heading with nothing below it.
    #[error("the caption file names no image")]
    Empty,
    /// Starts like JSON and is not, or lacks a field that its layout must have.
    #[error("not a caption file in JSON; expected COCO captions, or a Karpathy split")]
    Json(#[from] serde_json::Error),
    /// JSON of another kind, such as COCO instances.
    #[error(
        "JSON without captions: {0}; expected COCO captions (`images`, `annotations` with `caption`) or a Karpathy \
         split (`images` with `sentences`, or a list of `image` and `caption`)"
    )]
    NoCaptions(&'static str),
    /// An annotation of an image that the file does not list.
    #[error("an annotation names image id {0}, which `images` does not list; the file is damaged or was cut")]
    UnknownImage(String),
    /// A line of a text layout that does not have two columns.
    #[error("line {line}: {reason}; expected an image name and a caption, separated by a tab or a comma")]
    Line {
        /// Line number from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads a caption file of any layout in the table above; the layout is told from the content.
///
/// An image that is named more than once is one entry with all its captions.
///
/// # Errors
/// [`CaptionsError`] with the place in the file, where there is one.
///
/// # Example
/// ```
/// let entries = pictor_core::parse_captions("dog.jpg#0\tA dog .\ndog.jpg#1\tA brown dog .\n")?;
/// assert_eq!(entries[0].image, "dog.jpg");
/// assert_eq!(entries[0].captions, ["A dog .", "A brown dog ."]);
/// # Ok::<(), pictor_core::CaptionsError>(())
/// ```
pub fn parse_captions(text: &str) -> Result<Vec<CaptionEntry>, CaptionsError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut entries = Entries::default();
    match text.trim_start().chars().next() {
        None => return Err(CaptionsError::Empty),
        Some('{') => json::read_dataset(text, &mut entries)?,
        Some('[') => json::read_list(text, &mut entries)?,
        Some(_) if text::has_bars(text) => text::read_bars(text, &mut entries)?,
        Some(_) if text::first_line(text).contains('\t') => text::read_tabs(text, &mut entries)?,
        Some(_) => text::read_commas(text, &mut entries)?,
    }
    if entries.list.is_empty() {
        return Err(CaptionsError::Empty);
    }
    Ok(entries.list)
}

/// Entries in order of first mention.
#[derive(Default)]
struct Entries {
    list: Vec<CaptionEntry>,
    by_image: HashMap<String, usize>,
}

impl Entries {
    fn of(&mut self, image: &str) -> usize {
        if let Some(&at) = self.by_image.get(image) {
            return at;
        }
        let at = self.list.len();
        self.list.push(CaptionEntry {
            image: image.into(),
            split: None,
            captions: Vec::new(),
            id: None,
            caption_ids: Vec::new(),
        });
        self.by_image.insert(image.into(), at);
        at
    }

    fn add(&mut self, at: usize, caption: &str, id: Option<u64>) {
        self.list[at].captions.push(caption.trim().into());
        self.list[at].caption_ids.push(id);
    }
}

#[cfg(test)]
mod tests;
