//! Images and their captions, as published datasets name them.
//!
//! | what is given | told by | images |
//! |---|---|---|
//! | a caption file | any layout of [`pictor_core::parse_captions`] | files of a folder (`folder`) |
//! | a webdataset | a `.tar`, a folder of them, or a pattern such as `test/{0..4}.tar` (`shards`, `webdataset`) | members of the shards |
//!
//! The list of captions is the list of images: files of the folder that it does not name take no part. `split` keeps part of it,
//! `image_ref` is where an image's bytes are, `relevance` reads judgements that were made later. What must stay true: the
//! dataset is exactly what was asked for, or an error; an image that is missing would make a figure that compares with nothing.

mod archive;
mod folder;
mod image_ref;
mod relevance;
mod shards;
mod split;
#[cfg(test)]
mod tests;
mod webdataset;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pictor_core::CaptionEntry;

use crate::EvalError;

pub(crate) use folder::find;
pub use image_ref::ImageRef;
pub use relevance::{Positives, cxc, eccv_caption};
pub(crate) use shards::shards;
pub(crate) use webdataset::samples;

/// How many names an error shows.
pub(crate) const SHOWN: usize = 5;

/// Which files a dataset is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetOptions {
    /// A caption file in any layout of [`pictor_core::parse_captions`], or a webdataset: a `.tar` shard, a folder of shards, or a
    /// pattern of shards with `{0..4}`, `{a,b}`, `*` or `?`.
    pub captions: PathBuf,
    /// The folder of the images that a caption file names; by default the folder that the caption file lies in. A webdataset holds
    /// its own images and takes none.
    pub images: Option<PathBuf>,
    /// Keeps part of the images: a file that names them, or the name of a split that the captions know; see [`Dataset::read`].
    pub split: Option<PathBuf>,
}

/// A retrieval dataset: which caption belongs to which image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// For people: the name of the caption file or of the shards' folder, and the split.
    pub name: String,
    /// Where the bytes of each image are, in the order of the caption file or of the shards.
    pub images: Vec<ImageRef>,
    /// Each image as the dataset names it: as the caption file has it, or `0.tar/s0000001.webp`. As many as images, all different.
    pub image_names: Vec<String>,
    /// COCO's id of each image: as the file has it, else the number in a name such as `COCO_val2014_000000391895.jpg`. As many as
    /// images.
    pub image_ids: Vec<Option<u64>>,
    /// Every caption of every image, grouped by image.
    pub captions: Vec<Caption>,
    /// What was read, by its role: `captions`, `images`, `split`.
    pub sources: BTreeMap<String, PathBuf>,
}

/// A text and the image it describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caption {
    /// Index into [`Dataset::images`].
    pub image: usize,
    /// The caption as the file has it, surrounding white space removed.
    pub text: String,
    /// COCO's id of the caption, where the file has it.
    pub id: Option<u64>,
}

impl Dataset {
    /// Reads captions and finds their images.
    ///
    /// A caption file's images are searched in the images folder: each at the path it is named by
    /// (`images/val2014/COCO_val2014_000000391895.jpg`), or by its file name alone.
    ///
    /// `split` keeps part of the images of a caption file: a file that names them, or the name of a split that the caption file
    /// itself knows (`test` in `dataset_coco.json`). A file of that name comes first; it is a list with one image a line (its name,
    /// with or without folders and extension, maybe with its id after it, or its COCO id alone), a JSON list of such names, or
    /// another caption file in JSON (`coco_karpathy_test.json` picks the Karpathy split out of `captions_val2014.json`). Of a
    /// webdataset's folder it chooses the sub-folder, which is `test` in CLIP_benchmark's.
    ///
    /// # Errors
    /// [`EvalError`] when a file is unreadable or no caption file, the split is unknown, the split list or the caption file
    /// names an image that is not there, two images lead to one file, a shard is damaged or missing, or nothing remains.
    pub fn read(options: &DatasetOptions) -> Result<Self, EvalError> {
        let DatasetOptions { captions, images, split } = options;
        let dataset = match shards(captions, split.as_deref())? {
            Some(shards) => Self::of_shards(options, &shards)?,
            None => {
                let folder = images.as_deref().unwrap_or_else(|| parent(captions));
                Self::of_file(captions, folder, split.as_deref())?
            }
        };
        if dataset.images.is_empty() || dataset.captions.is_empty() {
            let (images, captions) = (dataset.images.len(), dataset.captions.len());
            return Err(EvalError::Nothing { images, captions });
        }
        Ok(dataset)
    }

