//! Dot products and norms of rows, by the definition of similarity.

use super::exact_tile::cosine;
use super::lanes::{self, LANES, PaddedRows, TOGETHER, fold_together, passing_dots};
use crate::arch::{Backend, Simd, WithSimd};
use crate::rows::Rows;

/// The exact dot products of `x` with each of `others`, from 1 to 4 rows of its length, which hide each other's latency.
pub(crate) fn dots<const PAIRS: usize>(backend: Backend, x: &[f32], others: [&[f32]; PAIRS]) -> [f64; PAIRS] {
    const { assert!(matches!(PAIRS, 1 | 2 | 4), "every number of pairs is code of its own in every instruction set") }
    backend.run_widening(Dots { x, others })
}

struct Dots<'a, const PAIRS: usize> {
    x: &'a [f32],
    others: [&'a [f32]; PAIRS],
}

impl<const PAIRS: usize> WithSimd for Dots<'_, PAIRS> {
    type Output = [f64; PAIRS];
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f64; PAIRS] {
        lanes::dots(simd, [self.x; PAIRS], self.others)
    }
}

/// The norm of a row: the root of its exact dot product with itself. Not finite if, and only if, an element is not.
pub(crate) fn norm(backend: Backend, x: &[f32]) -> f64 {
    let [squared_norm] = dots(backend, x, [x]);
    squared_norm.sqrt()
}

/// The exact dot products of a pair: `x.x`, `x.y` and `y.y`.
pub(crate) fn pair_dots(backend: Backend, x: &[f32], y: &[f32]) -> [f64; 3] {
    backend.run_widening(PairDots { x, y })
}

struct PairDots<'a> {
    x: &'a [f32],
    y: &'a [f32],
}

impl WithSimd for PairDots<'_> {
    type Output = [f64; 3];
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f64; 3] {
        let Self { x, y } = self;
        lanes::dots(simd, [x, x, y], [x, y, y])
    }
}

/// The most rows that [`measure_group`] takes.
pub(crate) const MOST_MEASURED: usize = TOGETHER;

/// Up to [`MOST_MEASURED`] rows, each with a partner, and the sum of all rows of the other side.
#[derive(Clone, Copy)]
pub(crate) struct RowGroup<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) partners: [&'a [f32]; MOST_MEASURED],
    pub(crate) partner_norms: [f64; MOST_MEASURED],
    /// The sum of `count` rows, each scaled to norm 1.
    pub(crate) sum: &'a [f64],
    pub(crate) count: usize,
    /// Whether the partners are among these rows.
    pub(crate) among: bool,
}

/// What is known of each row of a [`RowGroup`], and anything beyond the last one.
#[derive(Clone, Copy)]
pub(crate) struct GroupMeasures {
    pub(crate) norms: [f64; MOST_MEASURED],
    /// The similarities with the partners, before they are rounded to `f32`.
    pub(crate) cosines: [f64; MOST_MEASURED],
    /// The mean similarities with the rows of the sum but for the partner, as [`mean_negative`] has them.
    pub(crate) means: [f64; MOST_MEASURED],
}

/// Measures the rows of a group together: from the squares of a row to its mean similarity one operation waits for the
/// other, a root and two divisions among them, and those of eight rows take no longer than those of one.
pub(crate) fn measure_group(backend: Backend, group: &RowGroup<'_>) -> GroupMeasures {
    backend.run_widening(MeasureGroup { group })
}

struct MeasureGroup<'a, 'b> {
    group: &'b RowGroup<'a>,
}

impl WithSimd for MeasureGroup<'_, '_> {
    type Output = GroupMeasures;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> GroupMeasures {
        let RowGroup { rows, partners, partner_norms, sum, count, among } = self.group;
        let (dim, measured) = (rows.dim(), rows.count());
        let mut products = [[simd.splat64(0.0); TOGETHER]; 3];
        for row in 0..measured.min(TOGETHER) {
            let of_row = lanes::anchor_dots(simd, &rows.data()[row * dim..][..dim], partners[row], sum);
            for (products, product) in products.iter_mut().zip(of_row) {
                products[row] = product;
            }
        }
        let [squared_norms, dots, totals] = &products;
        let norms = roots(fold_together(simd, squared_norms, measured));
        let (dots, totals) = (fold_together(simd, dots, measured), fold_together(simd, totals, measured));
        let (mut cosines, mut means) = ([0.0; TOGETHER], [0.0; TOGETHER]);
        for row in 0..TOGETHER {
            cosines[row] = cosine(dots[row], norms[row], partner_norms[row]);
        }
        for row in 0..TOGETHER {
            means[row] = mean_negative(totals[row], norms[row], among.then_some(cosines[row]), *count);
        }
        GroupMeasures { norms, cosines, means }
    }
}

