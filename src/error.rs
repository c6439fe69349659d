//! What can be wrong with an input, said with the side and the row where it is.

use core::fmt;

/// The argument that an [`Error`] speaks of.
///
/// Functions of two vectors call the first one the anchor and the second one the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Side {
    /// The anchors, or the first of two vectors.
    Anchors,
    /// The queries of mining.
    Queries,
    /// The candidates, or the second of two vectors.
    Candidates,
    /// The rows that a bank is given by a push or a replacement; the error's row counts from the first of them.
    NewRows,
    /// The lists of known positives.
    KnownPositives,
    /// The positives of a paired batch, which are its candidates, or positives that are no candidates.
    Positives,
    /// The slice of positive indices.
    PositiveIndices,
    /// The labels of the anchors.
    AnchorLabels,
    /// The labels of the candidates.
    CandidateLabels,
    /// The lists of excluded candidates.
    Exclusions,
    /// The offsets of lists of known positives or of excluded candidates.
    Offsets,
    /// A similarity matrix given by the caller.
    Similarities,
    /// A buffer that the call would have written.
    Output,
    /// Row statistics given by the caller.
    RowStats,
    /// The buffer for the gradients with respect to the anchors.
    AnchorGradients,
    /// The buffer for the gradients with respect to the candidates.
    CandidateGradients,
    /// The buffer for the gradients with respect to positives that are no candidates.
    PositiveGradients,
    /// The weights of the rows; each weight counts as a row.
    Weights,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Anchors => "anchors",
            Side::Queries => "queries",
            Side::Candidates => "candidates",
            Side::NewRows => "new rows",
            Side::KnownPositives => "known positives",
            Side::Positives => "positives",
            Side::PositiveIndices => "positive indices",
            Side::AnchorLabels => "labels of the anchors",
            Side::CandidateLabels => "labels of the candidates",
            Side::Exclusions => "excluded candidates",
            Side::Offsets => "offsets of lists",
            Side::Similarities => "similarities",
            Side::Output => "output",
            Side::RowStats => "row statistics",
            Side::AnchorGradients => "gradients of the anchors",
            Side::CandidateGradients => "gradients of the candidates",
            Side::PositiveGradients => "gradients of the positives",
            Side::Weights => "weights",
        })
    }
}

