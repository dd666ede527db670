//! The inner product, of an f32 query with rows of f32 or f16, as fast as the machine allows.
//!
//! Two versions of each: eight independent sums in plain Rust, and four 8-wide registers with AVX2 and fused multiply-add
//! (x86-64-v3), chosen at run time. Independent sums are what makes either fast: floating-point addition is not associative, so
//! the compiler may not split a single sum, and each addition would wait for the one before. Both add in a fixed order: equal
//! input gives equal output on one machine.

use half::f16;

/// Inner product of two vectors of equal length; of two unit vectors it is their cosine similarity.
///
/// Within rounding equal to [`pictor_core::dot`], the plain loop it is tested against.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the CPU has the features that `dot_avx2` is compiled for; its arguments are plain slices.
        return unsafe { dot_avx2(a, b) };
    }
    dot_portable(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    use std::arch::x86_64::{
        __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };

    #[target_feature(enable = "avx2,fma")]
    fn step(a: &[f32; 8], b: &[f32; 8], sum: __m256) -> __m256 {
        // SAFETY: each array is the 32 bytes that an unaligned load reads.
        let (a, b) = unsafe { (_mm256_loadu_ps(a.as_ptr()), _mm256_loadu_ps(b.as_ptr())) };
        _mm256_fmadd_ps(a, b, sum)
    }

    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let (a_blocks, a_eights) = a.as_chunks::<4>();
    let (b_blocks, b_eights) = b.as_chunks::<4>();
    // Four registers hide the four cycles that a fused multiply-add takes.
    let mut sums = [_mm256_setzero_ps(); 4];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for i in 0..4 {
            sums[i] = step(&a[i], &b[i], sums[i]);
        }
    }
    for (a, b) in a_eights.iter().zip(b_eights) {
        sums[0] = step(a, b, sums[0]);
    }
    let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let mut lanes = [0.0; 8];
    // SAFETY: the array is the 32 bytes that an unaligned store writes.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
    total(lanes) + rest(a_rest, b_rest)
}

fn dot_portable(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    total(lanes) + rest(a_rest, b_rest)
}

/// Inner product of a query with a row of f16, given by their bits: each is widened, which is exact, and then it is [`dot`].
pub(crate) fn dot_f16(query: &[f32], row: &[u16]) -> f32 {
    debug_assert_eq!(query.len(), row.len());
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
    {
        // SAFETY: the CPU has the features that `dot_f16_avx2` is compiled for; its arguments are plain slices.
        return unsafe { dot_f16_avx2(query, row) };
    }
    dot_f16_portable(query, row)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_f16_avx2(query: &[f32], row: &[u16]) -> f32 {
    use std::arch::x86_64::{
        __m256, _mm_loadu_si128, _mm256_add_ps, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
        _mm256_setzero_ps, _mm256_storeu_ps,
    };

    #[target_feature(enable = "avx2,fma,f16c")]
    fn step(query: &[f32; 8], row: &[u16; 8], sum: __m256) -> __m256 {
        // SAFETY: the arrays are the 32 and the 16 bytes that the unaligned loads read.
        let (query, row) = unsafe { (_mm256_loadu_ps(query.as_ptr()), _mm_loadu_si128(row.as_ptr().cast())) };
        _mm256_fmadd_ps(query, _mm256_cvtph_ps(row), sum)
    }

    let (query, query_rest) = query.as_chunks::<8>();
    let (row, row_rest) = row.as_chunks::<8>();
    let (query_blocks, query_eights) = query.as_chunks::<4>();
    let (row_blocks, row_eights) = row.as_chunks::<4>();
    let mut sums = [_mm256_setzero_ps(); 4];
    for (query, row) in query_blocks.iter().zip(row_blocks) {
        for i in 0..4 {
            sums[i] = step(&query[i], &row[i], sums[i]);
        }
    }
    for (query, row) in query_eights.iter().zip(row_eights) {
        sums[0] = step(query, row, sums[0]);
    }
    let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let mut lanes = [0.0; 8];
    // SAFETY: the array is the 32 bytes that an unaligned store writes.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
    total(lanes) + rest_f16(query_rest, row_rest)
}

fn dot_f16_portable(query: &[f32], row: &[u16]) -> f32 {
    let (query, query_rest) = query.as_chunks::<8>();
    let (row, row_rest) = row.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (query, row) in query.iter().zip(row) {
        for i in 0..8 {
            lanes[i] += query[i] * f16::from_bits(row[i]).to_f32();
        }
    }
    total(lanes) + rest_f16(query_rest, row_rest)
}

fn rest_f16(query: &[f32], row: &[u16]) -> f32 {
    query.iter().zip(row).map(|(x, &y)| x * f16::from_bits(y).to_f32()).sum()
}

fn total([a, b, c, d, e, f, g, h]: [f32; 8]) -> f32 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// At most seven products.
fn rest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// All lengths up to several blocks, so that every remainder is met.
        #[test]
        fn agrees_with_the_plain_loop(pairs in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..200)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let plain = pictor_core::dot(&a, &b);
            // Each of n products is at most 1, each sum rounds by at most 2⁻²⁴ of at most n.
            let tolerance = (a.len() * a.len()) as f32 * f32::EPSILON + 1e-7;
            prop_assert!((dot(&a, &b) - plain).abs() <= tolerance, "{} {plain}", dot(&a, &b));
            prop_assert!((dot_portable(&a, &b) - plain).abs() <= tolerance);

            let halves: Vec<f16> = b.iter().map(|&x| f16::from_f32(x)).collect();
            let bits: Vec<u16> = halves.iter().map(|x| x.to_bits()).collect();
            let plain = pictor_core::dot(&a, &halves.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
            prop_assert!((dot_f16(&a, &bits) - plain).abs() <= tolerance, "{} {plain}", dot_f16(&a, &bits));
            prop_assert!((dot_f16_portable(&a, &bits) - plain).abs() <= tolerance);
        }
    }

    #[test]
    fn exact_on_small_integers() {
        let a: Vec<f32> = (0..67).map(|i| (i % 7) as f32).collect();
        let b: Vec<f32> = (0..67).map(|i| (i % 5) as f32).collect();
        assert_eq!(dot(&a, &b), pictor_core::dot(&a, &b));
        assert_eq!(dot_portable(&a, &b), pictor_core::dot(&a, &b));
        assert_eq!(dot(&[], &[]), 0.0);
    }
}
