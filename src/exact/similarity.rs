//! The similarity of two rows, and its parts.

use super::lanes::{LANES, PaddedRows, dots, passing_dots};
use crate::arch::Simd;
use crate::error::{Error, Side};
use crate::rows::Rows;

/// The exact dot product of two rows of one length.
#[inline(always)]
pub(crate) fn dot_rows<S: Simd>(simd: S, x: &[f32], y: &[f32]) -> f64 {
    let [dot] = dots(simd, [x], [y]);
    dot
}

/// The norm of a row. Not finite if, and only if, an element is not.
#[inline(always)]
pub(crate) fn norm_row<S: Simd>(simd: S, x: &[f32]) -> f64 {
    dot_rows(simd, x, x).sqrt()
}

/// The norms of rows of `dim` elements, two at a time, which hide each other's latency.
#[inline(always)]
pub(crate) fn norm_rows<S: Simd>(simd: S, rows: &[f32], dim: usize, norms: &mut [f64]) {
    for (rows, norms) in rows.chunks(2 * dim).zip(norms.chunks_mut(2)) {
        let (first, second) = rows.split_at(dim);
        let pair = [first, if norms.len() == 2 { second } else { first }];
        for (norm, squared_norm) in norms.iter_mut().zip(dots(simd, pair, pair)) {
            *norm = squared_norm.sqrt();
        }
    }
}

/// The norms of rows that come from memory.
#[inline(always)]
pub(crate) fn norm_rows_from_memory<S: Simd>(simd: S, rows: Rows<'_>, norms: &mut [f64]) {
    const ROWS: usize = 64;
    for (rows, norms) in rows.blocks(ROWS).zip(norms.chunks_mut(ROWS)) {
        pass_over::<S, 1, 0>(simd, rows, [], norms, &mut [[]; ROWS]);
    }
}

/// Rows below this length, half a page, are multiplied with another one in twos. What the hardware fetches ahead of
/// longer rows that are read in turns would cross pages, where it stops.
const SHORT_ROW: usize = 512;

/// The registers that hold the lanes of the sums of a pass.
const HELD: usize = 8;

/// The norms of rows that come from memory, and their dot products with `other`.
#[inline(always)]
pub(crate) fn dots_from_memory<S: Simd>(
    simd: S,
    rows: Rows<'_>,
    other: &[f32],
    norms: &mut [f64],
    dots: &mut [[f64; 1]],
) {
    if const { 4 * LANES <= HELD * S::F64_LANES } && rows.dim() < SHORT_ROW {
        pass_over::<S, 2, 1>(simd, rows, [other], norms, dots);
    } else {
        pass_over::<S, 1, 1>(simd, rows, [other], norms, dots);
    }
}

/// The norms of rows that come from memory, and their dot products with `others`, `ROWS` rows at a time.
#[inline(always)]
fn pass_over<S: Simd, const ROWS: usize, const OTHERS: usize>(
    simd: S,
    rows: Rows<'_>,
    others: [&[f32]; OTHERS],
    norms: &mut [f64],
    dots: &mut [[f64; OTHERS]],
) {
    let (dim, last, others) = (rows.dim(), rows.count() - 1, PaddedRows::new(others));
    for (group, (norms, dots)) in norms.chunks_mut(ROWS).zip(dots.chunks_mut(ROWS)).enumerate() {
        let mut some = [&[][..]; ROWS];
        for (row, some) in some.iter_mut().enumerate() {
            *some = &rows.data()[(group * ROWS + row).min(last) * dim..];
        }
        let (squared_norms, found) = passing_dots(simd, some, dim, &others);
        for (norm, squared_norm) in norms.iter_mut().zip(squared_norms) {
            *norm = squared_norm.sqrt();
        }
        for (dots, found) in dots.iter_mut().zip(found) {
            *dots = found;
        }
    }
}

/// Checks the norms of a side's rows. A norm is finite if, and only if, its row is.
pub(crate) fn check_norms(side: Side, norms: &[f64]) -> Result<(), Error> {
    match norms.iter().position(|norm| !norm.is_finite()) {
        Some(row) => Err(Error::NotFinite { side, row }),
        None => Ok(()),
    }
}

/// `1 / norm`, and 0 for a zero row.
#[inline(always)]
pub(crate) fn inverse(norm: f64) -> f64 {
    if norm == 0.0 { 0.0 } else { 1.0 / norm }
}

/// The cosine similarity of two rows whose dot product and norms are known, before it is rounded to `f32`.
#[inline(always)]
pub(crate) fn cosine(dot: f64, x_norm: f64, y_norm: f64) -> f64 {
    let norms = x_norm * y_norm;
    if norms == 0.0 { 0.0 } else { dot / norms }
}

/// The mean similarity of a row of this norm with its negatives, before it is rounded to `f32`: all of `candidates`,
/// but for the positive if it is one of them, with similarity `positive`. `total` is the dot product with the sum of
/// all candidates.
#[inline(always)]
pub(crate) fn mean_negative(total: f64, norm: f64, positive: Option<f64>, candidates: usize) -> f64 {
    let negatives = candidates - usize::from(positive.is_some());
    if norm == 0.0 { 0.0 } else { (total / norm - positive.unwrap_or(0.0)) / negatives as f64 }
}

/// The cosine similarity of two rows whose norms are known, before it is rounded to `f32`.
#[inline(always)]
pub(crate) fn cosine_rows<S: Simd>(simd: S, x: &[f32], x_norm: f64, y: &[f32], y_norm: f64) -> f64 {
    cosine(dot_rows(simd, x, y), x_norm, y_norm)
}

/// A row with what its exact similarities need: one side of several pairs.
#[derive(Clone, Copy)]
pub(crate) struct ExactRow<'a> {
    pub(crate) row: &'a [f32],
    pub(crate) norm: f64,
    pub(crate) others: Rows<'a>,
    pub(crate) other_norms: &'a [f64],
}

impl ExactRow<'_> {
    /// The exact similarities with some of the other rows.
    #[inline(always)]
    pub(crate) fn cosines<S: Simd, const PAIRS: usize>(&self, simd: S, others: [usize; PAIRS]) -> [f32; PAIRS] {
        let dots = dots(simd, [self.row; PAIRS], others.map(|index| self.others.row(index)));
        let mut cosines = [0.0; PAIRS];
        for pair in 0..PAIRS {
            cosines[pair] = cosine(dots[pair], self.norm, self.other_norms[others[pair]]) as f32;
        }
        cosines
    }
}
