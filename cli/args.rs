//! The command line as people type it: parsing only, nothing is opened or decided here.

mod bench;
mod care;
mod eval;
mod model;
mod rerank;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use pictor_encoders::{DecodeOptions, Devices, Precision, RuntimeChoice};
use pictor_query::Mode;
use pictor_storage::{Dtype, KindChoice};

pub use bench::{BenchAnnArgs, BenchCommand, BenchEncodeArgs, BenchMatchArgs, BenchRuntimeArgs};
pub use care::{CompactArgs, DoctorArgs, ExportArgs, ImportArgs, InspectArgs, VerifyArgs};
pub use eval::{EvalCommand, EvalHardNegativesArgs, EvalPopeArgs, EvalRetrievalArgs, EvalZeroshotArgs};
pub use model::{ModelAddArgs, ModelCommand, ModelListArgs, ModelNameArgs, ModelVerifyArgs};
pub use rerank::RerankArgs;

/// Search your photographs with words, with an image, or with both.
#[derive(Debug, Parser)]
#[command(
    name = "pictor",
    version,
    propagate_version = true,
    after_help = "Start here:\n  \
        pictor index ~/Pictures --index ~/pictor      encode every photo of a folder\n  \
        pictor search --index ~/pictor dogs in snow   ranked results in the terminal\n  \
        pictor serve --index ~/pictor                 the same in a browser\n\n\
        Exit codes: 0 done, 1 nothing found or a figure below its baseline, 2 wrong usage or an error, 3 done but files were skipped (with --strict)."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Print one JSON document on standard output instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,

    /// Draw no progress bar and print no notes on standard error; errors are still printed.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Encode photographs and add them to an index; a second run looks only at what changed.
    Index(IndexArgs),
    /// Rank the images of an index by words, by an image, or by both.
    Search(SearchArgs),
    /// Open an index to a browser: a search page and a JSON API.
    Serve(ServeArgs),
    /// Measure quality: retrieval, zero-shot classification, and what matchers can tell apart.
    #[command(subcommand)]
    Eval(EvalCommand),
    /// Measure speed on this machine.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Write the vectors of images or texts to a NumPy file.
    #[command(subcommand)]
    Embed(EmbedCommand),
    /// Encode the images of an index again with another model; the old vectors serve until all are there.
    Reindex(ReindexArgs),
    /// Models: what there is, install, show, verify, remove.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Take in vectors that are there already, with what is known of their images: clip-retrieval's files.
    Import(ImportArgs),
    /// Write an index out as clip-retrieval's files, for other programs and for `pictor import`.
    Export(ExportArgs),
    /// Show what an index holds: model, generation, segments, bytes, memory, skipped files.
    Inspect(InspectArgs),
    /// Read all of an index and say everything that is wrong with it. Exit code 2 when something is.
    ///
    /// Every checksum is compared, every store is held against the others. No other process may write meanwhile.
    Verify(VerifyArgs),
    /// Make again what vectors and catalog can be used for: nearest-neighbour indexes, text index, uri map; delete leftovers.
    ///
    /// Vectors, ids and records are never touched. Exit code 2 when something is left that only a copy of the index helps
    /// against, or indexing again.
    Repair(VerifyArgs),
    /// Merge an index into one segment without what was deleted, and shrink its stores; searches go on meanwhile.
    Compact(CompactArgs),
    /// Show what this machine offers: runtimes, CPU features, model search path.
    Doctor(DoctorArgs),
    /// Print a completion script for a shell.
    ///
    /// For bash: pictor completions bash > ~/.local/share/bash-completion/completions/pictor
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which index.
#[derive(Debug, Args)]
pub struct IndexDir {
    /// The index folder.
    #[arg(long, value_name = "DIR", env = "PICTOR_INDEX")]
    pub index: PathBuf,
}

