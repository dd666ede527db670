//! Attribute files: what is known of images besides their pictures, by name, for filters to compare.
//!
//! | layout | recognised by | image name |
//! |---|---|---|
//! | CSV | a heading with commas; RFC 4180 quoting | first column |
//! | TSV | a heading with tabs; RFC 4180 quoting | first column |
//! | JSON Lines | an object a line | the first of the keys `image`, `file`, `file_name`, `filename`, `filepath`, `path`, `uri`, `name` that it has |
//!
//! The heading names the attributes. A column of CSV or TSV holds whole numbers, numbers, or `true` and `false` when all of it does,
//! and otherwise text; a number that would be written otherwise (`007`, a serial number of twenty digits) is text. An empty cell,
//! and `null`, say that the image does not have the attribute.
//!
//! Why beside [`captions`](crate::parse_captions): both attach what a file says to images by name, and are pure functions from text
//! to entries. What must stay true: nothing is dropped in silence, so a line that makes no sense is an error with its number.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use crate::Attribute;

/// Names that mean what an index knows of every image by itself, so that no attribute is called so.
pub const BUILT_IN_ATTRIBUTES: [&str; 6] = ["uri", "width", "height", "bytes", "modified", "caption"];

/// Keys that name the image in JSON Lines, the first one found.
const IMAGE_KEYS: [&str; 8] = ["image", "file", "file_name", "filename", "filepath", "path", "uri", "name"];

/// One image and what an attribute file says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeEntry {
    /// The image as the file names it: a file name, or a path relative to a folder that the file does not know.
    pub image: String,
    /// Values by attribute; `None` where the file says that there is none.
    pub attributes: BTreeMap<String, Option<Attribute>>,
}

/// Why text is not an attribute file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttributesError {
    /// Nothing, or a heading with nothing below it.
    #[error("the attribute file names no image; expected a heading and a line for each image, or JSON Lines")]
    Empty,
    /// A heading without attributes.
    #[error(
        "the heading has one column; expected the image's name and at least one attribute, with commas or tabs between them"
    )]
    NoAttributes,
    /// A name that no attribute can have.
    #[error("an attribute cannot be called '{name}': {reason}; rename it")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A line that cannot be read.
    #[error("line {line}: {reason}")]
    Line {
        /// Line number from 1.
        line: u64,
        /// What is wrong with it, and what was expected.
        reason: String,
    },
}

/// Reads an attribute file of any layout in the table above; the layout is told from the content.
///
/// # Errors
/// [`AttributesError`] with the place in the file, where there is one.
///
/// # Example
/// ```
/// use pictor_core::{Attribute, parse_attributes};
///
/// let entries = parse_attributes("file,camera,iso\ndog.jpg,Canon,100\ncat.jpg,,200\n")?;
/// assert_eq!(entries[0].attributes["iso"], Some(Attribute::Integer(100)));
/// assert_eq!(entries[1].attributes["camera"], None);
/// # Ok::<(), pictor_core::AttributesError>(())
/// ```
pub fn parse_attributes(text: &str) -> Result<Vec<AttributeEntry>, AttributesError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let entries = match text.trim_start().lines().next() {
        None => return Err(AttributesError::Empty),
        Some(line) if line.starts_with('{') => read_lines(text)?,
        Some(line) => read_table(text, if line.contains('\t') { b'\t' } else { b',' })?,
    };
    if entries.is_empty() {
        return Err(AttributesError::Empty);
    }
    Ok(entries)
}

fn check_name(name: &str) -> Result<(), AttributesError> {
    let reason = if name.is_empty() {
        "the name is empty"
    } else if name.chars().any(char::is_control) {
        "it has control characters"
    } else if name == "caption" {
        "captions are given by a file of their own (--captions)"
    } else if BUILT_IN_ATTRIBUTES.contains(&name) {
        "that is known of every image by itself"
    } else {
        return Ok(());
    };
    Err(AttributesError::Name { name: name.into(), reason })
}

/// What all filled cells of a column are, narrowest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Integer,
    Float,
    Bool,
    Text,
}

impl Kind {
    /// The narrowest that a cell is.
    fn of(cell: &str) -> Self {
        let narrower = [Self::Integer, Self::Float, Self::Bool].into_iter();
        narrower.filter(|kind| kind.read(cell).is_some()).min().unwrap_or(Self::Text)
    }

