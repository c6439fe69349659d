//! The memory of mining, and the results that a call leaves in it.

use super::block::{BlockScratch, BlockSizes, BlockState, ROW_UNIT, block_len};
use super::direct::DirectBuffers;
use super::neighbours::QueryState;
use super::source::Unprepared;
use crate::arch::Backend;
use crate::bank::Bank;
use crate::batch::Batch;
use crate::candidates::{CandidateMemory, CandidateSizes};
use crate::error::{Error, Side};
use crate::excluded::{GroupSums, MeanMemory, Means, Prepared};
use crate::memory::{grow, grow_with};
use crate::parallel::{Join, PerThread};
use crate::row_stats::{ClosestSearch, Neighbour, RowStats};
use crate::rows::{Rows, Sides};
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
    positive_norms: Vec<f64>,
    means: MeanMemory,
}

/// The results of a call, as a backward pass reads them.
#[derive(Clone, Copy)]
pub(crate) struct MineResults<'a> {
    pub(crate) anchor_norms: &'a [f64],
    pub(crate) candidate_norms: &'a [f64],
    /// Those of positives that are no candidates.
    pub(crate) positive_norms: &'a [f64],
    pub(crate) candidate_sum: &'a [f64],
    pub(crate) stats: &'a [RowStats],
    pub(crate) exclusions: Prepared<'a>,
    /// The sums of the candidates by labels, if exclusions are by labels.
    pub(crate) label_sums: Option<GroupSums<'a>>,
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
    pub(crate) fn results<'a>(&'a self, batch: Batch<'a>, exclusions: Prepared<'a>) -> MineResults<'a> {
        let (candidate_norms, candidate_sum) = norms_and_sum(&self.candidates, batch);
        let anchor_norms = &self.anchor_norms[..batch.rows()];
        let positive_norms = &self.positive_norms[..rows_outside(batch)];
        let stats = self.stats(batch.rows());
        let means = Means { batch, prepared: exclusions, anchor_norms, candidate_norms, candidate_sum };
        let label_sums = self.means.sums(means);
        MineResults { anchor_norms, candidate_norms, positive_norms, candidate_sum, stats, exclusions, label_sums }
    }

    /// Takes the excluded candidates out of the mean negatives of the batch that was just mined.
    pub(super) fn exclude_from_means(
        &mut self,
        backend: Backend,
        join: Join,
        batch: Batch<'_>,
        prepared: Prepared<'_>,
    ) -> Result<(), Error> {
        let MineMemory { candidates, anchor_norms, stats, means, .. } = self;
        let (candidate_norms, candidate_sum) = norms_and_sum(candidates, batch);
        let of = Means { batch, prepared, anchor_norms, candidate_norms, candidate_sum };
        of.write(backend, join, means, &mut stats[..batch.rows()])
    }

    /// Grows to what a call without screens needs, and lends it out.
    pub(super) fn grow_direct(&mut self, batch: Batch<'_>) -> Result<DirectBuffers<'_>, Error> {
        let (candidate_norms, sums) = self.candidates.grow_measures(batch.candidate_side(), batch.candidate_rows())?;
        Ok(DirectBuffers {
            anchor_norms: grow(&mut self.anchor_norms, Side::Anchors, batch.rows(), 1)?,
            candidate_norms,
            positive_norms: grow(&mut self.positive_norms, Side::Positives, rows_outside(batch), 1)?,
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
    ) -> Result<(MineBuffers<'a>, StatsBuffers<'a>), Error> {
        let rows = batch.rows();
        if batch.bank().is_none() {
            // A smaller shape may take no screen.
            grow_with(&mut self.searches, Side::Anchors, rows, 1, || ClosestSearch::EMPTY)?;
            grow(&mut self.positives, Side::Anchors, rows, 1)?;
        }
        let MineMemory { candidates, anchor_norms, positive_norms, states, scratch, stats, .. } = self;
        let needs = Needs { sides: batch.sides(), bank: batch.bank(), screens, threads, k: 1 };
        let buffers = needs.grow(candidates, anchor_norms, states, scratch)?;
        let positive_norms = grow(positive_norms, Side::Positives, rows_outside(batch), 1)?;
        Ok((
            buffers,
            StatsBuffers { positive_norms, stats: grow_with(stats, Side::Anchors, rows, 1, || RowStats::ZERO)? },
        ))
    }

    /// Grows to what the `kept` closest neighbours of each query need, whatever the data, and lends it out.
    pub(super) fn grow_neighbours<'a>(
        &'a mut self,
        needs: Needs<'a>,
    ) -> Result<(MineBuffers<'a>, &'a mut [QueryState], &'a mut [Neighbour]), Error> {
        let rows = needs.sides.anchors.count();
        let MineMemory { candidates, anchor_norms, states, scratch, queries, neighbours, .. } = self;
        let buffers = needs.grow(candidates, anchor_norms, states, scratch)?;
        let queries = grow_with(queries, Side::Anchors, rows, 1, || QueryState::EMPTY)?;
        Ok((buffers, queries, grow(neighbours, Side::Output, rows, needs.k)?))
    }

    /// The queries of the last call, and `kept` places for neighbours of each.
    pub(crate) fn neighbours(&self, queries: usize, kept: usize) -> (&[QueryState], &[Neighbour]) {
        (&self.queries[..queries], &self.neighbours[..queries * kept])
    }
}

/// The norms and the sum of the candidates of a batch, which were computed last or are a bank's.
fn norms_and_sum<'a>(memory: &'a CandidateMemory, batch: Batch<'a>) -> (&'a [f64], &'a [f64]) {
    match batch.bank() {
        Some(bank) => bank.norms_and_sum(),
        None => memory.norms_and_sum(batch.candidate_rows()),
    }
}

