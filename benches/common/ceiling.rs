//! The ceiling that the machine sets.

/// The multiply-adds of `f32` in one call of [`fma_ceiling`].
pub(crate) const CEILING_WORK: u64 = 1 << 24;

/// Does [`CEILING_WORK`] multiply-adds on registers alone, as fast as one core can: what no screen of `f32` can beat.
#[cfg(target_arch = "x86_64")]
pub(crate) fn fma_ceiling() -> f32 {
    use core::arch::x86_64::*;

    /// Independent sums: more than two units times the latency of a multiply-add, so that each has always work.
    const SUMS: usize = 16;

    #[target_feature(enable = "avx512f")]
    fn avx512(factor: f32) -> f32 {
        let (scale, mut sums) = (_mm512_set1_ps(factor), [_mm512_set1_ps(1.0); SUMS]);
        for _ in 0..CEILING_WORK / (SUMS as u64 * 16) {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, scale, scale);
            }
        }
        let mut total = sums[0];
        for sum in sums {
            total = _mm512_add_ps(total, sum);
        }
        _mm512_reduce_add_ps(total)
    }

    #[target_feature(enable = "avx2,fma")]
    fn avx2(factor: f32) -> f32 {
        let (scale, mut sums) = (_mm256_set1_ps(factor), [_mm256_set1_ps(1.0); SUMS - 4]);
        for _ in 0..CEILING_WORK / (sums.len() as u64 * 8) {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, scale, scale);
            }
        }
        let mut total = sums[0];
        for sum in sums {
            total = _mm256_add_ps(total, sum);
        }
        _mm256_cvtss_f32(total)
    }

    let factor = std::hint::black_box(0.5);
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the CPU has AVX-512F.
        unsafe { avx512(factor) }
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the CPU has AVX2 and FMA.
        unsafe { avx2(factor) }
    } else {
        f32::NAN
    }
}

/// No ceiling is known on other machines.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn fma_ceiling() -> f32 {
    f32::NAN
}
