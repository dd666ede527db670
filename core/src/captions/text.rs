//! The layouts that are lines of text.

use super::{CaptionsError, Entries};

/// Headings that files in the wild use. Both must match for a first line to be a heading.
const IMAGE_HEADINGS: [&str; 9] =
    ["image", "image_name", "file", "filename", "file_name", "filepath", "path", "uri", "name"];
const CAPTION_HEADINGS: [&str; 6] = ["caption", "captions", "text", "title", "sentence", "comment"];

fn is_heading(known: &[&str], field: &str) -> bool {
    known.iter().any(|heading| field.trim().eq_ignore_ascii_case(heading))
}

pub(super) fn first_line(text: &str) -> &str {
    text.trim_start().lines().next().unwrap_or_default()
}

/// Flickr token files and TSV. Quotes are plain characters here: Flickr captions contain lone ones.
pub(super) fn read_tabs(text: &str, entries: &mut Entries) -> Result<(), CaptionsError> {
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
    entries.add(at, caption, None);
    Ok(())
}

/// CSV: two columns, or more with a heading that says which two.
pub(super) fn read_commas(text: &str, entries: &mut Entries) -> Result<(), CaptionsError> {
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
        let columns = columns.get_or_insert(Columns { image: 0, caption: 1, width: 2, headed: false });
        if row.len() > columns.width
            && let Some((name, caption)) = columns.bare_line(text, row.position())
        {
            add_line(line, name, caption, entries)?;
            continue;
        }
        if row.len() != columns.width {
            // Guessing where the caption starts would be silent damage.
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
    headed: bool,
}

impl Columns {
    fn of_heading(row: &csv::StringRecord) -> Option<Self> {
        let find = |known: &[&str]| row.iter().position(|field| is_heading(known, field));
        Some(Self {
            image: find(&IMAGE_HEADINGS)?,
            caption: find(&CAPTION_HEADINGS)?,
            width: row.len(),
            headed: true,
        })
    }

    /// A line of CLIP_benchmark's Flickr30k list, whose captions hold commas without quotes: under the heading
    /// `image,caption` all that follows an image's file name is its caption.
    fn bare_line<'t>(&self, text: &'t str, position: Option<&csv::Position>) -> Option<(&'t str, &'t str)> {
        if !(self.headed && self.width == 2 && self.image == 0) {
            return None;
        }
        let start = usize::try_from(position?.byte()).ok()?;
        let (name, caption) = first_line(text.get(start..)?).split_once(',')?;
        let name = name.trim();
        let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
        let is_image = matches!(extension.as_str(), "jpg" | "jpeg" | "png" | "webp" | "gif" | "bmp");
        (is_image && !caption.trim_start().starts_with('"')).then_some((name, caption))
    }
}

/// Whether this is `results.csv` of Flickr30k as Kaggle has it: three columns between bars, the middle one a number.
pub(super) fn has_bars(text: &str) -> bool {
    bars(first_line(text)).is_some_and(|(name, number, caption)| {
        let heading = number.eq_ignore_ascii_case("comment_number");
        is_number(number)
            || (heading && is_heading(&IMAGE_HEADINGS, name) && is_heading(&CAPTION_HEADINGS, caption))
    })
}

fn bars(line: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = line.split_once('|')?;
    let (number, caption) = rest.split_once('|')?;
    Some((name.trim(), number.trim(), caption.trim()))
}

fn is_number(field: &str) -> bool {
    !field.is_empty() && field.bytes().all(|b| b.is_ascii_digit())
}

/// `1000092795.jpg| 0| Two young guys …`. Captions hold quotes and commas as they are, and maybe bars.
pub(super) fn read_bars(text: &str, entries: &mut Entries) -> Result<(), CaptionsError> {
    let mut heading_may_come = true;
    for (line, content) in (1..).zip(text.lines()) {
        if content.trim().is_empty() {
            continue;
        }
        let is_first = std::mem::take(&mut heading_may_come);
        let (name, number, caption) = match bars(content) {
            Some(columns) => columns,
            // One line of the published file lacks its second bar: `2199200615.jpg| 4   A dog runs across the grass .`
            None => content
                .split_once('|')
                .and_then(|(name, rest)| {
                    let (number, caption) = rest.trim().split_once(char::is_whitespace)?;
                    Some((name.trim(), number, caption.trim()))
                })
                .ok_or_else(|| CaptionsError::Line { line, reason: "fewer than two bars".into() })?,
        };
        if is_first && !is_number(number) {
            continue;
        }
        if !is_number(number) {
            let reason = format!("'{number}' between the bars is no number");
            return Err(CaptionsError::Line { line, reason });
        }
        add_line(line, name, caption, entries)?;
    }
    Ok(())
}