/// How many positives are no candidates.
fn rows_outside(batch: Batch<'_>) -> usize {
    batch.outside_rows().map_or(0, Rows::count)
}

/// The results of a forward pass.
pub(super) struct StatsBuffers<'a> {
    /// The norms of positives that are no candidates.
    pub(super) positive_norms: &'a mut [f64],
    pub(super) stats: &'a mut [RowStats],
}

/// The memory of one call, but for its results.
pub(super) struct MineBuffers<'a> {
    pub(super) candidates: Unprepared<'a>,
    pub(super) anchor_norms: &'a mut [f64],
    pub(super) states: &'a mut [BlockState],
    pub(super) scratch: &'a PerThread<BlockScratch>,
}

/// What the memory of a call depends on.
#[derive(Clone, Copy)]
pub(super) struct Needs<'a> {
    pub(super) sides: Sides<'a>,
    /// The bank that the candidates are in.
    pub(super) bank: Option<&'a Bank<'a>>,
    pub(super) screens: ScreenPlan,
    pub(super) threads: usize,
    /// How many candidates each row's list is to find.
    pub(super) k: usize,
}

impl<'a> Needs<'a> {
    fn grow(
        self,
        candidates: &'a mut CandidateMemory,
        anchor_norms: &'a mut Vec<f64>,
        states: &'a mut Vec<BlockState>,
        scratch: &'a mut PerThread<BlockScratch>,
    ) -> Result<MineBuffers<'a>, Error> {
        let Needs { sides: Sides { anchors, candidates: others, candidate_side }, bank, screens, threads, k } = self;
        let (rows, dim, quantised_dim) = (anchors.count(), anchors.dim(), screens.quantised_dim);
        let (lists, words) = block_len(rows, dim);
        let block = BlockSizes { lists, words, quantised_dim, k, candidates: others.count() };
        let scratch = scratch.grow(threads, |scratch| scratch.grow(block))?;
        let sizes = CandidateSizes {
            padded_rows: others.count().next_multiple_of(ROW_UNIT),
            words_per_row: screens.most_words_per_candidate(dim),
            quantised_dim,
            threads,
        };
        let candidates = match bank {
            Some(bank) => Unprepared::Bank(bank),
            None => {
                let (buffers, center) = candidates.grow(candidate_side, others, sizes)?;
                Unprepared::Rows(buffers, center)
            }
        };
        Ok(MineBuffers {
            candidates,
            anchor_norms: grow(anchor_norms, Side::Anchors, rows, 1)?,
            // Enough for blocks of any size, as more threads may share a smaller batch in smaller ones.
            states: grow(states, Side::Anchors, rows.div_ceil(ROW_UNIT), 1)?,
            scratch,
        })
    }
}
