//! `TripletLoss`: the options of the loss, and the calls that compute it.

use crate::arch::{Backend, in_default_environment};
use crate::batch::Batch;
use crate::error::{Error, Side, check_length};
use crate::forward::Forward;
use crate::gradient::{self, GradientPlan, Gradients};
use crate::mine::{self, MeasurePlan, MineMemory, MinePlan, Mined};
use crate::parallel::Threads;
use crate::reduction::{Loss, Reduction};
use crate::row_stats::{Negatives, RowStats};
use crate::screen::Screen;
use crate::workspace::{Totals, Workspace};

/// The modified triplet loss over a batch of embeddings: what to compute, and how.
///
/// For each anchor, with the cosine similarities to its positive, to its negatives (all other candidates) on average,
/// and to its closest negative, as [`Negatives`] chooses it:
///
/// ```text
/// mean term    = max(mean_negative    - positive + margin, 0)
/// closest term = max(closest_negative - positive + margin, 0)      0 without a closest negative
/// loss         = sum (or mean) over the anchors of (mean term + closest term)
/// ```
///
/// The defaults are a margin of 0.25, [`Negatives::Below`] (which skips negatives that are more similar than the
/// positive), [`Reduction::Sum`], [`Threads::Serial`], the CPU's best backend, and [`Screen::Auto`]. For all cores,
/// chain `.threads(Threads::Rayon)`. The value is small and `Copy`: change an option for one call by chaining, and read
/// one back from the field of its name.
///
/// ```
/// use hardneg::{Batch, Negatives, Reduction, TripletLoss, Workspace};
///
/// let loss = TripletLoss::new().margin(0.5).negatives(Negatives::Any).reduction(Reduction::Mean);
/// assert_eq!((loss.margin, loss.negatives.to_string().as_str()), (0.5, "any"));
/// let (anchors, positives) = ([1.0, 0.0, 0.0, 1.0], [1.0, 0.1, 0.9, 0.5]);
/// let result = loss.forward(Batch::paired(&anchors, &positives, 2)?, &mut Workspace::new())?.loss();
/// assert_eq!((result.active_mean, result.active_closest), (2, 2));
/// # Ok::<(), hardneg::Error>(())
/// ```
///
/// The source of the formula is the laboratory on siamese networks of the course "Natural Language Processing with
/// Sequence Models" (DeepLearning.AI), which extends the triplet loss of FaceNet (Schroff, Kalenichenko and Philbin,
/// 2015).
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
#[non_exhaustive]
pub struct TripletLoss {
    /// By how much the positive must be more similar than a negative to cost nothing.
    pub margin: f32,
    /// Which candidates may be the closest negative.
    pub negatives: Negatives,
    /// How rows become one number.
    pub reduction: Reduction,
    /// Where calls run.
    pub threads: Threads,
    /// The instruction set.
    pub backend: Backend,
    /// How pairs that cannot matter are ruled out.
    pub screen: Screen,
}

impl Default for TripletLoss {
    fn default() -> TripletLoss {
        TripletLoss::new()
    }
}

impl TripletLoss {
    /// The loss with the default options.
    pub fn new() -> TripletLoss {
        TripletLoss {
            margin: 0.25,
            negatives: Negatives::default(),
            reduction: Reduction::default(),
            threads: Threads::default(),
            backend: Backend::detect(),
            screen: Screen::default(),
        }
    }

    /// Sets the margin: by how much the positive must be more similar than a negative to cost nothing.
    pub fn margin(self, margin: f32) -> TripletLoss {
        TripletLoss { margin, ..self }
    }

    /// Sets which candidates may be the closest negative.
    pub fn negatives(self, negatives: Negatives) -> TripletLoss {
        TripletLoss { negatives, ..self }
    }

    /// Sets how rows become one number.
    pub fn reduction(self, reduction: Reduction) -> TripletLoss {
        TripletLoss { reduction, ..self }
    }

