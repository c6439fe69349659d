//! `Forward`: the result of a forward pass over a batch, and the backward pass that belongs to it.

use core::fmt;

use crate::arch::in_default_environment;
use crate::batch::Batch;
use crate::error::Error;
use crate::gradient::{self, GradientPlan, Gradients};
use crate::reduction::Loss;
use crate::row_stats::RowStats;
use crate::screen::Screening;
use crate::workspace::Workspace;

/// The result of [`TripletLoss::forward`](crate::TripletLoss::forward): the loss, the statistics of every row, and the
/// backward pass that belongs to them.
///
/// It borrows the workspace that it lies in, and the batch that it is of.
///
/// ```
/// use hardneg::{Batch, Gradients, TripletLoss, Workspace};
///
/// let (anchors, positives) = ([1.0, 0.0, 0.0, 1.0], [1.0, 0.1, 0.9, 0.5]);
/// let (mut by_anchors, mut by_positives) = ([0.0; 4], [0.0; 4]);
/// let mut workspace = Workspace::new();
/// let mut forward = TripletLoss::new().forward(Batch::paired(&anchors, &positives, 2)?, &mut workspace)?;
/// if forward.loss().loss > 0.1 {
///     forward.backward(Gradients::new(&mut by_anchors, &mut by_positives).weights(&[1.0, 0.0]))?;
/// }
/// assert!(by_anchors[1] != 0.0 && by_anchors[2] == 0.0);
/// # Ok::<(), hardneg::Error>(())
/// ```
pub struct Forward<'w, 'b> {
    /// How a backward pass is to be computed.
    plan: GradientPlan,
    batch: Batch<'b>,
    workspace: &'w mut Workspace,
}

impl<'w, 'b> Forward<'w, 'b> {
    /// The result of a pass over `batch`, whose totals, statistics and norms are in the workspace.
    pub(crate) fn new(plan: GradientPlan, batch: Batch<'b>, workspace: &'w mut Workspace) -> Forward<'w, 'b> {
        Forward { plan, batch, workspace }
    }

    /// What the pass was over, and where its results are.
    pub(crate) fn into_parts(self) -> (Batch<'b>, &'w mut Workspace) {
        (self.batch, self.workspace)
    }

    /// The loss, and what it is made of.
    #[must_use]
    pub fn loss(&self) -> Loss {
        self.workspace.totals.loss
    }

    /// The statistics of each anchor, in order, without a copy.
    #[must_use]
    pub fn row_stats(&self) -> &[RowStats] {
        self.workspace.mining.stats(self.batch.rows())
    }

    /// The statistics of each anchor, for as long as the workspace is borrowed.
    #[must_use]
    pub fn into_row_stats(self) -> &'w [RowStats] {
        self.workspace.mining.stats(self.batch.rows())
    }

    /// Counts of the work that the pass did.
    #[must_use]
    pub fn screening(&self) -> Screening {
        self.workspace.totals.screening
    }

    /// The backward pass: the gradients of the loss with respect to the anchors and the candidates as they are, not
    /// normalised, from O((m + n) * dim) operations, with the options of the forward pass. It may be called several
    /// times.
    ///
    /// A row at a hinge, where the loss has no derivative, counts as inactive: its gradient is 0 there. The choice of
    /// the closest negative is held fixed. A zero row has gradient 0. A gradient beyond the range of `f32`, which rows
    /// of norm 1e-39 may have, is infinite. Before it is rounded to `f32`, a gradient is within 3e-15 times the sum of
    /// the absolute derivatives by the row's similarities, over its norm, of the true one; an excluded candidate counts
    /// as twice what a negative does, as it is in a sum from which it is taken away.
    ///
    /// # Errors
    /// A buffer or the slice of weights has another length than the batch asks for; a weight is not finite; the
    /// workspace cannot grow. Then neither buffer was written.
    ///
    /// # Allocation
    /// None once the workspace has grown to the shape of the batch; see [`Workspace`].
    pub fn backward(&mut self, gradients: Gradients<'_>) -> Result<(), Error> {
        gradients.check(self.batch)?;
        let Workspace { exclusions, mining, gradient, .. } = &mut *self.workspace;
        let (candidates, positives) = (self.batch.candidates(), self.batch.positives());
        let exclusions = exclusions.sorted(candidates, positives, self.batch.exclusions());
        let results = mining.results(self.batch, exclusions);
        in_default_environment(|| gradient::backward(self.plan, self.batch, results, gradients, gradient))
    }
}

impl fmt::Debug for Forward<'_, '_> {
    /// Shapes and totals, without the rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("batch", &self.batch)
            .field("loss", &self.loss())
            .field("screening", &self.screening())
            .finish_non_exhaustive()
    }
}
