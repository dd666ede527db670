//! Whether a model's vectors are the reference's on this machine: its golden values replayed, pixels, token ids and embeddings.
//!
//! Every input goes alone and then all in one batch, because a graph exported with a fixed batch, or a runtime's fused kernel,
//! can be right for one and wrong for many. A folder without golden values is checked for what can be known without them: the
//! files are the installed ones, both towers load and run, and a batch gives what single inputs give.

mod golden;

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use pictor_core::{DecodeError, EmbeddingBatch, EncodeError, Encoder, PreparedImage};
use serde::Serialize;

use crate::clip::DualEncoder;
use crate::decode::decode_rgb;
use crate::error::ModelError;
use crate::folder::ModelFolder;
use crate::hub::Precision;
use crate::install::Receipt;
use crate::manifest::ModelManifest;
use crate::runtime::RuntimeOptions;
use crate::tokenize::TextTokenizer;
use golden::{Golden, GoldenImage, GoldenText};

/// Most that a channel of the raster may differ from the reference's, of 255.
pub const PIXEL_LIMIT: u8 = 1;

/// Least cosine with the reference's float32 embedding that a precision allows.
pub fn cosine_floor(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => 0.9999,
        Precision::Fp16 => 0.999,
        Precision::Int8 => 0.99,
    }
}

/// What came of verifying a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// The model's name.
    pub model: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// `fp32`, `fp16` or `int8`.
    pub precision: String,
    /// [`cosine_floor`] of that precision.
    pub cosine_floor: f64,
    /// What made the golden values; absent when the folder has none.
    pub reference: Option<String>,
    /// The files against the installation's receipt; absent without one.
    pub files: Option<FileCheck>,
    /// Rasters against the reference's.
    pub pixels: Option<PixelCheck>,
    /// Token ids against the reference's.
    pub token_ids: Option<TokenCheck>,
    /// One for each runtime asked for.
    pub runtimes: Vec<RuntimeCheck>,
    /// Image-text pairs of a matcher among the golden values; they are not replayed.
    pub matches_not_replayed: usize,
    /// Whether nothing failed.
    pub passed: bool,
}

/// Files of an installed model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileCheck {
    /// How many there are.
    pub files: usize,
    /// Those that are not what was installed, each with the reason.
    pub changed: Vec<String>,
}

/// 8-bit rasters after resize and crop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PixelCheck {
    /// How many images.
    pub images: usize,
    /// Largest difference of a channel, of 255.
    pub worst_difference: u8,
    /// The image it is in.
    pub worst_image: String,
    /// Images that gave no raster of the right size, each with the reason.
    pub failed: Vec<String>,
}

/// Token ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenCheck {
    /// How many texts.
    pub texts: usize,
    /// Texts whose ids differ, with expected and received ids.
    pub mismatches: Vec<String>,
}

/// One runtime.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuntimeCheck {
    /// Its name, version and library.
    pub runtime: String,
    /// The image tower, or why it gave nothing.
    pub images: Option<CosineCheck>,
    /// The text tower, or why it gave nothing.
    pub texts: Option<CosineCheck>,
    /// Why the runtime or a tower does not work; empty when all does.
    pub failed: Vec<String>,
}

/// Embeddings of one tower on one runtime.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CosineCheck {
    /// How many inputs.
    pub inputs: usize,
    /// Each alone, against the reference; absent without golden values.
    pub alone: Option<Worst>,
    /// All in one batch, against the reference; absent without golden values.
    pub batch: Option<Worst>,
    /// All in one batch, against each alone.
    pub batch_to_alone: Worst,
}

/// The worst of several cosines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// The cosine.
    pub cosine: f64,
    /// The input that has it.
    pub input: String,
}

impl Verification {
    fn judge(&self) -> bool {
        let holds = |worst: &Worst| worst.cosine >= self.cosine_floor;
        let tower = |check: &Option<CosineCheck>| {
            check.as_ref().is_some_and(|check| {
                check.alone.iter().chain(&check.batch).chain([&check.batch_to_alone]).all(holds)
            })
        };
        self.files.as_ref().is_none_or(|check| check.changed.is_empty())
            && self.pixels.as_ref().is_none_or(|c| c.worst_difference <= PIXEL_LIMIT && c.failed.is_empty())
            && self.token_ids.as_ref().is_none_or(|check| check.mismatches.is_empty())
            && self.runtimes.iter().all(|r| r.failed.is_empty() && tower(&r.images) && tower(&r.texts))
    }
}

