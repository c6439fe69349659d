//! The screen in `f32`: how rows are prepared, and how far off its sums may be.

use super::rounding::{ANYTHING, ROUNDING};

/// What a similarity of 1 is in the units of the intervals.
pub(super) const UNIT: f32 = (SHRINK * SHRINK) as f32;

/// The norm of the screen's rows: a little below 1, so that no partial sum of a dot product exceeds 1 in rows of up to
/// [`LAST_BELOW_ONE`] elements.
///
/// Below 1 a rounding to `f32` is off by at most `2^-25`, above it by twice as much. Shrinking the rows halves the
/// bound.
pub(super) const SHRINK: f64 = 1.0 - 1.0 / (1 << 10) as f64;

/// The longest rows of which no partial sum exceeds 1.
pub(super) const LAST_BELOW_ONE: usize = 1 << 13;

/// Rows from this length on are not screened.
const TOO_LONG: usize = 1 << 22;

// Step 2 of the bound, in numbers: the product of two rows of the screen, with their roundings, those of products and
// those of partial sums.
const _: () = {
    let product = SHRINK * SHRINK * (1.0 + 5.0 * ROUNDING);
    assert!(product + ROUNDING + LAST_BELOW_ONE as f64 / 2.0 * ROUNDING < 1.0);
    assert!(product + ROUNDING + TOO_LONG as f64 * ROUNDING < 2.0);
};

/// The roundings of a similarity beside those of its sum, by the steps of [`bound`].
const ROUNDINGS: f64 = {
    let (normalisation, products, exact_side, window) = (4.0, 1.0, 1.0, 3.0);
    // The small terms, those that stand in the proof as t, as dots and as errors in `f64`, and the rounding of the
    // bound.
    let spare = 3.0;
    normalisation + products + exact_side + window + spare
};

/// The largest `|s - cosine|` over all pairs of rows of `dim` elements whose norms are so far from 0 and from infinity that
/// no product matters that is not in range, where s is the dot product of the rows as they are, in `f32` in four lanes or
/// more, times the inverse norms.
///
/// With `g = 2^-24` as in [`bound`], x and y the rows:
///
/// 1. *The sum.* An element is added in a lane after at most `(dim + 15) / 4` others, as rows are filled up to blocks of 16
///    with zeros, and lanes are added up in twos: each product takes part in at most `t = dim / 4 + 4 + log2(16)` additions,
///    and in a rounding of its own on the portable backend. Each changes what it takes part in by a factor of at most `1 + g`.
///    So the sum is off by at most `((1 + g)^(t + 1) - 1) sum |x_k y_k|`, and `sum |x_k y_k| <= |x| |y|` by Cauchy-Schwarz.
///    Products and sums that underflow add at most `dim 2^-149`, which is below `g / 1000` times the product of two norms of
///    `1e-12` each, the least that are screened.
/// 2. *Scaling.* Two inverse norms and two products, each rounded once: `4 g`.
/// 3. *The exact side and the window*, as in [`bound`]: `g` and a little, and `3 g`.
///
/// The sum of these is below `(dim / 4 + 20) g`, with the squares of small terms in what is left over: rows are at most
/// [`LAST_BELOW_ONE`] long, where `t g` is `2^-13`, and half of its square an eighth of `g`.
pub(crate) fn row_bound(dim: usize) -> f32 {
    let in_sum = dim as f64 / 4.0;
    if dim <= LAST_BELOW_ONE { ((in_sum + 20.0) * ROUNDING) as f32 } else { ANYTHING }
}

/// The largest `|sum - SHRINK^2 * cosine|` over all pairs of rows of `dim` elements, whatever they hold.
///
/// With `g = 2^-24` (the relative error of one `f32` rounding), `u` and `v` the exact unit rows of a pair times
/// [`SHRINK`], `u'` and `v'` the screen's copies, and `S` the real number `sum u_k v_k`, which is at most `SHRINK^2`:
///
/// 1. *Normalisation.* `u'_k` is `a_k` times a power of two, times a factor that was rounded to `f32`, rounded to
///    `f32`: two roundings, so `|u'_k - u_k| <= (2 g + g^2 + t) |u_k|`, where t stands for errors of `f64` sums and
///    quotients: below `g / 2000`, by step 3. Underflow of an element, before or after the last factor, adds at most
///    `2^-117`. By Cauchy-Schwarz, and as `|u|` and `|v|` are below 1, `|sum u'_k v'_k - S| <= 4 g + 2 t + 8 g^2 + ..`
/// 2. *The sum.* A lane adds up `dim` products one after the other. There is no reduction across lanes: a lane is a
///    pair. By Cauchy-Schwarz once more, every exact partial sum is at most `|u'| |v'| <= SHRINK^2 (1 + 5 g)`. If each
///    addition so far was off by at most `g / 2`, then for `dim <= 2^13` the computed partial sums stay below
///    `SHRINK^2 (1 + 5 g) + g + 2^12 g < 1`, where a rounding is off by at most `g / 2`: so by induction the sum is off
///    by at most `dim g / 2`. The `g` alone is that of the portable backend, where products may be rounded before they
///    are added, each by at most `g |u'_k v'_k|`, in total by `g`. For longer rows the partial sums may pass 1 (but not
///    2, up to `2^22`): `dim g`.
/// 3. *The exact side.* `cosine` differs from the real cosine by its rounding to `f32`, at most `g`, and by errors in
///    `f64`. A lane of the dot product sums `dim / 16` terms, and four more additions fold the lanes: below
///    `(2^18 + 4) 2^-53` of the product of the norms for `dim < 2^22`, a little above `g / 2048`. Each norm is off by
///    half as much, relatively, as it is a root. With the last few operations all of it is below `g / 1000`, barely: it
///    is part of the small terms that are left over below.
/// 4. *The window.* Its ends are made of one product and at most two sums or differences in `f32` of numbers below 2,
///    each rounded by at most `g`: three `g`.
///
/// Together `dim g / 2` and the roundings of [`ROUNDINGS`]. Rows of [`TOO_LONG`] elements or more get a bound that
/// rules out nothing.
pub(crate) fn bound(dim: usize) -> f32 {
    let in_sum = if dim <= LAST_BELOW_ONE { dim as f64 / 2.0 } else { dim as f64 };
    if dim < TOO_LONG { ((in_sum + ROUNDINGS) * ROUNDING) as f32 } else { ANYTHING }
}
