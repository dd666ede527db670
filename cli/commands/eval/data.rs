//! What `pictor eval retrieval` ranks: photographs with captions, or embeddings from files.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::{Context, bail};
use pictor_core::EmbeddingBatch;
use pictor_eval::{Dataset, DatasetOptions, ImageRef, Pairing, Positives, Relevance};

use super::ranking::Task;
use crate::args::EvalRetrievalArgs;

/// What is ranked, and how it is named in the report.
pub struct Data {
    pub kind: Kind,
    pub task: Task,
    pub name: String,
    /// Files and folders by their role.
    pub sources: BTreeMap<String, String>,
    /// Equal hashes mean equal queries and positives.
    pub hash: String,
    /// Where positives come from.
    pub relevance: String,
    pub images_without_captions: usize,
}

pub enum Kind {
    Photographs(Dataset),
    Embeddings { images: EmbeddingBatch, texts: EmbeddingBatch },
}

impl Data {
    pub fn read(args: &EvalRetrievalArgs) -> anyhow::Result<Self> {
        match (&args.captions, &args.image_embeddings, &args.text_embeddings) {
            (Some(captions), ..) => Self::photographs(captions, args),
            (None, Some(images), Some(texts)) => Self::embeddings(images, texts, args),
            _ => bail!("nothing to evaluate: give --captions, or --image-embeddings with --text-embeddings"),
        }
    }

    fn photographs(captions: &Path, args: &EvalRetrievalArgs) -> anyhow::Result<Self> {
        let dataset = Dataset::read(&DatasetOptions {
            captions: captions.into(),
            images: args.images.clone(),
            split: args.split.clone(),
        })?;
        let Some(path) = &args.relevance else {
            return Self::of_dataset(dataset, None);
        };
        let positives = Positives::read(&dataset, path)?;
        let mut data = Self::of_dataset(dataset, Some(positives))?;
        data.sources.insert("relevance".into(), path.display().to_string());
        Ok(data)
    }

    fn of_dataset(dataset: Dataset, positives: Option<Positives>) -> anyhow::Result<Self> {
        let image_of_text = dataset.image_of_text();
        let described: HashSet<usize> = image_of_text.iter().copied().collect();
        let images_without_captions = dataset.images.len() - described.len();
        let mut hash = dataset.hash();
        let (relevance, source) = match positives {
            None => (Relevance::from_captions(&image_of_text, dataset.images.len())?, "captions".to_owned()),
            Some(positives) => {
                let lists = [&positives.images_of_text, &positives.texts_of_image];
                hash = blake3::hash(format!("{hash} {lists:?}").as_bytes()).to_hex().to_string();
                let source = match positives.outside {
                    0 => positives.source,
                    outside => {
                        format!("{} ({outside} judged pairs are outside of the set)", positives.source)
                    }
                };
                (Relevance::new(positives.images_of_text, positives.texts_of_image)?, source)
            }
        };
        let task = Task::new(
            dataset.image_names.clone(),
            dataset.texts().map(str::to_owned).collect(),
            image_of_text,
            relevance,
        );
        let sources = dataset.sources.iter().map(|(role, path)| (role.clone(), path.display().to_string()));
        let (name, sources) = (dataset.name.clone(), sources.collect());
        let kind = Kind::Photographs(dataset);
        Ok(Self { kind, task, name, sources, hash, relevance: source, images_without_captions })
    }

