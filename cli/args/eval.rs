//! `pictor eval`: what is measured, on which data, with which models.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ImageArgs, ModelArgs, RuntimeArgs};

/// `pictor eval`.
#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Text → image and image → text R@1/5/10 with any positive in the top K counting, as CLIP_benchmark defines it.
    ///
    /// The data are photographs with captions, or embeddings that are there already. Exit code 1 when --baseline is given and a
    /// figure fell below it beyond noise.
    Retrieval(Box<EvalRetrievalArgs>),
    /// Zero-shot classification of a folder with a folder per class: top-1, top-5, per class, confusion.
    Zeroshot(EvalZeroshotArgs),
    /// Object probing (POPE): is it in the image, yes or no? Accuracy, precision, recall, F1, yes-ratio of a matcher.
    Pope(EvalPopeArgs),
    /// A caption against the same caption with a mistake in it (SugarCrepe): how often the true one scores higher.
    HardNegatives(EvalHardNegativesArgs),
}

/// `pictor eval retrieval`.
#[derive(Debug, Args)]
pub struct EvalRetrievalArgs {
    /// Folder of the images that the captions name.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,

    /// Captions, told apart by content: official COCO captions JSON, Karpathy JSON (BLIP's lists, dataset_coco.json), a Flickr token
    /// file, a CSV of image and caption; or a webdataset (a .tar, or a folder of them) that holds the images as well.
    #[arg(long, value_name = "FILE|DIR", required_unless_present = "image_embeddings")]
    pub captions: Option<PathBuf>,

    /// Evaluate these images only: a file with one image name a line, or a split named in a Karpathy JSON (such as test).
    #[arg(long, value_name = "LIST|NAME", requires = "captions")]
    pub split: Option<PathBuf>,

    /// Which captions describe which images, judged after the captions were written and used in their place: ECCV Caption's JSON (or
    /// their folder) or Crisscrossed Captions' CSV (sits_test.csv), told apart by content. Of COCO's images only.
    #[arg(long, value_name = "FILE|DIR", requires = "captions", conflicts_with = "filter")]
    pub relevance: Option<PathBuf>,

    /// Rank embeddings instead of photographs: a .npy of f16, f32 or f64, one row an image; equal rows one after another are one
    /// image. No model is run.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["captions", "images", "rerank", "through_index"],
          requires = "text_embeddings")]
    pub image_embeddings: Option<PathBuf>,

    /// One row a caption.
    #[arg(long, value_name = "FILE", requires = "image_embeddings")]
    pub text_embeddings: Option<PathBuf>,

    /// Which row of the images each caption describes: a .npy of integers or a text file of one number a line, from 0. Without it row i of one file belongs
    /// to row i of the other.
    #[arg(long, value_name = "FILE", requires = "image_embeddings", conflicts_with = "texts_per_image")]
    pub image_of_text: Option<PathBuf>,

    /// There are N captions of each image, one image after the other.
    #[arg(long, value_name = "N", requires = "image_embeddings")]
    pub texts_per_image: Option<usize>,

    /// Rank through this index too, beside exact search: what its kind and its precision cost in R@K. Every image of the index
    /// competes, so index the dataset alone for its kind's cost alone.
    #[arg(long, value_name = "DIR")]
    pub through_index: Option<PathBuf>,

    /// Search effort through the index (efSearch or nprobe, by its kind).
    #[arg(long, value_name = "N", requires = "through_index")]
    pub effort: Option<usize>,

    /// Evaluate the images that match this filter, and search the index with it.
    #[arg(long, value_name = "FILTER", requires = "through_index")]
    pub filter: Option<String>,

    /// Rerank the first R of each query with a matcher (k_test: 256 for COCO and 128 for Flickr30k in BLIP's evaluation), and show both.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rerank: Option<u32>,

    /// The matcher; each model's own unless it is named.
    #[arg(long, value_name = "NAME|DIR", requires = "rerank")]
    pub matcher: Option<String>,

    #[command(flatten)]
    pub decode: ImageArgs,

    /// The model, by name or by folder. Several, each with a --model of its own, give one table.
    #[arg(long, value_name = "NAME|DIR", default_value = "pictor-mini", env = "PICTOR_MODEL")]
    pub model: Vec<String>,

    #[command(flatten)]
    pub runtime: RuntimeArgs,

    /// Images or texts the model encodes at a time; by default 32 on a processor and 128 on each GPU.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: Option<u16>,

    /// Write report.json, report.md and report.html into this folder, which is made if need be.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,

    /// Compare with an earlier report.json of the same data; exit code 1 when R@1, R@5 or R@10 of a run fell beyond noise, or a run of
    /// the baseline was not made.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,

    /// Points that a figure may fall below the baseline, beyond noise, without failing.
    #[arg(long, value_name = "POINTS", default_value_t = 0.0, requires = "baseline")]
    pub tolerance: f64,
}

