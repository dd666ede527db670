//! The passes for CPUs with AVX2, by hand: two to three times as fast as what the compiler makes of the portable code.
//!
//! A weight has 24 bits and AVX2 multiplies 16 bits fastest (`vpmaddwd`: two products and their sum), so every weight is taken
//! apart as `high × 2^16 + low`, both signed, and the two sums are put together at the end. In integers modulo 2^32 nothing is
//! rounded by that, so the result is the portable code's to the last bit.

use std::arch::x86_64::*;

use super::axis::{Axis, PRECISION_BITS};
use super::portable;

/// Source pixels that one multiplication takes.
const GROUP: usize = 4;

/// Rows taken at once, so that weights are loaded once for all of them.
const ROWS: usize = 4;

/// As [`portable::both_passes`].
#[target_feature(enable = "avx2")]
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

#[target_feature(enable = "avx2")]
fn horizontal<const N: usize>(pixels: &[u8], stride: usize, axis: &Axis) -> Vec<u8> {
    match Groups::new(axis, stride / N) {
        Some(groups) if N == 3 || N == 4 => horizontal_by_groups::<N>(pixels, stride, &groups),
        // One channel, or an image narrower than the kernel.
        _ => portable::horizontal::<N>(pixels, stride, axis),
    }
}

/// An [`Axis`] whose pixels all read the same number of groups of source pixels, inside the row.
struct Groups {
    /// First source pixel of each wanted one; `start + GROUP * count` is at most the width.
    starts: Vec<usize>,
    /// Groups of each wanted pixel.
    count: usize,
    /// For each wanted pixel and group, the low and the high halves of its weights, each pair of pixels' weights four times over.
    weights: Vec<[[i16; 16]; 2]>,
}

impl Groups {
    /// None when a row of `width` pixels is too short.
    fn new(axis: &Axis, width: usize) -> Option<Self> {
        let count = axis.longest.div_ceil(GROUP);
        let last = width.checked_sub(count * GROUP)?;
        let mut starts = Vec::with_capacity(axis.starts.len());
        let mut groups = Vec::with_capacity(axis.starts.len() * count);
        for (start, weights) in axis.taps() {
            // Near the right end the groups start further left, at weights of zero.
            let from = start.min(last);
            starts.push(from);
            let weight =
                |at: usize| at.checked_sub(start - from).and_then(|at| weights.get(at)).copied().unwrap_or(0);
            groups.extend((0..count).map(|group| {
                let weights: [i32; GROUP] = std::array::from_fn(|i| weight(group * GROUP + i));
                let low = weights.map(|weight| weight as i16);
                let high: [i16; GROUP] =
                    std::array::from_fn(|i| ((weights[i] - i32::from(low[i])) >> 16) as i16);
                [low, high].map(|[a, b, c, d]| [a, b, a, b, a, b, a, b, c, d, c, d, c, d, c, d])
            }));
        }
        Some(Self { starts, count, weights: groups })
    }
}

/// Each row of `pixels` to `groups.starts.len()` pixels; `N` is 3 or 4.
#[target_feature(enable = "avx2")]
fn horizontal_by_groups<const N: usize>(pixels: &[u8], stride: usize, groups: &Groups) -> Vec<u8> {
    let out_stride = groups.starts.len() * N;
    let height = pixels.len() / stride;
    let mut out = vec![0; height * out_stride];
    // A group of three-channel pixels is 12 bytes and 16 are loaded, so the last row is read from a copy with room behind it.
    let mut end = pixels[(height - 1) * stride..].to_vec();
    end.resize(stride + 16, 0);
    for (block, out_block) in out.chunks_mut(out_stride * ROWS).enumerate() {
        // Past the last row, it is done again and thrown away.
        let rows: [&[u8]; ROWS] = std::array::from_fn(|i| match block * ROWS + i {
            row if row + 1 < height => &pixels[row * stride..],
            _ => &end[..],
        });
        four_rows::<N>(rows, stride, groups, out_block, out_stride);
    }
    out
}

