//! Writing the metadata file of one part, and which columns it has.

use std::collections::BTreeMap;
use std::io::Write;
use std::mem;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use pictor_core::{Attribute, EncoderSpec, ImageId, ImageRecord};

use super::{ATTRIBUTE_PREFIX, MARK, MARK_JSON, MARK_MODEL, MARK_VERSION, OWN_COLUMNS};

/// Records of one row group: some tens of megabytes at most in memory.
const GROUP: usize = 50_000;

/// The type of an attribute's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// Every value is true or false.
    Bool,
    /// Every value is a whole number.
    Integer,
    /// Every value is a number with a fraction.
    Float,
    /// Every value is a text.
    Text,
    /// Values of several types, each as JSON text.
    Json,
}

/// Adds what `record` has to the columns that all records together need.
pub(crate) fn attribute_columns(columns: &mut BTreeMap<String, ColumnKind>, record: &ImageRecord) {
    for (name, value) in &record.attributes {
        let kind = match value {
            Attribute::Bool(_) => ColumnKind::Bool,
            Attribute::Integer(_) => ColumnKind::Integer,
            Attribute::Float(_) => ColumnKind::Float,
            Attribute::Text(_) => ColumnKind::Text,
        };
        match columns.get_mut(name) {
            None => {
                columns.insert(name.clone(), kind);
            }
            Some(known) if *known != kind => *known = ColumnKind::Json,
            Some(_) => {}
        }
    }
}

/// Writes records, in row groups.
pub(crate) struct MetadataWriter<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    attributes: Vec<(String, ColumnKind)>,
    pending: Vec<(ImageId, ImageRecord)>,
}

