//! AVX-512: 32 registers of 16 `f32` or 8 `f64`.

use core::arch::x86_64::*;

use super::Avx2;
use crate::arch::simd::{DotKernel, Simd, TileKernel, WithSimd, head, head_mut, last_of_rows};
use crate::arch::traits::{Costs, TileShape};

/// Proof that the CPU has AVX-512F and AVX-512 VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Avx512 {
    /// Whether the CPU splits an operation of 512 bits into two.
    splits: bool,
}

impl Avx512 {
    /// The token, if this CPU has AVX-512F and the integer dot products of VNNI (and AVX2 and FMA, as every such CPU
    /// has). Earlier cores with AVX-512 take AVX2.
    pub(crate) fn detect() -> Option<Avx512> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        (has && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
            .then_some(Avx512 { splits: splits_registers() })
    }

    /// The token of AVX2, which this CPU has as well, where its registers widen `f32` faster.
    #[inline]
    pub(crate) fn with_half_registers(self) -> Option<Avx2<false>> {
        self.splits.then(|| Avx2::of(self))
    }

    /// The token of a CPU that splits operations where this one does not, and the other way round.
    #[cfg(test)]
    pub(crate) fn otherwise(self) -> Avx512 {
        Avx512 { splits: !self.splits }
    }

    /// Whether 512-bit code should be the default here: cores of the Ice Lake and Zen 4 class and later. Older ones
    /// lower their clock for the whole program when they meet a 512-bit multiplication.
    pub(crate) fn is_preferred(self) -> bool {
        is_x86_feature_detected!("avx512vbmi2")
    }
}

/// Whether this CPU, which has AVX-512, is a Zen 4. It splits operations of 512 bits into two, and widens half as many
/// numbers in the same time as in registers of 256 bits: no other processor with AVX-512 has SSE4a, but Zen 5, which has
/// VP2INTERSECT.
fn splits_registers() -> bool {
    is_x86_feature_detected!("sse4a") && !is_x86_feature_detected!("avx512vp2intersect")
}

impl Simd for Avx512 {
    type F32 = __m512;
    type F64 = __m512d;
    type I32 = __m512i;
    const F32_LANES: usize = 16;
    const F64_LANES: usize = 8;
    // 8 x 3 = 24 accumulators, 3 candidate registers and a broadcast anchor: 28 of 32 registers. 11 loads feed 24
    // multiply-adds, so that neither two loads a cycle nor the latency of the multiply-add is the limit.
    const TILES: [TileShape; 3] = [TileShape::of(8, 3); 3];
    // 3 x 4 pairs of two accumulators each, three anchors and a candidate: 28 of 32 registers. 7 loads feed 12
    // multiply-adds.
    const DOT_ANCHORS: usize = 3;
    // 4 x 4 accumulators, 4 anchors and a candidate: 8 loads feed 16 multiply-adds, and the strips of a small batch have few
    // rows to fill up. 6 x 4, 8 x 3, 5 x 5 and 8 x 2 are slower, most of all at 8 to 48 rows.
    const WIDE_ANCHORS: usize = 4;
    const WIDE_CANDIDATES: usize = 4;
    // 4 x 4 accumulators, which are summed together. 8 loads feed 16 multiply-adds. 4 x 6 take 1.06 times as long at
    // 32 x 32 x 128 on Zen 4.
    const ROW_ANCHORS: usize = 4;
    const ROW_CANDIDATES: usize = 4;
    // Measured on Zen 4 by `hardneg-compare crossovers`. Whole calls, exact over the best screen: at dim 128, 384 and 768,
    // 26 x 26 takes 0.79, 0.85 and 0.91, 32 x 32 1.05, 1.16 and 1.22; 7 x 1024 1.05 at dim 128 and 1.02 at 768, 8 x 1024
    // 1.20. Integers over `f32`: 1024 x 1024 x 21 takes 0.90 to 0.96, 64 x 64 x 64 1.04 to 1.07, 96 x 96 x 64 0.97 to 1.02.
    // Bytes over 16 bits: 128 x 128 x 768 0.88, 256 x 256 x 128 0.85.
    // Widened over not, on Zen 4 at dim 128: 8 x 8 takes 1.07, 12 x 12 1.04, 16 x 16 1.05, 20 x 20 0.99, 48 x 48 0.90; 8 x
    // 1024 1.01, 12 x 1024 0.97. 1024 x 1024 takes 1.10 at dim 20 and 0.92 at dim 50.
    // Unpacked `f32` over the best screen or exact tiles on Zen 4: at dim 128, 16 x 16 takes 0.71, 32 x 32 0.68, 64 x 64 0.79,
    // 96 x 96 0.91, 128 x 128 0.98; at dim 768, 48 x 48 0.84, 64 x 64 0.94, 96 x 96 1.07. 2 x 1024 x 128 0.84, 8 x 1024 x 128
    // 0.59, 24 x 1024 x 128 0.94; 12 x 4096 x 768 0.77, 16 x 4096 x 768 0.87, 20 x 4096 x 384 0.98, 24 x 4096 x 768 1.17.
    const COSTS: Costs = Costs {
        exact_square: 28,
        exact_few: 7,
        unpacked_pairs: 40,
        unpacked_few: 18,
        widened_pairs: 10,
        exact: 2.1,
        screening: [0.3, 0.6, 1.0],
        fast_i16: true,
        fast_i8: true,
        integer_dim: 20,
        integer_elements: 6 << 10,
        integer_pairs: 0,
        integer_streamed: 0,
        sampled_rows: 128,
        sampled_elements: 1 << 15,
    };
    const I8_ANCHORS: i32 = 127;
    const I8_CANDIDATES: i32 = 127;
    const I8_SUM: Option<i32> = None;
    const I8_OFFSET: i32 = 128;

