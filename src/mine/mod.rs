//! Mining: the statistics of every anchor, in one pass or a few.
//!
//! A pass prepares the candidates in one format, and screens each block of anchors that waits for it against all of
//! them, the blocks in parallel. Most calls take one pass; blocks that found their screen too coarse wait for another
//! one. Small batches take none: all their pairs are computed exactly ([`direct`]). The n x m matrix never exists.

mod block;
mod candidates;
mod direct;
mod memory;
mod pass;
mod plan;
mod screening;

use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::exact::{check_finite, check_norms};
use crate::parallel::{Chunks, Join, PerThread, for_each_block};
use crate::row_stats::RowStats;
use crate::screen::{Center, Float32, Format, Int8, Int16, Params, Precision, ScreenPlan, Screening, first_precision};

use block::{AnchorBlock, BlockScratch, BlockState, block_rows};
use candidates::{CandidateBuffers, Candidates};
use memory::MineBuffers;
pub(crate) use memory::{MineMemory, MineResults};
use pass::PassContext;
pub(crate) use plan::{MinePlan, Mined};

/// Writes the statistics of every anchor into the memory.
pub(crate) fn mine(plan: MinePlan, batch: Batch<'_>, memory: &mut MineMemory) -> Result<Mined, Error> {
    let screens = plan.screen.plan(plan.backend, batch);
    let join = plan.threads.join(screens.nanoseconds);
    if screens.is_direct {
        let buffers = memory.grow_direct(batch)?;
        return join.enter(|| direct::mine(plan, join, batch, buffers));
    }
    let buffers = memory.grow(batch, screens, join.threads())?;
    join.enter(|| mine_in_passes(plan, screens, join, batch, buffers))
}

/// Mines with screens, in one pass or a few.
fn mine_in_passes(
    plan: MinePlan,
    screens: ScreenPlan,
    join: Join,
    batch: Batch<'_>,
    buffers: MineBuffers<'_>,
) -> Result<Mined, Error> {
    let block_rows = block_rows(batch.rows(), batch.dim(), join.threads());
    let MineBuffers { mut candidates, center, anchor_norms, stats, states, scratch } = buffers;
    let center =
        if screens.is_quantised() { Center::of(plan.backend, batch.candidate_rows(), center) } else { Center::NONE };
    let params = Params { center, float_bound: screens.float_bound };
    let first = first_precision(plan.backend, batch, plan.negatives, params, (screens.coarsest, screens.finest));
    let states = &mut states[..batch.rows().div_ceil(block_rows)];
    states.fill(BlockState { precision: first, ..BlockState::default() });
    let mut anchors = Anchors { norms: anchor_norms, stats, states, block_rows, scratch };
    let (mut next, mut measured) = (Some(first), false);
    while let Some(precision) = next {
        let pass = Pass { plan, join, batch, params, finest: screens.finest, measured };
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
    /// The counts of the screens' work.
    fn screening(&self) -> Screening {
        let mut screening = Screening::default();
        for (block, state) in self.states.iter().enumerate() {
            let rows = (self.norms.len() - block * self.block_rows).min(self.block_rows);
            screening.count(state.precision, rows - state.exact_rows, state.scored);
            screening.count(Precision::Exact, state.exact_rows, 0);
        }
        screening
    }
}

/// One pass of a call.
#[derive(Clone, Copy)]
struct Pass<'a> {
    plan: MinePlan,
    join: Join,
    batch: Batch<'a>,
    params: Params<'a>,
    finest: Precision,
    measured: bool,
}

impl Pass<'_> {
    /// Packs the candidates and screens the blocks that wait for this format. Fails with the first row that is not
    /// finite, on the anchors' side if there is one.
    fn run<F: Format>(self, candidates: &mut CandidateBuffers<'_>, anchors: &mut Anchors<'_>) -> Result<(), Error> {
        let (backend, side) = (self.plan.backend, self.batch.candidate_side());
        let prepared = candidates.prepare::<F>(backend, self.join, side, self.params, self.measured);
        self.mine_blocks(prepared, anchors, F::PRECISION, &|block| block.mine::<F>(backend))
    }

    /// Computes all pairs of the blocks that no screen pays for.
    fn run_exactly(self, candidates: &mut CandidateBuffers<'_>, anchors: &mut Anchors<'_>) -> Result<(), Error> {
        let (backend, side) = (self.plan.backend, self.batch.candidate_side());
        let measured = candidates.measure(backend, self.join, side, self.params);
        self.mine_blocks(measured, anchors, Precision::Exact, &|block| block.mine_exactly(backend))
    }

    /// Calls `mine_block` for each block that waits for `precision`.
    fn mine_blocks(
        self,
        candidates: Result<Candidates<'_>, Error>,
        blocks: &mut Anchors<'_>,
        precision: Precision,
        mine_block: &(impl Fn(AnchorBlock<'_>) + Sync),
    ) -> Result<(), Error> {
        let Pass { plan: MinePlan { backend, negatives, .. }, join, batch, finest, measured, .. } = self;
        let (anchors, positives) = (batch.anchor_rows(), batch.positives());
        let candidates = candidates.or_else(|error| check_finite(backend, Side::Anchors, anchors).and(Err(error)))?;
        let context = PassContext { anchors, positives, candidates, negatives, finest, measured };
        let (block_rows, scratch) = (blocks.block_rows, blocks.scratch);
        let norms = Chunks::new(&mut *blocks.norms, block_rows);
        let stats = Chunks::new(&mut *blocks.stats, block_rows);
        let states = Chunks::new(&mut *blocks.states, 1);
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

#[cfg(all(test, feature = "rayon"))]
mod tests {
    use super::*;
    use crate::arch::Backend;
    use crate::batch::Positives;
    use crate::parallel::Threads;
    use crate::screen::Screen;

    /// How calls of a shape are run, for every backend and screen.
    fn joins(rows: usize, candidates: usize, dim: usize) -> Vec<Join> {
        let (anchors, others) = (vec![0.0; rows * dim], vec![0.0; candidates * dim]);
        let batch = Batch::new(&anchors, &others, dim, Positives::Identity).unwrap();
        let plans = Backend::available().flat_map(|backend| Screen::all().map(move |screen| (backend, screen)));
        plans.map(|(backend, screen)| Threads::Rayon.join(screen.plan(backend, batch).nanoseconds)).collect()
    }

    /// The tests of threads and of their allocations rely on it.
    #[test]
    fn large_calls_are_divided_over_threads_and_small_ones_are_not() {
        for (rows, candidates, dim) in [(900, 900, 64), (48, 10_000, 48), (3, 40_000, 32), (1024, 1024, 128)] {
            let joins = joins(rows, candidates, dim);
            assert!(joins.iter().all(|&join| join == Join::Rayon), "{rows} x {candidates} x {dim}: {joins:?}");
        }
        for (rows, candidates, dim) in [(1, 2, 1), (32, 32, 128), (1, 1024, 128), (48, 48, 64)] {
            let joins = joins(rows, candidates, dim);
            assert!(joins.iter().all(|&join| join == Join::Serial), "{rows} x {candidates} x {dim}: {joins:?}");
        }
    }
}