/// Why a call was refused. Nothing was written to the caller's buffers.
///
/// Where several things are wrong, the first in this order is reported: the shape of the batch, positive indices,
/// exclusions, the margin, the shapes of other buffers, weights that are not finite, anchors that are not finite,
/// candidates that are not finite, positives of their own that are not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// `dim` is 0.
    ZeroDim,
    /// There are no rows on this side.
    Empty {
        /// The side without rows.
        side: Side,
    },
    /// A slice does not hold a whole number of rows.
    PartialRow {
        /// The side that the slice belongs to.
        side: Side,
        /// The length of a row; a multiple of it was expected.
        dim: usize,
        /// The length of the slice.
        actual: usize,
    },
    /// A slice has another length than the other arguments ask for.
    Length {
        /// The side that the slice belongs to.
        side: Side,
        /// The length that the other arguments ask for.
        expected: usize,
        /// The length of the slice.
        actual: usize,
    },
    /// The number of elements does not fit into a `usize`, or into an allocation.
    SizeOverflow {
        /// The side whose size it is.
        side: Side,
        /// Its rows.
        rows: usize,
        /// The elements that each row needs.
        columns: usize,
    },
    /// There is one candidate only, which is the positive, so that no row has a negative.
    NoNegative,
    /// The positive of a row is not one of the candidates.
    PositiveOutOfRange {
        /// The first such row.
        row: usize,
        /// The index of its positive, as it was given.
        index: i128,
        /// How many candidates there are.
        candidates: usize,
    },
    /// The offsets of compressed lists do not begin at 0, do not ascend, or do not end at the number of indices.
    Offsets {
        /// The lists.
        side: Side,
        /// The first row whose list they do not delimit.
        row: usize,
    },
    /// Statistics of a row name a closest negative that is no candidate, or no negative of the row.
    NotANegative {
        /// The first such row.
        row: usize,
        /// The index that they name.
        index: usize,
    },
    /// Statistics of a row have a mean negative although it has no negatives, or none although it has some.
    MeanNegative {
        /// The first such row.
        row: usize,
    },
    /// Gradients of a range of rows that are not there.
    Range {
        /// The buffer for the gradients.
        side: Side,
        /// The first row of the range.
        start: usize,
        /// The row after its last one.
        end: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// An excluded candidate does not exist.
    ExcludedOutOfRange {
        /// The first row with such a candidate.
        row: usize,
        /// Its index, as it was given.
        index: i128,
        /// How many candidates there are.
        candidates: usize,
    },
    /// A row holds a NaN or an infinity.
    NotFinite {
        /// The side of the row.
        side: Side,
        /// The first such row.
        row: usize,
    },
    /// The margin is NaN or infinite.
    MarginNotFinite {
        /// The margin.
        margin: f32,
    },
    /// A threshold of mining is NaN or infinite.
    ThresholdNotFinite {
        /// The option of [`Miner`](crate::Miner), by the name of its method.
        option: &'static str,
        /// The threshold.
        threshold: f64,
    },
    /// Mining was asked for lists of no candidates.
    ZeroK,
    /// A similarity from which statistics were to be made is NaN or infinite.
    SimilarityNotFinite {
        /// The similarity.
        similarity: f32,
    },
    /// A bank does not have this row.
    RowOutOfRange {
        /// The index of the row.
        row: usize,
        /// How many rows the bank has.
        rows: usize,
    },
    /// The allocator refused the memory that a workspace or a bank needs.
    OutOfMemory {
        /// The bytes that were asked for.
        bytes: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::ZeroDim => write!(f, "dim is 0"),
            Error::Empty { side } => write!(f, "{side}: no rows"),
            Error::PartialRow { side, dim, actual } => {
                write!(f, "{side}: expected a multiple of dim {dim}, got {actual} elements")
            }
            Error::Length { side, expected, actual } => {
                write!(f, "{side}: expected {expected} elements, got {actual}")
            }
            Error::SizeOverflow { side, rows, columns } => {
                write!(f, "{side}: {rows} rows of {columns} elements do not fit into memory")
            }
            Error::NoNegative => write!(f, "a single row to choose from leaves no negative"),
            Error::PositiveOutOfRange { row, index, candidates } => {
                write!(f, "row {row}: its positive is candidate {index}, but there are {candidates} candidates")
            }
            Error::Offsets { side, row } => write!(f, "{side}: the offsets do not delimit the list of row {row}"),
            Error::NotANegative { row, index } => {
                write!(f, "row {row}: candidate {index} is named as the closest negative, but is no negative")
            }
            Error::MeanNegative { row } => {
                write!(f, "row {row}: its mean negative is there without negatives, or they without it")
            }
            Error::Range { side, start, end, rows } => write!(f, "{side}: rows {start}..{end} of {rows} rows"),
            Error::ExcludedOutOfRange { row, index, candidates } => {
                write!(f, "row {row}: candidate {index} is excluded, but there are {candidates} candidates")
            }
            Error::NotFinite { side, row } => write!(f, "{side}: row {row} holds a NaN or an infinity"),
            Error::MarginNotFinite { margin } => write!(f, "the margin is {margin}"),
            Error::ThresholdNotFinite { option, threshold } => write!(f, "{option} is {threshold}"),
            Error::ZeroK => write!(f, "k is 0"),
            Error::SimilarityNotFinite { similarity } => write!(f, "a similarity is {similarity}"),
            Error::RowOutOfRange { row, rows } => write!(f, "row {row} of a bank of {rows} rows"),
            Error::OutOfMemory { bytes } => write!(f, "no memory for {bytes} bytes"),
        }
    }
}

impl core::error::Error for Error {}

impl Error {
    /// The same error of another side, if it is of this one.
    pub(crate) fn renamed(mut self, from: Side, to: Side) -> Error {
        match &mut self {
            Error::Empty { side }
            | Error::PartialRow { side, .. }
            | Error::Length { side, .. }
            | Error::SizeOverflow { side, .. }
            | Error::NotFinite { side, .. }
                if *side == from =>
            {
                *side = to;
            }
            _ => {}
        }
        self
    }
}

/// Fails unless a slice of `side` is as long as the other arguments ask for.
pub(crate) fn check_length(side: Side, expected: usize, actual: usize) -> Result<(), Error> {
    if actual == expected { Ok(()) } else { Err(Error::Length { side, expected, actual }) }
}
