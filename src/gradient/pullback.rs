//! From the derivative by the similarities to the derivative by the rows of one side: the kernels of the backward pass.
//!
//! Every loop but the dot product works on each element by itself, so that its order is fixed whatever the compiler
//! makes of it: plain Rust, vectorised for the instruction set of the kernel.

use super::pairs::{Element, Sparse};
use crate::arch::{Backend, Simd, WithSimd};
use crate::exact::{SUM_BLOCK, add_scaled, add_scaled_rows, combine_blocks, inverse};
use crate::excluded::{GroupSums, Members};
use crate::parallel::{Chunks, Join, PerThread, for_each_block};
use crate::rows::Rows;

/// The rows that a thread takes at a time.
const ROWS_AT_ONCE: usize = 32;

/// What the gradients of one side's rows are made of.
///
/// ```text
/// g_i = share_i * (common - sum of i's group) + value_i * unit partner i + sum over j of pairs_ij * unit row j of the other side
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
    /// None where the whole common vector is shared.
    pub(super) groups: Option<GroupsOfRows<'a>>,
    /// None where no row has a partner.
    pub(super) partners: Option<Partners<'a>>,
    /// None where all of them are 0.
    pub(super) pairs: Option<&'a Sparse<'a>>,
}

/// What is taken away from the common vector for the rows of a label.
#[derive(Clone, Copy)]
pub(super) struct GroupsOfRows<'a> {
    /// The rows by labels.
    pub(super) members: Members<'a>,
    /// The sum of the other side's rows by labels.
    pub(super) sums: GroupSums<'a>,
}

/// A row of its own for each row, and what it is multiplied by.
#[derive(Clone, Copy)]
pub(super) struct Partners<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) norms: &'a [f64],
    pub(super) values: &'a [f64],
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
    /// The pairs of a row that are not 0.
    #[inline(always)]
    fn pairs_of(&self, row: usize) -> &[Element] {
        self.pairs.map_or(&[], |pairs| pairs.row(row))
    }

    /// Writes the gradients of the rows from row `first` on into `output`, or adds them to it.
    pub(super) fn write(
        self,
        backend: Backend,
        join: Join,
        scratch: &PerThread<Vec<f64>>,
        first: usize,
        output: &mut [f32],
        accumulate: bool,
    ) {
        let dim = self.rows.dim();
        for_each_block(join, Chunks::new(output, ROWS_AT_ONCE.saturating_mul(dim)), &|block, output| {
            let scratch = &mut scratch.of(join)[..2 * dim];
            let (first, output) = (first + block * ROWS_AT_ONCE, output.slice);
            backend.run(RowBlock { pullback: self, first, output, accumulate, scratch });
        });
    }

    /// Whether the gradient of a row is 0 for want of anything that it could be made of.
    #[inline(always)]
    pub(super) fn is_zero(&self, row: usize) -> bool {
        let has_partner = self.partners.is_some_and(|partners| partners.values[row] != 0.0);
        self.norms[row] == 0.0 || (self.shares.of(row) == 0.0 && !has_partner && self.pairs_of(row).is_empty())
    }

    /// The sum of a row's group, if it is not 0. It may be put into `scratch`.
    #[inline(always)]
    fn group_sum<'s, S: Simd>(&'s self, simd: S, row: usize, scratch: &'s mut [f64]) -> Option<&'s [f64]> {
        let GroupsOfRows { members, sums } = self.groups.as_ref()?;
        let group = members.group_of(row).filter(|&group| self.shares.of(row) != 0.0 && !sums.is_empty(group))?;
        Some(sums.of(simd, group, scratch))
    }

    /// Writes `g` of one row into `sum`. `group_sum` is scratch of the same length.
    #[inline(always)]
    pub(super) fn row<S: Simd>(&self, simd: S, row: usize, sum: &mut [f64], group_sum: &mut [f64]) -> Projection {
        /// The terms that are added in one pass.
        const AT_ONCE: usize = 8;
        start(self.common, self.group_sum(simd, row, group_sum), self.shares.of(row), sum);
        let (mut terms, mut count) = ([(&[][..], 0.0); AT_ONCE], 0);
        if let Some(Partners { rows, norms, values }) = self.partners.filter(|partners| partners.values[row] != 0.0) {
            (terms[0], count) = ((rows.row(row), values[row] * inverse(norms[row])), 1);
        }
        for element in self.pairs_of(row) {
            if count == AT_ONCE {
                for (row, scale) in terms {
                    add_scaled(row, scale, sum);
                }
                count = 0;
            }
            let scale = element.value * inverse(self.other_norms[element.column]);
            terms[count] = (self.others.row(element.column), scale);
            count += 1;
        }
        let scale = inverse(self.norms[row]);
        let along = add_scaled_rows(simd, &terms[..count], self.rows.row(row), sum) * scale * scale;
        Projection { along, scale }
    }
}

