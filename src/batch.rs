//! `Batch`: the input of a call, validated once, and `Positives`, which candidate belongs to which anchor.

use core::fmt;

use crate::error::{Error, Side, check_length};
use crate::rows::{Rows, Sides};

/// Which candidate is the positive of each of m anchors.
///
/// ```
/// use hardneg::{Batch, Positives};
///
/// let (anchors, candidates) = ([1.0, 0.0], [0.0, 1.0, 0.6, 0.8, 1.0, 0.1]);
/// let batch = Batch::new(&anchors, &candidates, 2, Positives::IndicesI64(&[2]))?;
/// assert_eq!((batch.rows(), batch.candidates()), (1, 3));
/// assert!(Batch::new(&anchors, &candidates, 2, Positives::Offset(3)).is_err());
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Positives<'a> {
    /// The positive of anchor `i` is candidate `i`.
    Identity,
    /// The positive of anchor `i` is candidate `offset + i`: the anchors are a run of rows of a larger paired batch.
    Offset(usize),
    /// The positive of anchor `i` is candidate `indices[i]`: m indices, which may repeat.
    Indices(&'a [usize]),
    /// The same with indices of 32 bits.
    IndicesU32(&'a [u32]),
    /// The same with signed indices, as NumPy and PyTorch have them. A negative one is out of range.
    IndicesI64(&'a [i64]),
}

impl Positives<'_> {
    /// The positive of anchor `row`. The indices were [checked](Positives::check).
    #[inline]
    pub(crate) fn of(self, row: usize) -> usize {
        match self {
            Positives::Identity => row,
            Positives::Offset(offset) => offset + row,
            Positives::Indices(indices) => indices[row],
            Positives::IndicesU32(indices) => indices[row] as usize,
            Positives::IndicesI64(indices) => indices[row] as usize,
        }
    }

    /// Checks that each of `rows` anchors has its positive among `candidates`.
    pub(crate) fn check(self, rows: usize, candidates: usize) -> Result<(), Error> {
        match self {
            Positives::Identity => check_run(0, rows, candidates),
            Positives::Offset(offset) => check_run(offset, rows, candidates),
            Positives::Indices(indices) => check_indices(indices, rows, candidates),
            Positives::IndicesU32(indices) => check_indices(indices, rows, candidates),
            Positives::IndicesI64(indices) => check_indices(indices, rows, candidates),
        }
    }
}

impl fmt::Debug for Positives<'_> {
    /// Without the indices, which may be many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Positives::Identity => write!(f, "Identity"),
            Positives::Offset(offset) => write!(f, "Offset({offset})"),
            Positives::Indices(indices) => write!(f, "Indices({} of usize)", indices.len()),
            Positives::IndicesU32(indices) => write!(f, "IndicesU32({} of u32)", indices.len()),
            Positives::IndicesI64(indices) => write!(f, "IndicesI64({} of i64)", indices.len()),
        }
    }
}

/// Checks that candidates `offset` to `offset + rows` exist.
fn check_run(offset: usize, rows: usize, candidates: usize) -> Result<(), Error> {
    let fitting = candidates.saturating_sub(offset);
    if rows > fitting {
        let index = offset as i128 + fitting as i128;
        return Err(Error::PositiveOutOfRange { row: fitting, index, candidates });
    }
    Ok(())
}

fn check_indices<T: Copy + TryInto<i128>>(indices: &[T], rows: usize, candidates: usize) -> Result<(), Error> {
    check_length(Side::PositiveIndices, rows, indices.len())?;
    let limit = candidates as i128;
    for (row, &index) in indices.iter().enumerate() {
        let index = index.try_into().unwrap_or(i128::MAX);
        if !(0..limit).contains(&index) {
            return Err(Error::PositiveOutOfRange { row, index, candidates });
        }
    }
    Ok(())
}

/// Anchors, candidates and their pairing: the input of [`TripletLoss::forward`](crate::TripletLoss::forward).
///
/// Both sides are row-major `f32`, one embedding a row, of any length: similarities are cosines, so rows need not be
/// normalised. Nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    anchors: Rows<'a>,
    candidates: Rows<'a>,
    positives: Positives<'a>,
    /// What an error calls the candidates.
    candidate_side: Side,
}

impl<'a> Batch<'a> {
    /// The paired batch of m anchors and m positives, m * dim elements each: row `i` of one belonging to row `i` of the
    /// other. Every other row of `positives` is a negative of anchor `i`.
    ///
    /// ```
    /// use hardneg::Batch;
    ///
    /// let anchors = [1.0, 0.0, 0.0, 1.0];
    /// let positives = [2.0, 1.0, -1.0, 3.0];
    /// let batch = Batch::paired(&anchors, &positives, 2)?;
    /// assert_eq!((batch.rows(), batch.candidates(), batch.dim()), (2, 2, 2));
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// `dim` is 0; a slice is empty or not a whole number of rows; the two disagree; there is one row only.
    pub fn paired(anchors: &'a [f32], positives: &'a [f32], dim: usize) -> Result<Batch<'a>, Error> {
        let anchors = Rows::new(Side::Anchors, anchors, dim)?;
        check_length(Side::Positives, anchors.data().len(), positives.len())?;
        let batch = Batch::new(anchors.data(), positives, dim, Positives::Identity)?;
        Ok(Batch { candidate_side: Side::Positives, ..batch })
    }

    /// The rectangular batch: m anchors (m * dim elements), n candidates (n * dim elements), and for each anchor the
    /// candidate that is its positive. See [`Positives`] for an example.
    ///
    /// # Errors
    /// `dim` is 0; a slice is empty or not a whole number of rows; there is one candidate only; the index slice has
    /// another length than there are anchors; a positive is not among the candidates.
    pub fn new(
        anchors: &'a [f32],
        candidates: &'a [f32],
        dim: usize,
        positives: Positives<'a>,
    ) -> Result<Batch<'a>, Error> {
        let anchors = Rows::new(Side::Anchors, anchors, dim)?;
        let candidates = Rows::new(Side::Candidates, candidates, dim)?;
        if candidates.count() == 1 {
            return Err(Error::NoNegative);
        }
        positives.check(anchors.count(), candidates.count())?;
        Ok(Batch { anchors, candidates, positives, candidate_side: Side::Candidates })
    }

    /// How many anchors there are.
    #[must_use]
    pub fn rows(self) -> usize {
        self.anchors.count()
    }

    /// How many candidates there are.
    #[must_use]
    pub fn candidates(self) -> usize {
        self.candidates.count()
    }

    /// The length of an embedding.
    #[must_use]
    pub fn dim(self) -> usize {
        self.anchors.dim()
    }

    pub(crate) fn anchor_rows(self) -> Rows<'a> {
        self.anchors
    }

    pub(crate) fn candidate_rows(self) -> Rows<'a> {
        self.candidates
    }

    pub(crate) fn positives(self) -> Positives<'a> {
        self.positives
    }

    /// The rows of both sides.
    pub(crate) fn sides(self) -> Sides<'a> {
        Sides { anchors: self.anchors, candidates: self.candidates, candidate_side: self.candidate_side }
    }

    /// What an error calls the candidates: in a paired batch they are the positives.
    pub(crate) fn candidate_side(self) -> Side {
        self.candidate_side
    }
}
