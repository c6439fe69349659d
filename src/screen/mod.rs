//! Screens: how most pairs are ruled out without being computed exactly.
//!
//! # The idea
//!
//! The answer is defined by the exact similarity: `f64` sums in a fixed order. Computing it for every pair would cost
//! several times as much as a matrix product in `f32`. (A handful of rows are computed so all the same, and data of which
//! every screen leaves nearly all pairs.) But of a row's n similarities only one matters, the closest
//! negative, and an approximation tells where it can be. So every pair is computed in whatever way is fastest, which
//! gives an interval that holds its exact similarity, and what these intervals cannot decide is computed again,
//! exactly.
//!
//! ```text
//! s          the exact similarity of a pair (an f32)
//! L <= s < U   what the screen says of it, by a bound that is proven for every input
//! p          the exact similarity of the row's positive
//! ```
//!
//! and the rule that the closest negative is the largest s with s < p, three facts decide about a pair:
//!
//! 1. `L > p` means s > p: the pair does not qualify, and is ruled out.
//! 2. `U <= p` means s < p: the pair qualifies for sure. Then the closest negative is at least as similar as this pair,
//!    so at least L.
//! 3. Let b be the largest lower bound so far, from 2 or from a pair that was computed exactly. `U < b` means s < b:
//!    the pair is not the closest negative, and is ruled out.
//!
//! What is left are the pairs with `b <= U` and `L <= p`. A tile looks only at U, which must lie in the row's
//! [`Window`](crate::kernels::Window): from b to p plus the length of the row's longest interval; L is computed for the few that do. The same
//! window serves `Below` and `AtOrBelow`; for `Below` it also keeps pairs with s = p, which the exact rule drops. For
//! `Any` there is no upper end, and every pair qualifies for sure.
//!
//! # Why the winner is never lost
//!
//! Let w be the closest negative by the exact rule. Fact 1 does not rule it out, as it qualifies. Fact 3 does not rule
//! it out either: b never exceeds the exact similarity of some qualifying pair, hence never that of w. So w is in the
//! window whenever it is looked at, however far b has risen, and is put on the row's [`Shortlist`]. A pair leaves the
//! list in three ways only: it falls below the window, which w cannot; it is computed exactly and offered to the search,
//! which is the exact rule itself; or it is left to exact tiles, which compute every pair of the row from some candidate
//! on. A full list computes pairs until there is room, or gives its row up from the next pair on; it drops none. All pairs
//! that tie with w are kept for the same reason, so that the lowest index wins wherever it stands. A block of anchors
//! that waits for a finer screen begins anew with it, with all candidates.
//!
//! # The k closest
//!
//! Where k closest are wanted, b is the k-th largest lower bound: that many pairs qualify for sure and are at least as
//! similar, also if they have left the list since. Every one of the k closest has an upper end above the k-th closest
//! similarity, so the k largest upper ends do, and those pairs are computed first in any order; the rest follow in
//! descending order of U until one does not reach the k-th best similarity found ([`NeighbourList`]). A lower limit on
//! the similarities is where the window begins: pairs with `U <= low` are ruled out, and those with `L > low` pass it.
//!
//! # Three screens
//!
//! | screen | elements in a word | products a cycle with VNNI, `f32` = 1 | length of an interval, rows of 768 elements |
//! |---|---|---|---|
//! | `f32` | 1 | 1 | 0.00005 |
//! | 16-bit integers | 2 | 2 | 0.0007 |
//! | bytes | 4 | 4 | 0.03 |
//!
//! AVX2 without VNNI multiplies bytes and 16-bit integers at 2.5 and 1.6 times the rate of `f32` on Zen 4. Four products
//! of bytes are added in 16 bits there, so that candidates go up to 90 and anchors up to 127, or as far as four of their
//! integers fit: intervals are 1.3 times as long.
//!
//! One tile serves all three ([`kernels`](crate::kernels)): words of 32 bits, whatever they hold. The bound of `f32` sums
//! is derived in [`float`], that of integers in [`quantize`]. The shorter the intervals, the fewer pairs are left to be
//! computed exactly. Where the positive stands above the bulk of the similarities, as it does after some training,
//! bytes leave a handful a row. Where it stands in the bulk, every interval of its neighbourhood reaches over it, and
//! bytes leave a tenth of all pairs or more; 16-bit integers about a dozen. [`cost`] tells which pays.
//!
//! Small batches and few anchors are not packed: a tile reads their rows as they lie in memory, with lanes along the row,
//! which are added up for several pairs at once. Their intervals all have the same length ([`row_bound`]), some hundred
//! candidates are looked at together, and facts 1 to 3 leave one pair of an anchor among the first, and none among most
//! others.
//!
//! Similarities of a row are compared with each other and with the positive only. So what is the same for a whole row
//! is left out until then, and added up in its *shift* ([`ScreenUnits`]); and `f32` sums stay in units in which
//! similarities are a little smaller ([`float::SHRINK`]).
//!
//! # Order of work
//!
//! 1. The shortlist has room for a few dozen pairs. Most rows never fill it: b rises quickly, and each row of random
//!    data meets a new best pair about ln n times. Exact scores wait until all candidates were seen and b is as high as
//!    it gets.
//! 2. Then the two pairs with the highest U are computed first, as they raise b the most: from an L, a whole interval
//!    below U, to an s. That alone rules out most of the others. They are taken in descending order of U until none
//!    reaches b: no order computes fewer. They go in twos, which hide each other's latency.
//! 3. A full list is pruned by b, and if that frees less than half of it, its best pairs are computed at once, as long
//!    as the block has a [budget](budget) for that: a fourth of what a product in `f32` takes. From then on a row with a
//!    full list is given up, and exact tiles take over from that candidate on, or from the first one where that is cheaper
//!    than the pairs on its list. Where it is cheaper they do for the whole block (all rows alike, say): compared at the
//!    checkpoints ([`cost`]), and again with the lengths of the lists at the end. So whatever the rows hold, and in
//!    whatever order, little is done in vain before the tiles.
//! 4. The positive itself falls into its own window. It is dropped by index.
//!
//! # What was tried
//!
//! * A dot-style tile (lanes along the row, one accumulator a pair) needs a reduction across lanes for every pair, which
//!   packed rows do without. It pays for small batches and few anchors alone, where packing takes longer than it
//!   saves.
//! * Splitting the tile along k, so that a piece of a panel stays in the first-level cache, lost 2 to 5 % at dim 768:
//!   the second level feeds the tile well enough, if the next panel is fetched into it ahead of time. That fetch took
//!   the tile alone from 88 % to 99 % of the multiply-add ceiling at 4096 x 768.
//! * Sums of 256 elements that are added up have a smaller `f32` bound for long rows, but what that saved in exact
//!   scores at dim 768 it lost in the tile.
//! * For bytes, on 1977 pairs of sentences (summaries and descriptions of applications, by the model all-MiniLM-L6-v2,
//!   dim 384; 10.1 pairs a row left to compute at best): a random rotation, against elements that are large in all
//!   rows, left 10.1; bounds summed over 4 or 16 groups of elements 10.1 and 10.0; clipping the largest tenth of the
//!   range 23.6; the errors along the first 8 or 32 principal components computed exactly 9.2 and 8.0, which does not
//!   pay for 16 or 64 more products a pair. Removing the centers took 11.3 to 10.1 there, and everything to nearly
//!   nothing where all rows share a strong direction.
//! * A list of 64 pairs was no better than one of 32.

mod budget;
mod center;
mod cost;
mod float;
mod lower_ends;
mod method;
mod neighbour_list;
mod options;
mod packing;
mod quantize;
mod rounding;
mod row_list;
mod sample;
mod screening;
mod shortlist;
#[cfg(test)]
mod tests;

pub(crate) use budget::{ExactCosts, PairBudget};
pub(crate) use center::{Center, center_len};
pub(crate) use cost::{CostModel, PREPARATION, exact_tile_cost, is_checkpoint, packing_cost};
pub(crate) use float::{bound as float_bound, row_bound};
pub(crate) use method::{Method, Methods};
pub(crate) use neighbour_list::NeighbourList;
pub use options::Screen;
pub(crate) use options::ScreenPlan;
pub(crate) use packing::{Extremes, Params, pack_anchors, pack_candidates, unit};
pub(crate) use row_list::{Pairs, RowList, ScreenUnits};
pub(crate) use sample::{RowLimits, first_method};
pub use screening::Screening;
pub(crate) use shortlist::Shortlist;
