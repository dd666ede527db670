//! Which images a filter matches: a set of documents for each tantivy segment, put together from the sets of its conditions.

use std::collections::BTreeMap;
use std::ops::Bound;

use pictor_ann::RowSet;
use serde::Serialize;
use tantivy::columnar::{Column, DynamicColumnHandle};
use tantivy::query::{EnableScoring, InvertedIndexRangeQuery, PhraseQuery, Query, TermQuery};
use tantivy::schema::{IndexRecordOption, Type};
use tantivy::{SegmentReader, TantivyError, Term};

use super::TextSearcher;
use super::columns;
use super::document::{ATTRIBUTES, CAPTION, column_name};
use crate::StorageError;
use crate::filter::{Comparison, Condition, Filter, FilterError};

/// One attribute that images of an index have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttributeDescription {
    /// Its name, as filters write it.
    pub name: String,
    /// What its values are: `numbers`, `dates`, `text`, `true and false`; more than one where images differ.
    pub holds: Vec<&'static str>,
    /// Images that have it.
    pub images: usize,
}

impl TextSearcher {
    /// The ids of all images that `filter` matches, ascending.
    ///
    /// # Errors
    /// [`StorageError::Filter`] for a name that no document has and for a value that its values cannot be compared with;
    /// [`StorageError::Text`] when tantivy cannot read its files.
    pub(crate) fn matching(&self, filter: &Filter) -> Result<Vec<u64>, StorageError> {
        for (name, comparison) in filter.0.tests() {
            self.check(name, comparison)?;
        }
        let mut ids = Vec::new();
        for reader in self.searcher.segment_readers() {
            let docs = self.documents(reader, &filter.0)?;
            let id_of = self.id_column(reader)?;
            let alive = docs.iter().filter(|&doc| !reader.is_deleted(doc));
            ids.extend(alive.filter_map(|doc| id_of.first(doc)));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Every attribute, by name, with the number of `visible` images that have it; those that none has are left out.
    ///
    /// # Errors
    /// [`StorageError::Text`] when tantivy cannot read its files.
    pub(crate) fn attributes(
        &self,
        visible: impl Fn(u64) -> bool,
    ) -> Result<Vec<AttributeDescription>, StorageError> {
        let mut found = BTreeMap::<String, AttributeDescription>::new();
        for reader in self.searcher.segment_readers() {
            let id_of = self.id_column(reader)?;
            let is_visible = |doc| !reader.is_deleted(doc) && id_of.first(doc).is_some_and(&visible);
            for field in reader.fields_metadata().map_err(|source| self.failed(source))? {
                let path = field.field_name.strip_prefix(ATTRIBUTES).and_then(|rest| rest.strip_prefix('.'));
                let Some(name) = path else { continue };
                let handles = self.columns(reader, name)?;
                let Some(handle) = handles.iter().find(|handle| type_of(handle) == field.typ) else {
                    continue;
                };
                let column = handle.open().map_err(|error| self.failed(error.into()))?;
                let index = column.column_index();
                let images =
                    (0..reader.max_doc()).filter(|&doc| index.has_value(doc) && is_visible(doc)).count();
                if images == 0 {
                    continue;
                }
                let empty = AttributeDescription { name: name.into(), holds: Vec::new(), images: 0 };
                let entry = found.entry(name.into()).or_insert(empty);
                entry.images += images;
                let holds = columns::kind(handle.column_type());
                if !entry.holds.contains(&holds) {
                    entry.holds.push(holds);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Whether the comparison makes sense for what is indexed under `name`.
    fn check(&self, name: &str, comparison: &Comparison) -> Result<(), StorageError> {
        if self.searcher.num_docs() == 0 {
            return Ok(());
        }
        let refused = |holds: &str, advice| {
            let comparison = match comparison {
                Comparison::Present => "anything".into(),
                Comparison::Equal(value) => format!("'{value}'"),
                Comparison::Prefix(start) => format!("'{start}*'"),
                Comparison::Range(..) => "this range".into(),
            };
            FilterError::Incomparable { name: name.into(), holds: holds.into(), comparison, advice }
        };
        if name == CAPTION {
            return match comparison {
                Comparison::Prefix(_) | Comparison::Range(..) => {
                    Err(refused("words", "write a whole word, which is found in all its forms").into())
                }
                Comparison::Equal(text) if self.caption_words(text)?.is_empty() => {
                    Err(refused("words", "write a word").into())
                }
                _ => Ok(()),
            };
        }
        let mut kinds = Vec::new();
        for reader in self.searcher.segment_readers() {
            for handle in self.columns(reader, name)? {
                if columns::can_compare(handle.column_type(), comparison) {
                    return Ok(());
                }
                kinds.push(columns::kind(handle.column_type()));
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        match kinds[..] {
            [] => Err(FilterError::UnknownAttribute { name: name.into(), known: Vec::new() }.into()),
            ["dates"] => Err(refused(
                "dates",
                "write a day such as 2020-05-17, a moment such as \"2020-05-17T12:00:00Z\", or a range such as [2020-01-01 TO 2020-12-31]",
            )
            .into()),
            ["numbers"] => {
                Err(refused("numbers", "write a number, or a range such as >=1000 or [800 TO 1600]").into())
            }
            ["true and false"] => Err(refused("true and false", "write true or false").into()),
            ["text"] => Err(refused("text", "write ends that are neither numbers nor dates, or the start of a text and *").into()),
            _ => Err(refused(&kinds.join(" and "), "write one of its values").into()),
        }
    }

    /// The documents of a segment that `condition` holds of, deleted ones among them.
    fn documents(&self, reader: &SegmentReader, condition: &Condition) -> Result<RowSet, StorageError> {
        let docs = reader.max_doc() as usize;
        let parts = |parts: &[Condition]| {
            parts.iter().map(|part| self.documents(reader, part)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match condition {
            Condition::Everything => RowSet::from_fn(docs, |_| true),
            Condition::Not(inner) => {
                let inner = self.documents(reader, inner)?;
                RowSet::from_fn(docs, |doc| !inner.contains(doc))
            }
            Condition::All(all) => {
                let all = parts(all)?;
                RowSet::from_fn(docs, |doc| all.iter().all(|set| set.contains(doc)))
            }
            Condition::Any(any) => {
                let mut union = RowSet::empty(docs);
                for part in any {
                    self.documents(reader, part)?.iter().for_each(|doc| {
                        union.insert(doc);
                    });
                }
                union
            }
            Condition::Test { name, comparison } => {
                let mut set = RowSet::empty(docs);
                let found = if name == CAPTION {
                    self.captioned(reader, comparison)?
                } else {
                    self.compared(reader, name, comparison)?
                };
                found.into_iter().for_each(|doc| {
                    set.insert(doc);
                });
                set
            }
        })
    }

    fn compared(
        &self,
        reader: &SegmentReader,
        name: &str,
        comparison: &Comparison,
    ) -> Result<Vec<u32>, StorageError> {
        let mut found = Vec::new();
        for handle in self.columns(reader, name)? {
            let column = handle.open().map_err(|error| self.failed(error.into()))?;
            let docs = columns::select(&column, comparison, reader.max_doc());
            found.extend(docs.map_err(|error| self.failed(error.into()))?);
        }
        Ok(found)
    }

    fn captioned(&self, reader: &SegmentReader, comparison: &Comparison) -> Result<Vec<u32>, StorageError> {
        let field = self.fields.captions;
        let query: Box<dyn Query> = match comparison {
            Comparison::Present => {
                let first = Bound::Included(Term::from_field_text(field, ""));
                Box::new(InvertedIndexRangeQuery::new(first, Bound::Unbounded))
            }
            Comparison::Equal(text) => match self.caption_words(text)? {
                words if words.is_empty() => return Ok(Vec::new()),
                words if words.len() == 1 => {
                    Box::new(TermQuery::new(words[0].1.clone(), IndexRecordOption::Basic))
                }
                words => Box::new(PhraseQuery::new_with_offset(words)),
            },
            Comparison::Prefix(_) | Comparison::Range(..) => return Ok(Vec::new()),
        };
        let mut found = Vec::new();
        query
            .weight(EnableScoring::disabled_from_searcher(&self.searcher))
            .and_then(|weight| weight.for_each_no_score(reader, &mut |docs| found.extend_from_slice(docs)))
            .map_err(|source| self.failed(source))?;
        Ok(found)
    }

    /// The words of a text as captions are cut into them, with their places.
    fn caption_words(&self, text: &str) -> Result<Vec<(usize, Term)>, StorageError> {
        let field = self.fields.captions;
        let mut analyzer =
            self.searcher.index().tokenizer_for_field(field).map_err(|source| self.failed(source))?;
        let mut words = Vec::new();
        analyzer.token_stream(text).process(&mut |token| {
            words.push((token.position, Term::from_field_text(field, &token.text)));
        });
        Ok(words)
    }

    /// The columns of an attribute: one for each kind of value.
    fn columns(&self, reader: &SegmentReader, name: &str) -> Result<Vec<DynamicColumnHandle>, StorageError> {
        let escaped = column_name(name).replace('\\', "\\\\").replace('.', "\\.");
        let handles = reader.fast_fields().dynamic_column_handles(&format!("{ATTRIBUTES}.{escaped}"));
        handles.map_err(|source| self.failed(source))
    }

    /// The id of each document.
    pub(super) fn id_column(&self, reader: &SegmentReader) -> Result<Column<u64>, StorageError> {
        reader.fast_fields().u64("id").map_err(|source| self.failed(source))
    }

    fn failed(&self, source: TantivyError) -> StorageError {
        super::failed(&self.path, source)
    }
}

/// The type that `fields_metadata` gives to a column.
fn type_of(handle: &DynamicColumnHandle) -> Type {
    Type::from(handle.column_type())
}
