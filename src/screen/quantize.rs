//! Rows as integers: a center is removed, what is left is rounded to multiples of a scale, and what the rounding leaves
//! out is measured, row by row.
//!
//! # The bound
//!
//! Let u and v be the exact unit rows of an anchor and a candidate, a and b any two vectors (the [centers](Centers)),
//! and
//!
//! ```text
//! u - a = p + e      p = scale * integers, what the tile multiplies;  e what is left out
//! v - b = q + f
//! ```
//!
//! 1. *What is removed* comes back exactly: `u.v = (u - a).(v - b) + u.b + a.(v - b)`, of which the second is a number
//!    of the anchor (its shift: `(u - a).b + a.b`) and the third one of the candidate. Both are [`Code::cross`] but for
//!    a.b.
//! 2. *What is left out*: `(u - a).(v - b) - p.q = p.f + e.(v - b)`, so by Cauchy-Schwarz the error is at most
//!    `|p| |f| + |e| |v - b|`. All four norms are measured, so that this holds for any scale and any rounding, also of
//!    rows with one element that dwarfs the others; a good scale only makes it small.
//! 3. *The sum* of integer products is exact. No lane overflows: bytes reach `128 * 127 * dim + 127^2 * dim < 2^31` up
//!    to [`MAX_DIM`]; 16-bit integers `|p| |q| < (46000 * 513 / 512 + 91)^2 < 2^31` in the scales' units by
//!    Cauchy-Schwarz, and sums that leave the range on the way come back, as they wrap around. (Rows whose distance
//!    from the center is so small that its square is 0 may leave it for good. Their scale is below `1e-22`: whatever
//!    the sum, it is nothing.)
//!
//! The rest is roundings, with `g = 2^-24` (the relative error of one `f32` rounding). `|u| = 1`, and a center, a mean
//! of unit rows, has a norm of at most `1 + 64 g`; so `|u - a| < 2.01`.
//!
//! 4. *Elements.* `u_k` is two roundings off, as in [`float`](super::float), and `u_k - a_k` a third: together at most
//!    `2 g + 2.01 g` in norm. Where a multiply-add is two roundings, what is left out of it is another `2.01 g` off.
//!    The measured norms of e and u - a are increased by `8 g`.
//! 5. *Norms.* Sums of squares run along the row in four sums of `dim / 4` terms: their relative error is below
//!    `dim / 4 + 4` roundings, `2^-10` up to [`MAX_DIM`], half as much after the root. They are increased by [`SLACK`],
//!    `2^-9`.
//! 6. *Crosses.* Four sums of `dim / 4` products: `(dim / 4 + 8) g` times the norms of both factors, and `8 g` times
//!    the center's for the elements' own errors. This is what [`Centers::slack`] adds for both sides.
//! 7. *The tile's last steps.* The sum becomes an `f32`, is multiplied by two scales, and three products are added, of
//!    numbers that stay below 16: conversion and products are off by `3 g` of at most `4.1`, and three results by `8 g`
//!    each, or twice as much where products are rounded first. The shift and its difference with an exact similarity
//!    are off by another `8 g`, the subtraction of an interval's length by `8 g`, the exact similarity by `g`: 78 g at
//!    most, of the `96 g` in [`Centers::slack`]. (The end of the window above the positive takes two sums instead of the
//!    subtraction.) Roundings of the error terms themselves are relative to them, as are those of intervals so long
//!    that numbers pass 16, and covered by what [`SLACK`] has to spare.

use super::Level;
use super::ROUNDING;
use super::center::{Center, Centers};
use super::format::{AnchorConstants, Format, I8, I16, RawRows};
use super::pack::{MAX_LANES, Place, Square};
use crate::arch::{Backend, Kernel, Simd};
use crate::batch::Batch;