    fn embeddings(images: &Path, texts: &Path, args: &EvalRetrievalArgs) -> anyhow::Result<Self> {
        let (image_rows, dim) = pictor_indexer::read_vectors(images)?;
        let (text_rows, text_dim) = pictor_indexer::read_vectors(texts)?;
        let unit = |dim, rows, path: &Path| {
            EmbeddingBatch::normalise(dim, rows).with_context(|| path.display().to_string())
        };
        let pairing = match (&args.image_of_text, args.texts_per_image) {
            (Some(path), _) => Pairing::Images(image_of_text(path)?),
            (None, Some(each)) => Pairing::TextsPerImage(each),
            (None, None) => Pairing::Repeated,
        };
        let texts_read = text_rows.len().checked_div(text_dim).unwrap_or(0);
        let paired = pictor_eval::pair_rows(dim, image_rows, texts_read, pairing)?;
        let (image_batch, text_batch) =
            (unit(dim, paired.images, images)?, unit(text_dim, text_rows, texts)?);
        // Not the numbers: another model's embeddings of the same pairs are what a baseline is held against.
        let pairs = format!("embeddings of {} images {:?}", image_batch.len(), paired.image_of_text);
        let hash = blake3::hash(pairs.as_bytes()).to_hex().to_string();
        let relevance = Relevance::from_captions(&paired.image_of_text, image_batch.len())?;
        let images_without_captions = image_batch.len() - relevance.image_queries();
        let task = Task::new(Vec::new(), Vec::new(), paired.image_of_text, relevance);
        let role = |role: &str, path: &Path| (role.to_owned(), path.display().to_string());
        let mut sources: BTreeMap<_, _> = [role("images", images), role("texts", texts)].into();
        sources.extend(args.image_of_text.as_deref().map(|path| role("image of text", path)));
        let name = images.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            kind: Kind::Embeddings { images: image_batch, texts: text_batch },
            task,
            name,
            sources,
            hash,
            relevance: "captions".into(),
            images_without_captions,
        })
    }

    /// Leaves the images out that `kept` says no to, with their captions.
    pub fn keep_images(self, kept: &[bool]) -> anyhow::Result<Self> {
        let Kind::Photographs(dataset) = self.kind else { return Ok(self) };
        if kept.iter().all(|&kept| kept) {
            return Ok(Self { kind: Kind::Photographs(dataset), ..self });
        }
        let mut places = Vec::with_capacity(kept.len());
        let mut next = 0;
        for &kept in kept {
            places.push(kept.then_some(next));
            next += usize::from(kept);
        }
        let keep = |i: usize| kept.get(i) == Some(&true);
        let captions = dataset.captions.iter().filter_map(|caption| {
            let image = places.get(caption.image).copied().flatten()?;
            Some(pictor_eval::Caption { image, ..caption.clone() })
        });
        let reduced = Dataset {
            name: format!("{}, filtered", dataset.name),
            images: kept_of(&dataset.images, keep),
            image_names: kept_of(&dataset.image_names, keep),
            image_ids: kept_of(&dataset.image_ids, keep),
            captions: captions.collect(),
            sources: dataset.sources.clone(),
        };
        Self::of_dataset(reduced, None)
    }

    /// Where the image of a name is, for thumbnails.
    pub fn images_by_name(&self) -> BTreeMap<&str, &ImageRef> {
        match &self.kind {
            Kind::Photographs(dataset) => {
                dataset.image_names.iter().map(String::as_str).zip(&dataset.images).collect()
            }
            Kind::Embeddings { .. } => BTreeMap::new(),
        }
    }
}

/// Whole numbers from 0, from a `.npy` or a text file.
fn image_of_text(path: &Path) -> anyhow::Result<Vec<usize>> {
    if path.extension().is_none_or(|extension| extension != "npy") {
        let text = fs_err::read_to_string(path)?;
        return pictor_eval::parse_indices(&text).with_context(|| path.display().to_string());
    }
    let index = |number: i64| {
        usize::try_from(number).with_context(|| {
            format!("{}: {number} is no row of the images; rows count from 0", path.display())
        })
    };
    pictor_indexer::read_integers(path)?.into_iter().map(index).collect()
}

fn kept_of<T: Clone>(all: &[T], keep: impl Fn(usize) -> bool) -> Vec<T> {
    all.iter().enumerate().filter(|&(i, _)| keep(i)).map(|(_, item)| item.clone()).collect()
}
