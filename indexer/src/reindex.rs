//! The same images with another model: their files are encoded again, into the successor of an index (`pictor_storage::Migration`).
//!
//! It is the ordinary job over the files that the index has, so it is bounded, resumable and reports like one. What people said of
//! the images (captions, attributes) is then taken over from the old records. Images get new ids: an id names one version of one
//! image, and its vector is part of it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pictor_core::{Encoder, ImageRecord};
use pictor_storage::{Migration, Snapshot, StorageError, Store};
use serde::Serialize;

use crate::{IndexError, IndexOptions, IndexReport, Progress, index};

/// What [`reindex`] did.
#[derive(Clone, Debug, Serialize)]
pub struct ReindexReport {
    /// The job over the files; `None` when there was no file left to encode from.
    pub index: Option<IndexReport>,
    /// Images of the old index.
    pub images: u64,
    /// Captions and attributes taken over.
    pub carried: u64,
    /// Images of the old index that the new one lacks: their files are gone or cannot be read, or they were imported as vectors.
    pub missing: Vec<String>,
    /// Whether the caller stopped it. Running it again goes on.
    pub cancelled: bool,
}

/// Brings the successor of an index up to date with it: after this, all that can be encoded again has been. Nothing is switched.
///
/// # Errors
/// As [`index`]; [`StorageError::OtherSuccessor`] when one was begun for another model.
pub fn reindex(
    migration: &Migration,
    encoder: Arc<dyn Encoder>,
    options: &IndexOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<ReindexReport, IndexError> {
    let old = migration.old()?;
    let successor = migration.successor(encoder.spec())?;
    let mut files = Vec::new();
    for entry in old.records() {
        let path = PathBuf::from(entry?.1.uri);
        if path.is_file() {
            files.push(path);
        }
    }
    let report = match files.is_empty() {
        true => None,
        false => Some(index(&files, &successor, encoder, options, progress, cancel)?),
    };
    let cancelled = report.as_ref().is_some_and(|report| report.cancelled);
    let mut report =
        ReindexReport { index: report, images: old.len() as u64, carried: 0, missing: Vec::new(), cancelled };
    if !cancelled {
        take_over(&old, &successor, &mut report)?;
    }
    Ok(report)
}

/// What the old records say of images beside their bytes, and which images there are.
fn take_over(old: &Snapshot, successor: &Store, report: &mut ReindexReport) -> Result<(), StorageError> {
    let mut writer = successor.writer()?;
    let mut wanted = HashSet::new();
    for entry in old.records() {
        let ImageRecord { uri, captions, attributes, .. } = entry?.1;
        match writer.find(&uri)? {
            None => report.missing.push(uri.clone()),
            Some((id, known)) if (&known.captions, &known.attributes) != (&captions, &attributes) => {
                report.carried += 1;
                writer.update_record(id, ImageRecord { captions, attributes, ..known })?;
            }
            Some(_) => {}
        }
        wanted.insert(uri);
    }
    // An earlier run may have encoded what the old index has deleted since.
    for entry in successor.snapshot()?.records() {
        let (id, record) = entry?;
        if !wanted.contains(&record.uri) {
            writer.delete(id)?;
        }
    }
    writer.finish().map(|_| ())
}
