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
//!
//! What must stay true: images keep the order of their first mention, captions the order of the file; nothing is dropped in
//! silence, so a line that makes no sense is an error with its number.

use std::collections::HashMap;

use serde::Deserialize;
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
        Some('{') => read_dataset(text, &mut entries)?,
        Some('[') => read_list(text, &mut entries)?,
        Some(_) if first_line(text).contains('\t') => read_tabs(text, &mut entries)?,
        Some(_) => read_commas(text, &mut entries)?,
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
        self.list.push(CaptionEntry { image: image.into(), split: None, captions: Vec::new() });
        self.by_image.insert(image.into(), at);
        at
    }

    fn add(&mut self, at: usize, caption: &str) {
        self.list[at].captions.push(caption.trim().into());
    }
}

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
}

#[derive(Deserialize)]
struct Sentence {
    raw: String,
}

#[derive(Deserialize)]
struct Annotation {
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

fn read_dataset(text: &str, entries: &mut Entries) -> Result<(), CaptionsError> {
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
        by_id.insert(id, entries.of(&name));
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
        entries.add(at, &caption);
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
        sentences.iter().for_each(|sentence| entries.add(at, &sentence.raw));
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

fn read_list(text: &str, entries: &mut Entries) -> Result<(), CaptionsError> {
    for row in serde_json::from_str::<Vec<Row>>(text)? {
        let at = entries.of(&row.image);
        match row.caption {
            OneOrMany::One(caption) => entries.add(at, &caption),
            OneOrMany::Many(captions) => captions.iter().for_each(|caption| entries.add(at, caption)),
        }
    }
    Ok(())
}

/// Headings that files in the wild use. Both must match for a first line to be a heading.
const IMAGE_HEADINGS: [&str; 9] =
    ["image", "image_name", "file", "filename", "file_name", "filepath", "path", "uri", "name"];
const CAPTION_HEADINGS: [&str; 6] = ["caption", "captions", "text", "title", "sentence", "comment"];

fn is_heading(known: &[&str], field: &str) -> bool {
    known.iter().any(|heading| field.trim().eq_ignore_ascii_case(heading))
}

fn first_line(text: &str) -> &str {
    text.trim_start().lines().next().unwrap_or_default()
}

/// Flickr token files and TSV. Quotes are plain characters here: Flickr captions contain lone ones.
fn read_tabs(text: &str, entries: &mut Entries) -> Result<(), CaptionsError> {
    let mut heading_may_come = true;
    for (line, content) in (1..).zip(text.lines()) {
        if content.trim().is_empty() {
            continue;
        }
        let Some((name, caption)) = content.split_once('\t') else {
            return Err(CaptionsError::Line { line, reason: "no tab".into() });
        };
        let is_first = std::mem::take(&mut heading_may_come);
        if is_first && is_heading(&IMAGE_HEADINGS, name) && is_heading(&CAPTION_HEADINGS, caption) {
            continue;
        }
        add_line(line, without_caption_number(name.trim()), caption, entries)?;
    }
    Ok(())
}

/// `name.jpg#3` → `name.jpg`. A name without a number is left as it is.
fn without_caption_number(name: &str) -> &str {
    match name.rsplit_once('#') {
        Some((image, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => image,
        _ => name,
    }
}

fn add_line(line: u64, name: &str, caption: &str, entries: &mut Entries) -> Result<(), CaptionsError> {
    if name.is_empty() {
        return Err(CaptionsError::Line { line, reason: "the image name is empty".into() });
    }
    let at = entries.of(name);
    entries.add(at, caption);
    Ok(())
}

/// CSV: two columns, or more with a heading that says which two.
fn read_commas(text: &str, entries: &mut Entries) -> Result<(), CaptionsError> {
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut columns = None;
    for row in rows.records() {
        let row = row.map_err(|error| CaptionsError::Line {
            line: error.position().map_or(0, csv::Position::line),
            reason: error.to_string(),
        })?;
        let line = row.position().map_or(0, csv::Position::line);
        if columns.is_none() {
            columns = Columns::of_heading(&row);
            if columns.is_some() {
                continue;
            }
        }
        let columns = columns.get_or_insert(Columns { image: 0, caption: 1, width: 2 });
        if row.len() != columns.width {
            // Most often an unquoted caption with commas in it: guessing where the caption starts would be silent damage.
            let reason = format!("{} columns instead of {}", row.len(), columns.width);
            return Err(CaptionsError::Line { line, reason });
        }
        add_line(line, row[columns.image].trim(), &row[columns.caption], entries)?;
    }
    Ok(())
}

/// Where in a CSV row the two things are.
struct Columns {
    image: usize,
    caption: usize,
    width: usize,
}

impl Columns {
    fn of_heading(row: &csv::StringRecord) -> Option<Self> {
        let find = |known: &[&str]| row.iter().position(|field| is_heading(known, field));
        Some(Self { image: find(&IMAGE_HEADINGS)?, caption: find(&CAPTION_HEADINGS)?, width: row.len() })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, Vec<String>)> {
        let entries = parse_captions(text).unwrap_or_else(|error| panic!("{error}"));
        entries.into_iter().map(|entry| (entry.image, entry.captions)).collect()
    }

    fn pair(image: &str, captions: &[&str]) -> (String, Vec<String>) {
        (image.into(), captions.iter().map(|&caption| caption.into()).collect())
    }

    #[test]
    fn coco_keeps_images_in_order_and_images_without_captions() {
        let text = r#"{"info": {"year": 2017},
            "images": [{"id": 9, "file_name": "b.jpg", "height": 4}, {"id": 2, "file_name": "a.jpg"}],
            "annotations": [{"id": 1, "image_id": 2, "caption": " A cat.\n"}, {"image_id": 2, "caption": "Cats"}]}"#;
        assert_eq!(pairs(text), [pair("b.jpg", &[]), pair("a.jpg", &["A cat.", "Cats"])]);
    }

    #[test]
    fn karpathy_in_all_three_shapes() {
        let dataset = r#"{"dataset": "coco", "images": [
            {"filepath": "val2014", "filename": "b.jpg", "split": "test", "sentences": [{"raw": "B", "tokens": []}]},
            {"filename": "a.jpg", "split": "train", "sentences": []}]}"#;
        let entries = parse_captions(dataset).unwrap();
        assert_eq!(pairs(dataset), [pair("val2014/b.jpg", &["B"]), pair("a.jpg", &[])]);
        assert_eq!(entries[0].split.as_deref(), Some("test"));

        let list = r#"[{"image": "x/b.jpg", "caption": ["B", "bee"]}, {"image": "a.jpg", "caption": "A"},
                       {"image": "a.jpg", "caption": "ay", "image_id": "coco_1"}]"#;
        assert_eq!(pairs(list), [pair("x/b.jpg", &["B", "bee"]), pair("a.jpg", &["A", "ay"])]);
    }

