//! Mining: the statistics of every anchor, in one pass or a few.
//!
//! A pass prepares the candidates in one format, and screens each block of anchors that waits for it against all of
//! them, the blocks in parallel. Most calls take one pass; blocks that found their screen too coarse wait for another
//! one. The n x m matrix never exists.

mod block;
mod candidates;
mod direct;

use crate::arch::Backend;
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::exact::{check_finite, check_norms};
use crate::memory::{grow, grow_with};
use crate::parallel::{Chunks, Join, PerThread, for_each_block};
use crate::row_stats::{ClosestSearch, Negatives, RowStats};
use crate::screen::{
    Center, Float32, Format, Int8, Int16, Params, Precision, Screen, ScreenPlan, Screening, first_precision,
};

use block::{AnchorBlock, BlockScratch, BlockState, ROW_UNIT, block_len, block_rows};
use candidates::{CandidateBuffers, CandidateMemory, CandidateSizes, Candidates};
use direct::DirectBuffers;

/// Below this many multiply-adds a call stays on its thread: waking sleeping threads takes 10 to 20 us, in which a
/// thread does about as many.
const SERIAL_WORK: usize = 5 << 19;

/// How a batch is mined; none of it but the rule changes a bit of the result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MinePlan {
    pub(crate) negatives: Negatives,
    pub(crate) backend: Backend,
    pub(crate) screen: Screen,
    pub(crate) join: Join,
}

/// What a call found beside the statistics of the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mined {
    pub(crate) zero_anchors: usize,
    pub(crate) zero_candidates: usize,
    pub(crate) screening: Screening,
}

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
    fn grow_direct(&mut self, batch: Batch<'_>) -> Result<DirectBuffers<'_>, Error> {
        let (candidate_norms, sums) = self.candidates.grow_measures(batch.candidate_rows())?;
        Ok(DirectBuffers {
            anchor_norms: grow(&mut self.anchor_norms, Side::Anchors, batch.rows(), 1)?,
            candidate_norms,
            sums,
            stats: grow_with(&mut self.stats, Side::Anchors, batch.rows(), 1, || RowStats::ZERO)?,
            searches: grow_with(&mut self.searches, Side::Anchors, batch.rows(), 1, || ClosestSearch::EMPTY)?,
            positives: grow(&mut self.positives, Side::Anchors, batch.rows(), 1)?,
        })
    }

    /// Grows to what a call needs, whatever the data, and lends it out.
    fn grow<'a>(&'a mut self, plan: MinePlan, batch: Batch<'a>, screens: ScreenPlan) -> Result<Buffers<'a>, Error> {
        let (rows, dim, threads) = (batch.rows(), batch.dim(), plan.join.threads());
        let quantised_dim = screens.quantised_dim;
        let sizes = CandidateSizes {
            rows: batch.candidates(),
            padded_rows: batch.candidates().next_multiple_of(ROW_UNIT),
            dim,
            words_per_row: screens.most_words_per_candidate(dim),
            quantised_dim,
            threads,
        };
        // A smaller shape may take no screen.
        grow_with(&mut self.searches, Side::Anchors, rows, 1, || ClosestSearch::EMPTY)?;
        grow(&mut self.positives, Side::Anchors, rows, 1)?;
        let (shortlists, words) = block_len(rows, dim);
        let scratch = self.scratch.grow(threads, |scratch| scratch.grow(shortlists, words, quantised_dim))?;
        let (candidates, center) = self.candidates.grow(batch.candidate_rows(), sizes)?;
        Ok(Buffers {
            candidates,
            center,
            anchor_norms: grow(&mut self.anchor_norms, Side::Anchors, rows, 1)?,
            stats: grow_with(&mut self.stats, Side::Anchors, rows, 1, || RowStats::ZERO)?,
            // There is room for blocks of any size, as more threads may share a smaller batch in smaller ones.
            states: grow(&mut self.states, Side::Anchors, rows.div_ceil(ROW_UNIT), 1)?,
            scratch,
        })
    }
}

impl Mined {
    /// The counts of a call without screens.
    fn without_screens(batch: Batch<'_>, anchor_norms: &[f64], candidate_norms: &[f64]) -> Mined {
        let zeros = |norms: &[f64]| norms.iter().filter(|&&norm| norm == 0.0).count();
        let mut screening = Screening::default();
        screening.count(Precision::Exact, batch.rows(), batch.rows() * (batch.candidates() - 1));
        Mined { zero_anchors: zeros(anchor_norms), zero_candidates: zeros(candidate_norms), screening }
    }
}

/// The memory of one call.
struct Buffers<'a> {
    candidates: CandidateBuffers<'a>,
    center: &'a mut [f32],
    anchor_norms: &'a mut [f64],
    stats: &'a mut [RowStats],
    states: &'a mut [BlockState],
    scratch: &'a PerThread<BlockScratch>,
}

impl MinePlan {
    /// The same plan, on one thread if the batch is too small to gain from several.
    fn fit(self, batch: Batch<'_>) -> MinePlan {
        let work = batch.rows().saturating_mul(batch.candidates()).saturating_mul(batch.dim());
        MinePlan { join: if work < SERIAL_WORK { Join::Serial } else { self.join }, ..self }
    }
}

