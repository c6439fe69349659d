//! Rows as integers: the center is removed, what is left is rounded to multiples of a step, and what the rounding
//! leaves out is measured, row by row.
//!
//! # The bound
//!
//! Let u and v be the exact unit rows of an anchor and a candidate, b any vector (the [center](Center)), and
//!
//! ```text
//! u - b = p + e      p = step * integers, what the tile multiplies;  e what is left out
//! v - b = q + f
//! ```
//!
//! 1. *What is removed* comes back exactly: `u.v = (u - b).(v - b) + (u - b).b + b.b + b.(v - b)`, of which the second
//!    and the third are a number of the anchor (its shift) and the last one of the candidate. Both are
//!    [`QuantizedRow::center_dot`] but for b.b. Nothing of the candidate depends on the anchors.
//! 2. *What is left out*: `(u - b).(v - b) - p.q = p.f + e.(v - b)`, so by Cauchy-Schwarz the error is at most
//!    `|p| |f| + |e| |v - b|`. All four norms are measured, so that this holds for any step and any rounding, also of
//!    rows with one element that dwarfs the others; a good step only makes it small.
//! 3. *The sum* of integer products is exact. Sums of bytes stay in the range of an `i32`, on the way and at the end:
//!    `128 * 127 * dim + 127^2 * dim < 2^31` up to [`MAX_DIM`], without the 128 all the more. The sum of 16-bit
//!    products is at most the product of the norms of both rows in steps, which are `46000`
//!    ([`Integers::LARGEST_NORM`]) at most, and half a step for each element by rounding: `(46000 + 1 + 91)^2 < 2^31`.
//!    A sum that leaves the range on the way comes back, as it wraps around.
//!
//! 3 needs a measured norm that is not too small. [`SLACK`] sees to it (5), but for squares that underflow: each of up
//! to `dim` roundings loses at most `2^-150` more, so that a norm may still be too small if it is below `sqrt(dim)
//! 2^-70 < 2^-62`. What 2 says of such a row holds all the same, as far more than that is added by 4. Its 16-bit sums
//! may leave the range for good, but its step is below `2^-76` then, and that of the other row below `2^-13`: what the
//! screen makes of an `i32` is at most `2^31 2^-76 2^-13 = 2^-58`, and the product `p.q` in whose place it stands is
//! below `2^-60`. Both are nothing beside the `g` of the roundings.
//!
//! The rest is roundings, with `g = 2^-24` (the relative error of one `f32` rounding). `|u| = 1`, and a center, a mean
//! of unit rows, has a norm of at most `1 + 64 g`; so `|u - b| < 2.01`.
//!
//! 4. *Elements.* `u_k` is two roundings off, as in [`float`](super::float), and `u_k - b_k` a third: together at most
//!    `2 g + 2.01 g` in norm. Where a multiply-add is two roundings, what is left out of it is another `2.01 g` off.
//!    The measured norms of e and u - b are increased by `8 g`.
//! 5. *Norms.* Sums of squares run along the row in four sums of `dim / 4` terms: their relative error is below
//!    `dim / 4 + 4` roundings, `2^-10` up to [`MAX_DIM`], half as much after the root. They are increased by [`SLACK`],
//!    `2^-9`.
//! 6. *Products with the center.* Four sums of `dim / 4` products: `(dim / 4 + 8) g` times the norms of both factors,
//!    and `8 g` times the center's for the elements' own errors. Both sides have such a product, with the same center.
//!    [`Center::slack`] adds what the two may be off by: `|u - b|` is measured, `|v - b|` is at most `1 + |b|`.
//! 7. *The tile's last steps.* The sum becomes an `f32`, is multiplied by two steps, and three products are added, of
//!    numbers that stay below 16: conversion and products are off by `3 g` of at most `4.1`, and three results by `8 g`
//!    each, or twice as much where products are rounded first. The shift and its difference with an exact similarity
//!    are off by another `8 g`, the subtraction of an interval's length by `8 g`, the exact similarity by `g`: 78 g at
//!    most, of the `96 g` in [`Center::slack`]. (The end of the window above the positive takes two sums instead of the
//!    subtraction.) Roundings of the error terms themselves are relative to them, as are those of intervals so long
//!    that numbers pass 16, and covered by what [`SLACK`] has to spare.

use super::center::Center;
use super::format::AnchorConstants;
use super::pack::{MAX_LANES, PanelWriter, RawRows, RowGroup};
use super::precision::Precision;
use super::rounding::ROUNDING;
use crate::arch::Simd;

