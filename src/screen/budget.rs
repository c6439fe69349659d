//! What a block of anchors may do in vain: how many pairs are computed one by one, and when exact tiles take over.

use super::cost::{exact_tile_cost, screening_cost, survivor_cost};
use crate::kernels::Format;

/// The pairs of a block that may be computed one by one before all candidates were screened, as full lists need it: they
/// may take this share of what a product in `f32` takes. What is given up then has cost little beside computing all pairs.
const SINGLE_SHARE: f64 = 0.25;

/// How many rows of a block take as long alone, in tiles, as one of them.
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

/// How many parts the candidates of a block are divided into, to find out where the tiles should begin.
pub(crate) const PARTS: usize = 32;

impl ExactCosts {
    /// The costs for rows with so many candidates of `dim` elements, where a long pair in a tile costs `dot_cost`.
    pub(crate) fn new(candidates: usize, dim: usize, dot_cost: f64) -> ExactCosts {
        let row = exact_tile_cost(dot_cost, dim) * candidates as f64;
        ExactCosts { single: survivor_cost(dim as f64), row, candidates }
    }

    /// The pairs of a block of `rows` rows that may be computed one by one while it is screened, if `wanted` of each row
    /// must be computed in any case, and `spent` were computed while it was screened more coarsely.
    pub(crate) fn budget(self, rows: usize, wanted: usize, spent: usize) -> PairBudget {
        let pairs = |cost: f64| (cost / self.single) as usize;
        PairBudget {
            of_row: wanted + pairs(ROWS_ALONE as f64 * self.row),
            left: (rows * wanted + pairs(SINGLE_SHARE * self.candidates as f64 * rows as f64)).saturating_sub(spent),
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

    /// Whether the rest of a block of `rows` rows takes less time in exact tiles than by its screen, `screened` candidates
    /// of which are done, and tiles for the rows that it gives up. `recent` rows were given up since half as many candidates
    /// were screened, so that `recent * log2(candidates / screened)` more are expected.
    pub(crate) fn screen_loses(
        self,
        rows: usize,
        screened: usize,
        format: Format,
        recent: usize,
        runs: impl Iterator<Item = (usize, usize)> + Clone,
    ) -> bool {
        let first = runs.clone().map(|(_, first)| first).min().unwrap_or(screened);
        let ahead = rows as f64 * (self.candidates - screened) as f64 * screening_cost(format);
        let expected = recent * (self.candidates / screened).ilog2() as usize * ROWS_ALONE;
        ahead + self.runs(runs) + self.tiles(expected, screened) > self.tiles(rows, first)
    }

    /// Whether all pairs of `rows` rows take less time in tiles than `listed` pairs one by one, and tiles for the rows that
    /// were given up.
    pub(crate) fn lists_lose(self, rows: usize, listed: usize, runs: impl Iterator<Item = (usize, usize)>) -> bool {
        listed as f64 * self.single + self.runs(runs) > self.tiles(rows, 0)
    }

    /// The part of the candidates that one belongs to.
    pub(crate) fn part_of(self, candidate: usize) -> usize {
        candidate / self.candidates.div_ceil(PARTS)
    }

    /// From which candidate on, at most `latest`, all pairs of `rows` rows should be computed in tiles, if so many pairs
    /// of each part are left and those before are computed one by one.
    pub(crate) fn first_in_tiles(self, rows: usize, latest: usize, listed: &[usize; PARTS]) -> usize {
        let (mut best, mut before) = ((f64::INFINITY, 0), 0);
        for (part, &listed) in listed.iter().enumerate() {
            let first = part * self.candidates.div_ceil(PARTS);
            if first > latest || first >= self.candidates {
                break;
            }
            let cost = before as f64 * self.single + self.tiles(rows, first);
            best = if cost < best.0 { (cost, first) } else { best };
            before += listed;
        }
        best.1
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