/// Writes the statistics of every anchor into the memory.
pub(crate) fn mine(plan: MinePlan, batch: Batch<'_>, memory: &mut MineMemory) -> Result<Mined, Error> {
    let plan = plan.fit(batch);
    let screens = plan.screen.plan(plan.backend, batch);
    if screens.coarsest == Precision::Exact {
        return direct::mine(plan, batch, memory.grow_direct(batch)?);
    }
    let block_rows = block_rows(batch.rows(), batch.dim(), plan.join.threads());
    let Buffers { mut candidates, center, anchor_norms, stats, states, scratch } = memory.grow(plan, batch, screens)?;
    let center =
        if screens.is_quantised() { Center::of(plan.backend, batch.candidate_rows(), center) } else { Center::NONE };
    let params = Params { center, float_bound: screens.float_bound };
    let first = first_precision(plan.backend, batch, plan.negatives, center, screens);
    let states = &mut states[..batch.rows().div_ceil(block_rows)];
    states.fill(BlockState { precision: first, ..BlockState::default() });
    let mut anchors = Anchors { norms: anchor_norms, stats, states, block_rows, scratch };
    let (mut next, mut measured) = (Some(first), false);
    while let Some(precision) = next {
        let pass = PassPlan { plan, batch, params, finest: screens.finest, measured };
        match precision {
            Precision::Int8 => pass.run::<Int8>(&mut candidates, &mut anchors)?,
            Precision::Int16 => pass.run::<Int16>(&mut candidates, &mut anchors)?,
            Precision::Float32 => pass.run::<Float32>(&mut candidates, &mut anchors)?,
            Precision::Exact => pass.run_exactly(&mut candidates, &mut anchors)?,
        }
        measured = true;
        next = anchors.states.iter().filter(|block| !block.done).map(|block| block.precision).min();
    }
    check_norms(Side::Anchors, anchors.norms)?;
    Ok(Mined {
        zero_anchors: anchors.norms.iter().filter(|&&norm| norm == 0.0).count(),
        zero_candidates: candidates.zero_rows(),
        screening: anchors.screening(),
    })
}

/// What is computed of the anchors.
struct Anchors<'a> {
    norms: &'a mut [f64],
    stats: &'a mut [RowStats],
    states: &'a mut [BlockState],
    /// Anchors in a block, a multiple of `ROW_UNIT`.
    block_rows: usize,
    scratch: &'a PerThread<BlockScratch>,
}

impl Anchors<'_> {
    /// How the screens did.
    fn screening(&self) -> Screening {
        let mut screening = Screening::default();
        for (block, state) in self.states.iter().enumerate() {
            let rows = (self.norms.len() - block * self.block_rows).min(self.block_rows);
            screening.count(state.precision, rows, state.scored);
        }
        screening
    }
}

/// A pass of all anchors that wait for one precision over all candidates.
#[derive(Clone, Copy)]
struct PassPlan<'a> {
    plan: MinePlan,
    batch: Batch<'a>,
    params: Params<'a>,
    /// The finest precision that a block may change to.
    finest: Precision,
    /// Whether norms, sums and what follows from them are there, from an earlier pass of the call.
    measured: bool,
}

/// What all blocks of a pass share.
#[derive(Clone, Copy)]
struct PassContext<'a> {
    batch: Batch<'a>,
    negatives: Negatives,
    candidates: Candidates<'a>,
    finest: Precision,
    measured: bool,
}

impl PassPlan<'_> {
    /// Packs the candidates and screens the blocks that wait for this format. Fails with the first row that is not
    /// finite, on the anchors' side if there is one.
    fn run<F: Format>(self, candidates: &mut CandidateBuffers<'_>, anchors: &mut Anchors<'_>) -> Result<(), Error> {
        let MinePlan { backend, join, .. } = self.plan;
        let side = self.batch.candidate_side();
        let prepared = candidates.prepare::<F>(backend, join, side, self.params, self.measured);
        self.mine_blocks(prepared, anchors, F::PRECISION, &|block| block.mine::<F>(backend))
    }

    /// Computes all pairs of the blocks that no screen pays for.
    fn run_exactly(self, candidates: &mut CandidateBuffers<'_>, anchors: &mut Anchors<'_>) -> Result<(), Error> {
        let MinePlan { backend, join, .. } = self.plan;
        let measured = candidates.measure(backend, join, self.batch.candidate_side(), self.params);
        self.mine_blocks(measured, anchors, Precision::Exact, &|block| block.mine_exactly(backend))
    }

    /// Calls `mine_block` for each block that waits for `precision`.
    fn mine_blocks(
        self,
        candidates: Result<Candidates<'_>, Error>,
        anchors: &mut Anchors<'_>,
        precision: Precision,
        mine_block: &(impl Fn(AnchorBlock<'_>) + Sync),
    ) -> Result<(), Error> {
        let PassPlan { plan: MinePlan { backend, join, negatives, .. }, batch, finest, measured, .. } = self;
        let candidates =
            candidates.or_else(|error| check_finite(backend, Side::Anchors, batch.anchor_rows()).and(Err(error)))?;
        let context = PassContext { batch, negatives, candidates, finest, measured };
        let (block_rows, scratch) = (anchors.block_rows, anchors.scratch);
        let norms = Chunks::new(&mut *anchors.norms, block_rows);
        let stats = Chunks::new(&mut *anchors.stats, block_rows);
        let states = Chunks::new(&mut *anchors.states, 1);
        for_each_block(join, (norms, (stats, states)), &|block, (norms, (stats, states))| {
            let state = &mut states.slice[0];
            if !state.done && state.precision == precision {
                let (first, scratch) = (block * block_rows, &mut scratch.of(join));
                mine_block(AnchorBlock::new(&context, first, norms.slice, stats.slice, state, scratch));
            }
        });
        Ok(())
    }
}
