//! `CandidateSum`: the sum of candidates that come in shards, from which the mean negative of any anchor follows.

use core::fmt;

use crate::arch::{Backend, in_default_environment};
use crate::error::{Error, Side, check_length};
use crate::exact::{SumStack, check_finite, check_norms, zero_norms};
use crate::kernels::{MOST_ROWS, cosine, dot_sum, mean_negative, measure_rows, norm, pair_dots};
use crate::memory::grow;
use crate::rows::Rows;

/// The sum of candidates scaled to norm 1, which come in shards of any length, in order: from another machine, a file
/// that is read in pieces, a stream. The mean negative of any anchor follows from it, without the candidates:
///
/// ```text
/// V = sum over j of candidate_j / norm_j
/// mean negative of anchor i = ((a_i . V) / norm(a_i) - s_ip(i)) / (n - 1)      its positive is a candidate
///                           = ((a_i . V) / norm(a_i)) / n                      it is not
/// ```
///
/// Wherever the candidates are cut, a mean has the bits that [`TripletLoss::forward`](crate::TripletLoss::forward)
/// finds with all of them. With a positive's similarity ([`Backend::cosine_similarity`]) and the closest negative of
/// all shards ([`Miner`](crate::Miner), [`Neighbour::merge`](crate::Neighbour::merge)) it makes the statistics of a row
/// ([`RowStats::new`](crate::RowStats::new)), and those make the loss
/// ([`TripletLoss::reduce`](crate::TripletLoss::reduce)). The example `shards` does all of it.
///
/// ```
/// use hardneg::{Batch, CandidateSum, TripletLoss, Workspace};
///
/// let (anchors, positives) = ([1.0, 0.0, 0.0, 1.0, 0.6, 0.8], [0.8, 0.6, -0.6, 0.8, 0.0, 1.0]);
/// let mut sum = CandidateSum::new(2)?;
/// for shard in [&positives[..2], &positives[2..]] {
///     sum.push(shard)?;
/// }
/// let mut workspace = Workspace::new();
/// let whole = TripletLoss::new().forward(Batch::paired(&anchors, &positives, 2)?, &mut workspace)?;
/// for (row, stats) in whole.row_stats().iter().enumerate() {
///     let (anchor, positive) = (&anchors[2 * row..][..2], &positives[2 * row..][..2]);
///     assert_eq!(Some(sum.mean_negative(anchor, Some(positive))?), stats.mean_negative());
/// }
/// # Ok::<(), hardneg::Error>(())
/// ```
///
/// It holds one vector of `dim` `f64` for each bit of the number of blocks of 192 candidates, and two more. Any number
/// of threads may ask for means at once.
pub struct CandidateSum {
    backend: Backend,
    dim: usize,
    stack: SumStack,
    total: Vec<f64>,
    zero_rows: usize,
}

impl CandidateSum {
    /// The sum of no candidates, of `dim` elements each, on the CPU's best backend.
    ///
    /// # Errors
    /// `dim` is 0; there is no memory.
    pub fn new(dim: usize) -> Result<CandidateSum, Error> {
        if dim == 0 {
            return Err(Error::ZeroDim);
        }
        let mut total = Vec::new();
        grow(&mut total, Side::Candidates, 1, dim)?;
        Ok(CandidateSum { backend: Backend::detect(), dim, stack: SumStack::new(dim), total, zero_rows: 0 })
    }

    /// Sets the instruction set. It changes the time only.
    #[must_use]
    pub fn backend(self, backend: Backend) -> CandidateSum {
        CandidateSum { backend, ..self }
    }

    /// Adds the next candidates, row-major; there may be none.
    ///
    /// # Errors
    /// The slice is not a whole number of rows; a row is not finite (the error counts from the first new one); there is
    /// no memory. Then the sum is as it was.
    ///
    /// # Allocation
    /// A vector of `dim` `f64` when the number of candidates has become twice as large.
    pub fn push(&mut self, rows: &[f32]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows = Rows::new(Side::Candidates, rows, self.dim)?;
        let overflow = Error::SizeOverflow { side: Side::Candidates, rows: rows.count(), columns: self.dim };
        let all = self.len().checked_add(rows.count()).ok_or(overflow)?;
        self.stack.reserve(Side::Candidates, all)?;
        in_default_environment(|| {
            check_finite(self.backend, Side::Candidates, rows)?;
            self.add(rows);
            self.stack.total(&mut self.total);
            Ok(())
        })
    }

    /// Adds rows, no more at once than the block takes that is not full.
    fn add(&mut self, rows: Rows<'_>) {
        let (backend, mut norms, mut first) = (self.backend, [0.0; MOST_ROWS], 0);
        while first < rows.count() {
            let count = (rows.count() - first).min(self.stack.missing()).min(MOST_ROWS);
            let (rows, norms) = (rows.range(first, count), &mut norms[..count]);
            self.stack.add(count, |sum| measure_rows(backend, rows, norms, sum));
            self.zero_rows += zero_norms(norms);
            first += count;
        }
    }

    /// How many candidates were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stack.rows()
    }

    /// Whether no candidate was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many candidates have norm 0, whose similarities are 0.
    #[must_use]
    pub fn zero_rows(&self) -> usize {
        self.zero_rows
    }

    /// The mean similarity of an anchor and its negatives: all candidates but its positive, if that is one of them.
    ///
    /// # Errors
    /// There are no candidates, or one only, which is the positive; a row has another length than the candidates; a row
    /// is not finite.
    ///
    /// # Allocation
    /// None.
    pub fn mean_negative(&self, anchor: &[f32], positive: Option<&[f32]>) -> Result<f32, Error> {
        let dim = self.dim;
        check_length(Side::Anchors, dim, anchor.len())?;
        check_length(Side::Positives, dim, positive.map_or(dim, <[f32]>::len))?;
        match self.len() {
            0 => return Err(Error::Empty { side: Side::Candidates }),
            1 if positive.is_some() => return Err(Error::NoNegative),
            _ => {}
        }
        in_default_environment(|| {
            let (norm, similarity) = self.similarity(anchor, positive)?;
            let total = dot_sum(self.backend, anchor, &self.total);
            Ok(mean_negative(total, norm, similarity, self.len()) as f32)
        })
    }
}

impl CandidateSum {
    /// The norm of an anchor, and its similarity with its positive, before it is rounded to `f32`. Fails where a row is
    /// not finite.
    fn similarity(&self, anchor: &[f32], positive: Option<&[f32]>) -> Result<(f64, Option<f64>), Error> {
        let Some(positive) = positive else {
            let norm = norm(self.backend, anchor);
            check_norms(Side::Anchors, &[norm])?;
            return Ok((norm, None));
        };
        let [own, dot, other] = pair_dots(self.backend, anchor, positive);
        let (norm, positive_norm) = (own.sqrt(), other.sqrt());
        check_norms(Side::Anchors, &[norm])?;
        check_norms(Side::Positives, &[positive_norm])?;
        Ok((norm, Some(cosine(dot, norm, positive_norm))))
    }
}

impl fmt::Debug for CandidateSum {
    /// Sizes, without the sums.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CandidateSum").field("candidates", &self.len()).field("dim", &self.dim).finish_non_exhaustive()
    }
}
