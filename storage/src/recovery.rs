//! From whatever a crash left to an index whose stores agree with its manifest. Runs before every writer, under its lock.
//!
//! The manifest says what is true; vectors and catalog are what everything else can be made from (I3). So recovery compares
//! each store's generation with the manifest's, brings back those that differ, makes nearest-neighbour indexes again that
//! cannot be opened, and deletes what no manifest names (I5: it is the newest manifest that is on disk). Every step can be cut
//! short and done again.

use pictor_core::{Generation, ImageId};

use crate::StorageError;
use crate::catalog::Catalog;
use crate::layout::Layout;
use crate::lock::WriterLock;
use crate::manifest::Manifest;
use crate::segment::{self, Segment};
use crate::text::TextIndex;

/// An index that agrees with itself, opened for writing.
pub(crate) struct Recovered {
    /// The last commit.
    pub(crate) manifest: Manifest,
    /// Its segments.
    pub(crate) segments: Vec<Segment>,
    /// Of the manifest's generation.
    pub(crate) catalog: Catalog,
    /// Of the manifest's generation.
    pub(crate) text: TextIndex,
    /// No id from this one on was ever used, in a commit that happened or in one that did not (I4).
    pub(crate) next_id: u64,
    /// Held as long as any of this is open.
    pub(crate) lock: WriterLock,
}

/// Recovers the index.
///
/// # Errors
/// Whatever keeps its parts from being opened; [`StorageError::Damaged`] when a part that nothing can replace is.
pub(crate) fn run(layout: &Layout, lock: WriterLock) -> Result<Recovered, StorageError> {
    let manifest = Manifest::parse(layout.root(), &Manifest::read(layout.root())?)?;
    let layout = &layout.at(&manifest.home);
    let segments = manifest
        .segments
        .iter()
        .map(|entry| Segment::open(&layout.segment(&entry.name), entry, manifest.shape(), None))
        .collect::<Result<Vec<_>, _>>()?;

    let catalog = Catalog::open(&layout.catalog())?;
    let next_id = manifest.next_id.max(catalog.next_id()?);
    let live = |id| segment::locate(&segments, id).is_some();
    if catalog.generation()? != manifest.generation || !catalog.knows_contents()? {
        let images = segments.iter().map(Segment::live).sum();
        catalog.recover(manifest.generation, next_id, images, live)?;
    }
    let text = recover_text(layout, &manifest, &catalog, live)?;
    recover_neighbors(layout, &segments)?;
    collect_garbage(layout, &manifest, None)?;
    Ok(Recovered { manifest, segments, catalog, text, next_id, lock })
}

/// For a reader that found the text index at generation `text`, or could not open it: recovers when that is not where the
/// manifest is and nobody is writing. False when nothing had to or could be done.
///
/// # Errors
/// As [`run`].
pub(crate) fn try_run(layout: &Layout, text: Option<Generation>) -> Result<bool, StorageError> {
    if Some(Manifest::parse(layout.root(), &Manifest::read(layout.root())?)?.generation) == text {
        return Ok(false);
    }
    match WriterLock::take(layout.root()) {
        Ok(lock) => run(layout, lock).map(|_| true),
        Err(StorageError::Busy { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn recover_text(
    layout: &Layout,
    manifest: &Manifest,
    catalog: &Catalog,
    live: impl Fn(ImageId) -> bool,
) -> Result<TextIndex, StorageError> {
    let path = layout.text();
    let opened = TextIndex::open(&path).and_then(|text| Ok((text.generation()?, text)));
    let text = match opened {
        Ok((generation, text)) => {
            text.collect_garbage()?;
            if generation == manifest.generation {
                return Ok(text);
            }
            text
        }
        // Damaged, gone, or of another tantivy: it holds nothing that the catalog does not.
        Err(_) => new_text(layout)?,
    };
    fill_text(&text, manifest, catalog, live)?;
    Ok(text)
}

/// An empty text index in the place of what is there.
///
/// # Errors
/// When the one cannot be deleted or the other not made.
pub(crate) fn new_text(layout: &Layout) -> Result<TextIndex, StorageError> {
    layout.directory().delete(&layout.text())?;
    TextIndex::create(&layout.text())
}

/// Makes a text index that of the live records, and of the manifest's generation.
///
/// # Errors
/// When the catalog cannot be read or the text index not be written.
pub(crate) fn fill_text(
    text: &TextIndex,
    manifest: &Manifest,
    catalog: &Catalog,
    live: impl Fn(ImageId) -> bool,
) -> Result<(), StorageError> {
    let records = catalog.records().filter(|entry| entry.as_ref().map_or(true, |(id, _)| live(*id)));
    text.rebuild(manifest.generation, records)
}

fn recover_neighbors(layout: &Layout, segments: &[Segment]) -> Result<(), StorageError> {
    for segment in segments {
        let dir = layout.segment(&segment.entry.name);
        if segment::open_neighbors(&dir, segment).is_err() {
            segment::rebuild_neighbors(layout.directory(), &dir, segment)?;
        }
    }
    Ok(())
}

/// Step 6: deletes what `manifest`, which is durable, does not name, except the directory of the segment called `merging`,
/// which a merge is writing. Readers of an older manifest keep what they have open or mapped, and a reader that has only just
/// read the older one reads again (a snapshot opens all its segments at once).
///
/// # Errors
/// When a directory cannot be listed or a file not deleted; what is left then goes the next time.
pub(crate) fn collect_garbage(
    layout: &Layout,
    manifest: &Manifest,
    merging: Option<&str>,
) -> Result<(), StorageError> {
    for file in fs_err::read_dir(layout.segments())? {
        let file = file?;
        let name = file.file_name();
        match manifest.segments.iter().find(|segment| name == segment.name.as_str()) {
            None if merging.is_some_and(|merging| name == merging) => {}
            None => layout.directory().delete(&file.path())?,
            Some(entry) => {
                for file in fs_err::read_dir(file.path())? {
                    let file = file?;
                    if !segment::is_named(entry, &file.file_name()) {
                        layout.directory().delete(&file.path())?;
                    }
                }
            }
        }
    }
    Ok(())
}
