//! Mining without screens, for small batches and few anchors: one pass over the candidates computes their norms, their
//! sum, and every pair exactly, a group of rows at a time while it is in the first-level cache. Nothing is packed.

use std::sync::{Mutex, PoisonError};

use super::plan::{MinePlan, Mined};
use crate::arch::{Backend, Simd, WithSimd};
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::exact::{
    NormedRows, PairSink, SUM_BLOCK, add_unit_rows, anchor_dots, check_norms, combine_blocks, cosine, dot_sum, dots,
    for_all_pairs, mean_negative, measure_all_pairs, norm_row, norm_rows,
};
use crate::excluded::Prepared;
use crate::parallel::{Chunks, Join, for_each_block};
use crate::row_stats::{Admissible, ClosestSearch, Negatives, RowExclusions, RowStats, Search};
use crate::rows::Rows;

/// The bytes of a group of candidates, which stay in the first-level cache while all anchors are multiplied with them.
const GROUP_BYTES: usize = 24 << 10;

/// The candidates in a group, at most and at least: whole tiles of every instruction set.
const MOST_ROWS: usize = 48;
const LEAST_ROWS: usize = 12;

/// The memory of a call.
pub(super) struct DirectBuffers<'a> {
    pub(super) anchor_norms: &'a mut [f64],
    pub(super) candidate_norms: &'a mut [f64],
    /// Those of positives that are no candidates.
    pub(super) positive_norms: &'a mut [f64],
    pub(super) sums: &'a mut [f64],
    pub(super) stats: &'a mut [RowStats],
    pub(super) searches: &'a mut [ClosestSearch],
    /// The similarities with the positives before they are rounded.
    pub(super) positives: &'a mut [f64],
}

/// The most anchors for which the candidates are divided over threads.
const MOST_SHARED: usize = 32;

/// Writes the statistics of every anchor.
pub(super) fn mine<E: RowExclusions>(
    plan: MinePlan,
    join: Join,
    batch: Batch<'_>,
    (prepared, exclusions): (Prepared<'_>, E),
    mut buffers: DirectBuffers<'_>,
) -> Result<Mined, Error> {
    if batch.candidates() <= MOST_ROWS {
        plan.backend.run(SmallBatch { negatives: plan.negatives, batch, prepared, exclusions, buffers: &mut buffers });
    } else {
        search(plan, join, batch, (prepared, exclusions), &mut buffers);
    }
    let DirectBuffers { anchor_norms, candidate_norms, positive_norms, .. } = buffers;
    check_norms(Side::Anchors, anchor_norms)?;
    check_norms(batch.candidate_side(), candidate_norms)?;
    check_norms(Side::Positives, positive_norms)?;
    Ok(Mined::without_screens(batch, anchor_norms, candidate_norms, positive_norms))
}

/// Opens all rows, passes over the candidates, and completes the rows.
fn search<E: RowExclusions>(
    plan: MinePlan,
    join: Join,
    batch: Batch<'_>,
    (prepared, exclusions): (Prepared<'_>, E),
    buffers: &mut DirectBuffers<'_>,
) {
    let DirectBuffers { anchor_norms, candidate_norms, positive_norms, sums, stats, searches, positives } = buffers;
    let MinePlan { backend, negatives, .. } = plan;
    backend.run(OpenRows { negatives, batch, prepared, norms: anchor_norms, positive_norms, positives, searches });
    let anchors = NormedRows { rows: batch.anchor_rows(), norms: anchor_norms };
    if join == Join::Serial || searches.len() > MOST_SHARED {
        let (rows, norms, sums) = (batch.candidate_rows(), &mut *candidate_norms, &mut *sums);
        backend.run(SearchBlocks { anchors, exclusions, rows, first: 0, norms, sums, searches });
    } else {
        let candidates = batch.candidate_rows();
        search_shared(backend, join, anchors, (candidates, exclusions), candidate_norms, sums, searches);
    }
    combine_blocks(sums, batch.dim());
    backend.run(CloseRows { batch, norms: anchor_norms, sum: &sums[..batch.dim()], positives, searches, stats });
}

/// A whole call, in one function of the instruction set. All candidates are measured first, so that one look at an
/// anchor gives its norm, its positive and its mean.
struct SmallBatch<'a, 'b, 'c, E> {
    negatives: Negatives,
    batch: Batch<'a>,
    prepared: Prepared<'a>,
    exclusions: E,
    buffers: &'b mut DirectBuffers<'c>,
}

impl<E: RowExclusions> WithSimd for SmallBatch<'_, '_, '_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { negatives, batch, prepared, exclusions, buffers } = self;
        let DirectBuffers { anchor_norms, candidate_norms, positive_norms, sums, stats, searches, .. } = buffers;
        let (rows, dim) = (batch.candidate_rows(), batch.dim());
        sums.fill(0.0);
        norm_rows(simd, rows.data(), dim, candidate_norms);
        add_unit_rows(simd, rows.data(), candidate_norms, sums);
        for row in 0..batch.rows() {
            let (anchor, positive) = (batch.anchor_rows().row(row), batch.positive_row(row));
            let [squared_norm, dot, total] = anchor_dots(simd, anchor, positive, sums);
            let (norm, index) = (squared_norm.sqrt(), batch.positive_index(row));
            let positive_norm = if let Some(index) = index {
                candidate_norms[index]
            } else {
                positive_norms[row] = norm_row(simd, positive);
                positive_norms[row]
            };
            let similarity = cosine(dot, norm, positive_norm);
            let mean = mean_negative(total, norm, index.map(|_| similarity), batch.candidates());
            anchor_norms[row] = norm;
            searches[row] = ClosestSearch::new(admissible(negatives, prepared, row, similarity));
            stats[row] = RowStats::computed(similarity as f32, Some(mean as f32), None);
        }
        let anchors = NormedRows { rows: batch.anchor_rows(), norms: anchor_norms };
        let sink = SearchSink { searches, exclusions, first: 0 };
        search_pairs(simd, anchors, NormedRows { rows, norms: candidate_norms }, sink);
        for (stats, search) in stats.iter_mut().zip(searches.iter()) {
            stats.set_closest_negative(search.found());
        }
    }
}

