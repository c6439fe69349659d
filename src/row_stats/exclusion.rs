//! Who is no negative of a row: its positive, and the candidates that are excluded.

use core::ops::Range;

use crate::positives::Positives;

/// Who is no negative of one row.
pub(crate) trait Exclusion: Copy {
    fn excludes(self, candidate: usize) -> bool;

    /// The bits of `run` whose candidates are excluded; bit `l` stands for candidate `first + l`.
    #[inline(always)]
    fn among(self, first: usize, run: u64) -> u64 {
        let (mut left, mut excluded) = (run, 0);
        while left != 0 {
            let lane = left.trailing_zeros();
            left &= left - 1;
            excluded |= u64::from(self.excludes(first + lane as usize)) << lane;
        }
        excluded
    }
}

/// Nobody is excluded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoExclusion;

impl Exclusion for NoExclusion {
    #[inline(always)]
    fn excludes(self, _candidate: usize) -> bool {
        false
    }
}

/// Who is no negative of each row of a call.
pub(crate) trait RowExclusions: Copy + Sync {
    type Row: Exclusion;

    /// Who is no negative of row `row`.
    fn of(self, row: usize) -> Self::Row;
}

/// The positive of a row, which alone is no negative of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnlyPositive(pub(super) usize);

impl OnlyPositive {
    /// The row whose positive is candidate `index`, if it is one.
    #[inline(always)]
    pub(crate) fn new(index: Option<usize>) -> OnlyPositive {
        // No candidate has this index.
        OnlyPositive(index.unwrap_or(usize::MAX))
    }
}

impl Exclusion for OnlyPositive {
    #[inline(always)]
    fn excludes(self, candidate: usize) -> bool {
        candidate == self.0
    }

    #[inline(always)]
    fn among(self, first: usize, run: u64) -> u64 {
        let lane = self.0.wrapping_sub(first);
        if lane < 64 { run & (1 << lane) } else { 0 }
    }
}

impl RowExclusions for Positives<'_> {
    type Row = OnlyPositive;

    #[inline(always)]
    fn of(self, row: usize) -> OnlyPositive {
        OnlyPositive::new(self.index(row))
    }
}

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

/// For each row some candidates, each once, in ascending order: the excluded ones, and the positive if it is one.
#[derive(Clone, Copy)]
pub(crate) struct SortedLists<'a> {
    /// Where each list begins.
    pub(crate) starts: &'a [usize],
    pub(crate) lengths: &'a [usize],
    pub(crate) indices: &'a [usize],
}

impl<'a> SortedLists<'a> {
    /// The list of one row.
    #[inline(always)]
    pub(crate) fn of(self, row: usize) -> &'a [usize] {
        &self.indices[self.starts[row]..][..self.lengths[row]]
    }
}

/// Who is no negative of each row of a call: its positive, and what is excluded for it.
#[derive(Clone, Copy)]
pub(crate) struct NegativeRules<'a> {
    pub(crate) positives: Positives<'a>,
    pub(crate) excluded: Excluded<'a>,
}

impl<'a> RowExclusions for NegativeRules<'a> {
    type Row = RowRule<'a>;

    #[inline(always)]
    fn of(self, row: usize) -> RowRule<'a> {
        let excluded = match self.excluded {
            Excluded::Nothing => RowExcluded::Indices(&[]),
            Excluded::Labels { anchors, candidates } => RowExcluded::Label { label: anchors[row], labels: candidates },
            Excluded::Lists(lists) => RowExcluded::Indices(lists.of(row)),
        };
        RowRule { positive: self.positives.of(row), excluded }
    }
}

/// Who is no negative of one row: its positive, and what is excluded for it.
#[derive(Clone, Copy)]
pub(crate) struct RowRule<'a> {
    positive: OnlyPositive,
    excluded: RowExcluded<'a>,
}

#[derive(Clone, Copy)]
enum RowExcluded<'a> {
    /// The candidates with this label.
    Label { label: u64, labels: &'a [u64] },
    /// These candidates, in ascending order.
    Indices(&'a [usize]),
}

impl Exclusion for RowRule<'_> {
    #[inline(always)]
    fn excludes(self, candidate: usize) -> bool {
        self.positive.excludes(candidate)
            || match self.excluded {
                RowExcluded::Label { label, labels } => labels[candidate] == label,
                RowExcluded::Indices(indices) => indices.binary_search(&candidate).is_ok(),
            }
    }
}

impl RowRule<'_> {
    /// The next run of negatives from candidate `from` on, of `candidates` candidates; none after the last one.
    pub(crate) fn next_run(self, from: usize, candidates: usize) -> Option<Range<usize>> {
        let start = (from..candidates).find(|&candidate| !self.excludes(candidate))?;
        let end = (start..candidates).find(|&candidate| self.excludes(candidate)).unwrap_or(candidates);
        Some(start..end)
    }
}

/// Who is no negative of each query: its known positives, what is excluded for it, and where a function says so.
#[derive(Clone, Copy)]
pub(crate) struct MiningRules<'a> {
    pub(crate) rules: NegativeRules<'a>,
    /// The known positives, where a query has any number of them.
    pub(crate) known: Option<SortedLists<'a>>,
    pub(crate) predicate: Option<&'a (dyn Fn(usize, usize) -> bool + Sync)>,
}

impl<'a> RowExclusions for MiningRules<'a> {
    type Row = QueryRule<'a>;

    #[inline(always)]
    fn of(self, row: usize) -> QueryRule<'a> {
        let known = self.known.map_or(&[][..], |lists| lists.of(row));
        QueryRule { row, rule: self.rules.of(row), known, predicate: self.predicate }
    }
}

/// Who is no negative of one query.
#[derive(Clone, Copy)]
pub(crate) struct QueryRule<'a> {
    row: usize,
    rule: RowRule<'a>,
    /// The known positives, in ascending order.
    known: &'a [usize],
    predicate: Option<&'a (dyn Fn(usize, usize) -> bool + Sync)>,
}

impl Exclusion for QueryRule<'_> {
    /// The function is asked last: it may take its time.
    #[inline(always)]
    fn excludes(self, candidate: usize) -> bool {
        self.rule.excludes(candidate)
            || self.known.binary_search(&candidate).is_ok()
            || self.predicate.is_some_and(|predicate| predicate(self.row, candidate))
    }
}
