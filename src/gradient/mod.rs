//! The backward pass in O((m + n) * dim): no second pass over pairs, and no matrix product.
//!
//! Write `u_i`, `v_j` for the rows scaled to norm 1, `nu_i`, `mu_j` for their norms, and `g_i` for the weight of row
//! `i`. The derivative of the loss by the similarities is an m x n matrix of which hardly anything needs to be known:
//!
//! ```text
//! h1_i = g_i where the hinge on the mean negative is above 0, else 0        p_i = h1_i / (n - 1)
//! h2_i = g_i where the hinge on the closest negative is above 0, else 0     k_i = h1_i + h2_i
//!
//! d loss / d s_ij  =  p_i  +  S_ij          S is sparse: -(k_i + p_i) at the positive of row i, h2_i at its closest negative
//! ```
//!
//! A row of equal numbers times all `v_j` is a multiple of their sum, which the forward pass has left behind, and `S`
//! has at most two elements in a row. So the product with that matrix, and the one with its transpose, are
//!
//! ```text
//! gu_i = p_i V + sum over j of S_ij v_j           V = sum over j of v_j
//! gv_j = P     + sum over i of S_ij u_i           P = sum over i of p_i u_i
//! ```
//!
//! and the chain rule through the normalisation finishes each row on its own: `(gu_i - (gu_i . u_i) u_i) / nu_i`.
//!
//! A positive that is no candidate is a row of a third side: `gw_i = -k_i u_i`. In `S` there is nothing of it then, and
//! `gu_i` has `-k_i w_i` in place of `-(k_i + p_i) v_p(i)`. Then `p_i` is `h1_i / n`.
//!
//! Excluded candidates take part in neither `p_i` nor the sums it is multiplied with, and `p_i` is `h1_i / |N_i|`.
//! Where they are given by labels, with `G_g` the sum of the `v_j` of label g, and `P_g` that of the `p_i u_i`:
//!
//! ```text
//! gu_i = p_i (V - G_g) + sum over j of S_ij v_j           g the label of row i; S_ip is -k_i where p(i) has it, too
//! gv_j = P - P_g       + sum over i of S_ij u_i           g the label of candidate j
//! ```
//!
//! and where they are given by lists, each listed pair but the positive is an element of `S`: `-p_i`.
//!
//! * `S` by rows is written in one sweep over the statistics ([`pairs`]); its transpose is a counting sort by
//!   candidate, stable, so that each candidate finds its anchors in ascending order. Nothing is scattered into, so that
//!   rows need neither atomics nor locks, and threads change no bit.
//! * All sides are then the same computation, [`Pullback`], with the roles exchanged.
//! * All of it is in `f64`, in an order that depends on the shape alone: `P` in blocks of anchors combined as the
//!   candidates' sum is; a row from its multiple of the common vector on, then its positive, its closest negative and
//!   the listed candidates in ascending order, or the anchors in ascending order;
//!   the dot product in the lanes of [`exact`](crate::exact). No multiplication is fused with an addition.
//!   What is written is rounded to `f32` once.
//! * A row with neither a share of the common vector nor an element of `S` has gradient 0, and is not even read: late
//!   in training that is most of them.

mod memory;
mod pairs;
mod pullback;
#[cfg(test)]
mod tests;

use core::fmt;
use core::ops::Range;

use crate::arch::Backend;
use crate::batch::Batch;
use crate::error::{Error, Side, check_length};
use crate::excluded::Summands;
use crate::mine::MineResults;
use crate::parallel::{Join, Threads};
use crate::reduction::Reduction;
use crate::rows::Rows;

use memory::GradientBuffers;
pub(crate) use memory::GradientMemory;
use pairs::Weights;
use pullback::{GroupsOfRows, Partners, Pullback, Shares};

/// About how long an element of both sides takes on one thread.
const NANOSECONDS: f64 = 0.8;

/// Where the gradients of a batch go, and how: the caller's buffers, row-major, of the shapes of the anchors, of the
/// candidates, and of positives that are no candidates.
///
/// They are overwritten unless [`Gradients::accumulate`] says to add to them.
///
/// ```
/// use hardneg::{Batch, Gradients, TripletLoss, Workspace};
///
/// let (anchors, positives) = ([1.0, 0.0, 0.0, 1.0], [1.0, 0.1, 0.9, 0.5]);
/// let batch = Batch::paired(&anchors, &positives, 2)?;
/// let (mut by_anchors, mut by_positives) = ([0.0; 4], [0.0; 4]);
/// let gradients = Gradients::new(&mut by_anchors, &mut by_positives);
/// let loss = TripletLoss::new().margin(0.5).forward_backward(batch, gradients, &mut Workspace::new())?.loss();
/// assert!(loss.loss > 0.0);
/// // The gradient is orthogonal to its row, since the length of a row does not matter to the loss.
/// assert_eq!(by_anchors[0], 0.0);
/// // A step against the gradient turns the second anchor away from its negative, which is the first positive.
/// assert!(by_anchors[2] > 0.0);
/// # Ok::<(), hardneg::Error>(())
/// ```
#[must_use]
pub struct Gradients<'a> {
    anchors: &'a mut [f32],
    candidates: Option<&'a mut [f32]>,
    positives: Option<&'a mut [f32]>,
    weights: Option<&'a [f32]>,
    accumulate: bool,
    rows: Option<RowRanges>,
}

