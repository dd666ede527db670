//! Which source pixels make which pixel of one axis, and with which weights: all the floating-point arithmetic of a resize.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Fraction bits of a weight: 8 bits for the pixel and 2 for the sum, which may leave 0..=255 by the kernel's overshoot.
pub(super) const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Interpolation kernels, by Pillow's names; both are widened by the scale when shrinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Catmull-Rom: cubic convolution with a = -0.5, support 2.
    Bicubic,
    /// Triangle, support 1.
    Bilinear,
}

impl Filter {
    /// Half the kernel's width, in source pixels, when not shrinking.
    fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Bilinear => 1.0,
        }
    }

    /// `bicubic_filter` and `bilinear_filter` of Resample.c, with the operations in the same order: f64 addition is not
    /// associative, and a last bit here is a pixel there.
    fn at(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bilinear if x < 1.0 => 1.0 - x,
            _ => 0.0,
        }
    }
}

/// Which source pixels make each wanted pixel of one axis, and with which weights (`precompute_coeffs` and
/// `normalize_coeffs_8bpc` of Resample.c).
pub(super) struct Axis {
    /// First source pixel of each wanted pixel; never decreasing.
    pub starts: Vec<usize>,
    /// Source pixels of each wanted pixel, 1 or more.
    counts: Vec<usize>,
    /// Weights in units of 2^-[`PRECISION_BITS`], `longest` for each wanted pixel, zero past its count.
    weights: Vec<i32>,
    /// Most source pixels of a wanted one; 1 when the axis keeps its size.
    pub longest: usize,
}

impl Axis {
    pub fn new(input: u32, output: u32, window: Range<u32>, filter: Filter) -> Self {
        let scale = f64::from(input) / f64::from(output);
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let inverse = 1.0 / filter_scale;
        // An axis that keeps its size has one weight of 1 (both kernels are 0 at every other whole number), and Pillow skips
        // its pass; taking it with that weight gives the same bytes.
        let longest = if input == output { 1 } else { support.ceil() as usize * 2 + 1 };
        let mut axis = Self {
            starts: Vec::with_capacity(window.len()),
            counts: Vec::with_capacity(window.len()),
            weights: Vec::with_capacity(window.len() * longest),
            longest,
        };
        let mut exact = Vec::with_capacity(longest);
        for x in window {
            let center = (f64::from(x) + 0.5) * scale;
            // C's cast truncates towards zero and so does `as`; a negative start is 0 either way.
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(input as usize);
            let (start, end) = if input == output { (x as usize, x as usize + 1) } else { (start, end) };
            exact.clear();
            exact.extend((start..end).map(|i| filter.at((i as f64 - center + 0.5) * inverse)));
            let total: f64 = exact.iter().sum();
            axis.starts.push(start);
            axis.counts.push(end - start);
            axis.weights.extend(exact.iter().map(|weight| fixed_point(weight / total)));
            axis.weights.resize(axis.starts.len() * longest, 0);
        }
        axis
    }

    /// First source pixel and weights of each wanted pixel.
    #[inline(always)]
    pub fn taps(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let weights = self.weights.chunks_exact(self.longest);
        self.starts
            .iter()
            .zip(&self.counts)
            .zip(weights)
            .map(|((&start, &count), weights)| (start, &weights[..count]))
    }

    /// The source pixels that any wanted pixel reads.
    pub fn source(&self) -> Range<usize> {
        let end = self.starts.iter().zip(&self.counts).map(|(start, count)| start + count).max();
        self.starts.first().copied().unwrap_or(0)..end.unwrap_or(0)
    }
}

/// A weight in units of 2^-[`PRECISION_BITS`], rounded half away from zero as Pillow rounds it.
fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}
