//! Positives that were judged after the captions were written, matched to a dataset by COCO's ids.
//!
//! | judgements | file | source of the layout |
//! |---|---|---|
//! | ECCV Caption (Chun et al. 2022, arXiv 2204.03359) | `eccv_caption_to_image.json`, `eccv_image_to_caption.json`: an object from id to a list of ids | package `eccv_caption` (`metrics.py`, `data/`); `cxc_…` and `original_…` there have the same layout |
//! | CxC (Parekh et al. 2020, arXiv 2004.15020) | `sits_test.csv`, `sits_val.csv`: `caption,image,agg_score,sampling_method` | google-research-datasets/Crisscrossed-Captions |
//!
//! A CxC pair is positive from a rating of 3 on (section 3 of the paper; `data_tools/merge.py` of ECCV Caption): original pairs
//! that people rated lower are not, so 28 of the 25,000 captions of the test split are no queries. Of the rows of `sits_test.csv`
//! this rule makes exactly the positives of `cxc_caption_to_image.json`.
//!
//! What must stay true: the two directions are kept as they are judged (ECCV Caption's differ), and a pair that names an image or a
//! caption outside the dataset is counted. The published figures rank the 25,000 captions with those ids; a dataset with all
//! 25,010 captions has ten more that compete.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::{Dataset, coco_id};
use crate::EvalError;

/// From which rating on a CxC pair is positive (0..=5).
const CXC_POSITIVE: f64 = 3.0;

/// The file of the test split.
const CXC_FILE: &str = "sits_test.csv";

/// First line of a CxC file of images and captions.
const CXC_HEADING: [&str; 4] = ["caption", "image", "agg_score", "sampling_method"];

/// Ends of the names of the two files of ECCV Caption's layout.
const TEXTS: &str = "caption_to_image.json";
const IMAGES: &str = "image_to_caption.json";

/// Positives of both directions, as indices into a [`Dataset`]; sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positives {
    /// For reports: `ECCV Caption`, `CxC`, or the name of the file.
    pub source: String,
    /// The images that each caption describes; as many lists as captions. Empty: the caption is no query.
    pub images_of_text: Vec<Vec<u32>>,
    /// The captions that describe each image; as many lists as images. Empty: the image is no query.
    pub texts_of_image: Vec<Vec<u32>>,
    /// Judged pairs of which the dataset lacks the image or the caption; their other side keeps its remaining positives.
    pub outside: usize,
}

impl Positives {
    /// Reads judgements, told apart by content: CxC's CSV, or one of ECCV Caption's two files (the other is found beside it), or a
    /// folder with either.
    ///
    /// # Errors
    /// As [`eccv_caption`] and [`cxc`].
    pub fn read(dataset: &Dataset, path: &Path) -> Result<Self, EvalError> {
        if path.is_dir() {
            let table = path.join(CXC_FILE);
            let is_cxc = !path.join(format!("eccv_{TEXTS}")).is_file() && table.is_file();
            return if is_cxc { cxc(dataset, &[table]) } else { eccv_caption(dataset, path) };
        }
        let text = fs_err::read_to_string(path)?;
        match text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
            true => eccv_caption(dataset, path),
            false => cxc(dataset, &[path.to_owned()]),
        }
    }
}

/// ECCV Caption: `path` is the folder with `eccv_caption_to_image.json` and `eccv_image_to_caption.json`, or one of two files that end
/// so and lie side by side (`cxc_caption_to_image.json`).
///
/// # Errors
/// [`EvalError`] when a file is missing or of another layout, the dataset has no COCO ids, or no pair is of the dataset.
pub fn eccv_caption(dataset: &Dataset, path: &Path) -> Result<Positives, EvalError> {
    let (texts, images, source) = eccv_files(path)?;
    let mut ids = Ids::of(dataset, path)?;
    let mut positives = ids.none(&source);
    for (caption, of_caption) in eccv_pairs(&texts)? {
        for image in of_caption {
            if let Some((text, image)) = ids.find(caption, image) {
                positives.images_of_text[text as usize].push(image);
            }
        }
    }
    for (image, of_image) in eccv_pairs(&images)? {
        for caption in of_image {
            if let Some((text, image)) = ids.find(caption, image) {
                positives.texts_of_image[image as usize].push(text);
            }
        }
    }
    ids.finish(positives, path)
}

