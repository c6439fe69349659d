//! `Batch`: the input of a call, validated once, and `Positives`, which candidate belongs to which anchor.

use crate::error::{Error, Side};
use crate::rows::Rows;

/// Which candidate is the positive of each anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Positives<'a> {
    /// The positive of anchor `i` is candidate `i`.
    Identity,
    /// The positive of anchor `i` is candidate `offset + i`: the anchors are a run of rows of a larger paired batch.
    Offset(usize),
    /// The positive of anchor `i` is candidate `indices[i]`. Indices may repeat.
    Indices(&'a [usize]),
}

impl Positives<'_> {
    /// The positive of anchor `row`.
    #[inline]
    pub(crate) fn of(self, row: usize) -> usize {
        match self {
            Positives::Identity => row,
            Positives::Offset(offset) => offset + row,
            Positives::Indices(indices) => indices[row],
        }
    }

    /// Checks that each of `rows` anchors has its positive among `candidates`.
    pub(crate) fn check(self, rows: usize, candidates: usize) -> Result<(), Error> {
        let offset = match self {
            Positives::Identity => 0,
            Positives::Offset(offset) => offset,
            Positives::Indices(indices) => return check_indices(indices, rows, candidates),
        };
        let fitting = candidates.saturating_sub(offset);
        if rows > fitting {
            let index = offset.saturating_add(fitting);
            return Err(Error::PositiveOutOfRange { row: fitting, index, candidates });
        }
        Ok(())
    }
}

fn check_indices(indices: &[usize], rows: usize, candidates: usize) -> Result<(), Error> {
    if indices.len() != rows {
        return Err(Error::Length { side: Side::Positives, expected: rows, actual: indices.len() });
    }
    match indices.iter().position(|&index| index >= candidates) {
        Some(row) => Err(Error::PositiveOutOfRange { row, index: indices[row], candidates }),
        None => Ok(()),
    }
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
}

impl<'a> Batch<'a> {
    /// The paired batch: as many positives as anchors, row `i` of one belonging to row `i` of the other. Every other
    /// row of `positives` is a negative of anchor `i`.
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
        if positives.len() != anchors.data().len() {
            let (expected, actual) = (anchors.data().len(), positives.len());
            return Err(Error::Length { side: Side::Candidates, expected, actual });
        }
        Batch::new(anchors.data(), positives, dim, Positives::Identity)
    }

    /// The rectangular batch: any number of candidates, and for each anchor the candidate that is its positive.
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
        Ok(Batch { anchors, candidates, positives })
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
}
