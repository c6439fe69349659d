//! NEON: 32 registers of 4 `f32` or 2 `f64`; with or without the integer dot products of the extension DotProd.
//!
//! No such machine was at hand when this was written: choices are made by counts of instructions, and emulators showed
//! that the bits are right.

use core::arch::aarch64::*;
use core::arch::asm;
use std::arch::is_aarch64_feature_detected;

use crate::arch::simd::{DotKernel, Simd, TileKernel, WithSimd, head, head_mut, last_of_rows};
use crate::arch::traits::{Costs, TileShape};

/// Proof that the CPU has NEON, and DotProd too if `DOTPROD`.
///
/// The matrix products of I8MM are not used: an instruction multiplies two rows of eight bytes by two columns, which is
/// another order of panels than that of all other products here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Neon<const DOTPROD: bool> {
    _private: (),
}

impl<const DOTPROD: bool> Neon<DOTPROD> {
    /// The token, if this CPU has what it stands for.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_aarch64_feature_detected!("neon") && (!DOTPROD || is_aarch64_feature_detected!("dotprod"));
        has.then_some(Neon { _private: () })
    }

    /// The token of the set without DotProd, which this CPU has as well.
    pub(crate) fn without_dotprod(self) -> Neon<false> {
        Neon { _private: () }
    }
}

impl<const DOTPROD: bool> Simd for Neon<DOTPROD> {
    type F32 = float32x4_t;
    type F64 = float64x2_t;
    type I32 = int32x4_t;
    const F32_LANES: usize = 4;
    const F64_LANES: usize = 2;
    // 8 x 3 = 24 accumulators, 3 candidate registers and up to 5 anchors, each in the lowest lane of a register: all
    // 32.
    const TILES: [TileShape; 3] = [TileShape::of(8, 3); 3];
    // 4 x 4 pairs of one accumulator each (an eighth of the sixteen lanes at a time), four anchors and a candidate: 21
    // of 32 registers. 8 loads and 8 conversions feed 16 multiply-adds. Conversions take the units of multiply-adds, so
    // that few of them matter more than many accumulators.
    const DOT_ANCHORS: usize = 4;
    // 4 x 4 accumulators, 4 anchors and a candidate. 8 loads feed 16 multiply-adds.
    const WIDE_ANCHORS: usize = 4;
    const WIDE_CANDIDATES: usize = 4;
    // 4 x 4 accumulators, 4 anchors and a candidate: 21 of 32 registers. 8 loads feed 16 multiply-adds.
    const ROW_ANCHORS: usize = 4;
    const ROW_CANDIDATES: usize = 4;
    // By counts of instructions, not measured, and of rows that are not widened before. A product takes 1.13 instructions
    // in `f64` (of which 0.75 need a unit of multiply-adds; 0.75 and 0.5 where rows are widened before), 0.40 in `f32`
    // (0.26). Packing takes 1.5 an element. From the same counts follow 4.5 rows on both sides or 2.3 on one here, 3 or 1.6
    // with AVX2, and 6 or 3 with AVX-512, where 10 or 3 and 32 or 9 were measured of such rows.
    // Eight products of 16-bit integers take four instructions with their sums; in `f32` they take two.
    const COSTS: Costs = Costs {
        exact_square: 16,
        exact_few: 4,
        unpacked_pairs: 32,
        unpacked_few: if DOTPROD { 16 } else { 32 },
        widened_pairs: 8,
        exact: 3.0,
        screening: [0.3, 0.6, 1.0],
        fast_i16: false,
        fast_i8: DOTPROD,
        integer_dim: 32,
        integer_elements: 1 << 12,
        integer_pairs: 0,
        integer_streamed: 0,
        sampled_rows: 192,
        sampled_elements: 1 << 16,
    };
    // Bytes are multiplied signed by signed.
    const I8_ANCHORS: i32 = 127;
    const I8_CANDIDATES: i32 = 127;
    const I8_SUM: Option<i32> = None;
    const I8_OFFSET: i32 = 0;

