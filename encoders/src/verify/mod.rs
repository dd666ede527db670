//! Whether a model's vectors are the reference's on this machine: its golden values replayed, pixels, token ids and embeddings.
//!
//! Every input goes alone and then all in one batch, because a graph exported with a fixed batch, or a runtime's fused kernel,
//! can be right for one and wrong for many. A folder without golden values is checked for what can be known without them: the
//! files are the installed ones, both towers load and run, and a batch gives what single inputs give.

mod golden;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use pictor_core::{
    DecodeError, EmbeddingBatch, EncodeError, Encoder, ImageFeatures, MatchScore, Matcher, PreparedImage,
    TextFeatures,
};

use crate::clip::DualEncoder;
use crate::decode::{DecodeOptions, decode_rgb};
use crate::error::ModelError;
use crate::folder::ModelFolder;
use crate::install::Receipt;
use crate::manifest::ModelManifest;
use crate::matcher::ImageTextMatcher;
use crate::runtime::RuntimeOptions;
use crate::tokenize::TextTokenizer;
use golden::{Golden, GoldenImage, GoldenMatch, GoldenText};
pub use report::{
    CosineCheck, FileCheck, MatchCheck, PIXEL_LIMIT, PixelCheck, RuntimeCheck, TokenCheck, Verification,
    Worst, cosine_floor, match_limit,
};

/// Verifies the model of `folder` on each of `runtimes`.
///
/// # Errors
/// [`ModelError`] when the folder or its golden values cannot be read. A runtime that does not start or load the model is part
/// of the result.
pub fn verify_model(folder: &ModelFolder, runtimes: &[RuntimeOptions]) -> Result<Verification, ModelError> {
    let manifest = folder.manifest()?;
    let golden = Golden::read(folder, &manifest)?;
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
        reference: golden.as_ref().map(|golden| golden.reference.clone()),
        files,
        pixels,
        token_ids,
        runtimes: runtimes.iter().map(|options| check_runtime(folder, options, &inputs)).collect(),
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
        let options = DecodeOptions::default();
        let compared = decode_rgb(&expected, &options).and_then(|expected| {
            let ours = preprocess.raster(&image, &options)?;
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
    matches: Vec<GoldenMatch>,
    /// The image files that `matches` name, each once.
    matched: BTreeMap<String, Vec<u8>>,
}

impl Inputs {
    fn golden(folder: &ModelFolder, golden: &Golden) -> Result<Self, ModelError> {
        let read =
            |image: &GoldenImage| Ok((image.file.clone(), golden::read(folder, &image.file)?.into_owned()));
        let matched =
            |pair: &GoldenMatch| Ok((pair.image.clone(), golden::read(folder, &pair.image)?.into_owned()));
        Ok(Self {
            images: golden.images.iter().map(read).collect::<Result<_, ModelError>>()?,
            texts: golden.texts.iter().map(|text| text.text.clone()).collect(),
            expected_images: Some(golden.images.iter().map(|image| image.embedding.clone()).collect()),
            expected_texts: Some(golden.texts.iter().map(|text| text.embedding.clone()).collect()),
            matches: golden.matches.clone(),
            matched: golden.matches.iter().map(matched).collect::<Result<_, ModelError>>()?,
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
            matches: Vec::new(),
            matched: BTreeMap::new(),
        }
    }
}

fn check_runtime(folder: &ModelFolder, options: &RuntimeOptions, inputs: &Inputs) -> RuntimeCheck {
    let encoder = match DualEncoder::open(folder, options) {
        Ok(encoder) => encoder,
        Err(error) => {
            return RuntimeCheck {
                runtime: options.choice.to_string(),
                precision: options.precision.to_string(),
                cosine_floor: cosine_floor(options.precision),
                images: None,
                texts: None,
                matches: None,
                failed: vec![error.to_string()],
            };
        }
    };
    let precision = encoder.precision();
    let mut failed = Vec::new();
    let mut keep = |outcome: Result<CosineCheck, String>| outcome.map_err(|error| failed.push(error)).ok();
    let images = keep(check_images(&encoder, inputs));
    let texts = keep(check_texts(&encoder, inputs));
    let matches = if inputs.matches.is_empty() {
        None
    } else {
        check_matches(folder, options, inputs, match_limit(precision))
            .map_err(|error| failed.push(error))
            .ok()
    };
    RuntimeCheck {
        runtime: encoder.runtime().to_string(),
        precision: precision.to_string(),
        cosine_floor: cosine_floor(precision),
        images,
        texts,
        matches,
        failed,
    }
}

/// Every pair alone, and every text with all of its images in one batch. Features of either side are made once.
fn check_matches(
    folder: &ModelFolder,
    options: &RuntimeOptions,
    inputs: &Inputs,
    limit: f64,
) -> Result<MatchCheck, String> {
    let matcher = ImageTextMatcher::open(folder, options).map_err(|error| error.to_string())?;
    let failed = |error: EncodeError| error.to_string();
    let mut images: BTreeMap<&str, ImageFeatures> = BTreeMap::new();
    for (name, bytes) in &inputs.matched {
        let prepared = matcher.prepare_image(bytes).map_err(|error| format!("{name}: {error}"))?;
        images.extend(matcher.encode_images(&[prepared]).map_err(failed)?.pop().map(|made| (&**name, made)));
    }
    let names: BTreeSet<&str> = inputs.matches.iter().map(|pair| pair.text.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let made = matcher.encode_texts(&names).map_err(failed)?;
    let texts: BTreeMap<&str, TextFeatures> = names.iter().copied().zip(made).collect();
    let score = |pairs: &[&GoldenMatch]| {
        let pairs: Vec<_> =
            pairs.iter().map(|pair| (&texts[pair.text.as_str()], &images[pair.image.as_str()])).collect();
        matcher.score(&pairs).map_err(failed)
    };
    let mut scored: Vec<(&GoldenMatch, MatchScore)> = Vec::new();
    for name in names {
        let pairs: Vec<&GoldenMatch> = inputs.matches.iter().filter(|pair| pair.text == name).collect();
        scored.extend(pairs.iter().copied().zip(score(&pairs)?));
        for pair in pairs {
            scored.extend(score(&[pair])?.into_iter().map(|ours| (pair, ours)));
        }
    }
    Ok(MatchCheck::of(&scored, matcher.itc_weight(), limit))
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
