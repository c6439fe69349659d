//! The exact similarity: the one definition that every path of this crate returns, bit for bit.
//!
//! Similarities decide which negative is chosen, and a comparison is not continuous: one unit in the last place between
//! two code paths picks another negative and moves the loss by as much as the margin. So the order of every sum is
//! fixed here, for every instruction set:
//!
//! * `dot` sums `f64(x_k) * f64(y_k)`, element `k` into virtual lane `k % LANES` in ascending `k`, and then folds the
//!   lanes by halves ([`kernels`](crate::kernels)). The product of two `f32` is exact in `f64` (24 + 24 bits of 53), so that a fused
//!   multiply-add and a multiplication followed by an addition agree.
//! * `norm` is `sqrt(dot(x, x))`. No finite `f32` row overflows or underflows it.
//! * `cosine` is `f32(dot / (norm * norm))`, 0 where a norm is 0, and never clamped: a clamp makes ties.
//! * Sums over rows are made of blocks in ascending order, which are combined as a tree ([`sums`]).

mod pairs;
mod similarity;
mod sums;
mod vectors;

pub(crate) use pairs::{PairsOf, SearchedRow, group_rows, grow_widened};
pub(crate) use similarity::{ExactRow, check_norms, zero_norms};
pub(crate) use sums::{SUM_BLOCK, SumStack, SumTree, combine_blocks, sum_in_order};
pub(crate) use vectors::check_finite;