/// Divides the candidates over threads, block by block; the searches of a block are merged with the others'.
fn search_shared<E: RowExclusions>(
    backend: Backend,
    join: Join,
    anchors: NormedRows<'_>,
    (candidates, exclusions): (Rows<'_>, E),
    norms: &mut [f64],
    sums: &mut [f64],
    searches: &mut [ClosestSearch],
) {
    let mut opened = [ClosestSearch::EMPTY; MOST_SHARED];
    opened[..searches.len()].copy_from_slice(searches);
    let found = Mutex::new(searches);
    let blocks = (Chunks::new(norms, SUM_BLOCK), Chunks::new(sums, candidates.dim()));
    for_each_block(join, blocks, &|block, (norms, sums)| {
        let mut own = opened;
        let searches = &mut own[..anchors.rows.count()];
        let (first, norms) = (block * SUM_BLOCK, norms.slice);
        let rows = candidates.range(first, norms.len());
        let sums = sums.slice;
        backend.run(SearchBlocks { anchors, exclusions, rows, first, norms, sums, searches: &mut *searches });
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        for (found, own) in found.iter_mut().zip(searches) {
            found.merge(own);
        }
    });
}

/// Computes the norm of every anchor and its similarity with its positive, and opens the search that this one limits.
struct OpenRows<'a> {
    negatives: Negatives,
    batch: Batch<'a>,
    prepared: Prepared<'a>,
    norms: &'a mut [f64],
    /// Of the positives that are no candidates, or empty.
    positive_norms: &'a mut [f64],
    positives: &'a mut [f64],
    searches: &'a mut [ClosestSearch],
}

impl WithSimd for OpenRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for row in 0..self.batch.rows() {
            let index = self.batch.positive_index(row);
            let (anchor, positive) = (self.batch.anchor_rows().row(row), self.batch.positive_row(row));
            let [squared_norm, dot, positive_squared_norm] =
                dots(simd, [anchor, anchor, positive], [anchor, positive, positive]);
            let norm = squared_norm.sqrt();
            let positive_norm = positive_squared_norm.sqrt();
            let similarity = cosine(dot, norm, positive_norm);
            self.norms[row] = norm;
            if index.is_none() {
                self.positive_norms[row] = positive_norm;
            }
            self.positives[row] = similarity;
            self.searches[row] = ClosestSearch::new(admissible(self.negatives, self.prepared, row, similarity));
        }
    }
}

