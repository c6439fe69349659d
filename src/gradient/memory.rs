//! The memory of a backward pass.

use super::pairs::{Element, Sparse};
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::exact::SUM_BLOCK;
use crate::excluded::SumMemory;
use crate::memory::{bytes_of, grow};
use crate::parallel::PerThread;
use crate::rows::Rows;

/// The memory of a backward pass, for any batch.
#[derive(Debug, Default)]
pub(crate) struct GradientMemory {
    shares: Vec<f64>,
    by_positive: Vec<f64>,
    anchor_sums: Vec<f64>,
    by_anchor: SparseMemory,
    by_candidate: SparseMemory,
    /// The weighted sums of the anchors by labels.
    label_sums: SumMemory,
    /// The gradient of a row before it is rounded, and the sum of a label.
    row: PerThread<Vec<f64>>,
}

/// The memory of a [`Sparse`] matrix.
#[derive(Debug, Default)]
struct SparseMemory {
    ends: Vec<usize>,
    elements: Vec<Element>,
}

/// The memory of one call, as long as its batch asks for. The contents are whatever was there.
pub(super) struct GradientBuffers<'a> {
    /// The number of each anchor that is common to its whole row.
    pub(super) shares: &'a mut [f64],
    /// The derivative by the similarity of each positive that is no candidate.
    pub(super) by_positive: &'a mut [f64],
    /// The blocks of the weighted sum of the anchors.
    pub(super) anchor_sums: &'a mut [f64],
    pub(super) by_anchor: Sparse<'a>,
    pub(super) by_candidate: Sparse<'a>,
    pub(super) label_sums: &'a mut SumMemory,
    pub(super) row: &'a PerThread<Vec<f64>>,
}

impl SparseMemory {
    fn bytes(&self) -> usize {
        bytes_of(&self.ends) + bytes_of(&self.elements)
    }

    /// Grows to `rows` rows with `elements` elements in all, and lends them out.
    fn grow(&mut self, side: Side, rows: usize, elements: usize) -> Result<Sparse<'_>, Error> {
        let ends = grow(&mut self.ends, side, rows, 1)?;
        Ok(Sparse { ends, elements: grow(&mut self.elements, side, elements, 1)? })
    }
}

impl GradientMemory {
    pub(crate) fn bytes(&self) -> usize {
        let rows = [&self.shares, &self.by_positive, &self.anchor_sums].map(bytes_of).iter().sum::<usize>();
        let sums = self.label_sums.bytes() + self.row.bytes(bytes_of);
        rows + self.by_anchor.bytes() + self.by_candidate.bytes() + sums
    }

    /// Grows to a batch and a number of threads, and lends the memory out.
    pub(super) fn grow(&mut self, batch: Batch<'_>, threads: usize) -> Result<GradientBuffers<'_>, Error> {
        let (anchors, candidates, dim) = (batch.rows(), batch.candidates(), batch.dim());
        let outside = batch.outside_rows().map_or(0, Rows::count);
        // The derivative of each anchor's loss singles out its positive, its closest negative and what a list excludes.
        let overflow = Error::SizeOverflow { side: Side::Anchors, rows: anchors, columns: 2 };
        let listed = batch.exclusions().lists().map_or(Some(0), |lists| lists.total(anchors)).ok_or(overflow)?;
        let elements = anchors.checked_mul(2).and_then(|elements| elements.checked_add(listed)).ok_or(overflow)?;
        Ok(GradientBuffers {
            shares: grow(&mut self.shares, Side::Anchors, anchors, 1)?,
            by_positive: grow(&mut self.by_positive, Side::Positives, outside, 1)?,
            anchor_sums: grow(&mut self.anchor_sums, Side::Anchors, anchors.div_ceil(SUM_BLOCK), dim)?,
            by_anchor: self.by_anchor.grow(Side::Anchors, anchors, elements)?,
            by_candidate: self.by_candidate.grow(Side::Candidates, candidates, elements)?,
            label_sums: &mut self.label_sums,
            row: self.row.grow(threads, |row| grow(row, Side::Anchors, dim, 2).map(|_| ()))?,
        })
    }
}
