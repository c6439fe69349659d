//! The driver: prepare the candidates, then take blocks of anchors past them in parallel. The n x m matrix never
//! exists.

use crate::arch::Backend;
use crate::batch::Batch;
use crate::block::{AnchorBlocks, ROW_UNIT, Shared, anchor_block, block_room, mine_block};
use crate::error::{Error, Side};
use crate::join::{Join, for_each_block};
use crate::prepare::{self, SUM_BLOCK, check_norms};
use crate::screen::Screen;
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

    /// What the workspace must hold.
    fn sizes(self, batch: Batch<'_>) -> Sizes {
        let (shortlists, unit_anchors) = block_room(batch.rows(), batch.dim());
        Sizes {
            anchors: batch.rows(),
            candidates: batch.candidates(),
            padded_candidates: batch.candidates().next_multiple_of(ROW_UNIT),
            sums: batch.candidates().div_ceil(SUM_BLOCK),
            dim: batch.dim(),
            threads: self.join.threads(),
            shortlists,
            unit_anchors,
        }
    }
}

/// Writes the statistics of every anchor into the workspace.
pub(crate) fn mine(plan: Plan, batch: Batch<'_>, workspace: &mut Workspace) -> Result<ZeroRows, Error> {
    let plan = plan.fit(batch);
    let mut buffers = workspace.buffers(plan.sizes(batch))?;
    prepare_candidates(plan, batch, &mut buffers)?;
    let shared = Shared {
        batch,
        candidate_norms: buffers.candidate_norms,
        panels: buffers.unit_candidates,
        sum: &buffers.candidate_sums[..batch.dim()],
        negatives: plan.negatives,
        bound: plan.screen.bound(batch.dim()),
    };
    let block_rows = anchor_block(batch.rows(), batch.dim(), plan.join.threads());
    let (rows, norms, stats) = (batch.anchor_rows().data(), &mut *buffers.anchor_norms, buffers.stats);
    for_each_block(plan.join, AnchorBlocks { shared, first: 0, block_rows, rows, norms, stats }, &|block| {
        mine_block(plan.backend, block, &mut buffers.slots[plan.join.thread()].lock());
    });
    check_norms(Side::Anchors, buffers.anchor_norms)?;
    let zeros = |norms: &[f64]| norms.iter().filter(|&&norm| norm == 0.0).count();
    let zero_rows = ZeroRows { anchors: zeros(buffers.anchor_norms), candidates: zeros(buffers.candidate_norms) };
    workspace.keep(batch.rows());
    Ok(zero_rows)
}

/// What all anchors need of the candidates. Reports the first row that is not finite, on the anchors' side if there is
/// one.
fn prepare_candidates(plan: Plan, batch: Batch<'_>, buffers: &mut Buffers<'_>) -> Result<(), Error> {
    let (norms, panels, sums) =
        (&mut *buffers.candidate_norms, &mut *buffers.unit_candidates, &mut *buffers.candidate_sums);
    let prepared = prepare::candidates(plan.backend, plan.join, batch.candidate_rows(), norms, panels, sums);
    prepared.or_else(|error| plan.backend.check_finite(Side::Anchors, batch.anchor_rows()).and(Err(error)))
}