/// Integers of some size.
pub(crate) trait Integers: 'static {
    /// Integers in a word.
    const PER_WORD: usize;
    /// The largest integer.
    const LARGEST: f32;
    /// The largest norm that the integers of a row may have, but for their rounding.
    const LARGEST_NORM: f32;
    /// What is added to the integers of candidates.
    const CANDIDATE_OFFSET: f32;
    /// Adds the products of the words' integers to `sum`.
    fn dot<S: Simd>(simd: S, anchor: S::I32, candidates: S::I32, sum: S::I32) -> S::I32;
    /// Puts elements `4 * quad` and on, four of each row, in the low bits of four registers, where they belong.
    fn put<S: Simd>(simd: S, place: &mut Place<'_>, quad: usize, dim: usize, elements: [S::I32; 4]);
}

impl Integers for I16 {
    const PER_WORD: usize = 2;
    const LARGEST: f32 = 32767.0;
    // Two rows of this norm have a product below 2^31, also after their rounding.
    const LARGEST_NORM: f32 = 46000.0;
    const CANDIDATE_OFFSET: f32 = 0.0;

    #[inline(always)]
    fn dot<S: Simd>(simd: S, anchor: S::I32, candidates: S::I32, sum: S::I32) -> S::I32 {
        simd.dot_halves(sum, candidates, anchor)
    }

    #[inline(always)]
    fn put<S: Simd>(simd: S, place: &mut Place<'_>, quad: usize, dim: usize, [a, b, c, d]: [S::I32; 4]) {
        place.put(simd, 2 * quad, simd.join_halves(a, b));
        if 4 * quad + 2 < dim {
            place.put(simd, 2 * quad + 1, simd.join_halves(c, d));
        }
    }
}

impl Integers for I8 {
    const PER_WORD: usize = 4;
    const LARGEST: f32 = 127.0;
    const LARGEST_NORM: f32 = f32::INFINITY;
    const CANDIDATE_OFFSET: f32 = 128.0;

    #[inline(always)]
    fn dot<S: Simd>(simd: S, anchor: S::I32, candidates: S::I32, sum: S::I32) -> S::I32 {
        simd.dot_bytes(sum, candidates, anchor)
    }

    #[inline(always)]
    fn put<S: Simd>(simd: S, place: &mut Place<'_>, quad: usize, _dim: usize, [a, b, c, d]: [S::I32; 4]) {
        place.put(simd, quad, simd.join_halves(simd.join_bytes(a, b), simd.join_bytes(c, d)));
    }
}

/// The longest rows that are quantised: up to here, no final sum leaves the range of an `i32`, and the roundings of
/// `f32` sums along a row stay below `SLACK`.
pub(crate) const MAX_DIM: usize = 1 << 15;

/// By how much, relatively, a norm that was measured in `f32` may be too small.
const SLACK: f32 = 1.0 / 512.0;

/// Rows of a smaller scale are rounded to zero, so that the inverse of a scale is finite.
const SMALLEST_SCALE: f32 = 1e-30;

/// Adding this to a number below 2^22 rounds it to an integer, whose low bits are the low bits of the sum.
const MAGIC: f32 = (3 << 22) as f32;

/// Elements of the scratch that rows of `dim` elements need.
pub(crate) fn scratch_room(dim: usize) -> usize {
    dim.next_multiple_of(MAX_LANES) * MAX_LANES
}

/// About the residual of a row of norm 1 as 16-bit integers.
pub(crate) fn i16_error(dim: usize) -> f32 {
    (dim as f32 / 12.0).sqrt() / I16::LARGEST_NORM
}

/// The numbers of one row.
#[derive(Clone, Copy, Debug, Default)]
struct Code {
    /// The largest magnitude of the row without its center.
    largest: f32,
    /// What one unit stands for.
    scale: f32,
    /// The row without its center, times the other side's center.
    cross: f32,
    /// At least the norm of the row without its center.
    norm: f32,
    /// At least the norm of what the rounding left out.
    residual: f32,
    /// The sum of the integers.
    sum: f32,
}

