//! `pictor model list`.

use std::collections::BTreeMap;

use pictor_encoders::catalogue::{self, CatalogueModel};
use pictor_encoders::{ModelFolder, installed_models, model_files};
use serde::Serialize;

use super::table::table;
use crate::args::ModelListArgs;
use crate::exit::Outcome;
use crate::output::{Output, bytes};

/// What there is.
#[derive(Serialize)]
struct Models {
    installed: Vec<Installed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalogue: Option<Catalogue>,
}

#[derive(Serialize)]
struct Installed {
    name: String,
    bundled: bool,
    path: Option<String>,
    /// Absent for a folder that `pictor model add` did not install.
    family: Option<String>,
    dim: Option<usize>,
    bytes: u64,
    license: Option<String>,
    origin: Option<String>,
}

#[derive(Serialize)]
struct Catalogue {
    models: Vec<Known>,
    /// Where the figures of `coco_r1` come from.
    sources: &'static BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Known {
    #[serde(flatten)]
    model: &'static CatalogueModel,
    /// Four bytes a parameter: worked out, not looked up.
    fp32_bytes_derived: Option<u64>,
}

pub fn run(args: &ModelListArgs, output: &Output) -> anyhow::Result<Outcome> {
    let mut installed = vec![bundled()?];
    installed.extend(installed_models().into_iter().map(|model| {
        let receipt = model.receipt.as_ref();
        let on_disk =
            || model.path.to_str().and_then(|path| model_files(&ModelFolder::find(path).ok()?).ok());
        Installed {
            bundled: false,
            path: Some(model.path.display().to_string()),
            family: receipt.map(|receipt| receipt.family.clone()),
            dim: receipt.map(|receipt| receipt.dim),
            bytes: receipt.map_or_else(
                || on_disk().unwrap_or_default().iter().map(|(_, bytes)| bytes).sum(),
                |receipt| receipt.bytes(),
            ),
            license: receipt.map(|receipt| receipt.license.clone()),
            origin: receipt.map(|receipt| receipt.origin.to_string()),
            name: model.name,
        }
    }));
    let known = |model: &'static CatalogueModel| Known { model, fp32_bytes_derived: model.fp32_bytes() };
    let catalogue = (!args.installed).then(|| Catalogue {
        models: catalogue::models().iter().map(known).collect(),
        sources: catalogue::sources(),
    });
    output.result(&Models { installed, catalogue }, describe)?;
    Ok(Outcome::Done)
}

fn bundled() -> anyhow::Result<Installed> {
    let folder = ModelFolder::bundled();
    let manifest = folder.manifest()?;
    Ok(Installed {
        name: manifest.name,
        bundled: true,
        path: None,
        family: Some(manifest.family),
        dim: Some(manifest.dim),
        bytes: model_files(&folder)?.iter().map(|(_, bytes)| bytes).sum(),
        license: Some(manifest.license),
        origin: None,
    })
}

fn describe(models: &Models) -> String {
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut rows = vec![row(&["name", "dim", "size", "family", "origin"])];
    for model in &models.installed {
        let dim = model.dim.map_or("?".into(), |dim| dim.to_string());
        let place = model.origin.clone().or(model.path.clone()).unwrap_or("bundled".into());
        let family = model.family.as_deref().unwrap_or("?");
        rows.push(row(&[&model.name, &dim, &bytes(model.bytes), family, &place]));
    }
    let mut text = format!("On this machine\n{}", table(&rows, &[1, 2]));
    let Some(catalogue) = &models.catalogue else { return text };
    let mut rows = vec![row(&["id", "dim", "image", "size", "t→i", "i→t", "family", "license", "layout"])];
    for Known { model, fp32_bytes_derived } in &catalogue.models {
        let size = fp32_bytes_derived.map_or("?".into(), bytes);
        let recall = model.coco_r1.as_ref();
        let [t2i, i2t] = [recall.map(|r| r.text_to_image), recall.map(|r| r.image_to_text)]
            .map(|figure| figure.map_or("?".into(), |figure| format!("{figure:.1}")));
        let (dim, side) = (model.dim.to_string(), model.image_side.to_string());
        rows.push(row(&[
            &model.id,
            &dim,
            &side,
            &size,
            &t2i,
            &i2t,
            &model.family,
            &model.license,
            &model.layout,
        ]));
    }
    text += &format!("\nOn the hub, known to work: pictor model add ID\n{}", table(&rows, &[1, 2, 3, 4, 5]));
    text += "\nsize: of the float32 weights, worked out from the number of parameters\n";
    text +=
        "t→i, i→t: published zero-shot R@1 on 5,000 COCO images, percent, text → image and image → text\n";
    text + "license: of the weights; apple-amlr allows research only. --json names the source of every figure\n"
}
