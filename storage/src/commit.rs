//! The commit protocol, step by step: three stores, one truth. FORMAT.md argues why each order is as it is.
//!
//! Until step 5 nothing that the last manifest names has changed, except that the catalog and the text index know more than it
//! shows; after step 5 nothing that the new one names is missing.

use pictor_ann::AnnError;
use pictor_core::{Generation, ImageId};

use crate::catalog::CatalogChanges;
use crate::failpoint::{Failpoint, Point};
use crate::manifest::{DeletedEntry, Manifest};
use crate::merge::{self, SegmentStats};
use crate::segment::{self, RowsWriter, Segment, SegmentRows};
use crate::text::TextChanges;
use crate::writer::{Changes, Writer};
use crate::{StorageError, recovery};

/// Commits the writer's changes.
///
/// # Errors
/// The first step that failed. The writer must not be used again.
pub(crate) fn run(writer: &mut Writer) -> Result<Generation, StorageError> {
    let failpoint = Failpoint::from_env();
    let generation = writer.manifest.generation.next();
    let changes = std::mem::take(&mut writer.changes);

    // 1. Rows: the lists of deleted ones, and a new segment of the new images and of every segment folded into it.
    let (mut segments, folded) = plan(&writer.segments, &changes);
    write_deleted(writer, generation, &mut segments)?;
    let rows = new_rows(&folded, &changes);
    let fresh = (!rows.is_empty()).then(|| write_rows(writer, generation, &rows)).transpose()?;
    writer.layout.directory().sync(&writer.layout.segments())?;
    failpoint.reach(Point::Vectors);

    // 2. The nearest-neighbour index of the new segment.
    if let Some((name, rows)) = fresh {
        let dir = writer.layout.segment(&name);
        let kind = segment::build_neighbors(writer.layout.directory(), &dir, &writer.manifest.kind, &rows)?;
        segments.push(Segment::fresh(name, kind, rows));
    }
    failpoint.reach(Point::Ann);

    // 3. tantivy.
    writer.text.commit(generation, &text_changes(&changes))?;
    failpoint.reach(Point::Text);

    // 4. RocksDB.
    writer.catalog.apply(generation, writer.next_id, &catalog_changes(&changes))?;
    failpoint.reach(Point::Catalog);

    // 5. This is the commit.
    let mut manifest = Manifest {
        generation,
        next_id: writer.next_id,
        segments: segments.iter().map(|segment| segment.entry.clone()).collect(),
        ..writer.manifest.clone()
    };
    manifest.replace(writer.layout.directory(), writer.layout.root())?;
    failpoint.reach(Point::Manifest);
    writer.manifest = manifest;
    writer.segments = segments;

    // 6. What nothing names any more. The commit stands whether or not this works; what is left goes when the next writer
    // opens, which reports a failure.
    let _ = recovery::collect_garbage(&writer.layout, &writer.manifest);
    Ok(generation)
}

/// Marks what is deleted, then parts the segments into those that stay and those that are folded into the new one.
fn plan(segments: &[Segment], changes: &Changes) -> (Vec<Segment>, Vec<Segment>) {
    let mut segments = segments.to_vec();
    for id in changes.deleted.keys() {
        let (i, row) = segment::locate(&segments, *id).expect("only live images are deleted; this is a bug");
        segments[i].deleted.insert(row);
    }
    let stats = |segment: &Segment| SegmentStats { rows: segment.rows.len(), live: segment.live() };
    let chosen = merge::choose(&segments.iter().map(stats).collect::<Vec<_>>(), changes.images.len());
    let (folded, kept): (Vec<_>, Vec<_>) =
        segments.into_iter().enumerate().partition(|(i, _)| chosen.contains(i));
    let strip = |parted: Vec<(usize, Segment)>| parted.into_iter().map(|(_, segment)| segment).collect();
    (strip(kept), strip(folded))
}

/// Writes the deleted rows of each segment that has more of them than its manifest entry says.
fn write_deleted(
    writer: &Writer,
    generation: Generation,
    segments: &mut [Segment],
) -> Result<(), StorageError> {
    for segment in segments {
        let known = segment.entry.deleted.as_ref().map_or(0, |list| list.rows as usize);
        if segment.deleted.len() == known {
            continue;
        }
        let dir = writer.layout.segment(&segment.entry.name);
        let file = format!("deleted-{generation}.bin");
        segment::write_deleted(writer.layout.directory(), &dir.join(&file), &segment.deleted)?;
        writer.layout.directory().sync(&dir)?;
        segment.entry.deleted = Some(DeletedEntry { file, rows: segment.deleted.len() as u32 });
    }
    Ok(())
}

/// The rows of the new segment by ascending id.
fn new_rows<'a>(folded: &'a [Segment], changes: &'a Changes) -> Vec<(ImageId, Row<'a>)> {
    let old = folded
        .iter()
        .flat_map(|segment| segment.live_rows().map(move |(id, row)| (id, Row::Old(segment, row))));
    let new = changes.images.iter().map(|(id, (_, vector))| (*id, Row::New(vector)));
    let mut rows: Vec<_> = old.chain(new).collect();
    rows.sort_unstable_by_key(|(id, _)| *id);
    rows
}

/// Where a row of the new segment comes from.
enum Row<'a> {
    Old(&'a Segment, u32),
    New(&'a [f32]),
}

/// Writes the new segment's `vectors.bin` and `ids.bin` and opens them; the segment is named after the generation.
fn write_rows(
    writer: &Writer,
    generation: Generation,
    rows: &[(ImageId, Row<'_>)],
) -> Result<(String, SegmentRows), StorageError> {
    let limit = u32::MAX as usize;
    if rows.len() > limit {
        return Err(AnnError::TooManyRows { rows: rows.len(), limit }.into());
    }
    let directory = writer.layout.directory();
    let (dim, dtype) = writer.manifest.shape();
    let name = format!("{:08}", generation.0);
    let dir = writer.layout.segment(&name);
    directory.create_dir(&dir)?;
    let mut file = RowsWriter::create(directory, &dir, dim, dtype, rows.len())?;
    for (id, row) in rows {
        match row {
            Row::Old(segment, row) => file.push(*id, &segment.rows.vector(*row)?)?,
            Row::New(vector) => file.push(*id, vector)?,
        }
    }
    file.finish()?;
    directory.sync(&dir)?;
    let rows = SegmentRows::open(&dir, dim, dtype, rows.len() as u32)?;
    Ok((name, rows))
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
