//! What is known of a row without a pass over pairs: its norm, its positive, and its mean negative.

use crate::arch::Backend;
use crate::batch::Batch;
use crate::exact::SUM_BLOCK;
use crate::excluded::SortedExclusions;
use crate::kernels::{GroupMeasures, MOST_MEASURED, RowGroup, measure_group, norms};
use crate::parallel::{Chunks, Join, for_each_block};
use crate::row_stats::RowStats;
use crate::rows::Rows;

/// What anchors are measured with.
#[derive(Clone, Copy)]
pub(super) struct MeasuredAnchors<'a> {
    pub(super) batch: &'a Batch<'a>,
    pub(super) exclusions: &'a SortedExclusions<'a>,
    pub(super) candidate_norms: &'a [f64],
    /// The norms of the positives, where these are no candidates.
    pub(super) positive_norms: &'a [f64],
    /// The sum of all candidates, each scaled to norm 1.
    pub(super) sum: &'a [f64],
}

/// Writes the norms of the anchors from row `first` on, as many as there are norms, and their statistics without the
/// closest negative: the mean negative as if nothing was excluded, and none where everything is.
pub(super) fn measure_anchors(
    backend: Backend,
    with: &MeasuredAnchors<'_>,
    first: usize,
    norms: &mut [f64],
    stats: &mut [RowStats],
) {
    let MeasuredAnchors { batch, exclusions, candidate_norms, positive_norms, sum } = *with;
    let (among, nothing_excluded) = (batch.outside_rows().is_none(), exclusions.is_nothing());
    let anchors = batch.anchor_rows();
    let (partners, partner_norms) = ([&[][..]; MOST_MEASURED], [0.0; MOST_MEASURED]);
    // Written in place: a move of what was just written waits until that has left the pipeline.
    let mut group = RowGroup { rows: anchors, partners, partner_norms, sum, count: batch.candidates(), among };
    for (index, (norms, stats)) in norms.chunks_mut(MOST_MEASURED).zip(stats.chunks_mut(MOST_MEASURED)).enumerate() {
        let first = first + index * MOST_MEASURED;
        group.rows = anchors.range(first, norms.len());
        for row in 0..norms.len() {
            group.partners[row] = batch.positive_row(first + row);
            let positive = batch.positive_index(first + row);
            group.partner_norms[row] =
                positive.map_or_else(|| positive_norms[first + row], |index| candidate_norms[index]);
        }
        let measures = measure_group(backend, &group);
        for (row, (norm, stats)) in norms.iter_mut().zip(stats).enumerate() {
            let GroupMeasures { norms, cosines, means } = &measures;
            let has_negatives = nothing_excluded || exclusions.negatives(first + row) > 0;
            *norm = norms[row];
            *stats = RowStats::computed(cosines[row] as f32, has_negatives.then_some(means[row] as f32), None);
        }
    }
}

/// Computes the norms of the positives that are no candidates. Whether they are finite is looked at when all else is
/// done: until then similarities with them decide nothing.
pub(super) fn measure_outside(backend: Backend, join: Join, batch: &Batch<'_>, norms: &mut [f64]) {
    if let Some(rows) = batch.outside_rows() {
        measure_norms(backend, join, rows, norms);
    }
}

/// Computes the norms of all rows.
pub(super) fn measure_norms(backend: Backend, join: Join, rows: Rows<'_>, all_norms: &mut [f64]) {
    for_each_block(join, Chunks::new(all_norms, SUM_BLOCK), &|block, block_norms| {
        norms(backend, rows.range(block * SUM_BLOCK, block_norms.slice.len()), block_norms.slice);
    });
}
