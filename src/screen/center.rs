//! The vectors that are removed from the rows before they are rounded to integers: about the mean of each side.
//!
//! Embeddings often share a strong direction. What is common to all rows tells none of them apart, but it takes most of
//! the range of an 8-bit integer. Any vector may be removed, as it is added again exactly; the mean of a sample serves.

use super::ROUNDING;
use super::pack::MAX_LANES;
use crate::arch::{Backend, Kernel, Simd};
use crate::batch::Batch;
use crate::rows::Rows;
use crate::similarity::{inverse, norm_row};

/// The most rows of a side that its center is the mean of. With random rows of norm 1 the center has norm 1/8 then, and
/// removing it makes them hardly longer. Of fewer than 512 rows, one in eight, but at least 16.
const SAMPLE: usize = 64;

/// The centers of the two sides as one of them sees them, filled up with zeros to whole registers.
#[derive(Clone, Copy)]
pub(crate) struct Center<'a> {
    /// What is removed from the rows of this side.
    pub(crate) own: &'a [f32],
    /// What is removed from those of the other side.
    pub(crate) other: &'a [f32],
}

/// The centers of both sides.
#[derive(Clone, Copy)]
pub(crate) struct Centers<'a> {
    anchors: &'a [f32],
    candidates: &'a [f32],
    /// Their product.
    pub(crate) product: f64,
    norms: [f64; 2],
}

/// The elements that both centers need.
pub(crate) fn room(dim: usize) -> usize {
    2 * dim.next_multiple_of(MAX_LANES)
}

impl<'a> Centers<'a> {
    /// The centers of a batch, written into `buffer`; none in an empty one. Rows that are not finite make them useless,
    /// but then the call fails anyhow.
    pub(crate) fn of(backend: Backend, batch: Batch<'_>, buffer: &'a mut [f32]) -> Centers<'a> {
        let (anchors, candidates) = buffer.split_at_mut(buffer.len() / 2);
        if !anchors.is_empty() {
            backend.run(Mean { rows: batch.anchor_rows(), mean: anchors });
            backend.run(Mean { rows: batch.candidate_rows(), mean: candidates });
        }
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
        let norms = [dot(anchors, anchors).sqrt(), dot(candidates, candidates).sqrt()];
        Centers { product: dot(anchors, candidates), anchors, candidates, norms }
    }

    /// As the anchors see them.
    pub(crate) fn of_anchors(self) -> Center<'a> {
        Center { own: self.anchors, other: self.candidates }
    }

    /// As the candidates see them.
    pub(crate) fn of_candidates(self) -> Center<'a> {
        Center { own: self.candidates, other: self.anchors }
    }

    /// About the product of the norms that an anchor and a candidate have without their centers.
    pub(crate) fn spread(self) -> f64 {
        self.norms.into_iter().map(|norm| (1.0 - norm * norm).max(0.0).sqrt()).product()
    }

    /// What the bound must allow for roundings, beside the residuals, in a row whose distance from its center is
    /// `norm`. See [`quantize`](super::quantize).
    pub(crate) fn slack(self, dim: usize, norm: f32) -> f32 {
        let [anchors, candidates] = self.norms;
        let along = (dim / 4 + 8) as f64;
        let crosses = f64::from(norm) * candidates + (1.01 + candidates) * anchors;
        ((96.0 + along * crosses + 8.0 * (anchors + candidates)) * ROUNDING) as f32
    }
}

/// The mean of a sample of rows, each scaled to norm 1.
struct Mean<'a> {
    rows: Rows<'a>,
    mean: &'a mut [f32],
}

impl Kernel for Mean<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rows, mean } = self;
        let sample = (rows.count() / 8).clamp(16, SAMPLE).min(rows.count());
        mean.fill(0.0);
        for index in rows.spread(sample) {
            let row = rows.row(index);
            let scale = inverse(norm_row(simd, row)) / sample as f64;
            for (mean, &value) in mean.iter_mut().zip(row) {
                *mean += (f64::from(value) * scale) as f32;
            }
        }
    }
}
