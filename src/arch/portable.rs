//! The portable backend, on `wide`: whatever the compilation target has (SSE2 on a plain x86-64 build, NEON, WASM
//! SIMD).

use wide::{f32x8, f64x4, i16x16, i32x8};

use super::simd::{DotKernel, Simd, TileKernel, WithSimd, head, head_mut, last_of_rows};
use super::traits::{Costs, TileShape};

/// The instruction set that the crate was compiled for; every CPU that runs the program has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Portable;

impl Simd for Portable {
    type F32 = f32x8;
    type F64 = f64x4;
    type I32 = i32x8;
    const F32_LANES: usize = 8;
    const F64_LANES: usize = 4;
    // 4 x 1 accumulators are 8 of the 16 SSE2 registers, since each `f32x8` is two of them there.
    const TILES: [TileShape; 3] = [TileShape::of(4, 1); 3];
    // Two lanes of sixteen at a time, or four: what 16 SSE2 registers hold beside the loaded rows.
    const DOT_ANCHORS: usize = 2;
    // 2 x 2 accumulators are 8 of the 16 SSE2 registers.
    const WIDE_ANCHORS: usize = 2;
    const WIDE_CANDIDATES: usize = 2;
    // As the eight sums of pairs that are folded together.
    const ROW_ANCHORS: usize = 2;
    const ROW_CANDIDATES: usize = 4;
    // Whole calls on Zen 5 at dim 128, 384 and 768, exact over `f32`: 16 x 16 takes 1.15, 1.27 and 1.32; 1 x 4096 0.60,
    // 0.59 and 0.49, 8 x 1024 1.53, 1.49 and 1.49.
    const COSTS: Costs = Costs {
        exact_square: 11,
        exact_few: 3,
        unpacked_pairs: 32,
        unpacked_few: 32,
        widened_pairs: 8,
        exact: 2.0,
        screening: [0.3, 0.6, 1.0],
        fast_i16: false,
        fast_i8: false,
        integer_dim: 32,
        integer_elements: 1 << 12,
        integer_pairs: 0,
        integer_streamed: 0,
        sampled_rows: 192,
        sampled_elements: 1 << 16,
    };
    const I8_ANCHORS: i32 = 127;
    const I8_CANDIDATES: i32 = 127;
    const I8_SUM: Option<i32> = None;
    const I8_OFFSET: i32 = 128;

    #[inline(never)]
    fn run<W: WithSimd>(self, computation: W) -> W::Output {
        computation.run(self)
    }

    #[inline(always)]
    fn run_tile<K: TileKernel>(self, rows: usize, _registers: usize, kernel: K) {
        match rows {
            1 => kernel.run::<Self, 1, 1>(self),
            2 => kernel.run::<Self, 2, 1>(self),
            _ => kernel.run::<Self, 4, 1>(self),
        }
    }

    #[inline(always)]
    fn run_dot_tile<K: DotKernel>(self, anchors: usize, kernel: K) {
        match anchors {
            1 => kernel.run::<Self, 1, 4, 1>(self),
            _ => kernel.run::<Self, 2, 2, 1>(self),
        }
    }

    #[inline(always)]
    fn run_wide_tile<K: DotKernel>(self, kernel: K) {
        kernel.run::<Self, 2, 2, 1>(self);
    }

    #[inline(always)]
    fn run_row_tile<K: DotKernel>(self, kernel: K) {
        kernel.run::<Self, 2, 4, 1>(self);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> f32x8 {
        f32x8::splat(value)
    }

    #[inline(always)]
    fn load(self, source: &[f32]) -> f32x8 {
        f32x8::new(*head(source))
    }

    #[inline(always)]
    fn load_rows(self, rows: &[f32], stride: usize, square: &mut [f32x8]) {
        let square: &mut [f32x8; 8] = head_mut(square);
        assert!(rows.len() >= last_of_rows::<8>(stride));
        for (r, row) in square.iter_mut().enumerate() {
            *row = self.load(&rows[r * stride..]);
        }
    }

    #[inline(always)]
    fn store(self, value: f32x8, target: &mut [f32]) {
        *head_mut(target) = value.to_array();
    }

    #[inline(always)]
    fn load_bits(self, source: &[u32]) -> f32x8 {
        let source: &[u32; 8] = head(source);
        f32x8::new(source.map(f32::from_bits))
    }

    #[inline(always)]
    fn add(self, a: f32x8, b: f32x8) -> f32x8 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32x8, b: f32x8) -> f32x8 {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: f32x8, b: f32x8) -> f32x8 {
        a * b
    }

    #[inline(always)]
    fn mul_add(self, a: f32x8, b: f32x8, c: f32x8) -> f32x8 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn neg_mul_add(self, a: f32x8, b: f32x8, c: f32x8) -> f32x8 {
        a.mul_neg_add(b, c)
    }