    /// Sets where calls run.
    pub fn threads(self, threads: Threads) -> TripletLoss {
        TripletLoss { threads, ..self }
    }

    /// Sets the instruction set.
    pub fn backend(self, backend: Backend) -> TripletLoss {
        TripletLoss { backend, ..self }
    }

    /// Sets how pairs that cannot matter are ruled out: see [`Screen`]. It changes the time only.
    pub fn screen(self, screen: Screen) -> TripletLoss {
        TripletLoss { screen, ..self }
    }

    /// The forward pass over a batch: m anchors and n candidates of `dim` elements, m * n * dim multiply-adds.
    ///
    /// The result borrows the workspace, in which the statistics of each row stay: [`Forward::row_stats`]. The same
    /// input gives the same bits on every backend, with every screen, on any number of threads, and however the anchors
    /// are split into calls (add up the rows of several calls with [`TripletLoss::reduce`]).
    ///
    /// # Errors
    /// The margin is not finite; a row is not finite; the workspace cannot grow to the size of the batch.
    ///
    /// # Allocation
    /// None once the workspace has grown to the shape of the batch; see [`Workspace`].
    pub fn forward<'w, 'b>(&self, batch: Batch<'b>, workspace: &'w mut Workspace) -> Result<Forward<'w, 'b>, Error> {
        // Written where there is one: a result that is moved costs a small batch more than it costs to compute.
        let mut error = None;
        in_default_environment(|| {
            if let Err(found) = self.mine(&batch, workspace) {
                error = Some(found);
            }
        });
        match error {
            Some(error) => Err(error),
            None => Ok(Forward::new(self.gradient_plan(), batch, workspace)),
        }
    }

    /// Grows a workspace to what both passes over batches of this shape need.
    pub(crate) fn reserve(&self, batch: &Batch<'_>, workspace: &mut Workspace) -> Result<(), Error> {
        self.check_margin()?;
        mine::reserve_stats(self.mine_plan(), batch, &mut workspace.mining)?;
        gradient::reserve(self.gradient_plan(), *batch, &mut workspace.gradient)
    }

    fn mine(&self, batch: &Batch<'_>, workspace: &mut Workspace) -> Result<(), Error> {
        self.check_margin()?;
        if let Some(zeros) = mine::mine_few(self.mine_plan(), batch, &mut workspace.mining)? {
            // Written in place, field by field, where moves would wait for fields of another width.
            workspace.totals.screening = Mined::without_screens(batch, zeros).screening;
            workspace.totals.loss = self.total(zeros, workspace.mining.stats(batch.rows()));
            return Ok(());
        }
        let Workspace { exclusions, mining, totals, .. } = workspace;
        exclusions.fill(batch.rows(), batch.positives(), batch.exclusions())?;
        let exclusions = exclusions.sorted(batch.candidates(), batch.positives(), batch.exclusions());
        // Read where it was written, as a move would wait for its fields.
        match &mine::mine(self.mine_plan(), batch, &exclusions, mining) {
            Ok(mined) => {
                *totals = self.totals(batch, mined, mining);
                Ok(())
            }
            Err(error) => Err(*error),
        }
    }

    /// The forward pass over a batch whose statistics are there already, one for each anchor: from
    /// [`Forward::row_stats`] of calls with some of the anchors each, or from numbers that were computed apart
    /// ([`RowStats::new`]). No pair is computed: O((m + n) * dim) operations give the loss and what
    /// [`Forward::backward`] needs.
    ///
    /// With the statistics that [`TripletLoss::forward`] finds, the loss and the gradients have the bits of that call.
    /// Where the rows are in several places, each of them gets the gradients of its own rows alone:
    /// [`Gradients::rows`], which has an example. Statistics that are not those of the batch, or were found by another
    /// choice of [`Negatives`], are taken as they are.
    ///
    /// # Errors
    /// The margin is not finite; there are not as many statistics as anchors; a closest negative is no negative of its
    /// row; a mean negative is there without negatives, or they without it; a row is not finite; the workspace cannot
    /// grow to the size of the batch.
    ///
    /// # Allocation
    /// None once the workspace has grown to the shape of the batch; see [`Workspace`].
    pub fn forward_from_row_stats<'w, 'b>(
        &self,
        batch: Batch<'b>,
        rows: &[RowStats],
        workspace: &'w mut Workspace,
    ) -> Result<Forward<'w, 'b>, Error> {
        self.complete_row_stats(batch, rows, false, workspace)
    }

