//! Lists of excluded candidates: sorted, without repetition, and with the positive among them.

use crate::error::{Error, Side};
use crate::exclusions::{IndexLists, Indices};
use crate::memory::{bytes_of, grow};
use crate::positives::Positives;
use crate::row_stats::SortedLists;

/// The memory of sorted lists.
#[derive(Debug, Default)]
pub(super) struct ListMemory {
    starts: Vec<usize>,
    lengths: Vec<usize>,
    indices: Vec<usize>,
    /// How many rows had lists last, and how many places these take.
    rows: usize,
    places: usize,
}

impl ListMemory {
    /// Sorts the lists of `rows` rows, which were checked, each with room for the positive. A list that all rows share is
    /// sorted once, where no positives are added to it.
    pub(super) fn fill(&mut self, rows: usize, positives: Positives<'_>, lists: IndexLists<'_>) -> Result<(), Error> {
        let overflow = Error::SizeOverflow { side: Side::Exclusions, rows, columns: lists.given() };
        let is_sorted_once = matches!(lists, IndexLists::Shared(_)) && positives.index(0).is_none();
        let sorted_lists = if is_sorted_once { rows.min(1) } else { rows };
        let places = lists.total(sorted_lists).and_then(|total| total.checked_add(sorted_lists)).ok_or(overflow)?;
        let starts = grow(&mut self.starts, Side::Exclusions, rows, 1)?;
        let lengths = grow(&mut self.lengths, Side::Exclusions, rows, 1)?;
        let sorted = grow(&mut self.indices, Side::Exclusions, places, 1)?;
        let mut end = 0;
        for row in 0..sorted_lists {
            let list = lists.of(row);
            starts[row] = end;
            end += list.len() + 1;
            lengths[row] = sort(&mut sorted[starts[row]..end], list, positives.index(row));
        }
        for row in sorted_lists..rows {
            (starts[row], lengths[row]) = (starts[0], lengths[0]);
        }
        (self.rows, self.places) = (rows, places);
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        bytes_of(&self.starts) + bytes_of(&self.lengths) + bytes_of(&self.indices)
    }

    /// The lists that were sorted last.
    pub(super) fn sorted(&self) -> SortedLists<'_> {
        SortedLists {
            starts: &self.starts[..self.rows],
            lengths: &self.lengths[..self.rows],
            indices: &self.indices[..self.places],
        }
    }
}

/// Writes the indices and the positive, each once and in ascending order, into `list`, which has room for one more; the
/// length of it.
fn sort(list: &mut [usize], indices: Indices<'_>, positive: Option<usize>) -> usize {
    indices.copy_to(list);
    let mut length = indices.len();
    if !list[..length].is_sorted_by(|a, b| a < b) {
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
