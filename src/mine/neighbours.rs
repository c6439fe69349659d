//! The task of mining: the k closest negatives of each query.

use core::marker::PhantomData;

use super::block::RowLists;
use super::task::Task;
use crate::arch::{Simd, WithSimd};
use crate::candidates::Candidates;
use crate::exact::{cosine, dots};
use crate::mining_batch::MiningBatch;
use crate::parallel::Chunks;
use crate::row_stats::{Admissible, MiningRules, Neighbour, QueryRule, RowExclusions, Search, Thresholds};
use crate::rows::Rows;
use crate::screen::{NeighbourList, RowLimits, RowList, Shortlist};

/// What is known of a query beside the list of its neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryState {
    /// The smallest similarity with a known positive.
    pub(crate) positive: Option<f32>,
    /// The similarities that qualify.
    admissible: Admissible,
    /// How many neighbours were found.
    pub(crate) found: usize,
}

impl QueryState {
    /// A query of which nothing is known.
    pub(super) const EMPTY: QueryState = QueryState { positive: None, admissible: Admissible::ALL, found: 0 };
}

/// Where queries come from and what qualifies, for a block of them: norms, positives and admissible similarities.
pub(super) struct OpenQueries<'a, 'b> {
    pub(super) batch: MiningBatch<'a>,
    pub(super) thresholds: Thresholds,
    /// The first query.
    pub(super) first: usize,
    pub(super) norms: &'b mut [f64],
    pub(super) states: &'b mut [QueryState],
}

impl WithSimd for OpenQueries<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { batch, thresholds, first, norms, states } = self;
        let queries = batch.sides().anchors;
        for (row, (norm, state)) in norms.iter_mut().zip(states).enumerate() {
            let row = first + row;
            let query = queries.row(row);
            let [squared_norm] = dots(simd, [query], [query]);
            *norm = squared_norm.sqrt();
            let positive = match batch.given_similarities() {
                Some(similarities) => similarities[row],
                None => smallest_similarity(simd, query, *norm, batch.positive_rows(row)),
            };
            let admissible = thresholds.admissible(positive).from(batch.floor(row));
            *state = QueryState { positive, admissible, found: 0 };
        }
    }
}

/// The smallest similarity of a query and some rows.
#[inline(always)]
fn smallest_similarity<'a, S: Simd>(
    simd: S,
    query: &[f32],
    norm: f64,
    positives: impl Iterator<Item = &'a [f32]>,
) -> Option<f32> {
    let mut smallest = None;
    for positive in positives {
        let [dot, squared_norm] = dots(simd, [query, positive], [positive, positive]);
        let similarity = cosine(dot, norm, squared_norm.sqrt()) as f32;
        smallest = Some(smallest.filter(|&smallest| smallest <= similarity).unwrap_or(similarity));
    }
    smallest
}

/// The limits of queries that were opened.
#[derive(Clone, Copy)]
pub(super) struct QueryLimits<'a> {
    pub(super) rules: MiningRules<'a>,
    pub(super) states: &'a [QueryState],
}

impl<'a> RowExclusions for QueryLimits<'a> {
    type Row = QueryRule<'a>;

    #[inline(always)]
    fn of(self, row: usize) -> QueryRule<'a> {
        self.rules.of(row)
    }
}

impl RowLimits for QueryLimits<'_> {
    #[inline(always)]
    fn limit<S: Simd>(self, _simd: S, row: usize) -> f64 {
        f64::from(self.states[row].admissible.high)
    }
}

/// The search for the closest negatives of queries that were opened, in lists of type `L`.
pub(super) struct NeighbourTask<'a, L> {
    rules: MiningRules<'a>,
    list: PhantomData<fn() -> L>,
}

impl<'a, L> NeighbourTask<'a, L> {
    pub(super) fn new(rules: MiningRules<'a>) -> NeighbourTask<'a, L> {
        NeighbourTask { rules, list: PhantomData }
    }
}

impl<L> Clone for NeighbourTask<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for NeighbourTask<'_, L> {}

impl<'a, L> RowExclusions for NeighbourTask<'a, L> {
    type Row = QueryRule<'a>;

    #[inline(always)]
    fn of(self, row: usize) -> QueryRule<'a> {
        self.rules.of(row)
    }
}

/// A kind of list that a thread's scratch has.
pub(super) trait ScratchList: RowList {
    fn of(lists: &mut RowLists) -> &mut [Self];
}

impl ScratchList for Shortlist {
    fn of(lists: &mut RowLists) -> &mut [Shortlist] {
        &mut lists.short
    }
}

impl ScratchList for NeighbourList {
    fn of(lists: &mut RowLists) -> &mut [NeighbourList] {
        &mut lists.neighbours
    }
}

impl<L: ScratchList> Task for NeighbourTask<'_, L> {
    /// The queries, and as many places for neighbours for each of them.
    type Results<'r> = (Chunks<'r, QueryState>, Chunks<'r, Neighbour>);
    type List = L;

    fn lend<'r>((states, neighbours): &'r mut Self::Results<'_>) -> Self::Results<'r> {
        (states.lend(), neighbours.lend())
    }

    fn lists(lists: &mut RowLists) -> &mut [L] {
        L::of(lists)
    }

    /// Nothing: the queries were opened before.
    fn measure<S: Simd>(
        self,
        _simd: S,
        _first: usize,
        _rows: Rows<'_>,
        _candidates: Candidates<'_>,
        _norms: &mut [f64],
        _results: &mut Self::Results<'_>,
    ) {
    }

    fn read_first(&self, _row: usize) -> &[f32] {
        &[]
    }

    #[inline(always)]
    fn admissible(self, (states, _): &Self::Results<'_>, row: usize) -> Admissible {
        states.slice[row].admissible
    }

    fn keep(self, (states, neighbours): &mut Self::Results<'_>, row: usize, list: &mut L) {
        let places = neighbours.slice.len() / states.slice.len();
        let found = list.search().sorted();
        neighbours.slice[row * places..][..found.len()].copy_from_slice(found);
        states.slice[row].found = found.len();
    }
}
