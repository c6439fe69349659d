//! `Exclusions`: candidates that are known not to be negatives of a row.

use core::fmt;

use crate::error::{Error, Side, check_length};

/// Candidates that are known not to be negatives of an anchor: duplicates and further positives, the "false negatives"
/// of a batch. They count neither in the mean nor as the closest negative; see
/// [`Batch::excluding`](crate::Batch::excluding).
///
/// The positive of an anchor stays its positive whatever is excluded, and is never a negative.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exclusions<'a> {
    /// Nothing.
    #[default]
    Nothing,
    /// By labels: a candidate is excluded for all anchors with the same label.
    Labels {
        /// The label of each of the m anchors.
        anchors: &'a [u64],
        /// The label of each of the n candidates.
        candidates: &'a [u64],
    },
    /// By lists: the candidates `indices[offsets[i]..offsets[i + 1]]` are excluded for anchor `i`, in any order. They
    /// may repeat, and the positive may be among them.
    Lists {
        /// m + 1 ascending offsets, from 0 to the number of indices.
        offsets: &'a [usize],
        /// The excluded candidates of all anchors.
        indices: &'a [usize],
    },
}

impl Exclusions<'_> {
    /// Checks what is excluded of `candidates` for each of `rows` anchors.
    pub(crate) fn check(self, rows: usize, candidates: usize) -> Result<(), Error> {
        match self {
            Exclusions::Nothing => Ok(()),
            Exclusions::Labels { anchors, candidates: labels } => {
                check_length(Side::AnchorLabels, rows, anchors.len())?;
                check_length(Side::CandidateLabels, candidates, labels.len())
            }
            Exclusions::Lists { offsets, indices } => check_lists(offsets, indices, rows, candidates),
        }
    }
}

fn check_lists(offsets: &[usize], indices: &[usize], rows: usize, candidates: usize) -> Result<(), Error> {
    check_offsets(Side::Exclusions, offsets, indices, rows, |row, list| {
        let excluded = list.iter().find(|&&index| index >= candidates);
        excluded.map_or(Ok(()), |&index| Err(Error::ExcludedOutOfRange { row, index: index as i128, candidates }))
    })
}

/// Checks the offsets of the compressed lists of `rows` rows, and each list by `check`.
pub(crate) fn check_offsets(
    side: Side,
    offsets: &[usize],
    indices: &[usize],
    rows: usize,
    check: impl Fn(usize, &[usize]) -> Result<(), Error>,
) -> Result<(), Error> {
    check_length(side, rows.checked_add(1).ok_or(Error::SizeOverflow { side, rows, columns: 1 })?, offsets.len())?;
    if offsets[0] != 0 {
        return Err(Error::Offsets { side, row: 0 });
    }
    for (row, ends) in offsets.windows(2).enumerate() {
        check(row, indices.get(ends[0]..ends[1]).ok_or(Error::Offsets { side, row })?)?;
    }
    if offsets[rows] == indices.len() { Ok(()) } else { Err(Error::Offsets { side, row: rows - 1 }) }
}

impl fmt::Debug for Exclusions<'_> {
    /// Lengths in place of labels and indices, which may be many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exclusions::Nothing => write!(f, "Nothing"),
            Exclusions::Labels { anchors, candidates } => write!(f, "Labels({}, {})", anchors.len(), candidates.len()),
            Exclusions::Lists { offsets, indices } => {
                write!(f, "Lists({} of {} rows)", indices.len(), offsets.len().saturating_sub(1))
            }
        }
    }
}
