//! Who is no negative of a row: its positives, and the candidates that are excluded.

use core::ops::Range;

use crate::mining_batch::Predicate;
use crate::positives::Positives;

/// What is excluded of all candidates, in the form in which it is looked up.
#[derive(Clone, Copy)]
pub(crate) enum Excluded<'a> {
    Nothing,
    /// The candidates with the label of the anchor.
    Labels {
        anchors: &'a [u64],
        candidates: &'a [u64],
    },
    Lists(SortedLists<'a>),
}

/// For each row some candidates, each once, in ascending order.
#[derive(Clone, Copy)]
pub(crate) struct SortedLists<'a> {
    /// Where each list begins.
    pub(crate) starts: &'a [usize],
    pub(crate) lengths: &'a [usize],
    pub(crate) indices: &'a [usize],
}

impl<'a> SortedLists<'a> {
    /// The list of one row.
    #[inline]
    pub(crate) fn of(self, row: usize) -> &'a [usize] {
        &self.indices[self.starts[row]..][..self.lengths[row]]
    }
}

/// Who is no negative of each row of a call.
#[derive(Clone, Copy)]
pub(crate) struct NegativeRules<'a> {
    /// The positive of each row.
    pub(crate) positives: Positives<'a>,
    pub(crate) excluded: Excluded<'a>,
    /// The known positives of each query, where a query has any number of them.
    pub(crate) known: Option<SortedLists<'a>>,
    /// A function that says of a query and a candidate whether the candidate is excluded.
    pub(crate) predicate: Option<Predicate<'a>>,
}

impl<'a> NegativeRules<'a> {
    /// Who is no negative of row `row`.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> RowRule<'a> {
        let excluded = match self.excluded {
            Excluded::Nothing => RowExcluded::Nothing,
            Excluded::Labels { anchors, candidates } => RowExcluded::Label { label: anchors[row], labels: candidates },
            Excluded::Lists(lists) => RowExcluded::Indices(lists.of(row)),
        };
        RowRule {
            row,
            // No candidate has the index that stands for none.
            positive: self.positives.index(row).unwrap_or(usize::MAX),
            excluded,
            known: self.known.map_or(&[], |lists| lists.of(row)),
            predicate: self.predicate,
        }
    }
}

impl NegativeRules<'_> {
    /// The bits of `run` whose candidates are no negatives of row `row`; bit `l` stands for candidate `first + l`.
    #[inline]
    pub(crate) fn among(&self, row: usize, first: usize, run: u64) -> u64 {
        let is_positive_alone =
            matches!(self.excluded, Excluded::Nothing) && self.known.is_none() && self.predicate.is_none();
        if is_positive_alone {
            let lane = self.positives.index(row).map_or(usize::MAX, |positive| positive.wrapping_sub(first));
            return if lane < 64 { run & (1 << lane) } else { 0 };
        }
        self.row(row).among(first, run)
    }
}

/// Who is no negative of one row.
#[derive(Clone, Copy)]
pub(crate) struct RowRule<'a> {
    row: usize,
    positive: usize,
    excluded: RowExcluded<'a>,
    /// The known positives, in ascending order.
    known: &'a [usize],
    predicate: Option<Predicate<'a>>,
}

#[derive(Clone, Copy)]
enum RowExcluded<'a> {
    Nothing,
    /// The candidates with this label.
    Label {
        label: u64,
        labels: &'a [u64],
    },
    /// These candidates, in ascending order.
    Indices(&'a [usize]),
}

impl RowRule<'_> {
    /// The rule of a row whose positive alone is no negative.
    #[cfg(test)]
    pub(crate) fn positive_alone(positive: usize) -> RowRule<'static> {
        RowRule { row: 0, positive, excluded: RowExcluded::Nothing, known: &[], predicate: None }
    }

    /// Whether a candidate is no negative. The function is asked last: it may take its time.
    #[inline]
    pub(crate) fn excludes(&self, candidate: usize) -> bool {
        candidate == self.positive
            || match self.excluded {
                RowExcluded::Nothing => false,
                RowExcluded::Label { label, labels } => labels[candidate] == label,
                RowExcluded::Indices(indices) => indices.binary_search(&candidate).is_ok(),
            }
            || self.known.binary_search(&candidate).is_ok()
            || self.predicate.is_some_and(|predicate| predicate(self.row, candidate))
    }

    /// The bits of `run` whose candidates are no negatives; bit `l` stands for candidate `first + l`.
    fn among(&self, first: usize, run: u64) -> u64 {
        let (mut left, mut excluded) = (run, 0);
        while left != 0 {
            let lane = left.trailing_zeros();
            left &= left - 1;
            excluded |= u64::from(self.excludes(first + lane as usize)) << lane;
        }
        excluded
    }

    /// The next run of negatives from candidate `from` on, of `candidates` candidates; none after the last one.
    pub(crate) fn next_run(&self, from: usize, candidates: usize) -> Option<Range<usize>> {
        let start = (from..candidates).find(|&candidate| !self.excludes(candidate))?;
        let end = (start..candidates).find(|&candidate| self.excludes(candidate)).unwrap_or(candidates);
        Some(start..end)
    }
}