/// The similarities that qualify in a row whose positive has this one: none where there is no negative.
#[inline(always)]
fn admissible(negatives: Negatives, prepared: Prepared<'_>, row: usize, positive: f64) -> Admissible {
    match prepared.negatives(row) {
        0 => Admissible::NONE,
        _ => negatives.admissible(positive as f32),
    }
}

/// One pass over some blocks of candidates: their norms, their sums, and every pair.
struct SearchBlocks<'a, E> {
    anchors: NormedRows<'a>,
    exclusions: E,
    rows: Rows<'a>,
    /// The index of the first row.
    first: usize,
    norms: &'a mut [f64],
    sums: &'a mut [f64],
    searches: &'a mut [ClosestSearch],
}

impl<E: RowExclusions> WithSimd for SearchBlocks<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { anchors, exclusions, rows, first, norms, sums, searches } = self;
        let (dim, group) = (rows.dim(), group_rows(rows.dim()));
        let blocks = rows.blocks(SUM_BLOCK).zip(norms.chunks_mut(SUM_BLOCK)).zip(sums.chunks_exact_mut(dim));
        for (block, ((rows, norms), sum)) in blocks.enumerate() {
            sum.fill(0.0);
            for (part, (rows, norms)) in rows.blocks(group).zip(norms.chunks_mut(group)).enumerate() {
                let first = first + block * SUM_BLOCK + part * group;
                let mut sink = SearchSink { searches: &mut *searches, exclusions, first };
                measure_all_pairs(simd, anchors, rows, norms, &mut sink);
                add_unit_rows(simd, rows.data(), norms, sum);
            }
        }
    }
}

/// Completes every row with its mean and its closest negative.
struct CloseRows<'a> {
    batch: Batch<'a>,
    norms: &'a [f64],
    /// The sum of all candidates, each scaled to norm 1.
    sum: &'a [f64],
    positives: &'a [f64],
    searches: &'a [ClosestSearch],
    stats: &'a mut [RowStats],
}

impl WithSimd for CloseRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (row, (stats, search)) in self.stats.iter_mut().zip(self.searches).enumerate() {
            let positive = self.positives[row];
            let total = dot_sum(simd, self.batch.anchor_rows().row(row), self.sum);
            let candidate = self.batch.positive_index(row).map(|_| positive);
            let mean = mean_negative(total, self.norms[row], candidate, self.batch.candidates());
            *stats = RowStats::computed(positive as f32, Some(mean as f32), search.found());
        }
    }
}

/// How many candidates of `dim` elements are in a group.
fn group_rows(dim: usize) -> usize {
    (GROUP_BYTES / (4 * dim)).clamp(LEAST_ROWS, MOST_ROWS) / LEAST_ROWS * LEAST_ROWS
}

/// Receives the pairs of one group of candidates after the other.
pub(super) trait GroupSink: PairSink {
    /// The next group begins with candidate `first`.
    fn start_group(&mut self, first: usize);
}

/// Computes every pair, a group of candidates at a time.
#[inline(always)]
pub(super) fn search_pairs<S: Simd>(
    simd: S,
    anchors: NormedRows<'_>,
    candidates: NormedRows<'_>,
    mut sink: impl GroupSink,
) {
    let group = group_rows(candidates.rows.dim());
    for (part, (rows, norms)) in candidates.rows.blocks(group).zip(candidates.norms.chunks(group)).enumerate() {
        sink.start_group(part * group);
        for_all_pairs(simd, anchors, NormedRows { rows, norms }, &mut sink);
    }
}

/// Offers the pairs of a tile to the searches of their rows.
struct SearchSink<'a, E> {
    searches: &'a mut [ClosestSearch],
    exclusions: E,
    /// The index of the first candidate.
    first: usize,
}

impl<E: RowExclusions> GroupSink for SearchSink<'_, E> {
    #[inline(always)]
    fn start_group(&mut self, first: usize) {
        self.first = first;
    }
}

impl<E: RowExclusions> PairSink for SearchSink<'_, E> {
    #[inline(always)]
    fn take(&mut self, anchor: usize, candidate: usize, similarities: &[f32]) {
        self.searches[anchor].offer_run(self.first + candidate, similarities, self.exclusions.of(anchor));
    }
}
