//! What a call searches for in each row, and where it puts what it finds.

use super::measure::{MeasuredAnchors, measure_anchors};
use super::neighbours::QueryState;
use crate::arch::Backend;
use crate::batch::Batch;
use crate::candidates::Candidates;
use crate::excluded::SortedExclusions;
use crate::kernels::{cosine, pair_dots};
use crate::parallel::{Chunks, Divide};
use crate::row_stats::{Admissible, ClosestNegative, NegativeRules, Negatives, Neighbour, RowRule, RowStats};
use crate::screen::RowLimits;

/// What is searched for in the rows of some blocks, and the place of their results.
pub(super) enum Task<'a> {
    Stats(&'a StatsTask<'a>, Chunks<'a, RowStats>),
    /// The closest negatives of queries, which were opened before: the queries, and as many places for neighbours for
    /// each of them.
    Neighbours(&'a NegativeRules<'a>, Chunks<'a, QueryState>, Chunks<'a, Neighbour>),
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

/// The rows of one block for each part of the candidates, and what is found of them there.
pub(super) struct PartResults<'a> {
    pub(super) rows: usize,
    /// The norms of the rows, their searches, and the places of neighbours of each of them, part after part.
    pub(super) norms: &'a mut [f64],
    pub(super) queries: &'a mut [QueryState],
    pub(super) neighbours: &'a mut [Neighbour],
}

impl<'a> PartResults<'a> {
    /// The same results, lent out for a shorter time.
    pub(super) fn lend(&mut self) -> PartResults<'_> {
        let PartResults { rows, norms, queries, neighbours } = self;
        PartResults { rows: *rows, norms, queries, neighbours }
    }

    /// Opens the rows of `task`, which were measured or opened, for every part.
    pub(super) fn open(&mut self, task: &Task<'_>, norms: &[f64]) {
        for (index, (own_norm, query)) in self.norms.iter_mut().zip(&mut *self.queries).enumerate() {
            let row = index % self.rows;
            *own_norm = norms[row];
            *query = QueryState { admissible: task.admissible(row), ..QueryState::EMPTY };
        }
    }

    /// The norms and the search of every part, a block each.
    pub(super) fn work(self, rules: &'a NegativeRules<'a>) -> (Chunks<'a, f64>, Task<'a>) {
        let PartResults { rows, norms, queries, neighbours } = self;
        let kept = neighbours.len() / queries.len();
        let task = Task::Neighbours(rules, Chunks::new(queries, rows), Chunks::new(neighbours, rows * kept));
        (Chunks::new(norms, rows), task)
    }

    /// What was found of a row in all parts.
    pub(super) fn found(&self, row: usize) -> impl Iterator<Item = &Neighbour> {
        let places = self.neighbours.chunks(self.neighbours.len() / self.queries.len());
        let parts = self.queries.iter().zip(places).skip(row).step_by(self.rows);
        parts.flat_map(|(query, places)| &places[..query.found])
    }
}

impl Divide for Task<'_> {
    fn blocks(&self) -> usize {
        match self {
            Task::Stats(_, stats) => stats.blocks(),
            Task::Neighbours(_, queries, _) => queries.blocks(),
        }
    }

    fn divide(self, blocks: usize) -> (Self, Self) {
        match self {
            Task::Stats(task, stats) => {
                let (first, rest) = stats.divide(blocks);
                (Task::Stats(task, first), Task::Stats(task, rest))
            }
            Task::Neighbours(rules, queries, neighbours) => {
                let ((first, rest), (firsts, rests)) = (queries.divide(blocks), neighbours.divide(blocks));
                (Task::Neighbours(rules, first, firsts), Task::Neighbours(rules, rest, rests))
            }
        }
    }
}

impl<'a> Task<'a> {
    /// The same task, its results lent out for a shorter time.
    pub(super) fn lend(&mut self) -> Task<'_> {
        match self {
            Task::Stats(task, stats) => Task::Stats(task, stats.lend()),
            Task::Neighbours(rules, queries, neighbours) => Task::Neighbours(rules, queries.lend(), neighbours.lend()),
        }
    }

    /// Who is no negative of whom.
    pub(super) fn rules(&self) -> &'a NegativeRules<'a> {
        match self {
            Task::Stats(task, _) => &task.exclusions.rules,
            Task::Neighbours(rules, ..) => rules,
        }
    }

    /// Rows that lie in memory one after the other, and are read first for the rows of the call from `row` on.
    pub(super) fn rows_read_first(&self, row: usize) -> &'a [f32] {
        match self {
            Task::Stats(task, _) => task.batch.rows_from_positive(row),
            Task::Neighbours(..) => &[],
        }
    }

    /// How many candidates are kept of a row.
    pub(super) fn kept(&self) -> usize {
        match self {
            Task::Stats(..) => 1,
            Task::Neighbours(_, queries, neighbours) => neighbours.slice.len() / queries.slice.len(),
        }
    }

    /// Writes the norms of the rows, the first of which is row `first` of the call, and what else is known of a row
    /// without a pass over the candidates; queries were opened before. A row that is not finite is found by its norm when
    /// all blocks are done; until then its similarities are NaN or anything else, and decide nothing.
    pub(super) fn measure(&mut self, backend: Backend, first: usize, candidates: Candidates<'_>, norms: &mut [f64]) {
        if let Task::Stats(task, stats) = self {
            let StatsTask { batch, exclusions, positive_norms, .. } = **task;
            let (sum, candidate_norms) = (candidates.sum, candidates.norms);
            let measured = MeasuredAnchors { batch, exclusions, candidate_norms, positive_norms, sum };
            measure_anchors(backend, &measured, first, norms, stats.slice);
        }
    }

    /// The similarities that qualify in row `row` of these, which was measured or opened.
    pub(super) fn admissible(&self, row: usize) -> Admissible {
        match self {
            Task::Stats(task, stats) => {
                let stats = stats.slice[row];
                stats.mean_negative().map_or(Admissible::NONE, |_| task.negatives.admissible(stats.positive()))
            }
            Task::Neighbours(_, queries, _) => queries.slice[row].admissible,
        }
    }

    /// Writes what was found in row `row` of these: the closest negative, or the closest ones in order.
    pub(super) fn write(&mut self, row: usize, found: &[Neighbour]) {
        let places = self.kept();
        match self {
            Task::Stats(_, stats) => {
                stats.slice[row].set_closest_negative(found.first().copied().map(ClosestNegative::found));
            }
            Task::Neighbours(_, queries, neighbours) => {
                neighbours.slice[row * places..][..found.len()].copy_from_slice(found);
                queries.slice[row].found = found.len();
            }
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
