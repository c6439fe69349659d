//! The memory of mining, and the results that a call leaves in it.

use super::block::{BlockScratch, BlockState, ROW_UNIT, block_len};
use super::direct::DirectBuffers;
use crate::batch::Batch;
use crate::candidates::{CandidateBuffers, CandidateMemory, CandidateSizes};
use crate::error::{Error, Side};
use crate::memory::{grow, grow_with};
use crate::parallel::PerThread;
use crate::row_stats::{ClosestSearch, RowStats};
use crate::screen::ScreenPlan;

/// The memory of mining, and the place where its results stay.
#[derive(Debug, Default)]
pub(crate) struct MineMemory {
    candidates: CandidateMemory,
    anchor_norms: Vec<f64>,
    stats: Vec<RowStats>,
    states: Vec<BlockState>,
    scratch: PerThread<BlockScratch>,
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
    pub(crate) fn results<'a>(&'a self, batch: Batch<'a>) -> MineResults<'a> {
        let (candidate_norms, candidate_sum) = match batch.bank() {
            Some(bank) => bank.norms_and_sum(),
            None => self.candidates.norms_and_sum(batch.candidate_rows()),
        };
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

    /// Grows to what a call needs, whatever the data, and lends it out, for the center apart.
    pub(super) fn grow<'a>(
        &'a mut self,
        batch: Batch<'a>,
        screens: ScreenPlan,
        threads: usize,
    ) -> Result<(AnchorBuffers<'a>, CandidateBuffers<'a>, &'a mut [f32]), Error> {
        let (rows, dim, quantised_dim) = (batch.rows(), batch.dim(), screens.quantised_dim);
        let sizes = CandidateSizes {
            padded_rows: batch.candidates().next_multiple_of(ROW_UNIT),
            words_per_row: screens.most_words_per_candidate(dim),
            quantised_dim,
            threads,
        };
        // A smaller shape may take no screen.
        grow_with(&mut self.searches, Side::Anchors, rows, 1, || ClosestSearch::EMPTY)?;
        grow(&mut self.positives, Side::Anchors, rows, 1)?;
        let MineMemory { candidates, anchor_norms, stats, states, scratch, .. } = self;
        let anchors = grow_anchors((anchor_norms, stats, states, scratch), batch, quantised_dim, threads)?;
        let (candidates, center) = candidates.grow(batch.candidate_side(), batch.candidate_rows(), sizes)?;
        Ok((anchors, candidates, center))
    }

    /// Grows to what a call needs whose candidates are prepared, whatever the data, and lends it out.
    pub(super) fn grow_anchors(
        &mut self,
        batch: Batch<'_>,
        quantised_dim: usize,
        threads: usize,
    ) -> Result<AnchorBuffers<'_>, Error> {
        let MineMemory { anchor_norms, stats, states, scratch, .. } = self;
        grow_anchors((anchor_norms, stats, states, scratch), batch, quantised_dim, threads)
    }
}

/// The memory of what is computed of the anchors.
type AnchorMemory<'a> =
    (&'a mut Vec<f64>, &'a mut Vec<RowStats>, &'a mut Vec<BlockState>, &'a mut PerThread<BlockScratch>);

fn grow_anchors<'a>(
    (norms, stats, states, scratch): AnchorMemory<'a>,
    batch: Batch<'_>,
    quantised_dim: usize,
    threads: usize,
) -> Result<AnchorBuffers<'a>, Error> {
    let rows = batch.rows();
    let (shortlists, words) = block_len(rows, batch.dim());
    Ok(AnchorBuffers {
        scratch: scratch.grow(threads, |scratch| scratch.grow(shortlists, words, quantised_dim))?,
        norms: grow(norms, Side::Anchors, rows, 1)?,
        stats: grow_with(stats, Side::Anchors, rows, 1, || RowStats::ZERO)?,
        // Enough for blocks of any size, as more threads may share a smaller batch in smaller ones.
        states: grow(states, Side::Anchors, rows.div_ceil(ROW_UNIT), 1)?,
    })
}

/// What is computed of the anchors of one call.
pub(super) struct AnchorBuffers<'a> {
    pub(super) norms: &'a mut [f64],
    pub(super) stats: &'a mut [RowStats],
    pub(super) states: &'a mut [BlockState],
    pub(super) scratch: &'a PerThread<BlockScratch>,
}
