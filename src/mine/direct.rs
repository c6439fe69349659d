//! Mining in one pass over the candidates, for small batches and few anchors: their norms, their sum and every pair, a group
//! of rows at a time while it is in a cache. Nothing is packed: pairs are computed exactly, or [screened](super::row_screen)
//! as the rows lie in memory.

use std::sync::{Mutex, PoisonError};

use super::Call;
use super::measure::{MeasuredAnchors, measure_anchors, measure_outside};
use super::plan::Mined;
use super::row_screen::{RowScreen, RowSearch, screened_rows};
use super::task::StatsTask;
use crate::arch::Backend;
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::exact::{PairsOf, SUM_BLOCK, check_norms, combine_blocks, group_rows, zero_norms};
use crate::kernels::{
    MOST_CANDIDATES, MOST_ROWS, MOST_SIMILAR, NearSimilarities, NormedRows, Similarities, add_unit_rows, cosine,
    dot_sum, mean_negative, measure_cached_rows, measure_rows, pair_dots,
};
use crate::parallel::{Chunks, Join, for_each_block};
use crate::row_stats::{Admissible, ClosestSearch, RowStats};
use crate::rows::Rows;
use crate::screen::Screening;

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
    pub(super) similarities: &'a mut Similarities,
    pub(super) near: &'a mut NearSimilarities,
}

/// The most anchors for which the candidates are divided over threads.
const MOST_SHARED: usize = 64;

/// Writes the statistics of every anchor. The task knows no norms of positives: they are computed here.
pub(super) fn mine(call: &Call<'_>, task: &StatsTask<'_>, mut buffers: DirectBuffers<'_>) -> Result<Mined, Error> {
    if task.batch.candidates() <= MOST_CANDIDATES {
        return mine_small(call.backend, task, RowScreen::of_pass(call.screens), buffers);
    }
    open_rows(call.backend, task, &mut buffers);
    let screening = search(call, task, &mut buffers);
    close_rows(call.backend, task, &mut buffers);
    Ok(Mined { screening, ..finish(task.batch, &buffers)? })
}

/// Fails with the first row that is not finite, if there is one, and counts those that are zero.
fn finish(batch: &Batch<'_>, buffers: &DirectBuffers<'_>) -> Result<Mined, Error> {
    let DirectBuffers { anchor_norms, candidate_norms, positive_norms, .. } = buffers;
    check_norms(Side::Anchors, anchor_norms)?;
    check_norms(batch.candidate_side(), candidate_norms)?;
    check_norms(Side::Positives, positive_norms)?;
    let zeros = [zero_norms(anchor_norms), zero_norms(candidate_norms), zero_norms(positive_norms)];
    Ok(Mined::without_screens(batch, zeros))
}

/// [`mine`] of a batch with at most [`SUM_BLOCK`] candidates: they are measured first, so that one look at an anchor gives its
/// norm, its positive and its mean.
pub(super) fn mine_small(
    backend: Backend,
    task: &StatsTask<'_>,
    screen: RowScreen,
    mut buffers: DirectBuffers<'_>,
) -> Result<Mined, Error> {
    const {
        assert!(
            MOST_CANDIDATES <= MOST_SIMILAR && MOST_SIMILAR <= SUM_BLOCK,
            "the candidates are one block of their sum"
        )
    }
    let StatsTask { batch, exclusions, negatives, .. } = *task;
    let DirectBuffers {
        anchor_norms, candidate_norms, positive_norms, sums, stats, searches, similarities, near, ..
    } = &mut buffers;
    let rows = batch.candidate_rows();
    sums.fill(0.0);
    for (rows, norms) in rows.blocks(MOST_ROWS).zip(candidate_norms.chunks_mut(MOST_ROWS)) {
        measure_cached_rows(backend, rows.data(), norms, sums);
    }
    measure_outside(backend, Join::Serial, batch, positive_norms);
    let measured = MeasuredAnchors { batch, exclusions, candidate_norms, positive_norms, sum: sums };
    measure_anchors(backend, &measured, 0, anchor_norms, stats);
    for (search, stats) in searches.iter_mut().zip(stats.iter()) {
        let qualify = |_| negatives.admissible(stats.positive());
        *search = ClosestSearch::new(stats.mean_negative().map_or(Admissible::NONE, qualify));
    }
    let anchors = NormedRows { rows: batch.anchor_rows(), norms: anchor_norms };
    let candidates = NormedRows { rows, norms: candidate_norms };
    let pairs = PairsOf { backend, anchors, first: 0, candidates, first_candidate: 0, rules: &exclusions.rules };
    let mut search = RowSearch::new(screen, batch.rows(), near, similarities);
    search.search(&pairs, searches, true);
    let screening = search.counts_of(batch);
    for (stats, search) in stats.iter_mut().zip(searches.iter()) {
        stats.set_closest_negative(search.found());
    }
    Ok(Mined { screening, ..finish(batch, &buffers)? })
}

/// Computes the norm of every anchor and its similarity with its positive, and opens the search that this one limits.
fn open_rows(backend: Backend, task: &StatsTask<'_>, buffers: &mut DirectBuffers<'_>) {
    let StatsTask { batch, exclusions, negatives, .. } = *task;
    for row in 0..batch.rows() {
        let [own, dot, other] = pair_dots(backend, batch.anchor_rows().row(row), batch.positive_row(row));
        let (norm, positive_norm) = (own.sqrt(), other.sqrt());
        let similarity = cosine(dot, norm, positive_norm);
        buffers.anchor_norms[row] = norm;
        if batch.positive_index(row).is_none() {
            buffers.positive_norms[row] = positive_norm;
        }
        buffers.positives[row] = similarity;
        let admissible = match exclusions.negatives(row) {
            0 => Admissible::NONE,
            _ => negatives.admissible(similarity as f32),
        };
        buffers.searches[row] = ClosestSearch::new(admissible);
    }
}