    #[inline(always)]
    fn run<W: WithSimd>(self, computation: W) -> W::Output {
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512vnni,avx2,fma")]
        fn inner<W: WithSimd>(simd: Avx512, computation: W) -> W::Output {
            computation.run(simd)
        }
        // SAFETY: `self` exists only where `detect` found these features.
        unsafe { inner(self, computation) }
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

    #[inline(always)]
    fn run_dot_tile<K: DotKernel>(self, anchors: usize, kernel: K) {
        match anchors {
            1 => kernel.run::<Self, 1, 8, 2>(self),
            2 => kernel.run::<Self, 2, 4, 2>(self),
            _ => kernel.run::<Self, 3, 4, 2>(self),
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
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, source: &[f32]) -> __m512 {
        let source: &[f32; 16] = head(source);
        // SAFETY: `self` proves AVX-512F, and `source` is 16 readable `f32`; the load needs no alignment.
        unsafe { _mm512_loadu_ps(source.as_ptr()) }
    }

    #[inline(always)]
    fn load_rows(self, rows: &[f32], stride: usize, square: &mut [__m512]) {
        let square: &mut [__m512; 16] = head_mut(square);
        assert!(rows.len() >= last_of_rows::<16>(stride));
        for (r, row) in square.iter_mut().enumerate() {
            // SAFETY: row `r` of 16 begins at `r * stride`, 16 elements or more before the end of `rows`.
            let source = unsafe { rows.as_ptr().add(r * stride) };
            // SAFETY: `self` proves AVX-512F, and `source` is 16 readable `f32`; the load needs no alignment.
            *row = unsafe { _mm512_loadu_ps(source) };
        }
    }

    #[inline(always)]
    fn store(self, value: __m512, target: &mut [f32]) {
        let target: &mut [f32; 16] = head_mut(target);
        // SAFETY: `self` proves AVX-512F, and `target` is 16 writable `f32`; the store needs no alignment.
        unsafe { _mm512_storeu_ps(target.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn load_bits(self, source: &[u32]) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_castsi512_ps(self.load_words(source)) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max_abs(self, best: __m512, value: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        let magnitude = unsafe { _mm512_abs_ps(value) };
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_max_ps(magnitude, best) }
    }

    #[inline(always)]
    fn in_range(self, value: __m512, low: __m512, high: __m512) -> u32 {
        // SAFETY: `self` proves AVX-512F.
        let above = unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(value, low) };
        // SAFETY: `self` proves AVX-512F.
        u32::from(unsafe { _mm512_mask_cmp_ps_mask::<_CMP_LE_OQ>(above, value, high) })
    }

    #[inline(always)]
    fn max_where(self, best: __m512, value: __m512, key: __m512, limit: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        let allowed = unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(key, limit) };
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_mask_max_ps(best, allowed, best, value) }
    }

    #[inline(always)]
    fn largest(self, value: __m512) -> f32 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_reduce_max_ps(value) }
    }

    #[inline(always)]
    fn transpose(self, square: &mut [__m512]) {
        // SAFETY: `self` proves AVX-512F.
        unsafe { transpose(head_mut(square)) }
    }

    #[inline(always)]
    fn sum_each(self, values: &[__m512]) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { sum_each(head(values)) }
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> __m512i {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn load_words(self, source: &[u32]) -> __m512i {
        let source: &[u32; 16] = head(source);
        // SAFETY: `self` proves AVX-512F, and `source` is 16 readable words; the load needs no alignment.
        unsafe { _mm512_loadu_si512(source.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_words(self, value: __m512i, target: &mut [u32]) {
        let target: &mut [u32; 16] = head_mut(target);
        // SAFETY: `self` proves AVX-512F, and `target` is 16 writable words; the store needs no alignment.
        unsafe { _mm512_storeu_si512(target.as_mut_ptr().cast(), value) }
    }

    #[inline(always)]
    fn bits(self, value: __m512) -> __m512i {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_castps_si512(value) }
    }

    #[inline(always)]
    fn to_f32(self, value: __m512i) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_cvtepi32_ps(value) }
    }

    #[inline(always)]
    fn join_low_bytes(self, low: __m512i, high: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512F.
        let high = unsafe { _mm512_slli_epi32::<8>(high) };
        // SAFETY: `self` proves AVX-512F. The table is that of `mask ? low : high`.
        unsafe { _mm512_ternarylogic_epi32::<0xCA>(self.splat_word(0xFF), low, high) }
    }

    #[inline(always)]
    fn join_low_i16(self, low: __m512i, high: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512F.
        let high = unsafe { _mm512_slli_epi32::<16>(high) };
        // SAFETY: `self` proves AVX-512F. The table is that of `mask ? low : high`.
        unsafe { _mm512_ternarylogic_epi32::<0xCA>(self.splat_word(0xFFFF), low, high) }
    }

    #[inline(always)]
    fn dot_i8(self, sum: __m512i, bytes: __m512i, word: u32) -> __m512i {
        // SAFETY: `self` proves AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(sum, bytes, self.splat_word(word)) }
    }

    #[inline(always)]
    fn dot_i16(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 VNNI.
        unsafe { _mm512_dpwssd_epi32(sum, a, b) }
    }

    #[inline(always)]
    fn splat64(self, value: f64) -> __m512d {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_set1_pd(value) }
    }

    #[inline(always)]
    fn load64(self, source: &[f64]) -> __m512d {
        let source: &[f64; 8] = head(source);
        // SAFETY: `self` proves AVX-512F, and `source` is 8 readable `f64`; the load needs no alignment.
        unsafe { _mm512_loadu_pd(source.as_ptr()) }
    }

    #[inline(always)]
    fn store64(self, value: __m512d, target: &mut [f64]) {
        let target: &mut [f64; 8] = head_mut(target);
        // SAFETY: `self` proves AVX-512F, and `target` is 8 writable `f64`; the store needs no alignment.
        unsafe { _mm512_storeu_pd(target.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn widen(self, source: &[f32]) -> __m512d {
        let source: &[f32; 8] = head(source);
        // SAFETY: `self` proves AVX2, and `source` is 8 readable `f32`; the load needs no alignment.
        let narrow = unsafe { _mm256_loadu_ps(source.as_ptr()) };
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_cvtps_pd(narrow) }
    }

    #[inline(always)]
    fn add64(self, a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_add_pd(a, b) }
    }

    #[inline(always)]
    fn mul64(self, a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_mul_pd(a, b) }
    }

    #[inline(always)]
    fn mul_add_exact(self, a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_fmadd_pd(a, b, c) }
    }

    #[inline(always)]
    fn fold(self, value: __m512d) -> f64 {
        let mut lanes = [0.0; 8];
        self.store64(value, &mut lanes);
        let [a, b, c, d, e, f, g, h] = lanes;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    #[inline(always)]
    fn fold_each(self, values: &[__m512d]) -> __m512d {
        // SAFETY: `self` proves AVX-512F.
        unsafe { fold_each(head(values)) }
    }
}

