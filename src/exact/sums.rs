//! Sums over rows: blocks in ascending order, combined as a tree that depends on the number of blocks alone.

use super::similarity::inverse;
use crate::arch::Simd;

/// The rows in a block of the candidates' sum, and of the anchors' sum in a backward pass. It is part of the definition
/// of the mean negative. It is a multiple of every panel width, so that a block of candidates owns whole panels.
pub(crate) const SUM_BLOCK: usize = 192;

/// The row losses in a block.
const LOSS_BLOCK: usize = 256;

/// The most rows that [`add_unit_rows`] adds at once.
pub(crate) const MOST_ROWS: usize = 48;

/// Combines `blocks` blocks, neighbours first, then neighbours of neighbours: `block` is asked for each, in ascending
/// order, and `add` combines two.
fn combine<T>(blocks: usize, block: &mut impl FnMut() -> T, add: &impl Fn(T, T) -> T) -> T {
    if blocks == 1 {
        return block();
    }
    // The left side takes the largest power of two of blocks that leaves the right side some.
    let left = blocks.next_power_of_two() / 2;
    let (first, second) = (combine(left, block, add), combine(blocks - left, block, add));
    add(first, second)
}

/// Adds up blocks of `dim` elements, at least one, into the first of them.
pub(crate) fn combine_blocks(sums: &mut [f64], dim: usize) {
    let mut blocks = sums.chunks_exact_mut(dim);
    let count = blocks.len();
    combine(count, &mut || blocks.next().expect("as many blocks as were counted"), &|left: &mut [f64], right| {
        for (left, right) in left.iter_mut().zip(right) {
            *left += *right;
        }
        left
    });
}

/// The sum of `term(i)` for `i` in `0..count`, in blocks of [`LOSS_BLOCK`].
pub(crate) fn sum_in_order<const N: usize>(count: usize, term: &impl Fn(usize) -> [f64; N]) -> [f64; N] {
    let add = |a: [f64; N], b: [f64; N]| core::array::from_fn(|n| a[n] + b[n]);
    let mut start = 0;
    let mut block = || {
        let end = count.min(start + LOSS_BLOCK);
        let sum = (start..end).map(term).fold([0.0; N], add);
        start = end;
        sum
    };
    combine(count.div_ceil(LOSS_BLOCK).max(1), &mut block, &add)
}

/// Adds `row * scale`, the product rounded before it is added.
#[inline(always)]
pub(crate) fn add_scaled(row: &[f32], scale: f64, sum: &mut [f64]) {
    for (sum, &value) in sum.iter_mut().zip(row) {
        *sum += f64::from(value) * scale;
    }
}

/// Adds up to [`MOST_ROWS`] rows, each scaled to norm 1, to `sums`, in ascending order of rows. The product is rounded
/// before it is added.
#[inline(always)]
pub(crate) fn add_unit_rows<S: Simd>(simd: S, rows: &[f32], norms: &[f64], sums: &mut [f64]) {
    /// Registers of sums that are held while the rows are added: enough to hide the latency of an addition.
    const HELD: usize = 4;
    let dim = sums.len();
    let step = HELD * S::F64_LANES;
    let whole = dim - dim % step;
    let mut scales = [0.0; MOST_ROWS];
    for (scale, &norm) in scales.iter_mut().zip(norms) {
        *scale = inverse(norm);
    }
    for from in (0..whole).step_by(step) {
        let held = &mut sums[from..from + step];
        let mut sum = [simd.splat64(0.0); HELD];
        for (sum, held) in sum.iter_mut().zip(held.chunks_exact(S::F64_LANES)) {
            *sum = simd.load64(held);
        }
        for (row, &scale) in rows.chunks_exact(dim).zip(&scales) {
            let scale = simd.splat64(scale);
            for (sum, values) in sum.iter_mut().zip(row[from..from + step].chunks_exact(S::F64_LANES)) {
                *sum = simd.add64(*sum, simd.mul64(simd.widen(values), scale));
            }
        }
        for (sum, held) in sum.into_iter().zip(held.chunks_exact_mut(S::F64_LANES)) {
            simd.store64(sum, held);
        }
    }
    for (row, &scale) in rows.chunks_exact(dim).zip(&scales) {
        add_scaled(&row[whole..], scale, &mut sums[whole..]);
    }
}
