//! What tantivy keeps of an image: its id, the words of captions and file name for ranking, and one typed column per
//! attribute for filters.
//!
//! Attributes lie in columns and in no inverted index: a filter is evaluated once per snapshot, a scan of a column takes a
//! millisecond per million images, and columns of numbers compare exactly. Texts are stored in lower case, so that comparing
//! them takes no notice of case.

use std::collections::BTreeMap;

use pictor_core::{Attribute, ImageId, ImageRecord};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, OwnedValue, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::time::format_description::well_known::Rfc3339;
use tantivy::time::{Date, Duration, Month, OffsetDateTime};
use tantivy::{DateTime, TantivyDocument};

/// The JSON field whose keys are attribute names.
pub(super) const ATTRIBUTES: &str = "attributes";
/// The one name of a filter that is no attribute: free text over captions.
pub(super) const CAPTION: &str = "caption";

#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) id: Field,
    pub(super) captions: Field,
    pub(super) name: Field,
    attributes: Field,
}

/// The schema: the id to delete by and to answer with; captions stemmed as English, with positions for phrases; file-name words as
/// they are; columns of attributes.
pub(super) fn schema() -> (Schema, Fields) {
    let words = |tokenizer: &str, option| {
        let indexing = TextFieldIndexing::default().set_tokenizer(tokenizer).set_index_option(option);
        TextOptions::default().set_indexing_options(indexing)
    };
    let mut builder = Schema::builder();
    let id = builder.add_u64_field("id", INDEXED | FAST);
    let captions =
        builder.add_text_field("captions", words("en_stem", IndexRecordOption::WithFreqsAndPositions));
    let name = builder.add_text_field("name", words("default", IndexRecordOption::WithFreqs));
    let attributes = builder.add_json_field(ATTRIBUTES, FAST);
    (builder.build(), Fields { id, captions, name, attributes })
}

/// What the index keeps of an image.
pub(super) fn document(fields: &Fields, id: ImageId, record: &ImageRecord) -> TantivyDocument {
    let mut document = TantivyDocument::new();
    document.add_u64(fields.id, id.0);
    for caption in &record.captions {
        document.add_text(fields.captions, caption);
    }
    document.add_text(fields.name, file_stem(&record.uri));
    document.add_object(fields.attributes, columns(record));
    document
}

/// The attributes of an image, those that people gave and then those that are known anyway, which go before.
fn columns(record: &ImageRecord) -> BTreeMap<String, OwnedValue> {
    let given = record.attributes.iter().map(|(name, value)| (column_name(name), column_value(value)));
    let mut columns: BTreeMap<_, _> = given.collect();
    let mut known = |name: &str, value| columns.insert(name.into(), value);
    known("uri", OwnedValue::Str(record.uri.to_lowercase()));
    known("bytes", OwnedValue::U64(record.bytes));
    if let Some(size) = record.size {
        known("width", OwnedValue::I64(size.width.into()));
        known("height", OwnedValue::I64(size.height.into()));
    }
    if let Some(nanoseconds) = record.modified_ns.and_then(|ns| i64::try_from(ns).ok()) {
        known("modified", OwnedValue::Date(DateTime::from_timestamp_nanos(nanoseconds)));
    }
    columns
}

fn column_value(value: &Attribute) -> OwnedValue {
    match value {
        Attribute::Bool(value) => OwnedValue::Bool(*value),
        Attribute::Integer(value) => OwnedValue::I64(*value),
        Attribute::Float(value) => OwnedValue::F64(*value),
        Attribute::Text(text) => match moments(text) {
            Some((start, _)) => OwnedValue::Date(DateTime::from_timestamp_nanos(start)),
            None => OwnedValue::Str(text.to_lowercase()),
        },
    }
}

/// The column of an attribute. tantivy keeps control characters for itself.
pub(super) fn column_name(name: &str) -> String {
    name.replace(char::is_control, "\u{fffd}")
}

/// The first and the last nanosecond since the Unix epoch that a date means: a day in UTC for `2020-05-17`, one moment for
/// `2020-05-17T12:00:00Z`. `None` for another text, and for dates before 1678 or after 2261.
pub(super) fn moments(text: &str) -> Option<(i64, i64)> {
    let nanoseconds = |moment: OffsetDateTime| i64::try_from(moment.unix_timestamp_nanos()).ok();
    // All dates begin with a digit, and most texts do not.
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(day) = day(text) {
        let start = day.midnight().assume_utc();
        return Some((nanoseconds(start)?, nanoseconds(start + Duration::days(1))? - 1));
    }
    let moment = nanoseconds(OffsetDateTime::parse(text, &Rfc3339).ok()?)?;
    Some((moment, moment))
}

/// `YYYY-MM-DD`.
fn day(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<u16>().ok()
    };
    let month = Month::try_from(u8::try_from(number(5..7)?).ok()?).ok()?;
    Date::from_calendar_date(number(0..4)?.into(), month, u8::try_from(number(8..10)?).ok()?).ok()
}

/// The last component of a uri without its extension: the part of a path that people name.
fn file_stem(uri: &str) -> &str {
    let name = uri.rsplit('/').next().unwrap_or(uri);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_of_uris() {
        for (uri, stem) in
            [("/a/b.c.jpg", "b.c"), ("/a/.hidden", ".hidden"), ("x", "x"), ("", ""), ("/a/", "")]
        {
            assert_eq!(file_stem(uri), stem);
        }
    }

    #[test]
    fn dates_are_days_or_moments() {
        const DAY: i64 = 86_400_000_000_000;
        assert_eq!(moments("1970-01-01"), Some((0, DAY - 1)));
        assert_eq!(moments("1970-01-02T00:00:00Z"), Some((DAY, DAY)));
        assert_eq!(moments("1970-01-01T01:00:00.000000001+01:00"), Some((1, 1)));
        assert_eq!(moments("2024-02-29").map(|(start, end)| end - start), Some(DAY - 1));
        for text in [
            "",
            "dog",
            "2023-02-29",
            "2020-1-1",
            "2020-13-01",
            "2020-01-01 ",
            "2020",
            "2020-01",
            "+020-01-01",
            "20é-01-01",
            "1601-01-01",
            "9999-01-01",
            "2020-01-01T12:00",
            "12:00",
            "2020-01-01 12:00",
        ] {
            assert_eq!(moments(text), None, "{text}");
        }
    }
}
