//! Mining without screens, for small batches and few anchors: one pass over the candidates computes their norms, their
//! sum, and every pair exactly, a group of rows at a time while it is in the first-level cache. Nothing is packed.

use super::plan::{MinePlan, Mined};
use crate::arch::{Simd, WithSimd};
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::exact::{
    NormedRows, PairSink, SUM_BLOCK, add_unit_rows, check_norms, combine_blocks, cosine, dot_sum, dots, for_all_pairs,
    norm_rows,
};
use crate::row_stats::{ClosestSearch, Negatives, RowStats};

/// The bytes of a group of candidates, which stay in the first-level cache while all anchors are multiplied with them.
const GROUP_BYTES: usize = 24 << 10;

/// The candidates in a group, at most and at least: whole tiles of every instruction set.
const MOST_ROWS: usize = 48;
const LEAST_ROWS: usize = 12;

/// The memory of a call.
pub(super) struct DirectBuffers<'a> {
    pub(super) anchor_norms: &'a mut [f64],
    pub(super) candidate_norms: &'a mut [f64],
    pub(super) sums: &'a mut [f64],
    pub(super) stats: &'a mut [RowStats],
    pub(super) searches: &'a mut [ClosestSearch],
    /// The similarities with the positives before they are rounded.
    pub(super) positives: &'a mut [f64],
}

/// Writes the statistics of every anchor.
pub(super) fn mine(plan: MinePlan, batch: Batch<'_>, buffers: DirectBuffers<'_>) -> Result<Mined, Error> {
    let DirectBuffers { anchor_norms, candidate_norms, sums, stats, searches, positives } = buffers;
    plan.backend.run(Direct {
        negatives: plan.negatives,
        batch,
        anchor_norms: &mut *anchor_norms,
        candidate_norms: &mut *candidate_norms,
        sums,
        stats,
        searches,
        positives,
    });
    check_norms(Side::Anchors, anchor_norms)?;
    check_norms(batch.candidate_side(), candidate_norms)?;
    Ok(Mined::without_screens(batch, anchor_norms, candidate_norms))
}

struct Direct<'a> {
    negatives: Negatives,
    batch: Batch<'a>,
    anchor_norms: &'a mut [f64],
    candidate_norms: &'a mut [f64],
    sums: &'a mut [f64],
    stats: &'a mut [RowStats],
    searches: &'a mut [ClosestSearch],
    positives: &'a mut [f64],
}

impl WithSimd for Direct<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.open_rows(simd);
        self.search(simd);
        self.close_rows(simd);
    }
}

impl Direct<'_> {
    /// The norm of every anchor, its similarity with its positive, and the search that this one limits.
    #[inline(always)]
    fn open_rows<S: Simd>(&mut self, simd: S) {
        let (anchors, candidates) = (self.batch.anchor_rows(), self.batch.candidate_rows());
        for row in 0..anchors.count() {
            let index = self.batch.positives().of(row);
            let (anchor, positive) = (anchors.row(row), candidates.row(index));
            let [squared_norm, dot, positive_squared_norm] =
                dots(simd, [anchor, anchor, positive], [anchor, positive, positive]);
            let norm = squared_norm.sqrt();
            let similarity = cosine(dot, norm, positive_squared_norm.sqrt());
            self.anchor_norms[row] = norm;
            self.positives[row] = similarity;
            self.searches[row] = ClosestSearch::new(self.negatives, similarity as f32, index);
        }
    }

    /// One pass over the candidates.
    #[inline(always)]
    fn search<S: Simd>(&mut self, simd: S) {
        let (anchors, candidates) = (self.batch.anchor_rows(), self.batch.candidate_rows());
        let dim = self.batch.dim();
        let (anchors, group) = (NormedRows { rows: anchors, norms: self.anchor_norms }, group_rows(dim));
        let sums = self.sums.chunks_exact_mut(dim);
        let blocks = candidates.blocks(SUM_BLOCK).zip(self.candidate_norms.chunks_mut(SUM_BLOCK)).zip(sums);
        for (block, ((rows, norms), sum)) in blocks.enumerate() {
            sum.fill(0.0);
            for (part, (rows, norms)) in rows.blocks(group).zip(norms.chunks_mut(group)).enumerate() {
                norm_rows(simd, rows.data(), dim, norms);
                add_unit_rows(simd, rows.data(), norms, sum);
                let first = block * SUM_BLOCK + part * group;
                let mut sink = SearchSink { searches: &mut *self.searches, first };
                for_all_pairs(simd, anchors, NormedRows { rows, norms }, &mut sink);
            }
        }
        combine_blocks(self.sums, dim);
    }

    /// The mean and the closest negative of every row.
    #[inline(always)]
    fn close_rows<S: Simd>(&mut self, simd: S) {
        let (anchors, dim) = (self.batch.anchor_rows(), self.batch.dim());
        let negatives = (self.batch.candidates() - 1) as f64;
        for (row, (stats, search)) in self.stats.iter_mut().zip(&*self.searches).enumerate() {
            let (norm, positive) = (self.anchor_norms[row], self.positives[row]);
            let total = dot_sum(simd, anchors.row(row), &self.sums[..dim]);
            let mean = if norm == 0.0 { 0.0 } else { (total / norm - positive) / negatives };
            *stats = RowStats::computed(positive as f32, mean as f32, search.found());
        }
    }
}

/// How many candidates of `dim` elements are in a group.
fn group_rows(dim: usize) -> usize {
    (GROUP_BYTES / (4 * dim)).clamp(LEAST_ROWS, MOST_ROWS) / LEAST_ROWS * LEAST_ROWS
}

/// Offers every pair to the search of its anchor.
#[inline(always)]
pub(super) fn search_pairs<S: Simd>(
    simd: S,
    anchors: NormedRows<'_>,
    candidates: NormedRows<'_>,
    searches: &mut [ClosestSearch],
) {
    let group = group_rows(candidates.rows.dim());
    for (part, (rows, norms)) in candidates.rows.blocks(group).zip(candidates.norms.chunks(group)).enumerate() {
        let mut sink = SearchSink { searches: &mut *searches, first: part * group };
        for_all_pairs(simd, anchors, NormedRows { rows, norms }, &mut sink);
    }
}

/// Offers the pairs of a tile to the searches of their rows.
struct SearchSink<'a> {
    searches: &'a mut [ClosestSearch],
    /// The index of the first candidate.
    first: usize,
}

impl PairSink for SearchSink<'_> {
    #[inline(always)]
    fn take(&mut self, anchor: usize, candidate: usize, similarities: &[f32]) {
        self.searches[anchor].offer_run(self.first + candidate, similarities);
    }
}