/// How a model is run.
#[derive(Debug, Args)]
pub struct RuntimeArgs {
    /// What runs the model: `auto` takes ONNX Runtime when its library is found and tract otherwise; a runtime that is
    /// named and missing is an error.
    #[arg(long, default_value_t = RuntimeChoice::Auto, env = "PICTOR_RUNTIME",
          value_parser = names::<RuntimeChoice>(&["auto", "tract", "onnxruntime"]))]
    pub runtime: RuntimeChoice,

    #[command(flatten)]
    pub placement: PlacementArgs,
}

/// Where a model is run, and with how much of the machine.
#[derive(Clone, Debug, Args)]
pub struct PlacementArgs {
    /// Where the model runs: auto (a GPU when ONNX Runtime can use one), cpu, cuda, cuda:N, tensorrt or tensorrt:N; several with
    /// commas share the work. A device that is named and missing is an error.
    #[arg(long, value_name = "DEVICE", default_value_t = Devices::Auto, env = "PICTOR_DEVICE")]
    pub device: Devices,

    /// Which of the model's files run: auto takes fp16 on a GPU when the model has it, and otherwise the full ones.
    #[arg(long, default_value_t = Precision::Auto, env = "PICTOR_PRECISION",
          value_parser = names::<Precision>(&["auto", "fp32", "fp16", "int8"]))]
    pub precision: Precision,

    /// Most memory, in MiB, that each tower of the model may take on a GPU.
    #[arg(long, value_name = "MIB")]
    pub gpu_memory: Option<u32>,

    /// Threads for preparing images and running the model; 0 takes every core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}

/// Which model, and how it is run.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// A model by name (bundled or on the search path that `pictor doctor` prints) or by folder.
    #[arg(long, value_name = "NAME|DIR", default_value = "pictor-mini", env = "PICTOR_MODEL")]
    pub model: String,

    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

/// How image files are read.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// Take photographs as they are stored and do not turn them upright by their EXIF orientation, as reference pipelines do.
    #[arg(long)]
    pub no_exif: bool,

    /// Decode large JPEGs at a half, a quarter or an eighth of their size where that is at least twice what the model needs:
    /// faster, and the vectors are close to the reference's and no longer equal.
    #[arg(long)]
    pub fast_decode: bool,

    /// Most pixels of an image, width times height; larger ones are refused.
    #[arg(long, value_name = "N", default_value_t = pictor_encoders::MAX_PIXELS)]
    pub max_pixels: u64,

    /// Longest image file: bytes, or with K, M or G (times 1024) behind the number.
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = pictor_core::parse_size)]
    pub max_file_size: u64,
}

impl ImageArgs {
    /// As the encoders take it.
    pub fn options(&self) -> DecodeOptions {
        DecodeOptions {
            exif: !self.no_exif,
            fast: self.fast_decode,
            max_pixels: self.max_pixels,
            max_bytes: self.max_file_size,
        }
    }
}

/// How an index is laid out: set when it is made, and kept in it.
#[derive(Debug, Args)]
pub struct LayoutArgs {
    /// How vectors are searched: auto, auto:BYTES, flat, hnsw, hnsw:M:EFCONSTRUCTION or faiss:FACTORY (such as faiss:HNSW32).
    /// Set when the index is made and kept in it; `auto` chooses by size, within BYTES (such as auto:4G) or half of the machine's
    /// memory, and says why.
    #[arg(long, value_name = "KIND")]
    pub index_kind: Option<KindChoice>,

    /// How the numbers of vectors are stored: f16 (half the size; cosines within 0.0005) or f32. Set when the index is made; f16
    /// unless said otherwise.
    #[arg(long, value_name = "DTYPE", value_parser = names::<Dtype>(&["f16", "f32"]))]
    pub dtype: Option<Dtype>,
}

/// `pictor index`.
#[derive(Debug, Args)]
pub struct IndexArgs {
    /// Folders (searched through all their subfolders) and single files: JPEG, PNG, WebP, GIF, BMP.
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<PathBuf>,