    #[inline(always)]
    fn run<W: WithSimd>(self, computation: W) -> W::Output {
        #[inline(never)]
        #[target_feature(enable = "neon")]
        fn without<W: WithSimd>(simd: impl Simd, computation: W) -> W::Output {
            computation.run(simd)
        }
        #[inline(never)]
        #[target_feature(enable = "neon,dotprod")]
        fn with_dotprod<W: WithSimd>(simd: impl Simd, computation: W) -> W::Output {
            computation.run(simd)
        }
        if DOTPROD {
            // SAFETY: `self` exists only where `detect` found these features.
            unsafe { with_dotprod(self, computation) }
        } else {
            // SAFETY: `self` exists only where `detect` found this feature.
            unsafe { without(self, computation) }
        }
    }

    #[inline(always)]
    fn run_tile<K: TileKernel>(self, rows: usize, registers: usize, kernel: K) {
        match (rows, registers) {
            (1, 3) => kernel.run::<Self, 1, 3>(self),
            (2, 3) => kernel.run::<Self, 2, 3>(self),
            (3 | 4, 3) => kernel.run::<Self, 4, 3>(self),
            (_, 3) => kernel.run::<Self, 8, 3>(self),
            (_, 2) => kernel.run::<Self, 8, 2>(self),
            _ => kernel.run::<Self, 8, 1>(self),
        }
    }

    // With 24 accumulators the compiler runs out of registers, and with rows of six candidates it checks the length of
    // every row in every step.
    #[inline(always)]
    fn run_dot_tile<K: DotKernel>(self, anchors: usize, kernel: K) {
        match anchors {
            1 => kernel.run::<Self, 1, 4, 2>(self),
            2 => kernel.run::<Self, 2, 4, 2>(self),
            3 => kernel.run::<Self, 3, 4, 1>(self),
            _ => kernel.run::<Self, 4, 4, 1>(self),
        }
    }

    #[inline(always)]
    fn run_wide_tile<K: DotKernel>(self, kernel: K) {
        kernel.run::<Self, 4, 4, 1>(self);
    }

