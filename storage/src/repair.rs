//! Making again what can be made again (I3): nearest-neighbour indexes from vectors, the text index and the uri map from
//! records. Vectors, ids and records themselves are never touched: what of them is lost is named and left as it is.
//!
//! The next writer does the same for what it trips over (`recovery.rs`); this acts on everything that `verify.rs` finds.

use std::path::Path;

use pictor_core::ImageId;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::segment::{self, Segment};
use crate::verify::{Examined, Finding, Part, Remedy};
use crate::{StorageError, recovery, verify};

/// What [`repair`] did.
#[derive(Clone, Debug, Serialize)]
pub struct Repair {
    /// What was wrong and is not any more.
    pub repaired: Vec<Finding>,
    /// What was done, in words for people.
    pub done: Vec<String>,
    /// What is still wrong.
    pub remaining: Vec<Finding>,
}

/// Verifies the index in `dir`, makes again what can be, and verifies the result. `progress` is as for
/// [`verify`](crate::verify()), told for each of the two.
///
/// # Errors
/// As [`verify`](crate::verify()), and whatever kept a part from being written. What was done before stays.
pub fn repair(dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<Repair, StorageError> {
    let _lock = verify::lock(dir)?;
    let layout = Layout::new(dir);
    let found = Examined::all(&layout, progress)?;
    let Some(manifest) = &found.manifest else {
        return Ok(Repair { repaired: vec![], done: vec![], remaining: found.findings });
    };
    let done = make_again(&layout.at(&manifest.home), manifest, &found)?;
    if done.is_empty() {
        return Ok(Repair { repaired: vec![], done, remaining: found.findings });
    }
    let remaining = Examined::all(&layout, progress)?.findings;
    let repaired = found.findings.into_iter().filter(|finding| !remaining.contains(finding)).collect();
    Ok(Repair { repaired, done, remaining })
}

fn make_again(layout: &Layout, manifest: &Manifest, found: &Examined) -> Result<Vec<String>, StorageError> {
    let mut done = vec![];
    let has =
        |part| found.findings.iter().any(|finding| finding.part == part && finding.remedy == Remedy::Repair);
    // Text index and uri map are of exactly the live images, so those must be known, and all their records.
    if let Some(segments) = found.known_segments()
        && !found.is_lost(Part::Catalog)
        && (has(Part::Catalog) || has(Part::Text))
    {
        let live = |id: ImageId| segment::locate(&segments, id).is_some();
        let images: usize = segments.iter().map(Segment::live).sum();
        let catalog = Catalog::open(&layout.catalog())?;
        if has(Part::Catalog) {
            let next_id = manifest.next_id.max(catalog.next_id()?);
            catalog.recover(manifest.generation, next_id, images, live)?;
            done.push(format!("made the uri map again from {images} records"));
        }
        if has(Part::Text) {
            recovery::fill_text(&recovery::new_text(layout)?, manifest, &catalog, live)?;
            done.push(format!("made the text index again from {images} records"));
        }
    }
    for segment in found.segments.iter().flatten() {
        let dir = layout.segment(&segment.entry.name);
        let path = dir.join(segment::NEIGHBORS);
        if found.findings.iter().any(|finding| finding.part == Part::Neighbors && finding.path == path) {
            segment::rebuild_neighbors(layout.directory(), &dir, segment)?;
            let (kind, rows) = (&segment.entry.kind, segment.rows.len());
            done.push(format!(
                "built the {kind} index of segment {} again from {rows} vectors",
                segment.entry.name
            ));
        }
    }
    // A manifest that was put back from an old copy names less than there is; so nothing is deleted where something is lost.
    let lost = found.findings.iter().any(|finding| finding.remedy == Remedy::Restore);
    if !lost && has(Part::Segments) {
        recovery::collect_garbage(layout, manifest, None)?;
        done.push("deleted what an unfinished commit left".to_owned());
    }
    Ok(done)
}
