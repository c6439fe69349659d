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
    None,
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
    /// By one list for all anchors: these candidates are excluded for each of them, in any order. They may repeat, and
    /// positives may be among them. What a request has seen or may not see is such a list.
    Shared(&'a [usize]),
    /// The same with indices of 32 bits.
    SharedU32(&'a [u32]),
}

impl<'a> Exclusions<'a> {
    /// Checks what is excluded of `candidates` for each of `rows` anchors.
    pub(crate) fn check(self, rows: usize, candidates: usize) -> Result<(), Error> {
        if let Exclusions::Labels { anchors, candidates: labels } = self {
            check_length(Side::AnchorLabels, rows, anchors.len())?;
            return check_length(Side::CandidateLabels, candidates, labels.len());
        }
        let excluded = |row, index| Error::ExcludedOutOfRange { row, index, candidates };
        self.lists().map_or(Ok(()), |lists| lists.check(Side::Exclusions, rows, candidates, excluded))
    }

    /// The lists, if exclusions are by lists.
    pub(crate) fn lists(self) -> Option<IndexLists<'a>> {
        match self {
            Exclusions::None | Exclusions::Labels { .. } => None,
            Exclusions::Lists { offsets, indices } => Some(IndexLists::Rows { offsets, indices }),
            Exclusions::Shared(indices) => Some(IndexLists::Shared(Indices::Usize(indices))),
            Exclusions::SharedU32(indices) => Some(IndexLists::Shared(Indices::U32(indices))),
        }
    }
}

/// Lists of candidates: one for each row, or one for all rows.
#[derive(Clone, Copy)]
pub(crate) enum IndexLists<'a> {
    /// Compressed lists, one for each row.
    Rows {
        offsets: &'a [usize],
        indices: &'a [usize],
    },
    Shared(Indices<'a>),
}

/// The indices of one list.
#[derive(Clone, Copy)]
pub(crate) enum Indices<'a> {
    Usize(&'a [usize]),
    U32(&'a [u32]),
}

impl<'a> Indices<'a> {
    pub(crate) fn len(self) -> usize {
        match self {
            Indices::Usize(indices) => indices.len(),
            Indices::U32(indices) => indices.len(),
        }
    }

    #[inline]
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> + use<'a> {
        let (wide, narrow) = match self {
            Indices::Usize(indices) => (indices, &[][..]),
            Indices::U32(indices) => (&[][..], indices),
        };
        wide.iter().copied().chain(narrow.iter().map(|&index| index as usize))
    }

    /// Writes them into the first places of `list`, of which there are enough.
    pub(crate) fn copy_to(self, list: &mut [usize]) {
        match self {
            Indices::Usize(indices) => list[..indices.len()].copy_from_slice(indices),
            Indices::U32(indices) => list.iter_mut().zip(indices).for_each(|(place, &index)| *place = index as usize),
        }
    }

    /// The first that is not below `end`.
    fn find_beyond(self, end: usize) -> Option<usize> {
        match self {
            Indices::Usize(indices) => indices.iter().copied().find(|&index| index >= end),
            Indices::U32(indices) => indices.iter().map(|&index| index as usize).find(|&index| index >= end),
        }
    }
}

impl<'a> IndexLists<'a> {
    /// The list of row `row`. Offsets were [checked](IndexLists::check).
    #[inline]
    pub(crate) fn of(self, row: usize) -> Indices<'a> {
        match self {
            IndexLists::Rows { offsets, indices } => Indices::Usize(&indices[offsets[row]..offsets[row + 1]]),
            IndexLists::Shared(indices) => indices,
        }
    }

    /// How many indices were given.
    pub(crate) fn given(self) -> usize {
        match self {
            IndexLists::Rows { indices, .. } => indices.len(),
            IndexLists::Shared(indices) => indices.len(),
        }
    }

    /// The length of the lists of `rows` rows in all, or `None` where it overflows.
    pub(crate) fn total(self, rows: usize) -> Option<usize> {
        let copies = if matches!(self, IndexLists::Shared(_)) { rows } else { 1 };
        self.given().checked_mul(copies)
    }

    /// Checks the offsets of `rows` rows, and that all indices are below `candidates`; `beyond` is the error of an index
    /// that is not, in the list of a row. A list that all rows share is that of row 0.
    pub(crate) fn check(
        self,
        side: Side,
        rows: usize,
        candidates: usize,
        beyond: impl Fn(usize, i128) -> Error,
    ) -> Result<(), Error> {
        let check_row =
            |row| self.of(row).find_beyond(candidates).map_or(Ok(()), |index| Err(beyond(row, index as i128)));
        match self {
            IndexLists::Rows { offsets, indices } => check_offsets(side, offsets, indices.len(), rows, check_row),
            IndexLists::Shared(_) => check_row(0),
        }
    }
}

/// Checks the offsets of the compressed lists of `rows` rows, and each list by `check`.
fn check_offsets(
    side: Side,
    offsets: &[usize],
    indices: usize,
    rows: usize,
    check: impl Fn(usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let expected = rows.checked_add(1).ok_or(Error::SizeOverflow { side, rows, columns: 1 })?;
    check_length(Side::Offsets, expected, offsets.len())?;
    if offsets[0] != 0 {
        return Err(Error::Offsets { side, row: 0 });
    }
    for (row, ends) in offsets.windows(2).enumerate() {
        if ends[0] > ends[1] || ends[1] > indices {
            return Err(Error::Offsets { side, row });
        }
        check(row)?;
    }
    if offsets[rows] == indices { Ok(()) } else { Err(Error::Offsets { side, row: rows - 1 }) }
}

impl fmt::Debug for Exclusions<'_> {
    /// Lengths in place of labels and indices, which may be many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exclusions::None => write!(f, "None"),
            Exclusions::Labels { anchors, candidates } => write!(f, "Labels({}, {})", anchors.len(), candidates.len()),
            Exclusions::Lists { offsets, indices } => {
                write!(f, "Lists({} of {} rows)", indices.len(), offsets.len().saturating_sub(1))
            }
            Exclusions::Shared(indices) => write!(f, "Shared({} of usize)", indices.len()),
            Exclusions::SharedU32(indices) => write!(f, "SharedU32({} of u32)", indices.len()),
        }
    }
}
