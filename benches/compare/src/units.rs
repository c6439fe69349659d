//! The ceilings that the machine sets: what its multiply-add units do when nothing else is to be done.

#[cfg(target_arch = "x86_64")]
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
#[cfg(target_arch = "x86_64")]
use std::sync::atomic::Ordering::Relaxed;

/// Set while the machine is measured as if it had no AVX-512.
pub(crate) static WITHOUT_AVX512: AtomicBool = AtomicBool::new(false);

/// A multiply-add unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// `f32` multiply-adds: no screen of `f32` can beat them.
    F32,
    /// Dot products of `i16` (`vpdpwssd`).
    I16,
    /// Dot products of `u8` and `i8` (`vpdpbusd`).
    I8,
}

/// The multiply-adds in one call of [`Unit::work_out`].
pub(crate) const CEILING_WORK: u64 = 1 << 24;

/// Independent sums: more than two units times the latency of a multiply-add, so that each has always work.
#[cfg(target_arch = "x86_64")]
const SUMS: usize = 16;

impl Unit {
    /// Every unit that this CPU has and that is known here.
    pub(crate) fn available() -> impl Iterator<Item = Unit> {
        [Unit::F32, Unit::I16, Unit::I8].into_iter().filter(|unit| unit.is_available())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::F32 => "f32 multiply-adds",
            Unit::I16 => "i16 dot products (vpdpwssd)",
            Unit::I8 => "u8 x i8 dot products (vpdpbusd)",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Unit::F32 => has_avx512() || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Unit::I16 | Unit::I8 => has_avx512() && is_x86_feature_detected!("avx512vnni"),
        }
    }

    /// No ceiling is known on other machines.
    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        false
    }

    /// Does [`CEILING_WORK`] multiply-adds on registers alone, as fast as one core can.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn work_out(self) {
        if !self.is_available() {
            return;
        }
        match self {
            // SAFETY: the CPU has AVX-512F.
            Unit::F32 if has_avx512() => unsafe { x86::avx512(black_box(0.5)) },
            // SAFETY: the unit is available without AVX-512F: the CPU has AVX2 and FMA.
            Unit::F32 => unsafe { x86::avx2(black_box(0.5)) },
            // SAFETY: the unit is available: the CPU has AVX-512F and VNNI.
            Unit::I16 => unsafe { x86::words(black_box(1)) },
            // SAFETY: the unit is available: the CPU has AVX-512F and VNNI.
            Unit::I8 => unsafe { x86::bytes(black_box(1)) },
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn work_out(self) {}
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && !WITHOUT_AVX512.load(Relaxed)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{CEILING_WORK, SUMS, black_box};

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(factor: f32) {
        let (scale, mut sums) = (_mm512_set1_ps(factor), [_mm512_set1_ps(1.0); SUMS]);
        for _ in 0..CEILING_WORK / (SUMS as u64 * 16) {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, scale, scale);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(factor: f32) {
        let (scale, mut sums) = (_mm256_set1_ps(factor), [_mm256_set1_ps(1.0); SUMS - 4]);
        for _ in 0..CEILING_WORK / (sums.len() as u64 * 8) {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, scale, scale);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn words(factor: i16) {
        let (factor, mut sums) = (_mm512_set1_epi16(factor), [_mm512_setzero_si512(); SUMS]);
        for _ in 0..CEILING_WORK / (SUMS as u64 * 32) {
            for sum in &mut sums {
                *sum = _mm512_dpwssd_epi32(*sum, factor, factor);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn bytes(factor: i8) {
        let (factor, mut sums) = (_mm512_set1_epi8(factor), [_mm512_setzero_si512(); SUMS]);
        for _ in 0..CEILING_WORK / (SUMS as u64 * 64) {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, factor, factor);
            }
        }
        black_box(sums);
    }
}
