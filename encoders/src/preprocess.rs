//! From a decoded photograph to the tensor a model takes: resize, crop, scale, normalise.
//!
//! The steps and their rounding are those of Pillow and torchvision, because every published model was trained behind them;
//! a slip here does not fail, it quietly costs recall. What a model wants is read from its `pictor.json`, never inferred from
//! its name.
//!
//! What must stay true: the 8-bit raster equals the reference's in every pixel (`tests/raster.rs`), and the numbers equal
//! `(raster / 255 - mean) / std` computed in f32, which is torchvision's `ToTensor` followed by `Normalize`.

use std::time::Instant;

use pictor_core::{DecodeError, PreparedImage, RasterSize};
use serde::{Deserialize, Serialize};

use crate::decode::{DecodeOptions, Decoded, Mode, decode, premultiplied, rgb, rgb_of_premultiplied};
use crate::resize::{Filter, Window, nearest, resize};

/// How an image of any shape becomes one of the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeMode {
    /// Both sides to the model's, whatever the aspect ratio: SigLIP, BLIP, DFN5B (open_clip `resize_mode: squash`).
    Squash,
    /// The shorter side to the model's, then the centre square: CLIP (`torchvision.transforms.Resize(n)`, `CenterCrop(n)`).
    ShortestEdgeCenterCrop,
}

/// How many times as large as the resized image a fast decoding is at least.
///
/// Measured on photographs of 12 megapixels resized to 224 × 224, with the bundled model: decoded to once the size or more, the
/// cosine to the exact vector was 0.998 on average and 0.993 at worst; to twice the size, 0.9993 and 0.9975, at a tenth more time
/// (either way decoding took half as long as in full). Photographs of 640 × 480 gained nothing worth a cosine of 0.98.
const FAST_MARGIN: u32 = 2;

/// Where the centre crop starts when an odd number of pixels is too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CropOffset {
    /// `int(round(excess / 2.0))`, where Python rounds a half to the even neighbour: `torchvision/transforms/functional.py`,
    /// `center_crop`, and so OpenAI's CLIP and open_clip.
    #[default]
    RoundHalfEven,
    /// `excess // 2`: `transformers/image_transforms.py`, `center_crop`.
    Floor,
}

