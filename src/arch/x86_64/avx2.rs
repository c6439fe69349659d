//! AVX2 with FMA: 16 registers of 8 `f32` or 4 `f64`; with or without the integer dot products of AVX-VNNI.

use core::arch::x86_64::*;

use super::Avx512;
use super::avx2_shuffles::{fold_each, sum_each, transpose};
use crate::arch::simd::{DotKernel, Simd, TileKernel, WithSimd, head, head_mut, last_of_rows};
use crate::arch::traits::{Costs, TileShape};

/// Proof that the CPU has AVX2 and FMA, and AVX-VNNI too if `VNNI`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Avx2<const VNNI: bool> {
    _private: (),
}

impl<const VNNI: bool> Avx2<VNNI> {
    /// The token, if this CPU has what it stands for.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        (has && (!VNNI || is_x86_feature_detected!("avxvnni"))).then_some(Avx2 { _private: () })
    }

    /// The token of the set without AVX-VNNI, which this CPU has as well.
    pub(crate) fn without_vnni(self) -> Avx2<false> {
        Avx2 { _private: () }
    }
}

impl Avx2<false> {
    /// The token for a CPU with AVX-512, which has AVX2 and FMA as well: `_proof` exists only where they were found.
    pub(super) fn of(_proof: Avx512) -> Self {
        Avx2 { _private: () }
    }
}

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type F32 = __m256;
    type F64 = __m256d;
    type I32 = __m256i;
    const F32_LANES: usize = 8;
    const F64_LANES: usize = 4;
    // 4 x 3 = 12 accumulators, 3 candidate registers and a broadcast anchor: all 16 registers. Without an instruction that
    // multiplies and adds, an integer product needs a register, too: 12 sums of 4 x 3 would be one too many. 16-bit integers
    // have 6 x 2 = 12 sums, 2 candidate registers, an anchor and a product, which on Zen 4 takes 0.95 to 0.97 of a whole call
    // with 4 x 2. Bytes have 8 sums, two steps of 2 candidate registers, two anchors and two products. In `f32`, 6 x 2
    // takes 1.00 to 1.08 of a call with 4 x 3.
    const TILES: [TileShape; 3] =
        if VNNI { [TileShape::of(4, 3); 3] } else { [TileShape::of(4, 2), TileShape::of(6, 2), TileShape::of(4, 3)] };
    // 2 x 3 pairs of two accumulators each (half of the sixteen lanes at a time), two anchors and a candidate: 15 of 16
    // registers. 5 loads feed 6 multiply-adds.
    const DOT_ANCHORS: usize = 2;
    // 3 x 4 accumulators, 3 anchors and a candidate: all 16 registers. 7 loads feed 12 multiply-adds.
    const WIDE_ANCHORS: usize = 3;
    const WIDE_CANDIDATES: usize = 4;
    // 3 x 4 accumulators, 3 anchors and a candidate: all 16 registers. 7 loads feed 12 multiply-adds. 2 x 4, which hide
    // the latency of an addition just so, take 1.12 times as long at 32 x 32 x 128 on Zen 4.
    const ROW_ANCHORS: usize = 3;
    const ROW_CANDIDATES: usize = 4;
    // Measured on Zen 4 without VNNI by `hardneg-compare crossovers`. Whole calls, exact over the best screen: at dim 128,
    // 384 and 768, 16 x 16 takes 0.96, 1.04 and 1.16, 20 x 20 0.79, 0.85 and 0.93, 30 x 30 1.01, 1.01 and 1.10; 5 x 1024
    // 0.98 at dim 128 and 0.99 at 768, 6 x 1024 1.12 and 1.19. Integers over `f32`, positives above the bulk and in it: 1024 x
    // 1024 x 32 takes 1.00 and 1.04, at dim 40 0.91 and 0.99; 213 x 213 x 64 1.02 and 1.03, 320 x 320 x 64 0.96 and 1.05; 40
    // x 1024 x 128 1.03 and 1.10, 50 x 1024 x 128 0.93 and 1.06; 10 x 8192 x 128 1.08 and 1.21, 10 x 16384 x 128 0.75 and
    // 0.87, 10 x 1365 x 768 1.00 and 1.08, 10 x 1706 x 768 0.90 and 1.01. A sample over 16 bits: 213 x 213 x 768 0.97 and
    // 0.96, 256 x 256 x 768 1.00 and 1.03, 256 x 256 x 128 0.99 and 0.98, 512 x 512 x 64 0.94 and 0.97.
    // Unpacked `f32` over the best screen or exact tiles on Zen 4: at dim 128, 16 x 16 takes 0.61, 64 x 64 0.75, 96 x 96 0.84,
    // 140 x 140 0.89, 168 x 168 0.94; at dim 384, 140 x 140 0.96, 168 x 168 1.11; at dim 768, 64 x 64 0.80, 96 x 96 0.93,
    // 140 x 140 1.02, 168 x 168 1.14; 20 x 4096 x 768 0.94, 24 x 1024 x 128
    // 0.78, 28 x 4096 x 384 1.06.
    // Widened over not, on Zen 4 at dim 128: 8 x 8 takes 1.12, 12 x 12 0.94, 16 x 16 0.92, 48 x 48 0.82; 8 x 1024 1.03,
    // 12 x 1024 0.91. 1024 x 1024 takes 0.91 at dim 20 and 0.85 at dim 50.
    const COSTS: Costs = Costs {
        exact_square: 20,
        exact_few: if VNNI { 3 } else { 5 },
        unpacked_pairs: if VNNI { 40 } else { 70 },
        unpacked_few: if VNNI { 16 } else { 24 },
        widened_pairs: 8,
        exact: 2.3,
        screening: if VNNI { [0.3, 0.6, 1.0] } else { [0.45, 0.7, 1.0] },
        fast_i16: true,
        fast_i8: true,
        integer_dim: if VNNI { 32 } else { 40 },
        integer_elements: if VNNI { 1 << 12 } else { 5 << 12 },
        integer_pairs: if VNNI { 0 } else { 40 },
        integer_streamed: 1 << 20,
        sampled_rows: if VNNI { 128 } else { 256 },
        sampled_elements: 1 << 15,
    };
    // Without VNNI four products are added in 16 bits, two of which saturate: 2 * 90 * 182 is just below 2^15. Candidates up
    // to 90 leave both sides about the same errors, as four elements of an anchor of one sign seldom add up to more than twice
    // its largest one.
    const I8_ANCHORS: i32 = 127;
    const I8_CANDIDATES: i32 = if VNNI { 127 } else { 90 };
    const I8_SUM: Option<i32> = if VNNI { None } else { Some(182) };
    const I8_OFFSET: i32 = if VNNI { 128 } else { 90 };

    #[inline(always)]
    fn run<W: WithSimd>(self, computation: W) -> W::Output {
        #[inline(never)]
        #[target_feature(enable = "avx2,fma")]
        fn without<W: WithSimd>(simd: impl Simd, computation: W) -> W::Output {
            computation.run(simd)
        }
        #[inline(never)]
        #[target_feature(enable = "avx2,fma,avxvnni")]
        fn with_vnni<W: WithSimd>(simd: impl Simd, computation: W) -> W::Output {
            computation.run(simd)
        }
        if VNNI {
            // SAFETY: `self` exists only where `detect` found these features.
            unsafe { with_vnni(self, computation) }
        } else {
            // SAFETY: `self` exists only where `detect` found these features.
            unsafe { without(self, computation) }
        }
    }

    #[inline(always)]
    fn run_tile<K: TileKernel>(self, rows: usize, registers: usize, kernel: K) {
        if const { Self::TILES[K::TILE].registers == 3 } {
            match (rows, registers) {
                (1, 3) => kernel.run::<Self, 1, 3>(self),
                (2, 3) => kernel.run::<Self, 2, 3>(self),
                (_, 3) => kernel.run::<Self, 4, 3>(self),
                (_, 2) => kernel.run::<Self, 4, 2>(self),
                _ => kernel.run::<Self, 4, 1>(self),
            }
        } else {
            match (rows, registers) {
                (1, 2) => kernel.run::<Self, 1, 2>(self),
                (2, 2) => kernel.run::<Self, 2, 2>(self),
                (3 | 4, 2) => kernel.run::<Self, 4, 2>(self),
                (_, 2) if const { Self::TILES[K::TILE].anchors == 6 } => kernel.run::<Self, 6, 2>(self),
                (5.., _) if const { Self::TILES[K::TILE].anchors == 6 } => kernel.run::<Self, 6, 1>(self),
                _ => kernel.run::<Self, 4, 1>(self),
            }
        }
    }

    #[inline(always)]
    fn run_dot_tile<K: DotKernel>(self, anchors: usize, kernel: K) {
        match anchors {
            1 => kernel.run::<Self, 1, 6, 2>(self),
            _ => kernel.run::<Self, 2, 3, 2>(self),
        }
    }

    #[inline(always)]
    fn run_wide_tile<K: DotKernel>(self, kernel: K) {
        kernel.run::<Self, 3, 4, 1>(self);
    }

    #[inline(always)]
    fn run_row_tile<K: DotKernel>(self, kernel: K) {
        kernel.run::<Self, 3, 4, 1>(self);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, source: &[f32]) -> __m256 {
        let source: &[f32; 8] = head(source);
        // SAFETY: `self` proves AVX2, and `source` is 8 readable `f32`; the load needs no alignment.
        unsafe { _mm256_loadu_ps(source.as_ptr()) }
    }

    #[inline(always)]
    fn load_rows(self, rows: &[f32], stride: usize, square: &mut [__m256]) {
        let square: &mut [__m256; 8] = head_mut(square);
        assert!(rows.len() >= last_of_rows::<8>(stride));
        for (r, row) in square.iter_mut().enumerate() {
            // SAFETY: row `r` of 8 begins at `r * stride`, 8 elements or more before the end of `rows`.
            let source = unsafe { rows.as_ptr().add(r * stride) };
            // SAFETY: `self` proves AVX2, and `source` is 8 readable `f32`; the load needs no alignment.
            *row = unsafe { _mm256_loadu_ps(source) };
        }
    }

    #[inline(always)]
    fn store(self, value: __m256, target: &mut [f32]) {
        let target: &mut [f32; 8] = head_mut(target);
        // SAFETY: `self` proves AVX2, and `target` is 8 writable `f32`; the store needs no alignment.
        unsafe { _mm256_storeu_ps(target.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn load_bits(self, source: &[u32]) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_castsi256_ps(self.load_words(source)) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves FMA.
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max_abs(self, best: __m256, value: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        let magnitude = unsafe { _mm256_andnot_ps(self.splat(-0.0), value) };
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_max_ps(magnitude, best) }
    }

    #[inline(always)]
    fn in_range(self, value: __m256, low: __m256, high: __m256) -> u32 {
        // SAFETY: `self` proves AVX2.
        let above = unsafe { _mm256_cmp_ps::<_CMP_GE_OQ>(value, low) };
        // SAFETY: `self` proves AVX2.
        let below = unsafe { _mm256_cmp_ps::<_CMP_LE_OQ>(value, high) };
        // SAFETY: `self` proves AVX2.
        let both = unsafe { _mm256_and_ps(above, below) };
        // SAFETY: `self` proves AVX2. The mask has a bit for each of the 8 lanes, so the sign is never set.
        unsafe { _mm256_movemask_ps(both) as u32 }
    }

    #[inline(always)]
    fn max_where(self, best: __m256, value: __m256, key: __m256, limit: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        let allowed = unsafe { _mm256_cmp_ps::<_CMP_LE_OQ>(key, limit) };
        // SAFETY: `self` proves AVX2.
        let value = unsafe { _mm256_blendv_ps(best, value, allowed) };
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_max_ps(value, best) }
    }

    #[inline(always)]
    fn largest(self, value: __m256) -> f32 {
        let mut lanes = [0.0; 8];
        self.store(value, &mut lanes);
        lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    fn transpose(self, square: &mut [__m256]) {
        // SAFETY: `self` proves AVX2.
        unsafe { transpose(head_mut(square)) }
    }

    #[inline(always)]
    fn sum_each(self, values: &[__m256]) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { sum_each(head(values)) }
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn load_words(self, source: &[u32]) -> __m256i {
        let source: &[u32; 8] = head(source);
        // SAFETY: `self` proves AVX2, and `source` is 8 readable words; the load needs no alignment.
        unsafe { _mm256_loadu_si256(source.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_words(self, value: __m256i, target: &mut [u32]) {
        let target: &mut [u32; 8] = head_mut(target);
        // SAFETY: `self` proves AVX2, and `target` is 8 writable words; the store needs no alignment.
        unsafe { _mm256_storeu_si256(target.as_mut_ptr().cast(), value) }
    }

    #[inline(always)]
    fn bits(self, value: __m256) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_castps_si256(value) }
    }

    #[inline(always)]
    fn to_f32(self, value: __m256i) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_cvtepi32_ps(value) }
    }

    #[inline(always)]
    fn join_low_bytes(self, low: __m256i, high: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        let high = unsafe { _mm256_slli_epi32::<8>(high) };
        // SAFETY: `self` proves AVX2.
        let low = unsafe { _mm256_and_si256(low, self.splat_word(0xFF)) };
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_or_si256(low, high) }
    }

    #[inline(always)]
    fn join_low_i16(self, low: __m256i, high: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        let high = unsafe { _mm256_slli_epi32::<16>(high) };
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_blend_epi16::<0xAA>(low, high) }
    }

    #[inline(always)]
    fn dot_i8(self, sum: __m256i, bytes: __m256i, word: u32) -> __m256i {
        let signed = self.splat_word(word);
        if VNNI {
            // SAFETY: `self` proves AVX-VNNI.
            return unsafe { _mm256_dpbusd_avx_epi32(sum, bytes, signed) };
        }
        // SAFETY: `self` proves AVX2.
        let products = unsafe { _mm256_maddubs_epi16(bytes, signed) };
        self.dot_i16(sum, products, self.splat_word(0x0001_0001))
    }

    #[inline(always)]
    fn dot_i8_twice(self, sum: __m256i, bytes: [__m256i; 2], words: [u32; 2]) -> __m256i {
        if VNNI {
            return self.dot_i8(self.dot_i8(sum, bytes[0], words[0]), bytes[1], words[1]);
        }
        // SAFETY: `self` proves AVX2.
        let first = unsafe { _mm256_maddubs_epi16(bytes[0], self.splat_word(words[0])) };
        // SAFETY: `self` proves AVX2.
        let second = unsafe { _mm256_maddubs_epi16(bytes[1], self.splat_word(words[1])) };
        // SAFETY: `self` proves AVX2.
        let products = unsafe { _mm256_add_epi16(first, second) };
        self.dot_i16(sum, products, self.splat_word(0x0001_0001))
    }

    #[inline(always)]
    fn dot_i16(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        if VNNI {
            // SAFETY: `self` proves AVX-VNNI.
            return unsafe { _mm256_dpwssd_avx_epi32(sum, a, b) };
        }
        // SAFETY: `self` proves AVX2.
        let products = unsafe { _mm256_madd_epi16(a, b) };
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_epi32(sum, products) }
    }

    #[inline(always)]
    fn splat64(self, value: f64) -> __m256d {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_pd(value) }
    }

    #[inline(always)]
    fn load64(self, source: &[f64]) -> __m256d {
        let source: &[f64; 4] = head(source);
        // SAFETY: `self` proves AVX2, and `source` is 4 readable `f64`; the load needs no alignment.
        unsafe { _mm256_loadu_pd(source.as_ptr()) }
    }

    #[inline(always)]
    fn store64(self, value: __m256d, target: &mut [f64]) {
        let target: &mut [f64; 4] = head_mut(target);
        // SAFETY: `self` proves AVX2, and `target` is 4 writable `f64`; the store needs no alignment.
        unsafe { _mm256_storeu_pd(target.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn widen(self, source: &[f32]) -> __m256d {
        let source: &[f32; 4] = head(source);
        // SAFETY: `self` proves AVX2, and `source` is 4 readable `f32`; the load needs no alignment.
        let narrow = unsafe { _mm_loadu_ps(source.as_ptr()) };
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_cvtps_pd(narrow) }
    }

    #[inline(always)]
    fn add64(self, a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_pd(a, b) }
    }

    #[inline(always)]
    fn mul64(self, a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_mul_pd(a, b) }
    }

    #[inline(always)]
    fn mul_add_exact(self, a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        // SAFETY: `self` proves FMA.
        unsafe { _mm256_fmadd_pd(a, b, c) }
    }

    #[inline(always)]
    fn fold(self, value: __m256d) -> f64 {
        let mut lanes = [0.0; 4];
        self.store64(value, &mut lanes);
        let [a, b, c, d] = lanes;
        (a + c) + (b + d)
    }

    #[inline(always)]
    fn fold_each(self, values: &[__m256d]) -> __m256d {
        // SAFETY: `self` proves AVX2.
        unsafe { fold_each(head(values)) }
    }
}
