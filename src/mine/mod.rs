//! Mining: the statistics of every anchor, in one pass or a few.
//!
//! A pass prepares the candidates in one format, and screens each block of anchors that waits for it against all of
//! them, the blocks in parallel. Most calls take one pass; blocks that found their screen too coarse wait for another
//! one. Small batches take none: all their pairs are computed exactly ([`direct`]). The n x m matrix never exists.

mod block;
mod candidates;
mod direct;
mod memory;
mod neighbours;
mod pass;
mod plan;
mod screening;
mod task;

use crate::arch::Backend;
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::exact::{check_finite, check_norms};
use crate::mining_batch::MiningBatch;
use crate::parallel::{Chunks, Join, PerThread, for_each_block};
use crate::row_stats::Negatives;
use crate::rows::Sides;
use crate::screen::{
    Center, Float32, Format, Int8, Int16, NeighbourList, Params, Precision, RowLimits, ScreenPlan, Screening,
    Shortlist, first_precision,
};

use block::{AnchorBlock, BlockScratch, BlockState, block_rows};
use candidates::{CandidateBuffers, Candidates};
use memory::MineBuffers;
pub(crate) use memory::{MineMemory, MineResults};
pub(crate) use neighbours::QueryState;
use neighbours::{NeighbourTask, OpenQueries, QueryLimits};
use pass::PassContext;
pub(crate) use plan::{MinePlan, Mined, NeighbourPlan};
use task::{StatsTask, Task};

/// Below this many multiply-adds a call stays on its thread: waking sleeping threads takes 10 to 20 us, in which a
/// thread does about as many.
const SERIAL_WORK: usize = 5 << 19;

/// Writes the statistics of every anchor into the memory.
pub(crate) fn mine(plan: MinePlan, batch: Batch<'_>, memory: &mut MineMemory) -> Result<Mined, Error> {
    let MinePlan { negatives, backend, screen, threads } = plan;
    let sides = batch.sides();
    let screens = screen.plan(backend, sides);
    let join = threads.join(sides.work() >= SERIAL_WORK);
    if screens.is_direct {
        return direct::mine(plan, join, batch, memory.grow_direct(batch)?);
    }
    let (buffers, stats) = memory.grow_stats_of(batch, screens, join.threads())?;
    let mut call = Call::new(backend, join, sides, screens, buffers);
    let task = StatsTask { batch, negatives };
    call.begin((negatives != Negatives::Any).then_some(task));
    let stats = Chunks::new(stats, call.anchors.block_rows);
    call.run(task, stats)
}

/// Writes the closest negatives of every query into the memory.
pub(crate) fn mine_neighbours(
    plan: NeighbourPlan,
    batch: MiningBatch<'_>,
    memory: &mut MineMemory,
) -> Result<Screening, Error> {
    let NeighbourPlan { kept, thresholds, backend, screen, threads } = plan;
    let sides = batch.sides();
    let screens = screen.plan(backend, sides);
    let join = threads.join(sides.work() >= SERIAL_WORK);
    let (buffers, states, neighbours) = memory.grow_neighbours(sides, screens, join.threads(), kept)?;
    let mut call = Call::new(backend, join, sides, screens, buffers);
    let size = call.anchors.block_rows;
    let blocks = (Chunks::new(&mut *call.anchors.norms, size), Chunks::new(&mut *states, size));
    for_each_block(join, blocks, &|block, (norms, states)| {
        let (first, norms, states) = (block * size, norms.slice, states.slice);
        backend.run(OpenQueries { batch, thresholds, first, norms, states });
    });
    check_norms(Side::Anchors, call.anchors.norms)?;
    call.begin(thresholds.have_upper().then_some(QueryLimits { batch, states }));
    let results = (Chunks::new(states, size), Chunks::new(neighbours, size * kept));
    let mined = if kept == 1 {
        call.run(NeighbourTask::<Shortlist>::new(batch), results)
    } else {
        call.run(NeighbourTask::<NeighbourList>::new(batch), results)
    };
    mined.map(|mined| mined.screening)
}

/// One call: how it runs, and its memory but for the results.
struct Call<'a> {
    backend: Backend,
    join: Join,
    sides: Sides<'a>,
    screens: ScreenPlan,
    params: Params<'a>,
    candidates: CandidateBuffers<'a>,
    anchors: Anchors<'a>,
}

