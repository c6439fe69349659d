//! From the derivative by the similarities to the derivative by the rows of one side.

use super::pairs::{Element, Sparse};
use crate::arch::Backend;
use crate::exact::{SUM_BLOCK, combine_blocks};
use crate::excluded::{GroupSums, Members};
use crate::kernels::{MOST_TERMS, RowGradient, Start, Term, add_terms, inverse, write_gradient};
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
    fn of(self, row: usize) -> f64 {
        match self {
            Shares::Each(shares) => shares[row],
            Shares::All(share) => share,
        }
    }
}

impl Pullback<'_> {
    /// The pairs of a row that are not 0.
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
            let (sum, group_sum) = scratch.split_at_mut(dim);
            for (index, output) in output.slice.chunks_exact_mut(dim).enumerate() {
                let row = first + block * ROWS_AT_ONCE + index;
                if !self.is_zero(row) {
                    self.write_row(backend, row, (&mut *sum, &mut *group_sum), output, accumulate);
                } else if !accumulate {
                    output.fill(0.0);
                }
            }
        });
    }

    /// Whether the gradient of a row is 0 for want of anything that it could be made of.
    pub(super) fn is_zero(&self, row: usize) -> bool {
        let has_partner = self.partners.is_some_and(|partners| partners.values[row] != 0.0);
        self.norms[row] == 0.0 || (self.shares.of(row) == 0.0 && !has_partner && self.pairs_of(row).is_empty())
    }

    /// Writes the gradient of one row, which is not zero, or adds it. `sum` is scratch for `g`, and `group_sum` for the sum
    /// of the row's group.
    pub(super) fn write_row(
        &self,
        backend: Backend,
        row: usize,
        (sum, group_sum): (&mut [f64], &mut [f64]),
        output: &mut [f32],
        accumulate: bool,
    ) {
        let less = self.group_sum(backend, row, group_sum);
        let mut start = Some(Start { common: self.common, less, share: self.shares.of(row) });
        let (mut terms, mut count): ([Term<'_>; MOST_TERMS], usize) = ([(&[], 0.0); MOST_TERMS], 0);
        if let Some(Partners { rows, norms, values }) = self.partners.filter(|partners| partners.values[row] != 0.0) {
            (terms[0], count) = ((rows.row(row), values[row] * inverse(norms[row])), 1);
        }
        for element in self.pairs_of(row) {
            if count == MOST_TERMS {
                add_terms(backend, start.take(), &terms, sum);
                count = 0;
            }
            let scale = element.value * inverse(self.other_norms[element.column]);
            terms[count] = (self.others.row(element.column), scale);
            count += 1;
        }
        let (values, norm, terms) = (self.rows.row(row), self.norms[row], &terms[..count]);
        write_gradient(backend, RowGradient { row: values, norm, start, terms, accumulate }, sum, output);
    }

    /// The sum of a row's group, if it is not 0. It may be put into `scratch`.
    fn group_sum<'s>(&'s self, backend: Backend, row: usize, scratch: &'s mut [f64]) -> Option<&'s [f64]> {
        let GroupsOfRows { members, sums } = self.groups.as_ref()?;
        let group = members.group_of(row).filter(|&group| self.shares.of(row) != 0.0 && !sums.is_empty(group))?;
        Some(sums.of(backend, group, scratch))
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
        add_shares(backend, rows.range(range.start, range.len()), &norms[range.clone()], &shares[range], sum.slice);
    });
    combine_blocks(sums, dim);
}

/// Computes the sum of some unit rows, each times its share.
fn add_shares(backend: Backend, rows: Rows<'_>, norms: &[f64], shares: &[f64], sum: &mut [f64]) {
    let (mut terms, mut count): ([Term<'_>; MOST_TERMS], usize) = ([(&[], 0.0); MOST_TERMS], 0);
    sum.fill(0.0);
    for ((row, &norm), &share) in rows.iter().zip(norms).zip(shares).filter(|&(_, &share)| share != 0.0) {
        if count == MOST_TERMS {
            add_terms(backend, None, &terms, sum);
            count = 0;
        }
        terms[count] = (row, share * inverse(norm));
        count += 1;
    }
    add_terms(backend, None, &terms[..count], sum);
}