/// The first pixels of `out`'s rows (at most four) from those of `rows`, each `stride` bytes and at least four more.
#[target_feature(enable = "avx2")]
fn four_rows<const N: usize>(
    rows: [&[u8]; ROWS],
    stride: usize,
    groups: &Groups,
    out: &mut [u8],
    out_stride: usize,
) {
    assert!(
        rows.iter().all(|row| row.len() >= stride + 16 - GROUP * N),
        "room to load 16 bytes; this is a bug"
    );
    // Channels of pixels 0 and 1, side by side as 16-bit numbers, in the lower half; of pixels 2 and 3 in the upper.
    let pairs: [i8; 32] = std::array::from_fn(|i| {
        let (half, channel, byte) = (i / 16, i % 16 / 4, i % 4);
        let pixel = half * 2 + byte / 2;
        if byte % 2 == 1 || channel >= N { -1 } else { (pixel * N + channel) as i8 }
    });
    // SAFETY: 32 bytes are read from an array of 32.
    let pairs = unsafe { _mm256_loadu_si256(pairs.as_ptr().cast()) };
    let half = _mm_set1_epi32(1 << (PRECISION_BITS - 1));
    for ((x, &start), weights) in
        groups.starts.iter().enumerate().zip(groups.weights.chunks_exact(groups.count))
    {
        let mut low = [_mm256_setzero_si256(); ROWS];
        let mut high = [_mm256_setzero_si256(); ROWS];
        for (group, weights) in weights.iter().enumerate() {
            // SAFETY: 32 bytes are read from each of two arrays of 16 numbers of 2 bytes.
            let [by_low, by_high] = unsafe {
                [
                    _mm256_loadu_si256(weights[0].as_ptr().cast()),
                    _mm256_loadu_si256(weights[1].as_ptr().cast()),
                ]
            };
            let at = (start + group * GROUP) * N;
            for i in 0..ROWS {
                // SAFETY: the group ends inside the row (`Groups::starts`), so 16 bytes from its start end at most
                // 16 - GROUP * N bytes behind it, which each row has (asserted above).
                let bytes = unsafe { _mm_loadu_si128(rows[i].as_ptr().add(at).cast()) };
                let levels = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), pairs);
                low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(levels, by_low));
                high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(levels, by_high));
            }
        }
        let mut sums = [_mm_setzero_si128(); ROWS];
        for i in 0..ROWS {
            let sum = _mm256_add_epi32(low[i], _mm256_slli_epi32::<16>(high[i]));
            let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            sums[i] = _mm_srai_epi32::<{ PRECISION_BITS as i32 }>(_mm_add_epi32(sum, half));
        }
        // Both packings clip, the second one to 0..=255.
        let [a, b, c, d] = sums;
        let levels = _mm_packus_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
        let mut pixels = [[0u8; 4]; ROWS];
        // SAFETY: 16 bytes are written to an array of 16.
        unsafe { _mm_storeu_si128(pixels.as_mut_ptr().cast(), levels) };
        for (row, pixel) in out.chunks_exact_mut(out_stride).zip(pixels) {
            row[x * N..x * N + N].copy_from_slice(&pixel[..N]);
        }
    }
}

/// Bytes of a row that the vertical pass takes at once.
const STRIP: usize = 32;

/// Rows of `stride` bytes to `axis.starts.len()` rows.
#[target_feature(enable = "avx2")]
fn vertical(pixels: &[u8], stride: usize, axis: &Axis) -> Vec<u8> {
    if stride < STRIP {
        return portable::vertical(pixels, stride, axis);
    }
    let mut out = vec![0; axis.starts.len() * stride];
    let first = axis.source().start;
    let mut pairs = Vec::new();
    for ((start, weights), row) in axis.taps().zip(out.chunks_exact_mut(stride)) {
        let sources = &pixels[(start - first) * stride..][..weights.len() * stride];
        pairs.clear();
        pairs.extend(weights.chunks(2).map(|pair| {
            // An odd one out goes with nothing, at a weight of zero.
            let pair = [pair[0], pair.get(1).copied().unwrap_or(0)];
            let low = pair.map(|weight| weight as i16);
            let high = [0, 1].map(|i| ((pair[i] - i32::from(low[i])) >> 16) as i16);
            [low, high].map(|[a, b]| i32::from(b) << 16 | i32::from(a as u16))
        }));
        // The last strip ends where the row does, and does some bytes again.
        for at in (0..stride).step_by(STRIP).map(|at| at.min(stride - STRIP)) {
            strip(sources, stride, at, &pairs, &mut row[at..at + STRIP]);
        }
    }
    out
}