/// When an image of another mode (grey, palette, alpha, CMYK) becomes RGB, and how. It shows at the edges of what is
/// transparent, and in every pixel of a palette image, which is not interpolated in its own mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConvertRgb {
    /// First, by `Image.convert("RGB")`, which drops alpha: transformers before version 5, BLIP, LAVIS.
    #[default]
    BeforeResize,
    /// After resize and crop, by `Image.convert("RGB")`: OpenAI's `clip.py::_transform`, open_clip's `image_transform`.
    AfterResize,
    /// First, what is transparent laid over white: transformers since version 5 (`image_transforms.py::convert_to_rgb`).
    OverWhite,
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
    /// With [`ResizeMode::ShortestEdgeCenterCrop`], the shorter side of the resized image, at least both sides of the tensor;
    /// absent when it is `height`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortest_edge: Option<u32>,
    /// With [`ResizeMode::ShortestEdgeCenterCrop`], where the crop starts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub crop_offset: CropOffset,
    /// When and how an image becomes RGB.
    #[serde(default, skip_serializing_if = "is_default")]
    pub convert_rgb: ConvertRgb,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Preprocess {
    /// Size of the tensor.
    pub fn size(&self) -> RasterSize {
        RasterSize { width: self.width, height: self.height }
    }

    /// With [`ResizeMode::ShortestEdgeCenterCrop`], the shorter side of the resized image.
    pub(crate) fn edge(&self) -> u32 {
        self.shortest_edge.unwrap_or(self.height)
    }

    /// The tensor of an image file.
    ///
    /// # Errors
    /// [`DecodeError`], about this image only.
    pub fn prepare(&self, bytes: &[u8], options: &DecodeOptions) -> Result<PreparedImage, DecodeError> {
        let start = Instant::now();
        let decoded = decode(bytes, options, |original| self.enough(original))?;
        let after_decode = Instant::now();
        let original = decoded.original;
        let pixels = self.tensor(&self.resized(decoded));
        let spent = [after_decode - start, after_decode.elapsed()];
        Ok(PreparedImage { pixels, size: self.size(), original, spent })
    }

    /// The raster of an image file that [`Preprocess::prepare`] would normalise: interleaved RGB, `height × width × 3` bytes.
    ///
    /// # Errors
    /// [`DecodeError`], about this image only.
    pub fn raster(&self, bytes: &[u8], options: &DecodeOptions) -> Result<Vec<u8>, DecodeError> {
        Ok(self.resized(decode(bytes, options, |original| self.enough(original))?))
    }

    /// The size that an image of size `original` may be decoded to instead of its own, with [`DecodeOptions::fast`].
    fn enough(&self, original: RasterSize) -> RasterSize {
        let full = self.geometry(original).0;
        RasterSize {
            width: full.width.saturating_mul(FAST_MARGIN),
            height: full.height.saturating_mul(FAST_MARGIN),
        }
    }

    /// Resized, cropped, and RGB.
    pub(crate) fn resized(&self, Decoded { raster, original }: Decoded) -> Vec<u8> {
        let (full, window) = self.geometry(original);
        let (from, filter) = (raster.size, self.filter);
        match (self.convert_rgb, raster.mode) {
            // Equal channels stay equal, so one is resized for three, whatever the order.
            (_, Mode::Grey) => rgb(resize::<1>(&raster.pixels, from, full, &window, filter), Mode::Grey),
            (ConvertRgb::AfterResize, Mode::Indexed) => nearest::<3>(&raster.into_rgb(), from, full, &window),
            // Pillow resizes with the colours weighed by alpha, and not at all to the size it has.
            (ConvertRgb::AfterResize, Mode::Rgba) if from != full => {
                let weighed = premultiplied(&raster.pixels);
                rgb_of_premultiplied(&resize::<4>(&weighed, from, full, &window, filter))
            }
            (ConvertRgb::AfterResize, Mode::Cmyk) => {
                rgb(resize::<4>(&raster.pixels, from, full, &window, filter), Mode::Cmyk)
            }
            (ConvertRgb::OverWhite, _) => {
                resize::<3>(&raster.into_rgb_over_white(), from, full, &window, filter)
            }
            _ => resize::<3>(&raster.into_rgb(), from, full, &window, filter),
        }
    }

    /// `3 × height × width` numbers, channel-major, from an interleaved RGB raster.
    fn tensor(&self, raster: &[u8]) -> Vec<f32> {
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

    /// What an image of size `original` is resized to, and the part of it that the model sees.
    fn geometry(&self, original: RasterSize) -> (RasterSize, Window) {
        match self.resize {
            ResizeMode::Squash => (self.size(), Window::all(self.size())),
            ResizeMode::ShortestEdgeCenterCrop => {
                let full = shortest_edge(original, self.edge());
                // The manifest holds that the crop fits.
                let part = |all: u32, side: u32| {
                    let from = self.crop_offset.of(all - side);
                    from..from + side
                };
                let window =
                    Window { columns: part(full.width, self.width), rows: part(full.height, self.height) };
                (full, window)
            }
        }
    }
}

/// `size` scaled so that the shorter side is `side`; the longer one is truncated, as
/// `torchvision/transforms/functional.py::_compute_resized_output_size` has it: `int(size * long / short)`.
///
/// Integer division gives what Python's true division and `int` give: products are far below 2^52.
fn shortest_edge(size: RasterSize, side: u32) -> RasterSize {
    let RasterSize { width, height } = size;
    // Decoded sides are at most 65,535 and a model's at most 4,096 (see `decode` and `manifest`), so this fits in u32.
    let scale = |long: u32, short: u32| (u64::from(side) * u64::from(long) / u64::from(short)) as u32;
    if width <= height {
        RasterSize { width: side, height: scale(height, width) }
    } else {
        RasterSize { width: scale(width, height), height: side }
    }
}

impl CropOffset {
    /// Pixels cut off before the crop when `excess` are too many.
    fn of(self, excess: u32) -> u32 {
        let half = excess / 2;
        match self {
            Self::RoundHalfEven if !excess.is_multiple_of(2) && !half.is_multiple_of(2) => half + 1,
            _ => half,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crop_offsets_round_as_their_sources_do() {
        let of = |offset: CropOffset| [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|excess| offset.of(excess));
        // [int(round(d / 2.0)) for d in range(9)] in Python 3
        assert_eq!(of(CropOffset::RoundHalfEven), [0, 0, 1, 2, 2, 2, 3, 4, 4]);
        assert_eq!(of(CropOffset::Floor), [0, 0, 1, 1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn shortest_edge_truncates_the_longer_side() {
        let size = |width, height| RasterSize { width, height };
        assert_eq!(shortest_edge(size(640, 480), 224), size(298, 224)); // 298.67
        assert_eq!(shortest_edge(size(333, 500), 224), size(224, 336)); // 336.34
        assert_eq!(shortest_edge(size(1, 65_535), 224), size(224, 14_679_840));
        assert_eq!(shortest_edge(size(7, 7), 224), size(224, 224));
    }

    #[test]
    fn tensor_is_channel_major_and_normalised() {
        let json = r#"{"height": 1, "width": 2, "resize": "squash", "filter": "bicubic", "mean": [0.5, 0, 1], "std": [0.5, 1, 2]}"#;
        let preprocess: Preprocess = serde_json::from_str(json).unwrap();
        assert_eq!(preprocess.tensor(&[0, 51, 255, 255, 102, 0]), [-1.0, 1.0, 0.2, 0.4, 0.0, -0.5]);
    }

    #[test]
    fn optional_keys_are_left_out_when_they_say_nothing() {
        let json = r#"{"height":2,"width":2,"resize":"squash","filter":"bicubic","mean":[0.0,0.0,0.0],"std":[1.0,1.0,1.0]}"#;
        let preprocess: Preprocess = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&preprocess).unwrap(), json);
        let said = r#","shortest_edge":3,"crop_offset":"floor","convert_rgb":"over-white"}"#;
        let json = json.replace('}', said);
        let preprocess: Preprocess = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&preprocess).unwrap(), json);
    }
}