    #[inline(always)]
    fn run_row_tile<K: DotKernel>(self, kernel: K) {
        kernel.run::<Self, 4, 4, 1>(self);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    fn load(self, source: &[f32]) -> float32x4_t {
        let source: &[f32; 4] = head(source);
        // SAFETY: `self` proves NEON, and `source` is 4 readable `f32`; the load needs no more alignment.
        unsafe { vld1q_f32(source.as_ptr()) }
    }

    #[inline(always)]
    fn load_rows(self, rows: &[f32], stride: usize, square: &mut [float32x4_t]) {
        let square: &mut [float32x4_t; 4] = head_mut(square);
        assert!(rows.len() >= last_of_rows::<4>(stride));
        for (r, row) in square.iter_mut().enumerate() {
            // SAFETY: row `r` of 4 begins at `r * stride`, 4 elements or more before the end of `rows`.
            let source = unsafe { rows.as_ptr().add(r * stride) };
            // SAFETY: `self` proves NEON, and `source` is 4 readable `f32`; the load needs no more alignment.
            *row = unsafe { vld1q_f32(source) };
        }
    }

    #[inline(always)]
    fn store(self, value: float32x4_t, target: &mut [f32]) {
        let target: &mut [f32; 4] = head_mut(target);
        // SAFETY: `self` proves NEON, and `target` is 4 writable `f32`; the store needs no more alignment.
        unsafe { vst1q_f32(target.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn load_bits(self, source: &[u32]) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vreinterpretq_f32_s32(self.load_words(source)) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vfmsq_f32(c, a, b) }
    }

    #[inline(always)]
    fn max_abs(self, best: float32x4_t, value: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        let magnitude = unsafe { vabsq_f32(value) };
        // SAFETY: `self` proves NEON.
        unsafe { vmaxq_f32(best, magnitude) }
    }

    #[inline(always)]
    fn in_range(self, value: float32x4_t, low: float32x4_t, high: float32x4_t) -> u32 {
        // SAFETY: `self` proves NEON.
        let above = unsafe { vcleq_f32(low, value) };
        // SAFETY: `self` proves NEON.
        let below = unsafe { vcleq_f32(value, high) };
        // SAFETY: `self` proves NEON.
        let both = unsafe { vandq_u32(above, below) };
        let bits = [1, 2, 4, 8];
        // SAFETY: `self` proves NEON, and `bits` is 4 readable `u32`.
        let bits = unsafe { vld1q_u32(bits.as_ptr()) };
        // SAFETY: `self` proves NEON.
        let bits = unsafe { vandq_u32(both, bits) };
        // SAFETY: `self` proves NEON.
        unsafe { vaddvq_u32(bits) }
    }

    #[inline(always)]
    fn max_where(self, best: float32x4_t, value: float32x4_t, key: float32x4_t, limit: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        let allowed = unsafe { vcleq_f32(key, limit) };
        // SAFETY: `self` proves NEON.
        let value = unsafe { vbslq_f32(allowed, value, best) };
        // SAFETY: `self` proves NEON.
        unsafe { vmaxq_f32(best, value) }
    }

    #[inline(always)]
    fn largest(self, value: float32x4_t) -> f32 {
        // SAFETY: `self` proves NEON.
        unsafe { vmaxvq_f32(value) }
    }

    #[inline(always)]
    fn transpose(self, square: &mut [float32x4_t]) {
        // SAFETY: `self` proves NEON.
        unsafe { transpose(head_mut(square)) }
    }

    #[inline(always)]
    fn sum_each(self, values: &[float32x4_t]) -> float32x4_t {
        let [a, b, c, d] = *head(values);
        // SAFETY: `self` proves NEON.
        let first = unsafe { vpaddq_f32(a, b) };
        // SAFETY: `self` proves NEON.
        let second = unsafe { vpaddq_f32(c, d) };
        // SAFETY: `self` proves NEON.
        unsafe { vpaddq_f32(first, second) }
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> int32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vdupq_n_s32(word.cast_signed()) }
    }

    #[inline(always)]
    fn load_words(self, source: &[u32]) -> int32x4_t {
        let source: &[u32; 4] = head(source);
        // SAFETY: `self` proves NEON, and `source` is 4 readable words; the load needs no more alignment.
        unsafe { vld1q_s32(source.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_words(self, value: int32x4_t, target: &mut [u32]) {
        let target: &mut [u32; 4] = head_mut(target);
        // SAFETY: `self` proves NEON, and `target` is 4 writable words; the store needs no more alignment.
        unsafe { vst1q_s32(target.as_mut_ptr().cast(), value) }
    }

    #[inline(always)]
    fn bits(self, value: float32x4_t) -> int32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vreinterpretq_s32_f32(value) }
    }

    #[inline(always)]
    fn to_f32(self, value: int32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vcvtq_f32_s32(value) }
    }

    #[inline(always)]
    fn join_low_bytes(self, low: int32x4_t, high: int32x4_t) -> int32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vsliq_n_s32::<8>(low, high) }
    }

    #[inline(always)]
    fn join_low_i16(self, low: int32x4_t, high: int32x4_t) -> int32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vsliq_n_s32::<16>(low, high) }
    }

    #[inline(always)]
    fn dot_i8(self, sum: int32x4_t, bytes: int32x4_t, word: u32) -> int32x4_t {
        if DOTPROD {
            // SAFETY: `self` proves DotProd.
            unsafe { sdot(sum, bytes, word) }
        } else {
            // SAFETY: `self` proves NEON.
            unsafe { dot_bytes(sum, bytes, self.splat_word(word)) }
        }
    }

    #[inline(always)]
    fn dot_i16(self, sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { dot_halves(sum, a, b) }
    }

    #[inline(always)]
    fn splat64(self, value: f64) -> float64x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { vdupq_n_f64(value) }
    }

    #[inline(always)]
    fn load64(self, source: &[f64]) -> float64x2_t {
        let source: &[f64; 2] = head(source);
        // SAFETY: `self` proves NEON, and `source` is 2 readable `f64`; the load needs no more alignment.
        unsafe { vld1q_f64(source.as_ptr()) }
    }

    #[inline(always)]
    fn store64(self, value: float64x2_t, target: &mut [f64]) {
        let target: &mut [f64; 2] = head_mut(target);
        // SAFETY: `self` proves NEON, and `target` is 2 writable `f64`; the store needs no more alignment.
        unsafe { vst1q_f64(target.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn widen(self, source: &[f32]) -> float64x2_t {
        let source: &[f32; 2] = head(source);
        // SAFETY: `self` proves NEON, and `source` is 2 readable `f32`; the load needs no more alignment.
        let narrow = unsafe { vld1_f32(source.as_ptr()) };
        // SAFETY: `self` proves NEON.
        unsafe { vcvt_f64_f32(narrow) }
    }

    #[inline(always)]
    fn add64(self, a: float64x2_t, b: float64x2_t) -> float64x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { vaddq_f64(a, b) }
    }

    #[inline(always)]
    fn mul64(self, a: float64x2_t, b: float64x2_t) -> float64x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { vmulq_f64(a, b) }
    }

    #[inline(always)]
    fn mul_add_exact(self, a: float64x2_t, b: float64x2_t, c: float64x2_t) -> float64x2_t {
        // SAFETY: `self` proves NEON.
        unsafe { vfmaq_f64(c, a, b) }
    }

    #[inline(always)]
    fn fold(self, value: float64x2_t) -> f64 {
        // SAFETY: `self` proves NEON. Of two lanes, the sum has one order.
        unsafe { vaddvq_f64(value) }
    }

    #[inline(always)]
    fn fold_each(self, values: &[float64x2_t]) -> float64x2_t {
        let [a, b] = *head(values);
        // SAFETY: `self` proves NEON.
        unsafe { vpaddq_f64(a, b) }
    }
}

