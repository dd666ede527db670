//! The commit protocol, step by step: three stores, one truth. FORMAT.md argues why each order is as it is.
//!
//! Until step 5 nothing that the last manifest names has changed, except that the catalog and the text index know more than it
//! shows; after step 5 nothing that the new one names is missing. A finished merge changes which files hold the images and not
//! which images there are, so it is a manifest of the same generation and neither catalog nor text index hear of it.

use pictor_ann::{AnnError, Dtype};
use pictor_core::{Generation, ImageId};

use crate::catalog::CatalogChanges;
use crate::failpoint::{self, Point};
use crate::layout::Layout;
use crate::manifest::{DeletedEntry, Manifest};
use crate::merging::Merged;
use crate::segment::{self, RowsWriter, Segment, SegmentRows};
use crate::text::TextChanges;
use crate::writer::{Changes, Writer};
use crate::{StorageError, recovery};

/// Commits the writer's changes.
///
/// # Errors
/// The first step that failed. The writer must not be used again.
pub(crate) fn run(writer: &mut Writer) -> Result<Generation, StorageError> {
    let generation = writer.manifest.generation.next();
    let changes = std::mem::take(&mut writer.changes);
    let layout = writer.layout.clone();

    // 1. Rows: the lists of deleted ones, and a new segment of the new images.
    let mut segments = mark_deleted(&writer.segments, &changes);
    write_deleted(&layout, generation, &mut segments)?;
    failpoint::reach(Point::Deleted);
    let fresh = match changes.images.len() {
        0 => None,
        count => {
            let rows = changes.images.iter().map(|(id, (_, vector))| Ok((*id, vector)));
            let name = writer.new_segment();
            let rows = write_rows(&layout, &name, writer.manifest.shape(), count, rows)?;
            Some((name, rows))
        }
    };
    failpoint::reach(Point::Vectors);

    // 2. The nearest-neighbour index of the new segment.
    if let Some((name, rows)) = fresh {
        let dir = layout.segment(&name);
        let kind = segment::build_neighbors(layout.directory(), &dir, &writer.manifest.kind, &rows)?;
        segments.push(Segment::fresh(name, kind, rows));
    }
    failpoint::reach(Point::Ann);

    // 3. tantivy.
    writer.text.commit(generation, &text_changes(&changes))?;
    failpoint::reach(Point::Text);

    // 4. RocksDB.
    writer.catalog.apply(generation, writer.next_id, &catalog_changes(&changes))?;
    failpoint::reach(Point::Catalog);

    // 5. This is the commit.
    replace_manifest(writer, generation, segments)?;
    failpoint::reach(Point::Manifest);

    // 6. What nothing names any more. The commit stands whether or not this works; what is left goes when the next writer
    // opens, which reports a failure.
    let merging = writer.merging.as_ref().map(|merging| merging.name());
    let _ = recovery::collect_garbage(&layout, &writer.manifest, merging);
    failpoint::reach(Point::Garbage);
    Ok(generation)
}

/// Puts a finished merge in the place of the segments it was made of. The images, and with them the generation, are the same
/// before and after.
///
/// # Errors
/// The first step that failed. The writer must not be used again.
pub(crate) fn swap(writer: &mut Writer, merged: Merged) -> Result<(), StorageError> {
    let (layout, generation) = (writer.layout.clone(), writer.manifest.generation);
    let Merged { sources, segment } = merged;
    let is_source = |other: &Segment| sources.iter().any(|source| source.entry.name == other.entry.name);
    let mut segments: Vec<_> = writer.segments.iter().filter(|other| !is_source(other)).cloned().collect();
    if let Some(mut segment) = segment {
        mark_deleted_meanwhile(&mut segment, &sources, &writer.segments);
        if segment.live() > 0 {
            segments.push(segment);
        }
    }
    write_deleted(&layout, generation, &mut segments)?;
    failpoint::reach(Point::MergeDeleted);

    replace_manifest(writer, generation, segments)?;
    failpoint::reach(Point::MergeManifest);

    // As step 6 of a commit.
    let _ = recovery::collect_garbage(&layout, &writer.manifest, None);
    failpoint::reach(Point::MergeGarbage);
    Ok(())
}

/// What a compaction does once the segments are one: the other two stores, which each replace their files atomically.
///
/// # Errors
/// The first store that failed. The writer must not be used again.
pub(crate) fn compact_stores(writer: &mut Writer) -> Result<(), StorageError> {
    writer.catalog.compact()?;
    failpoint::reach(Point::CompactCatalog);
    writer.text.compact()?;
    failpoint::reach(Point::CompactText);
    Ok(())
}

