//! Why there is no figure.

use std::path::PathBuf;

use pictor_core::CaptionsError;
use thiserror::Error;

/// Why a dataset was not read or a figure not computed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A caption file or split list could not be read; the path is in the source.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// The caption file makes no sense.
    #[error("captions {}", .path.display())]
    Captions {
        /// The caption file.
        path: PathBuf,
        /// What is wrong with it.
        source: CaptionsError,
    },
    /// The split is neither a file nor a split that the caption file knows.
    #[error("split '{split}' is no file, and {} {}", .captions.display(), known_splits(.known))]
    UnknownSplit {
        /// What was asked for.
        split: String,
        /// The caption file.
        captions: PathBuf,
        /// Split names that the caption file has, sorted.
        known: Vec<String>,
    },
    /// The split list names images without an entry in the caption file.
    #[error(
        "{count} of the images that {} lists are not in {} (first: {}); the two files belong to different datasets, \
         or one is cut",
        .list.display(), .captions.display(), .first.join(", ")
    )]
    NotInCaptions {
        /// The split list.
        list: PathBuf,
        /// The caption file.
        captions: PathBuf,
        /// How many names have no entry.
        count: usize,
        /// The first few of them.
        first: Vec<String>,
    },
    /// Images that the caption file names are not in the folder.
    #[error(
        "{count} of {of} images are not in {} (first: {}); a figure over the others would not be comparable: add the \
         images, or choose them with a split list",
        .dir.display(), .first.join(", ")
    )]
    MissingImages {
        /// The images folder.
        dir: PathBuf,
        /// How many images are missing.
        count: usize,
        /// How many the dataset has.
        of: usize,
        /// The first few of them, as the caption file names them.
        first: Vec<String>,
    },
    /// Two images of the caption file lead to one file of the folder.
    #[error(
        "'{first}' and '{second}' are both found at {}; give the folder that holds their sub-folders",
        .path.display()
    )]
    SameFile {
        /// The earlier image, as the caption file names it.
        first: String,
        /// The later one.
        second: String,
        /// The file that both lead to.
        path: PathBuf,
    },
    /// The file is no report of an evaluation.
    #[error("{} is no report of pictor eval retrieval; give a file that its --json wrote", .path.display())]
    NoReport {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The report is of another version's layout.
    #[error(
        "report {} has format {received}, this version reads {expected}; make it again with this version",
        .path.display()
    )]
    ReportFormat {
        /// The file.
        path: PathBuf,
        /// The format it states.
        received: u32,
        /// The format that is read.
        expected: u32,
    },
    /// The baseline is of other data.
    #[error(
        "the baseline was measured on {expected}, this report on {received}; compare figures of the same images, captions and \
         relevance only: give the files of the baseline, or make the baseline again"
    )]
    BaselineData {
        /// Name and hash of the baseline's data.
        expected: String,
        /// Name and hash of the report's data.
        received: String,
    },
    /// The baseline's figures are defined in another way.
    #[error(
        "the baseline's figures are defined otherwise (there: {expected}; here: {received}); make the baseline again with this \
         version"
    )]
    BaselineProtocol {
        /// The baseline's protocol.
        expected: String,
        /// The report's protocol.
        received: String,
    },
    /// No run of the report is in the baseline.
    #[error(
        "the baseline has the runs {}, this report {}; evaluate at least one of the baseline's in the same way",
        .expected.join("; "), .received.join("; ")
    )]
    NoCommonRun {
        /// Labels of the baseline's runs.
        expected: Vec<String>,
        /// Labels of the report's runs.
        received: Vec<String>,
    },
    /// Nothing to evaluate: no image, or no caption.
    #[error("nothing to evaluate: {images} images and {captions} captions; both are needed")]
    Nothing {
        /// Images received.
        images: usize,
        /// Captions received.
        captions: usize,
    },
    /// The two sides are not of one space.
    #[error(
        "images have {images} components and texts {texts}; encode both with one model, else no score compares them"
    )]
    Dimensions {
        /// Components of an image embedding.
        images: usize,
        /// Components of a text embedding.
        texts: usize,
    },
    /// A list that goes with the captions has another length.
    #[error("{received} {what} for {expected} captions; give exactly one for each caption, in their order")]
    Length {
        /// What the list holds.
        what: &'static str,
        /// Its length.
        received: usize,
        /// Number of captions.
        expected: usize,
    },
    /// A caption is said to belong to an image that is not there.
    #[error(
        "caption {caption} belongs to image {image}, but there are only {images} images (counted from 0)"
    )]
    NoSuchImage {
        /// Index of the caption.
        caption: usize,
        /// The image index it names.
        image: usize,
        /// Number of images.
        images: usize,
    },
    /// A ranking is too short to say what R@10 is.
    #[error(
        "the ranking of caption {caption} has {received} images, R@10 needs {expected}; search with k ≥ {expected}"
    )]
    ShortRanking {
        /// Index of the caption.
        caption: usize,
        /// Images ranked.
        received: usize,
        /// Images needed: 10, or all when there are fewer.
        expected: usize,
    },
}

fn known_splits(known: &[String]) -> String {
    match known {
        [] => "names no splits; give a list file (one image name per line)".into(),
        known => format!(
            "has the splits {}; give one of those, or a list file (one image name per line)",
            known.join(", ")
        ),
    }
}
