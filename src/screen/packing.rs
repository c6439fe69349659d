//! Rows of both sides as the tiles read them: the words by a kernel, and behind them the constants from which a tile makes
//! intervals.

use super::center::Center;
use super::float::{SHRINK, UNIT};
use super::quantize::{anchor_constants, int16_residual};
use crate::arch::Backend;
use crate::kernels::{AnchorConstants, Format, MAX_LANES, PanelTarget, RawRows, pack_floats, pack_integers};

/// What the rows of a call are packed with, beside their elements.
#[derive(Clone, Copy)]
pub(crate) struct Params<'a> {
    /// What is removed from the rows of both sides before they are rounded to integers.
    pub(crate) center: Center<'a>,
    /// The error that a sum in `f32` may have.
    pub(crate) float_bound: f32,
}

/// What a similarity of 1 is in the units of the intervals of a format.
pub(crate) fn unit(format: Format) -> f32 {
    if format == Format::Float32 { UNIT } else { 1.0 }
}

/// Packs up to [`MAX_LANES`] anchors, and returns what a tile must know of each; of rows beyond the last, anything.
pub(crate) fn pack_anchors(
    backend: Backend,
    format: Format,
    rows: RawRows<'_>,
    params: Params<'_>,
    scratch: &mut [f32],
    target: PanelTarget<'_>,
) -> [AnchorConstants; MAX_LANES] {
    let Params { center, float_bound } = params;
    let Some([range, others]) = format.integer_ranges(backend) else {
        pack_floats(backend, rows, SHRINK, target);
        let constants = AnchorConstants { length: 2.0 * float_bound, shift: float_bound, ..AnchorConstants::default() };
        return [constants; MAX_LANES];
    };
    let packed = pack_integers(backend, range, rows, center.values(), scratch, target);
    let mut constants = [AnchorConstants::default(); MAX_LANES];
    for (constants, row) in constants.iter_mut().zip(&packed).take(rows.norms.len()) {
        *constants = anchor_constants(row, rows.dim, center, others.candidate_offset.unwrap_or(0));
    }
    constants
}

/// Packs up to [`MAX_LANES`] candidates, with their constants.
pub(crate) fn pack_candidates(
    backend: Backend,
    format: Format,
    rows: RawRows<'_>,
    params: Params<'_>,
    scratch: &mut [f32],
    target: PanelTarget<'_>,
) {
    let Some([_, range]) = format.integer_ranges(backend) else {
        return pack_floats(backend, rows, SHRINK, target);
    };
    pack_integers(backend, range, rows, params.center.values(), scratch, target);
}

/// The largest residual and the largest norm among some candidates; both are 0 where the error is the same for all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extremes {
    pub(crate) residual: f32,
    pub(crate) norm: f32,
}

impl Extremes {
    /// The extremes of the candidates of `dim` elements in panels of `width`, the last of which may be narrower.
    pub(crate) fn of(format: Format, panels: &[u32], width: usize, dim: usize) -> Extremes {
        if format.constants() == 0 {
            return Extremes::default();
        }
        let words = format.words_per_candidate(dim);
        let mut largest = [0.0_f32; 2];
        for panel in panels.chunks(width * words) {
            let width = panel.len() / words;
            // The last two of the constants.
            let constants = panel[panel.len() - 2 * width..].chunks_exact(width);
            for (largest, constants) in largest.iter_mut().zip(constants) {
                for &bits in constants {
                    *largest = largest.max(f32::from_bits(bits));
                }
            }
        }
        Extremes { residual: largest[0], norm: largest[1] }
    }

    /// The extremes of these candidates and others.
    pub(crate) fn max(self, other: Extremes) -> Extremes {
        Extremes { residual: self.residual.max(other.residual), norm: self.norm.max(other.norm) }
    }

    /// The largest error of similarities with an anchor, beside half of its `length`.
    pub(crate) fn error(self, anchor: &AnchorConstants) -> f32 {
        anchor.norm * self.residual + anchor.residual * self.norm
    }

    /// The length of the longest interval with an anchor.
    pub(crate) fn longest(self, anchor: &AnchorConstants) -> f32 {
        anchor.length + 2.0 * self.error(anchor)
    }

    /// About how much shorter the intervals of 16-bit integers and of `f32`, whose error is `float_bound`, would be than
    /// those of `format`: the shares of the doubtful pairs that would be left to them.
    pub(crate) fn shares(self, format: Format, anchors: &[AnchorConstants], dim: usize, float_bound: f32) -> [f64; 2] {
        if format == Format::Float32 {
            return [1.0; 2];
        }
        let mut sum = AnchorConstants::default();
        for anchor in anchors {
            sum.norm += anchor.norm;
            sum.residual += anchor.residual;
            sum.length += anchor.length;
        }
        let here = self.error(&sum);
        let int16 = 2.0 * sum.norm * self.norm * int16_residual(dim) + sum.length;
        [int16, anchors.len() as f32 * float_bound].map(|left| f64::from(left / here))
    }
}
