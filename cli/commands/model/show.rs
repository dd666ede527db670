//! `pictor model show`.

use pictor_encoders::{ModelFolder, ModelManifest, Receipt, installed_models, model_files};
use serde::Serialize;

use super::table::table;
use crate::args::ModelNameArgs;
use crate::exit::Outcome;
use crate::output::{Output, bytes};

/// What a model is.
#[derive(Serialize)]
struct Model {
    name: String,
    bundled: bool,
    path: Option<String>,
    precisions: Vec<&'static str>,
    license: String,
    manifest: ModelManifest,
    /// Absent unless `pictor model add` installed it.
    installation: Option<Receipt>,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    file: String,
    bytes: u64,
}

pub fn run(args: &ModelNameArgs, output: &Output) -> anyhow::Result<Outcome> {
    let folder = ModelFolder::find(&args.name)?;
    let manifest = folder.manifest()?;
    let files: Vec<File> =
        model_files(&folder)?.into_iter().map(|(file, bytes)| File { file, bytes }).collect();
    let installed = installed_models().into_iter().find(|model| folder.directory() == Some(&model.path));
    let installation = installed.as_ref().and_then(|model| model.receipt.clone());
    // An installation knows the licence of the model's page where the folder states none.
    let noted = installation.as_ref().map(|receipt| receipt.license.clone());
    let model = Model {
        name: installed.map_or_else(|| manifest.name.clone(), |model| model.name),
        bundled: folder.directory().is_none(),
        path: folder.directory().map(|path| path.display().to_string()),
        precisions: precisions(&manifest, &files),
        license: noted.unwrap_or_else(|| manifest.license.clone()),
        manifest,
        installation,
        files,
    };
    output.result(&model, describe)?;
    Ok(Outcome::Done)
}

/// `fp32` stands for the full graphs, whatever their weights are; a variant counts when both towers' files are there.
fn precisions(manifest: &ModelManifest, files: &[File]) -> Vec<&'static str> {
    let there =
        |file: &Option<String>| file.as_ref().is_some_and(|file| files.iter().any(|f| f.file == *file));
    let (image, text) = (&manifest.image.variants, &manifest.text.variants);
    let mut precisions = vec!["fp32"];
    precisions.extend((there(&image.fp16) && there(&text.fp16)).then_some("fp16"));
    precisions.extend((there(&image.int8) && there(&text.int8)).then_some("int8"));
    precisions
}

fn describe(model: &Model) -> String {
    let manifest = &model.manifest;
    // The names that `pictor.json` has for these.
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let preprocess = &manifest.image.preprocess;
    let [resize, filter, pad, clean] = [
        serde_json::to_value(preprocess.resize),
        serde_json::to_value(preprocess.filter),
        serde_json::to_value(manifest.text.pad),
        serde_json::to_value(manifest.text.clean),
    ]
    .map(word);
    let mut facts = vec![
        ("family", manifest.family.clone()),
        ("embedding", format!("{} numbers", manifest.dim)),
        ("image", format!("{} × {}, {resize}, {filter}", preprocess.width, preprocess.height)),
        ("text", format!("{} tokens, padded to {pad}, cleaning {clean}", manifest.text.context_length)),
        ("precisions", model.precisions.join(", ")),
        ("matcher", if manifest.matcher.is_some() { "yes, for --rerank".into() } else { "none".into() }),
        ("license", model.license.clone()),
    ];
    if let Some(source) = &manifest.source {
        facts.push(("weights", source.clone()));
    }
    if let Some(receipt) = &model.installation {
        facts.push(("origin", receipt.origin.to_string()));
    }
    facts.push(("golden", manifest.golden.as_ref().map_or("no golden values".into(), Clone::clone)));
    facts.push(("fingerprint", manifest.fingerprint.clone()));
    let total = model.files.iter().map(|file| file.bytes).sum();
    facts.push(("files", format!("{}, {}", model.files.len(), bytes(total))));
    let place = model.path.clone().unwrap_or("bundled".into());
    let mut text = format!("{}: {place}\n", model.name);
    for (what, fact) in facts {
        text += &format!("{what:<11} {fact}\n");
    }
    let rows: Vec<_> = model.files.iter().map(|file| vec![file.file.clone(), bytes(file.bytes)]).collect();
    text + &table(&rows, &[1])
}
