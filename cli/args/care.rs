//! What is done with an index beside filling and searching it: in and out, shown, checked, mended; and with the machine.

use std::path::PathBuf;

use clap::Args;
use pictor_encoders::Precision;
use pictor_storage::Dtype;

use super::{IndexDir, LayoutArgs, ModelArgs, names};

/// `pictor compact`.
#[derive(Debug, Args)]
pub struct CompactArgs {
    #[command(flatten)]
    pub index: IndexDir,
}

/// `pictor import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A folder with img_emb/img_emb_0.npy … and metadata/metadata_0.parquet … (or all of them side by side), or one .npy file:
    /// float16, float32 or float64, one row an image. Rows that are not of length 1 are divided by it.
    ///
    /// Of the metadata, image_path (else url, else key) says where an image is, caption is its caption, width and height are its
    /// size, and every other column of single values is an attribute of its name.
    #[arg(value_name = "SOURCE")]
    pub source: PathBuf,

    #[command(flatten)]
    pub index: IndexDir,

    /// The model that made the vectors, by name or by folder; it is what the index will be searched with. An index that is
    /// there already has one.
    #[arg(long, value_name = "NAME|DIR", env = "PICTOR_MODEL")]
    pub model: Option<String>,

    /// The precision at which the model made them: 8-bit vectors are compared with 8-bit ones only.
    #[arg(long, default_value_t = Precision::Fp32, value_parser = names::<Precision>(&["fp32", "fp16", "int8"]))]
    pub precision: Precision,

    #[command(flatten)]
    pub layout: LayoutArgs,

    /// Look for no metadata: an image is named after the file and row of its vector.
    #[arg(long)]
    pub no_metadata: bool,

    /// Images between two commits: what an interruption can cost, and what is held in memory.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub commit_every: u32,

    /// Exit with code 3 when a row was skipped.
    #[arg(long)]
    pub strict: bool,
}

/// `pictor export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub index: IndexDir,

    /// The folder to make. It is there when all of it is.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// How the components of vectors are written. clip-retrieval's own files are f16.
    #[arg(long, default_value_t = Dtype::F16, value_parser = names::<Dtype>(&["f16", "f32"]))]
    pub dtype: Dtype,

    /// Images of one pair of files.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub rows_per_file: u32,
}

/// `pictor inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    pub index: IndexDir,

    /// List every skipped file with its reason.
    #[arg(long)]
    pub skipped: bool,

    /// List what filters can compare: attributes, what they hold, and how many images have each.
    #[arg(long)]
    pub attributes: bool,

    /// List images whose files had equal bytes when they were indexed.
    #[arg(long)]
    pub duplicates: bool,
}

/// `pictor verify` and `pictor repair`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub index: IndexDir,
}

/// `pictor doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub model: ModelArgs,
}
