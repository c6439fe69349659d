//! What a call searches for in each row, and where it puts what it finds.

use super::measure::{MeasuredAnchors, measure_anchors};
use crate::arch::Backend;
use crate::batch::Batch;
use crate::candidates::Candidates;
use crate::exact::SearchedRow;
use crate::excluded::SortedExclusions;
use crate::kernels::{cosine, pair_dots};
use crate::parallel::{Chunks, Divide};
use crate::row_stats::{Admissible, ClosestNegative, NegativeRules, Negatives, Neighbour, RowRule, RowStats, Search};
use crate::screen::{Pairs, RowLimits, RowList};

use super::neighbours::QueryState;

/// What a call searches for in each row.
#[derive(Clone, Copy)]
pub(super) enum Task<'a> {
    Stats(&'a StatsTask<'a>),
    /// The closest negatives of each query, which was opened before.
    Neighbours(&'a NegativeRules<'a>),
}

/// The statistics of each anchor: its positive, its mean negative as if nothing was excluded, and its closest negative.
#[derive(Clone, Copy)]
pub(super) struct StatsTask<'a> {
    pub(super) batch: &'a Batch<'a>,
    pub(super) exclusions: &'a SortedExclusions<'a>,
    /// The norms of the positives, where these are no candidates.
    pub(super) positive_norms: &'a [f64],
    pub(super) negatives: Negatives,
}

/// The results of some blocks of rows.
pub(super) enum Results<'a> {
    Stats(Chunks<'a, RowStats>),
    /// The queries, and as many places for neighbours for each of them.
    Neighbours(Chunks<'a, QueryState>, Chunks<'a, Neighbour>),
}

impl Results<'_> {
    /// The same results, lent out for a shorter time.
    pub(super) fn lend(&mut self) -> Results<'_> {
        match self {
            Results::Stats(stats) => Results::Stats(stats.lend()),
            Results::Neighbours(queries, neighbours) => Results::Neighbours(queries.lend(), neighbours.lend()),
        }
    }

    /// How many candidates are kept of a row.
    pub(super) fn kept(&self) -> usize {
        match self {
            Results::Stats(_) => 1,
            Results::Neighbours(queries, neighbours) => neighbours.slice.len() / queries.slice.len(),
        }
    }

    /// Writes what was found in row `row` of these, the closest negative or the closest ones.
    pub(super) fn keep<P: Pairs>(&mut self, row: usize, list: &mut RowList<P>) {
        let (places, found) = (self.kept(), list.search().sorted());
        match self {
            Results::Stats(stats) => {
                stats.slice[row].set_closest_negative(found.first().copied().map(ClosestNegative::found));
            }
            Results::Neighbours(queries, neighbours) => {
                neighbours.slice[row * places..][..found.len()].copy_from_slice(found);
                queries.slice[row].found = found.len();
            }
        }
    }
}

impl Divide for Results<'_> {
    fn blocks(&self) -> usize {
        match self {
            Results::Stats(stats) => stats.blocks(),
            Results::Neighbours(queries, _) => queries.blocks(),
        }
    }

    fn divide(self, blocks: usize) -> (Self, Self) {
        match self {
            Results::Stats(stats) => {
                let (first, rest) = stats.divide(blocks);
                (Results::Stats(first), Results::Stats(rest))
            }
            Results::Neighbours(queries, neighbours) => {
                let ((first, rest), (firsts, rests)) = (queries.divide(blocks), neighbours.divide(blocks));
                (Results::Neighbours(first, firsts), Results::Neighbours(rest, rests))
            }
        }
    }
}

impl<'a> Task<'a> {
    /// Who is no negative of whom.
    pub(super) fn rules(&self) -> &'a NegativeRules<'a> {
        match self {
            Task::Stats(task) => &task.exclusions.rules,
            Task::Neighbours(rules) => rules,
        }
    }

    /// Writes the norms of the rows of a block, the first of which is row `first`, and what else is known of a row without
    /// a pass over the candidates; queries were opened before. A row that is not finite is found by its norm when all
    /// blocks are done; until then its similarities are NaN or anything else, and decide nothing.
    pub(super) fn measure(
        &self,
        backend: Backend,
        first: usize,
        candidates: Candidates<'_>,
        norms: &mut [f64],
        results: &mut Results<'_>,
    ) {
        if let (Task::Stats(task), Results::Stats(stats)) = (self, results) {
            let StatsTask { batch, exclusions, positive_norms, .. } = **task;
            let (sum, candidate_norms) = (candidates.sum, candidates.norms);
            let measured = MeasuredAnchors { batch, exclusions, candidate_norms, positive_norms, sum };
            measure_anchors(backend, &measured, first, norms, stats.slice);
        }
    }

    /// Rows that lie in memory one after the other, and are read first for the rows from `row` on.
    pub(super) fn rows_read_first(&self, row: usize) -> &'a [f32] {
        match self {
            Task::Stats(task) => task.batch.rows_from_positive(row),
            Task::Neighbours(_) => &[],
        }
    }

    /// The similarities that qualify in row `row` of `results`, which was measured.
    pub(super) fn admissible(&self, results: &Results<'_>, row: usize) -> Admissible {
        match (self, results) {
            (Task::Stats(task), Results::Stats(stats)) => {
                let stats = stats.slice[row];
                stats.mean_negative().map_or(Admissible::NONE, |_| task.negatives.admissible(stats.positive()))
            }
            (_, Results::Neighbours(queries, _)) => queries.slice[row].admissible,
            (Task::Neighbours(_), Results::Stats(_)) => Admissible::NONE,
        }
    }
}

/// The similarities of the positives, for the sample.
pub(super) struct PositiveLimits<'a> {
    pub(super) backend: Backend,
    pub(super) task: &'a StatsTask<'a>,
}

impl RowLimits for PositiveLimits<'_> {
    fn limit(&self, row: usize) -> f64 {
        let batch = self.task.batch;
        let [own, dot, other] = pair_dots(self.backend, batch.anchor_rows().row(row), batch.positive_row(row));
        cosine(dot, own.sqrt(), other.sqrt())
    }

    fn rule(&self, row: usize) -> RowRule<'_> {
        self.task.exclusions.rules.row(row)
    }
}