    /// What a column of both is.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            // Neither is the other: 1 and true are two words.
            (Self::Bool, Self::Integer | Self::Float) | (Self::Integer | Self::Float, Self::Bool) => {
                Self::Text
            }
            _ => self.max(other),
        }
    }

    fn read(self, cell: &str) -> Option<Attribute> {
        match self {
            Self::Integer => integer(cell).map(Attribute::Integer),
            Self::Float => float(cell).map(Attribute::Float),
            Self::Bool => cell.to_ascii_lowercase().parse().ok().map(Attribute::Bool),
            Self::Text => Some(Attribute::Text(cell.into())),
        }
    }
}

/// A whole number as a program writes one.
fn integer(cell: &str) -> Option<i64> {
    cell.parse::<i64>().ok().filter(|number| number.to_string() == cell)
}

/// A number with its digits: a whole one that is short enough, or one with a point or an exponent; not `inf`.
fn float(cell: &str) -> Option<f64> {
    let is_plain = integer(cell).is_some() || cell.contains(['.', 'e', 'E']);
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let starts_plain = !digits.starts_with('0') || digits == "0" || digits.starts_with("0.");
    cell.parse().ok().filter(|number: &f64| number.is_finite() && is_plain && starts_plain)
}

fn read_table(text: &str, delimiter: u8) -> Result<Vec<AttributeEntry>, AttributesError> {
    let mut rows = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let wrong = |error: &csv::Error| AttributesError::Line {
        line: error.position().map_or(1, csv::Position::line),
        reason: error.to_string(),
    };
    let heading: Vec<String> = rows
        .headers()
        .map_err(|error| wrong(&error))?
        .iter()
        .skip(1)
        .map(|name| name.trim().to_owned())
        .collect();
    if heading.is_empty() {
        return Err(AttributesError::NoAttributes);
    }
    for (i, name) in heading.iter().enumerate() {
        check_name(name)?;
        if heading[..i].contains(name) {
            return Err(AttributesError::Name { name: name.clone(), reason: "two columns are called so" });
        }
    }
    let mut kinds = vec![None::<Kind>; heading.len()];
    let mut cells = Vec::new();
    for row in rows.records() {
        let row = row.map_err(|error| wrong(&error))?;
        let line = row.position().map_or(0, csv::Position::line);
        if row.len() != heading.len() + 1 {
            let reason = format!("{} columns, the heading has {}", row.len(), heading.len() + 1);
            return Err(AttributesError::Line { line, reason });
        }
        let image = row[0].trim();
        if image.is_empty() {
            return Err(AttributesError::Line { line, reason: "the image name is empty".into() });
        }
        for (kind, cell) in kinds.iter_mut().zip(row.iter().skip(1)) {
            let cell = cell.trim();
            if !cell.is_empty() {
                *kind = Some(kind.map_or(Kind::of(cell), |known| known.with(Kind::of(cell))));
            }
        }
        cells.push(row);
    }
    Ok(cells
        .iter()
        .map(|row| {
            let columns = heading.iter().zip(&kinds).zip(row.iter().skip(1));
            let value = |kind: &Option<Kind>, cell: &str| {
                if cell.is_empty() { None } else { kind.and_then(|kind| kind.read(cell)) }
            };
            let attributes = columns.map(|((name, kind), cell)| (name.clone(), value(kind, cell.trim())));
            AttributeEntry { image: row[0].trim().into(), attributes: attributes.collect() }
        })
        .collect())
}

