//! From a decoded photograph to the tensor a model takes: resize, crop, scale, normalise.
//!
//! The steps and their rounding are those of Pillow and torchvision, because every published model was trained behind them;
//! a slip here does not fail, it quietly costs recall. What a model wants is read from its `pictor.json`, never inferred from
//! its name.
//!
//! What must stay true: the 8-bit raster equals the reference's in every pixel (`tests/raster.rs`), and the numbers equal
//! `(raster / 255 - mean) / std` computed in f32, which is torchvision's `ToTensor` followed by `Normalize`.

use image::RgbImage;
use pictor_core::RasterSize;
use serde::{Deserialize, Serialize};

use crate::resize::{Filter, Window, resize};

/// How an image of any shape becomes one of the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeMode {
    /// Both sides to the model's, whatever the aspect ratio: SigLIP, BLIP, DFN5B (open_clip `resize_mode: squash`).
    Squash,
    /// The shorter side to the model's, then the centre square: CLIP (`torchvision.transforms.Resize(n)`, `CenterCrop(n)`).
    ShortestEdgeCenterCrop,
}

/// Preprocessing of one model, the `image.preprocess` object of `pictor.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Rows of the tensor.
    pub height: u32,
    /// Columns of the tensor.
    pub width: u32,
    /// How the size is reached.
    pub resize: ResizeMode,
    /// Interpolation kernel of the resize, Pillow's.
    pub filter: Filter,
    /// Subtracted from R, G and B after scaling to 0..=1.
    pub mean: [f32; 3],
    /// R, G and B are divided by it afterwards; no component is zero.
    pub std: [f32; 3],
    /// Length of the resized shorter side, when it is not the side of the crop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortest_edge: Option<u32>,
    /// How the centre is found.
    #[serde(default, skip_serializing_if = "CropOffset::is_default")]
    pub crop_offset: CropOffset,
    /// When colours become RGB.
    #[serde(default, skip_serializing_if = "ConvertRgb::is_default")]
    pub convert_rgb: ConvertRgb,
}

/// Where the centre crop starts when an odd number of pixels is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CropOffset {
    /// `int(round(excess / 2))` of Python: torchvision.
    #[default]
    RoundHalfEven,
    /// `excess // 2`: transformers.
    Floor,
}

impl CropOffset {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When an image of another mode (palette, alpha, CMYK) becomes RGB; resizing differs between modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConvertRgb {
    /// First: transformers.
    #[default]
    BeforeResize,
    /// After resize and crop: OpenAI's CLIP and open_clip.
    AfterResize,
}

impl ConvertRgb {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Preprocess {
    /// Size of the tensor.
    pub fn size(&self) -> RasterSize {
        RasterSize { width: self.width, height: self.height }
    }

    /// The raster that is normalised: interleaved RGB, `height × width × 3` bytes.
    pub(crate) fn raster(&self, image: &RgbImage) -> Vec<u8> {
        let (full, window) = self.geometry(image.dimensions());
        resize(image, full, &window, self.filter)
    }

    /// The tensor of `image`: `3 × height × width` numbers, channel-major.
    pub(crate) fn tensor(&self, image: &RgbImage) -> Vec<f32> {
        let raster = self.raster(image);
        let plane = raster.len() / 3;
        let mut tensor = vec![0.0; raster.len()];
        for (channel, values) in tensor.chunks_exact_mut(plane).enumerate() {
            // A channel takes 256 values, so the divisions are done 256 times and not once a pixel.
            let table: [f32; 256] =
                std::array::from_fn(|level| (level as f32 / 255.0 - self.mean[channel]) / self.std[channel]);
            for (value, pixel) in values.iter_mut().zip(raster.chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
        tensor
    }

    /// What `(width, height)` is resized to, and the part of it that the model sees.
    fn geometry(&self, (width, height): (u32, u32)) -> (RasterSize, Window) {
        match self.resize {
            ResizeMode::Squash => (self.size(), Window::all(self.size())),
            ResizeMode::ShortestEdgeCenterCrop => {
                // The manifest holds that the model's image is square.
                let side = self.width;
                let full = shortest_edge(width, height, side);
                let (left, top) = (crop_offset(full.width - side), crop_offset(full.height - side));
                (full, Window { columns: left..left + side, rows: top..top + side })
            }
        }
    }
}

/// `(width, height)` scaled so that the shorter side is `side`; the longer one is truncated, as
/// `torchvision/transforms/functional.py::_compute_resized_output_size` has it: `int(size * long / short)`.
///
/// Integer division gives what Python's true division and `int` give: products are far below 2^52.
pub(crate) fn shortest_edge(width: u32, height: u32, side: u32) -> RasterSize {
    // Decoded sides are at most 65,535 and a model's at most 4,096 (see `decode` and `manifest`), so this fits in u32.
    let scale = |long: u32, short: u32| (u64::from(side) * u64::from(long) / u64::from(short)) as u32;
    if width <= height {
        RasterSize { width: side, height: scale(height, width) }
    } else {
        RasterSize { width: scale(width, height), height: side }
    }
}

/// Pixels cut off before the centre crop when `excess` are too many: `int(round(excess / 2.0))` of
/// `torchvision/transforms/functional.py::center_crop`, where Python rounds a half to the even neighbour.
fn crop_offset(excess: u32) -> u32 {
    let half = excess / 2;
    if excess.is_multiple_of(2) || half.is_multiple_of(2) { half } else { half + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crop_offset_rounds_half_to_even() {
        // [int(round(d / 2.0)) for d in range(9)] in Python 3
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7, 8].map(crop_offset), [0, 0, 1, 2, 2, 2, 3, 4, 4]);
    }

    #[test]
    fn shortest_edge_truncates_the_longer_side() {
        let size = |width, height| RasterSize { width, height };
        assert_eq!(shortest_edge(640, 480, 224), size(298, 224)); // 298.67
        assert_eq!(shortest_edge(333, 500, 224), size(224, 336)); // 336.34
        assert_eq!(shortest_edge(1, 65_535, 224), size(224, 14_679_840));
        assert_eq!(shortest_edge(7, 7, 224), size(224, 224));
    }

    #[test]
    fn tensor_is_channel_major_and_normalised() {
        let preprocess = Preprocess {
            height: 1,
            width: 2,
            resize: ResizeMode::Squash,
            filter: Filter::Bicubic,
            mean: [0.5, 0.0, 1.0],
            std: [0.5, 1.0, 2.0],
            shortest_edge: None,
            crop_offset: CropOffset::default(),
            convert_rgb: ConvertRgb::default(),
        };
        let image = RgbImage::from_raw(2, 1, vec![0, 51, 255, 255, 102, 0]).unwrap();
        assert_eq!(preprocess.tensor(&image), [-1.0, 1.0, 0.2, 0.4, 0.0, -0.5]);
    }
}