/// The two files and what they are called in a report.
fn eccv_files(path: &Path) -> Result<(PathBuf, PathBuf, String), EvalError> {
    let named = |prefix: &str, source: &str| {
        let folder = if path.is_dir() { path } else { super::parent(path) };
        let at = |end: &str| folder.join(format!("{prefix}{end}"));
        (at(TEXTS), at(IMAGES), source.to_owned())
    };
    if path.is_dir() {
        return Ok(named("eccv_", "ECCV Caption"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(prefix) = name.strip_suffix(TEXTS).or_else(|| name.strip_suffix(IMAGES)) else {
        let reason = format!(
            "its name ends neither in {TEXTS} nor in {IMAGES}, which is how the two directions are told; rename it"
        );
        return Err(EvalError::Format { path: path.into(), reason });
    };
    Ok(match prefix {
        "eccv_" => named(prefix, "ECCV Caption"),
        "cxc_" => named(prefix, "CxC"),
        other => named(other, other.trim_end_matches('_')),
    })
}

fn eccv_pairs(path: &Path) -> Result<BTreeMap<u64, Vec<u64>>, EvalError> {
    serde_json::from_str(fs_err::read_to_string(path)?.trim_start_matches('\u{feff}')).map_err(|error| {
        let reason = format!(
            "{error}; expected an object from an id to a list of ids, such as {{\"552666\": [445512]}}"
        );
        EvalError::Format { path: path.into(), reason }
    })
}

/// CxC: one or more files of rated pairs of a caption and an image (`sits_test.csv`).
///
/// # Errors
/// [`EvalError`] when a file is of another layout, the dataset has no COCO ids, or no pair is of the dataset.
pub fn cxc(dataset: &Dataset, files: &[PathBuf]) -> Result<Positives, EvalError> {
    let first = files.first().map_or(Path::new(CXC_FILE), PathBuf::as_path);
    let mut ids = Ids::of(dataset, first)?;
    let mut positives = ids.none("CxC");
    for file in files {
        for (caption, image) in cxc_pairs(file)? {
            if let Some((text, image)) = ids.find(caption, image) {
                positives.images_of_text[text as usize].push(image);
                positives.texts_of_image[image as usize].push(text);
            }
        }
    }
    ids.finish(positives, first)
}

/// The positive pairs of one file, as ids of caption and image.
fn cxc_pairs(path: &Path) -> Result<Vec<(u64, u64)>, EvalError> {
    let text = fs_err::read_to_string(path)?;
    let text = text.trim_start_matches('\u{feff}');
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut pairs = Vec::new();
    for (line, row) in (1..).zip(rows.records()) {
        let wrong = |reason: String| EvalError::Format { path: path.into(), reason };
        let row = row.map_err(|error| wrong(error.to_string()))?;
        if line == 1 {
            if row.iter().map(str::trim).ne(CXC_HEADING) {
                return Err(wrong(format!(
                    "its columns are {}; expected {} (sits_test.csv of Crisscrossed Captions), or ECCV Caption's JSON",
                    row.iter().take(8).collect::<Vec<_>>().join(","),
                    CXC_HEADING.join(",")
                )));
            }
            continue;
        }
        // COCO_val2014:sentid:732091,COCO_val2014_000000365325.jpg,2.2,c2i_intrasim
        let pair = || {
            let [caption, image, rating] = [row.get(0)?, row.get(1)?, row.get(2)?];
            let caption = caption.rsplit(':').next()?.trim().parse::<u64>().ok()?;
            Some((
                caption,
                coco_id(image.trim())?,
                rating.trim().parse::<f64>().ok().filter(|r| r.is_finite())?,
            ))
        };
        let (caption, image, rating) = pair().ok_or_else(|| {
            wrong(format!(
                "line {line} is not a caption's id, an image's file name and a rating; fetch the file again"
            ))
        })?;
        if rating >= CXC_POSITIVE {
            pairs.push((caption, image));
        }
    }
    Ok(pairs)
}

/// Where each COCO id is in the dataset.
struct Ids {
    texts: HashMap<u64, u32>,
    images: HashMap<u64, u32>,
    of_texts: usize,
    of_images: usize,
    met: usize,
    outside: usize,
}

impl Ids {
    fn of(dataset: &Dataset, judgements: &Path) -> Result<Self, EvalError> {
        let wrong = |reason: String| EvalError::Format { path: judgements.into(), reason };
        let index = |what: &str, ids: &mut dyn Iterator<Item = Option<u64>>| {
            let mut at = HashMap::new();
            for (index, id) in (0u32..).zip(ids) {
                let Some(id) = id else { continue };
                if at.insert(id, index).is_some() {
                    return Err(wrong(format!(
                        "the dataset has the {what} id {id} twice; correct the caption file"
                    )));
                }
            }
            if at.is_empty() {
                return Err(wrong(format!(
                    "it names {what}s by COCO's ids, and the dataset has none; take the captions from dataset_coco.json with \
                     split test, or from captions_val2014.json with coco_karpathy_test.json as the split"
                )));
            }
            Ok(at)
        };
        Ok(Self {
            texts: index("caption", &mut dataset.captions.iter().map(|caption| caption.id))?,
            images: index("image", &mut dataset.image_ids.iter().copied())?,
            of_texts: dataset.captions.len(),
            of_images: dataset.images.len(),
            met: 0,
            outside: 0,
        })
    }

    fn none(&self, source: &str) -> Positives {
        Positives {
            source: source.into(),
            images_of_text: vec![Vec::new(); self.of_texts],
            texts_of_image: vec![Vec::new(); self.of_images],
            outside: 0,
        }
    }

    fn find(&mut self, caption: u64, image: u64) -> Option<(u32, u32)> {
        let found = self.texts.get(&caption).copied().zip(self.images.get(&image).copied());
        match found {
            Some(_) => self.met += 1,
            None => self.outside += 1,
        }
        found
    }

    fn finish(&self, mut positives: Positives, judgements: &Path) -> Result<Positives, EvalError> {
        if self.met == 0 {
            let reason = "none of its pairs is of this dataset; it judges the 5,000 images of COCO's Karpathy test split".into();
            return Err(EvalError::Format { path: judgements.into(), reason });
        }
        for list in positives.images_of_text.iter_mut().chain(&mut positives.texts_of_image) {
            list.sort_unstable();
            list.dedup();
        }
        positives.outside = self.outside;
        Ok(positives)
    }
}