/// Adds the products of four signed bytes in each lane and the four of `word`. The instruction takes `word` from the
/// lowest lane of a register, into which it is loaded without being copied to the other lanes. In assembly, as the
/// intrinsic is stable since Rust 1.98 only.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, bytes: int32x4_t, word: u32) -> int32x4_t {
    // SAFETY: this function runs only where there is DotProd, and the instruction changes nothing but `sum`.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {bytes:v}.16b, {word:v}.4b[0]",
            sum = inout(vreg) sum,
            bytes = in(vreg) bytes,
            word = in(vreg) f32::from_bits(word),
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The same without the instruction. Two products of bytes between -127 and 127, and the sum of two, fit into 16 bits.
#[inline]
#[target_feature(enable = "neon")]
fn dot_bytes(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
    let (a, b) = (vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
    let products = vpaddq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b));
    vpadalq_s16(sum, products)
}

/// Adds the two products of 16-bit halves in each lane.
#[inline]
#[target_feature(enable = "neon")]
fn dot_halves(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
    let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
    let products = vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
    vaddq_s32(sum, products)
}

/// Transposes a square in two rounds: pairs of elements, then pairs of pairs.
#[inline]
#[target_feature(enable = "neon")]
fn transpose(square: &mut [float32x4_t; 4]) {
    let [a, b, c, d] = *square;
    // Half h of the even pairs holds column 2 h of two rows, half h of the odd pairs column 2 h + 1.
    let (even, odd) = (vreinterpretq_f64_f32(vtrn1q_f32(a, b)), vreinterpretq_f64_f32(vtrn2q_f32(a, b)));
    let (even_below, odd_below) = (vreinterpretq_f64_f32(vtrn1q_f32(c, d)), vreinterpretq_f64_f32(vtrn2q_f32(c, d)));
    *square = [
        vreinterpretq_f32_f64(vzip1q_f64(even, even_below)),
        vreinterpretq_f32_f64(vzip1q_f64(odd, odd_below)),
        vreinterpretq_f32_f64(vzip2q_f64(even, even_below)),
        vreinterpretq_f32_f64(vzip2q_f64(odd, odd_below)),
    ];
}
