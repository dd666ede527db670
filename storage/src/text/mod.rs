//! The text index: BM25 over captions and the words of file names (here), and which images a filter matches (`select`). With
//! the filter's grammar, the only modules that know tantivy.
//!
//! It holds ids, words and columns of attributes (`document`) and nothing else: hits are looked up in the catalog, and the whole of
//! it can be made again from the catalog (I3). tantivy commits on its own, just before the catalog does; the generation goes into its
//! commit payload, so everyone can see whether it stands where the manifest stands.

mod columns;
mod document;
mod select;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pictor_core::{Generation, Hit, ImageId, ImageRecord};
use tantivy::collector::sort_key::{SortBySimilarityScore, SortByStaticFastValue};
use tantivy::collector::{FilterCollector, TopDocs};
use tantivy::directory::{Directory, META_LOCK};
use tantivy::query::{BooleanQuery, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{Index, Order, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term};

pub use select::AttributeDescription;

use crate::StorageError;
use document::{Fields, document, schema};

/// Memory for tantivy's one indexing thread; 20,000 images with captions fit, so a commit makes one tantivy segment.
const WRITER_BYTES: usize = 50 << 20;

/// What one commit changes.
#[derive(Default)]
pub(crate) struct TextChanges<'a> {
    /// Images to forget: deleted ones, and those whose record changed.
    pub(crate) removed: Vec<ImageId>,
    /// Images to add.
    pub(crate) added: Vec<(ImageId, &'a ImageRecord)>,
}

/// The text index of one index directory.
pub(crate) struct TextIndex {
    path: PathBuf,
    index: Index,
    fields: Fields,
}

impl TextIndex {
    /// Makes an empty text index of generation 0 in a new directory.
    pub(crate) fn create(path: &Path) -> Result<Self, StorageError> {
        fs_err::create_dir(path)?;
        let (schema, fields) = schema();
        let index = Index::create_in_dir(path, schema).map_err(|source| failed(path, source))?;
        let text = Self { path: path.to_owned(), index, fields };
        text.commit(Generation(0), &TextChanges::default())?;
        Ok(text)
    }

    /// Opens it.
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        let index = Index::open_in_dir(path).map_err(|source| failed(path, source))?;
        let (schema, fields) = schema();
        if index.schema() != schema {
            let source = TantivyError::SchemaError("it has another schema than this version writes".into());
            return Err(failed(path, source));
        }
        Ok(Self { path: path.to_owned(), index, fields })
    }

    /// The generation of the last tantivy commit.
    pub(crate) fn generation(&self) -> Result<Generation, StorageError> {
        let payload = self.index.load_metas().map_err(|source| self.failed(source))?.payload;
        let number = payload.as_deref().and_then(|payload| payload.parse().ok());
        let unreadable = || {
            self.failed(TantivyError::InternalError(format!("commit payload {payload:?} is no generation")))
        };
        number.map(Generation).ok_or_else(unreadable)
    }

    /// Step 3 of a commit, durable on return. tantivy's own merges are waited for, so that none is cut short for ever when
    /// every run makes one small commit.
    pub(crate) fn commit(
        &self,
        generation: Generation,
        changes: &TextChanges<'_>,
    ) -> Result<(), StorageError> {
        self.write(generation, false, &changes.removed, changes.added.iter().map(|&added| Ok(added)))
    }

    /// Makes the whole of it again from `records`.
    pub(crate) fn rebuild(
        &self,
        generation: Generation,
        records: impl Iterator<Item = Result<(ImageId, ImageRecord), StorageError>>,
    ) -> Result<(), StorageError> {
        self.write(generation, true, &[], records)
    }

    /// Deletes what a commit that died left behind; nobody else may be writing.
    ///
    /// tantivy names a list of deleted documents by its count of operations, comes to the same count when the same work is done
    /// again, and does not overwrite: without this, the commit after a crash could fail for ever.
    ///
    /// # Errors
    /// [`StorageError::Text`] and [`StorageError::Io`] when the directory cannot be read or a file not deleted.
    pub(crate) fn collect_garbage(&self) -> Result<(), StorageError> {
        // Held while a reader opens the files that it has just read the names of.
        let directory = self.index.directory();
        let _lock = directory.acquire_lock(&META_LOCK).map_err(|error| self.failed(error.into()))?;
        let meta = self.index.load_metas().map_err(|source| self.failed(source))?;
        let mut kept = meta.list_segment_files();
        kept.extend(["meta.json", ".managed.json"].map(PathBuf::from));
        for file in fs_err::read_dir(&self.path)? {
            let path = file?.path();
            let is_lock = path.extension().is_some_and(|extension| extension == "lock");
            if !is_lock && !path.file_name().is_some_and(|name| kept.contains(Path::new(name))) {
                fs_err::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Whether it is at most one tantivy segment without deleted documents.
    pub(crate) fn is_compact(&self) -> Result<bool, StorageError> {
        let segments = self.index.searchable_segment_metas().map_err(|source| self.failed(source))?;
        Ok(segments.len() <= 1 && segments.iter().all(|segment| segment.num_deleted_docs() == 0))
    }

    /// Merges tantivy's segments into one without deleted documents; the generation stays.
    pub(crate) fn compact(&self) -> Result<(), StorageError> {
        if self.is_compact()? {
            return Ok(());
        }
        let failed = |source| self.failed(source);
        let segments = self.index.searchable_segment_ids().map_err(failed)?;
        let mut writer =
            self.index.writer_with_num_threads::<TantivyDocument>(1, WRITER_BYTES).map_err(failed)?;
        writer.merge(&segments).wait().map_err(failed)?;
        writer.garbage_collect_files().wait().map_err(failed)?;
        writer.wait_merging_threads().map_err(failed)
    }

    fn write<R: std::borrow::Borrow<ImageRecord>>(
        &self,
        generation: Generation,
        clear: bool,
        removed: &[ImageId],
        added: impl Iterator<Item = Result<(ImageId, R), StorageError>>,
    ) -> Result<(), StorageError> {
        let failed = |source| self.failed(source);
        let mut writer = self.index.writer_with_num_threads(1, WRITER_BYTES).map_err(failed)?;
        if clear {
            writer.delete_all_documents().map_err(failed)?;
        }
        for id in removed {
            writer.delete_term(Term::from_field_u64(self.fields.id, id.0));
        }
        for entry in added {
            let (id, record) = entry?;
            writer.add_document(document(&self.fields, id, record.borrow())).map_err(failed)?;
        }
        let mut commit = writer.prepare_commit().map_err(failed)?;
        commit.set_payload(&generation.to_string());
        commit.commit().map_err(failed)?;
        writer.wait_merging_threads().map_err(failed)
    }

    /// A view of the text index as it is now, which later commits do not change.
    pub(crate) fn searcher(&self) -> Result<TextSearcher, StorageError> {
        let reader = self.index.reader_builder().reload_policy(ReloadPolicy::Manual);
        let searcher = reader.try_into().map_err(|source| self.failed(source))?.searcher();
        Ok(TextSearcher { path: self.path.clone(), searcher, fields: self.fields })
    }

    /// The files that do not have the checksum they were written with, each read whole.
    pub(crate) fn damaged_files(&self) -> Result<BTreeSet<PathBuf>, StorageError> {
        let broken = self.index.validate_checksum().map_err(|source| self.failed(source))?;
        Ok(broken.into_iter().collect())
    }

    /// Reads every file whole and compares its checksum.
    pub(crate) fn verify(&self) -> Result<(), StorageError> {
        match self.damaged_files()?.into_iter().next() {
            None => Ok(()),
            Some(file) => Err(self.failed(TantivyError::InternalError(format!(
                "{} does not have the checksum it was written with",
                file.display()
            )))),
        }
    }

    fn failed(&self, source: TantivyError) -> StorageError {
        failed(&self.path, source)
    }
}

/// A fixed view of the text index.
pub(crate) struct TextSearcher {
    path: PathBuf,
    searcher: Searcher,
    fields: Fields,
}

impl TextSearcher {
    /// The id of every image it holds, in no order.
    ///
    /// # Errors
    /// [`StorageError::Text`] when tantivy cannot read its files.
    pub(crate) fn ids(&self) -> Result<Vec<u64>, StorageError> {
        let mut all = vec![];
        for segment in self.searcher.segment_readers() {
            let ids = self.id_column(segment)?;
            all.extend(segment.doc_ids_alive().filter_map(|document| ids.first(document)));
        }
        Ok(all)
    }

    /// The `k` best images for the words of `query`, any of them counting, by BM25; equal scores by ascending id.
    ///
    /// Any string is a query: it is cut into words exactly as captions and file names were, and what is no word is ignored.
    /// With `visible`, images it denies are passed over before they take a place among the k.
    ///
    /// # Errors
    /// [`StorageError::Text`] when tantivy cannot read its files.
    pub(crate) fn search<V>(
        &self,
        query: &str,
        k: usize,
        visible: Option<V>,
    ) -> Result<Vec<Hit>, StorageError>
    where
        V: Fn(u64) -> bool + Clone + Send + Sync + 'static,
    {
        let failed = |source| failed(&self.path, source);
        let limit = k.min(self.searcher.num_docs() as usize);
        let query = self.any_word(query).map_err(failed)?;
        if limit == 0 {
            return Ok(vec![]);
        }
        let by_id = SortByStaticFastValue::<u64>::for_field("id");
        let best = TopDocs::with_limit(limit).order_by((SortBySimilarityScore, (by_id, Order::Asc)));
        let found = match visible {
            None => self.searcher.search(&query, &best),
            Some(visible) => self.searcher.search(&query, &FilterCollector::new("id".into(), visible, best)),
        };
        let hits = found.map_err(failed)?.into_iter();
        Ok(hits.filter_map(|((score, id), _)| Some(Hit::new(ImageId(id?), score))).collect())
    }

    fn any_word(&self, text: &str) -> Result<BooleanQuery, TantivyError> {
        let mut queries: Vec<Box<dyn Query>> = vec![];
        for field in [self.fields.captions, self.fields.name] {
            let mut words = BTreeSet::new();
            let mut analyzer = self.searcher.index().tokenizer_for_field(field)?;
            analyzer.token_stream(text).process(&mut |token| {
                words.insert(token.text.clone());
            });
            for word in words {
                let term = Term::from_field_text(field, &word);
                queries.push(Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)));
            }
        }
        Ok(BooleanQuery::union(queries))
    }
}

fn failed(path: &Path, source: TantivyError) -> StorageError {
    StorageError::Text { path: path.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::record;

    fn index(captions: &[(&str, &str)]) -> (tempfile::TempDir, TextIndex) {
        let dir = tempfile::tempdir().unwrap();
        let text = TextIndex::create(&dir.path().join("text")).unwrap();
        let records: Vec<ImageRecord> = captions
            .iter()
            .map(|(uri, caption)| ImageRecord { captions: vec![caption.to_string()], ..record(uri) })
            .collect();
        let added = (0..).map(ImageId).zip(&records).collect();
        text.commit(Generation(1), &TextChanges { removed: vec![], added }).unwrap();
        (dir, text)
    }

    fn ids(text: &TextIndex, query: &str, k: usize) -> Vec<u64> {
        let hits = text.searcher().unwrap().search(query, k, None::<fn(u64) -> bool>).unwrap();
        hits.iter().map(|hit| hit.id.0).collect()
    }

    #[test]
    fn stems_captions_and_reads_file_names() {
        let (_dir, text) = index(&[
            ("/p/IMG_1.jpg", "Two dogs are running on grass"),
            ("/p/red-car.jpg", "a street"),
            ("/p/IMG_3.jpg", "a cat"),
        ]);
        assert_eq!(ids(&text, "dog runs", 10), [0]);
        assert_eq!(ids(&text, "CAR", 10), [1]);
        assert_eq!(ids(&text, "img", 10), [0, 2]);
        assert_eq!(ids(&text, "jpg", 10), [0; 0], "extensions are not words");
        assert_eq!(text.generation().unwrap(), Generation(1));
    }

    #[test]
    fn takes_any_string_and_any_k() {
        let (_dir, text) = index(&[("/a.jpg", "a dog"), ("/b.jpg", "a dog")]);
        for query in ["", "  ", "\"", "a AND (", "id:0", "dog*~^5", "+-!:\\/", "\u{0}", "狗", "[1 TO *]"] {
            ids(&text, query, 10);
        }
        assert_eq!(ids(&text, "dog", 0), [0; 0]);
        assert_eq!(ids(&text, "dog", usize::MAX), [0, 1]);
        assert_eq!(ids(&text, "(\"dog", 1), [0], "equal scores by id");
    }

    #[test]
    fn the_filter_does_not_cost_places() {
        let (_dir, text) = index(&[("/a.jpg", "dog"), ("/b.jpg", "dog"), ("/c.jpg", "dog")]);
        let hits = text.searcher().unwrap().search("dog", 2, Some(|id| id != 0)).unwrap();
        assert_eq!(hits.iter().map(|hit| hit.id.0).collect::<Vec<_>>(), [1, 2]);
    }
}