/// `pictor eval zeroshot`.
#[derive(Debug, Args)]
pub struct EvalZeroshotArgs {
    /// A folder with one sub-folder of images per class, or CLIP_benchmark's webdataset (.tar shards, or a folder of them).
    #[arg(long, value_name = "DIR|FILE")]
    pub images: PathBuf,

    /// Names of the classes where those of the folders will not do: one a line in the order of the folders, `FOLDER<TAB>NAME`, or JSON.
    #[arg(long, value_name = "FILE")]
    pub class_names: Option<PathBuf>,

    /// The sub-folder of a webdataset.
    #[arg(long, value_name = "NAME")]
    pub split: Option<PathBuf>,

    /// Prompts that a class's embedding is the mean of: plain ("a photo of a {c}."), openai (CLIP's 80 of ImageNet), siglip, or a
    /// file with one prompt a line, {c} standing for the class.
    #[arg(long, value_name = "NAME|FILE", default_value = "openai")]
    pub prompts: String,

    #[command(flatten)]
    pub decode: ImageArgs,

    #[command(flatten)]
    pub model: ModelArgs,

    /// Images or texts the model encodes at a time; by default 32 on a processor and 128 on each GPU.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: Option<u16>,
}

/// A matcher for pairs.
#[derive(Debug, Args)]
pub struct MatcherArgs {
    /// The model whose matcher scores, by name or by folder.
    #[arg(long, value_name = "NAME|DIR", default_value = "pictor-mini", env = "PICTOR_MATCHER")]
    pub matcher: String,

    #[command(flatten)]
    pub runtime: RuntimeArgs,

    #[command(flatten)]
    pub decode: ImageArgs,
}

/// `pictor eval pope`.
#[derive(Debug, Args)]
pub struct EvalPopeArgs {
    /// POPE's question files, JSON lines of image, text and label; each is a subset.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub questions: Vec<PathBuf>,

    /// Folder of the images that the questions name.
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,

    /// The caption that a question becomes, {c} standing for the object with its article.
    #[arg(long, value_name = "TEXT", default_value = pictor_eval::pope::TEMPLATE)]
    pub template: String,

    /// The probability of a match from which on the answer is yes, 0 to 1.
    #[arg(long, value_name = "P", default_value_t = pictor_eval::pope::THRESHOLD)]
    pub threshold: f32,

    #[command(flatten)]
    pub matcher: MatcherArgs,
}

/// `pictor eval hard-negatives`.
#[derive(Debug, Args)]
pub struct EvalHardNegativesArgs {
    /// SugarCrepe's JSON of filename, caption and negative_caption: one file, or a folder of them; each is a category.
    #[arg(long, value_name = "FILE|DIR")]
    pub pairs: PathBuf,

    /// Folder of the images that the pairs name.
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,

    /// Score by a dual encoder's cosine too, beside the matcher.
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<String>,

    #[command(flatten)]
    pub matcher: MatcherArgs,
}