fn read_lines(text: &str) -> Result<Vec<AttributeEntry>, AttributesError> {
    let mut entries = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        if content.trim().is_empty() {
            continue;
        }
        let wrong = |reason: String| AttributesError::Line { line, reason };
        let mut object: serde_json::Map<String, Value> =
            serde_json::from_str(content).map_err(|error| wrong(format!("no JSON object: {error}")))?;
        let key = IMAGE_KEYS.into_iter().find(|key| object.contains_key(*key));
        let Some(Value::String(image)) = key.and_then(|key| object.remove(key)) else {
            return Err(wrong(format!("no key names the image; expected one of {}", IMAGE_KEYS.join(", "))));
        };
        let mut attributes = BTreeMap::new();
        for (name, value) in object {
            check_name(&name)?;
            let value = match value {
                Value::Null => None,
                Value::Bool(value) => Some(Attribute::Bool(value)),
                Value::String(text) => Some(Attribute::Text(text)),
                Value::Number(number) => Some(match (number.as_i64(), number.as_f64()) {
                    (Some(number), _) => Attribute::Integer(number),
                    (None, Some(number)) if !number.is_infinite() => Attribute::Float(number),
                    _ => Attribute::Text(number.to_string()),
                }),
                Value::Array(_) | Value::Object(_) => {
                    return Err(wrong(format!("'{name}' is a list or an object; expected a single value")));
                }
            };
            attributes.insert(name, value);
        }
        entries.push(AttributeEntry { image, attributes });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Attribute::{Bool, Float, Integer};

    fn text(text: &str) -> Attribute {
        Attribute::Text(text.into())
    }

    fn column(cells: &[&str]) -> Vec<Option<Attribute>> {
        let rows: String = cells.iter().map(|cell| format!("a.jpg,{cell}\n")).collect();
        let entries = parse_attributes(&format!("file,x\n{rows}")).unwrap();
        entries.into_iter().map(|mut entry| entry.attributes.remove("x").unwrap()).collect()
    }

    #[test]
    fn a_column_is_what_all_of_it_is() {
        assert_eq!(column(&["1", "", "-20"]), [Some(Integer(1)), None, Some(Integer(-20))]);
        assert_eq!(column(&["1", "0.5", "1e3"]), [Some(Float(1.0)), Some(Float(0.5)), Some(Float(1000.0))]);
        assert_eq!(column(&["", "true", "False"]), [None, Some(Bool(true)), Some(Bool(false))]);
        assert_eq!(column(&["true", "1"]), [Some(text("true")), Some(text("1"))]);
        assert_eq!(column(&["1", "true"]), [Some(text("1")), Some(text("true"))]);
        assert_eq!(column(&["1", "x"]), [Some(text("1")), Some(text("x"))]);
        for odd in ["007", "00.5", "+1", "inf", "NaN", "12345678901234567890", "2020-01-01", "1,5 "] {
            let cell = format!("\"{odd}\"");
            assert_eq!(column(&["1", &cell])[1], Some(text(odd.trim())), "{odd}");
        }
        assert_eq!(column(&["", ""]), [None, None]);
    }

    #[test]
    fn reads_tables_and_json_lines() {
        let csv = parse_attributes("\u{feff}image, camera ,note\nv/a.jpg,Canon,\"x, \"\"y\"\"\"\n").unwrap();
        assert_eq!(csv[0].image, "v/a.jpg");
        assert_eq!(csv[0].attributes["camera"], Some(text("Canon")));
        assert_eq!(csv[0].attributes["note"], Some(text("x, \"y\"")));
        let tsv = parse_attributes("f\ta,b\nx.jpg\t1\n").unwrap();
        assert_eq!(tsv[0].attributes["a,b"], Some(Integer(1)));
        let lines = "{\"file_name\": \"a.jpg\", \"n\": 1, \"f\": 1.5, \"b\": true, \"t\": \"7\", \"no\": null, \
                     \"big\": 18446744073709551615}\n\n{\"image\": \"b.jpg\"}\n";
        let lines = parse_attributes(lines).unwrap();
        let of = |name: &str| lines[0].attributes[name].clone();
        assert_eq!(
            [of("n"), of("f"), of("b"), of("t")],
            [Some(Integer(1)), Some(Float(1.5)), Some(Bool(true)), Some(text("7"))]
        );
        assert_eq!((of("no"), lines.len()), (None, 2));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (file, said) in [
            ("", "names no image"),
            ("\n \n", "names no image"),
            ("file,x\n", "names no image"),
            ("file\na.jpg\n", "one column"),
            ("file,x\na.jpg,1\nb.jpg\n", "line 3: 1 columns, the heading has 2"),
            ("file,x\n,1\n", "line 2: the image name is empty"),
            ("file,x,x\na,1,2\n", "two columns"),
            ("file,\na,1\n", "the name is empty"),
            ("file,width\na,1\n", "'width'"),
            ("file,caption\na,1\n", "--captions"),
            ("{\"n\": 1}", "line 1: no key names the image"),
            ("{\"image\": \"a\", \"n\": [1]}", "'n' is a list"),
            ("{\"image\": \"a\"}\n{", "line 2: no JSON object"),
        ] {
            let error = parse_attributes(file).expect_err(file).to_string();
            assert!(error.contains(said), "{file:?} → {error}");
        }
    }
}
