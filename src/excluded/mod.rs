//! Exclusions, sorted for a call: lists sorted and without repetition, labels as groups of rows; and the mean
//! negatives that follow from them.
//!
//! ```text
//!                            who is a negative (row_stats)    the mean negative           gradients
//!   labels: groups of rows   compares two labels              V less the group's sum      both sides less their group's sum
//!   sorted lists             looks an index up                V less the listed rows      an element for each listed pair
//! ```
//!
//! Neither needs a pass over pairs: O((m + n) * dim) for labels, whatever their distribution ([`sums`]), and O(dim) for
//! each listed pair.

mod groups;
mod lists;
mod means;
mod sums;

use crate::error::Error;
use crate::exclusions::Exclusions;
use crate::mining_batch::{KnownPositives, MiningBatch};
use crate::positives::Positives;
use crate::row_stats::{ClosestNegative, Excluded, NegativeRules, RowStats};

use groups::GroupMemory;
pub(crate) use groups::{Groups, Members};
use lists::ListMemory;
pub(crate) use means::{MeanMemory, Means};
pub(crate) use sums::{GroupSums, SumMemory, Summands};

/// The memory of sorted exclusions.
#[derive(Debug, Default)]
pub(crate) struct ExclusionMemory {
    lists: ListMemory,
    known: ListMemory,
    groups: GroupMemory,
}

/// The exclusions of a batch, ready to be looked up.
#[derive(Clone, Copy)]
pub(crate) struct SortedExclusions<'a> {
    pub(crate) rules: NegativeRules<'a>,
    /// The rows of each label, if exclusions are by labels.
    pub(crate) groups: Option<Groups<'a>>,
    candidates: usize,
}

impl ExclusionMemory {
    pub(crate) fn bytes(&self) -> usize {
        self.lists.bytes() + self.known.bytes() + self.groups.bytes()
    }

    /// Sorts what is excluded of so many candidates for so many rows, and was checked.
    pub(crate) fn sort<'a>(
        &'a mut self,
        (rows, candidates): (usize, usize),
        positives: Positives<'a>,
        exclusions: Exclusions<'a>,
    ) -> Result<SortedExclusions<'a>, Error> {
        self.fill(rows, positives, exclusions)?;
        Ok(self.sorted(candidates, positives, exclusions))
    }

    /// Sorts what is excluded for so many rows, and was checked: [`ExclusionMemory::sorted`] has it then.
    pub(crate) fn fill(
        &mut self,
        rows: usize,
        positives: Positives<'_>,
        exclusions: Exclusions<'_>,
    ) -> Result<(), Error> {
        match exclusions {
            Exclusions::Labels { anchors, candidates } => self.groups.fill(anchors, candidates),
            _ => exclusions.lists().map_or(Ok(()), |lists| self.lists.fill(rows, positives, lists)),
        }
    }

    /// Sorts the known positives and the exclusions of queries, which were checked.
    pub(crate) fn sort_mining<'a>(&'a mut self, batch: MiningBatch<'a>) -> Result<NegativeRules<'a>, Error> {
        let (none, queries) = (Positives::Outside(&[]), batch.queries());
        let positives = if let KnownPositives::One(positives) = batch.known() { positives } else { none };
        if let Some(lists) = batch.known().lists() {
            self.known.fill(queries, none, lists)?;
        }
        if let Some(lists) = batch.exclusions().lists() {
            self.lists.fill(queries, none, lists)?;
        }
        let known = batch.known().lists().map(|_| self.known.sorted());
        let excluded = self.excluded(batch.exclusions());
        Ok(NegativeRules { positives, excluded, known, predicate: batch.predicate() })
    }

    /// The exclusions, whose lists were sorted last.
    fn excluded<'a>(&'a self, exclusions: Exclusions<'a>) -> Excluded<'a> {
        match exclusions {
            Exclusions::None => Excluded::Nothing,
            Exclusions::Labels { anchors, candidates } => Excluded::Labels { anchors, candidates },
            Exclusions::Lists { .. } | Exclusions::Shared(_) | Exclusions::SharedU32(_) => {
                Excluded::Lists(self.lists.sorted())
            }
        }
    }

    /// The exclusions that were sorted last, from the arguments that [`ExclusionMemory::sort`] had.
    pub(crate) fn sorted<'a>(
        &'a self,
        candidates: usize,
        positives: Positives<'a>,
        exclusions: Exclusions<'a>,
    ) -> SortedExclusions<'a> {
        let groups = match exclusions {
            Exclusions::Labels { anchors, candidates } => Some(self.groups.of(anchors.len(), candidates.len())),
            _ => None,
        };
        let excluded = self.excluded(exclusions);
        let rules = NegativeRules { positives, excluded, known: None, predicate: None };
        SortedExclusions { rules, groups, candidates }
    }
}

impl SortedExclusions<'_> {
    /// Whether nothing is excluded.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self.rules.excluded, Excluded::Nothing)
    }

    /// Checks statistics that were made elsewhere, one for each row.
    pub(crate) fn check_stats(&self, rows: &[RowStats]) -> Result<(), Error> {
        for (row, stats) in rows.iter().enumerate() {
            let closest = stats.closest_negative().map(ClosestNegative::index);
            let is_negative = |index| index < self.candidates && !self.rules.row(row).excludes(index);
            if let Some(index) = closest.filter(|&index| !is_negative(index)) {
                return Err(Error::NotANegative { row, index });
            }
            if stats.mean_negative().is_some() != (self.negatives(row) > 0) {
                return Err(Error::MeanNegative { row });
            }
        }
        Ok(())
    }

    /// How many negatives row `row` has.
    pub(crate) fn negatives(&self, row: usize) -> usize {
        let excluded = match (self.groups, self.rules.excluded) {
            (Some(groups), _) => groups.candidates_of_anchor(row).len(),
            (None, Excluded::Lists(lists)) => lists.of(row).len(),
            (None, _) => 0,
        };
        self.candidates - excluded - usize::from(self.positive_apart(row).is_some())
    }

    /// Whether the positive of row `row` is a candidate that is taken away from the sum of all on its own.
    pub(crate) fn is_positive_single(&self, row: usize) -> bool {
        match self.rules.excluded {
            Excluded::Lists(_) => self.rules.positives.index(row).is_some(),
            _ => self.positive_apart(row).is_some(),
        }
    }

    /// The listed candidates of row `row`, the positive among them if it is one.
    pub(crate) fn listed(&self, row: usize) -> &[usize] {
        if let Excluded::Lists(lists) = self.rules.excluded { lists.of(row) } else { &[] }
    }

    /// The candidate that is the positive of row `row`, unless it is among the excluded: those with the label, or the
    /// listed ones.
    pub(crate) fn positive_apart(&self, row: usize) -> Option<usize> {
        let positive = self.rules.positives.index(row)?;
        let is_apart = match self.rules.excluded {
            Excluded::Nothing => true,
            Excluded::Labels { anchors, candidates } => anchors[row] != candidates[positive],
            Excluded::Lists(_) => false,
        };
        is_apart.then_some(positive)
    }
}
