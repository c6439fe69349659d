//! The rows of each label, in ascending order.

use crate::error::{Error, Side};
use crate::memory::{bytes_of, grow};

/// The group of a candidate whose label no anchor has.
const NO_GROUP: usize = usize::MAX;

/// The memory of groups: a few numbers for each row.
#[derive(Debug, Default)]
pub(super) struct GroupMemory {
    /// The anchors in ascending order of labels, and of rows where these are equal.
    sorted: Vec<(u64, usize)>,
    /// The label of each group, in ascending order.
    labels: Vec<u64>,
    /// How many groups there are.
    count: usize,
    anchors: MemberMemory,
    candidates: MemberMemory,
}

/// The rows of one side by groups.
#[derive(Debug, Default)]
struct MemberMemory {
    groups: Vec<usize>,
    ends: Vec<usize>,
    rows: Vec<usize>,
}

/// The anchors and the candidates of each label that an anchor has.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'a> {
    pub(crate) anchors: Members<'a>,
    pub(crate) candidates: Members<'a>,
}

/// The rows of one side by groups.
#[derive(Clone, Copy)]
pub(crate) struct Members<'a> {
    /// The group of each row, or a number beyond all groups.
    groups: &'a [usize],
    /// Where each group ends among the rows.
    ends: &'a [usize],
    /// The rows of all groups, those of the first group first; anything follows after them.
    rows: &'a [usize],
}

impl GroupMemory {
    pub(super) fn bytes(&self) -> usize {
        bytes_of(&self.sorted) + bytes_of(&self.labels) + self.anchors.bytes() + self.candidates.bytes()
    }

    /// Groups the rows of both sides by their labels.
    pub(super) fn fill(&mut self, anchors: &[u64], candidates: &[u64]) -> Result<(), Error> {
        let sorted = grow(&mut self.sorted, Side::AnchorLabels, anchors.len(), 1)?;
        let labels = grow(&mut self.labels, Side::AnchorLabels, anchors.len(), 1)?;
        for (row, (sorted, &label)) in sorted.iter_mut().zip(anchors).enumerate() {
            *sorted = (label, row);
        }
        sorted.sort_unstable();
        let of_anchors = self.anchors.open(Side::AnchorLabels, anchors.len(), anchors.len())?;
        let mut count = 0;
        for (at, &(label, row)) in sorted.iter().enumerate() {
            if count == 0 || labels[count - 1] != label {
                labels[count] = label;
                count += 1;
            }
            of_anchors.groups[row] = count - 1;
            of_anchors.rows[at] = row;
            of_anchors.ends[count - 1] = at + 1;
        }
        self.count = count;
        let mut of_candidates = self.candidates.open(Side::CandidateLabels, candidates.len(), anchors.len())?;
        if core::ptr::eq(anchors, candidates) {
            of_candidates.copy(&of_anchors);
        } else {
            of_candidates.sort(candidates, &labels[..count]);
        }
        Ok(())
    }

    /// The groups that were made last, of so many rows.
    pub(super) fn of(&self, anchors: usize, candidates: usize) -> Groups<'_> {
        Groups { anchors: self.anchors.of(anchors, self.count), candidates: self.candidates.of(candidates, self.count) }
    }
}

impl MemberMemory {
    fn bytes(&self) -> usize {
        bytes_of(&self.groups) + bytes_of(&self.ends) + bytes_of(&self.rows)
    }

    /// Grows to so many rows in at most `groups` groups, and lends the memory out.
    fn open(&mut self, side: Side, rows: usize, groups: usize) -> Result<MemberBuffers<'_>, Error> {
        Ok(MemberBuffers {
            groups: grow(&mut self.groups, side, rows, 1)?,
            ends: grow(&mut self.ends, side, groups, 1)?,
            rows: grow(&mut self.rows, side, rows, 1)?,
        })
    }

    fn of(&self, rows: usize, groups: usize) -> Members<'_> {
        Members { groups: &self.groups[..rows], ends: &self.ends[..groups], rows: &self.rows[..rows] }
    }
}

/// The memory of the rows of one side by groups.
struct MemberBuffers<'a> {
    groups: &'a mut [usize],
    ends: &'a mut [usize],
    rows: &'a mut [usize],
}

impl MemberBuffers<'_> {
    /// The same groups as those of the other side, which has the same labels.
    fn copy(&mut self, other: &MemberBuffers<'_>) {
        self.groups.copy_from_slice(other.groups);
        self.ends.copy_from_slice(other.ends);
        self.rows.copy_from_slice(other.rows);
    }

    /// Groups rows with these labels by the ascending labels of the groups, in a counting sort.
    fn sort(&mut self, row_labels: &[u64], labels: &[u64]) {
        let ends = &mut self.ends[..labels.len()];
        ends.fill(0);
        for (group, label) in self.groups.iter_mut().zip(row_labels) {
            *group = labels.binary_search(label).unwrap_or(NO_GROUP);
            if let Some(count) = ends.get_mut(*group) {
                *count += 1;
            }
        }
        // From the number of rows of each group to where it begins, and from there to where it ends.
        let mut start = 0;
        for end in &mut *ends {
            start += core::mem::replace(end, start);
        }
        for (row, &group) in self.groups.iter().enumerate() {
            if let Some(end) = ends.get_mut(group) {
                self.rows[*end] = row;
                *end += 1;
            }
        }
    }
}

impl<'a> Members<'a> {
    /// How many groups there are.
    pub(crate) fn count(self) -> usize {
        self.ends.len()
    }

    /// The group of a row, if an anchor has its label.
    #[inline]
    pub(crate) fn group_of(self, row: usize) -> Option<usize> {
        let group = self.groups[row];
        (group != NO_GROUP).then_some(group)
    }

    /// Where the rows of a group stand among all.
    #[inline]
    pub(crate) fn range(self, group: usize) -> core::ops::Range<usize> {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        start..self.ends[group]
    }

    /// The rows of a group.
    #[inline]
    pub(crate) fn of(self, group: usize) -> &'a [usize] {
        &self.rows[self.range(group)]
    }

    /// The rows of all groups, those of the first group first; anything follows after them.
    pub(crate) fn rows(self) -> &'a [usize] {
        self.rows
    }
}

impl Groups<'_> {
    /// The candidates with the label of anchor `row`.
    #[inline]
    pub(crate) fn candidates_of_anchor(&self, row: usize) -> &[usize] {
        self.anchors.group_of(row).map_or(&[], |group| self.candidates.of(group))
    }
}
