//! The memory of mining, and the results that a call leaves in it.

use super::block::{BlockScratch, BlockSizes, BlockState, ROW_UNIT, block_len};
use super::candidates::{CandidateBuffers, CandidateMemory, CandidateSizes};
use super::direct::DirectBuffers;
use super::neighbours::QueryState;
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::memory::{grow, grow_with};
use crate::parallel::PerThread;
use crate::row_stats::{ClosestSearch, Neighbour, RowStats};
use crate::rows::Sides;
use crate::screen::ScreenPlan;

/// The memory of mining, and the place where its results stay.
#[derive(Debug, Default)]
pub(crate) struct MineMemory {
    candidates: CandidateMemory,
    anchor_norms: Vec<f64>,
    states: Vec<BlockState>,
    scratch: PerThread<BlockScratch>,
    stats: Vec<RowStats>,
    queries: Vec<QueryState>,
    neighbours: Vec<Neighbour>,
    searches: Vec<ClosestSearch>,
    positives: Vec<f64>,
}

/// The results of a call, as a backward pass reads them.
#[derive(Clone, Copy)]
pub(crate) struct MineResults<'a> {
    pub(crate) anchor_norms: &'a [f64],
    pub(crate) candidate_norms: &'a [f64],
    pub(crate) candidate_sum: &'a [f64],
    pub(crate) stats: &'a [RowStats],
}

impl MineMemory {
    /// Grows the statistics to `rows` rows.
    pub(crate) fn grow_stats(&mut self, rows: usize) -> Result<&mut [RowStats], Error> {
        grow_with(&mut self.stats, Side::Anchors, rows, 1, || RowStats::ZERO)
    }

    /// How many anchors, candidates and words of panels there is memory for.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        let (candidates, panel_words) = self.candidates.sizes();
        (self.stats.len(), candidates, panel_words)
    }

    /// The statistics that the last call has left of its `rows` rows.
    pub(crate) fn stats(&self, rows: usize) -> &[RowStats] {
        &self.stats[..rows]
    }

    /// What the last call, which was over `batch`, has left.
    pub(crate) fn results(&self, batch: Batch<'_>) -> MineResults<'_> {
        let (candidate_norms, candidate_sum) = self.candidates.norms_and_sum(batch.candidate_rows());
        let anchor_norms = &self.anchor_norms[..batch.rows()];
        MineResults { anchor_norms, candidate_norms, candidate_sum, stats: self.stats(batch.rows()) }
    }

    /// Grows to what a call without screens needs, and lends it out.
    pub(super) fn grow_direct(&mut self, batch: Batch<'_>) -> Result<DirectBuffers<'_>, Error> {
        let (candidate_norms, sums) = self.candidates.grow_measures(batch.candidate_side(), batch.candidate_rows())?;
        Ok(DirectBuffers {
            anchor_norms: grow(&mut self.anchor_norms, Side::Anchors, batch.rows(), 1)?,
            candidate_norms,
            sums,
            stats: grow_with(&mut self.stats, Side::Anchors, batch.rows(), 1, || RowStats::ZERO)?,
            searches: grow_with(&mut self.searches, Side::Anchors, batch.rows(), 1, || ClosestSearch::EMPTY)?,
            positives: grow(&mut self.positives, Side::Anchors, batch.rows(), 1)?,
        })
    }

    /// Grows to what the statistics of a batch need, whatever the data, and lends it out.
    pub(super) fn grow_stats_of<'a>(
        &'a mut self,
        batch: Batch<'a>,
        screens: ScreenPlan,
        threads: usize,
    ) -> Result<(MineBuffers<'a>, &'a mut [RowStats]), Error> {
        let rows = batch.rows();
        // A smaller shape may take no screen.
        grow_with(&mut self.searches, Side::Anchors, rows, 1, || ClosestSearch::EMPTY)?;
        grow(&mut self.positives, Side::Anchors, rows, 1)?;
        let MineMemory { candidates, anchor_norms, states, scratch, stats, .. } = self;
        let buffers =
            MineBuffers::grow(candidates, anchor_norms, states, scratch, (batch.sides(), screens, threads, 1))?;
        Ok((buffers, grow_with(stats, Side::Anchors, rows, 1, || RowStats::ZERO)?))
    }

    /// Grows to what the `kept` closest neighbours of each query need, whatever the data, and lends it out.
    pub(super) fn grow_neighbours<'a>(
        &'a mut self,
        sides: Sides<'a>,
        screens: ScreenPlan,
        threads: usize,
        kept: usize,
    ) -> Result<(MineBuffers<'a>, &'a mut [QueryState], &'a mut [Neighbour]), Error> {
        let rows = sides.anchors.count();
        let MineMemory { candidates, anchor_norms, states, scratch, queries, neighbours, .. } = self;
        let buffers = MineBuffers::grow(candidates, anchor_norms, states, scratch, (sides, screens, threads, kept))?;
        let queries = grow_with(queries, Side::Anchors, rows, 1, || QueryState::EMPTY)?;
        Ok((buffers, queries, grow(neighbours, Side::Output, rows, kept)?))
    }

    /// The queries of the last call, and `kept` places for neighbours of each.
    pub(crate) fn neighbours(&self, queries: usize, kept: usize) -> (&[QueryState], &[Neighbour]) {
        (&self.queries[..queries], &self.neighbours[..queries * kept])
    }
}

/// The memory of one call, whatever it searches for.
pub(super) struct MineBuffers<'a> {
    pub(super) candidates: CandidateBuffers<'a>,
    pub(super) center: &'a mut [f32],
    pub(super) anchor_norms: &'a mut [f64],
    pub(super) states: &'a mut [BlockState],
    pub(super) scratch: &'a PerThread<BlockScratch>,
}

impl<'a> MineBuffers<'a> {
    /// Grows to what a call of so many threads needs, which searches for the `k` closest.
    fn grow(
        candidates: &'a mut CandidateMemory,
        anchor_norms: &'a mut Vec<f64>,
        states: &'a mut Vec<BlockState>,
        scratch: &'a mut PerThread<BlockScratch>,
        (sides, screens, threads, k): (Sides<'a>, ScreenPlan, usize, usize),
    ) -> Result<MineBuffers<'a>, Error> {
        let Sides { anchors, candidates: others, candidate_side } = sides;
        let (rows, dim, quantised_dim) = (anchors.count(), anchors.dim(), screens.quantised_dim);
        let sizes = CandidateSizes {
            padded_rows: others.count().next_multiple_of(ROW_UNIT),
            words_per_row: screens.most_words_per_candidate(dim),
            quantised_dim,
            threads,
        };
        let (lists, words) = block_len(rows, dim);
        let block = BlockSizes { lists, words, quantised_dim, k, candidates: others.count() };
        let scratch = scratch.grow(threads, |scratch| scratch.grow(block))?;
        let (candidates, center) = candidates.grow(candidate_side, others, sizes)?;
        Ok(MineBuffers {
            candidates,
            center,
            anchor_norms: grow(anchor_norms, Side::Anchors, rows, 1)?,
            // Enough for blocks of any size, as more threads may share a smaller batch in smaller ones.
            states: grow(states, Side::Anchors, rows.div_ceil(ROW_UNIT), 1)?,
            scratch,
        })
    }
}
