//! The driver, level by level of screening: prepare the candidates in the level's format, then take the blocks of
//! anchors that wait for it past them in parallel. The n x m matrix never exists.

use crate::arch::Backend;
use crate::batch::Batch;
use crate::block::{AnchorBlocks, Progress, ROW_UNIT, Shared, anchor_block, block_room, mine_block};
use crate::error::{Error, Side};
use crate::join::{Join, for_each_block};
use crate::prepare::{self, Preparation, SUM_BLOCK, check_norms};
use crate::screen::{
    Centers, Level, MAX_DIM, Screen, Screening, Setting, center_room, first_level, largest_residual_and_norm,
    scratch_room,
};
use crate::stats::Negatives;
use crate::workspace::{Buffers, Sizes, Workspace};

/// Below this many multiply-adds a call stays on its thread: waking sleeping threads takes 10 to 20 us, in which a
/// thread does about as many.
const SERIAL_WORK: usize = 5 << 19;

/// How a batch is mined; none of it but the rule changes a bit of the result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) negatives: Negatives,
    pub(crate) backend: Backend,
    pub(crate) screen: Screen,
    pub(crate) join: Join,
}

/// How many rows had norm 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZeroRows {
    pub(crate) anchors: usize,
    pub(crate) candidates: usize,
}

impl Plan {
    /// The same plan, on one thread if the batch is too small to gain from several.
    fn fit(self, batch: Batch<'_>) -> Plan {
        let work = batch.rows().saturating_mul(batch.candidates()).saturating_mul(batch.dim());
        Plan { join: if work < SERIAL_WORK { Join::Serial } else { self.join }, ..self }
    }

    /// What the workspace must hold, whatever the data.
    fn sizes(self, batch: Batch<'_>, levels: (Level, Level)) -> Sizes {
        let (shortlists, anchor_words) = block_room(batch.rows(), batch.dim());
        // A smaller shape may be quantised where a larger one is not, for the length of its rows.
        let dim = batch.dim().min(MAX_DIM);
        let quantised = levels.0 < Level::F32 || (batch.dim() > MAX_DIM && self.screen.is_quantised());
        Sizes {
            anchors: batch.rows(),
            candidates: batch.candidates(),
            padded_candidates: batch.candidates().next_multiple_of(ROW_UNIT),
            sums: batch.candidates().div_ceil(SUM_BLOCK),
            dim: batch.dim(),
            threads: self.join.threads(),
            shortlists,
            anchor_words,
            stride: Level::longest_stride(levels, batch.dim()),
            scratch: if quantised { scratch_room(dim) } else { 0 },
            centers: if quantised { center_room(dim) } else { 0 },
            blocks: batch.rows().div_ceil(ROW_UNIT),
        }
    }
}

/// Writes the statistics of every anchor into the workspace.
pub(crate) fn mine(plan: Plan, batch: Batch<'_>, workspace: &mut Workspace) -> Result<ZeroRows, Error> {
    let plan = plan.fit(batch);
    let levels = plan.screen.levels(plan.backend, batch);
    let block_rows = anchor_block(batch.rows(), batch.dim(), plan.join.threads());
    let mut buffers = workspace.buffers(plan.sizes(batch, levels))?;
    let room = core::mem::take(&mut buffers.centers);
    let centers = Centers::of(plan.backend, batch, if levels.0 < Level::F32 { room } else { &mut [] });
    let setting = Setting { centers, bound: plan.screen.bound(batch.dim()) };
    // There is room for blocks of any size, as more threads may share a smaller batch in smaller ones.
    buffers.progress = &mut core::mem::take(&mut buffers.progress)[..batch.rows().div_ceil(block_rows)];
    let first = first_level(plan.backend, batch, plan.negatives, centers, levels);
    buffers.progress.fill(Progress { level: first, ..Progress::default() });
    // Most calls take one pass; blocks that found their screen too coarse take another.
    let mut next = Some(first);
    while let Some(level) = next {
        prepare_candidates(plan, batch, (level, first), setting, &mut buffers)?;
        mine_anchors(plan, batch, Pass { level, first, last: levels.1, setting, block_rows }, &mut buffers);
        next = buffers.progress.iter().filter(|block| !block.done).map(|block| block.level).min();
    }
    check_norms(Side::Anchors, buffers.anchor_norms)?;
    let zeros = |norms: &[f64]| norms.iter().filter(|&&norm| norm == 0.0).count();
    let zero_rows = ZeroRows { anchors: zeros(buffers.anchor_norms), candidates: zeros(buffers.candidate_norms) };
    let screening = screening(buffers.progress, block_rows, batch.rows());
    workspace.keep(batch.rows());
    workspace.keep_screening(screening);
    Ok(zero_rows)
}

/// A pass of all anchors that wait for one level past all candidates.
#[derive(Clone, Copy)]
struct Pass<'a> {
    level: Level,
    first: Level,
    last: Level,
    setting: Setting<'a>,
    block_rows: usize,
}

/// Takes the anchors that wait for this pass past the candidates. What they find too costly waits for another one.
fn mine_anchors(plan: Plan, batch: Batch<'_>, pass: Pass<'_>, buffers: &mut Buffers<'_>) {
    let Pass { level, first, last, setting, block_rows } = pass;
    let shared = Shared {
        batch,
        candidate_norms: buffers.candidate_norms,
        level,
        first,
        last,
        setting,
        panels: buffers.panels,
        largest: largest_residual_and_norm(plan.backend, level, batch, buffers.panels),
        sum: &buffers.candidate_sums[..batch.dim()],
        negatives: plan.negatives,
    };
    let anchors = AnchorBlocks {
        shared,
        first: 0,
        block_rows,
        rows: batch.anchor_rows().data(),
        norms: &mut *buffers.anchor_norms,
        stats: &mut *buffers.stats,
        progress: &mut *buffers.progress,
    };
    for_each_block(plan.join, anchors, &|block| {
        mine_block(plan.backend, block, &mut buffers.slots[plan.join.thread()].lock());
    });
}

/// What the blocks tell of their screens.
fn screening(progress: &[Progress], block_rows: usize, rows: usize) -> Screening {
    let mut screening = Screening::default();
    for (block, progress) in progress.iter().enumerate() {
        let rows = (rows - block * block_rows).min(block_rows);
        screening.survivors += progress.scored;
        *match progress.level {
            Level::I8 => &mut screening.i8_rows,
            Level::I16 => &mut screening.i16_rows,
            Level::F32 => &mut screening.f32_rows,
        } += rows;
    }
    screening
}

/// What all anchors need of the candidates. Reports the first row that is not finite, on the anchors' side if there is
/// one.
fn prepare_candidates(
    plan: Plan,
    batch: Batch<'_>,
    (level, first): (Level, Level),
    setting: Setting<'_>,
    buffers: &mut Buffers<'_>,
) -> Result<(), Error> {
    let Plan { backend, join, .. } = plan;
    let preparation = Preparation { backend, join, level, setting, measured: level != first, slots: buffers.slots };
    let (norms, panels, sums) = (&mut *buffers.candidate_norms, &mut *buffers.panels, &mut *buffers.candidate_sums);
    let prepared = prepare::candidates(preparation, batch.candidate_rows(), norms, panels, sums);
    prepared.or_else(|error| backend.check_finite(Side::Anchors, batch.anchor_rows()).and(Err(error)))
}
