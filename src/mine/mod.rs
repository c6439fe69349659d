//! Mining: the statistics of every anchor, in one pass or a few.
//!
//! A pass prepares the candidates in one format, and screens each block of anchors that waits for it against all of
//! them, the blocks in parallel. Most calls take one pass; blocks that found their screen too coarse wait for another
//! one. Small batches take none: all their pairs are computed exactly ([`direct`]). The n x m matrix never exists.

mod block;
mod direct;
#[cfg(test)]
mod forced_plans;
mod memory;
mod neighbours;
mod pass;
mod plan;
mod screening;
mod source;
mod task;

use crate::arch::{Backend, Simd, WithSimd};
use crate::bank::Bank;
use crate::batch::Batch;
use crate::candidates::{Candidates, measure_rows};
use crate::error::{Error, Side};
use crate::exact::{SUM_BLOCK, check_finite, check_norms, norm_rows_from_memory};
use crate::excluded::Prepared;
use crate::mining_batch::MiningBatch;
use crate::parallel::{Chunks, Join, PerThread, Threads, for_each_block};
use crate::row_stats::{MiningRules, Negatives, RowExclusions, RowStats};
use crate::rows::{Rows, Sides};
use crate::screen::{
    Float32, Format, Int8, Int16, NeighbourList, Params, Precision, RowLimits, Screen, ScreenPlan, Screening,
    Shortlist, first_precision,
};

use block::{AnchorBlock, BlockScratch, BlockState, block_rows};
use memory::{MeasureBuffers, MineBuffers, Needs, StatsBuffers};
pub(crate) use memory::{MineMemory, MineResults};
pub(crate) use neighbours::QueryState;
use neighbours::{NeighbourTask, OpenQueries, QueryLimits};
use pass::PassContext;
use plan::zeros;
pub(crate) use plan::{MeasurePlan, MinePlan, Mined, NeighbourPlan};
use source::Source;
use task::{StatsTask, Task};

/// About how long it takes to compute the norm of a row and to add it to a sum, for each of its elements.
const NANOSECONDS_MEASURED: f64 = 0.3;

/// Writes the statistics of every anchor into the memory.
pub(crate) fn mine(
    plan: MinePlan,
    batch: Batch<'_>,
    prepared: Prepared<'_>,
    memory: &mut MineMemory,
) -> Result<Mined, Error> {
    let run = Run::new(plan.backend, plan.screen, plan.threads, batch.sides(), batch.bank());
    run.join.enter(|| mine_in(run, plan, batch, prepared, memory))
}

/// [`mine`], where the call is to run.
fn mine_in(
    run: Run<'_>,
    plan: MinePlan,
    batch: Batch<'_>,
    prepared: Prepared<'_>,
    memory: &mut MineMemory,
) -> Result<Mined, Error> {
    if prepared.is_nothing() {
        return mine_stats(plan, run, batch, (prepared, batch.positives()), memory);
    }
    let mined = mine_stats(plan, run, batch, (prepared, prepared.rules), memory)?;
    memory.exclude_from_means(run.backend, run.join, batch, prepared)?;
    Ok(mined)
}