    #[command(flatten)]
    pub index: IndexDir,

    /// Captions to search by words: COCO captions JSON, Karpathy JSON, a Flickr token file, or CSV/TSV of file name and caption.
    #[arg(long, value_name = "FILE")]
    pub captions: Option<PathBuf>,

    /// What is known of the images, to filter by: CSV or TSV with a heading (the file name first), or JSON Lines. Attributes that the
    /// file does not speak of are kept.
    #[arg(long, value_name = "FILE")]
    pub attributes: Option<PathBuf>,

    #[command(flatten)]
    pub layout: LayoutArgs,

    #[command(flatten)]
    pub model: ModelArgs,

    /// Images the model encodes at a time; by default 32 on a processor and 128 on each GPU.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: Option<u16>,

    #[command(flatten)]
    pub decode: ImageArgs,

    /// Remove images of these sources whose files are gone.
    #[arg(long)]
    pub prune: bool,

    /// Exit with code 3 when a file was skipped.
    #[arg(long)]
    pub strict: bool,
}

/// Parses a value by its own `FromStr`; the names are listed in help and completions.
fn names<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// What a filter may say: the module documentation of `storage/src/filter/mod.rs`, for a terminal.
const FILTERS: &str = "\
Filters:
  camera:canon                        the value as a whole; case does not matter
  caption:dog   caption:\"red car\"     a word, or words in a row, of a caption
  uri:/photos/2020*                   a value that starts so
  width:>=1000   width:[800 TO 1600}  a range: [ ] with its ends, { } without, * for no end; <, <=, >, >=
  taken:2020-05-17                    a day (UTC), also as the end of a range
  taken:\"2020-05-17T12:00:00Z\"       a moment (RFC 3339); in quotes outside ranges
  camera: IN [canon \"sony a7\"]       any of these
  taken:*                             images that have the attribute at all
  AND, OR, NOT, ( )                   in capitals; AND binds tighter than OR
A value with a space or any of : ( ) [ ] { } ^ ' in it is written in double quotes. Names: uri, width, height, bytes, modified,
caption, and what `pictor inspect --attributes` lists.";

/// `pictor reindex`.
#[derive(Debug, Args)]
#[command(
    after_help = "The new vectors are made beside the old ones, which go on serving searches. When all images have one, one file is replaced \
    and the index is of the new model. Stopped or killed, the same command goes on. Images whose files are gone keep the switch from \
    happening, unless --drop-missing says that they may go."
)]
pub struct ReindexArgs {
    #[command(flatten)]
    pub index: IndexDir,

    /// The new model, by name (bundled or on the search path that `pictor doctor` prints) or by folder.
    #[arg(long, value_name = "NAME|DIR", required_unless_present_any = ["rollback", "discard", "forget_previous"])]
    pub model: Option<String>,

    #[command(flatten)]
    pub runtime: RuntimeArgs,

    #[command(flatten)]
    pub decode: ImageArgs,

    /// Images the model encodes at a time; by default 32 on a processor and 128 on each GPU.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: Option<u16>,

    /// Switch although some images cannot be encoded again; the new index goes without them.
    #[arg(long)]
    pub drop_missing: bool,

    /// Go back to the model before the last switch; doing it again undoes that.
    #[arg(long, conflicts_with_all = ["model", "discard", "forget_previous"])]
    pub rollback: bool,

    /// Throw away new vectors that were begun and not finished.
    #[arg(long, conflicts_with_all = ["model", "forget_previous"])]
    pub discard: bool,

    /// Delete the vectors that are kept for --rollback.
    #[arg(long, conflicts_with = "model")]
    pub forget_previous: bool,
}

/// `pictor search`.
#[derive(Debug, Args)]
#[command(after_long_help = FILTERS, after_help = "--help explains the filters too.")]
pub struct SearchArgs {
    /// What to look for, in plain words (quotes are optional).
    #[arg(value_name = "QUERY")]
    pub query: Vec<String>,