/// Integers of some size.
pub(super) trait Integers: 'static {
    const PRECISION: Precision;
    /// Integers in a word.
    const PER_WORD: usize;
    /// The largest integer.
    const LARGEST: f32;
    /// The largest norm that the integers of a row may have, but for their rounding.
    const LARGEST_NORM: f32;
    /// What is added to the integers of candidates.
    fn candidate_offset<S: Simd>() -> f32;
    /// Adds the products of the integers in a word of an anchor and in words of candidates to `sum`.
    fn dot<S: Simd>(simd: S, anchor: u32, candidates: S::I32, sum: S::I32) -> S::I32;
    /// Writes elements `4 * quad` and on, four of each row, from the low bits of four registers.
    fn write<S: Simd>(simd: S, writer: &mut PanelWriter<'_>, quad: usize, dim: usize, elements: [S::I32; 4]);
}

/// The longest rows that are quantised: up to here, no final sum leaves the range of an `i32`, and the roundings of
/// `f32` sums along a row stay below `SLACK`.
pub(crate) const MAX_DIM: usize = 1 << 15;

/// By how much, relatively, a norm that was measured in `f32` may be too small.
pub(super) const SLACK: f32 = 1.0 / 512.0;

/// Rows of a smaller step are rounded to zero, so that the inverse of a step is finite.
const SMALLEST_STEP: f32 = 1e-30;

/// Adding this to a number below 2^22 rounds it to an integer, whose low bits are the low bits of the sum.
const MAGIC: f32 = (3 << 22) as f32;

/// Elements of the scratch that rows of `dim` elements need.
pub(crate) fn scratch_len(dim: usize) -> usize {
    dim.next_multiple_of(MAX_LANES) * MAX_LANES
}

/// What is measured of one row.
#[derive(Clone, Copy, Debug, Default)]
struct QuantizedRow {
    /// The largest magnitude of the row without the center.
    largest: f32,
    /// What one unit stands for.
    quant_step: f32,
    /// The row without the center, times the center.
    center_dot: f32,
    /// At least the norm of the row without the center.
    norm: f32,
    /// At least the norm of what the rounding left out.
    residual: f32,
    /// The sum of the integers.
    sum: f32,
}

/// Rounds up to a register's worth of anchors, writes their integers, and returns what a tile must know of each.
#[inline(always)]
pub(super) fn anchors<S: Simd, I: Integers>(
    simd: S,
    rows: RawRows<'_>,
    center: Center<'_>,
    scratch: &mut [f32],
    mut writer: PanelWriter<'_>,
) -> [AnchorConstants; MAX_LANES] {
    let mut measured = measure(simd, &RowGroup::new(rows, 1.0), center, scratch);
    round::<S, I>(simd, rows.dim, 0.0, scratch, &mut writer, &mut measured);
    let mut known = [AnchorConstants::default(); MAX_LANES];
    for (known, row) in known.iter_mut().zip(&measured) {
        let norm = row.norm + row.residual;
        let slack = center.slack(rows.dim, norm);
        *known = AnchorConstants {
            start: ((-I::candidate_offset::<S>() * row.sum) as i32).cast_unsigned(),
            quant_step: row.quant_step,
            norm,
            residual: row.residual,
            length: 2.0 * slack,
            shift: (f64::from(row.center_dot) + center.squared_norm()) as f32 + slack,
        };
    }
    known
}

/// Rounds up to a register's worth of candidates, and writes their integers and constants.
#[inline(always)]
pub(super) fn candidates<S: Simd, I: Integers>(
    simd: S,
    rows: RawRows<'_>,
    center: Center<'_>,
    scratch: &mut [f32],
    mut writer: PanelWriter<'_>,
) {
    let mut measured = measure(simd, &RowGroup::new(rows, 1.0), center, scratch);
    round::<S, I>(simd, rows.dim, I::candidate_offset::<S>(), scratch, &mut writer, &mut measured);
    let mut constants = [[0.0; MAX_LANES]; 4];
    for (lane, row) in measured.iter().enumerate() {
        for (constants, value) in constants.iter_mut().zip([row.quant_step, row.center_dot, row.residual, row.norm]) {
            constants[lane] = value;
        }
    }
    for (constant, values) in constants.iter().enumerate() {
        writer.write(simd, rows.dim.div_ceil(I::PER_WORD) + constant, simd.bits(simd.load(values)));
    }
}

