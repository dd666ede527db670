//! `pictor bench`: which speed is measured, on what.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use pictor_ann::IndexKind;
use pictor_encoders::RuntimeChoice;

use super::{PlacementArgs, names};

/// `pictor bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Images and texts per second of each stage and of the whole, beside the bare runtime on the same images.
    Encode(BenchEncodeArgs),
    /// Pairs of a text and an image per second of a matcher, and features of images per second.
    Match(BenchMatchArgs),
    /// Recall beside latency, of index kinds over any vectors: build, open, memory, search and filtered search.
    Ann(BenchAnnArgs),
}

/// On which runtimes, and where, a model is measured.
#[derive(Debug, Args)]
pub struct BenchRuntimeArgs {
    /// Runtimes to measure, with commas; by default every one that is here.
    #[arg(long = "runtime", value_name = "RUNTIME", value_delimiter = ',',
          value_parser = names::<RuntimeChoice>(&["tract", "onnxruntime"]))]
    pub runtimes: Vec<RuntimeChoice>,

    #[command(flatten)]
    pub placement: PlacementArgs,
}

/// `pictor bench encode`.
#[derive(Debug, Args)]
pub struct BenchEncodeArgs {
    /// A folder of photographs.
    #[arg(long, value_name = "DIR")]
    pub photos: PathBuf,

    /// A model by name (bundled or on the search path that `pictor doctor` prints) or by folder.
    #[arg(long, value_name = "NAME|DIR", default_value = "pictor-mini", env = "PICTOR_MODEL")]
    pub model: String,

    #[command(flatten)]
    pub on: BenchRuntimeArgs,

    /// Images the model encodes at a time; by default 32 on a processor and 128 on each GPU.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: Option<u16>,

    /// Photographs to use, the first by name.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub images: u32,

    /// Rounds; each figure is its best, because whatever else the machine does only slows a round down.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
}

/// `pictor bench match`.
#[derive(Debug, Args)]
pub struct BenchMatchArgs {
    /// A folder of photographs.
    #[arg(long, value_name = "DIR")]
    pub photos: PathBuf,

    /// A model that has a matcher, by name (bundled or on the search path that `pictor doctor` prints) or by folder.
    #[arg(long, value_name = "NAME|DIR", default_value = "pictor-mini", env = "PICTOR_MODEL")]
    pub model: String,

    #[command(flatten)]
    pub on: BenchRuntimeArgs,

    /// Texts, one a line; by default four captions of usual lengths.
    #[arg(long, value_name = "FILE")]
    pub texts: Option<PathBuf>,

    /// Photographs to use, the first by name: the candidates of every text.
    #[arg(long, value_name = "K", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub images: u32,

    /// Candidates of a text to score at a time, with commas; every number is measured.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values = ["1", "4", "16"],
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batches: Vec<u16>,

    /// Rounds; each figure is its best, because whatever else the machine does only slows a round down.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
}

/// `pictor bench ann`.
#[derive(Debug, Args)]
pub struct BenchAnnArgs {
    /// The vectors to search: a NumPy file of shape (rows, dim), float16 or float32, rows of L2 norm 1.
    #[arg(long, value_name = "FILE.npy")]
    pub base: PathBuf,

    /// The queries, in the same form and of the same dimension.
    #[arg(long, value_name = "FILE.npy")]
    pub queries: PathBuf,

    /// Index kinds to measure, as `pictor index --index-kind` takes them.
    #[arg(long, value_name = "KIND", num_args = 1.., default_values = ["flat", "hnsw"])]
    pub kinds: Vec<IndexKind>,

    /// Numbers of results to ask for, with commas. Filtered search is measured at the first.
    #[arg(short, value_name = "K", value_delimiter = ',', default_values = ["10", "100"],
          value_parser = clap::value_parser!(u32).range(1..))]
    pub k: Vec<u32>,

    /// Search efforts to measure, with commas, beside each kind's default.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values = ["16", "32", "64", "128", "256", "512"],
          value_parser = clap::value_parser!(u32).range(1..))]
    pub efforts: Vec<u32>,

    /// Numbers of threads that search at once, with commas; by default one, and one for each core.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Vec<u16>,

    /// Queries to use, the first of the file.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub queries_limit: u32,

    /// Queries to use for filtered search; 0 leaves it out.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub filter_queries: u32,

    /// Rounds; each timing is that of the fastest, because whatever else the machine does only slows a round down.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,

    /// Exact scores of the queries' nearest rows, to hold against: read when the file exists, else computed and written there.
    #[arg(long, value_name = "FILE.npy")]
    pub truth: Option<PathBuf>,

    /// Folder for vectors and indexes, on the disk to be measured; they are removed at the end. By default the system's temporary
    /// folder.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Measure only how the one kind's index in this folder opens, in this process: how the command measures a fresh one.
    #[arg(long, value_name = "DIR", hide = true)]
    pub open_only: Option<PathBuf>,
}
