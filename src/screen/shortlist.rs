//! The pairs of a row that may still matter, and what is known of the row's closest negative.

use super::Window;
use crate::arch::Simd;
use crate::rows::Rows;
use crate::similarity::cosine_rows;
use crate::stats::{ClosestNegative, ClosestSearch, Negatives};

/// Pairs that a shortlist holds before it must be pruned. Random rows need about ln n places, rows with positives inside
/// the bulk a few more; more room costs memory and, in the rows that fill it, a longer pass over it.
const CAPACITY: usize = 16;

/// A pair that the screen could not rule out.
#[derive(Clone, Copy, Debug, Default)]
struct Survivor {
    candidate: usize,
    screened: f32,
}

/// The state of one row while candidates pass by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortlist {
    window: Window,
    /// A screened similarity up to here belongs to a pair that qualifies for sure.
    sure: f32,
    positive: usize,
    search: ClosestSearch,
    survivors: [Survivor; CAPACITY],
    length: usize,
}

/// What is needed to compute pairs of one row exactly.
#[derive(Clone, Copy)]
pub(crate) struct Exact<'a> {
    pub(crate) anchor: &'a [f32],
    pub(crate) anchor_norm: f64,
    pub(crate) candidates: Rows<'a>,
    pub(crate) candidate_norms: &'a [f64],
    /// The screen's error bound.
    pub(crate) bound: f64,
}

impl Exact<'_> {
    /// The exact similarity with candidate `index`, before it is rounded to `f32`.
    #[inline(always)]
    pub(crate) fn cosine<S: Simd>(&self, simd: S, index: usize) -> f64 {
        let (candidate, norm) = (self.candidates.row(index), self.candidate_norms[index]);
        cosine_rows(simd, self.anchor, self.anchor_norm, candidate, norm)
    }
}

impl Default for Shortlist {
    fn default() -> Shortlist {
        Shortlist {
            window: CLOSED,
            sure: f32::NEG_INFINITY,
            positive: 0,
            search: ClosestSearch::new(Negatives::Below, 0.0, 0),
            survivors: [Survivor::default(); CAPACITY],
            length: 0,
        }
    }
}

/// The window of a row that is not looking for anything.
const CLOSED: Window = Window { low: f32::INFINITY, high: f32::NEG_INFINITY };

/// The `f32` below `value`, whichever way it was rounded.
fn below(value: f64) -> f32 {
    (value as f32).next_down()
}

impl Shortlist {
    /// Starts a row whose positive is candidate `positive` with the exact similarity `similarity`.
    #[inline(always)]
    pub(crate) fn open(&mut self, negatives: Negatives, positive: usize, similarity: f32, bound: f64) {
        let exact = f64::from(similarity);
        (self.sure, self.window.high) = match negatives {
            Negatives::Any => (f32::INFINITY, f32::INFINITY),
            Negatives::Below | Negatives::AtOrBelow => (below(exact - bound), -below(-exact - bound)),
        };
        self.window.low = f32::NEG_INFINITY;
        self.positive = positive;
        self.search = ClosestSearch::new(negatives, similarity, positive);
        self.length = 0;
    }

    /// A row beyond the last anchor: nothing is recorded.
    pub(crate) fn close(&mut self) {
        self.window = CLOSED;
    }

    /// Ends a zero row at once. All its similarities are 0, so that its first negative stands for all.
    pub(crate) fn settle_zero_row(&mut self) {
        self.search.offer(usize::from(self.positive == 0), 0.0);
        self.close();
    }

    #[inline(always)]
    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// Adds a pair that lies in the window.
    #[inline(always)]
    pub(crate) fn push<S: Simd>(&mut self, simd: S, exact: &Exact<'_>, candidate: usize, screened: f32) {
        if candidate == self.positive || screened < self.window.low {
            return;
        }
        if screened <= self.sure {
            self.raise(f64::from(screened) - exact.bound, exact.bound);
        }
        if self.length == CAPACITY {
            self.prune();
            if self.length > CAPACITY / 2 {
                self.score(simd, exact);
            }
        }
        self.survivors[self.length] = Survivor { candidate, screened };
        self.length += 1;
    }

    /// Computes what is left of the list exactly, and ends the row.
    #[inline(always)]
    pub(crate) fn finish<S: Simd>(&mut self, simd: S, exact: &Exact<'_>) -> Option<ClosestNegative> {
        self.score(simd, exact);
        self.search.found()
    }

    /// Takes note that the closest negative is at least `similarity`.
    #[inline(always)]
    fn raise(&mut self, similarity: f64, bound: f64) {
        self.window.low = self.window.low.max(below(similarity - bound));
    }

    /// Drops the pairs that fell below the window.
    fn prune(&mut self) {
        let mut kept = 0;
        for index in 0..self.length {
            let survivor = self.survivors[index];
            if survivor.screened >= self.window.low {
                self.survivors[kept] = survivor;
                kept += 1;
            }
        }
        self.length = kept;
    }

    /// Computes every pair of the list that is still in the window exactly, and empties the list.
    #[inline(always)]
    fn score<S: Simd>(&mut self, simd: S, exact: &Exact<'_>) {
        for index in 0..self.length {
            let Survivor { candidate, screened } = self.survivors[index];
            if screened >= self.window.low {
                self.search.offer(candidate, exact.cosine(simd, candidate) as f32);
            }
        }
        self.length = 0;
        if let Some(found) = self.search.found() {
            self.raise(f64::from(found.similarity), exact.bound);
        }
    }
}
