//! A parquet file of what is known of the images, read row by row.
//!
//! By column name, as clip-retrieval and img2dataset write them: `image_path`, else `url`, else `key` says where the image is;
//! `caption` is a caption; `width` and `height`, else `original_width` and `original_height`, are its size; every other
//! column of single values is an attribute of its own name. Columns that hold lists or structs, or values of no kind that a filter
//! could compare, are left out and named in [`Metadata::ignored`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::{Type, TypePtr};
use pictor_core::{Attribute, Attributes, ContentHash, RasterSize};

use super::time::rfc3339;
use super::{ATTRIBUTE_PREFIX, MARK, MARK_JSON, MARK_MODEL, MARK_VERSION};
use crate::IndexError;

/// An open file.
pub(crate) struct Metadata {
    path: PathBuf,
    rows: u64,
    columns: Vec<Column>,
    /// `None` when no column can be read.
    iter: Option<RowIter<'static>>,
    model: Option<String>,
    ignored: BTreeMap<String, String>,
}

/// A column that is read.
struct Column {
    role: Role,
    name: String,
    /// For a column of timestamps.
    unit: Option<TimeUnit>,
}

/// What a column is to us.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// One of the three that can say where the image is; 0 is asked first.
    Where(usize),
    Caption,
    /// JSON list of all captions, in a file written here.
    Captions,
    /// Columns and rows of pixels: of the image, or (1) of its original.
    Width(usize),
    Height(usize),
    ContentHash,
    Bytes,
    Modified,
    Attribute,
    /// An attribute whose texts are JSON values.
    JsonAttribute,
}

/// What a row says of its image.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Described {
    /// Where it is; `None` when the row does not say.
    pub(crate) uri: Option<String>,
    /// What people wrote about it.
    pub(crate) captions: Vec<String>,
    /// Its size.
    pub(crate) size: Option<RasterSize>,
    /// Everything else.
    pub(crate) attributes: Attributes,
    /// Only from a file that Pictor wrote.
    pub(crate) content_hash: Option<ContentHash>,
    /// Length and time of change of its file, only from a file that Pictor wrote.
    pub(crate) file: Option<(u64, Option<i128>)>,
}

impl Metadata {
    /// Opens a file; only its footer is read.
    ///
    /// # Errors
    /// [`IndexError::Metadata`].
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let wrong = |reason: String| IndexError::Metadata { path: path.to_owned(), reason };
        let file = fs_err::File::open(path).map_err(|error| wrong(error.to_string()))?;
        let reader = SerializedFileReader::new(file.into_file()).map_err(|error| wrong(error.to_string()))?;
        let footer = reader.metadata().file_metadata();
        let rows = u64::try_from(footer.num_rows()).map_err(|_| wrong("a negative number of rows".into()))?;
        let marks = footer.key_value_metadata().map_or(&[][..], Vec::as_slice);
        let ours = match mark(marks, MARK) {
            None => false,
            Some(MARK_VERSION) => true,
            Some(other) => {
                return Err(wrong(format!(
                    "its layout is version {other} of Pictor's, this program reads {MARK_VERSION}; use a newer Pictor"
                )));
            }
        };
        let model = mark(marks, MARK_MODEL).map(str::to_owned);
        let json: Vec<String> = match mark(marks, MARK_JSON).map(serde_json::from_str) {
            Some(Err(error)) => return Err(wrong(format!("{MARK_JSON} of its footer: {error}"))),
            Some(Ok(names)) => names,
            None => vec![],
        };

        let root = footer.schema().clone();
        let (mut columns, mut read, mut ignored) = (vec![], vec![], BTreeMap::new());
        for field in root.get_fields() {
            let name = field.name();
            match unreadable(field) {
                Some(reason) => {
                    ignored.insert(name.to_owned(), reason.to_owned());
                }
                None if (ours && name == "id") || name == "__index_level_0__" => {}
                None => {
                    columns.push(Column::new(field, ours, &json));
                    read.push(field.clone());
                }
            }
        }
        let iter = if read.is_empty() { None } else { Some(rows_of(&root, read, reader)) };
        let iter = iter.transpose().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { path: path.to_owned(), rows, columns, iter, model, ignored })
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Name and fingerprint of the model whose vectors these rows describe, in a file that Pictor wrote.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The columns that are not read, with the reason.
    pub(crate) fn ignored(&self) -> &BTreeMap<String, String> {
        &self.ignored
    }

    /// What the next row says.
    ///
    /// # Errors
    /// [`IndexError::Metadata`] when the file is damaged, or ends before its number of rows.
    pub(crate) fn next_row(&mut self) -> Result<Described, IndexError> {
        let wrong = |reason: String| IndexError::Metadata { path: self.path.clone(), reason };
        let Some(iter) = &mut self.iter else { return Ok(Described::default()) };
        match iter.next() {
            None => Err(wrong(format!("it ends before its {} rows", self.rows))),
            Some(Err(error)) => Err(wrong(error.to_string())),
            Some(Ok(row)) => describe(&self.columns, row).map_err(wrong),
        }
    }
}

