//! `TripletLoss`: the options of the loss, and its forward pass.

use crate::arch::Backend;
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::gradient::{self, Gradients};
use crate::join::Join;
use crate::mine::{self, Plan};
use crate::screen::Screen;
use crate::stats::{Negatives, RowStats};
use crate::sum::sum_in_order;
use crate::workspace::{Forward, Workspace};

/// How the losses of the rows become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reduction {
    /// Their sum.
    #[default]
    Sum,
    /// Their mean.
    Mean,
}

/// Where a call runs. It changes the time, never a bit of the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Threads {
    /// On the calling thread.
    #[cfg_attr(not(feature = "rayon"), default)]
    Serial,
    /// On rayon's ambient pool: the one the call is made in, or the global one. Calls too small to gain from it stay on
    /// the calling thread. Needs the feature `rayon`, which is on by default.
    #[cfg(feature = "rayon")]
    #[default]
    Rayon,
}

impl Threads {
    fn join(self) -> Join {
        match self {
            Threads::Serial => Join::Serial,
            #[cfg(feature = "rayon")]
            Threads::Rayon => Join::Rayon,
        }
    }
}

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
/// The defaults are a margin of 0.25, [`Negatives::Below`], [`Reduction::Sum`], all threads, the CPU's best backend,
/// and [`Screen::Auto`]. The value is small and `Copy`: change an option for one call by chaining.
///
/// ```
/// use hardneg::{Batch, Negatives, Reduction, TripletLoss, Workspace};
///
/// let loss = TripletLoss::new().margin(0.5).negatives(Negatives::Any).reduction(Reduction::Mean);
/// let (anchors, positives) = ([1.0, 0.0, 0.0, 1.0], [1.0, 0.1, 0.9, 0.5]);
/// let result = loss.forward(Batch::paired(&anchors, &positives, 2)?, &mut Workspace::new())?;
/// assert_eq!((result.active_mean, result.active_closest), (2, 2));
/// # Ok::<(), hardneg::Error>(())
/// ```
///
/// The source of the formula is the laboratory on siamese networks of the course "Natural Language Processing with
/// Sequence Models" (DeepLearning.AI), which extends the triplet loss of FaceNet (Schroff, Kalenichenko and Philbin,
/// 2015).
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct TripletLoss {
    margin: f32,
    negatives: Negatives,
    reduction: Reduction,
    threads: Threads,
    backend: Backend,
    screen: Screen,
}

impl Default for TripletLoss {
    fn default() -> TripletLoss {
        TripletLoss::new()
    }
}