    #[command(flatten)]
    pub index: IndexDir,

    /// Search by this image; together with words, by both.
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,

    /// Run every line of this file as a query of its own.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["query", "image"])]
    pub queries: Option<PathBuf>,

    /// Results to return.
    #[arg(short, value_name = "K", default_value_t = 10)]
    pub k: usize,

    /// What words are compared with: the images themselves (vector: cosine similarity), captions and file names (text: BM25),
    /// or both (hybrid: reciprocal rank fusion).
    #[arg(long, default_value_t = Mode::Vector, value_parser = names::<Mode>(&["vector", "text", "hybrid"]))]
    pub mode: Mode,

    /// Find only images of which this is true, such as 'camera:canon AND width:>=1000' (the grammar is below).
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,

    /// Search effort: efSearch of an HNSW index, nprobe of an IVF index. More finds more and takes longer.
    #[arg(long, value_name = "N")]
    pub effort: Option<usize>,

    /// Say how each score came about.
    #[arg(long)]
    pub explain: bool,

    /// Order the best candidates anew by a second model that looks at the words and each image together; N candidates, 128 when no
    /// number is given (with an equals sign: --rerank=64).
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "128")]
    pub rerank: Option<usize>,

    /// Stop reranking so many milliseconds after the search began; what was not looked at by then keeps its order behind the rest.
    #[arg(long, value_name = "MS", requires = "rerank")]
    pub deadline: Option<u64>,

    #[command(flatten)]
    pub reranking: RerankArgs,

    /// Write a contact sheet: one HTML file with the queries and the images found.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// The model the index was made with, when it is not on the search path.
    #[arg(long, value_name = "NAME|DIR", env = "PICTOR_MODEL")]
    pub model: Option<String>,

    #[command(flatten)]
    pub decode: ImageArgs,

    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

/// `pictor serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub index: IndexDir,

    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7878")]
    pub addr: SocketAddr,

    #[command(flatten)]
    pub reranking: RerankArgs,

    /// Stop every reranking so many milliseconds after the search began; what was not looked at by then keeps its order behind the rest.
    #[arg(long, value_name = "MS", default_value_t = pictor_web_ui::RERANK_DEADLINE.as_millis() as u64,
          value_parser = clap::value_parser!(u64).range(1..=25_000))]
    pub deadline: u64,

    /// The model the index was made with, when it is not on the search path.
    #[arg(long, value_name = "NAME|DIR", env = "PICTOR_MODEL")]
    pub model: Option<String>,

    #[command(flatten)]
    pub decode: ImageArgs,

    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

/// `pictor embed`.
#[derive(Debug, Subcommand)]
pub enum EmbedCommand {
    /// One row per image file, in the order given.
    Images(EmbedImagesArgs),
    /// One row per line of a text file, in order.
    Texts(EmbedTextsArgs),
}

/// `pictor embed images`.
#[derive(Debug, Args)]
pub struct EmbedImagesArgs {
    /// Image files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    #[command(flatten)]
    pub decode: ImageArgs,

    #[command(flatten)]
    pub target: EmbedTarget,

    /// Leave out files that cannot be read, and list them, instead of writing nothing.
    #[arg(long)]
    pub skip_bad: bool,
}

/// `pictor embed texts`.
#[derive(Debug, Args)]
pub struct EmbedTextsArgs {
    /// A UTF-8 text file, one text a line; `-` reads standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    #[command(flatten)]
    pub target: EmbedTarget,
}

/// Where vectors go and which model makes them.
#[derive(Debug, Args)]
pub struct EmbedTarget {
    /// The NumPy file to write: float32, shape (rows, dim), C order, rows of L2 norm 1.
    #[arg(long, value_name = "FILE.npy")]
    pub out: PathBuf,

    #[command(flatten)]
    pub model: ModelArgs,

    /// Images or texts the model encodes at a time; by default 32 on a processor and 128 on each GPU.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: Option<u16>,
}