    #[inline(always)]
    fn max_abs(self, best: f32x8, value: f32x8) -> f32x8 {
        value.abs().fast_max(best)
    }

    #[inline(always)]
    fn in_range(self, value: f32x8, low: f32x8, high: f32x8) -> u32 {
        (value.simd_ge(low) & value.simd_le(high)).to_bitmask()
    }

    #[inline(always)]
    fn max_where(self, best: f32x8, value: f32x8, key: f32x8, limit: f32x8) -> f32x8 {
        key.simd_le(limit).select(value, best).fast_max(best)
    }

    #[inline(always)]
    fn largest(self, value: f32x8) -> f32 {
        value.to_array().into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    fn transpose(self, square: &mut [f32x8]) {
        let square: &mut [f32x8; 8] = head_mut(square);
        *square = f32x8::transpose(*square);
    }

    #[inline(always)]
    fn sum_each(self, values: &[f32x8]) -> f32x8 {
        let values: &[f32x8; 8] = head(values);
        f32x8::new(values.map(f32x8::reduce_add))
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> i32x8 {
        i32x8::splat(word.cast_signed())
    }

    #[inline(always)]
    fn load_words(self, source: &[u32]) -> i32x8 {
        let source: &[u32; 8] = head(source);
        i32x8::new(source.map(u32::cast_signed))
    }

    #[inline(always)]
    fn store_words(self, value: i32x8, target: &mut [u32]) {
        *head_mut(target) = value.to_array().map(i32::cast_unsigned);
    }

    #[inline(always)]
    fn bits(self, value: f32x8) -> i32x8 {
        i32x8::new(value.to_array().map(|value| value.to_bits().cast_signed()))
    }

    #[inline(always)]
    fn to_f32(self, value: i32x8) -> f32x8 {
        value.round_float()
    }

    #[inline(always)]
    fn join_low_bytes(self, low: i32x8, high: i32x8) -> i32x8 {
        (low & i32x8::splat(0xFF)) | (high << 8)
    }

    #[inline(always)]
    fn join_low_i16(self, low: i32x8, high: i32x8) -> i32x8 {
        (low & i32x8::splat(0xFFFF)) | (high << 16)
    }

    #[inline(always)]
    fn dot_i8(self, sum: i32x8, bytes: i32x8, word: u32) -> i32x8 {
        let (unsigned, signed) = (halves(bytes), halves(self.splat_word(word)));
        let (low, signed_low): (i16x16, i16x16) = (unsigned & i16x16::splat(0xFF), (signed << 8) >> 8);
        let (high, signed_high): (i16x16, i16x16) = ((unsigned >> 8) & i16x16::splat(0xFF), signed >> 8);
        let (even, odd) = (low.dot(signed_low), high.dot(signed_high));
        sum + even + odd
    }

    #[inline(always)]
    fn dot_i16(self, sum: i32x8, a: i32x8, b: i32x8) -> i32x8 {
        sum + halves(a).dot(halves(b))
    }

    #[inline(always)]
    fn splat64(self, value: f64) -> f64x4 {
        f64x4::splat(value)
    }

    #[inline(always)]
    fn load64(self, source: &[f64]) -> f64x4 {
        f64x4::new(*head(source))
    }

    #[inline(always)]
    fn store64(self, value: f64x4, target: &mut [f64]) {
        *head_mut(target) = value.to_array();
    }

    #[inline(always)]
    fn widen(self, source: &[f32]) -> f64x4 {
        let source: &[f32; 4] = head(source);
        f64x4::new(source.map(f64::from))
    }

    #[inline(always)]
    fn add64(self, a: f64x4, b: f64x4) -> f64x4 {
        a + b
    }

    #[inline(always)]
    fn mul64(self, a: f64x4, b: f64x4) -> f64x4 {
        a * b
    }

    #[inline(always)]
    fn mul_add_exact(self, a: f64x4, b: f64x4, c: f64x4) -> f64x4 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn fold(self, value: f64x4) -> f64 {
        let [a, b, c, d] = value.to_array();
        (a + c) + (b + d)
    }

    #[inline(always)]
    fn fold_each(self, values: &[f64x4]) -> f64x4 {
        let values: &[f64x4; 4] = head(values);
        f64x4::new(values.map(|value| self.fold(value)))
    }
}

/// The two 16-bit halves of each lane, the lower one first.
#[inline(always)]
fn halves(words: i32x8) -> i16x16 {
    let words = words.to_array();
    i16x16::new(core::array::from_fn(|half| (words[half / 2] >> (16 * (half % 2))) as i16))
}