fn mark<'a>(marks: &'a [KeyValue], key: &str) -> Option<&'a str> {
    marks.iter().find(|mark| mark.key == key)?.value.as_deref()
}

fn rows_of(
    root: &Type,
    read: Vec<TypePtr>,
    reader: SerializedFileReader<std::fs::File>,
) -> parquet::errors::Result<RowIter<'static>> {
    let projection = Type::group_type_builder(root.name()).with_fields(read).build()?;
    RowIter::from_file_into(Box::new(reader)).project(Some(projection))
}

/// Why a column cannot be read, if it cannot. The list of what can is whole: for other types the row reader panics.
fn unreadable(field: &Type) -> Option<&'static str> {
    use ConvertedType as C;
    if !field.is_primitive() || field.get_basic_info().repetition() == Repetition::REPEATED {
        return Some("it holds lists or structs");
    }
    let info = field.get_basic_info();
    let converted = info.converted_type();
    let known = match field.get_physical_type() {
        PhysicalType::BOOLEAN | PhysicalType::FLOAT | PhysicalType::DOUBLE | PhysicalType::INT96 => true,
        PhysicalType::INT32 => [
            C::NONE,
            C::INT_8,
            C::INT_16,
            C::INT_32,
            C::UINT_8,
            C::UINT_16,
            C::UINT_32,
            C::DATE,
            C::TIME_MILLIS,
            C::DECIMAL,
        ]
        .contains(&converted),
        PhysicalType::INT64 => [
            C::NONE,
            C::INT_64,
            C::UINT_64,
            C::TIME_MICROS,
            C::TIMESTAMP_MILLIS,
            C::TIMESTAMP_MICROS,
            C::DECIMAL,
        ]
        .contains(&converted),
        PhysicalType::BYTE_ARRAY => [C::NONE, C::UTF8, C::ENUM, C::JSON, C::DECIMAL].contains(&converted),
        PhysicalType::FIXED_LEN_BYTE_ARRAY => {
            converted == C::DECIMAL || info.logical_type_ref() == Some(&LogicalType::Float16)
        }
    };
    (!known).then_some("its values are of no kind that an attribute can have")
}

impl Column {
    fn new(field: &Type, ours: bool, json: &[String]) -> Self {
        let name = field.name();
        let unit = match field.get_basic_info().logical_type_ref() {
            Some(LogicalType::Timestamp(timestamp)) => Some(timestamp.unit),
            _ => None,
        };
        // Its nanoseconds are wanted as they are.
        let unit = unit.filter(|_| !(ours && name == "modified"));
        let role = match name {
            "image_path" => Role::Where(0),
            "caption" => Role::Caption,
            "width" => Role::Width(0),
            "height" => Role::Height(0),
            "captions" if ours => Role::Captions,
            "content_hash" if ours => Role::ContentHash,
            "bytes" if ours => Role::Bytes,
            "modified" if ours => Role::Modified,
            "url" if !ours => Role::Where(1),
            "key" if !ours => Role::Where(2),
            "original_width" if !ours => Role::Width(1),
            "original_height" if !ours => Role::Height(1),
            _ if json.iter().any(|column| column == name) => Role::JsonAttribute,
            _ => Role::Attribute,
        };
        let name = if ours { name.strip_prefix(ATTRIBUTE_PREFIX).unwrap_or(name) } else { name };
        Self { role, name: name.to_owned(), unit }
    }
}

