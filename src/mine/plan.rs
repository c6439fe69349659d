//! How a batch is mined, and what is found beside the results of its rows.

use crate::arch::Backend;
use crate::batch::Batch;
use crate::parallel::Threads;
use crate::row_stats::{Negatives, Thresholds};
use crate::screen::{Method, Screen, Screening};

/// How a batch is mined. Only `negatives` affects the result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MinePlan {
    pub(crate) negatives: Negatives,
    pub(crate) backend: Backend,
    pub(crate) screen: Screen,
    pub(crate) threads: Threads,
}

/// How a batch is measured whose statistics are there. Nothing affects the result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeasurePlan {
    pub(crate) backend: Backend,
    pub(crate) threads: Threads,
    /// Whether the norms and the sum of the candidates are in the memory.
    pub(crate) measured: bool,
}

/// How queries are mined. Only `kept` and `thresholds` affect the result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NeighbourPlan {
    /// How many neighbours of a query are kept, at least one.
    pub(crate) kept: usize,
    pub(crate) thresholds: Thresholds,
    pub(crate) backend: Backend,
    pub(crate) screen: Screen,
    pub(crate) threads: Threads,
}

/// What a call found beside the results of the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mined {
    pub(crate) zero_anchors: usize,
    pub(crate) zero_candidates: usize,
    /// Of the positives that are no candidates.
    pub(crate) zero_positives: usize,
    pub(crate) screening: Screening,
}

impl Mined {
    /// The counts of a call without screens, with so many zero rows of each side.
    #[inline]
    pub(crate) fn without_screens(
        batch: &Batch<'_>,
        [zero_anchors, zero_candidates, zero_positives]: [usize; 3],
    ) -> Mined {
        let mut screening = Screening::default();
        screening.count(Method::Exact, batch.rows(), batch.rows().saturating_mul(batch.negatives()));
        screening.count_pairs(Method::Exact, batch.rows().saturating_mul(batch.candidates()));
        Mined { zero_anchors, zero_candidates, zero_positives, screening }
    }
}
