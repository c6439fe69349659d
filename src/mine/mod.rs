//! Mining: the statistics of every anchor, in one pass or a few.
//!
//! A pass prepares the candidates in one format, and screens each block of anchors that waits for it against all of
//! them, the blocks in parallel. Most calls take one pass; blocks that found their screen too coarse wait for another
//! one. Small batches and few anchors take none, but one pass over the candidates ([`direct`]): rows are screened as they
//! lie in memory ([`row_screen`]), or all pairs are computed exactly. The n x m matrix never exists.

mod block;
mod direct;
mod division;
mod few;
#[cfg(test)]
mod forced_parts;
#[cfg(test)]
mod forced_plans;
mod measure;
mod memory;
mod neighbours;
mod plan;
mod row_screen;
mod screening;
mod task;

use crate::arch::Backend;
use crate::bank::Bank;
use crate::batch::Batch;
use crate::candidates::{Candidates, measure_all};
use crate::error::{Error, Side};
use crate::exact::{check_finite, check_norms, zero_norms};
use crate::excluded::SortedExclusions;
use crate::mining_batch::MiningBatch;
use crate::parallel::{Chunks, Join, Threads, for_each_block};
use crate::row_stats::{NegativeRules, Negatives, RowStats};
use crate::rows::Sides;
use crate::screen::{Method, RowLimits, Screen, ScreenPlan, Screening, first_method};

use block::Block;
use division::Division;
pub(crate) use few::mine_few;
use measure::{measure_norms, measure_outside};
use memory::{CallMemory, MeasureBuffers, PassMemory};
pub(crate) use memory::{MineMemory, MineResults};
pub(crate) use neighbours::QueryState;
use neighbours::{QueryLimits, open_queries};
pub(crate) use plan::{MeasurePlan, MinePlan, Mined, NeighbourPlan};
use row_screen::RowScreen;
use task::{PositiveLimits, StatsTask, Task};

/// About how long it takes to compute the norm of a row and to add it to a sum, for each of its elements.
const NANOSECONDS_MEASURED: f64 = 0.3;

/// One call: which rows are mined, and how.
#[derive(Clone, Copy)]
struct Call<'a> {
    backend: Backend,
    join: Join,
    sides: Sides<'a>,
    /// The bank that the candidates are in.
    bank: Option<&'a Bank<'a>>,
    screens: ScreenPlan,
    division: Division,
}

/// Writes the statistics of every anchor into the memory.
pub(crate) fn mine(
    plan: MinePlan,
    batch: &Batch<'_>,
    exclusions: &SortedExclusions<'_>,
    memory: &mut MineMemory,
) -> Result<Mined, Error> {
    let negatives = plan.negatives;
    // What a call may need is more to think about than a small one has to do.
    if let Some(screen) = RowScreen::of_small(plan, batch) {
        let task = StatsTask { batch, exclusions, positive_norms: &[], negatives };
        let mined = direct::mine_small(plan.backend, &task, screen, memory.grow_direct(plan.backend, batch)?)?;
        exclude_from_means(plan.backend, Join::Serial, batch, exclusions, memory)?;
        return Ok(mined);
    }
    let call = Call::new(plan.backend, plan.screen, plan.threads, batch.sides(), batch.bank());
    call.join.enter(|| mine_batch(&call, negatives, batch, exclusions, memory))
}

/// [`mine`], where the call is to run.
fn mine_batch(
    call: &Call<'_>,
    negatives: Negatives,
    batch: &Batch<'_>,
    exclusions: &SortedExclusions<'_>,
    memory: &mut MineMemory,
) -> Result<Mined, Error> {
    let mined = mine_stats(call, negatives, batch, exclusions, memory)?;
    exclude_from_means(call.backend, call.join, batch, exclusions, memory)?;
    Ok(mined)
}

/// Takes the excluded candidates out of the means, if there are any.
fn exclude_from_means(
    backend: Backend,
    join: Join,
    batch: &Batch<'_>,
    exclusions: &SortedExclusions<'_>,
    memory: &mut MineMemory,
) -> Result<(), Error> {
    if exclusions.is_nothing() { Ok(()) } else { memory.exclude_from_means(backend, join, batch, exclusions) }
}

/// Writes the statistics of every anchor, with means as if nothing was excluded.
fn mine_stats(
    call: &Call<'_>,
    negatives: Negatives,
    batch: &Batch<'_>,
    exclusions: &SortedExclusions<'_>,
    memory: &mut MineMemory,
) -> Result<Mined, Error> {
    if call.screens.is_direct {
        let task = StatsTask { batch, exclusions, positive_norms: &[], negatives };
        return direct::mine(call, &task, memory.grow_direct(call.backend, batch)?);
    }
    let (memory, positive_norms, stats) = memory.grow_stats_of(call, batch)?;
    measure_outside(call.backend, call.join, batch, positive_norms);
    let task = StatsTask { batch, exclusions, positive_norms, negatives };
    let limits = PositiveLimits { backend: call.backend, task: &task };
    let limits: Option<&dyn RowLimits> = if negatives == Negatives::Any { None } else { Some(&limits) };
    let (first, stats) = (call.first_method(&memory, limits), Chunks::new(stats, call.division.block_rows));
    let mined = call.complete(memory, first, Task::Stats(&task, stats))?;
    check_norms(Side::Positives, positive_norms)?;
    Ok(Mined { zero_positives: zero_norms(positive_norms), ..mined })
}

