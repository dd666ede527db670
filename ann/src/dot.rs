//! The inner product, as fast as the machine allows.
//!
//! One loop over independent lanes, compiled twice: for the baseline CPU, and for AVX2 with fused multiply-add (x86-64-v3),
//! chosen at run time. The lanes are what lets the compiler vectorise: floating-point addition is not associative, so it may
//! not split a single sum by itself. Both versions add in a fixed order: equal input gives equal output on one machine.

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
    // 32 lanes are four 8-wide registers: enough to hide the four cycles that a fused multiply-add takes.
    lanes::<32>(a, b, |x, y, sum| x.mul_add(y, sum))
}

fn dot_portable(a: &[f32], b: &[f32]) -> f32 {
    // No `mul_add` here: without the instruction it is a slow library call.
    lanes::<8>(a, b, |x, y, sum| x * y + sum)
}

#[inline(always)]
fn lanes<const LANES: usize>(a: &[f32], b: &[f32], step: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] = step(a[lane], b[lane], sums[lane]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).fold(0.0, |sum, (&x, &y)| step(x, y, sum));
    // Halve the lanes until one is left: a tree of vector additions rather than a chain of scalar ones.
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0] + rest
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