/// Passes over the candidates. Returns what was done.
fn search(call: &Call<'_>, task: &StatsTask<'_>, buffers: &mut DirectBuffers<'_>) -> Screening {
    let Call { backend, join, screens, .. } = *call;
    let DirectBuffers { anchor_norms, candidate_norms, sums, searches, similarities, near, .. } = buffers;
    let (batch, candidates, screen) = (task.batch, task.batch.candidate_rows(), RowScreen::of_pass(screens));
    let anchors = NormedRows { rows: batch.anchor_rows(), norms: anchor_norms };
    // The norms of candidates are computed on the way.
    let none = NormedRows { rows: candidates, norms: &[] };
    let rules = &task.exclusions.rules;
    let pairs = PairsOf { backend, anchors, first: 0, candidates: none, first_candidate: 0, rules };
    let mut search = RowSearch::new(screen, batch.rows(), near, similarities);
    if join == Join::Serial || searches.len() > MOST_SHARED {
        let blocks = candidates.blocks(SUM_BLOCK).zip(candidate_norms.chunks_mut(SUM_BLOCK));
        for (block, ((rows, norms), sum)) in blocks.zip(sums.chunks_exact_mut(batch.dim())).enumerate() {
            search_block(&pairs, rows, block * SUM_BLOCK, (norms, sum), searches, &mut search);
        }
    } else {
        (search.counts, search.screened) = search_shared(join, &pairs, candidate_norms, sums, (screen, searches));
    }
    combine_blocks(sums, batch.dim());
    search.counts_of(batch)
}

/// Divides the candidates over threads, block by block; the searches of a block are merged with the others'. Returns what
/// was done, and how many anchors were screened in all blocks.
fn search_shared(
    join: Join,
    pairs: &PairsOf<'_>,
    norms: &mut [f64],
    sums: &mut [f64],
    (screen, searches): (RowScreen, &mut [ClosestSearch]),
) -> (Screening, usize) {
    let candidates = pairs.candidates.rows;
    let mut opened = [ClosestSearch::EMPTY; MOST_SHARED];
    let count = searches.len();
    opened[..count].copy_from_slice(searches);
    let found = Mutex::new((searches, Screening::default(), count));
    let blocks = (Chunks::new(norms, SUM_BLOCK), Chunks::new(sums, candidates.dim()));
    for_each_block(join, blocks, &|block, (norms, sums)| {
        let (mut own, mut similarities, mut near) = (opened, Similarities::EMPTY, NearSimilarities::EMPTY);
        let (first, own) = (block * SUM_BLOCK, &mut own[..count]);
        let rows = candidates.range(first, norms.slice.len());
        let mut search = RowSearch::new(screen, count, &mut near, &mut similarities);
        search_block(pairs, rows, first, (norms.slice, sums.slice), own, &mut search);
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        let (searches, counts, screened) = &mut *found;
        *counts += search.counts;
        *screened = search.screened.min(*screened);
        for (found, own) in searches.iter_mut().zip(own) {
            found.merge(own);
        }
    });
    let (_, counts, screened) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    (counts, screened)
}

/// One pass over a block of candidates, the first of which is candidate `first`: their norms, their sum, and every pair.
fn search_block(
    pairs: &PairsOf<'_>,
    rows: Rows<'_>,
    first: usize,
    (norms, sum): (&mut [f64], &mut [f64]),
    searches: &mut [ClosestSearch],
    search: &mut RowSearch<'_>,
) {
    let is_screened = search.screen != RowScreen::Off;
    let size = if is_screened { screened_rows(rows.dim()) } else { group_rows(rows.dim()) };
    sum.fill(0.0);
    for (group, (rows, norms)) in rows.blocks(size).zip(norms.chunks_mut(size)).enumerate() {
        let first = first + group * size;
        if is_screened {
            measure_rows(pairs.backend, rows, norms, sum);
            let candidates = NormedRows { rows, norms };
            search.search(&PairsOf { candidates, first_candidate: first, ..*pairs }, searches, false);
        } else {
            pairs.measure_group(rows, norms, first, searches, search.similarities);
            add_unit_rows(pairs.backend, rows.data(), norms, sum);
            search.count_tiles(searches.len() * norms.len());
        }
    }
}

/// Completes every row with its mean and its closest negative.
fn close_rows(backend: Backend, task: &StatsTask<'_>, buffers: &mut DirectBuffers<'_>) {
    let DirectBuffers { anchor_norms, sums, stats, searches, positives, .. } = buffers;
    let batch = task.batch;
    for (row, (stats, search)) in stats.iter_mut().zip(searches.iter()).enumerate() {
        let positive = positives[row];
        let total = dot_sum(backend, batch.anchor_rows().row(row), &sums[..batch.dim()]);
        let candidate = batch.positive_index(row).map(|_| positive);
        let mean = mean_negative(total, anchor_norms[row], candidate, batch.candidates());
        *stats = RowStats::computed(positive as f32, Some(mean as f32), search.found());
    }
}
