//! From the derivative by the similarities to the derivative by the rows of one side: the kernels of the backward pass.
//!
//! Every loop but the dot product works on each element by itself, so that its order is fixed whatever the compiler
//! makes of it: plain Rust, vectorised for the instruction set of the kernel.

use crate::arch::{Backend, Kernel, Simd};
use crate::gradient::pairs::Sparse;
use crate::join::{Divide, Join, for_each_block};
use crate::prepare::{SUM_BLOCK, combine_blocks};
use crate::rows::Rows;
use crate::similarity::{dot_sum, inverse};
use crate::workspace::Slot;

/// The rows that a thread takes at a time.
const BLOCK: usize = 32;

/// What the gradients of one side's rows are made of.
///
/// ```text
/// g_i = share_i * common + sum over j of pairs_ij * unit row j of the other side
/// gradient of row i = (g_i - (g_i . unit row i) unit row i) / norm i
/// ```
#[derive(Clone, Copy)]
pub(super) struct Pullback<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) norms: &'a [f64],
    pub(super) others: Rows<'a>,
    pub(super) other_norms: &'a [f64],
    pub(super) common: &'a [f64],
    pub(super) shares: Shares<'a>,
    pub(super) pairs: &'a Sparse<'a>,
}

/// How much of the common vector a row takes. Where it is 0 the vector may be anything.
#[derive(Clone, Copy)]
pub(super) enum Shares<'a> {
    Each(&'a [f64]),
    All(f64),
}

impl Shares<'_> {
    #[inline(always)]
    fn of(self, row: usize) -> f64 {
        match self {
            Shares::Each(shares) => shares[row],
            Shares::All(share) => share,
        }
    }
}

impl Pullback<'_> {
    /// Writes the gradients of all rows into `output`, or adds them to it.
    pub(super) fn write(self, backend: Backend, join: Join, slots: &[Slot], output: &mut [f32], accumulate: bool) {
        let work = RowBlocks { pullback: self, first: 0, output, accumulate };
        for_each_block(join, work, &|block| {
            let mut slot = slots[join.thread()].lock();
            let gradient = slot.gradient_row(block.pullback.rows.dim());
            backend.run(RowBlock { block, gradient });
        });
    }

    /// Whether the gradient of a row is 0 for want of anything that it could be made of.
    #[inline(always)]
    pub(super) fn is_zero(&self, row: usize) -> bool {
        self.norms[row] == 0.0 || (self.shares.of(row) == 0.0 && self.pairs.row(row).is_empty())
    }

    /// Writes the gradient of one row, before it is rounded.
    #[inline(always)]
    pub(super) fn row<S: Simd>(&self, simd: S, row: usize, gradient: &mut [f64]) {
        start(self.common, self.shares.of(row), gradient);
        for element in self.pairs.row(row) {
            let scale = element.value * inverse(self.other_norms[element.column]);
            add_scaled(self.others.row(element.column), scale, gradient);
        }
        let (values, scale) = (self.rows.row(row), inverse(self.norms[row]));
        let along = dot_sum(simd, values, gradient) * scale * scale;
        for (gradient, &value) in gradient.iter_mut().zip(values) {
            *gradient = (*gradient - f64::from(value) * along) * scale;
        }
    }
}

/// `share * common`, and 0 where the share is 0.
#[inline(always)]
fn start(common: &[f64], share: f64, gradient: &mut [f64]) {
    if share == 0.0 {
        return gradient.fill(0.0);
    }
    for (gradient, &common) in gradient.iter_mut().zip(common) {
        *gradient = common * share;
    }
}

/// Adds `row * scale`, the product rounded before it is added.
#[inline(always)]
fn add_scaled(row: &[f32], scale: f64, sum: &mut [f64]) {
    for (sum, &value) in sum.iter_mut().zip(row) {
        *sum += f64::from(value) * scale;
    }
}

/// Rounds the gradient of a row into its place, or its sum with what is there.
#[inline(always)]
fn store(gradient: &[f64], accumulate: bool, output: &mut [f32]) {
    if accumulate {
        for (output, &gradient) in output.iter_mut().zip(gradient) {
            *output = (f64::from(*output) + gradient) as f32;
        }
    } else {
        for (output, &gradient) in output.iter_mut().zip(gradient) {
            *output = gradient as f32;
        }
    }
}

/// Consecutive blocks of rows, with the place for their gradients.
struct RowBlocks<'a> {
    pullback: Pullback<'a>,
    /// The index of the first row.
    first: usize,
    output: &'a mut [f32],
    accumulate: bool,
}

impl Divide for RowBlocks<'_> {
    fn blocks(&self) -> usize {
        (self.output.len() / self.pullback.rows.dim()).div_ceil(BLOCK)
    }

    fn divide(self, blocks: usize) -> (Self, Self) {
        let Self { pullback, first, output, accumulate } = self;
        let at = blocks * BLOCK;
        let (front, back) = output.split_at_mut(at * pullback.rows.dim());
        (
            Self { pullback, first, output: front, accumulate },
            Self { pullback, first: first + at, output: back, accumulate },
        )
    }
}

/// One block with room for the gradient of a row in `f64`.
struct RowBlock<'a, 'b> {
    block: RowBlocks<'a>,
    gradient: &'b mut [f64],
}

impl Kernel for RowBlock<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let RowBlocks { pullback, first, output, accumulate } = self.block;
        for (index, output) in output.chunks_exact_mut(pullback.rows.dim()).enumerate() {
            if !pullback.is_zero(first + index) {
                pullback.row(simd, first + index, self.gradient);
                store(self.gradient, accumulate, output);
            } else if !accumulate {
                output.fill(0.0);
            }
        }
    }
}

/// Computes the sum of all unit rows, each times its share, in the first `dim` elements of `sums`: in blocks combined
/// as a fixed tree, like the candidates' sum. Rows without a share are left out.
pub(super) fn weighted_sum(
    backend: Backend,
    join: Join,
    rows: Rows<'_>,
    norms: &[f64],
    shares: &[f64],
    sums: &mut [f64],
) {
    let dim = rows.dim();
    let work = SumBlocks { rows: rows.data(), dim, norms, shares, sums: &mut *sums };
    for_each_block(join, work, &|block| backend.run(block));
    combine_blocks(sums, dim);
}

/// Consecutive blocks of rows, with the place for the sum of each.
struct SumBlocks<'a> {
    rows: &'a [f32],
    dim: usize,
    norms: &'a [f64],
    shares: &'a [f64],
    sums: &'a mut [f64],
}

impl Divide for SumBlocks<'_> {
    fn blocks(&self) -> usize {
        self.norms.len().div_ceil(SUM_BLOCK)
    }

    fn divide(self, blocks: usize) -> (Self, Self) {
        let (dim, at) = (self.dim, blocks * SUM_BLOCK);
        let (rows, norms) = (self.rows.split_at(at * dim), self.norms.split_at(at));
        let (shares, sums) = (self.shares.split_at(at), self.sums.split_at_mut(blocks * dim));
        (
            Self { rows: rows.0, dim, norms: norms.0, shares: shares.0, sums: sums.0 },
            Self { rows: rows.1, dim, norms: norms.1, shares: shares.1, sums: sums.1 },
        )
    }
}

impl Kernel for SumBlocks<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        self.sums.fill(0.0);
        for ((row, &norm), &share) in self.rows.chunks_exact(self.dim).zip(self.norms).zip(self.shares) {
            if share != 0.0 {
                add_scaled(row, share * inverse(norm), self.sums);
            }
        }
    }
}