/// Grows the memory to what [`mine()`] needs for batches of this shape, whatever they hold, but for exclusions.
pub(crate) fn reserve_stats(plan: MinePlan, batch: &Batch<'_>, memory: &mut MineMemory) -> Result<(), Error> {
    let call = Call::new(plan.backend, plan.screen, plan.threads, batch.sides(), batch.bank());
    if call.screens.is_direct || RowScreen::of_small(plan, batch).is_some() {
        memory.grow_direct(call.backend, batch).map(|_| ())
    } else {
        memory.grow_stats_of(&call, batch).map(|_| ())
    }
}

/// Leaves in the memory what [`mine()`] does, with statistics that were computed elsewhere: norms and the candidates'
/// sum are computed, no pair is.
pub(crate) fn measure(
    plan: MeasurePlan,
    batch: &Batch<'_>,
    exclusions: &SortedExclusions<'_>,
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
                    measure_all(backend, join, candidates, norms, sums);
                    check_norms(batch.candidate_side(), norms)?;
                }
                zero_norms(norms)
            }
            (None, bank) => bank.map_or(0, Bank::zero_rows),
        };
        measure_outside(backend, join, batch, positive_norms);
        check_norms(Side::Positives, positive_norms)?;
        let (zero_anchors, zero_positives) = (zero_norms(anchor_norms), zero_norms(positive_norms));
        Ok(Mined { zero_anchors, zero_candidates, zero_positives, screening: Screening::default() })
    })?;
    if !exclusions.is_nothing() {
        join.enter(|| memory.sum_labels(backend, join, batch, exclusions))?;
    }
    Ok(mined)
}

/// Writes the closest negatives of every query into the memory.
pub(crate) fn mine_neighbours(
    plan: NeighbourPlan,
    batch: MiningBatch<'_>,
    rules: NegativeRules<'_>,
    memory: &mut MineMemory,
) -> Result<Screening, Error> {
    let call = Call::new(plan.backend, plan.screen, plan.threads, batch.sides(), batch.bank());
    call.join.enter(|| mine_queries(&call, plan, batch, rules, memory))
}

/// Grows the memory to what [`mine_neighbours`] needs for these queries, whatever they hold.
pub(crate) fn reserve_neighbours(
    plan: NeighbourPlan,
    batch: MiningBatch<'_>,
    memory: &mut MineMemory,
) -> Result<(), Error> {
    let call = Call::new(plan.backend, plan.screen, plan.threads, batch.sides(), batch.bank());
    memory.grow_neighbours(&call, plan.kept).map(|_| ())
}

/// [`mine_neighbours`], where the call is to run.
fn mine_queries(
    call: &Call<'_>,
    plan: NeighbourPlan,
    batch: MiningBatch<'_>,
    rules: NegativeRules<'_>,
    memory: &mut MineMemory,
) -> Result<Screening, Error> {
    let NeighbourPlan { kept, thresholds, .. } = plan;
    let Call { backend, join, .. } = *call;
    let (memory, states, neighbours) = memory.grow_neighbours(call, kept)?;
    let size = call.division.block_rows;
    let blocks = (Chunks::new(&mut *memory.anchor_norms, size), Chunks::new(&mut *states, size));
    for_each_block(join, blocks, &|block, (norms, states)| {
        open_queries(backend, batch, thresholds, block * size, norms.slice, states.slice);
    });
    check_norms(Side::Anchors, memory.anchor_norms)?;
    let first = {
        let limits = QueryLimits { rules: &rules, states };
        let limits: Option<&dyn RowLimits> = if thresholds.have_upper() { Some(&limits) } else { None };
        call.first_method(&memory, limits)
    };
    let task = Task::Neighbours(&rules, Chunks::new(states, size), Chunks::new(neighbours, size * kept));
    let screening = call.complete(memory, first, task)?.screening;
    batch.outside_rows().map_or(Ok(()), |rows| check_finite(backend, Side::Positives, rows))?;
    Ok(screening)
}