/// Verifies the model of `folder` on each of `runtimes`.
///
/// # Errors
/// [`ModelError`] when the folder or its golden values cannot be read. A runtime that does not start or load the model is part
/// of the result.
pub fn verify_model(folder: &ModelFolder, runtimes: &[RuntimeOptions]) -> Result<Verification, ModelError> {
    let manifest = folder.manifest()?;
    let golden = Golden::read(folder, &manifest)?;
    let precision = Precision::Fp32;
    let receipt = folder.directory().and_then(|directory| Some((directory, Receipt::read(directory)?)));
    let files = receipt.map(|(directory, receipt)| FileCheck {
        files: receipt.files.len(),
        changed: receipt.changed(directory),
    });
    let (pixels, token_ids) = match &golden {
        Some(golden) => (
            Some(check_pixels(folder, &manifest, &golden.images)?),
            Some(check_tokens(folder, &manifest, &golden.texts)?),
        ),
        None => (None, None),
    };
    let inputs = match &golden {
        Some(golden) => Inputs::golden(folder, golden)?,
        None => Inputs::made_up(),
    };
    let mut verification = Verification {
        model: manifest.name,
        fingerprint: manifest.fingerprint,
        precision: precision.to_string(),
        cosine_floor: cosine_floor(precision),
        reference: golden.as_ref().map(|golden| golden.reference.clone()),
        files,
        pixels,
        token_ids,
        runtimes: runtimes.iter().map(|options| check_runtime(folder, options, &inputs)).collect(),
        matches_not_replayed: golden.as_ref().map_or(0, |golden| golden.matches.len()),
        passed: false,
    };
    verification.passed = verification.judge();
    Ok(verification)
}

fn check_pixels(
    folder: &ModelFolder,
    manifest: &ModelManifest,
    images: &[GoldenImage],
) -> Result<PixelCheck, ModelError> {
    let preprocess = &manifest.image.preprocess;
    let mut check = PixelCheck {
        images: images.len(),
        worst_difference: 0,
        worst_image: String::new(),
        failed: Vec::new(),
    };
    for GoldenImage { file, raster, .. } in images {
        let (image, expected) = (golden::read(folder, file)?, golden::read(folder, raster)?);
        let compared = decode_rgb(&expected).and_then(|expected| {
            let ours = preprocess.raster(&decode_rgb(&image)?);
            Ok::<_, DecodeError>((ours, expected))
        });
        match compared {
            Ok((ours, expected)) if ours.len() == expected.len() => {
                let worst =
                    ours.iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
                if worst >= check.worst_difference {
                    (check.worst_difference, check.worst_image) = (worst, file.clone());
                }
            }
            Ok((_, expected)) => {
                let (size, (width, height)) = (preprocess.size(), expected.dimensions());
                let ours = format!("{} × {}", size.width, size.height);
                check.failed.push(format!("{raster} is {width} × {height}, the model's images are {ours}"));
            }
            Err(error) => check.failed.push(format!("{file}: {error}")),
        }
    }
    Ok(check)
}

fn check_tokens(
    folder: &ModelFolder,
    manifest: &ModelManifest,
    texts: &[GoldenText],
) -> Result<TokenCheck, ModelError> {
    let tower = &manifest.text;
    let tokenizer = TextTokenizer::new(&folder.read(&tower.tokenizer)?, tower)
        .map_err(|reason| ModelError::Tokenizer { path: folder.path(&tower.tokenizer), reason })?;
    let mismatch = |GoldenText { text, ids, .. }: &GoldenText| match tokenizer.ids(text) {
        Ok(ours) if ours == *ids => None,
        Ok(ours) => Some(format!("{text:?}: expected {ids:?}, received {ours:?}")),
        Err(error) => Some(format!("{text:?}: {error}")),
    };
    Ok(TokenCheck { texts: texts.len(), mismatches: texts.iter().filter_map(mismatch).collect() })
}

/// What the towers are given, each input with its name and, if known, its embedding.
struct Inputs {
    images: Vec<(String, Vec<u8>)>,
    texts: Vec<String>,
    expected_images: Option<Vec<Vec<f32>>>,
    expected_texts: Option<Vec<Vec<f32>>>,
}

impl Inputs {
    fn golden(folder: &ModelFolder, golden: &Golden) -> Result<Self, ModelError> {
        let read =
            |image: &GoldenImage| Ok((image.file.clone(), golden::read(folder, &image.file)?.into_owned()));
        Ok(Self {
            images: golden.images.iter().map(read).collect::<Result<_, ModelError>>()?,
            texts: golden.texts.iter().map(|text| text.text.clone()).collect(),
            expected_images: Some(golden.images.iter().map(|image| image.embedding.clone()).collect()),
            expected_texts: Some(golden.texts.iter().map(|text| text.embedding.clone()).collect()),
        })
    }