/// Folds eight registers together: each addition halves the lanes of two registers at once, so that 7 additions and 14
/// shuffles fold them all.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_each(values: &[__m512d; 8]) -> __m512d {
    // Lanes 0 to 3 of the sum are those of a, lanes 4 to 7 those of b.
    let halves = |a, b| _mm512_add_pd(_mm512_shuffle_f64x2::<0x44>(a, b), _mm512_shuffle_f64x2::<0xEE>(a, b));
    // The even pairs of both and the odd pairs of both: lanes 0 to 3 are what is left of a's two rows, then b's.
    let quarters = |a, b| _mm512_add_pd(_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xDD>(a, b));
    let [a, b, c, d] = [
        halves(values[0], values[2]),
        halves(values[4], values[6]),
        halves(values[1], values[3]),
        halves(values[5], values[7]),
    ];
    let (even, odd) = (quarters(a, b), quarters(c, d));
    _mm512_add_pd(_mm512_unpacklo_pd(even, odd), _mm512_unpackhi_pd(even, odd))
}

/// Sums sixteen registers together: each addition halves the lanes of two registers at once.
#[inline]
#[target_feature(enable = "avx512f")]
fn sum_each(values: &[__m512; 16]) -> __m512 {
    let halves = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let quarters = |a, b| _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xEE>(a, b));
    let mut fours = [values[0]; 4];
    for (sums, four) in fours.iter_mut().zip(values.as_chunks::<4>().0) {
        // In each 128-bit quarter, what that quarter of four registers comes to.
        *sums = quarters(halves(four[0], four[1]), halves(four[2], four[3]));
    }
    let even = |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b));
    let [a, b, c, d] = fours;
    even(even(a, b), even(c, d))
}