/// Quantises anchors.
#[inline(always)]
pub(crate) fn anchors<S: Simd, I: Integers>(
    simd: S,
    rows: RawRows<'_>,
    centers: Centers<'_>,
    scratch: &mut [f32],
    mut place: Place<'_>,
) -> [AnchorConstants; MAX_LANES] {
    let mut codes = measure(simd, &Square::new(rows, 1.0), centers.of_anchors(), scratch);
    round::<S, I>(simd, rows.dim, 0.0, scratch, &mut place, &mut codes);
    let mut known = [AnchorConstants::default(); MAX_LANES];
    for (known, code) in known.iter_mut().zip(&codes) {
        let norm = code.norm + code.residual;
        let slack = centers.slack(rows.dim, norm);
        *known = AnchorConstants {
            start: ((-I::CANDIDATE_OFFSET * code.sum) as i32).cast_unsigned(),
            scale: code.scale,
            norm,
            residual: code.residual,
            length: 2.0 * slack,
            shift: (f64::from(code.cross) + centers.product) as f32 + slack,
        };
    }
    known
}

/// Quantises candidates.
#[inline(always)]
pub(crate) fn candidates<S: Simd, I: Integers>(
    simd: S,
    rows: RawRows<'_>,
    centers: Centers<'_>,
    scratch: &mut [f32],
    mut place: Place<'_>,
) {
    let mut codes = measure(simd, &Square::new(rows, 1.0), centers.of_candidates(), scratch);
    round::<S, I>(simd, rows.dim, I::CANDIDATE_OFFSET, scratch, &mut place, &mut codes);
    let mut constants = [[0.0; MAX_LANES]; 4];
    for (row, code) in codes.iter().enumerate() {
        for (constants, value) in constants.iter_mut().zip([code.scale, code.cross, code.residual, code.norm]) {
            constants[row] = value;
        }
    }
    for (constant, values) in constants.iter().enumerate() {
        place.put(simd, I::steps(rows.dim) + constant, simd.bits(simd.load(values)));
    }
}

/// Writes the rows without their center into `scratch`, `[k][row]`, and measures them.
#[inline(always)]
fn measure<S: Simd>(simd: S, square: &Square<'_>, center: Center<'_>, scratch: &mut [f32]) -> [Code; MAX_LANES] {
    let mut largest = simd.splat(0.0);
    let (mut squares, mut cross) = ([simd.splat(0.0); 4], [simd.splat(0.0); 4]);
    for start in (0..square.dim()).step_by(S::F32_LANES) {
        let columns = square.columns(simd, start);
        // By fours, as there are four sums of each kind: a constant number of them stays in registers.
        for quad in (0..S::F32_LANES).step_by(4) {
            let at = start + quad;
            let (own, other) = (&center.own[at..][..4], &center.other[at..][..4]);
            let scratch = &mut scratch[at * S::F32_LANES..][..4 * S::F32_LANES];
            for k in 0..4 {
                let element = simd.sub(columns[quad + k], simd.splat(own[k]));
                simd.store(element, &mut scratch[k * S::F32_LANES..]);
                largest = simd.max_abs(largest, element);
                squares[k] = simd.mul_add(element, element, squares[k]);
                cross[k] = simd.mul_add(element, simd.splat(other[k]), cross[k]);
            }
        }
    }
    let (largest, squares, cross) =
        (lanes(simd, largest), lanes(simd, sum(simd, squares)), lanes(simd, sum(simd, cross)));
    let mut codes = [Code::default(); MAX_LANES];
    for (row, code) in codes.iter_mut().enumerate() {
        let norm = squares[row].sqrt() * (1.0 + SLACK);
        *code = Code { largest: largest[row], cross: cross[row], norm, ..Code::default() };
    }
    codes
}

