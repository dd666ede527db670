//! Reading: the index as of one generation, which no later commit changes.
//!
//! Segments are opened with the snapshot, all at once, because a writer may delete their names at any time after. Catalog and
//! text index are opened when first asked: a vector search on its own needs neither. They may then be ahead of the snapshot,
//! so what comes out of them is always filtered by the ids that the manifest shows (I1). An image deleted by a commit in
//! between may be missing from the answer already; a record is kept one commit longer than its image to make that rare.

use std::fmt;
use std::sync::{Arc, OnceLock};

use pictor_ann::{RowSet, SearchOptions, VectorIndex};
use pictor_core::{ContentHash, EncoderSpec, Generation, Hit, ImageId, ImageRecord};

use crate::catalog::{Catalog, Skipped};
use crate::filter::{Filter, FilterError};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::matches::{MatchCache, Matches};
use crate::segment::{self, Segment};
use crate::text::{AttributeDescription, TextIndex, TextSearcher};
use crate::{StorageError, recovery};

/// The index as of one generation. Shared by any number of threads.
pub struct Snapshot {
    layout: Layout,
    manifest: Manifest,
    segments: Arc<[Segment]>,
    /// For each segment, in the same order.
    neighbors: Vec<Neighbors>,
    catalog: OnceLock<Catalog>,
    text: OnceLock<TextView>,
    matches: MatchCache,
}

struct Neighbors {
    index: Arc<dyn VectorIndex>,
    /// The rows that are not deleted, when some are.
    allow: Option<RowSet>,
}

struct TextView {
    searcher: TextSearcher,
    /// When it is the snapshot's own, every image in it is one the snapshot shows.
    generation: Generation,
}

impl Snapshot {
    /// Opens what `manifest` names. Segments that `known` has open are shared with it.
    pub(crate) fn open(
        layout: &Layout,
        manifest: Manifest,
        known: Option<&Snapshot>,
    ) -> Result<Self, StorageError> {
        let (mut segments, mut neighbors) = (vec![], vec![]);
        for entry in &manifest.segments {
            let dir = layout.segment(&entry.name);
            let open = known.and_then(|snapshot| snapshot.find_segment(&entry.name));
            let rows = open.map(|(segment, _)| segment.rows.clone());
            let segment = Segment::open(&dir, entry, manifest.shape(), rows)?;
            let index = match open {
                Some((_, neighbors)) => neighbors.index.clone(),
                None => segment::open_neighbors(&dir, &segment)?.into(),
            };
            let live = |row| !segment.deleted.contains(row);
            let allow = (!segment.deleted.is_empty()).then(|| RowSet::from_fn(segment.rows.len(), live));
            neighbors.push(Neighbors { index, allow });
            segments.push(segment);
        }
        let (catalog, text, matches) = (OnceLock::new(), OnceLock::new(), MatchCache::default());
        let segments = segments.into();
        Ok(Self { layout: layout.clone(), manifest, segments, neighbors, catalog, text, matches })
    }

    fn find_segment(&self, name: &str) -> Option<(&Segment, &Neighbors)> {
        self.segments.iter().zip(&self.neighbors).find(|(segment, _)| segment.entry.name == name)
    }

