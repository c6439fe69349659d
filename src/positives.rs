//! `Positives`: which candidate belongs to which anchor.

use core::fmt;

use crate::error::{Error, Side, check_length};

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