/// [`STRIP`] bytes of a row, from those at `at` in the rows of `sources`, two of which each of `pairs` weighs: the low halves of
/// two weights, and the high halves.
#[target_feature(enable = "avx2")]
fn strip(sources: &[u8], stride: usize, at: usize, pairs: &[[i32; 2]], out: &mut [u8]) {
    let zero = _mm256_setzero_si256();
    let mut low = [zero; 4];
    let mut high = [zero; 4];
    for (rows, &[by_low, by_high]) in sources.chunks(2 * stride).zip(pairs) {
        let (by_low, by_high) = (_mm256_set1_epi32(by_low), _mm256_set1_epi32(by_high));
        let upper = load(&rows[at..at + STRIP]);
        let lower = rows.get(stride + at..stride + at + STRIP).map_or(zero, |strip| load(strip));
        // The two rows' levels side by side as 16-bit numbers; bytes 0..4 and 16..20 are in the first of the four, and so on.
        let (left, right) = (_mm256_unpacklo_epi8(upper, lower), _mm256_unpackhi_epi8(upper, lower));
        let levels = [
            _mm256_unpacklo_epi8(left, zero),
            _mm256_unpackhi_epi8(left, zero),
            _mm256_unpacklo_epi8(right, zero),
            _mm256_unpackhi_epi8(right, zero),
        ];
        for i in 0..4 {
            low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(levels[i], by_low));
            high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(levels[i], by_high));
        }
    }
    let half = _mm256_set1_epi32(1 << (PRECISION_BITS - 1));
    let mut sums = [zero; 4];
    for i in 0..4 {
        let sum = _mm256_add_epi32(low[i], _mm256_slli_epi32::<16>(high[i]));
        sums[i] = _mm256_srai_epi32::<{ PRECISION_BITS as i32 }>(_mm256_add_epi32(sum, half));
    }
    // Packing undoes the order that unpacking made, and clips.
    let [a, b, c, d] = sums;
    let levels = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    assert_eq!(out.len(), STRIP, "a strip; this is a bug");
    // SAFETY: 32 bytes are written to a slice of 32.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), levels) };
}

/// The bytes of a strip.
#[inline]
#[target_feature(enable = "avx2")]
fn load(strip: &[u8]) -> __m256i {
    assert_eq!(strip.len(), STRIP, "a strip; this is a bug");
    // SAFETY: 32 bytes are read from a slice of 32.
    unsafe { _mm256_loadu_si256(strip.as_ptr().cast()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Filter;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn equals_the_portable_code(
            (from, to) in ([1u32..90, 1u32..40], [1u32..90, 1u32..40]),
            bicubic in any::<bool>(),
            seed in any::<u32>(),
            vertical_first in any::<bool>(),
        ) {
            if !std::arch::is_x86_feature_detected!("avx2") {
                return Ok(());
            }
            let filter = if bicubic { Filter::Bicubic } else { Filter::Bilinear };
            let columns = Axis::new(from[0], to[0], 0..to[0], filter);
            let rows = Axis::new(from[1], to[1], 0..to[1], filter);
            let needed = rows.source();
            let mut state = seed;
            // Black, white and noise: the extremes are where sums leave 0..=255.
            let mut level = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                match state >> 30 { 0 => 0, 1 => 255, _ => (state >> 20) as u8 }
            };
            let pixels: Vec<u8> = (0..from[0] as usize * needed.len() * 4).map(|_| level()).collect();
            let four = portable::both_passes::<4>(&pixels, from[0] as usize * 4, &columns, &rows, vertical_first);
            // SAFETY: the CPU has AVX2.
            prop_assert_eq!(unsafe { both_passes::<4>(&pixels, from[0] as usize * 4, &columns, &rows, vertical_first) }, four);
            let pixels = &pixels[..pixels.len() / 4 * 3];
            let three = portable::both_passes::<3>(pixels, from[0] as usize * 3, &columns, &rows, vertical_first);
            // SAFETY: the CPU has AVX2.
            prop_assert_eq!(unsafe { both_passes::<3>(pixels, from[0] as usize * 3, &columns, &rows, vertical_first) }, three);
        }
    }
}