fn describe(columns: &[Column], row: Row) -> Result<Described, String> {
    let mut described = Described::default();
    let mut places: [Option<(&str, Attribute)>; 3] = [const { None }; 3];
    let mut sides: [[Option<(&str, Attribute)>; 2]; 2] = [const { [const { None }; 2] }; 2];
    let (mut bytes, mut modified) = (None, None);
    for (column, (_, field)) in columns.iter().zip(row.into_columns()) {
        let Some(value) = attribute(field, column.unit) else { continue };
        let name = column.name.as_str();
        match (column.role, value) {
            (Role::Where(rank), value) => places[rank] = Some((name, value)),
            (Role::Width(of), value) => sides[of][0] = Some((name, value)),
            (Role::Height(of), value) => sides[of][1] = Some((name, value)),
            (Role::Caption, value) => {
                // A file written here repeats the first caption in `captions`, which says more.
                let caption = plain(&value);
                if described.captions.is_empty() && !caption.is_empty() {
                    described.captions.push(caption);
                }
            }
            (Role::Captions, value) => {
                described.captions = serde_json::from_str(&plain(&value))
                    .map_err(|error| format!("captions are no JSON list of texts: {error}"))?;
            }
            (Role::ContentHash, value) => described.content_hash = Some(plain(&value).parse()?),
            (Role::Bytes, Attribute::Integer(n)) => bytes = u64::try_from(n).ok(),
            (Role::Modified, Attribute::Integer(n)) => modified = Some(i128::from(n)),
            (Role::Bytes | Role::Modified, other) => {
                return Err(format!("{name} is {other:?}, expected an integer"));
            }
            (Role::JsonAttribute, value) => {
                let value = serde_json::from_str(&plain(&value))
                    .map_err(|error| format!("{name} is no JSON value: {error}"))?;
                described.attributes.insert(name.to_owned(), value);
            }
            (Role::Attribute, value) => {
                described.attributes.insert(name.to_owned(), value);
            }
        }
    }
    described.file = bytes.map(|bytes| (bytes, modified));
    let mut left_over = vec![];
    for place in places.into_iter().flatten() {
        match plain(&place.1) {
            uri if described.uri.is_none() && !uri.is_empty() => described.uri = Some(uri),
            _ => left_over.push(place),
        }
    }
    for [width, height] in sides {
        let pixels = |side: &Option<(&str, Attribute)>| side.as_ref().and_then(|(_, value)| pixels(value));
        match pixels(&width).zip(pixels(&height)) {
            Some((width, height)) if described.size.is_none() => {
                described.size = Some(RasterSize { width, height });
            }
            _ => left_over.extend([width, height].into_iter().flatten()),
        }
    }
    described.attributes.extend(left_over.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(described)
}

/// A value as an attribute; nothing for a null, a number that is not finite, and bytes that are no text.
fn attribute(field: Field, unit: Option<TimeUnit>) -> Option<Attribute> {
    let moment =
        |value: i64, nanoseconds: i128| rfc3339(i128::from(value) * nanoseconds).map(Attribute::Text);
    Some(match field {
        Field::Null => return None,
        Field::Bool(value) => Attribute::Bool(value),
        Field::Byte(value) => Attribute::Integer(value.into()),
        Field::Short(value) => Attribute::Integer(value.into()),
        Field::Int(value) => Attribute::Integer(value.into()),
        Field::UByte(value) => Attribute::Integer(value.into()),
        Field::UShort(value) => Attribute::Integer(value.into()),
        Field::UInt(value) => Attribute::Integer(value.into()),
        Field::ULong(value) => match i64::try_from(value) {
            Ok(value) => Attribute::Integer(value),
            Err(_) => Attribute::Text(value.to_string()),
        },
        Field::TimestampMillis(value) => return moment(value, 1_000_000),
        Field::TimestampMicros(value) => return moment(value, 1_000),
        Field::Long(value) => match unit {
            None => Attribute::Integer(value),
            Some(TimeUnit::MILLIS) => return moment(value, 1_000_000),
            Some(TimeUnit::MICROS) => return moment(value, 1_000),
            Some(TimeUnit::NANOS) => return moment(value, 1),
        },
        Field::Date(days) => return moment(days.into(), 86_400_000_000_000),
        Field::Float16(value) => return finite(value.to_f64()),
        // By way of its shortest decimal: 0.1 is meant, not 0.10000000149.
        Field::Float(value) => return finite(value.to_string().parse().ok()?),
        Field::Double(value) => return finite(value),
        Field::Str(value) => Attribute::Text(value),
        Field::Bytes(value) => Attribute::Text(String::from_utf8(value.data().to_vec()).ok()?),
        other @ (Field::Decimal(_) | Field::TimeMillis(_) | Field::TimeMicros(_)) => {
            Attribute::Text(other.to_string())
        }
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => return None,
    })
}

fn finite(value: f64) -> Option<Attribute> {
    value.is_finite().then_some(Attribute::Float(value))
}

/// A value as a person would write it.
fn plain(value: &Attribute) -> String {
    match value {
        Attribute::Bool(value) => value.to_string(),
        Attribute::Integer(value) => value.to_string(),
        Attribute::Float(value) => value.to_string(),
        Attribute::Text(value) => value.clone(),
    }
}

/// A side of an image; pandas makes floats of integers among which one is missing.
fn pixels(value: &Attribute) -> Option<u32> {
    let side = match *value {
        Attribute::Integer(n) => u32::try_from(n).ok()?,
        Attribute::Float(x) if x.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&x) => x as u32,
        _ => return None,
    };
    (side > 0).then_some(side)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six rows in two row groups, written by pandas and pyarrow (`tests/data/make.py`).
    fn pandas() -> (Metadata, Vec<Described>) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/metadata_0.parquet");
        let mut metadata = Metadata::open(&path).unwrap();
        let rows = (0..metadata.rows()).map(|_| metadata.next_row().unwrap()).collect();
        (metadata, rows)
    }

    fn text(value: &str) -> Option<Attribute> {
        Some(Attribute::Text(value.into()))
    }

    #[test]
    fn reads_what_pandas_writes() {
        let (mut metadata, rows) = pandas();
        assert_eq!((metadata.rows(), metadata.model()), (6, None));
        let uris: Vec<_> = rows.iter().map(|row| row.uri.as_deref().unwrap()).collect();
        assert_eq!(
            uris,
            [
                "/photos/ä/café.jpg",
                "relative/b.jpg",
                "https://a.example/3",
                "000000003",
                "/photos/雪.jpg",
                "/photos/f.jpg"
            ]
        );
        let captions: Vec<_> = rows.iter().map(|row| row.captions.clone()).collect();
        assert_eq!(captions[0], ["a dog in the snow"]);
        assert!(captions[1].is_empty() && captions[2].is_empty());
        assert_eq!(captions[3..5], [["ein Hund 🐕"], ["雪の中の犬"]]);
        let sizes: Vec<_> = rows.iter().map(|row| row.size.map(|size| (size.width, size.height))).collect();
        assert_eq!(
            sizes,
            [
                Some((640, 480)),
                Some((300, 200)),
                Some((480, 640)),
                Some((50, 40)),
                Some((64, 32)),
                Some((1, 1))
            ]
        );

        let first = &rows[0].attributes;
        let get = |row: usize, name: &str| rows[row].attributes.get(name).cloned();
        assert_eq!(get(0, "license"), text("by"));
        assert_eq!(get(0, "NSFW"), Some(Attribute::Bool(false)));
        assert_eq!(get(0, "similarity"), Some(Attribute::Float(0.1)), "the decimal that was meant");
        assert_eq!([get(2, "similarity"), get(3, "similarity")], [None, None], "NaN and infinity");
        assert_eq!(get(0, "half"), Some(Attribute::Float(1.5)));
        assert_eq!(
            [get(0, "count"), get(1, "count")],
            [text("9223372036854775808"), Some(Attribute::Integer(1))]
        );
        assert_eq!(
            [get(0, "day"), get(2, "day")],
            [text("2024-02-29T00:00:00Z"), text("1969-12-31T00:00:00Z")]
        );
        assert_eq!([get(0, "price"), get(2, "price")], [text("12.30"), text("-0.05")]);
        assert_eq!(get(0, "taken"), text("2024-05-01T12:00:00.123456Z"));
        assert_eq!(get(0, "taken_ns"), text("2024-05-01T12:00:00.123456Z"));
        assert_eq!([get(0, "blob"), get(1, "blob")], [text("text"), None]);
        // What did not say where or how large stays known.
        assert_eq!([get(0, "url"), get(0, "key")], [text("https://a.example/1"), text("000000000")]);
        assert_eq!(get(0, "original_width"), Some(Attribute::Float(4000.0)));
        assert_eq!((get(1, "height"), get(1, "original_width")), (Some(Attribute::Integer(10)), None));
        assert!(!first.contains_key("nothing") && !first.contains_key("image_path"));

        let ignored: Vec<_> = metadata.ignored().keys().map(String::as_str).collect();
        assert_eq!(ignored, ["exif", "tags"]);
        assert!(metadata.next_row().unwrap_err().to_string().contains("ends before its 6 rows"));
    }

    #[test]
    fn a_cut_or_altered_file_is_an_error_or_rows_and_never_a_panic() {
        let whole = fs_err::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/metadata_0.parquet"));
        let whole = whole.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.parquet");
        let read = |bytes: &[u8]| {
            fs_err::write(&path, bytes).unwrap();
            let mut metadata = Metadata::open(&path)?;
            (0..metadata.rows()).try_for_each(|_| metadata.next_row().map(drop))
        };
        read(&whole).unwrap();
        for at in (0..whole.len()).step_by(13) {
            let error = read(&whole[..at]).unwrap_err().to_string();
            assert!(error.contains("m.parquet"), "{error}");
        }
    }
}