    /// The commit this is a view of.
    pub fn generation(&self) -> Generation {
        self.manifest.generation
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.segments.iter().map(Segment::live).sum()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What makes this index's vectors.
    pub fn spec(&self) -> &EncoderSpec {
        &self.manifest.encoder
    }

    /// Whether the snapshot shows `id`.
    pub fn contains(&self, id: ImageId) -> bool {
        segment::locate(&self.segments, id).is_some()
    }

    /// The ids of all images, ascending.
    pub fn ids(&self) -> Vec<ImageId> {
        let mut ids: Vec<_> = self.segments.iter().flat_map(Segment::live_rows).map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    /// The `min(k, images to choose from)` images nearest to `query`, a unit vector of the index's dimension, by inner product
    /// (cosine), best first, equal scores by ascending id. `effort` is that of [`SearchOptions`], and applies to each segment.
    /// With a filter, the images that it matches are those to choose from.
    ///
    /// # Errors
    /// [`StorageError::Dimension`], [`StorageError::Ann`] for a query that is not finite, and those of
    /// [`count_matches`](Self::count_matches).
    pub fn search_vectors(
        &self,
        query: &[f32],
        k: usize,
        effort: Option<usize>,
        filter: Option<&Filter>,
    ) -> Result<Vec<Hit>, StorageError> {
        check_dim(&self.manifest.encoder, query)?;
        let matches = filter.map(|filter| self.matches(filter)).transpose()?;
        let mut hits = vec![];
        for (i, (segment, neighbors)) in self.segments.iter().zip(&self.neighbors).enumerate() {
            let allow = match &matches {
                Some(matches) => Some(matches.rows(i)),
                None => neighbors.allow.as_ref(),
            };
            let options = SearchOptions { effort, allow };
            let ids = segment.rows.ids();
            let found = neighbors.index.search(query, k, &options)?;
            hits.extend(found.iter().map(|n| Hit::new(ImageId(ids[n.row as usize]), n.score)));
        }
        hits.sort_unstable_by(Hit::rank);
        hits.truncate(k);
        Ok(hits)
    }

    /// The `k` best images for the words of `query` by BM25 over captions (stemmed as English) and file names, any word
    /// counting, best first, equal scores by ascending id. Images without any of the words are not hits, nor are those that the
    /// filter, if there is one, does not match.
    ///
    /// Every string is a query; there is no syntax to get wrong.
    ///
    /// # Errors
    /// [`StorageError::Text`] when the text index cannot be read, and those of [`count_matches`](Self::count_matches).
    pub fn search_text(
        &self,
        query: &str,
        k: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<Hit>, StorageError> {
        let text = self.text()?;
        let matches = filter.map(|filter| self.matches(filter)).transpose()?;
        let needs_look = matches.is_some() || text.generation != self.generation();
        let segments = self.segments.clone();
        let visible = move |id| match segment::locate(&segments, ImageId(id)) {
            None => false,
            Some((i, row)) => matches.as_ref().is_none_or(|matches| matches.rows(i).contains(row)),
        };
        text.searcher.search(query, k, needs_look.then_some(visible))
    }

    /// Number of images that a filter matches. The answer is kept, so that searching with the same filter costs no second
    /// evaluation.
    ///
    /// # Errors
    /// [`StorageError::Filter`] for a name that no image has, or a value that the attribute's values cannot be compared with;
    /// [`StorageError::Text`] when the text index cannot be read.
    pub fn count_matches(&self, filter: &Filter) -> Result<usize, StorageError> {
        Ok(self.matches(filter)?.len())
    }

    /// The attributes that images have, by name: what filters can compare.
    ///
    /// # Errors
    /// [`StorageError::Text`] when the text index cannot be read.
    pub fn attributes(&self) -> Result<Vec<AttributeDescription>, StorageError> {
        self.text()?.searcher.attributes(|id| self.contains(ImageId(id)))
    }

    fn matches(&self, filter: &Filter) -> Result<Arc<Matches>, StorageError> {
        if let Some(matches) = self.matches.get(filter) {
            return Ok(matches);
        }
        let found = self.text()?.searcher.matching(filter).map_err(|error| self.named(error))?;
        let matches = Arc::new(Matches::new(&self.segments, &found));
        if matches.is_empty() {
            self.check_names(filter)?;
        }
        self.matches.insert(filter.clone(), matches.clone());
        Ok(matches)
    }

    /// Whether every name of a filter is one that some image has: tantivy also knows those of images that are gone.
    fn check_names(&self, filter: &Filter) -> Result<(), StorageError> {
        if self.is_empty() {
            return Ok(());
        }
        let known = self.attributes()?;
        let is_known = |name: &str| name == "caption" || known.iter().any(|attribute| attribute.name == name);
        match filter.0.tests().into_iter().find(|(name, _)| !is_known(name)) {
            None => Ok(()),
            Some((name, _)) => {
                Err(self.named(FilterError::UnknownAttribute { name: name.into(), known: Vec::new() }.into()))
            }
        }
    }

    /// The same error; one of a name that no image has also says which names there are.
    fn named(&self, error: StorageError) -> StorageError {
        let StorageError::Filter(FilterError::UnknownAttribute { name, .. }) = error else { return error };
        match self.attributes() {
            Err(error) => error,
            Ok(attributes) => {
                let mut known: Vec<String> = attributes.into_iter().map(|known| known.name).collect();
                known.push("caption".into());
                known.sort_unstable();
                FilterError::UnknownAttribute { name, known }.into()
            }
        }
    }

    /// What is known of an image; `None` for one the snapshot does not show.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] when the catalog cannot be read.
    pub fn record(&self, id: ImageId) -> Result<Option<ImageRecord>, StorageError> {
        if !self.contains(id) {
            return Ok(None);
        }
        self.catalog()?.record(id)
    }

    /// An image's vector as it is stored; `None` for one the snapshot does not show.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when that part of the vectors is.
    pub fn vector(&self, id: ImageId) -> Result<Option<Vec<f32>>, StorageError> {
        let found = segment::locate(&self.segments, id);
        found.map(|(i, row)| self.segments[i].rows.vector(row)).transpose()
    }

    /// All images by ascending id.
    pub fn records(&self) -> impl Iterator<Item = Result<(ImageId, ImageRecord), StorageError>> {
        let (records, error) = match self.catalog() {
            Ok(catalog) => (Some(catalog.records()), None),
            Err(error) => (None, Some(Err(error))),
        };
        let shown =
            |entry: &Result<(ImageId, _), _>| entry.as_ref().map_or(true, |(id, _)| self.contains(*id));
        records.into_iter().flatten().filter(shown).chain(error)
    }

    /// The images whose files had these bytes when they were indexed, by ascending id.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] when the catalog cannot be read.
    pub fn same_content(&self, hash: ContentHash) -> Result<Vec<ImageId>, StorageError> {
        let mut ids = self.catalog()?.same_content(hash)?;
        ids.retain(|id| self.contains(*id));
        Ok(ids)
    }

    /// Images whose files had equal bytes when they were indexed: groups of two or more, each by ascending id.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] when the catalog cannot be read.
    pub fn duplicates(&self) -> Result<Vec<(ContentHash, Vec<ImageId>)>, StorageError> {
        let catalog = self.catalog()?;
        let contents = catalog.contents()?;
        let mut groups = Vec::new();
        for same in contents.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            let hash = same[0].0;
            let mut ids = Vec::new();
            for (_, id) in same.iter().filter(|(_, id)| self.contains(*id)) {
                ids.extend(catalog.has_content(*id, hash)?.then_some(*id));
            }
            if ids.len() > 1 {
                groups.push((hash, ids));
            }
        }
        Ok(groups)
    }

    /// The files that could not be indexed and why, by uri.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] when the catalog cannot be read.
    pub fn skipped(&self) -> Result<Vec<Skipped>, StorageError> {
        self.catalog()?.skipped().collect()
    }

    /// Reads vectors, text index and records whole, which opening does not: compares the checksums of all vectors, of the text index
    /// and of the catalog's blocks, and checks that every image has a record. Needs no lock.
    ///
    /// A program that wants to know everything that is wrong, in the nearest-neighbour indexes too, and can do without a writer
    /// meanwhile, calls [`crate::verify()`].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<(), StorageError> {
        for segment in &*self.segments {
            segment.rows.verify()?;
        }
        TextIndex::open(&self.layout.text())?.verify()?;
        let mut found = 0;
        for entry in self.records() {
            entry?;
            found += 1;
        }
        if found != self.len() {
            return Err(StorageError::damaged(
                &self.layout.catalog(),
                format!("it holds records of {found} images, the manifest shows {}", self.len()),
            ));
        }
        Ok(())
    }

    pub(crate) fn count_records(&self) -> Result<usize, StorageError> {
        self.catalog()?.count_records()
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    fn catalog(&self) -> Result<&Catalog, StorageError> {
        if let Some(catalog) = self.catalog.get() {
            return Ok(catalog);
        }
        let catalog = Catalog::open_read_only(&self.layout.catalog())?;
        Ok(self.catalog.get_or_init(|| catalog))
    }

    fn text(&self) -> Result<&TextView, StorageError> {
        if let Some(text) = self.text.get() {
            return Ok(text);
        }
        let mut view = self.open_text();
        // Another generation: a writer is at work, or one died between its commits and left images out that are not gone. Not to
        // be opened: damaged, or made by another version. When nobody writes, it can be made again.
        let generation = view.as_ref().ok().map(|view| view.generation);
        if generation != Some(self.generation()) && recovery::try_run(&self.layout, generation)? {
            view = self.open_text();
        }
        let view = view?;
        Ok(self.text.get_or_init(|| view))
    }

    fn open_text(&self) -> Result<TextView, StorageError> {
        let text = TextIndex::open(&self.layout.text())?;
        let searcher = text.searcher()?;
        // Read after the searcher was made, and generations only grow: if this is ours, so is the searcher's.
        let generation = text.generation()?;
        Ok(TextView { searcher, generation })
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// Whether `vector` is of the index's dimension.
pub(crate) fn check_dim(encoder: &EncoderSpec, vector: &[f32]) -> Result<(), StorageError> {
    match vector.len() == encoder.dim {
        true => Ok(()),
        false => Err(StorageError::Dimension { expected: encoder.dim, received: vector.len() }),
    }
}