/// Rounds the rows in `scratch` and measures what is left of them.
#[inline(always)]
fn round<S: Simd, I: Integers>(
    simd: S,
    dim: usize,
    offset: f32,
    scratch: &[f32],
    place: &mut Place<'_>,
    codes: &mut [Code; MAX_LANES],
) {
    let [scales, inverses] = set_scales::<I>(codes);
    let (scale, inverse) = (simd.load(&scales), simd.load(&inverses));
    let (magic, unmagic) = (simd.splat(MAGIC + offset), simd.splat(-(MAGIC + offset)));
    let (mut residuals, mut sums) = ([simd.splat(0.0); 4], [simd.splat(0.0); 4]);
    let quads = scratch[..dim.next_multiple_of(4) * S::F32_LANES].chunks_exact(4 * S::F32_LANES);
    for (quad, elements) in quads.enumerate() {
        let mut rounded = [simd.bits(magic); 4];
        for k in 0..4 {
            let element = simd.load(&elements[k * S::F32_LANES..]);
            let magical = simd.mul_add(element, inverse, magic);
            let integer = simd.add(magical, unmagic);
            let residual = simd.neg_mul_add(integer, scale, element);
            residuals[k] = simd.mul_add(residual, residual, residuals[k]);
            sums[k] = simd.add(sums[k], integer);
            rounded[k] = simd.bits(magical);
        }
        I::put(simd, place, quad, dim, rounded);
    }
    let (residuals, sums) = (lanes(simd, sum(simd, residuals)), lanes(simd, sum(simd, sums)));
    for (row, code) in codes.iter_mut().enumerate() {
        code.residual = residuals[row].sqrt() * (1.0 + SLACK) + (8.0 * ROUNDING) as f32;
        code.norm += (8.0 * ROUNDING) as f32;
        code.sum = sums[row];
    }
}

/// Sets the scales with which rows fit into integers; returns them and their inverses.
#[inline(always)]
fn set_scales<I: Integers>(codes: &mut [Code; MAX_LANES]) -> [[f32; MAX_LANES]; 2] {
    let (mut scales, mut inverses) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
    for (row, code) in codes.iter_mut().enumerate() {
        code.scale = (code.largest / I::LARGEST).max(code.norm / I::LARGEST_NORM);
        scales[row] = code.scale;
        inverses[row] = if code.scale > SMALLEST_SCALE { 1.0 / code.scale } else { 0.0 };
    }
    [scales, inverses]
}

#[inline(always)]
fn sum<S: Simd>(simd: S, [a, b, c, d]: [S::F32; 4]) -> S::F32 {
    simd.add(simd.add(a, b), simd.add(c, d))
}

#[inline(always)]
fn lanes<S: Simd>(simd: S, values: S::F32) -> [f32; MAX_LANES] {
    let mut lanes = [0.0; MAX_LANES];
    simd.store(values, &mut lanes);
    lanes
}

/// The largest residual and the largest norm of the candidates' integers, rows 2 and 3 of the
/// [`CandidateConstants`](super::format::CandidateConstants) in `panels`.
pub(crate) fn largest_residual_and_norm(backend: Backend, level: Level, batch: Batch<'_>, panels: &[u32]) -> [f32; 2] {
    let (candidates, dim) = (batch.candidates(), batch.dim());
    match level {
        Level::I8 => backend.run(Largest { candidates, stride: I8::stride(dim), panels }),
        Level::I16 => backend.run(Largest { candidates, stride: I16::stride(dim), panels }),
        Level::F32 => [0.0; 2],
    }
}

struct Largest<'a> {
    candidates: usize,
    stride: usize,
    panels: &'a [u32],
}

impl Kernel for Largest<'_> {
    type Output = [f32; 2];
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> [f32; 2] {
        let padded = self.candidates.next_multiple_of(S::F32_LANES);
        let mut largest = [0.0_f32; 2];
        for panel in self.panels[..padded * self.stride].chunks(S::TILE_REGISTERS * S::F32_LANES * self.stride) {
            let width = panel.len() / self.stride;
            let constants = panel[panel.len() - 2 * width..].chunks_exact(width);
            for (largest, constants) in largest.iter_mut().zip(constants) {
                for &bits in constants {
                    *largest = largest.max(f32::from_bits(bits));
                }
            }
        }
        largest
    }
}
