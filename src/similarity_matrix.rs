//! Mining from a similarity matrix that is already there.

use core::fmt;

use crate::arch::{Backend, in_default_environment};
use crate::error::{Error, Side, check_length};
use crate::exclusions::Exclusions;
use crate::kernels::{RowSimilarities, find_largest_up_to, sum_values};
use crate::loss::TripletLoss;
use crate::positives::{Place, Positives};
use crate::reduction::Loss;
use crate::row_stats::{ClosestSearch, NegativeRules, Negatives, RowStats, Search};
use crate::workspace::Workspace;

/// A row-major matrix of similarities, m anchors by n candidates, of any finite values and with any scale.
///
/// ```
/// use hardneg::{SimilarityMatrix, TripletLoss, Workspace};
///
/// let matrix = [0.9, -0.8, 0.3, -0.5, -0.4, 0.5, 0.1, -0.1, 0.3, 0.1, -0.4, -0.8, -0.5, -0.2, -0.7, 0.5];
/// let mut workspace = Workspace::new();
/// let result = TripletLoss::new().forward_from_similarities(SimilarityMatrix::square(&matrix, 4)?, &mut workspace)?;
/// assert!((result.loss().loss - 0.516_667).abs() < 1e-6);
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct SimilarityMatrix<'a> {
    data: &'a [f32],
    columns: usize,
    positives: Positives<'a>,
    exclusions: Exclusions<'a>,
}

impl<'a> SimilarityMatrix<'a> {
    /// The matrix of a paired batch of `rows` rows: positives on the diagonal.
    ///
    /// # Errors
    /// `rows` is 0 or 1; `data` has another length than `rows * rows`.
    pub fn square(data: &'a [f32], rows: usize) -> Result<SimilarityMatrix<'a>, Error> {
        SimilarityMatrix::new(data, rows, rows, Positives::Identity)
    }

    /// The matrix of `rows` anchors and `columns` candidates.
    ///
    /// # Errors
    /// There are no rows, no columns, or one column only, which is the positive; `data` has another length than `rows *
    /// columns`; the index slice, or that of similarities with [`Positives::Outside`], has another length than there
    /// are rows; a positive is not among the columns.
    pub fn new(
        data: &'a [f32],
        rows: usize,
        columns: usize,
        positives: Positives<'a>,
    ) -> Result<SimilarityMatrix<'a>, Error> {
        let side = Side::Similarities;
        if rows == 0 {
            return Err(Error::Empty { side: Side::Anchors });
        }
        if columns == 0 {
            return Err(Error::Empty { side: Side::Candidates });
        }
        let expected = rows.checked_mul(columns).ok_or(Error::SizeOverflow { side, rows, columns })?;
        check_length(side, expected, data.len())?;
        if let Positives::Outside(similarities) = positives {
            check_length(Side::Positives, rows, similarities.len())?;
        } else if columns == 1 {
            return Err(Error::NoNegative);
        }
        positives.check(rows, columns)?;
        Ok(SimilarityMatrix { data, columns, positives, exclusions: Exclusions::None })
    }

    /// The matrix with columns that are no negatives of some rows, in place of those of an earlier call: see
    /// [`Batch::excluding`](crate::Batch::excluding).
    ///
    /// # Errors
    /// There are not as many labels as rows and columns; there is not one offset more than rows; offsets do not ascend
    /// from 0 to the number of indices; an excluded column does not exist.
    pub fn excluding(self, exclusions: Exclusions<'a>) -> Result<SimilarityMatrix<'a>, Error> {
        exclusions.check(self.rows(), self.columns)?;
        Ok(SimilarityMatrix { exclusions, ..self })
    }

    fn rows(self) -> usize {
        self.data.len() / self.columns
    }

    pub(crate) fn exclusions(self) -> Exclusions<'a> {
        self.exclusions
    }