impl<'a> Call<'a> {
    fn new(backend: Backend, join: Join, sides: Sides<'a>, screens: ScreenPlan, buffers: MineBuffers<'a>) -> Call<'a> {
        let MineBuffers { candidates, center, anchor_norms: norms, states, scratch } = buffers;
        let rows = sides.anchors.count();
        let block_rows = block_rows(rows, sides.anchors.dim(), join.threads());
        let center = if screens.is_quantised() { Center::of(backend, sides.candidates, center) } else { Center::NONE };
        let params = Params { center, float_bound: screens.float_bound };
        let states = &mut states[..rows.div_ceil(block_rows)];
        let anchors = Anchors { norms, states, block_rows, scratch };
        Call { backend, join, sides, screens, params, candidates, anchors }
    }

    /// Chooses the precision that all blocks begin with, by a sample if rows have limits.
    fn begin(&mut self, limits: Option<impl RowLimits>) {
        let range = (self.screens.coarsest, self.screens.finest);
        let precision = first_precision(self.backend, self.sides, limits, self.params, range);
        self.anchors.states.fill(BlockState { precision, ..BlockState::default() });
    }

    /// Completes the rows of all blocks.
    fn run<T: Task>(mut self, task: T, mut results: T::Results<'_>) -> Result<Mined, Error> {
        let Call { backend, join, sides, screens, params, .. } = self;
        let mut measured = false;
        while let Some(precision) = self.anchors.waiting() {
            let pass = Pass { backend, join, sides, params, finest: screens.finest, measured, task };
            let (candidates, anchors) = (&mut self.candidates, &mut self.anchors);
            match precision {
                Precision::Int8 => pass.run::<Int8>(candidates, anchors, &mut results)?,
                Precision::Int16 => pass.run::<Int16>(candidates, anchors, &mut results)?,
                Precision::Float32 => pass.run::<Float32>(candidates, anchors, &mut results)?,
                Precision::Exact => pass.run_exactly(candidates, anchors, &mut results)?,
            }
            measured = true;
        }
        check_norms(Side::Anchors, self.anchors.norms)?;
        Ok(Mined {
            zero_anchors: self.anchors.norms.iter().filter(|&&norm| norm == 0.0).count(),
            zero_candidates: self.candidates.zero_rows(),
            screening: self.anchors.screening(),
        })
    }
}

/// What is computed of the anchors, but for the results.
struct Anchors<'a> {
    norms: &'a mut [f64],
    states: &'a mut [BlockState],
    /// Anchors in a block, a multiple of `ROW_UNIT`.
    block_rows: usize,
    scratch: &'a PerThread<BlockScratch>,
}

impl Anchors<'_> {
    /// The coarsest precision that a block waits for.
    fn waiting(&self) -> Option<Precision> {
        self.states.iter().filter(|block| !block.done).map(|block| block.precision).min()
    }

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
struct Pass<'a, T> {
    backend: Backend,
    join: Join,
    sides: Sides<'a>,
    params: Params<'a>,
    finest: Precision,
    measured: bool,
    task: T,
}

impl<T: Task> Pass<'_, T> {
    /// Packs the candidates and screens the blocks that wait for this format. Fails with the first row that is not
    /// finite, on the anchors' side if there is one.
    fn run<F: Format>(
        self,
        candidates: &mut CandidateBuffers<'_>,
        anchors: &mut Anchors<'_>,
        results: &mut T::Results<'_>,
    ) -> Result<(), Error> {
        let Pass { backend, join, sides, params, measured, .. } = self;
        let prepared = candidates.prepare::<F>(backend, join, sides.candidate_side, params, measured);
        self.mine_blocks(prepared, anchors, results, F::PRECISION, &|block| block.mine::<F>(backend))
    }

    /// Computes all pairs of the blocks that no screen pays for.
    fn run_exactly(
        self,
        candidates: &mut CandidateBuffers<'_>,
        anchors: &mut Anchors<'_>,
        results: &mut T::Results<'_>,
    ) -> Result<(), Error> {
        let Pass { backend, join, sides, params, .. } = self;
        let measured = candidates.measure(backend, join, sides.candidate_side, params);
        self.mine_blocks(measured, anchors, results, Precision::Exact, &|block| block.mine_exactly(backend))
    }

    /// Calls `mine_block` for each block that waits for `precision`.
    fn mine_blocks(
        self,
        candidates: Result<Candidates<'_>, Error>,
        blocks: &mut Anchors<'_>,
        results: &mut T::Results<'_>,
        precision: Precision,
        mine_block: &(impl Fn(AnchorBlock<'_, T>) + Sync),
    ) -> Result<(), Error> {
        let Pass { backend, join, sides: Sides { anchors, .. }, finest, measured, task, .. } = self;
        let candidates = candidates.or_else(|error| check_finite(backend, Side::Anchors, anchors).and(Err(error)))?;
        let context = PassContext { anchors, candidates, finest, measured, task };
        let (block_rows, scratch) = (blocks.block_rows, blocks.scratch);
        let norms = Chunks::new(&mut *blocks.norms, block_rows);
        let states = Chunks::new(&mut *blocks.states, 1);
        for_each_block(join, (norms, (T::lend(results), states)), &|block, (norms, (mut results, states))| {
            let state = &mut states.slice[0];
            if !state.done && state.precision == precision {
                let (first, scratch, results) = (block * block_rows, &mut scratch.of(join), T::lend(&mut results));
                mine_block(AnchorBlock::new(&context, first, norms.slice, results, state, scratch));
            }
        });
        Ok(())
    }
}
