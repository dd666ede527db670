//! What `--fast-decode` costs, measured on the images at hand.

use std::fmt;
use std::path::PathBuf;

use pictor_core::{Encoder, dot};
use pictor_encoders::{DecodeOptions, DualEncoder};
use serde::Serialize;

use crate::output::Output;

/// Most images it is measured on.
pub const IMAGES: usize = 16;

/// Cosines between the vectors of images decoded fast and of the same images decoded in full.
#[derive(Serialize)]
pub struct FastDecodeCost {
    /// Images compared.
    images: usize,
    /// Of these, how many were large enough to be decoded smaller.
    decoded_smaller: usize,
    mean_cosine: f32,
    worst_cosine: f32,
}

impl FastDecodeCost {
    /// Measures it on the first of `files` that can be read, and notes it; none unless `options` asks for fast decoding.
    pub fn measure(
        encoder: &DualEncoder,
        files: &[PathBuf],
        options: &DecodeOptions,
        output: &Output,
    ) -> anyhow::Result<Option<Self>> {
        if !options.fast {
            return Ok(None);
        }
        let preprocess = &encoder.manifest().image.preprocess;
        let full = DecodeOptions { fast: false, ..*options };
        let prepared = files.iter().filter_map(|path| {
            // Files that cannot be used have been reported already.
            let bytes = fs_err::read(path).ok()?;
            Some((preprocess.prepare(&bytes, options).ok()?, preprocess.prepare(&bytes, &full).ok()?))
        });
        let (fast, exact): (Vec<_>, Vec<_>) = prepared.take(IMAGES).unzip();
        if fast.is_empty() {
            return Ok(None);
        }
        let decoded_smaller = fast.iter().zip(&exact).filter(|(a, b)| a.pixels != b.pixels).count();
        let (fast, exact) = (encoder.encode_images(&fast)?, encoder.encode_images(&exact)?);
        let cosines: Vec<f32> = fast.rows().zip(exact.rows()).map(|(a, b)| dot(a, b)).collect();
        let cost = Self {
            images: cosines.len(),
            decoded_smaller,
            mean_cosine: cosines.iter().sum::<f32>() / cosines.len() as f32,
            worst_cosine: cosines.iter().copied().fold(f32::INFINITY, f32::min),
        };
        output.note(&cost);
        Ok(Some(cost))
    }
}

impl fmt::Display for FastDecodeCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, decoded_smaller, mean_cosine, worst_cosine } = self;
        write!(
            f,
            "fast decoding: cosine to the full decoding {mean_cosine:.4} on average and {worst_cosine:.4} at worst, over \
             {images} images of which {decoded_smaller} were decoded smaller"
        )
    }
}
