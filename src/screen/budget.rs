//! What a block of anchors may do in vain: how many pairs are computed one by one, and when exact tiles take over.

use super::cost::{exact_tile_cost, survivor_cost};

/// The pairs of a block that may be computed one by one before all candidates were screened, as full lists need it: they
/// may take this share of what a product in `f32` takes. What is given up then has cost little beside computing all pairs.
const SINGLE_SHARE: f64 = 0.25;

/// An exact tile has several anchors, so that a row that is computed alone takes as long as this many rows together.
const ROWS_ALONE: usize = 3;

/// What computing pairs of a block exactly costs, one by one and in tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExactCosts {
    /// A pair by itself.
    single: f64,
    /// All pairs of a row among several, in tiles.
    row: f64,
    candidates: usize,
}

impl ExactCosts {
    /// The costs for rows with so many candidates of `dim` elements, where a long pair in a tile costs `exact`.
    pub(crate) fn new(candidates: usize, dim: usize, exact: f64) -> ExactCosts {
        let row = exact_tile_cost(exact, dim) * candidates as f64;
        ExactCosts { single: survivor_cost(dim as f64), row, candidates }
    }

    /// The pairs of a block of `rows` rows that may be computed one by one while it is screened, if `fewest` of each row
    /// must be computed in any case, and `spent` were computed while it was screened more coarsely.
    pub(crate) fn budget(self, rows: usize, fewest: usize, spent: usize) -> PairBudget {
        let pairs = |cost: f64| (cost / self.single) as usize;
        PairBudget {
            of_row: fewest + pairs(ROWS_ALONE as f64 * self.row),
            left: (rows * fewest + pairs(SINGLE_SHARE * self.candidates as f64 * rows as f64)).saturating_sub(spent),
        }
    }

    /// What the tiles cost for so many rows with the candidates from `first` on.
    fn tiles(self, rows: usize, first: usize) -> f64 {
        rows as f64 * self.row * (1.0 - first as f64 / self.candidates as f64)
    }

    /// What the tiles cost for rows that were given up, which come in `runs` of these lengths, each from a candidate on.
    pub(crate) fn runs(self, runs: impl Iterator<Item = (usize, usize)>) -> f64 {
        runs.map(|(rows, first)| self.tiles(rows.max(ROWS_ALONE), first)).sum()
    }

    /// Whether all pairs of `rows` rows take less time in tiles than `listed` pairs one by one, and tiles for the rows that
    /// were given up.
    pub(crate) fn lists_lose(self, rows: usize, listed: usize, runs: impl Iterator<Item = (usize, usize)>) -> bool {
        listed as f64 * self.single + self.runs(runs) > self.tiles(rows, 0)
    }

    /// From which candidate on all pairs of `rows` rows are computed in tiles, if it may be `latest` at most: from there,
    /// where the `listed` pairs before it take less time one by one than tiles do, `listed * single <= row * rows * latest /
    /// candidates`, and from the first one elsewhere.
    pub(crate) fn first_in_tiles(self, rows: usize, latest: usize, listed: usize) -> usize {
        let saved = self.tiles(rows, 0) - self.tiles(rows, latest);
        if listed as f64 * self.single <= saved { latest } else { 0 }
    }
}

/// How many pairs may be computed exactly one by one, as lists are full: a row that needs more is computed in tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairBudget {
    /// Of a row: as many as take as long as all of its pairs, alone, in tiles.
    of_row: usize,
    /// Of all rows, from now on.
    left: usize,
}

impl PairBudget {
    /// Any number.
    pub(crate) const UNLIMITED: PairBudget = PairBudget { of_row: usize::MAX, left: usize::MAX };

    /// Whether a row of which `scored` pairs were computed may have more of them computed.
    pub(super) fn allows(self, scored: usize) -> bool {
        scored < self.of_row && self.left > 0
    }

    /// Takes pairs that were computed off the budget.
    pub(super) fn spend(&mut self, pairs: usize) {
        self.left = self.left.saturating_sub(pairs);
    }
}
