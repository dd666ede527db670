//! A dataset as an index ranks it: the vectors it stores, and what a search of it returns.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use pictor_core::{EmbeddingBatch, EncoderSpec, ImageId};
use pictor_eval::{Candidate, Dataset, Ranked, Relevance};
use pictor_storage::{Filter, Snapshot, Store};
use rayon::prelude::*;

/// An index that holds the images of a dataset.
pub struct ThroughIndex {
    pub kind: String,
    snapshot: Arc<Snapshot>,
    filter: Option<Filter>,
    /// The id of each image of the dataset, in its order; `None` where the filter leaves the image out.
    ids: Vec<Option<ImageId>>,
    /// Images that a search can return.
    pub images: usize,
}

impl ThroughIndex {
    /// Opens the index and finds every image of the dataset in it.
    pub fn open(
        index: &Path,
        dataset: &Dataset,
        encoder: &EncoderSpec,
        filter: Option<&str>,
    ) -> anyhow::Result<Self> {
        let store = Store::open(index)?;
        store.check_encoder(encoder)?;
        let snapshot = store.snapshot()?;
        let ids = ids_of(dataset, &snapshot, index)?;
        let filter = filter.map(str::parse::<Filter>).transpose()?;
        let images = match &filter {
            None => snapshot.len(),
            Some(filter) => snapshot.count_matches(filter)?,
        };
        ensure!(images > 0, "no image of {} matches the filter", index.display());
        let kept: Option<std::collections::HashSet<ImageId>> = match &filter {
            None => None,
            Some(_) => {
                // A filtered search returns every match when so many are wanted, whatever the query.
                let mut any = vec![0.0; encoder.dim];
                any[0] = 1.0;
                let hits = snapshot.search_vectors(&any, images, None, filter.as_ref())?;
                Some(hits.iter().map(|hit| hit.id).collect())
            }
        };
        let ids: Vec<_> = ids
            .into_iter()
            .map(|id| kept.as_ref().is_none_or(|kept| kept.contains(&id)).then_some(id))
            .collect();
        ensure!(
            ids.iter().any(Option::is_some),
            "the filter matches {images} images of {}, none of them of the dataset",
            index.display()
        );
        Ok(Self { kind: store.kind()?.to_string(), snapshot, filter, ids, images })
    }

    /// Which images of the dataset the filter matches: all without one.
    pub fn kept(&self) -> Vec<bool> {
        self.ids.iter().map(Option::is_some).collect()
    }

    /// The vectors that the index stores of the images that are kept, in the dataset's order.
    pub fn vectors(&self, dim: usize) -> anyhow::Result<EmbeddingBatch> {
        let mut data = Vec::with_capacity(self.ids.len() * dim);
        for &id in self.ids.iter().flatten() {
            data.extend(self.snapshot.vector(id)?.with_context(|| format!("image {id} has no vector"))?);
        }
        // A stored f16 row is of norm 1 within its rounding; the index ranks by it as it is.
        Ok(EmbeddingBatch::new(dim, data)?)
    }

    /// Text → image as a search returns it. `relevance` is about the images that are kept; an image of the index that is not of the
    /// dataset competes as well.
    pub fn rank(
        &self,
        texts: &EmbeddingBatch,
        relevance: &Relevance,
        keep: usize,
        effort: Option<usize>,
    ) -> anyhow::Result<Vec<Ranked>> {
        let place: HashMap<ImageId, u32> = self.ids.iter().flatten().copied().zip(0..).collect();
        let lists: Vec<Vec<Candidate>> = (0..texts.len())
            .into_par_iter()
            .map(|t| {
                let text = texts.row(t).context("fewer text vectors than captions; this is a bug")?;
                let hits = self.snapshot.search_vectors(text, keep, effort, self.filter.as_ref())?;
                let item = |id| place.get(&id).copied().unwrap_or(u32::MAX);
                Ok(hits.iter().map(|hit| Candidate { item: item(hit.id), score: hit.score.get() }).collect())
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(pictor_eval::from_lists(&lists, |text| relevance.images_of_text(text), keep >= self.images)?)
    }
}

/// The id of every image of the set, in its order.
fn ids_of(dataset: &Dataset, snapshot: &Snapshot, index: &Path) -> anyhow::Result<Vec<ImageId>> {
    let mut by_uri = HashMap::with_capacity(snapshot.len());
    for record in snapshot.records() {
        let (id, record) = record?;
        by_uri.insert(record.uri, id);
    }
    let found: Vec<Option<ImageId>> = dataset
        .images
        .iter()
        .map(|image| {
            let Some(path) = image.file() else {
                bail!("{} lies in an archive, and an index is of files; unpack the archive", image.name())
            };
            Ok(by_uri.get(fs_err::canonicalize(path)?.to_string_lossy().as_ref()).copied())
        })
        .collect::<anyhow::Result<_>>()?;
    let missing = found.iter().filter(|id| id.is_none()).count();
    if let Some(first) = found.iter().position(Option::is_none) {
        bail!(
            "{missing} of {} images are not in {}, the first is {}; index them with: pictor index IMAGES --index {}",
            found.len(),
            index.display(),
            dataset.images[first].name(),
            index.display()
        );
    }
    let mut owners = HashMap::new();
    for (place, id) in found.iter().enumerate() {
        if let Some(first) = owners.insert(id, place) {
            let [first, second] = [first, place].map(|place| dataset.images[place].name());
            bail!("{first} and {second} are one file; a set in which one image is two has no figure");
        }
    }
    Ok(found.into_iter().flatten().collect())
}