    /// Wide, tall and square images, short and long texts: enough to see a batch mix its rows up.
    fn made_up() -> Self {
        let images = [(96, 40), (35, 90), (64, 64)].map(|(width, height)| {
            let level = |x: u32, y: u32, c: u32| ((x * (c + 2) * 5 + y * (4 - c) * 3 + width) % 256) as u8;
            let image =
                RgbImage::from_fn(width, height, |x, y| image::Rgb([0, 1, 2].map(|c| level(x, y, c))));
            let mut png = Cursor::new(Vec::new());
            // Writing to memory in a format that takes any RGB image does not fail.
            let _ = image.write_to(&mut png, ImageFormat::Png);
            (format!("a generated image of {width} × {height}"), png.into_inner())
        });
        let texts =
            ["a dog", "two children play with a kite on a wide beach under grey clouds", "a red car", ""];
        Self {
            images: images.into(),
            texts: texts.map(str::to_owned).into(),
            expected_images: None,
            expected_texts: None,
        }
    }
}

fn check_runtime(folder: &ModelFolder, options: &RuntimeOptions, inputs: &Inputs) -> RuntimeCheck {
    let encoder = match DualEncoder::open(folder, options) {
        Ok(encoder) => encoder,
        Err(error) => {
            let failed = vec![error.to_string()];
            return RuntimeCheck { runtime: options.choice.to_string(), images: None, texts: None, failed };
        }
    };
    let mut failed = Vec::new();
    let mut keep = |outcome: Result<CosineCheck, String>| outcome.map_err(|error| failed.push(error)).ok();
    let images = keep(check_images(&encoder, inputs));
    let texts = keep(check_texts(&encoder, inputs));
    RuntimeCheck { runtime: encoder.runtime().to_string(), images, texts, failed }
}

fn check_images(encoder: &DualEncoder, inputs: &Inputs) -> Result<CosineCheck, String> {
    let prepare = |(name, bytes): &(String, Vec<u8>)| {
        encoder.prepare_image(bytes).map_err(|error| format!("{name}: {error}"))
    };
    let prepared: Vec<PreparedImage> = inputs.images.iter().map(prepare).collect::<Result<_, _>>()?;
    let names: Vec<&str> = inputs.images.iter().map(|(name, _)| name.as_str()).collect();
    let encode = |range: std::ops::Range<usize>| encoder.encode_images(&prepared[range]);
    check_tower(&names, encode, inputs.expected_images.as_deref())
}

fn check_texts(encoder: &DualEncoder, inputs: &Inputs) -> Result<CosineCheck, String> {
    let texts: Vec<&str> = inputs.texts.iter().map(String::as_str).collect();
    let encode = |range: std::ops::Range<usize>| encoder.encode_texts(&texts[range]);
    check_tower(&texts, encode, inputs.expected_texts.as_deref())
}

/// `encode` gives the embeddings of a range of the inputs, in one batch.
fn check_tower(
    names: &[&str],
    encode: impl Fn(std::ops::Range<usize>) -> Result<EmbeddingBatch, EncodeError>,
    expected: Option<&[Vec<f32>]>,
) -> Result<CosineCheck, String> {
    let failed = |error: EncodeError| error.to_string();
    let rows = |batch: &EmbeddingBatch| batch.rows().map(<[f32]>::to_vec).collect::<Vec<_>>();
    let mut alone = Vec::with_capacity(names.len());
    for i in 0..names.len() {
        alone.extend(rows(&encode(i..i + 1).map_err(failed)?));
    }
    let batch = rows(&encode(0..names.len()).map_err(failed)?);
    let against = |rows: &[Vec<f32>]| expected.map(|expected| worst(names, rows, expected));
    Ok(CosineCheck {
        inputs: names.len(),
        alone: against(&alone),
        batch: against(&batch),
        batch_to_alone: worst(names, &batch, &alone),
    })
}

fn worst(names: &[&str], ours: &[Vec<f32>], expected: &[Vec<f32>]) -> Worst {
    let cosines = ours.iter().zip(expected).map(|(a, b)| cosine(a, b));
    let worst = names.iter().zip(cosines).min_by(|a, b| a.1.total_cmp(&b.1));
    let (input, cosine) = worst.map_or(("", 1.0), |(name, cosine)| (*name, cosine));
    Worst { cosine, input: input.to_owned() }
}

/// In double precision, so that the figure is not of the rounding that it is to measure. Not a number counts as opposite.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    if cosine.is_nan() { -1.0 } else { cosine }
}
