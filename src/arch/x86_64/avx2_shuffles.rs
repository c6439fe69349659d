//! What moves numbers between the lanes of AVX2's registers, several registers at a time.

use core::arch::x86_64::*;

/// Folds four registers: the halves of two of them are added at once, and then the elements of all.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn fold_each(values: &[__m256d; 4]) -> __m256d {
    // In lane order: the first and the second sum of a, then of b.
    let add_halves = |a, b| _mm256_add_pd(_mm256_permute2f128_pd::<0x20>(a, b), _mm256_permute2f128_pd::<0x31>(a, b));
    let [first, second] = [add_halves(values[0], values[2]), add_halves(values[1], values[3])];
    // Lanes 0 and 2 hold what is left of the sums of values 0 and 2 first, lanes 1 and 3 second.
    _mm256_add_pd(_mm256_unpacklo_pd(first, second), _mm256_unpackhi_pd(first, second))
}

/// Sums eight registers together: each addition halves the lanes of two registers at once.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum_each(values: &[__m256; 8]) -> __m256 {
    let halves = |a, b| _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let quarters = |a, b| _mm256_add_ps(_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xEE>(a, b));
    let [a, b, c, d, e, f, g, h] = *values;
    // In each 128-bit half, what that half of four registers comes to.
    let (first, second) = (quarters(halves(a, b), halves(c, d)), quarters(halves(e, f), halves(g, h)));
    let (low, high) = (_mm256_permute2f128_ps::<0x20>(first, second), _mm256_permute2f128_ps::<0x31>(first, second));
    _mm256_add_ps(low, high)
}

/// Transposes a square in three rounds: pairs of elements, pairs of pairs, then the two 128-bit halves.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose(square: &mut [__m256; 8]) {
    for r in (0..8).step_by(2) {
        let (a, b) = (square[r], square[r + 1]);
        (square[r], square[r + 1]) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    }
    for r in (0..8).step_by(4) {
        let [a, b, c, d] = [square[r], square[r + 1], square[r + 2], square[r + 3]];
        (square[r], square[r + 1]) = (_mm256_shuffle_ps::<0x44>(a, c), _mm256_shuffle_ps::<0xEE>(a, c));
        (square[r + 2], square[r + 3]) = (_mm256_shuffle_ps::<0x44>(b, d), _mm256_shuffle_ps::<0xEE>(b, d));
    }
    // Now half h of register 4 g + c holds column 4 h + c of rows 4 g .. 4 g + 4.
    for c in 0..4 {
        let (a, b) = (square[c], square[4 + c]);
        (square[c], square[4 + c]) = (_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b));
    }
}
