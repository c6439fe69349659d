//! Which screen pays: decided by what the first candidates showed.
//!
//! A cheaper screen leaves more pairs to be computed exactly. How many is known after a few panels: it is those whose
//! interval reaches over the row's positive, which any candidate does with about the same probability. (Those that
//! compete for the largest similarity below it are few, and the fewer of a panel the more panels there were.) So a block of
//! anchors looks at them after 1, 2, 4, .. panels, and goes on to a finer screen if what is left of the work would cost
//! less there.

use super::Level;

/// What computing a pair exactly costs, in multiples of screening one in `f32`.
const EXACT_COST: f64 = 30.0;

/// What a block of anchors has seen so far, per anchor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// What it is screened with.
    pub(crate) level: Level,
    /// The candidates that were screened.
    pub(crate) screened: f64,
    /// All candidates.
    pub(crate) candidates: f64,
    /// The pairs that reach over the positive.
    pub(crate) doubtful: f64,
    /// The pairs that were computed exactly already.
    pub(crate) scored: f64,
    /// By how much the error of 16-bit integers is smaller than that of this level.
    pub(crate) finer: f64,
}

impl Level {
    /// What screening a pair costs.
    fn cost(self) -> f64 {
        match self {
            Level::I8 => 0.3,
            Level::I16 => 0.6,
            Level::F32 => 1.0,
        }
    }
}

impl Seen {
    /// The level at which the rest of the work is cheapest.
    pub(crate) fn best_level(self) -> Level {
        let survivors = self.scored.max(self.doubtful * self.candidates / self.screened);
        let here = (self.candidates - self.screened) * self.level.cost() + (survivors - self.scored) * EXACT_COST;
        let there = |level: Level, survivors: f64| self.candidates * level.cost() + (1.0 + survivors) * EXACT_COST;
        let mut best = (self.level, here);
        for (level, cost) in [(Level::I16, there(Level::I16, survivors * self.finer)), (Level::F32, there(Level::F32, 1.0))] {
            if level > self.level && cost < best.1 {
                best = (level, cost);
            }
        }
        best.0
    }
}