/// The mean similarity of a row of this norm with its negatives, before it is rounded to `f32`: all of `candidates`,
/// but for the positive if it is one of them, with similarity `positive`. `total` is the dot product with the sum of
/// all candidates.
#[inline(always)]
pub(crate) fn mean_negative(total: f64, norm: f64, positive: Option<f64>, candidates: usize) -> f64 {
    let negatives = candidates - usize::from(positive.is_some());
    // Divided before the norm is looked at: that is a choice between two numbers, not a branch.
    let mean = (total / norm - positive.unwrap_or(0.0)) / negatives as f64;
    if norm == 0.0 { 0.0 } else { mean }
}

/// The root of each number.
#[inline(always)]
pub(super) fn roots(mut numbers: [f64; TOGETHER]) -> [f64; TOGETHER] {
    for number in &mut numbers {
        *number = number.sqrt();
    }
    numbers
}

/// The dot product of a row with a vector of `f64`.
pub(crate) fn dot_sum(backend: Backend, x: &[f32], sum: &[f64]) -> f64 {
    backend.run_widening(DotSum { x, sum })
}

struct DotSum<'a> {
    x: &'a [f32],
    sum: &'a [f64],
}

impl WithSimd for DotSum<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        lanes::dot_sum(simd, self.x, self.sum)
    }
}

/// The dot product of a row with another one times `scale`: [`dot_sum`] with a vector that is that row alone.
pub(crate) fn dot_scaled(backend: Backend, x: &[f32], y: &[f32], scale: f64) -> f64 {
    backend.run(DotScaled { x, y, scale })
}

struct DotScaled<'a> {
    x: &'a [f32],
    y: &'a [f32],
    scale: f64,
}

impl WithSimd for DotScaled<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        lanes::dot_scaled(simd, self.x, self.y, self.scale)
    }
}

/// The sum of the elements of a row, in the lanes of a dot product.
pub(crate) fn sum_values(backend: Backend, x: &[f32]) -> f64 {
    backend.run(SumValues(x))
}

struct SumValues<'a>(&'a [f32]);

impl WithSimd for SumValues<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        lanes::sum_values(simd, self.0)
    }
}

/// Computes the norms of rows that come from memory.
pub(crate) fn norms(backend: Backend, rows: Rows<'_>, norms: &mut [f64]) {
    backend.run_widening(Norms { rows, norms });
}

struct Norms<'a, 'b> {
    rows: Rows<'a>,
    norms: &'b mut [f64],
}

impl WithSimd for Norms<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        norms_from_memory(simd, self.rows, self.norms);
    }
}

/// The norms of rows of `dim` elements that are in a cache: the squares of two rows at a time, which hide each other's
/// latency, and the roots of as many as are folded together.
#[inline(always)]
pub(super) fn norms_from_cache<S: Simd>(simd: S, rows: &[f32], dim: usize, norms: &mut [f64]) {
    for (group, norms) in norms.chunks_mut(TOGETHER).enumerate() {
        let (rows, count) = (&rows[group * TOGETHER * dim..][..norms.len() * dim], norms.len());
        let mut sums = [simd.splat64(0.0); TOGETHER];
        for row in (0..count).step_by(2) {
            // The last of an odd number stands for two.
            let second = (row + 1).min(count - 1);
            let pair = [&rows[row * dim..][..dim], &rows[second * dim..][..dim]];
            [sums[row], sums[row + 1]] = lanes::dots_in_registers(simd, pair, pair);
        }
        norms.copy_from_slice(&roots(fold_together(simd, &sums, count))[..count]);
    }
}

/// The norms of rows that come from memory.
#[inline(always)]
pub(super) fn norms_from_memory<S: Simd>(simd: S, rows: Rows<'_>, norms: &mut [f64]) {
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
pub(super) fn dots_from_memory<S: Simd>(
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
