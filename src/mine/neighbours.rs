//! The queries of mining: where they stand before their candidates are looked at.

use crate::arch::Backend;
use crate::kernels::{cosine, dots, norm};
use crate::mining_batch::MiningBatch;
use crate::row_stats::{Admissible, NegativeRules, RowRule, Thresholds};
use crate::screen::RowLimits;

/// What is known of a query beside the list of its neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryState {
    /// The smallest similarity with a known positive.
    pub(crate) positive: Option<f32>,
    /// The similarities that qualify.
    pub(super) admissible: Admissible,
    /// How many neighbours were found.
    pub(crate) found: usize,
}

impl QueryState {
    /// A query of which nothing is known.
    pub(super) const EMPTY: QueryState = QueryState { positive: None, admissible: Admissible::ALL, found: 0 };
}

/// Writes the norm, the positive and the admissible similarities of the queries from query `first` on.
pub(super) fn open_queries(
    backend: Backend,
    batch: MiningBatch<'_>,
    thresholds: Thresholds,
    first: usize,
    norms: &mut [f64],
    states: &mut [QueryState],
) {
    let queries = batch.sides().anchors;
    for (row, (query_norm, state)) in norms.iter_mut().zip(states).enumerate() {
        let row = first + row;
        let query = queries.row(row);
        *query_norm = norm(backend, query);
        let positive = match batch.given_similarities() {
            Some(similarities) => similarities[row],
            None => smallest_similarity(backend, batch, row, *query_norm),
        };
        let admissible = thresholds.admissible(positive).from(batch.floor(row));
        *state = QueryState { positive, admissible, found: 0 };
    }
}

/// The smallest similarity of query `row`, which has this norm, and its known positives.
fn smallest_similarity(backend: Backend, batch: MiningBatch<'_>, row: usize, norm: f64) -> Option<f32> {
    let (query, mut smallest) = (batch.sides().anchors.row(row), None);
    batch.each_positive(row, &mut |positive| {
        let [dot, squared_norm] = dots(backend, positive, [query, positive]);
        let similarity = cosine(dot, norm, squared_norm.sqrt()) as f32;
        smallest = Some(smallest.filter(|&smallest| smallest <= similarity).unwrap_or(similarity));
    });
    smallest
}

/// The limits of queries that were opened, for the sample.
pub(super) struct QueryLimits<'a> {
    pub(super) rules: &'a NegativeRules<'a>,
    pub(super) states: &'a [QueryState],
}

impl RowLimits for QueryLimits<'_> {
    fn limit(&self, row: usize) -> f64 {
        f64::from(self.states[row].admissible.high)
    }

    fn rule(&self, row: usize) -> RowRule<'_> {
        self.rules.row(row)
    }
}