/// Writes the statistics of every anchor, with means as if nothing was excluded.
fn mine_stats<E: RowExclusions>(
    plan: MinePlan,
    run: Run<'_>,
    batch: Batch<'_>,
    (prepared, exclusions): (Prepared<'_>, E),
    memory: &mut MineMemory,
) -> Result<Mined, Error> {
    let negatives = plan.negatives;
    if run.screens.is_direct {
        return direct::mine(plan, run.join, batch, (prepared, exclusions), memory.grow_direct(batch)?);
    }
    let (buffers, results) = memory.grow_stats_of(batch, run.screens, run.join.threads())?;
    let StatsBuffers { positive_norms, stats } = results;
    measure_outside(run.backend, run.join, batch, positive_norms);
    let task = StatsTask { batch, exclusions, prepared, positive_norms, negatives };
    let mut call = Call::new(run, buffers);
    call.begin((negatives != Negatives::Any).then_some(task));
    let stats = Chunks::new(stats, call.anchors.block_rows);
    let mined = call.complete(task, stats)?;
    check_norms(Side::Positives, positive_norms)?;
    Ok(Mined { zero_positives: zeros(positive_norms), ..mined })
}

/// Leaves in the memory what [`mine()`] does, with statistics that were computed elsewhere: norms and the candidates'
/// sum are computed, no pair is.
pub(crate) fn measure(
    plan: MeasurePlan,
    batch: Batch<'_>,
    prepared: Prepared<'_>,
    rows: &[RowStats],
    memory: &mut MineMemory,
) -> Result<Mined, Error> {
    let MeasurePlan { backend, threads, measured } = plan;
    let (anchors, candidates) = (batch.anchor_rows(), batch.candidate_rows());
    let elements = anchors.data().len().saturating_add(candidates.data().len());
    let join = threads.join(elements as f64 * NANOSECONDS_MEASURED);
    let MeasureBuffers { anchor_norms, candidates: buffers, positive_norms, stats } = memory.grow_measures(batch)?;
    stats.copy_from_slice(rows);
    let mined = join.enter(|| {
        measure_norms(backend, join, anchors, anchor_norms);
        check_norms(Side::Anchors, anchor_norms)?;
        let zero_candidates = match (buffers, batch.bank()) {
            (Some((norms, sums)), _) => {
                if !measured {
                    measure_rows(backend, join, candidates, norms, sums);
                    check_norms(batch.candidate_side(), norms)?;
                }
                zeros(norms)
            }
            (None, bank) => bank.map_or(0, Bank::zero_rows),
        };
        measure_outside(backend, join, batch, positive_norms);
        check_norms(Side::Positives, positive_norms)?;
        let (zero_anchors, zero_positives) = (zeros(anchor_norms), zeros(positive_norms));
        Ok(Mined { zero_anchors, zero_candidates, zero_positives, screening: Screening::default() })
    })?;
    if !prepared.is_nothing() {
        join.enter(|| memory.sum_labels(backend, join, batch, prepared))?;
    }
    Ok(mined)
}

/// Computes the norms of the positives that are no candidates. Whether they are finite is looked at when all else is
/// done: until then similarities with them decide nothing.
fn measure_outside(backend: Backend, join: Join, batch: Batch<'_>, norms: &mut [f64]) {
    if let Some(rows) = batch.outside_rows() {
        measure_norms(backend, join, rows, norms);
    }
}

/// Computes the norms of all rows.
fn measure_norms(backend: Backend, join: Join, rows: Rows<'_>, norms: &mut [f64]) {
    for_each_block(join, Chunks::new(norms, SUM_BLOCK), &|block, norms| {
        let rows = rows.range(block * SUM_BLOCK, norms.slice.len());
        backend.run(MeasureRows { rows, norms: norms.slice });
    });
}

/// Computes the norms of some rows.
struct MeasureRows<'a> {
    rows: Rows<'a>,
    norms: &'a mut [f64],
}

impl WithSimd for MeasureRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        norm_rows_from_memory(simd, self.rows, self.norms);
    }
}

/// Writes the closest negatives of every query into the memory.
pub(crate) fn mine_neighbours(
    plan: NeighbourPlan,
    batch: MiningBatch<'_>,
    rules: MiningRules<'_>,
    memory: &mut MineMemory,
) -> Result<Screening, Error> {
    let NeighbourPlan { backend, screen, threads, .. } = plan;
    let run = Run::new(backend, screen, threads, batch.sides(), batch.bank());
    run.join.enter(|| mine_neighbours_in(run, plan, batch, rules, memory))
}