/// The rows whose gradients are wanted.
#[derive(Clone, Debug)]
struct RowRanges {
    /// Of the anchors, and of positives that are no candidates.
    anchors: Range<usize>,
    candidates: Range<usize>,
}

impl<'a> Gradients<'a> {
    /// Gradients with respect to the anchors (m * dim elements) and to the candidates (n * dim elements), to be
    /// overwritten. A batch whose [positives are no candidates](crate::Positives::Outside) needs a buffer for
    /// [theirs](Gradients::positives), too.
    pub fn new(anchors: &'a mut [f32], candidates: &'a mut [f32]) -> Gradients<'a> {
        Gradients { candidates: Some(candidates), ..Gradients::of_anchors(anchors) }
    }

    /// Gradients with respect to the anchors alone (m * dim elements), to be overwritten: for candidates that are not
    /// trained, such as a queue of negatives. Those of positives that are no candidates may be
    /// [added](Gradients::positives).
    pub fn of_anchors(anchors: &'a mut [f32]) -> Gradients<'a> {
        Gradients { anchors, candidates: None, positives: None, weights: None, accumulate: false, rows: None }
    }

    /// Gradients with respect to positives that are no candidates as well (m * dim elements), to be overwritten. It is
    /// an error where the positives are candidates: then they are among the candidates' gradients.
    ///
    /// ```
    /// use hardneg::{Batch, Gradients, Positives, TripletLoss, Workspace};
    ///
    /// // One pair, and a queue of two negatives that are not trained.
    /// let (anchor, positive, queue) = ([1.0, 0.0], [0.6, 0.8], [0.8, -0.6, 0.0, -1.0]);
    /// let batch = Batch::new(&anchor, &queue, 2, Positives::Outside(&positive))?;
    /// let (mut by_anchor, mut by_positive) = ([0.0; 2], [0.0; 2]);
    /// let gradients = Gradients::of_anchors(&mut by_anchor).positives(&mut by_positive);
    /// let loss = TripletLoss::new().forward_backward(batch, gradients, &mut Workspace::new())?.loss();
    /// assert!(loss.loss > 0.0);
    /// // A step against the gradient turns the positive towards its anchor.
    /// assert!(by_positive[0] < 0.0 && by_positive[1] > 0.0);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    pub fn positives(self, positives: &'a mut [f32]) -> Gradients<'a> {
        Gradients { positives: Some(positives), ..self }
    }

    /// Adds to what the buffers hold: to sum gradients over several batches, or over several calls with some of the
    /// anchors each.
    ///
    /// The sum of the old value and the gradient is computed in `f64` and rounded to `f32` once. When the anchors of a
    /// batch are split over calls, on buffers that were zero and with the same weight for each row, the gradients of
    /// the anchors have the bits of the one call with all of them (but for the sign of a zero), since the gradient of
    /// an anchor is made by one call alone. The gradient of a candidate is a sum over all anchors, which now is rounded
    /// after every call: it differs by at most half a unit in the last place of each partial sum, and of the result.
    ///
    /// The weight that [`Reduction::Mean`](crate::Reduction::Mean) gives to each row is that of the call, 1 over its
    /// own number of anchors: to split a mean of m anchors over calls, give [weights](Gradients::weights) of k/m, as
    /// `f32` has it, to a call with k of them.
    pub fn accumulate(self) -> Gradients<'a> {
        Gradients { accumulate: true, ..self }
    }

    /// Of these rows alone: the buffers hold as many rows as the ranges of anchors and of candidates have (the buffer
    /// of positives that are no candidates as many as that of anchors). A range may be empty.
    ///
    /// Each row's gradient has the bits that it has among all rows. For rows that are in several places, each of which
    /// trains its own; together they do the work of one call, but for a pass over the anchors wherever gradients of
    /// candidates are wanted.
    ///
    /// ```
    /// use hardneg::{Batch, Gradients, TripletLoss, Workspace};
    ///
    /// let rows = [1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0];
    /// let others = [0.9, 0.1, 0.1, 0.9, 0.7, 0.7, 0.4, 0.6];
    /// let batch = Batch::paired(&rows, &others, 2)?;
    /// let (loss, mut workspace) = (TripletLoss::new(), Workspace::new());
    /// let (mut by_rows, mut by_others) = ([0.0; 8], [0.0; 8]);
    /// let whole = Gradients::new(&mut by_rows, &mut by_others);
    /// let stats = loss.forward_backward(batch, whole, &mut workspace)?.row_stats().to_vec();
    ///
    /// // Anchors 1 and 2 and the last candidate.
    /// let (mut some, mut last) = ([0.0; 4], [0.0; 2]);
    /// let mut forward = loss.forward_from_row_stats(batch, &stats, &mut workspace)?;
    /// forward.backward(Gradients::new(&mut some, &mut last).rows(1..3, 3..4))?;
    /// assert_eq!((&some, &last), (&by_rows[2..6].try_into().unwrap(), &by_others[6..].try_into().unwrap()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rows(self, anchors: Range<usize>, candidates: Range<usize>) -> Gradients<'a> {
        Gradients { rows: Some(RowRanges { anchors, candidates }), ..self }
    }

    /// A factor for each of the m anchors, by which its loss counts: sample weights, or the derivative of a larger loss
    /// by the loss of each row, as autograd passes it back.
    ///
    /// It multiplies the weight that the [`Reduction`](crate::Reduction) gives to each row, which is 1 for the sum and
    /// 1/m for the mean; the product is rounded to `f64`. Factors may be negative. The loss of the forward pass does
    /// not contain them.
    pub fn weights(self, weights: &'a [f32]) -> Gradients<'a> {
        Gradients { weights: Some(weights), ..self }
    }

    /// The rows whose gradients are wanted.
    fn ranges(&self, batch: Batch<'_>) -> RowRanges {
        self.rows.clone().unwrap_or(RowRanges { anchors: 0..batch.rows(), candidates: 0..batch.candidates() })
    }

    /// Checks the ranges of rows and the lengths of all slices, and that weights are finite.
    pub(crate) fn check(&self, batch: Batch<'_>) -> Result<(), Error> {
        let RowRanges { anchors, candidates } = self.ranges(batch);
        let anchors = range_len(Side::AnchorGradients, anchors, batch.anchor_rows())?;
        check_length(Side::AnchorGradients, anchors, self.anchors.len())?;
        let candidates = range_len(Side::CandidateGradients, candidates, batch.candidate_rows())?;
        if let Some(buffer) = &self.candidates {
            check_length(Side::CandidateGradients, candidates, buffer.len())?;
        }
        // Whoever asks for the gradients of the candidates trains all of the batch.
        if self.positives.is_some() || self.candidates.is_some() {
            let expected = batch.outside_rows().map_or(0, |_| anchors);
            check_length(Side::PositiveGradients, expected, self.positives.as_ref().map_or(0, |rows| rows.len()))?;
        }
        let weights = self.weights.unwrap_or_default();
        if self.weights.is_some() {
            check_length(Side::Weights, batch.rows(), weights.len())?;
        }
        match weights.iter().position(|weight| !weight.is_finite()) {
            Some(row) => Err(Error::NotFinite { side: Side::Weights, row }),
            None => Ok(()),
        }
    }
}

