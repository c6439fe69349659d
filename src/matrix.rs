//! Mining from a similarity matrix that is already there.

use crate::batch::Positives;
use crate::error::{Error, Side};
use crate::loss::{Loss, TripletLoss};
use crate::similarity::sum_lanes;
use crate::stats::{ClosestSearch, Negatives, RowStats};
use crate::workspace::Workspace;

/// A row-major matrix of similarities, m anchors by n candidates, of any finite values and with any scale.
///
/// ```
/// use hardneg::{SimilarityMatrix, TripletLoss, Workspace};
///
/// let matrix = [0.9, -0.8, 0.3, -0.5, -0.4, 0.5, 0.1, -0.1, 0.3, 0.1, -0.4, -0.8, -0.5, -0.2, -0.7, 0.5];
/// let mut workspace = Workspace::new();
/// let result = TripletLoss::new().forward_from_similarities(SimilarityMatrix::square(&matrix, 4)?, &mut workspace)?;
/// assert!((result.loss - 0.516_667).abs() < 1e-6);
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SimilarityMatrix<'a> {
    data: &'a [f32],
    columns: usize,
    positives: Positives<'a>,
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
    /// There are no rows, no columns, or one column only; `data` has another length than `rows * columns`; the index
    /// slice has another length than there are rows; a positive is not among the columns.
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
        if data.len() != expected {
            return Err(Error::Length { side, expected, actual: data.len() });
        }
        if columns == 1 {
            return Err(Error::NoNegative);
        }
        positives.check(rows, columns)?;
        Ok(SimilarityMatrix { data, columns, positives })
    }

    /// The first row with an element that is not finite.
    fn first_not_finite(self) -> Option<usize> {
        self.data.iter().position(|value| !value.is_finite()).map(|index| index / self.columns)
    }
}

impl TripletLoss {
    /// The same loss from similarities that are already there. The statistics of each row stay in the workspace.
    ///
    /// A row's mean negative is summed in `f64`: the elements before the positive, then those after it, each over
    /// `LANES` lanes folded by halves. Runs on the calling thread, in code that is the same for every backend.
    ///
    /// # Errors
    /// The margin is not finite; an element is not finite; the workspace cannot grow.
    ///
    /// # Allocation
    /// None once the workspace has grown to the number of rows.
    pub fn forward_from_similarities(
        &self,
        matrix: SimilarityMatrix<'_>,
        workspace: &mut Workspace,
    ) -> Result<Loss, Error> {
        workspace.clear();
        self.check_margin()?;
        if let Some(row) = matrix.first_not_finite() {
            return Err(Error::NotFinite { side: Side::Similarities, row });
        }
        let rows = matrix.data.chunks_exact(matrix.columns);
        let stats = workspace.stats(rows.len())?;
        for (row, (stats, similarities)) in stats.iter_mut().zip(rows).enumerate() {
            *stats = row_stats(self.rule(), similarities, matrix.positives.of(row));
        }
        let count = stats.len();
        workspace.keep(count);
        Ok(self.sum_rows(workspace.row_stats()))
    }
}

/// Reduces one row of similarities.
fn row_stats(negatives: Negatives, similarities: &[f32], positive_index: usize) -> RowStats {
    let positive = similarities[positive_index];
    let mut search = ClosestSearch::new(negatives, positive, positive_index);
    for (index, &similarity) in similarities.iter().enumerate() {
        search.offer(index, similarity);
    }
    // The positive is left out rather than subtracted: it may be so large that the others vanish beside it.
    let sum = sum_lanes(&similarities[..positive_index]) + sum_lanes(&similarities[positive_index + 1..]);
    let mean_negative = (sum / (similarities.len() - 1) as f64) as f32;
    RowStats { positive, mean_negative, closest_negative: search.found() }
}