/// Writes the rows without the center into `scratch`, `[k][row]`, and measures them.
#[inline(always)]
fn measure<S: Simd>(
    simd: S,
    group: &RowGroup<'_>,
    center: Center<'_>,
    scratch: &mut [f32],
) -> [QuantizedRow; MAX_LANES] {
    let mut largest = simd.splat(0.0);
    let (mut squared_norms, mut center_dots) = ([simd.splat(0.0); 4], [simd.splat(0.0); 4]);
    let mut quads = scratch.chunks_exact_mut(4 * S::F32_LANES).zip(center.values().as_chunks::<4>().0);
    for start in (0..group.dim()).step_by(S::F32_LANES) {
        group.prefetch(simd, start);
        let columns = group.columns(simd, start);
        // By fours, as there are four sums of each kind: a constant number of them stays in registers.
        let columns = columns[..S::F32_LANES].as_chunks::<4>().0;
        for (columns, (scratch, center)) in columns.iter().zip(&mut quads) {
            for k in 0..4 {
                let center = simd.splat(center[k]);
                let element = simd.sub(columns[k], center);
                simd.store(element, &mut scratch[k * S::F32_LANES..]);
                largest = simd.max_abs(largest, element);
                squared_norms[k] = simd.mul_add(element, element, squared_norms[k]);
                center_dots[k] = simd.mul_add(element, center, center_dots[k]);
            }
        }
    }
    let (largest, squared_norms, center_dots) =
        (lanes(simd, largest), lanes(simd, sum(simd, squared_norms)), lanes(simd, sum(simd, center_dots)));
    let mut measured = [QuantizedRow::default(); MAX_LANES];
    for (lane, row) in measured.iter_mut().enumerate() {
        let norm = squared_norms[lane].sqrt() * (1.0 + SLACK);
        *row = QuantizedRow { largest: largest[lane], center_dot: center_dots[lane], norm, ..QuantizedRow::default() };
    }
    measured
}

/// Rounds the rows in `scratch` and measures what is left of them.
#[inline(always)]
fn round<S: Simd, I: Integers>(
    simd: S,
    dim: usize,
    offset: f32,
    scratch: &[f32],
    writer: &mut PanelWriter<'_>,
    measured: &mut [QuantizedRow; MAX_LANES],
) {
    let [steps, inverses] = set_steps::<I>(measured);
    let (step, inverse) = (simd.load(&steps), simd.load(&inverses));
    let (magic, unmagic) = (simd.splat(MAGIC + offset), simd.splat(-(MAGIC + offset)));
    let (mut residuals, mut sums) = ([simd.splat(0.0); 4], [simd.splat(0.0); 4]);
    let quads = scratch[..dim.next_multiple_of(4) * S::F32_LANES].chunks_exact(4 * S::F32_LANES);
    for (quad, elements) in quads.enumerate() {
        let mut rounded = [simd.bits(magic); 4];
        for k in 0..4 {
            let element = simd.load(&elements[k * S::F32_LANES..]);
            let magical = simd.mul_add(element, inverse, magic);
            let integer = simd.add(magical, unmagic);
            let residual = simd.neg_mul_add(integer, step, element);
            residuals[k] = simd.mul_add(residual, residual, residuals[k]);
            sums[k] = simd.add(sums[k], integer);
            rounded[k] = simd.bits(magical);
        }
        I::write(simd, writer, quad, dim, rounded);
    }
    let (residuals, sums) = (lanes(simd, sum(simd, residuals)), lanes(simd, sum(simd, sums)));
    for (lane, row) in measured.iter_mut().enumerate() {
        row.residual = residuals[lane].sqrt() * (1.0 + SLACK) + (8.0 * ROUNDING) as f32;
        row.norm += (8.0 * ROUNDING) as f32;
        row.sum = sums[lane];
    }
}

/// Sets the steps with which rows fit into integers; returns them and their inverses.
#[inline(always)]
fn set_steps<I: Integers>(measured: &mut [QuantizedRow; MAX_LANES]) -> [[f32; MAX_LANES]; 2] {
    let (mut steps, mut inverses) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
    for (lane, row) in measured.iter_mut().enumerate() {
        row.quant_step = (row.largest / I::LARGEST).max(row.norm / I::LARGEST_NORM);
        steps[lane] = row.quant_step;
        inverses[lane] = if row.quant_step > SMALLEST_STEP { 1.0 / row.quant_step } else { 0.0 };
    }
    [steps, inverses]
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
