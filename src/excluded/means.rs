//! The mean negatives of rows of which some candidates are excluded.

use super::SortedExclusions;
use super::sums::{GroupSums, SumMemory, Summands};
use crate::arch::Backend;
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::kernels::{cosine, dot_sum, dots};
use crate::memory::{bytes_of, grow};
use crate::parallel::{Chunks, Join, PerThread, for_each_block};
use crate::row_stats::{Excluded, RowStats};

/// The rows that a thread takes at a time.
const ROWS_AT_ONCE: usize = 32;

/// The memory of mean negatives.
#[derive(Debug, Default)]
pub(crate) struct MeanMemory {
    sums: SumMemory,
    scratch: PerThread<Vec<f64>>,
}

impl MeanMemory {
    pub(crate) fn bytes(&self) -> usize {
        self.sums.bytes() + self.scratch.bytes(bytes_of)
    }
}

/// What mean negatives are computed of.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) batch: Batch<'a>,
    pub(crate) exclusions: SortedExclusions<'a>,
    pub(crate) anchor_norms: &'a [f64],
    pub(crate) candidate_norms: &'a [f64],
    /// The sum of all candidates, each scaled to norm 1.
    pub(crate) candidate_sum: &'a [f64],
}

impl MeanMemory {
    /// The sums of the candidates by labels that the last call has left.
    pub(crate) fn sums<'a>(&'a self, of: Means<'a>) -> Option<GroupSums<'a>> {
        of.summands().map(|summands| self.sums.of(summands))
    }
}

impl<'a> Means<'a> {
    /// The candidates by labels.
    fn summands(self) -> Option<Summands<'a>> {
        let groups = self.exclusions.groups?;
        let (rows, norms) = (self.batch.candidate_rows(), self.candidate_norms);
        Some(Summands { rows, norms, weights: None, members: groups.candidates })
    }

    /// Adds up the candidates by labels, if exclusions are by labels.
    pub(crate) fn sum_labels(self, backend: Backend, join: Join, memory: &mut MeanMemory) -> Result<(), Error> {
        match (self.summands(), self.exclusions.groups) {
            (Some(summands), Some(groups)) => memory.sums.fill(backend, join, summands, groups.anchors).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Replaces the mean negative of every row by that without the excluded candidates.
    pub(crate) fn write(
        self,
        backend: Backend,
        join: Join,
        memory: &mut MeanMemory,
        stats: &mut [RowStats],
    ) -> Result<(), Error> {
        let dim = self.batch.dim();
        self.sum_labels(backend, join, memory)?;
        let sums = self.summands().map(|summands| memory.sums.of(summands));
        let scratch = memory.scratch.grow(join.threads(), |buffer| grow(buffer, Side::Anchors, dim, 1).map(|_| ()))?;
        for_each_block(join, Chunks::new(stats, ROWS_AT_ONCE), &|block, stats| {
            let (first, scratch) = (block * ROWS_AT_ONCE, &mut scratch.of(join)[..dim]);
            for (index, stats) in stats.slice.iter_mut().enumerate() {
                stats.set_mean_negative(self.mean_negative(backend, sums, first + index, scratch));
            }
        });
        Ok(())
    }

    /// The mean negative of a row; none where it has no negatives.
    fn mean_negative(
        self,
        backend: Backend,
        sums: Option<GroupSums<'_>>,
        row: usize,
        scratch: &mut [f64],
    ) -> Option<f32> {
        let negatives = self.exclusions.negatives(row);
        if negatives == 0 {
            None
        } else if self.anchor_norms[row] == 0.0 {
            Some(0.0)
        } else {
            Some((self.sum_of_negatives(backend, sums, row, scratch) / negatives as f64) as f32)
        }
    }

    /// The sum of the similarities of a row, which is not zero, with its negatives.
    fn sum_of_negatives(self, backend: Backend, sums: Option<GroupSums<'_>>, row: usize, scratch: &mut [f64]) -> f64 {
        let (anchor, norm) = (self.batch.anchor_rows().row(row), self.anchor_norms[row]);
        let total = dot_sum(backend, anchor, self.candidate_sum);
        if let Excluded::Lists(lists) = self.exclusions.rules.excluded {
            return total / norm - self.sum_of_listed(backend, row, lists.of(row));
        }
        let group = self.exclusions.groups.and_then(|groups| groups.anchors.group_of(row));
        let of_group = match (sums, group) {
            (Some(sums), Some(group)) => sums.dot(backend, anchor, group, scratch),
            _ => 0.0,
        };
        let mut others = 0.0;
        if let Some(positive) = self.exclusions.positive_apart(row) {
            let [dot] = dots(backend, anchor, [self.batch.candidate_rows().row(positive)]);
            others = cosine(dot, norm, self.candidate_norms[positive]);
        }
        (total - of_group) / norm - others
    }

    /// The sum of the similarities of a row with some candidates, in their order. They are computed in twos, which hide
    /// each other's latency.
    fn sum_of_listed(self, backend: Backend, row: usize, listed: &[usize]) -> f64 {
        let (anchor, norm) = (self.batch.anchor_rows().row(row), self.anchor_norms[row]);
        let (candidates, norms) = (self.batch.candidate_rows(), self.candidate_norms);
        let mut sum = 0.0;
        for pair in listed.chunks(2) {
            let pair = [pair[0], pair[pair.len() - 1]];
            let dots = dots(backend, anchor, [candidates.row(pair[0]), candidates.row(pair[1])]);
            sum += cosine(dots[0], norm, norms[pair[0]]);
            if pair[1] != pair[0] {
                sum += cosine(dots[1], norm, norms[pair[1]]);
            }
        }
        sum
    }
}