    pub(crate) fn data(self) -> &'a [f32] {
        self.data
    }

    pub(crate) fn columns(self) -> usize {
        self.columns
    }

    pub(crate) fn positives(self) -> Positives<'a> {
        self.positives
    }

    /// Fails with the first row that has an element or a positive that is not finite.
    fn check_finite(self) -> Result<(), Error> {
        let first_not_finite = |values: &[f32]| values.iter().position(|value| !value.is_finite());
        if let Some(index) = first_not_finite(self.data) {
            return Err(Error::NotFinite { side: Side::Similarities, row: index / self.columns });
        }
        match self.positives {
            Positives::Outside(similarities) => first_not_finite(similarities)
                .map_or(Ok(()), |row| Err(Error::NotFinite { side: Side::Positives, row })),
            _ => Ok(()),
        }
    }

    /// The similarity of row `row` with its positive.
    fn positive(self, row: usize) -> f32 {
        match self.positives.place(row) {
            Place::Candidate(index) => self.data[row * self.columns + index],
            Place::Outside(similarities) => similarities[row],
        }
    }
}

impl fmt::Debug for SimilarityMatrix<'_> {
    /// The shape alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, columns) = (self.rows(), self.columns);
        write!(f, "SimilarityMatrix({rows} x {columns}, {:?})", self.positives)
    }
}

/// The result of [`TripletLoss::forward_from_similarities`]. It borrows the workspace that it lies in.
#[derive(Clone, Copy)]
#[must_use]
pub struct ForwardFromSimilarities<'w> {
    loss: Loss,
    stats: &'w [RowStats],
}

impl<'w> ForwardFromSimilarities<'w> {
    /// The loss, and what it is made of.
    #[must_use]
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// The statistics of each row, in order, without a copy.
    #[must_use]
    pub fn row_stats(&self) -> &'w [RowStats] {
        self.stats
    }
}

impl fmt::Debug for ForwardFromSimilarities<'_> {
    /// Without the rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardFromSimilarities").field("loss", &self.loss).finish_non_exhaustive()
    }
}

impl TripletLoss {
    /// The same loss from similarities that are already there.
    ///
    /// A row's mean negative is summed in `f64`: each run of negatives over 16 lanes folded by halves, as a dot product
    /// is, and the runs, which end at the positive and at excluded columns, in ascending order. Runs on the calling
    /// thread.
    ///
    /// # Errors
    /// The margin is not finite; an element or a positive is not finite; the workspace cannot grow.
    ///
    /// # Allocation
    /// None once the workspace has grown to the number of rows.
    pub fn forward_from_similarities<'w>(
        &self,
        matrix: SimilarityMatrix<'_>,
        workspace: &'w mut Workspace,
    ) -> Result<ForwardFromSimilarities<'w>, Error> {
        in_default_environment(|| self.reduce_similarities(matrix, workspace))
    }

    fn reduce_similarities<'w>(
        &self,
        matrix: SimilarityMatrix<'_>,
        workspace: &'w mut Workspace,
    ) -> Result<ForwardFromSimilarities<'w>, Error> {
        self.check_margin()?;
        matrix.check_finite()?;
        let SimilarityMatrix { columns, positives, exclusions, .. } = matrix;
        let rules = workspace.exclusions.sort((matrix.rows(), columns), positives, exclusions)?.rules;
        let stats = workspace.mining.grow_stats(matrix.rows())?;
        for (row, (stats, similarities)) in stats.iter_mut().zip(matrix.data.chunks_exact(columns)).enumerate() {
            let positive = matrix.positive(row);
            *stats = reduce_row(self.backend, self.negatives, (&rules, row), positive, similarities);
        }
        Ok(ForwardFromSimilarities { loss: self.sum_rows(stats), stats })
    }
}

/// Reduces one row of similarities.
fn reduce_row(
    backend: Backend,
    negatives: Negatives,
    (rules, row): (&NegativeRules<'_>, usize),
    positive: f32,
    similarities: &[f32],
) -> RowStats {
    let admissible = negatives.admissible(positive);
    let largest = find_largest_up_to(backend, admissible.high, similarities);
    let mut search = ClosestSearch::new(admissible);
    search.offer_run(0, RowSimilarities { values: similarities, largest }, rules, row);
    let rule = rules.row(row);
    // Those that are no negatives are left out rather than subtracted: they may be so large that the others vanish
    // beside them.
    let (mut sum, mut count, mut next) = (0.0, 0, 0);
    while let Some(run) = rule.next_run(next, similarities.len()) {
        next = run.end;
        count += run.len();
        sum += sum_values(backend, &similarities[run]);
    }
    let mean_negative = (count > 0).then(|| (sum / count as f64) as f32);
    RowStats::computed(positive, mean_negative, search.found())
}
