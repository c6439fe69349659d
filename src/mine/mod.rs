//! Mining: the statistics of every anchor, in one pass or a few.
//!
//! A pass prepares the candidates in one format, and screens each block of anchors that waits for it against all of
//! them, the blocks in parallel. Most calls take one pass; blocks that found their screen too coarse wait for another
//! one. Small batches take none: all their pairs are computed exactly ([`direct`]). The n x m matrix never exists.

mod block;
mod direct;
mod memory;
mod pass;
mod plan;
mod screening;
mod source;

use crate::bank::Bank;
use crate::batch::Batch;
use crate::candidates::Candidates;
use crate::error::{Error, Side};
use crate::exact::{check_finite, check_norms};
use crate::parallel::{Chunks, Join, PerThread, for_each_block};
use crate::row_stats::RowStats;
use crate::screen::{Center, Float32, Format, Int8, Int16, Params, Precision, Precisions, Screening, first_precision};

use block::{AnchorBlock, BlockScratch, BlockState, block_rows};
use memory::AnchorBuffers;
pub(crate) use memory::{MineMemory, MineResults};
use pass::PassContext;
pub(crate) use plan::{MinePlan, Mined};
use source::Source;

/// Below this many multiply-adds a call stays on its thread: waking sleeping threads takes 10 to 20 us, in which a
/// thread does about as many.
const SERIAL_WORK: usize = 5 << 19;

/// Writes the statistics of every anchor into the memory.
pub(crate) fn mine(plan: MinePlan, batch: Batch<'_>, memory: &mut MineMemory) -> Result<Mined, Error> {
    match batch.bank() {
        Some(bank) => mine_bank(plan, batch, bank, memory),
        None => mine_rows(plan, batch, memory),
    }
}

/// Writes the statistics of every anchor, whose candidates are prepared.
fn mine_bank(plan: MinePlan, batch: Batch<'_>, bank: &Bank<'_>, memory: &mut MineMemory) -> Result<Mined, Error> {
    let join = plan.threads.join(work(batch) >= SERIAL_WORK);
    let precisions = bank.precisions(plan.screen, batch.rows());
    let anchors = memory.grow_anchors(batch, bank.quantised_dim(), join.threads())?;
    let plan = MinePlan { backend: bank.backend(), ..plan };
    let passes = Passes { plan, join, batch, params: bank.params(), precisions };
    passes.run(precisions.coarsest(), Source::Bank(bank), anchors)
}

/// The multiply-adds of a call.
fn work(batch: Batch<'_>) -> usize {
    batch.rows().saturating_mul(batch.candidates()).saturating_mul(batch.dim())
}

/// Writes the statistics of every anchor, whose candidates are raw rows.
fn mine_rows(plan: MinePlan, batch: Batch<'_>, memory: &mut MineMemory) -> Result<Mined, Error> {
    let screens = plan.screen.plan(plan.backend, batch.shape());
    let join = plan.threads.join(work(batch) >= SERIAL_WORK);
    if screens.is_direct {
        return direct::mine(plan, join, batch, memory.grow_direct(batch)?);
    }
    let (anchors, candidates, center) = memory.grow(batch, screens, join.threads())?;
    let center =
        if screens.is_quantised() { Center::of(plan.backend, batch.candidate_rows(), center) } else { Center::NONE };
    let params = Params { center, float_bound: screens.float_bound };
    let rows = (batch.anchor_rows(), batch.positives(), batch.candidate_rows());
    let first = first_precision(plan.backend, rows, plan.negatives, params, screens.precisions);
    let passes = Passes { plan, join, batch, params, precisions: screens.precisions };
    passes.run(first, Source::Rows(candidates), anchors)
}

/// All passes of a call.
#[derive(Clone, Copy)]
struct Passes<'a> {
    plan: MinePlan,
    join: Join,
    batch: Batch<'a>,
    params: Params<'a>,
    precisions: Precisions,
}

impl Passes<'_> {
    /// A pass in the precision `first`, and one for each other precision that blocks wait for after it.
    fn run(self, first: Precision, mut source: Source<'_>, anchors: AnchorBuffers<'_>) -> Result<Mined, Error> {
        let (rows, dim) = (self.batch.rows(), self.batch.dim());
        let block_rows = block_rows(rows, dim, self.join.threads());
        let AnchorBuffers { norms, stats, states, scratch } = anchors;
        let states = &mut states[..rows.div_ceil(block_rows)];
        states.fill(BlockState { precision: first, ..BlockState::default() });
        let mut anchors = Anchors { norms, stats, states, block_rows, scratch };
        let (mut next, mut measured) = (Some(first), false);
        while let Some(precision) = next {
            let pass = Pass { of: self, measured };
            match precision {
                Precision::Int8 => pass.run::<Int8>(&mut source, &mut anchors)?,
                Precision::Int16 => pass.run::<Int16>(&mut source, &mut anchors)?,
                Precision::Float32 => pass.run::<Float32>(&mut source, &mut anchors)?,
                Precision::Exact => pass.run_exactly(&mut source, &mut anchors)?,
            }
            measured = true;
            next = anchors.states.iter().filter(|block| !block.done).map(|block| block.precision).min();
        }
        check_norms(Side::Anchors, anchors.norms)?;
        Ok(Mined {
            zero_anchors: anchors.norms.iter().filter(|&&norm| norm == 0.0).count(),
            zero_candidates: source.zero_rows(),
            screening: anchors.screening(),
        })
    }
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
    of: Passes<'a>,
    measured: bool,
}

impl Pass<'_> {
    /// Packs the candidates, unless they are, and screens the blocks that wait for this format. Fails with the first row that is not
    /// finite, on the anchors' side if there is one.
    fn run<F: Format>(self, source: &mut Source<'_>, anchors: &mut Anchors<'_>) -> Result<(), Error> {
        let Passes { plan: MinePlan { backend, .. }, join, batch, params, .. } = self.of;
        let prepared = source.prepare::<F>(backend, join, batch.candidate_side(), params, self.measured);
        self.mine_blocks(prepared, anchors, F::PRECISION, &|block| block.mine::<F>(backend))
    }

    /// Computes all pairs of the blocks that no screen pays for.
    fn run_exactly(self, source: &mut Source<'_>, anchors: &mut Anchors<'_>) -> Result<(), Error> {
        let Passes { plan: MinePlan { backend, .. }, join, batch, params, .. } = self.of;
        let measured = source.measure(backend, join, batch.candidate_side(), params);
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
        let Passes { plan: MinePlan { backend, negatives, .. }, join, batch, precisions, .. } = self.of;
        let (anchors, positives) = (batch.anchor_rows(), batch.positives());
        let candidates = candidates.or_else(|error| check_finite(backend, Side::Anchors, anchors).and(Err(error)))?;
        let context = PassContext { anchors, positives, candidates, negatives, precisions, measured: self.measured };
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