impl<W: Write + Send> MetadataWriter<W> {
    /// Starts a file of records whose vectors `spec` made, with these attribute columns.
    pub(crate) fn new(
        file: W,
        spec: &EncoderSpec,
        attributes: &BTreeMap<String, ColumnKind>,
    ) -> Result<Self> {
        let json: Vec<String> = attributes
            .iter()
            .filter(|(_, kind)| **kind == ColumnKind::Json)
            .map(|(name, _)| column_name(name))
            .collect();
        let marks = [
            (MARK, MARK_VERSION.to_owned()),
            (MARK_MODEL, model_mark(spec)),
            (MARK_JSON, serde_json::to_string(&json).expect("names are texts; this is a bug")),
        ];
        let marks = marks.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect();
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("pictor ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(marks));
        let attributes: Vec<_> = attributes.iter().map(|(name, kind)| (name.clone(), *kind)).collect();
        let writer = SerializedFileWriter::new(file, schema(&attributes)?, Arc::new(properties.build()))?;
        Ok(Self { writer, attributes, pending: vec![] })
    }

    /// Appends one record.
    pub(crate) fn push(&mut self, id: ImageId, record: ImageRecord) -> Result<()> {
        self.pending.push((id, record));
        if self.pending.len() >= GROUP { self.write_group() } else { Ok(()) }
    }

    /// Writes what is left and the footer, and gives the file back.
    pub(crate) fn finish(mut self) -> Result<W> {
        if !self.pending.is_empty() {
            self.write_group()?;
        }
        self.writer.into_inner()
    }

    fn write_group(&mut self) -> Result<()> {
        let rows = mem::take(&mut self.pending);
        let mut group = self.writer.next_row_group()?;
        let g = &mut group;
        let records = || rows.iter().map(|(_, record)| record);
        let json = |value| serde_json::to_string(value).expect("texts are JSON; this is a bug");
        // In the order of `schema`.
        texts(g, records().map(|r| Some(r.uri.clone())))?;
        texts(g, records().map(|r| r.captions.first().cloned()))?;
        texts(g, records().map(|r| (!r.captions.is_empty()).then(|| json(&r.captions))))?;
        column::<Int64Type>(g, rows.iter().map(|(id, _)| i64::try_from(id.0).ok()))?;
        texts(g, records().map(|r| r.content_hash.map(|hash| hash.to_string())))?;
        column::<Int64Type>(g, records().map(|r| i64::try_from(r.bytes).ok()))?;
        column::<Int64Type>(g, records().map(|r| i64::try_from(r.modified_ns?).ok()))?;
        column::<Int64Type>(g, records().map(|r| r.size.map(|size| size.width.into())))?;
        column::<Int64Type>(g, records().map(|r| r.size.map(|size| size.height.into())))?;
        for (name, kind) in &self.attributes {
            let values = || records().map(|r| r.attributes.get(name));
            match kind {
                ColumnKind::Bool => column::<BoolType>(
                    g,
                    values().map(|v| match v? {
                        Attribute::Bool(value) => Some(*value),
                        _ => None,
                    }),
                )?,
                ColumnKind::Integer => column::<Int64Type>(
                    g,
                    values().map(|v| match v? {
                        Attribute::Integer(value) => Some(*value),
                        _ => None,
                    }),
                )?,
                ColumnKind::Float => column::<DoubleType>(
                    g,
                    values().map(|v| match v? {
                        Attribute::Float(value) => Some(*value),
                        _ => None,
                    }),
                )?,
                ColumnKind::Text => texts(
                    g,
                    values().map(|v| match v? {
                        Attribute::Text(value) => Some(value.clone()),
                        _ => None,
                    }),
                )?,
                ColumnKind::Json => texts(
                    g,
                    values().map(|v| {
                        v.map(|value| serde_json::to_string(value).expect("plain data; this is a bug"))
                    }),
                )?,
            }
        }
        group.close()?;
        Ok(())
    }
}

/// How a file says which model made its vectors.
pub(crate) fn model_mark(spec: &EncoderSpec) -> String {
    format!("{} {}", spec.name, spec.fingerprint)
}

fn column_name(attribute: &str) -> String {
    let taken = OWN_COLUMNS.contains(&attribute) || attribute == "__index_level_0__";
    match taken || attribute.is_empty() || attribute.starts_with(ATTRIBUTE_PREFIX) {
        true => format!("{ATTRIBUTE_PREFIX}{attribute}"),
        false => attribute.to_owned(),
    }
}

fn schema(attributes: &[(String, ColumnKind)]) -> Result<TypePtr> {
    let optional = |name: &str, physical, logical: Option<LogicalType>, converted| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .with_converted_type(converted)
            .build()
            .map(Arc::new)
    };
    let text =
        |name: &str| optional(name, PhysicalType::BYTE_ARRAY, Some(LogicalType::String), ConvertedType::UTF8);
    let integer = |name: &str| optional(name, PhysicalType::INT64, None, ConvertedType::NONE);
    let moment = LogicalType::timestamp(true, TimeUnit::NANOS);
    let mut fields = vec![
        text("image_path")?,
        text("caption")?,
        text("captions")?,
        integer("id")?,
        text("content_hash")?,
        integer("bytes")?,
        optional("modified", PhysicalType::INT64, Some(moment), ConvertedType::NONE)?,
        integer("width")?,
        integer("height")?,
    ];
    for (name, kind) in attributes {
        let name = column_name(name);
        fields.push(match kind {
            ColumnKind::Bool => optional(&name, PhysicalType::BOOLEAN, None, ConvertedType::NONE)?,
            ColumnKind::Integer => integer(&name)?,
            ColumnKind::Float => optional(&name, PhysicalType::DOUBLE, None, ConvertedType::NONE)?,
            ColumnKind::Text | ColumnKind::Json => text(&name)?,
        });
    }
    Type::group_type_builder("schema").with_fields(fields).build().map(Arc::new)
}

fn texts<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: impl Iterator<Item = Option<String>>,
) -> Result<()> {
    column::<ByteArrayType>(group, values.map(|value| value.map(|text| ByteArray::from(text.into_bytes()))))
}

/// Writes the next column of a row group.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<()> {
    let (mut present, mut levels) = (vec![], vec![]);
    for value in values {
        levels.push(i16::from(value.is_some()));
        present.extend(value);
    }
    let mut column = group.next_column()?.expect("one call for each column of the schema; this is a bug");
    column.typed::<T>().write_batch(&present, Some(&levels), None)?;
    column.close()
}
