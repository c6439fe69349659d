//! The exact similarity: the one definition that every path of this crate returns, bit for bit.
//!
//! Similarities decide which negative is chosen, and a comparison is not continuous: one unit in the last place between
//! two code paths picks another negative and moves the loss by as much as the margin. So the order of every sum is
//! fixed here, for every instruction set:
//!
//! * `dot` sums `f64(x_k) * f64(y_k)`, element `k` into virtual lane `k % LANES` in ascending `k`, and then folds the
//!   lanes by halves ([`lanes`]). The product of two `f32` is exact in `f64` (24 + 24 bits of 53), so that a fused
//!   multiply-add and a multiplication followed by an addition agree.
//! * `norm` is `sqrt(dot(x, x))`. No finite `f32` row overflows or underflows it.
//! * `cosine` is `f32(dot / (norm * norm))`, 0 where a norm is 0, and never clamped: a clamp makes ties.
//! * Sums over rows are made of blocks in ascending order, which are combined as a tree ([`sums`]).

mod lanes;
mod similarity;
mod sums;
mod tile;
mod vectors;

pub(crate) use lanes::{LANES, add_scaled, add_scaled_rows, anchor_dots, dot_scaled, dot_sum, dots, sum_values};
pub(crate) use similarity::{
    ExactRow, check_norms, cosine, cosine_rows, dot_rows, inverse, mean_negative, norm_row, norm_rows,
    norm_rows_from_memory,
};
pub(crate) use sums::{MOST_ROWS, SUM_BLOCK, SumStack, SumTree, add_unit_rows, combine_blocks, sum_in_order};
pub(crate) use tile::{NormedRows, PairSink, for_all_pairs, measure_all_pairs};
pub(crate) use vectors::check_finite;
