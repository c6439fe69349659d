//! Rows as integers: a center is removed, what is left is rounded to multiples of a scale, and what the rounding leaves
//! out is measured, row by row.

use super::ROUNDING;
use super::center::{Center, Centers};
use super::format::{Format, I8, I16, RawRows, Row};
use super::pack::{MAX_LANES, Place, Square};
use crate::arch::Simd;

/// A format of integers.
pub(crate) trait Integers: Format {
    /// The largest integer.
    const LARGEST: f32;
    /// The largest norm that the integers of a row may have, but for their rounding.
    const LARGEST_NORM: f32;
    /// What is added to the integers of candidates.
    const CANDIDATE_OFFSET: f32;
    /// Joins the low bits of `PER_WORD` registers.
    fn join<S: Simd>(simd: S, codes: [S::I32; 4]) -> S::I32;
}

impl Integers for I16 {
    const LARGEST: f32 = 32767.0;
    // Two rows of this norm have a product below 2^31, also after their rounding.
    const LARGEST_NORM: f32 = 46000.0;
    const CANDIDATE_OFFSET: f32 = 0.0;

    #[inline(always)]
    fn join<S: Simd>(simd: S, [a, b, ..]: [S::I32; 4]) -> S::I32 {
        simd.join_halves(a, b)
    }
}

impl Integers for I8 {
    const LARGEST: f32 = 127.0;
    const LARGEST_NORM: f32 = f32::INFINITY;
    const CANDIDATE_OFFSET: f32 = 128.0;

    #[inline(always)]
    fn join<S: Simd>(simd: S, [a, b, c, d]: [S::I32; 4]) -> S::I32 {
        simd.join_halves(simd.join_bytes(a, b), simd.join_bytes(c, d))
    }
}

/// The longest rows that are quantised: up to here, no sum leaves the range of an `i32`, and the roundings of `f32` sums
/// along a row stay below `SLACK`.
pub(crate) const MAX_DIM: usize = 1 << 15;

/// By how much, relatively, a norm that was measured in `f32` may be too small.
const SLACK: f32 = 1.0 / 512.0;

/// Rows of a smaller scale are rounded to zero, so that the inverse of a scale is finite.
const SMALLEST_SCALE: f32 = 1e-30;

/// Adding this to a number below 2^22 rounds it to an integer, whose low bits are the low bits of the sum.
const MAGIC: f32 = (3 << 22) as f32;

/// Elements of the scratch that rows of `dim` elements need.
pub(crate) fn scratch(dim: usize) -> usize {
    dim.next_multiple_of(MAX_LANES) * MAX_LANES
}

/// About the residual of a row of norm 1 as 16-bit integers.
pub(crate) fn words_error(dim: usize) -> f32 {
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
pub(crate) fn anchors<S: Simd, F: Integers>(
    simd: S,
    rows: RawRows<'_>,
    centers: Centers<'_>,
    scratch: &mut [f32],
    mut place: Place<'_>,
) -> [Row; MAX_LANES] {
    let mut codes = measure(simd, &Square::new(rows, 1.0), centers.of_anchors(), scratch);
    round::<S, F>(simd, rows.dim, 0.0, scratch, &mut place, &mut codes);
    let mut known = [Row::default(); MAX_LANES];
    for (known, code) in known.iter_mut().zip(&codes) {
        let norm = code.norm + code.residual;
        let slack = centers.slack(rows.dim, norm);
        *known = Row {
            start: ((-F::CANDIDATE_OFFSET * code.sum) as i32).cast_unsigned(),
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
pub(crate) fn candidates<S: Simd, F: Integers>(
    simd: S,
    rows: RawRows<'_>,
    centers: Centers<'_>,
    scratch: &mut [f32],
    mut place: Place<'_>,
) {
    let mut codes = measure(simd, &Square::new(rows, 1.0), centers.of_candidates(), scratch);
    round::<S, F>(simd, rows.dim, F::CANDIDATE_OFFSET, scratch, &mut place, &mut codes);
    let mut constants = [[0.0; MAX_LANES]; 4];
    for (row, code) in codes.iter().enumerate() {
        for (constants, value) in constants.iter_mut().zip([code.scale, code.cross, code.residual, code.norm]) {
            constants[row] = value;
        }
    }
    for (constant, values) in constants.iter().enumerate() {
        place.put(simd, F::steps(rows.dim) + constant, simd.bits(simd.load(values)));
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
fn round<S: Simd, F: Integers>(
    simd: S,
    dim: usize,
    offset: f32,
    scratch: &[f32],
    place: &mut Place<'_>,
    codes: &mut [Code; MAX_LANES],
) {
    let (mut scales, mut inverses) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
    for (row, code) in codes.iter_mut().enumerate() {
        code.scale = (code.largest / F::LARGEST).max(code.norm / F::LARGEST_NORM);
        scales[row] = code.scale;
        inverses[row] = if code.scale > SMALLEST_SCALE { 1.0 / code.scale } else { 0.0 };
    }
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
        if F::PER_WORD == 4 {
            place.put(simd, quad, F::join(simd, rounded));
        } else {
            let [a, b, c, d] = rounded;
            place.put(simd, 2 * quad, F::join(simd, [a, b, a, b]));
            if 4 * quad + 2 < dim {
                place.put(simd, 2 * quad + 1, F::join(simd, [c, d, c, d]));
            }
        }
    }
    let (residuals, sums) = (lanes(simd, sum(simd, residuals)), lanes(simd, sum(simd, sums)));
    for (row, code) in codes.iter_mut().enumerate() {
        code.residual = residuals[row].sqrt() * (1.0 + SLACK) + (8.0 * ROUNDING) as f32;
        code.norm += (8.0 * ROUNDING) as f32;
        code.sum = sums[row];
    }
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