/// The segments with what `changes` delete marked in them. One that has no live row left is not among them.
fn mark_deleted(segments: &[Segment], changes: &Changes) -> Vec<Segment> {
    let mut segments = segments.to_vec();
    for id in changes.deleted.keys() {
        let (i, row) = segment::locate(&segments, *id).expect("only live images are deleted; this is a bug");
        segments[i].deleted.insert(row);
    }
    segments.retain(|segment| segment.live() > 0);
    segments
}

/// Marks in `merged` what was live in its `sources` when the merge began and is not live in the segments there are `now`.
fn mark_deleted_meanwhile(merged: &mut Segment, sources: &[Segment], now: &[Segment]) {
    for source in sources {
        // A segment that is not there any more lost its last live row.
        let now = now.iter().find(|segment| segment.entry.name == source.entry.name);
        for (id, row) in source.live_rows() {
            if now.is_none_or(|now| now.deleted.contains(row)) {
                let row = merged.row_of(id).expect("a merge copies every live row; this is a bug");
                merged.deleted.insert(row);
            }
        }
    }
}

/// Writes the deleted rows of each segment that has more of them than its manifest entry says.
fn write_deleted(
    layout: &Layout,
    generation: Generation,
    segments: &mut [Segment],
) -> Result<(), StorageError> {
    for segment in segments {
        let known = segment.entry.deleted.as_ref().map_or(0, |list| list.rows as usize);
        if segment.deleted.len() == known {
            continue;
        }
        let dir = layout.segment(&segment.entry.name);
        let file = format!("deleted-{generation}.bin");
        segment::write_deleted(layout.directory(), &dir.join(&file), &segment.deleted)?;
        layout.directory().sync(&dir)?;
        segment.entry.deleted = Some(DeletedEntry { file, rows: segment.deleted.len() as u32 });
    }
    Ok(())
}

/// Writes `vectors.bin` and `ids.bin` of a new segment and opens them, all durable: `count` rows by ascending id.
pub(crate) fn write_rows<V: AsRef<[f32]>>(
    layout: &Layout,
    name: &str,
    (dim, dtype): (usize, Dtype),
    count: usize,
    rows: impl Iterator<Item = Result<(ImageId, V), StorageError>>,
) -> Result<SegmentRows, StorageError> {
    let limit = u32::MAX as usize;
    if count > limit {
        return Err(AnnError::TooManyRows { rows: count, limit }.into());
    }
    let (directory, dir) = (layout.directory(), layout.segment(name));
    directory.create_dir(&dir)?;
    let mut file = RowsWriter::create(directory, &dir, dim, dtype, count)?;
    for row in rows {
        let (id, vector) = row?;
        file.push(id, vector.as_ref())?;
    }
    file.finish()?;
    directory.sync(&dir)?;
    directory.sync(&layout.segments())?;
    SegmentRows::open(&dir, dim, dtype, count as u32)
}

/// Step 5: when this returns, the index is these segments, and the writer knows it.
fn replace_manifest(
    writer: &mut Writer,
    generation: Generation,
    segments: Vec<Segment>,
) -> Result<(), StorageError> {
    let mut manifest = Manifest {
        generation,
        next_id: writer.next_id,
        next_segment: writer.next_segment,
        segments: segments.iter().map(|segment| segment.entry.clone()).collect(),
        ..writer.manifest.clone()
    };
    manifest.replace(writer.layout.directory(), writer.layout.root())?;
    writer.manifest = manifest;
    writer.segments = segments;
    Ok(())
}

fn text_changes(changes: &Changes) -> TextChanges<'_> {
    let new = changes.images.iter().map(|(id, (record, _))| (*id, record));
    let updated = changes.updated.iter().map(|(id, record)| (*id, record));
    TextChanges {
        removed: changes.deleted.keys().chain(changes.updated.keys()).copied().collect(),
        added: new.chain(updated).collect(),
    }
}

fn catalog_changes(changes: &Changes) -> CatalogChanges<'_> {
    let new = changes.images.iter().map(|(id, (record, _))| (*id, record));
    let updated = changes.updated.iter().map(|(id, record)| (*id, record));
    CatalogChanges {
        deleted: changes.deleted.iter().map(|(id, uri)| (*id, uri.as_str())).collect(),
        records: new.chain(updated).collect(),
        skipped: changes.skipped.iter().map(|(uri, entry)| (uri.as_str(), entry.as_ref())).collect(),
    }
}
