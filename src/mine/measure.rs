//! What is known of a row without a pass over pairs: its norm, its positive, and its mean negative.

use crate::arch::Backend;
use crate::batch::Batch;
use crate::exact::{SUM_BLOCK, mean_negative};
use crate::excluded::SortedExclusions;
use crate::kernels::{anchor_dots, cosine, norms};
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
    /// The anchors that a kernel takes at once.
    const AT_ONCE: usize = 8;
    let MeasuredAnchors { batch, exclusions, candidate_norms, positive_norms, sum } = *with;
    let (mut positives, mut dots) = ([&[][..]; AT_ONCE], [[0.0; 3]; AT_ONCE]);
    for (group, (norms, stats)) in norms.chunks_mut(AT_ONCE).zip(stats.chunks_mut(AT_ONCE)).enumerate() {
        let (first, count) = (first + group * AT_ONCE, norms.len());
        for (row, positive) in positives[..count].iter_mut().enumerate() {
            *positive = batch.positive_row(first + row);
        }
        let rows = batch.anchor_rows().range(first, count);
        anchor_dots(backend, rows, &positives[..count], sum, &mut dots[..count]);
        for (row, (norm, stats)) in norms.iter_mut().zip(stats).enumerate() {
            let ([squared_norm, dot, total], row) = (dots[row], first + row);
            *norm = squared_norm.sqrt();
            let positive = batch.positive_index(row);
            let positive_norm = positive.map_or_else(|| positive_norms[row], |positive| candidate_norms[positive]);
            let similarity = cosine(dot, *norm, positive_norm);
            let mean = mean_negative(total, *norm, positive.map(|_| similarity), batch.candidates());
            let mean = (exclusions.negatives(row) > 0).then_some(mean as f32);
            *stats = RowStats::computed(similarity as f32, mean, None);
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
