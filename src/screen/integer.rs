//! The formats of integers: rows of 16-bit integers and rows of bytes. How rows become integers, and why the intervals
//! hold, stands in [`quantize`].

use super::format::{AnchorConstants, CandidateConstants, Extremes, Format, Params};
use super::pack::{MAX_LANES, PanelWriter, RawRows};
use super::precision::Precision;
use super::quantize::{self, Integers};
use crate::arch::Simd;

/// 16-bit integers.
pub(crate) struct Int16;

/// Bytes: those of candidates have 128 added where the hardware multiplies unsigned bytes by signed ones
/// ([`Simd::I8_OFFSET`]). [`AnchorConstants::start`] takes it back.
pub(crate) struct Int8;

impl Integers for Int16 {
    const PRECISION: Precision = Precision::Int16;
    const PER_WORD: usize = 2;
    const LARGEST: f32 = 32767.0;
    // Two rows of this norm have a product below 2^31, also after their rounding.
    const LARGEST_NORM: f32 = 46000.0;

    fn candidate_offset<S: Simd>() -> f32 {
        0.0
    }

    #[inline(always)]
    fn dot<S: Simd>(simd: S, anchor: u32, candidates: S::I32, sum: S::I32) -> S::I32 {
        simd.dot_i16(sum, candidates, simd.splat_word(anchor))
    }

    #[inline(always)]
    fn write<S: Simd>(simd: S, writer: &mut PanelWriter<'_>, quad: usize, dim: usize, [a, b, c, d]: [S::I32; 4]) {
        writer.write(simd, 2 * quad, simd.join_low_i16(a, b));
        if 4 * quad + 2 < dim {
            writer.write(simd, 2 * quad + 1, simd.join_low_i16(c, d));
        }
    }
}

impl Integers for Int8 {
    const PRECISION: Precision = Precision::Int8;
    const PER_WORD: usize = 4;
    const LARGEST: f32 = 127.0;
    const LARGEST_NORM: f32 = f32::INFINITY;

    fn candidate_offset<S: Simd>() -> f32 {
        S::I8_OFFSET as f32
    }

    #[inline(always)]
    fn dot<S: Simd>(simd: S, anchor: u32, candidates: S::I32, sum: S::I32) -> S::I32 {
        simd.dot_i8(sum, candidates, anchor)
    }

    #[inline(always)]
    fn write<S: Simd>(simd: S, writer: &mut PanelWriter<'_>, quad: usize, _dim: usize, [a, b, c, d]: [S::I32; 4]) {
        writer.write(simd, quad, simd.join_low_i16(simd.join_low_bytes(a, b), simd.join_low_bytes(c, d)));
    }
}

/// About the residual of a row of norm 1 as 16-bit integers.
pub(super) fn int16_residual(dim: usize) -> f32 {
    (dim as f32 / 12.0).sqrt() / Int16::LARGEST_NORM
}

impl<I: Integers> Format for I {
    const PRECISION: Precision = I::PRECISION;
    const PER_WORD: usize = I::PER_WORD;
    const CONSTANTS: usize = 4;
    const UNIT: f32 = 1.0;
    type Words<S: Simd> = S::I32;
    type Loaded<S: Simd> = [S::F32; 4];

    #[inline(always)]
    fn load<S: Simd>(simd: S, words: &[u32]) -> S::I32 {
        simd.load_words(words)
    }

    #[inline(always)]
    fn splat<S: Simd>(simd: S, word: u32) -> S::I32 {
        simd.splat_word(word)
    }

    #[inline(always)]
    fn add_products<S: Simd>(simd: S, anchor: u32, candidates: S::I32, sum: S::I32) -> S::I32 {
        I::dot(simd, anchor, candidates, sum)
    }

    #[inline(always)]
    fn load_constants<S: Simd>(simd: S, constants: CandidateConstants<'_>) -> [S::F32; 4] {
        constants.load(simd)
    }

    /// `sum` in units of similarity, with what was removed from the rows added again and the largest error on top.
    #[inline(always)]
    fn upper<S: Simd>(
        simd: S,
        sum: S::I32,
        row: &AnchorConstants,
        [quant_step, center_dot, residual, norm]: &[S::F32; 4],
    ) -> S::F32 {
        let product = simd.mul(simd.to_f32(sum), *quant_step);
        let similarity = simd.mul_add(product, simd.splat(row.quant_step), *center_dot);
        let upper = simd.mul_add(*residual, simd.splat(row.norm), similarity);
        simd.mul_add(*norm, simd.splat(row.residual), upper)
    }

    /// Twice the largest error.
    #[inline(always)]
    fn length<S: Simd>(simd: S, row: &AnchorConstants, [_, _, residual, norm]: &[S::F32; 4]) -> S::F32 {
        let first = simd.mul_add(*residual, simd.splat(2.0 * row.norm), simd.splat(row.length));
        simd.mul_add(*norm, simd.splat(2.0 * row.residual), first)
    }

    #[inline(always)]
    fn pack_anchors<S: Simd>(
        simd: S,
        rows: RawRows<'_>,
        params: Params<'_>,
        scratch: &mut [f32],
        writer: PanelWriter<'_>,
    ) -> [AnchorConstants; MAX_LANES] {
        quantize::anchors::<S, I>(simd, rows, params.center, scratch, writer)
    }

    #[inline(always)]
    fn pack_candidates<S: Simd>(
        simd: S,
        rows: RawRows<'_>,
        params: Params<'_>,
        scratch: &mut [f32],
        writer: PanelWriter<'_>,
    ) {
        quantize::candidates::<S, I>(simd, rows, params.center, scratch, writer);
    }

    /// Rows 2 and 3 of the [`CandidateConstants`].
    fn extremes(panels: &[u32], width: usize, dim: usize) -> Extremes {
        let words = I::words_per_candidate(dim);
        let mut largest = [0.0_f32; 2];
        for panel in panels.chunks(width * words) {
            let width = panel.len() / words;
            let constants = panel[panel.len() - 2 * width..].chunks_exact(width);
            for (largest, constants) in largest.iter_mut().zip(constants) {
                for &bits in constants {
                    *largest = largest.max(f32::from_bits(bits));
                }
            }
        }
        Extremes { residual: largest[0], norm: largest[1] }
    }

    fn int16_share(rows: &[AnchorConstants], extremes: Extremes, dim: usize) -> f64 {
        let (mut here, mut int16) = (0.0, 0.0);
        for row in rows {
            here += row.error(extremes);
            int16 += 2.0 * row.norm * extremes.norm * int16_residual(dim) + row.length;
        }
        f64::from(int16 / here)
    }

    fn float32_share(rows: &[AnchorConstants], extremes: Extremes, float_bound: f32) -> f64 {
        let here: f32 = rows.iter().map(|row| row.error(extremes)).sum();
        f64::from(rows.len() as f32 * float_bound / here)
    }
}