/// How many elements a range of rows has, which must be there.
fn range_len(side: Side, range: Range<usize>, of: Rows<'_>) -> Result<usize, Error> {
    let Range { start, end } = range;
    let all = of.count();
    if start <= end && end <= all {
        Ok((end - start) * of.dim())
    } else {
        Err(Error::Range { side, start, end, rows: all })
    }
}

impl fmt::Debug for Gradients<'_> {
    /// Lengths in place of elements.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gradients")
            .field("anchors", &self.anchors.len())
            .field("candidates", &self.candidates.as_ref().map(|candidates| candidates.len()))
            .field("positives", &self.positives.as_ref().map(|positives| positives.len()))
            .field("weights", &self.weights.map(<[f32]>::len))
            .field("accumulate", &self.accumulate)
            .field("rows", &self.rows)
            .finish()
    }
}

/// What the gradient depends on beyond the batch and its statistics, and how it is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GradientPlan {
    pub(crate) margin: f32,
    pub(crate) reduction: Reduction,
    pub(crate) backend: Backend,
    pub(crate) threads: Threads,
}

/// Writes the gradients, which were [checked](Gradients::check), from the results of the forward pass over `batch`. An
/// error comes before anything is written.
pub(crate) fn backward(
    plan: GradientPlan,
    batch: Batch<'_>,
    results: MineResults<'_>,
    gradients: Gradients<'_>,
    memory: &mut GradientMemory,
) -> Result<(), Error> {
    let (backend, accumulate, ranges) = (plan.backend, gradients.accumulate, gradients.ranges(batch));
    let elements = gradients.anchors.len().saturating_add(batch.candidate_rows().data().len());
    let join = plan.threads.join(elements as f64 * NANOSECONDS);
    let mut buffers = memory.grow(batch, join.threads())?;
    let weights =
        Weights { margin: plan.margin, all: plan.reduction.row_weight(batch.rows()), each: gradients.weights };
    let row = buffers.row;
    let with_candidates = gradients.candidates.is_some() && !ranges.candidates.is_empty();
    let (anchors, candidates) = (ranges.anchors.start, ranges.candidates.start);
    join.enter(|| {
        let sides = pullbacks(backend, join, &weights, batch, results, with_candidates, &mut buffers)?;
        sides.of_anchors.write(backend, join, row, anchors, gradients.anchors, accumulate);
        if let (Some(side), Some(output)) = (sides.of_candidates, gradients.candidates) {
            side.write(backend, join, row, candidates, output, accumulate);
        }
        if let (Some(side), Some(output)) = (sides.of_positives, gradients.positives) {
            side.write(backend, join, row, anchors, output, accumulate);
        }
        Ok(())
    })
}

