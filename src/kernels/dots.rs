//! Dot products and norms of rows, by the definition of similarity.

use super::lanes::{self, LANES, PaddedRows, passing_dots};
use crate::arch::{Backend, Simd, WithSimd};
use crate::rows::Rows;

/// The exact dot products of `x` with each of `others`, from 1 to 4 rows of its length, which hide each other's latency.
pub(crate) fn dots<const PAIRS: usize>(backend: Backend, x: &[f32], others: [&[f32]; PAIRS]) -> [f64; PAIRS] {
    const { assert!(matches!(PAIRS, 1 | 2 | 4), "every number of pairs is code of its own in every instruction set") }
    backend.run(Dots { x, others })
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
    backend.run(PairDots { x, y })
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

/// Computes the dot products of each of some rows with itself, with its partner, and with `sum`, a vector of `f64`.
pub(crate) fn anchor_dots(backend: Backend, rows: Rows<'_>, partners: &[&[f32]], sum: &[f64], dots: &mut [[f64; 3]]) {
    backend.run(AnchorDots { rows, partners, sum, dots });
}

struct AnchorDots<'a, 'b> {
    rows: Rows<'a>,
    partners: &'a [&'a [f32]],
    sum: &'a [f64],
    dots: &'b mut [[f64; 3]],
}

impl WithSimd for AnchorDots<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rows, partners, sum, dots } = self;
        for ((row, partner), dots) in rows.data().chunks_exact(rows.dim()).zip(partners).zip(dots) {
            *dots = lanes::anchor_dots(simd, row, partner, sum);
        }
    }
}

/// The dot product of a row with a vector of `f64`.
pub(crate) fn dot_sum(backend: Backend, x: &[f32], sum: &[f64]) -> f64 {
    backend.run(DotSum { x, sum })
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
    backend.run(Norms { rows, norms });
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

/// The norms of rows of `dim` elements that are in a cache, two at a time, which hide each other's latency.
#[inline(always)]
pub(super) fn norms_from_cache<S: Simd>(simd: S, rows: &[f32], dim: usize, norms: &mut [f64]) {
    for (rows, norms) in rows.chunks(2 * dim).zip(norms.chunks_mut(2)) {
        let (first, second) = rows.split_at(dim);
        let pair = [first, if norms.len() == 2 { second } else { first }];
        for (norm, squared_norm) in norms.iter_mut().zip(lanes::dots(simd, pair, pair)) {
            *norm = squared_norm.sqrt();
        }
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
