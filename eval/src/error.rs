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
    /// A file of a known kind makes no sense.
    #[error("{}: {reason}", .path.display())]
    Format {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Rows of embedding files that do not fit one another.
    #[error("{reason}")]
    Rows {
        /// What does not fit, and what to do.
        reason: String,
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
    /// An image is said to be described by a caption that is not there.
    #[error(
        "image {image} is described by caption {caption}, but there are only {captions} captions (counted from 0)"
    )]
    NoSuchCaption {
        /// Index of the image.
        image: usize,
        /// The caption index it names.
        caption: usize,
        /// Number of captions.
        captions: usize,
    },
    /// More than 32-bit indices can name.
    #[error(
        "{images} images and {captions} captions; a set has fewer than 4,294,967,295 of each: evaluate a part of it"
    )]
    TooMany {
        /// Images received.
        images: usize,
        /// Captions received.
        captions: usize,
    },
    /// Embeddings and relevance are not of one set.
    #[error(
        "{images} image and {texts} text embeddings, but relevance is about {expected_images} images and \
         {expected_texts} texts; give one embedding for each, in the dataset's order"
    )]
    Embeddings {
        /// Image embeddings received.
        images: usize,
        /// Text embeddings received.
        texts: usize,
        /// Images that relevance is about.
        expected_images: usize,
        /// Texts that relevance is about.
        expected_texts: usize,
    },
    /// A score matrix has another shape.
    #[error(
        "{received} scores are not a matrix of {rows} × {columns}; give each query's scores of all items, row by row"
    )]
    Matrix {
        /// Scores received.
        received: usize,
        /// Rows expected.
        rows: usize,
        /// Columns expected.
        columns: usize,
    },
    /// A ranking is too short for what is asked of it.
    #[error("the ranking of query {query} has {received} items, {expected} are needed; keep more of it")]
    ShortRanking {
        /// Index of the query.
        query: usize,
        /// Items ranked.
        received: usize,
        /// Items needed: 10 for R@10, `k_test` for reranking.
        expected: usize,
    },
    /// A matcher was asked about some pairs and answered about another number.
    #[error(
        "{received} scores for the {expected} candidates of query {query}; a matcher gives one for each pair"
    )]
    Scores {
        /// Index of the query.
        query: usize,
        /// Scores received.
        received: usize,
        /// Candidates it was asked about.
        expected: usize,
    },
    /// Two lists of outcomes that should be of the same queries are not.
    #[error(
        "{first} has {first_queries} queries and {second} {second_queries}; compare runs over the same queries"
    )]
    DifferentQueries {
        /// Whose the first list is.
        first: String,
        /// Queries in it.
        first_queries: usize,
        /// Whose the second list is.
        second: String,
        /// Queries in it.
        second_queries: usize,
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