/// The last step of a row's gradient: what of its `g` lies along the row is taken away, and the rest is divided by the
/// norm of the row.
#[derive(Clone, Copy)]
pub(super) struct Projection {
    along: f64,
    scale: f64,
}

impl Projection {
    /// An element of the gradient, before it is rounded, from those of `g` and of the row.
    #[inline(always)]
    pub(super) fn of(self, sum: f64, value: f32) -> f64 {
        (sum - f64::from(value) * self.along) * self.scale
    }
}

/// `share * (common - group)`, and 0 where the share is 0.
#[inline(always)]
fn start(common: &[f64], group: Option<&[f64]>, share: f64, gradient: &mut [f64]) {
    if share == 0.0 {
        return gradient.fill(0.0);
    }
    if let Some(group) = group {
        for ((gradient, &common), &group) in gradient.iter_mut().zip(common).zip(group) {
            *gradient = (common - group) * share;
        }
        return;
    }
    for (gradient, &common) in gradient.iter_mut().zip(common) {
        *gradient = common * share;
    }
}

/// A block of rows, with the place for their gradients, and room for the gradient of a row and the sum of a group in
/// `f64`.
struct RowBlock<'a> {
    pullback: Pullback<'a>,
    /// The index of the first row.
    first: usize,
    output: &'a mut [f32],
    accumulate: bool,
    scratch: &'a mut [f64],
}

impl WithSimd for RowBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let RowBlock { pullback, first, output, accumulate, scratch } = self;
        let (sum, group_sum) = scratch.split_at_mut(pullback.rows.dim());
        for (index, output) in output.chunks_exact_mut(pullback.rows.dim()).enumerate() {
            let row = first + index;
            if pullback.is_zero(row) {
                if !accumulate {
                    output.fill(0.0);
                }
                continue;
            }
            let projection = pullback.row(simd, row, sum, group_sum);
            for ((output, &sum), &value) in output.iter_mut().zip(&*sum).zip(pullback.rows.row(row)) {
                let gradient = projection.of(sum, value);
                *output = if accumulate { f64::from(*output) + gradient } else { gradient } as f32;
            }
        }
    }
}

/// Computes the sum of all unit rows, each times its share, in the first `dim` elements of `sums`: in blocks combined
/// as a tree, like the candidates' sum. Rows without a share are left out.
pub(super) fn weighted_sum(
    backend: Backend,
    join: Join,
    rows: Rows<'_>,
    norms: &[f64],
    shares: &[f64],
    sums: &mut [f64],
) {
    let dim = rows.dim();
    for_each_block(join, Chunks::new(&mut *sums, dim), &|block, sum| {
        let range = block * SUM_BLOCK..rows.count().min((block + 1) * SUM_BLOCK);
        let (norms, shares) = (&norms[range.clone()], &shares[range.clone()]);
        let rows = &rows.data()[range.start * dim..range.end * dim];
        backend.run(SumBlock { rows, norms, shares, sum: sum.slice });
    });
    combine_blocks(sums, dim);
}

/// A block of rows, with the place for their sum.
struct SumBlock<'a> {
    rows: &'a [f32],
    norms: &'a [f64],
    shares: &'a [f64],
    sum: &'a mut [f64],
}

impl WithSimd for SumBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        self.sum.fill(0.0);
        for ((row, &norm), &share) in self.rows.chunks_exact(self.sum.len()).zip(self.norms).zip(self.shares) {
            if share != 0.0 {
                add_scaled(row, share * inverse(norm), self.sum);
            }
        }
    }
}