impl<'a> Call<'a> {
    fn new(
        backend: Backend,
        screen: Screen,
        threads: Threads,
        sides: Sides<'a>,
        bank: Option<&'a Bank<'a>>,
    ) -> Call<'a> {
        let screens = bank
            .map_or_else(|| screen.plan(backend, sides.shape()), |bank| bank.screens(screen, sides.anchors.count()));
        let backend = bank.map_or(backend, Bank::backend);
        let join = threads.join(screens.nanoseconds);
        let division = Division::of(sides.shape(), join.threads());
        Call { backend, join, sides, bank, screens, division }
    }

    /// The method that all blocks begin with, and how many pairs were computed to choose it: by a sample, if rows have
    /// limits and the candidates are not in a bank.
    fn first_method(&self, memory: &CallMemory<'_>, limits: Option<&dyn RowLimits>) -> (Method, usize) {
        let limits = limits.filter(|_| self.bank.is_none());
        first_method(self.backend, self.sides, limits, memory.params, self.screens.methods)
    }

    /// Completes the rows of all blocks, which begin with a method that was chosen by `sampled` pairs.
    fn complete(
        &self,
        mut memory: CallMemory<'_>,
        (method, sampled): (Method, usize),
        mut task: Task<'_>,
    ) -> Result<Mined, Error> {
        let mut screening = Screening::default();
        screening.count_pairs(Method::Exact, sampled);
        memory.begin(method);
        let mut measured = false;
        while let Some(method) = memory.next_method() {
            screening.packed_rows += self.rows_to_pack(method, &memory);
            self.pass(&mut memory, &mut task, method, measured)?;
            measured = true;
        }
        memory.merge_parts(self.join, &mut task);
        check_norms(Side::Anchors, memory.anchor_norms)?;
        Ok(Mined {
            zero_anchors: zero_norms(memory.anchor_norms),
            zero_candidates: memory.zero_candidates(),
            zero_positives: 0,
            screening: memory.screening(screening),
        })
    }

    /// How many rows the next pass packs.
    fn rows_to_pack(&self, method: Method, memory: &CallMemory<'_>) -> usize {
        match (method, self.bank) {
            (Method::Exact, _) => 0,
            (_, Some(_)) => memory.rows_waiting(method),
            (_, None) => memory.rows_waiting(method) + self.sides.candidates.count(),
        }
    }

    /// One pass: prepares the candidates, unless they are, and mines the blocks that wait for `method`. `measured` says
    /// that an earlier pass of the call has computed norms, the candidates' sum and what the task measures of a row.
    /// Fails with the first row that is not finite, on the anchors' side if there is one.
    fn pass(
        &self,
        memory: &mut CallMemory<'_>,
        task: &mut Task<'_>,
        method: Method,
        measured: bool,
    ) -> Result<(), Error> {
        let Call { backend, join, sides, division, .. } = *self;
        let PassMemory { candidates, anchor_norms, blocks, mut parts, scratch } =
            memory.prepare(self, method, measured);
        let candidates: Candidates<'_> =
            candidates.or_else(|error| check_finite(backend, Side::Anchors, sides.anchors).and(Err(error)))?;
        let Division { block_rows, parts: count, part_rows } = division;
        if count > 1 && !measured {
            task.measure(backend, 0, candidates, anchor_norms);
            parts.open(task, anchor_norms);
        }
        let (norms, task) = match count {
            1 => (Chunks::new(anchor_norms, block_rows), task.lend()),
            _ => parts.work(task.rules()),
        };
        for_each_block(join, (norms, (task, Chunks::new(blocks, 1))), &|index, (norms, (mut task, states))| {
            let state = &mut states.slice[0];
            if state.waits_for(method) {
                let (first, norms) = (index / count * block_rows, norms.slice);
                if count == 1 && !measured {
                    task.measure(backend, first, candidates, norms);
                }
                let candidates = candidates.part(method.format(), index % count, part_rows);
                Block { call: self, task, candidates, first, norms, state }.mine(&mut scratch.of(join));
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

    /// How calls of a shape against banks for every backend are run.
    fn joins_with_banks(anchors: usize, candidates: usize, dim: usize) -> Vec<Join> {
        let (rows, query) = (vec![0.5; candidates * dim], vec![0.5; anchors * dim]);
        let join = |backend: Backend| {
            let bank = crate::BankOptions::new().backend(backend).build(&rows[..], dim).unwrap();
            let batch = MiningBatch::against(&query, &bank).unwrap();
            Call::new(backend, Screen::Auto, Threads::Rayon, batch.sides(), batch.bank()).join
        };
        Backend::available().map(join).collect()
    }

    /// The tests of threads and of their allocations rely on it.
    #[test]
    fn large_calls_against_banks_are_divided_over_threads() {
        for (rows, candidates, dim) in [(16, 40_000, 64), (1, 50_000, 256)] {
            let joins = joins_with_banks(rows, candidates, dim);
            assert!(joins.iter().all(|&join| join == Join::Rayon), "{rows} x {candidates} x {dim}: {joins:?}");
        }
        for (rows, candidates, dim) in [(1, 2000, 256), (16, 400, 64)] {
            let joins = joins_with_banks(rows, candidates, dim);
            assert!(joins.iter().all(|&join| join == Join::Serial), "{rows} x {candidates} x {dim}: {joins:?}");
        }
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
