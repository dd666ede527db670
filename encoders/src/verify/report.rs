//! What came of verifying a model, and when that is good enough.

use std::collections::BTreeSet;

use pictor_core::MatchScore;
use serde::Serialize;

use super::golden::GoldenMatch;
use crate::runtime::Precision;

/// Most that a channel of the raster may differ from the reference's, of 255.
pub const PIXEL_LIMIT: u8 = 1;

/// Least cosine with the reference's float32 embedding that a precision allows.
pub fn cosine_floor(precision: Precision) -> f64 {
    match precision {
        Precision::Auto | Precision::Fp32 => 0.9999,
        Precision::Fp16 => 0.999,
        Precision::Int8 => 0.99,
    }
}

/// Most that a matcher's scores may differ from the reference's: 0.001 in float32, and as much more as the vectors may be further off.
pub fn match_limit(precision: Precision) -> f64 {
    match precision {
        Precision::Auto | Precision::Fp32 => 1e-3,
        Precision::Fp16 => 1e-2,
        Precision::Int8 => 1e-1,
    }
}

/// What came of verifying a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// The model's name.
    pub model: String,
    /// Its fingerprint.
    pub fingerprint: String,
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
    /// Its name, version, library and devices.
    pub runtime: String,
    /// `fp32`, `fp16` or `int8`.
    pub precision: String,
    /// [`cosine_floor`] of that precision.
    pub cosine_floor: f64,
    /// The image tower, or why it gave nothing.
    pub images: Option<CosineCheck>,
    /// The text tower, or why it gave nothing.
    pub texts: Option<CosineCheck>,
    /// The matcher's scores, when the model has a matcher and golden pairs.
    pub matches: Option<MatchCheck>,
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

/// Scores of a matcher against the reference's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MatchCheck {
    /// How many pairs of an image and a text.
    pub pairs: usize,
    /// Largest difference of an ITM logit or an ITC cosine.
    pub worst_difference: f64,
    /// The pair it is in.
    pub worst_pair: String,
    /// How often two pairs of one text, or of one image, rank the other way round than in the reference, though their ranking scores
    /// there are more than `limit` apart.
    pub swapped: usize,
    /// [`match_limit`] of the precision.
    pub limit: f64,
}

/// The worst of several cosines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// The cosine.
    pub cosine: f64,
    /// The input that has it.
    pub input: String,
}

impl MatchCheck {
    /// Of the pairs with our scores; a pair may be there several times.
    pub(super) fn of(scored: &[(&GoldenMatch, MatchScore)], itc_weight: f32, limit: f64) -> Self {
        let pairs: BTreeSet<(&str, &str)> =
            scored.iter().map(|(pair, _)| (&*pair.image, &*pair.text)).collect();
        let mut check =
            Self { pairs: pairs.len(), worst_difference: 0.0, worst_pair: String::new(), swapped: 0, limit };
        for (pair, ours) in scored {
            let logit = f64::from((ours.itm_logit - pair.itm_logit).abs());
            let difference = logit.max(f64::from((ours.itc_cosine - pair.itc_cosine).abs()));
            if difference >= check.worst_difference {
                (check.worst_difference, check.worst_pair) =
                    (difference, format!("{}: {}", pair.image, pair.text));
            }
        }
        let reference = |pair: &GoldenMatch| f64::from(pair.itm_logit + itc_weight * pair.itc_cosine);
        for (i, (a, ours_a)) in scored.iter().enumerate() {
            for (b, ours_b) in &scored[i + 1..] {
                let apart = reference(a) - reference(b);
                let ours = f64::from(ours_a.score - ours_b.score);
                if (a.text == b.text || a.image == b.image) && apart.abs() > limit && apart * ours <= 0.0 {
                    check.swapped += 1;
                }
            }
        }
        check
    }

    /// Whether the scores are the reference's.
    pub fn holds(&self) -> bool {
        self.worst_difference <= self.limit && self.swapped == 0
    }
}

impl Verification {
    pub(super) fn judge(&self) -> bool {
        let tower = |check: &Option<CosineCheck>, floor: f64| {
            let holds = |worst: &Worst| worst.cosine >= floor;
            check.as_ref().is_some_and(|check| {
                check.alone.iter().chain(&check.batch).chain([&check.batch_to_alone]).all(holds)
            })
        };
        let runtime = |r: &RuntimeCheck| {
            let matches = r.matches.as_ref().is_none_or(MatchCheck::holds);
            r.failed.is_empty()
                && matches
                && tower(&r.images, r.cosine_floor)
                && tower(&r.texts, r.cosine_floor)
        };
        self.files.as_ref().is_none_or(|check| check.changed.is_empty())
            && self.pixels.as_ref().is_none_or(|c| c.worst_difference <= PIXEL_LIMIT && c.failed.is_empty())
            && self.token_ids.as_ref().is_none_or(|check| check.mismatches.is_empty())
            && self.runtimes.iter().all(runtime)
    }
}
