//! Lists of excluded candidates: sorted, without repetition, and with the positive among them.

use crate::error::{Error, Side};
use crate::memory::grow;
use crate::positives::Positives;
use crate::row_stats::SortedLists;

/// The memory of sorted lists.
#[derive(Debug, Default)]
pub(super) struct ListMemory {
    starts: Vec<usize>,
    lengths: Vec<usize>,
    indices: Vec<usize>,
}

impl ListMemory {
    /// Sorts lists that were checked, each with room for the positive.
    pub(super) fn fill(&mut self, positives: Positives<'_>, offsets: &[usize], indices: &[usize]) -> Result<(), Error> {
        let rows = offsets.len() - 1;
        let overflow = Error::SizeOverflow { side: Side::Exclusions, rows: indices.len(), columns: rows };
        let capacity = indices.len().checked_add(rows).ok_or(overflow)?;
        let starts = grow(&mut self.starts, Side::Exclusions, rows, 1)?;
        let lengths = grow(&mut self.lengths, Side::Exclusions, rows, 1)?;
        let sorted = grow(&mut self.indices, Side::Exclusions, capacity, 1)?;
        for (row, pair) in offsets.windows(2).enumerate() {
            starts[row] = pair[0] + row;
            let list = &mut sorted[pair[0] + row..=pair[1] + row];
            lengths[row] = sort(list, &indices[pair[0]..pair[1]], positives.index(row));
        }
        Ok(())
    }

    /// The lists that were sorted last, which had these offsets.
    pub(super) fn of(&self, offsets: &[usize]) -> SortedLists<'_> {
        let rows = offsets.len() - 1;
        SortedLists {
            starts: &self.starts[..rows],
            lengths: &self.lengths[..rows],
            indices: &self.indices[..offsets[rows] + rows],
        }
    }
}

/// Writes the indices and the positive, each once and in ascending order, into `list`, which has room for one more; the
/// length of it.
fn sort(list: &mut [usize], indices: &[usize], positive: Option<usize>) -> usize {
    list[..indices.len()].copy_from_slice(indices);
    let mut length = indices.len();
    if !indices.is_sorted_by(|a, b| a < b) {
        list[..length].sort_unstable();
        length = dedup(&mut list[..length]);
    }
    if let Some(positive) = positive {
        let place = list[..length].partition_point(|&index| index < positive);
        if list[..length].get(place) != Some(&positive) {
            list.copy_within(place..length, place + 1);
            list[place] = positive;
            length += 1;
        }
    }
    length
}

/// Moves the different ones of ascending indices to the front; how many there are.
fn dedup(list: &mut [usize]) -> usize {
    let mut length = 0;
    for at in 0..list.len() {
        if length == 0 || list[length - 1] != list[at] {
            list[length] = list[at];
            length += 1;
        }
    }
    length
}
