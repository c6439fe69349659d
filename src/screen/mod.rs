//! Screens: how most pairs are ruled out without being computed exactly.
//!
//! # The idea
//!
//! The answer is defined by the exact similarity: `f64` sums in a fixed order. Computing it for every pair would cost
//! several times as much as a matrix product in `f32`. But of a row's n similarities only one matters, the closest
//! negative, and an approximation tells where it can be. So every pair is computed in `f32`, in whatever order is
//! fastest, and whatever the error bound E of that computation allows to matter is computed again, exactly. With
//!
//! ```text
//! s    the exact similarity of a pair (an f32)
//! s'   what the screen computes for it,   |s' - s| <= E   (in units in which s is a little smaller: see [`SHRINK`])
//! p    the exact similarity of the row's positive
//! ```
//!
//! and the rule that the closest negative is the largest s with s < p, three facts decide about a pair:
//!
//! 1. `s' > p + E` means s > p: the pair does not qualify, and is ruled out.
//! 2. `s' <= p - E` (rounded down) means s < p: the pair qualifies for sure. Then the closest negative is at least as
//!    similar as this pair, so at least `s' - E`.
//! 3. Let b be the largest lower bound so far, from 2 or from a pair that was computed exactly. `s' < b - E` means
//!    s < b: the pair is not the closest negative, and is ruled out.
//!
//! What is left are the pairs with `b - E <= s' <= p + E`, the row's [`Window`]. For `AtOrBelow` the same window
//! serves, since it is only too wide. For `Any` there is no upper end, and every pair qualifies for sure.
//!
//! # Why the winner is never lost
//!
//! Let w be the closest negative by the exact rule. Fact 1 does not rule it out, as it qualifies. Fact 3 does not rule
//! it out either: b never exceeds the exact similarity of some qualifying pair, hence never that of w. So w is in the
//! window whenever it is looked at, however far b has risen, and is put on the row's [`Shortlist`]. A pair leaves the
//! list in two ways only: it falls below the window, which w cannot, or it is computed exactly and offered to the
//! search, which is the exact rule itself. All pairs that tie with w are kept for the same reason, so that the lowest
//! index wins wherever it stands.
//!
//! # The bound
//!
//! See [`bound`], which derives it, and [`SHRINK`], which halves it. A tile that sums runs of 256 elements and adds them
//! up has a smaller bound still for long rows, but what it saved in exact scores at dim 768 it lost in the tile: no
//! gain was measured.
//!
//! # Order of work
//!
//! 1. The shortlist has room for a few pairs. Most rows never fill it: b rises quickly, and each row of random data
//!    meets a new best pair about ln n times. Exact scores wait until all candidates were seen and b is as high as it
//!    gets; then one or two pairs are left.
//! 2. A full list is pruned by b. If that frees less than half of it, its pairs are computed exactly, which raises b as
//!    far as they can. Data on which the screen rules out nothing (all rows alike, say) costs n exact scores a row, and
//!    the answer is the same.
//! 3. The positive itself falls into its own window. It is dropped by index.
//!
//! # What was tried
//!
//! * A dot-style tile (lanes along the row, one accumulator a pair) needs a reduction across lanes for every pair: two
//!   shuffles a pair, which many cores do on a port that also multiplies. By count, that is half as much as the
//!   products themselves at dim 128.
//! * Splitting the tile along k, so that a piece of a panel stays in the first-level cache, lost 2 to 5 % at dim 768:
//!   the second level feeds the tile well enough, if the next panel is fetched into it ahead of time. That fetch took
//!   the tile alone from 88 % to 99 % of the multiply-add ceiling at 4096 x 768.

mod pack;
mod shortlist;
mod tile;

pub(crate) use pack::{MAX_LANES, pack};
pub(crate) use shortlist::{Exact, Shortlist};
pub(crate) use tile::{Ahead, MAX_WIDTH, Record, Tile, Window, tile};