/// [`mine_neighbours`], where the call is to run.
fn mine_neighbours_in(
    run: Run<'_>,
    plan: NeighbourPlan,
    batch: MiningBatch<'_>,
    rules: MiningRules<'_>,
    memory: &mut MineMemory,
) -> Result<Screening, Error> {
    let NeighbourPlan { kept, thresholds, .. } = plan;
    let Run { backend, join, sides, bank, screens } = run;
    let needs = Needs { sides, bank, screens, threads: join.threads(), k: kept };
    let (buffers, states, neighbours) = memory.grow_neighbours(needs)?;
    let mut call = Call::new(run, buffers);
    let size = call.anchors.block_rows;
    let blocks = (Chunks::new(&mut *call.anchors.norms, size), Chunks::new(&mut *states, size));
    for_each_block(join, blocks, &|block, (norms, states)| {
        let (first, norms, states) = (block * size, norms.slice, states.slice);
        backend.run(OpenQueries { batch, thresholds, first, norms, states });
    });
    check_norms(Side::Anchors, call.anchors.norms)?;
    call.begin(thresholds.have_upper().then_some(QueryLimits { rules, states }));
    let results = (Chunks::new(states, size), Chunks::new(neighbours, size * kept));
    let mined = if kept == 1 {
        call.complete(NeighbourTask::<Shortlist>::new(rules), results)
    } else {
        call.complete(NeighbourTask::<NeighbourList>::new(rules), results)
    };
    let screening = mined?.screening;
    batch.outside_rows().map_or(Ok(()), |rows| check_finite(backend, Side::Positives, rows))?;
    Ok(screening)
}

/// How a call runs, and over which rows.
#[derive(Clone, Copy)]
struct Run<'a> {
    backend: Backend,
    join: Join,
    sides: Sides<'a>,
    /// The bank that the candidates are in.
    bank: Option<&'a Bank<'a>>,
    screens: ScreenPlan,
}

impl<'a> Run<'a> {
    fn new(
        backend: Backend,
        screen: Screen,
        threads: Threads,
        sides: Sides<'a>,
        bank: Option<&'a Bank<'a>>,
    ) -> Run<'a> {
        let screens = bank
            .map_or_else(|| screen.plan(backend, sides.shape()), |bank| bank.screens(screen, sides.anchors.count()));
        let backend = bank.map_or(backend, Bank::backend);
        Run { backend, join: threads.join(screens.nanoseconds), sides, bank, screens }
    }
}

/// One call: how it runs, and its memory but for the results.
struct Call<'a> {
    run: Run<'a>,
    params: Params<'a>,
    source: Source<'a>,
    anchors: Anchors<'a>,
    /// The counts of what is done beside the blocks.
    screening: Screening,
}

