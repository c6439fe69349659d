//! The vector that is removed from the rows of both sides before they are rounded to integers: about the mean of the
//! candidates.
//!
//! Embeddings often share a strong direction. What is common to all rows does not distinguish them, but it takes most
//! of the range of an 8-bit integer. Any vector may be removed, as it is added again exactly; the mean of a sample
//! serves. It is removed from the anchors, too, in place of a center of their own: so nothing that is kept of the
//! candidates depends on the anchors; and where both sides come from one model the two means are about the same.

use super::rounding::ROUNDING;
use crate::arch::Backend;
use crate::kernels::{MAX_LANES, add_scaled_to_f32, inverse, norm};
use crate::rows::Rows;

/// The most rows that the center is the mean of. With random rows of norm 1 the center has norm 1/8 then, and removing
/// it makes them hardly longer. Of fewer than 512 rows, one in eight, but at least 16.
const SAMPLE: usize = 64;

/// How many of `count` rows the center is the mean of. They are [spread](Rows::spread) evenly.
pub(super) fn sample_size(count: usize) -> usize {
    (count / 8).clamp(16, SAMPLE).min(count)
}

/// The roundings of a tile's last steps, by step 7 of the proof in [`quantize`](super::quantize).
const LAST_STEPS: f64 = {
    let (conversion, sums, shift, length, exact_side) = (13.0, 2.0 * 3.0 * 8.0, 8.0, 8.0, 1.0);
    let spare = 18.0;
    conversion + sums + shift + length + exact_side + spare
};

/// The roundings of the elements of both sides in their products with the center, a norm of the center each: step 6.
const OF_CENTER: f64 = 8.0 + 8.0;

/// The center of the candidates.
#[derive(Clone, Copy)]
pub(crate) struct Center<'a> {
    /// Filled up with zeros to whole registers; empty where nothing is removed.
    values: &'a [f32],
    /// Its dot product with itself.
    squared_norm: f64,
}

/// The elements that a center of `dim` elements needs.
pub(crate) fn center_len(dim: usize) -> usize {
    dim.next_multiple_of(MAX_LANES)
}

impl<'a> Center<'a> {
    /// The center of screens that remove nothing.
    pub(crate) const NONE: Center<'static> = Center { values: &[], squared_norm: 0.0 };

    /// The center of `rows`, written into `buffer`. Rows that are not finite make it useless, but then the call fails
    /// anyhow.
    pub(crate) fn of(backend: Backend, rows: Rows<'_>, buffer: &'a mut [f32]) -> Center<'a> {
        let sample = sample_size(rows.count());
        buffer.fill(0.0);
        for row in rows.spread(sample).map(|index| rows.row(index)) {
            add_scaled_to_f32(backend, row, inverse(norm(backend, row)) / sample as f64, buffer);
        }
        let squared_norm = buffer.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        Center { values: buffer, squared_norm }
    }

    /// A center that was [computed](Center::of) before.
    pub(crate) fn kept(values: &'a [f32], squared_norm: f64) -> Center<'a> {
        Center { values, squared_norm }
    }

    pub(super) fn values(self) -> &'a [f32] {
        self.values
    }

    /// Its dot product with itself.
    pub(crate) fn squared_norm(self) -> f64 {
        self.squared_norm
    }

    /// What the bound must allow for roundings, beside the residuals, in a row whose distance from the center is
    /// `norm`. See [`quantize`](super::quantize).
    pub(super) fn slack(self, dim: usize, norm: f32) -> f32 {
        let center = self.squared_norm.sqrt();
        let along = (dim / 4 + 8) as f64;
        let products = (f64::from(norm) + 1.01 + center) * center;
        ((LAST_STEPS + along * products + OF_CENTER * center) * ROUNDING) as f32
    }
}
