//! Kernels: the loops in which the time goes, each written once in the operations of [`Simd`](crate::arch::Simd) and
//! compiled for every instruction set.
//!
//! A kernel takes slices and numbers, and writes a buffer or returns numbers. It knows no list, rule, exclusion, block,
//! bank or thread. Its body is a private struct with [`WithSimd`](crate::arch::WithSimd); what others call is the
//! function beside it, which takes a [`Backend`](crate::Backend):
//!
//! | file | kernels |
//! |---|---|
//! | [`mod@dots`] | [`dots()`], [`norm`], [`pair_dots`], [`measure_group`], [`dot_sum`], [`dot_scaled`], [`sum_values`], [`norms`] |
//! | [`exact_tile`] | [`compute_similarities`], [`measure_similarities`], [`find_largest_up_to`] |
//! | [`wide_tile`] | [`WidenedRows::widen`], [`multiply_widened`] |
//! | [`few_rows`] | [`measure_few`] |
//! | [`row_tile`] | [`approximate`], [`find_likely`] |
//! | [`screen_tile`] | [`find_hits`], in every [`format`](mod@format) |
//! | [`pack`], [`round`], [`round_row`] | [`pack_floats`], [`pack_integers`] |
//! | [`sums`] | [`add_unit_rows`], [`measure_cached_rows`], [`measure_rows`], [`add_terms`], [`write_gradient`], [`scale_row`], [`add_scaled_to_f32`] |
//!
//! Everything outside of this folder and of [`arch`](crate::arch) is compiled once.

mod dots;
mod exact_tile;
mod few_rows;
mod format;
mod lanes;
mod pack;
mod prefetch;
mod round;
mod round_row;
mod row_tile;
mod screen_tile;
mod sums;
#[cfg(test)]
mod tests;
mod wide_tile;

pub(crate) use dots::{
    GroupMeasures, MOST_MEASURED, RowGroup, dot_scaled, dot_sum, dots, mean_negative, measure_group, norm, norms,
    pair_dots, sum_values,
};
pub(crate) use exact_tile::{
    MOST_ANCHORS, MOST_CANDIDATES, NormedRows, RowSimilarities, Similarities, Sought, compute_similarities, cosine,
    find_largest_up_to, measure_similarities,
};
pub(crate) use few_rows::{FewMeasures, FewRows, MOST_FEW, measure_few};
#[cfg(test)]
pub(crate) use format::IntegerRange;
pub(crate) use format::{Format, LARGEST_NORM};
pub(crate) use lanes::LANES;
pub(crate) use pack::{MAX_LANES, PanelTarget, RawRows, pack_floats};
pub(crate) use prefetch::{PrefetchPlan, prefetch_row};
pub(crate) use round::{QuantizedRow, pack_integers, scratch_len};
#[cfg(test)]
pub(crate) use round::{SLACK, are_few};
pub(crate) use row_tile::{
    CandidateBits, MOST_SEEKING, MOST_SIMILAR, NearSimilarities, ScaledRows, approximate, find_likely,
};
pub(crate) use screen_tile::{
    AnchorConstants, Found, MAX_ANCHORS, MAX_WIDTH, PanelHits, PanelTiles, RowHits, TilePlace, Window, are_many_hits,
    find_hits,
};
pub(crate) use sums::{
    MOST_ROWS, MOST_TERMS, RowGradient, Start, Term, add_scaled_to_f32, add_terms, add_unit_rows, inverse,
    measure_cached_rows, measure_rows, scale_row, write_gradient,
};
pub(crate) use wide_tile::{STRIP_UNIT, TileSide, WidenedPairs, multiply_widened, widened_dim};
