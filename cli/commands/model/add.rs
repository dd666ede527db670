//! `pictor model add` and `pictor model remove`.

use std::path::PathBuf;

use pictor_encoders::{AddOptions, InstalledModel, Origin, Source, add_model, remove_model};
use serde::Serialize;

use crate::args::{ModelAddArgs, ModelNameArgs};
use crate::bar::AddBar;
use crate::exit::Outcome;
use crate::output::{Output, bytes};

/// What was installed.
#[derive(Serialize)]
struct Installed {
    name: String,
    path: PathBuf,
    origin: Option<Origin>,
    license: String,
    dim: usize,
    files: usize,
    bytes: u64,
    fingerprint: String,
}

impl From<InstalledModel> for Installed {
    fn from(InstalledModel { name, path, receipt }: InstalledModel) -> Self {
        let receipt = receipt.as_ref();
        Self {
            name,
            path,
            origin: receipt.map(|receipt| receipt.origin.clone()),
            license: receipt.map(|receipt| receipt.license.clone()).unwrap_or_default(),
            dim: receipt.map_or(0, |receipt| receipt.dim),
            files: receipt.map_or(0, |receipt| receipt.files.len()),
            bytes: receipt.map_or(0, |receipt| receipt.bytes()),
            fingerprint: receipt.map(|receipt| receipt.fingerprint.clone()).unwrap_or_default(),
        }
    }
}

pub fn run(args: ModelAddArgs, output: &Output) -> anyhow::Result<Outcome> {
    let source = Source::parse(&args.source)?;
    let options = AddOptions { name: args.name, precisions: args.precision, replace: args.force };
    let bar = AddBar::new(output);
    let installed = add_model(&source, &options, &bar);
    bar.finish();
    output.result(&Installed::from(installed?), |model| {
        let mut text = format!("{} installed in {}\n", model.name, model.path.display());
        text += &format!("files      {}, {}\n", model.files, bytes(model.bytes));
        text += &format!("license    {}\n", model.license);
        if let Some(origin) = &model.origin {
            text += &format!("origin     {origin}\n");
        }
        text + &format!(
            "use it with --model {0}; `pictor model verify {0}` checks it on this machine\n",
            model.name
        )
    })?;
    Ok(Outcome::Done)
}

/// What was deleted.
#[derive(Serialize)]
struct Removed {
    name: String,
    path: PathBuf,
    bytes: u64,
}

pub fn remove(args: &ModelNameArgs, output: &Output) -> anyhow::Result<Outcome> {
    let InstalledModel { name, path, receipt } = remove_model(&args.name)?;
    let removed = Removed { name, path, bytes: receipt.map_or(0, |receipt| receipt.bytes()) };
    output
        .result(&removed, |r| format!("{} removed, {} in {}\n", r.name, bytes(r.bytes), r.path.display()))?;
    Ok(Outcome::Done)
}
