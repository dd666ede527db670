//! The two passes for any CPU, arranged so that the compiler makes SIMD code of them.

use super::axis::{Axis, PRECISION_BITS};

/// Rows that the horizontal pass takes at once: two AVX2 registers of sums for each channel.
const LANES: usize = 16;

/// Columns times channels that the vertical pass takes at once: four AVX2 registers of sums.
const STRIP: usize = 32;

/// Both passes over the rows that `rows` reads, of `stride` bytes each.
pub(super) fn both_passes<const N: usize>(
    pixels: &[u8],
    stride: usize,
    columns: &Axis,
    rows: &Axis,
    vertical_first: bool,
) -> Vec<u8> {
    if vertical_first {
        horizontal::<N>(&vertical(pixels, stride, rows), stride, columns)
    } else {
        vertical(&horizontal::<N>(pixels, stride, columns), columns.starts.len() * N, rows)
    }
}

/// Each row of `pixels` to `axis.starts.len()` pixels.
///
/// Rows are taken [`LANES`] at a time and turned so that the same column of all of them is adjacent: then every weight
/// multiplies whole registers.
#[inline(always)]
pub(super) fn horizontal<const N: usize>(pixels: &[u8], stride: usize, axis: &Axis) -> Vec<u8> {
    let out_stride = axis.starts.len() * N;
    let mut out = vec![0; pixels.len() / stride * out_stride];
    let part = axis.source();
    let bytes = part.start * N..part.end * N;
    let mut turned = vec![[[0u8; LANES]; N]; part.len()];
    for (block, out_block) in pixels.chunks(stride * LANES).zip(out.chunks_mut(out_stride * LANES)) {
        for (lane, row) in block.chunks_exact(stride).enumerate() {
            for (column, pixel) in turned.iter_mut().zip(row[bytes.clone()].as_chunks::<N>().0) {
                for channel in 0..N {
                    column[channel][lane] = pixel[channel];
                }
            }
        }
        for (x, (start, weights)) in axis.taps().enumerate() {
            let mut sums = [[1i32 << (PRECISION_BITS - 1); LANES]; N];
            let from = start - part.start;
            for (column, &weight) in turned[from..from + weights.len()].iter().zip(weights) {
                for (sums, levels) in sums.iter_mut().zip(column) {
                    for (sum, &level) in sums.iter_mut().zip(levels) {
                        *sum += i32::from(level) * weight;
                    }
                }
            }
            // All at once and by value, so that the sums stay in registers.
            let levels = sums.map(|sums| sums.map(clip8));
            for (lane, row) in out_block.chunks_exact_mut(out_stride).enumerate() {
                for channel in 0..N {
                    row[x * N + channel] = levels[channel][lane];
                }
            }
        }
    }
    out
}

/// Rows of `stride` bytes to `axis.starts.len()` rows.
#[inline(always)]
pub(super) fn vertical(pixels: &[u8], stride: usize, axis: &Axis) -> Vec<u8> {
    let mut out = vec![0; axis.starts.len() * stride];
    let first = axis.source().start;
    for ((start, weights), row) in axis.taps().zip(out.chunks_exact_mut(stride)) {
        let sources = &pixels[(start - first) * stride..];
        let mut strips = row.chunks_exact_mut(STRIP);
        let mut from = 0;
        for strip in strips.by_ref() {
            let mut sums = [1i32 << (PRECISION_BITS - 1); STRIP];
            for (source, &weight) in sources.chunks_exact(stride).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(&source[from..from + STRIP]) {
                    *sum += i32::from(value) * weight;
                }
            }
            for (value, sum) in strip.iter_mut().zip(sums) {
                *value = clip8(sum);
            }
            from += STRIP;
        }
        for (i, value) in strips.into_remainder().iter_mut().enumerate() {
            let column = sources.chunks_exact(stride).map(|source| i32::from(source[from + i]));
            let sum: i32 = column.zip(weights).map(|(value, weight)| value * weight).sum();
            *value = clip8(sum + (1 << (PRECISION_BITS - 1)));
        }
    }
    out
}

/// A sum of weighted pixels, with one half added, back to 8 bits.
#[inline(always)]
fn clip8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}