/// The loss of a batch and what it is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Loss {
    /// `mean_term + closest_term`.
    pub loss: f64,
    /// The sum (or mean) over the rows of the hinge on the mean negative.
    pub mean_term: f64,
    /// The sum (or mean) over the rows of the hinge on the closest negative.
    pub closest_term: f64,
    /// Rows in which the hinge on the mean negative is above 0.
    pub active_mean: usize,
    /// Rows in which the hinge on the closest negative is above 0.
    pub active_closest: usize,
    /// Rows in which no negative qualified as the closest.
    pub without_closest_negative: usize,
    /// Anchors of norm 0. Their similarities are 0. Statistics and similarities do not show them: 0 from
    /// [`TripletLoss::reduce`] and [`TripletLoss::forward_from_similarities`].
    pub zero_anchors: usize,
    /// Candidates of norm 0. Their similarities are 0. Not counted where zero anchors are not.
    pub zero_candidates: usize,
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
    /// The statistics of each row stay in the workspace, in [`Workspace::row_stats`]. The same input gives the same
    /// bits on every backend, with every screen, on any number of threads, and however the anchors are split into calls
    /// (add up the rows of several calls with [`TripletLoss::reduce`]).
    ///
    /// # Errors
    /// The margin is not finite; a row is not finite; the workspace cannot grow to the size of the batch.
    ///
    /// # Allocation
    /// None once the workspace has grown to the shape of the batch; see [`Workspace`].
    pub fn forward(&self, batch: Batch<'_>, workspace: &mut Workspace) -> Result<Loss, Error> {
        workspace.clear();
        self.check_margin()?;
        let Self { negatives, backend, screen, .. } = *self;
        let plan = Plan { negatives, backend, screen, join: self.threads.join() };
        let zero_rows = mine::mine(plan, batch, workspace)?;
        workspace.keep_forward(self.forward_of(batch));
        Ok(Loss {
            zero_anchors: zero_rows.anchors,
            zero_candidates: zero_rows.candidates,
            ..self.sum_rows(workspace.row_stats())
        })
    }

    /// The forward pass, and the gradients of the loss with respect to the anchors and the candidates as they are, not
    /// normalised: the loss of [`TripletLoss::forward`] and the gradients of [`TripletLoss::backward`], in one call.
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
    pub fn forward_backward(
        &self,
        batch: Batch<'_>,
        gradients: Gradients<'_>,
        workspace: &mut Workspace,
    ) -> Result<Loss, Error> {
        workspace.clear();
        self.check_margin()?;
        gradients.check(batch)?;
        let loss = self.forward(batch, workspace)?;
        self.backward(batch, gradients, workspace).inspect_err(|_| workspace.clear())?;
        Ok(loss)
    }

    /// The gradients of the loss, from what a preceding [`TripletLoss::forward`] over the same batch left in the
    /// workspace; `O((m + n) * dim)`, little beside the forward pass.
    ///
    /// Margin, reduction, threads, backend and screen may be others than in the forward pass: the gradients are those
    /// of this plan. The batch must be the same one. Its shape and the rule for the closest negative are checked; that
    /// would not reveal other elements or positives, with which the gradients would be wrong. The workspace stays as it
    /// is, also when the call is refused, for another backward pass.
    ///
    /// The closest negative is a constant for the derivative; a hinge at exactly 0 has derivative 0, and so has a row
    /// of norm 0. The same input gives the same bits on every backend and on any number of threads. A gradient is
    /// inversely proportional to the norm of its row: one beyond the range of `f32`, as rows of norm 1e-39 may have, is
    /// infinite. It is right to about 1e-15 times the sum of the absolute derivatives by the row's similarities over
    /// its norm, which shows where it should be 0.
    ///
    /// ```
    /// use hardneg::{Batch, Gradients, TripletLoss, Workspace};
    ///
    /// let (anchors, positives) = ([1.0, 0.0, 0.0, 1.0], [1.0, 0.1, 0.9, 0.5]);
    /// let batch = Batch::paired(&anchors, &positives, 2)?;
    /// let (loss, mut workspace) = (TripletLoss::new(), Workspace::new());
    /// let (mut by_anchors, mut by_positives) = ([0.0; 4], [0.0; 4]);
    /// if loss.forward(batch, &mut workspace)?.loss > 0.1 {
    ///     let gradients = Gradients::new(&mut by_anchors, &mut by_positives).weights(&[1.0, 0.0]);
    ///     loss.backward(batch, gradients, &mut workspace)?;
    /// }
    /// assert!(by_anchors[1] != 0.0 && by_anchors[2] == 0.0);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// The margin is not finite; a buffer or the slice of weights has another length than the batch asks for; a weight
    /// is not finite; the last forward call with the workspace was not a successful one over a batch of this shape with
    /// this rule ([`Error::NoForward`]); the workspace cannot grow. Then neither buffer was written.
    ///
    /// # Allocation
    /// None once the workspace has grown to the shape of the batch; see [`Workspace`].
    pub fn backward(&self, batch: Batch<'_>, gradients: Gradients<'_>, workspace: &mut Workspace) -> Result<(), Error> {
        self.check_margin()?;
        gradients.check(batch)?;
        let forward = self.forward_of(batch);
        workspace.check_forward(forward)?;
        let weight = match self.reduction {
            Reduction::Sum => 1.0,
            Reduction::Mean => 1.0 / batch.rows() as f64,
        };
        let plan = gradient::Plan { margin: self.margin, weight, backend: self.backend, join: self.threads.join() };
        gradient::backward(plan, batch, forward, gradients, workspace)
    }

    /// What a workspace must hold for a backward pass over `batch`.
    fn forward_of(&self, batch: Batch<'_>) -> Forward {
        let (anchors, candidates, dim) = (batch.rows(), batch.candidates(), batch.dim());
        Forward { anchors, candidates, dim, negatives: self.negatives }
    }

    /// The loss of rows whose statistics are already there, from [`Workspace::row_stats`] of one or several calls.
    ///
    /// Rows are added in an order that depends on their number alone, so that the anchors of a batch may be split into
    /// any calls: the statistics put together again give the bits of the one call. Only the counts of zero rows are
    /// those of the calls; here they are 0.
    ///
    /// ```
    /// use hardneg::{Batch, Positives, TripletLoss, Workspace};
    ///
    /// let rows = [1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0];
    /// let (loss, mut workspace) = (TripletLoss::new(), Workspace::new());
    /// let whole = loss.forward(Batch::paired(&rows, &rows, 2)?, &mut workspace)?;
    ///
    /// let mut stats = Vec::new();
    /// for first in [0, 3] {
    ///     let anchors = &rows[2 * first..2 * (first + 3).min(4)];
    ///     loss.forward(Batch::new(anchors, &rows, 2, Positives::Offset(first))?, &mut workspace)?;
    ///     stats.extend_from_slice(workspace.row_stats());
    /// }
    /// assert_eq!(loss.reduce(&stats)?, whole);
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
        Ok(self.sum_rows(rows))
    }

    /// Fails unless the margin is finite.
    pub(crate) fn check_margin(&self) -> Result<(), Error> {
        if self.margin.is_finite() { Ok(()) } else { Err(Error::MarginNotFinite { margin: self.margin }) }
    }

    /// The rule that chooses the closest negative.
    pub(crate) fn rule(&self) -> Negatives {
        self.negatives
    }

    /// The loss of rows, none of them counted as zero.
    pub(crate) fn sum_rows(&self, rows: &[RowStats]) -> Loss {
        let terms = |row: &RowStats| [row.mean_term(self.margin), row.closest_term(self.margin)];
        let count = |is: fn([f64; 2]) -> bool| rows.iter().filter(|row| is(terms(row))).count();
        let sums = sum_in_order(rows.len(), &|row| terms(&rows[row]));
        let [mean_term, closest_term] = match self.reduction {
            Reduction::Sum => sums,
            Reduction::Mean => sums.map(|sum| sum / rows.len() as f64),
        };
        Loss {
            loss: mean_term + closest_term,
            mean_term,
            closest_term,
            active_mean: count(|[mean, _]| mean > 0.0),
            active_closest: count(|[_, closest]| closest > 0.0),
            without_closest_negative: rows.iter().filter(|row| row.closest_negative.is_none()).count(),
            zero_anchors: 0,
            zero_candidates: 0,
        }
    }
}