/// The norm of the screen's rows: a little below 1, so that no partial sum of a dot product ever exceeds 1.
///
/// Below 1 a rounding to `f32` is off by at most `2^-25`, above it by twice as much. Shrinking the rows halves the
/// bound.
pub(crate) const SHRINK: f64 = 1.0 - 1.0 / (1 << 10) as f64;

/// An exact similarity in the screen's units. (The factor is exact: it has 20 bits.)
#[inline(always)]
pub(crate) fn shrunk(similarity: f32) -> f32 {
    similarity * (SHRINK * SHRINK) as f32
}

/// How pairs that cannot matter are ruled out. It changes the time, never a bit of the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Screen {
    /// By similarities computed in `f32`.
    #[default]
    F32,
    /// Not at all: every pair is computed exactly. Several times slower; for those who want to see that the answer is
    /// the same.
    Off,
}

impl Screen {
    /// `f32` or `off`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Screen::F32 => "f32",
            Screen::Off => "off",
        }
    }

    /// The error that a screened similarity of rows of `dim` elements may have.
    pub(crate) fn bound(self, dim: usize) -> f32 {
        match self {
            Screen::F32 => bound(dim),
            Screen::Off => ANYTHING,
        }
    }
}

/// A bound that rules out nothing: similarities, screened and exact, lie within -2 and 2.
const ANYTHING: f32 = 4.0;

/// The largest `|screen - shrunk(cosine)|` over all pairs of rows of `dim` elements, whatever they hold.
///
/// With `g = 2^-24` (the relative error of one `f32` rounding), `u` and `v` the exact unit rows of a pair times
/// [`SHRINK`], `u'` and `v'` the screen's copies, and `S` the real number `sum u_k v_k`, which is at most `SHRINK^2`:
///
/// 1. *Normalisation.* `u'_k` is `a_k` times a power of two, times a factor that was rounded to `f32`, rounded to
///    `f32`: two roundings, so `|u'_k - u_k| <= (2 g + g^2 + t) |u_k|`, where t stands for errors of `f64` sums and
///    quotients. Underflow of an element, before or after the last factor, adds at most `2^-117`. By Cauchy-Schwarz,
///    and as `|u|` and `|v|` are below 1, `|sum u'_k v'_k - S| <= 4 g + 8 g^2 + ..`
/// 2. *The sum.* A lane adds up `dim` products one after the other. There is no reduction across lanes: a lane is a
///    pair. By Cauchy-Schwarz once more, every exact partial sum is at most `|u'| |v'| <= (1 - 2^-9 + 2^-20)(1 + 5 g)`.
///    If each addition so far was off by at most `g / 2`, then for `dim <= 2^13` the computed partial sums stay below
///    `1 - 2^-9 + 2^-12 + ..` < 1, where a rounding is off by at most `g / 2`: so by induction the sum is off by at
///    most `dim g / 2`. On the portable backend products may be rounded before they are added, each by at most
///    `g |u'_k v'_k|`, in total by `g`. For longer rows the partial sums may pass 1 (but not 2, up to `2^22`): `dim g`.
/// 3. *The exact side.* `cosine` differs from the real cosine by its rounding to `f32`, at most `g`, and by errors of
///    `f64` sums of `dim / LANES` terms a lane, which are below `g / 1000` for `dim < 2^22`.
/// 4. *The window.* Its ends are made of one product and at most two differences in `f32` of numbers below 2, each
///    rounded by at most `g`: three `g`.
///
/// Together `dim g / 2 + g + 4 g + g + 3 g`. The 12 below leaves three more `g` for the small terms that stand above as
/// t and dots, and for the rounding of the bound itself. Longer rows than `2^22` get a bound that rules out nothing.
fn bound(dim: usize) -> f32 {
    const ROUNDING: f64 = 1.0 / (1 << 24) as f64;
    let in_sum = if dim <= 1 << 13 { dim as f64 / 2.0 } else { dim as f64 };
    if dim < 1 << 22 { ((in_sum + 12.0) * ROUNDING) as f32 } else { ANYTHING }
}
