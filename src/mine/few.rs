//! Mining a few rows, as many on both sides, of which nothing but the positives is excluded: one kernel computes all of a
//! batch, and what stands around it is as short as it can be. With two rows it took as long as the kernel.

use super::memory::MineMemory;
use super::plan::MinePlan;
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::exact::{check_norms, zero_norms};
use crate::exclusions::Exclusions;
use crate::kernels::{FewRows, MOST_FEW, measure_few};
use crate::positives::Positives;
use crate::row_stats::{ClosestNegative, RowStats};

/// Whether the rows of a batch are a few.
fn are_few(plan: MinePlan, batch: &Batch<'_>) -> bool {
    let shape = batch.sides().shape();
    let plain = matches!(batch.exclusions(), Exclusions::None) && !matches!(batch.positives(), Positives::Outside(_));
    let is_square = shape.anchors == shape.candidates && shape.anchors <= MOST_FEW;
    is_square && plain && batch.bank().is_none() && plan.screen.is_small(plan.backend, shape)
}

/// Writes the statistics of every anchor into the memory, as [`mine()`](super::mine()) does, if the rows are a few, and
/// returns how many rows are zero: of the anchors, of the candidates, and of positives that are no candidates.
pub(crate) fn mine_few(
    plan: MinePlan,
    batch: &Batch<'_>,
    memory: &mut MineMemory,
) -> Result<Option<[usize; 3]>, Error> {
    if !are_few(plan, batch) {
        return Ok(None);
    }
    let buffers = memory.grow_few(plan.backend, batch)?;
    let count = buffers.stats.len();
    let mut positives = [0; MOST_FEW];
    for (row, positive) in positives[..count].iter_mut().enumerate() {
        *positive = batch.positive_index(row).unwrap_or_default();
    }
    let rows = FewRows { anchors: batch.anchor_rows(), candidates: batch.candidate_rows(), count, positives };
    let measured = buffers.measures;
    measure_few(plan.backend, &rows, buffers.sum, measured);
    let norms = buffers.anchor_norms.iter_mut().zip(&mut *buffers.candidate_norms);
    // Finite if all norms are: they are not negative, and far from the largest number.
    let mut total = 0.0;
    for (row, (stats, (anchor_norm, candidate_norm))) in buffers.stats.iter_mut().zip(norms).enumerate() {
        (*anchor_norm, *candidate_norm) = (measured.anchor_norms[row], measured.candidate_norms[row]);
        total += *anchor_norm + *candidate_norm;
        let (similarities, positive) = (&measured.similarities[row], positives[row]);
        let limit = plan.negatives.admissible(similarities[positive]).high;
        let closest = ClosestNegative::among(similarities, count, limit, positive);
        *stats = RowStats::computed(similarities[positive], Some(measured.means[row] as f32), closest);
    }
    if !total.is_finite() {
        check_norms(Side::Anchors, buffers.anchor_norms)?;
        check_norms(batch.candidate_side(), buffers.candidate_norms)?;
    }
    Ok(Some([zero_norms(buffers.anchor_norms), zero_norms(buffers.candidate_norms), 0]))
}