    #[test]
    fn token_files_keep_quotes_and_tabs_of_a_caption() {
        let text = "\u{feff}b.jpg#0\tA \"STOP sign .\r\n\r\na #1.jpg#0\tone\ttwo\nb.jpg#1\t\n";
        assert_eq!(pairs(text), [pair("b.jpg", &["A \"STOP sign .", ""]), pair("a #1.jpg", &["one\ttwo"])]);
    }

    #[test]
    fn tsv_and_csv_with_and_without_heading() {
        assert_eq!(pairs("file\tcaption\nb.jpg\tB"), [pair("b.jpg", &["B"])]);
        assert_eq!(pairs("image,caption\nb.jpg,\"B, \"\"bee\"\"\"\n"), [pair("b.jpg", &["B, \"bee\""])]);
        assert_eq!(
            pairs("b.jpg,two\r\nlines.jpg,\"x\ny\"\r\n"),
            [pair("b.jpg", &["two"]), pair("lines.jpg", &["x\ny"])]
        );
        assert_eq!(pairs("id,Caption,File_Name\n7,B,b.jpg"), [pair("b.jpg", &["B"])]);
    }

    #[test]
    fn says_where_it_went_wrong() {
        let error = |text: &str| parse_captions(text).expect_err(text).to_string();
        let cause = |text: &str| parse_captions(text).expect_err(text).source().expect(text).to_string();
        assert!(matches!(parse_captions(" \n"), Err(CaptionsError::Empty)));
        assert!(matches!(parse_captions("image,caption\n"), Err(CaptionsError::Empty)));
        assert!(matches!(parse_captions("[]"), Err(CaptionsError::Empty)));
        assert!(matches!(parse_captions("{\"images\": ["), Err(CaptionsError::Json(_))));
        assert!(error("a.jpg\tA\nb.jpg B").starts_with("line 2: no tab"));
        assert!(error("a.jpg\tA\n\t B").starts_with("line 2: the image name is empty"));
        assert!(error("a.jpg,A\nb.jpg,one,two").starts_with("line 2: 3 columns instead of 2"));
        assert!(error("just words").starts_with("line 1: 1 columns instead of 2"));
        assert!(cause(r#"[{"image": "a.jpg"}]"#).contains("missing field `caption`"));
        assert!(
            error(
                r#"{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "bbox": []}]}"#
            )
            .contains("lacks `caption`")
        );
        assert!(
            error(r#"{"images": [], "annotations": [{"image_id": 5, "caption": "x"}]}"#).contains("id 5")
        );
        assert!(error(r#"{"images": [{"filename": "a"}]}"#).contains("`sentences`"));
    }
}