impl<'a> Call<'a> {
    fn new(run: Run<'a>, buffers: MineBuffers<'a>) -> Call<'a> {
        let Run { backend, join, sides, screens, .. } = run;
        let MineBuffers { candidates, anchor_norms: norms, states, scratch } = buffers;
        let rows = sides.anchors.count();
        let block_rows = block_rows(rows, sides.anchors.dim(), join.threads());
        let (source, params) = candidates.open(backend, sides.candidates, screens);
        let states = &mut states[..rows.div_ceil(block_rows)];
        let anchors = Anchors { norms, states, block_rows, scratch };
        Call { run, params, source, anchors, screening: Screening::default() }
    }

    /// Chooses the precision that all blocks begin with: by a sample, if rows have limits and the candidates are not
    /// prepared.
    fn begin(&mut self, limits: Option<impl RowLimits>) {
        let Run { backend, sides, bank, screens, .. } = self.run;
        let limits = limits.filter(|_| bank.is_none());
        let (precision, sampled) = first_precision(backend, sides, limits, self.params, screens.precisions);
        self.screening.count_pairs(Precision::Exact, sampled);
        self.anchors.states.fill(BlockState { precision, ..BlockState::default() });
    }

    /// Completes the rows of all blocks.
    fn complete<T: Task>(mut self, task: T, mut results: T::Results<'_>) -> Result<Mined, Error> {
        let Call { run, params, .. } = self;
        let mut measured = false;
        while let Some(precision) = self.anchors.waiting() {
            self.screening.packed_rows += self.rows_to_pack(precision);
            let pass = Pass { of: run, params, measured, task };
            let (source, anchors) = (&mut self.source, &mut self.anchors);
            match precision {
                Precision::Int8 => pass.run::<Int8>(source, anchors, &mut results)?,
                Precision::Int16 => pass.run::<Int16>(source, anchors, &mut results)?,
                Precision::Float32 => pass.run::<Float32>(source, anchors, &mut results)?,
                Precision::Exact => pass.run_exactly(source, anchors, &mut results)?,
            }
            measured = true;
        }
        check_norms(Side::Anchors, self.anchors.norms)?;
        Ok(Mined {
            zero_anchors: zeros(self.anchors.norms),
            zero_candidates: self.source.zero_rows(),
            zero_positives: 0,
            screening: self.anchors.screening(self.screening),
        })
    }

    /// How many rows the next pass packs, if it is one of `precision`.
    fn rows_to_pack(&self, precision: Precision) -> usize {
        let Run { sides, bank, .. } = self.run;
        match (precision, bank) {
            (Precision::Exact, _) => 0,
            (_, Some(_)) => self.anchors.rows_waiting(precision),
            (_, None) => self.anchors.rows_waiting(precision) + sides.candidates.count(),
        }
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

    /// How many rows wait for a precision.
    fn rows_waiting(&self, precision: Precision) -> usize {
        let blocks = self.norms.chunks(self.block_rows).zip(self.states.iter());
        let waiting = blocks.filter(|(_, block)| !block.done && block.precision == precision);
        waiting.map(|(norms, _)| norms.len()).sum()
    }

    /// The counts of all blocks, and those of the rest of the call.
    fn screening(&self, mut screening: Screening) -> Screening {
        self.states.iter().for_each(|block| screening += block.screening);
        screening
    }
}

/// One pass of a call.
#[derive(Clone, Copy)]
struct Pass<'a, T> {
    of: Run<'a>,
    params: Params<'a>,
    measured: bool,
    task: T,
}

impl<T: Task> Pass<'_, T> {
    /// Packs the candidates, unless they are, and screens the blocks that wait for this format. Fails with the first
    /// row that is not finite, on the anchors' side if there is one.
    fn run<F: Format>(
        self,
        source: &mut Source<'_>,
        anchors: &mut Anchors<'_>,
        results: &mut T::Results<'_>,
    ) -> Result<(), Error> {
        let Pass { of: Run { backend, join, sides, .. }, params, measured, .. } = self;
        let prepared = source.prepare::<F>(backend, join, sides.candidate_side, params, measured);
        self.mine_blocks(prepared, anchors, results, F::PRECISION, &|block| block.mine::<F>(backend))
    }

    /// Computes all pairs of the blocks that no screen pays for.
    fn run_exactly(
        self,
        source: &mut Source<'_>,
        anchors: &mut Anchors<'_>,
        results: &mut T::Results<'_>,
    ) -> Result<(), Error> {
        let Pass { of: Run { backend, join, sides, .. }, params, .. } = self;
        let measured = source.measure(backend, join, sides.candidate_side, params);
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
        let Pass { of: Run { backend, join, sides, screens, .. }, measured, task, .. } = self;
        let (anchors, precisions) = (sides.anchors, screens.precisions);
        let candidates = candidates.or_else(|error| check_finite(backend, Side::Anchors, anchors).and(Err(error)))?;
        let context = PassContext { anchors, candidates, precisions, measured, task };
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

#[cfg(all(test, feature = "rayon"))]
mod tests {
    use super::*;
    use crate::rows::Shape;

    /// How calls of a shape are run, for every backend and screen.
    fn joins(anchors: usize, candidates: usize, dim: usize) -> Vec<Join> {
        let shape = Shape { anchors, candidates, dim };
        let plans = Backend::available().flat_map(|backend| Screen::all().map(move |screen| (backend, screen)));
        plans.map(|(backend, screen)| Threads::Rayon.join(screen.plan(backend, shape).nanoseconds)).collect()
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