    /// [`TripletLoss::forward_from_row_stats`] after a pass with the same candidates, in its workspace: where they are
    /// the very slice of that pass they are not measured again.
    ///
    /// For anchors that are in several places. Each place computes the rows of its own anchors, here the first two, and
    /// then takes the statistics of all for its gradients:
    ///
    /// ```
    /// use hardneg::{Batch, Gradients, Positives, TripletLoss, Workspace};
    ///
    /// let (rows, others) = ([1.0, 0.0, 0.6, 0.8, 0.8, 0.6], [0.9, 0.1, 0.1, 0.9, 0.7, 0.7]);
    /// let (loss, mut workspace) = (TripletLoss::new(), Workspace::new());
    /// let whole = Batch::paired(&rows, &others, 2)?;
    /// let stats = loss.forward(whole, &mut workspace)?.row_stats().to_vec();
    ///
    /// let own = loss.forward(Batch::new(&rows[..4], &others, 2, Positives::Identity)?, &mut workspace)?;
    /// assert_eq!(own.row_stats(), &stats[..2]);
    /// let (mut by_rows, mut by_others) = ([0.0; 4], [0.0; 4]);
    /// let mut forward = loss.continue_from_row_stats(own, whole, &stats)?;
    /// forward.backward(Gradients::new(&mut by_rows, &mut by_others).rows(0..2, 0..2))?;
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`TripletLoss::forward_from_row_stats`].
    ///
    /// # Allocation
    /// None once the workspace has grown to the shape of the batch; see [`Workspace`].
    pub fn continue_from_row_stats<'w, 'b>(
        &self,
        forward: Forward<'w, 'b>,
        batch: Batch<'b>,
        rows: &[RowStats],
    ) -> Result<Forward<'w, 'b>, Error> {
        let (earlier, workspace) = forward.into_parts();
        // The earlier pass has borrowed its candidates until now, so that they have not changed.
        self.complete_row_stats(batch, rows, batch.is_measured_by(earlier), workspace)
    }

    /// [`TripletLoss::forward_from_row_stats`]. `measured` says that the workspace holds the norms and the sum of the
    /// batch's candidates.
    fn complete_row_stats<'w, 'b>(
        &self,
        batch: Batch<'b>,
        rows: &[RowStats],
        measured: bool,
        workspace: &'w mut Workspace,
    ) -> Result<Forward<'w, 'b>, Error> {
        self.check_margin()?;
        check_length(Side::RowStats, batch.rows(), rows.len())?;
        let shape = (batch.rows(), batch.candidates());
        let exclusions = workspace.exclusions.sort(shape, batch.positives(), batch.exclusions())?;
        exclusions.check_stats(rows)?;
        let plan = MeasurePlan { backend: self.backend, threads: self.threads, measured };
        in_default_environment(|| {
            let mined = mine::measure(plan, &batch, &exclusions, rows, &mut workspace.mining)?;
            workspace.totals = self.totals(&batch, &mined, &workspace.mining);
            Ok(())
        })?;
        Ok(Forward::new(self.gradient_plan(), batch, workspace))
    }

    /// The totals of a batch whose statistics a pass has left in the memory.
    fn totals(&self, batch: &Batch<'_>, mined: &Mined, memory: &MineMemory) -> Totals {
        let zeros = [mined.zero_anchors, mined.zero_candidates, mined.zero_positives];
        Totals { loss: self.total(zeros, memory.stats(batch.rows())), screening: mined.screening }
    }

    /// The loss of rows, with so many zero rows among the anchors, the candidates and the positives of their own.
    #[inline(always)]
    fn total(&self, [anchors, candidates, positives]: [usize; 3], rows: &[RowStats]) -> Loss {
        let (zero_anchors, zero_candidates, zero_positives) = (Some(anchors), Some(candidates), Some(positives));
        Loss { zero_anchors, zero_candidates, zero_positives, ..self.sum_rows(rows) }
    }

    /// How pairs are mined.
    fn mine_plan(&self) -> MinePlan {
        let TripletLoss { negatives, backend, screen, threads, .. } = *self;
        MinePlan { negatives, backend, screen, threads }
    }

    /// How a backward pass is to be computed.
    fn gradient_plan(&self) -> GradientPlan {
        let TripletLoss { margin, reduction, backend, threads, .. } = *self;
        GradientPlan { margin, reduction, backend, threads }
    }

    /// The forward pass and the backward pass in one call: [`TripletLoss::forward`] and [`Forward::backward`]. The
    /// gradients' slices are checked before anything is computed.
    ///
    /// # Errors
    /// Those of the forward pass; a buffer or the slice of weights has another length than the batch asks for; a weight
    /// is not finite. Then neither buffer was written.
    ///
    /// # Allocation
    /// None once the workspace has grown to the shape of the batch; see [`Workspace`].
    ///
    /// # Example
    /// See [`Gradients`].
    pub fn forward_backward<'w, 'b>(
        &self,
        batch: Batch<'b>,
        gradients: Gradients<'_>,
        workspace: &'w mut Workspace,
    ) -> Result<Forward<'w, 'b>, Error> {
        self.check_margin()?;
        gradients.check(batch)?;
        let mut forward = self.forward(batch, workspace)?;
        forward.backward(gradients)?;
        Ok(forward)
    }

    /// The loss of rows whose statistics are already there, from [`Forward::row_stats`] of one or several calls.
    ///
    /// Rows are added in an order that depends on their number alone, so that the anchors of a batch may be split into
    /// any calls: the statistics put together again give the bits of the one call. Only the zero rows are not counted.
    ///
    /// ```
    /// use hardneg::{Batch, Positives, TripletLoss, Workspace};
    ///
    /// let rows = [1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0];
    /// let (loss, mut workspace) = (TripletLoss::new(), Workspace::new());
    /// let whole = loss.forward(Batch::paired(&rows, &rows, 2)?, &mut workspace)?.loss();
    ///
    /// let mut stats = Vec::new();
    /// for first in [0, 3] {
    ///     let anchors = &rows[2 * first..2 * (first + 3).min(4)];
    ///     let batch = Batch::new(anchors, &rows, 2, Positives::Offset(first))?;
    ///     stats.extend_from_slice(loss.forward(batch, &mut workspace)?.row_stats());
    /// }
    /// assert_eq!(loss.reduce(&stats)?.loss, whole.loss);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// The margin is not finite; there are no rows.
    ///
    /// # Allocation
    /// None.
    pub fn reduce(&self, rows: &[RowStats]) -> Result<Loss, Error> {
        self.check_margin()?;
        if rows.is_empty() {
            return Err(Error::Empty { side: Side::RowStats });
        }
        Ok(in_default_environment(|| self.sum_rows(rows)))
    }

    /// Fails unless the margin is finite.
    pub(crate) fn check_margin(&self) -> Result<(), Error> {
        if self.margin.is_finite() { Ok(()) } else { Err(Error::MarginNotFinite { margin: self.margin }) }
    }

    /// The loss of rows, whose norms are not known.
    pub(crate) fn sum_rows(&self, rows: &[RowStats]) -> Loss {
        Loss::of(rows, self.margin, self.reduction)
    }
}
