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
//!    `128 * 127 * dim + 127^2 * dim < 2^31` up to [`MAX_DIM`], without the 128 and with smaller bytes all the more. Where
//!    four products of bytes are added in 16 bits first, two of which saturate, candidates are up to 90, with 90 added up to
//!    180, and among the four integers of an anchor the positive ones add up to 182 at most, as do the magnitudes of the
//!    negative ones: `180 * 182 = 32760 < 2^15`, of either sign. For that the elements add up to 180 steps at most, as
//!    rounding adds up to a half to each. What fills up a row is 0 with the offset on one side and 0 on the other. The
//!    sum of 16-bit products is at most the product of the norms of both rows in steps, which are `46000`
//!    ([`LARGEST_NORM`]) at most, and half a step for each element by rounding: `(46000 + 1 + 91)^2 < 2^31`.
//!    A sum that leaves the range on the way comes back, as it wraps around.
//!
//! 3 needs a measured norm that is not too small. [`SLACK`](crate::kernels) sees to it (5), but for squares that underflow: each of up
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
//!    `dim / 4 + 4` roundings, `2^-10` up to [`MAX_DIM`], half as much after the root. They are increased by [`SLACK`](crate::kernels),
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
//!    that numbers pass 16, and covered by what [`SLACK`](crate::kernels) has to spare.

use super::center::Center;
use crate::kernels::{AnchorConstants, LARGEST_NORM, QuantizedRow};

/// The longest rows that are quantised: up to here, no final sum leaves the range of an `i32`, and the roundings of
/// `f32` sums along a row stay below `SLACK`.
pub(crate) const MAX_DIM: usize = 1 << 15;

/// About the residual of a row of norm 1 as 16-bit integers.
pub(super) fn int16_residual(dim: usize) -> f32 {
    (dim as f32 / 12.0).sqrt() / LARGEST_NORM
}

/// What a tile must know of an anchor of `dim` elements, which is multiplied with candidates that have `offset` added.
pub(super) fn anchor_constants(row: &QuantizedRow, dim: usize, center: Center<'_>, offset: i32) -> AnchorConstants {
    let norm = row.norm + row.residual;
    let slack = center.slack(dim, norm);
    AnchorConstants {
        start: (-offset * row.sum as i32).cast_unsigned(),
        quant_step: row.quant_step,
        norm,
        residual: row.residual,
        length: 2.0 * slack,
        shift: (f64::from(row.center_dot) + center.squared_norm()) as f32 + slack,
    }
}