/// Grows the memory to what [`backward`] needs for all gradients of batches of this shape, but for exclusions.
pub(crate) fn reserve(plan: GradientPlan, batch: Batch<'_>, memory: &mut GradientMemory) -> Result<(), Error> {
    let rows = batch.rows().saturating_add(batch.candidates());
    let join = plan.threads.join(rows.saturating_mul(batch.dim()) as f64 * NANOSECONDS);
    memory.grow(batch, join.threads()).map(|_| ())
}

/// The sides of a batch.
struct Sides<'a> {
    of_anchors: Pullback<'a>,
    of_candidates: Option<Pullback<'a>>,
    /// That of the positives, where they are no candidates.
    of_positives: Option<Pullback<'a>>,
}

/// The sides, ready to be written: the derivative by the similarities (the share of each anchor, and `S` with its
/// transpose) and the weighted sum of the anchors. The candidates' side needs the last two; without it they are not
/// computed.
fn pullbacks<'a>(
    backend: Backend,
    join: Join,
    weights: &Weights<'_>,
    batch: Batch<'a>,
    results: MineResults<'a>,
    with_candidates: bool,
    buffers: &'a mut GradientBuffers<'_>,
) -> Result<Sides<'a>, Error> {
    let (anchors, candidates) = (batch.anchor_rows(), batch.candidate_rows());
    let MineResults { anchor_norms, candidate_norms, positive_norms, candidate_sum, stats, exclusions, .. } = results;
    buffers.by_anchor.fill(weights, &exclusions, stats, buffers.shares, buffers.by_positive);
    let has_shares = buffers.shares.iter().any(|&share| share != 0.0);
    if with_candidates {
        buffers.by_candidate.fill_transposed(&buffers.by_anchor);
        if has_shares {
            pullback::weighted_sum(backend, join, anchors, anchor_norms, buffers.shares, buffers.anchor_sums);
        }
    }
    let label_sums = match exclusions.groups {
        Some(groups) if with_candidates && has_shares => {
            let (norms, weights) = (anchor_norms, Some(&*buffers.shares));
            let summands = Summands { rows: anchors, norms, weights, members: groups.anchors };
            let sums = buffers.label_sums.fill(backend, join, summands, groups.candidates)?;
            Some(GroupsOfRows { members: groups.candidates, sums })
        }
        _ => None,
    };
    let values = &*buffers.by_positive;
    let partners = |rows, norms| Partners { rows, norms, values };
    let of_anchors = Pullback {
        rows: anchors,
        norms: anchor_norms,
        others: candidates,
        other_norms: candidate_norms,
        common: candidate_sum,
        shares: Shares::Each(buffers.shares),
        groups: exclusions.groups.zip(results.label_sums).map(|(groups, sums)| {
            let members = groups.anchors;
            GroupsOfRows { members, sums }
        }),
        partners: batch.outside_rows().map(|rows| partners(rows, positive_norms)),
        pairs: Some(&buffers.by_anchor),
    };
    let of_candidates = with_candidates.then_some(Pullback {
        rows: candidates,
        norms: candidate_norms,
        others: anchors,
        other_norms: anchor_norms,
        common: &buffers.anchor_sums[..batch.dim()],
        shares: Shares::All(if has_shares { 1.0 } else { 0.0 }),
        groups: label_sums,
        partners: None,
        pairs: Some(&buffers.by_candidate),
    });
    let of_positives = batch.outside_rows().map(|positives| Pullback {
        rows: positives,
        norms: positive_norms,
        others: anchors,
        other_norms: anchor_norms,
        common: &[],
        shares: Shares::All(0.0),
        groups: None,
        partners: Some(partners(anchors, anchor_norms)),
        pairs: None,
    });
    Ok(Sides { of_anchors, of_candidates, of_positives })
}