    fn of_file(captions_file: &Path, folder: &Path, split: Option<&Path>) -> Result<Self, EvalError> {
        let text = fs_err::read_to_string(captions_file)?;
        let entries = pictor_core::parse_captions(&text)
            .map_err(|source| EvalError::Captions { path: captions_file.into(), source })?;
        let mut sources = sources(captions_file, split.filter(|list| list.is_file()));
        sources.insert("images".into(), folder.into());
        let entries = match split {
            None => entries,
            Some(list) if list.is_file() => split::listed(entries, list, captions_file)?,
            Some(name) => split::of_split(entries, &name.to_string_lossy(), captions_file)?,
        };
        let images = folder::find_images(&entries, folder)?.into_iter().map(ImageRef::File).collect();
        let mut dataset = Self {
            name: display_name(captions_file, split),
            images,
            image_names: Vec::with_capacity(entries.len()),
            image_ids: Vec::with_capacity(entries.len()),
            captions: Vec::new(),
            sources,
        };
        for (image, entry) in entries.into_iter().enumerate() {
            let CaptionEntry { image: name, captions, id, caption_ids, .. } = entry;
            dataset.image_ids.push(id.or_else(|| coco_id(&name)));
            dataset.image_names.push(name);
            let captions = captions.into_iter().zip(caption_ids);
            dataset.captions.extend(captions.map(|(text, id)| Caption { image, text, id }));
        }
        Ok(dataset)
    }

    fn of_shards(options: &DatasetOptions, shards: &[PathBuf]) -> Result<Self, EvalError> {
        let path = &options.captions;
        if let Some(images) = &options.images {
            let reason = format!("a webdataset holds its images; leave {} out", images.display());
            return Err(EvalError::Format { path: path.clone(), reason });
        }
        let mut dataset = Self {
            name: display_name(path, options.split.as_deref()),
            images: Vec::new(),
            image_names: Vec::new(),
            image_ids: Vec::new(),
            captions: Vec::new(),
            sources: sources(path, None),
        };
        for sample in samples(shards, &["txt", "json"])? {
            let image = dataset.images.len();
            let captions = webdataset::captions(&sample)?;
            dataset.captions.extend(captions.into_iter().map(|text| Caption { image, text, id: None }));
            dataset.image_ids.push(coco_id(&sample.name));
            dataset.image_names.push(sample.name);
            dataset.images.push(sample.image);
        }
        Ok(dataset)
    }

    /// The text of each caption, in order: what to encode.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.captions.iter().map(|caption| caption.text.as_str())
    }

    /// The image index of each caption, in order: from which positives are made.
    pub fn image_of_text(&self) -> Vec<usize> {
        self.captions.iter().map(|caption| caption.image).collect()
    }

    /// Lower-case hexadecimal BLAKE3 over the names of the images and the captions with their images, in order: equal hashes mean
    /// the same queries in the same order. Folders and the bytes of images take no part.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut text = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        text("pictor retrieval dataset 1");
        text(&self.image_names.len().to_string());
        self.image_names.iter().for_each(|name| text(name));
        for caption in &self.captions {
            text(&caption.image.to_string());
            text(&caption.text);
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// What was read, by its role.
fn sources(captions: &Path, split: Option<&Path>) -> BTreeMap<String, PathBuf> {
    let split = split.map(|list| ("split".into(), list.into()));
    [("captions".into(), captions.into())].into_iter().chain(split).collect()
}

/// The folder of a file; of a bare name the working directory.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn display_name(captions: &Path, split: Option<&Path>) -> String {
    let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    match split {
        None => name(captions),
        Some(split) => format!("{}, {}", name(captions), name(split)),
    }
}

/// The id in a file name of COCO: twelve digits before the extension, alone (2017) or after `COCO_val2014_`.
pub(crate) fn coco_id(name: &str) -> Option<u64> {
    let file_name = name.rsplit('/').next().unwrap_or(name);
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
    let digits = match stem.strip_prefix("COCO_") {
        Some(rest) => rest.rsplit_once('_')?.1,
        None => stem,
    };
    let is_id = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit());
    is_id.then(|| digits.parse().ok()).flatten()
}
