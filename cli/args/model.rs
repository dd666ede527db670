//! `pictor model`: which models there are, and where they come from.

use clap::{Args, Subcommand};
use pictor_encoders::Precision;

use super::{RuntimeArgs, names};

/// `pictor model`.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Models on this machine, then models of the hub that are known to work, best first.
    List(ModelListArgs),
    /// Install a model from a hub, a folder or an archive.
    ///
    /// Honours HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE. An interrupted download goes on when the same
    /// command is run again. The model goes into the first directory of the model search path that can be written to
    /// (`pictor doctor` prints it; PICTOR_MODELS sets it).
    Add(ModelAddArgs),
    /// Show what a model is: dimension, preprocessing, files, licence, origin, fingerprint.
    Show(ModelNameArgs),
    /// Check that a model's vectors on this machine are the reference's: replays its golden values.
    ///
    /// On every runtime there is, unless --runtime names one. Exit code 2 when something differs by more than it may.
    Verify(ModelVerifyArgs),
    /// Delete an installed model.
    Remove(ModelNameArgs),
}

/// `pictor model list`.
#[derive(Debug, Args)]
pub struct ModelListArgs {
    /// Leave out the models that are not on this machine.
    #[arg(long)]
    pub installed: bool,
}

/// `pictor model add`.
#[derive(Debug, Args)]
pub struct ModelAddArgs {
    /// A hub id such as Xenova/clip-vit-base-patch32 or immich-app/ViT-B-32__openai@main, the address of a hub page, a folder,
    /// or the http(s) address of a .tar, .tar.gz or .tgz (checked when it ends in #sha256=HEX).
    #[arg(value_name = "ID[@REVISION]|DIR|URL")]
    pub source: String,

    /// Name to install it under; the id with `--` for `/` unless given.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Which of a repository's graphs to fetch, several separated by commas. (A pictor.json comes with its full graphs always.)
    #[arg(long, value_name = "P", value_delimiter = ',', default_value = "fp32",
          value_parser = names::<Precision>(&["fp32", "fp16", "int8"]))]
    pub precision: Vec<Precision>,

    /// Replace an installed model of the same name, in one step once the new one is whole.
    #[arg(long)]
    pub force: bool,
}

/// A model by name.
#[derive(Debug, Args)]
pub struct ModelNameArgs {
    /// The model's name, the hub id it came from, or its folder.
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `pictor model verify`.
#[derive(Debug, Args)]
pub struct ModelVerifyArgs {
    /// The model's name, the hub id it came from, or its folder.
    #[arg(value_name = "NAME", default_value = "pictor-mini", env = "PICTOR_MODEL")]
    pub name: String,

    #[command(flatten)]
    pub runtime: RuntimeArgs,
}
