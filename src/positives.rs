//! `Positives`: which row belongs to which anchor.

use core::fmt;

use crate::error::{Error, Side, check_length};
use crate::rows::Rows;

/// Which row is the positive of each of m anchors: one of the candidates, or a row of its own.
///
/// ```
/// use hardneg::{Batch, Positives};
///
/// let (anchors, candidates) = ([1.0, 0.0], [0.0, 1.0, 0.6, 0.8, 1.0, 0.1]);
/// let batch = Batch::new(&anchors, &candidates, 2, Positives::IndicesI64(&[2]))?;
/// assert_eq!((batch.rows(), batch.candidates()), (1, 3));
/// assert!(Batch::new(&anchors, &candidates, 2, Positives::Offset(3)).is_err());
/// // A queue of negatives beside one pair.
/// let batch = Batch::new(&anchors, &candidates, 2, Positives::Outside(&[1.0, 0.2]))?;
/// assert_eq!((batch.rows(), batch.candidates()), (1, 3));
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq)]
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
    /// The positive of anchor `i` is row `i` of m rows of their own (m * dim elements), which are no candidates: every
    /// candidate is a negative of every anchor, and one candidate is enough. For a queue or a corpus of negatives
    /// beside a batch of pairs. Of a [`SimilarityMatrix`](crate::SimilarityMatrix), which knows no embeddings: the m
    /// similarities of the anchors with positives that are no columns.
    Outside(&'a [f32]),
}

/// Where a positive is: a candidate, or one of rows of their own.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Candidate(usize),
    Outside(&'a [f32]),
}

impl<'a> Positives<'a> {
    /// Where the positive of anchor `row` is. The indices were [checked](Positives::check).
    #[inline]
    pub(crate) fn place(self, row: usize) -> Place<'a> {
        Place::Candidate(match self {
            Positives::Identity => row,
            Positives::Offset(offset) => offset + row,
            Positives::Indices(indices) => indices[row],
            Positives::IndicesU32(indices) => indices[row] as usize,
            Positives::IndicesI64(indices) => indices[row] as usize,
            Positives::Outside(rows) => return Place::Outside(rows),
        })
    }

    /// The positive of anchor `row`, as a row. The indices were [checked](Positives::check).
    #[inline]
    pub(crate) fn row(self, row: usize, candidates: Rows<'a>) -> &'a [f32] {
        match self.place(row) {
            Place::Candidate(index) => candidates.row(index),
            Place::Outside(rows) => candidates.of_same_dim(rows).row(row),
        }
    }

    /// The candidate that is the positive of anchor `row`, if one is. The indices were [checked](Positives::check).
    #[inline]
    pub(crate) fn index(self, row: usize) -> Option<usize> {
        match self.place(row) {
            Place::Candidate(index) => Some(index),
            Place::Outside(_) => None,
        }
    }

    /// Checks that each of `rows` anchors has its positive among `candidates`, unless it is a row of its own.
    pub(crate) fn check(self, rows: usize, candidates: usize) -> Result<(), Error> {
        match self {
            Positives::Identity => check_run(0, rows, candidates),
            Positives::Offset(offset) => check_run(offset, rows, candidates),
            Positives::Indices(indices) => check_indices(indices, rows, candidates),
            Positives::IndicesU32(indices) => check_indices(indices, rows, candidates),
            Positives::IndicesI64(indices) => check_indices(indices, rows, candidates),
            Positives::Outside(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Positives<'_> {
    /// Without the indices and rows, which may be many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Positives::Identity => write!(f, "Identity"),
            Positives::Offset(offset) => write!(f, "Offset({offset})"),
            Positives::Indices(indices) => write!(f, "Indices({} of usize)", indices.len()),
            Positives::IndicesU32(indices) => write!(f, "IndicesU32({} of u32)", indices.len()),
            Positives::IndicesI64(indices) => write!(f, "IndicesI64({} of i64)", indices.len()),
            Positives::Outside(rows) => write!(f, "Outside({} of f32)", rows.len()),
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