/// Transposes a square in four rounds: pairs of elements, pairs of pairs, then 128-bit quarters twice.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(square: &mut [__m512; 16]) {
    for r in (0..16).step_by(2) {
        let (a, b) = (square[r], square[r + 1]);
        (square[r], square[r + 1]) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    }
    // Now quarter q of registers 4 g .. 4 g + 4 holds columns 4 q .. 4 q + 4 of rows 4 g .. 4 g + 4, in pairs.
    for r in (0..16).step_by(4) {
        let [a, b] = [_mm512_castps_pd(square[r]), _mm512_castps_pd(square[r + 1])];
        let [c, d] = [_mm512_castps_pd(square[r + 2]), _mm512_castps_pd(square[r + 3])];
        square[r] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        square[r + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        square[r + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        square[r + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    // Now quarter q of register 4 g + c holds column 4 q + c of rows 4 g .. 4 g + 4. 0x88 takes the even quarters of
    // both operands, 0xDD the odd ones.
    for c in 0..4 {
        let [first, second] = [square[c], square[4 + c]];
        let [third, fourth] = [square[8 + c], square[12 + c]];
        let even = [_mm512_shuffle_f32x4::<0x88>(first, second), _mm512_shuffle_f32x4::<0x88>(third, fourth)];
        let odd = [_mm512_shuffle_f32x4::<0xDD>(first, second), _mm512_shuffle_f32x4::<0xDD>(third, fourth)];
        square[c] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
        square[4 + c] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
        square[8 + c] = _mm512_shuffle_f32x4::<0xDD>(even[0], even[1]);
        square[12 + c] = _mm512_shuffle_f32x4::<0xDD>(odd[0], odd[1]);
    }
}
