//! Loops that the compiler vectorises, for the best instruction set of the CPU.

use std::sync::atomic::Ordering::Relaxed;

use crate::units::WITHOUT_AVX512;

/// A loop, to be compiled for several instruction sets; `run` must be `#[inline(always)]` for it.
pub(crate) trait Loop {
    type Output;

    /// `FMA` says whether the CPU has fused multiply-adds, which are slow function calls where it has none.
    fn run<const FMA: bool>(self) -> Self::Output;
}

/// Runs the loop as compiled for the best instruction set of this CPU.
#[cfg(target_arch = "x86_64")]
pub(crate) fn vectorised<L: Loop>(work: L) -> L::Output {
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,fma")]
    fn avx512<L: Loop>(work: L) -> L::Output {
        work.run::<true>()
    }
    #[target_feature(enable = "avx2,fma")]
    fn avx2<L: Loop>(work: L) -> L::Output {
        work.run::<true>()
    }
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let has_512 = has_avx2
        && !WITHOUT_AVX512.load(Relaxed)
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl");
    if has_512 && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512dq") {
        // SAFETY: the CPU has all of them.
        unsafe { avx512(work) }
    } else if has_avx2 {
        // SAFETY: the CPU has AVX2 and FMA.
        unsafe { avx2(work) }
    } else {
        work.run::<false>()
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn vectorised<L: Loop>(work: L) -> L::Output {
    work.run::<{ cfg!(target_arch = "aarch64") }>()
}

/// The dot product, with 32 partial sums: one alone would wait for itself.
#[inline(always)]
pub(super) fn dot<const FMA: bool>(x: &[f32], y: &[f32]) -> f32 {
    const SUMS: usize = 32;
    let ((x_blocks, x_tail), (y_blocks, y_tail)) = (x.as_chunks::<SUMS>(), y.as_chunks::<SUMS>());
    let mut sums = [0.0; SUMS];
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..SUMS {
            sums[lane] = multiply_add::<FMA>(x[lane], y[lane], sums[lane]);
        }
    }
    // Were this added to what the fold comes to, LLVM 22 would keep all sums in vectors of two, which are many times
    // slower.
    sums[0] += x_tail.iter().zip(y_tail).fold(0.0, |sum, (&x, &y)| multiply_add::<FMA>(x, y, sum));
    fold(sums, |one, other| one + other)
}

#[inline(always)]
fn multiply_add<const FMA: bool>(x: f32, y: f32, sum: f32) -> f32 {
    if FMA { x.mul_add(y, sum) } else { x * y + sum }
}

/// Combines numbers by halves, which are vectors for as long as that can be; `N` is a power of two.
#[inline(always)]
pub(super) fn fold<const N: usize>(mut lanes: [f32; N], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = N / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = combine(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}
