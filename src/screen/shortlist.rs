//! The pairs of a row that may still matter, and what is known of the row's closest negative.

use super::{MAX_WIDTH, Window, shrunk};
use crate::arch::{Kernel, Simd};
use crate::rows::Rows;
use crate::similarity::cosine_rows;
use crate::stats::{ClosestNegative, ClosestSearch, Negatives};

/// Pairs that a shortlist holds before it must be pruned. Random rows need about ln n places, rows with positives
/// inside the bulk a few more; more room costs memory and, in the rows that fill it, a longer pass over it.
const CAPACITY: usize = 16;

/// Up to this many hits of a tile's row are added one by one, without looking for the best of them first.
const FEW: u32 = 2;

/// A pair that the screen could not rule out.
#[derive(Clone, Copy, Debug, Default)]
struct Survivor {
    candidate: usize,
    screened: f32,
}

/// The state of one row while candidates pass by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortlist {
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
    pub(crate) bound: f32,
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
            sure: f32::NEG_INFINITY,
            positive: 0,
            search: ClosestSearch::new(Negatives::Below, 0.0, 0),
            survivors: [Survivor::default(); CAPACITY],
            length: 0,
        }
    }
}

/// Takes note that the closest negative of a row is at least `similarity`, in the screen's units.
#[inline(always)]
fn raise(window: &mut Window, similarity: f32, bound: f32) {
    let low = similarity - bound;
    window.low = if low > window.low { low } else { window.low };
}

/// The largest of `values` that is at most `limit`, and negative infinity without one.
#[inline(always)]
fn largest_up_to<S: Simd>(simd: S, limit: f32, values: &[f32; MAX_WIDTH]) -> f32 {
    let (mut best, limit) = (simd.splat(f32::NEG_INFINITY), simd.splat(limit));
    for values in values.chunks_exact(S::F32_LANES) {
        best = simd.max_up_to(best, simd.load(values), limit);
    }
    simd.largest(best)
}

impl Shortlist {
    /// Starts a row whose positive is candidate `positive` with the exact similarity `similarity`, and opens its
    /// window.
    #[inline(always)]
    pub(crate) fn open(&mut self, negatives: Negatives, positive: usize, similarity: f32, bound: f32) -> Window {
        let (sure, high) = match negatives {
            Negatives::Any => (f32::INFINITY, f32::INFINITY),
            Negatives::Below | Negatives::AtOrBelow => (shrunk(similarity) - bound, shrunk(similarity) + bound),
        };
        self.sure = sure;
        self.positive = positive;
        self.search = ClosestSearch::new(negatives, similarity, positive);
        self.length = 0;
        Window { low: f32::NEG_INFINITY, high }
    }

    /// Ends a zero row at once. All its similarities are 0, so that its first negative stands for all.
    pub(crate) fn settle_zero_row(&mut self) -> Window {
        self.search.offer(usize::from(self.positive == 0), 0.0);
        Window::CLOSED
    }

    /// Adds the pairs of a tile's row that lie in the window. The first of `similarities` belongs to candidate `first`.
    #[inline(always)]
    pub(crate) fn add<S: Simd>(
        &mut self,
        simd: S,
        exact: &Exact<'_>,
        window: &mut Window,
        first: usize,
        similarities: &mut [f32; MAX_WIDTH],
    ) {
        // What is no negative is blanked out: NaN lies in no window.
        if let Some(positive) = similarities.get_mut(self.positive.wrapping_sub(first)) {
            *positive = f32::NAN;
        }
        if let Some(padding) = similarities.get_mut(exact.candidates.count() - first..) {
            padding.fill(f32::NAN);
        }
        let mut hits = window.hits(simd, similarities);
        if hits.count_ones() > FEW {
            // First the bound, then the list: most of what a row's first panel holds falls to the best of it.
            raise(window, largest_up_to(simd, self.sure, similarities) - exact.bound, exact.bound);
            hits = window.hits(simd, similarities);
        }
        while hits != 0 {
            let lane = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            let screened = similarities[lane];
            if screened <= self.sure {
                raise(window, screened - exact.bound, exact.bound);
            }
            self.push(simd, exact, window, Survivor { candidate: first + lane, screened });
        }
    }

    /// Adds a pair, after making room if there is none.
    #[inline(always)]
    fn push<S: Simd>(&mut self, simd: S, exact: &Exact<'_>, window: &mut Window, survivor: Survivor) {
        if self.length == CAPACITY {
            self.prune(window.low);
            if self.length > CAPACITY / 2 {
                simd.run(Score { shortlist: self, exact, window });
            }
        }
        self.survivors[self.length] = survivor;
        self.length += 1;
    }

    /// Asks for the rows of the pairs that are left to be brought near.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd>(&self, simd: S, candidates: Rows<'_>, window: Window) {
        const LINE: usize = 16;
        for survivor in self.survivors[..self.length].iter().filter(|survivor| survivor.screened >= window.low) {
            let row = candidates.row(survivor.candidate);
            for offset in (0..row.len()).step_by(LINE) {
                simd.prefetch(row, offset);
            }
        }
    }

    /// Computes what is left of the list exactly, and ends the row.
    #[inline(always)]
    pub(crate) fn finish<S: Simd>(
        &mut self,
        simd: S,
        exact: &Exact<'_>,
        mut window: Window,
    ) -> Option<ClosestNegative> {
        simd.run(Score { shortlist: self, exact, window: &mut window });
        self.search.found()
    }

    /// Drops the pairs that fell below the window.
    fn prune(&mut self, low: f32) {
        let mut kept = 0;
        for index in 0..self.length {
            let survivor = self.survivors[index];
            if survivor.screened >= low {
                self.survivors[kept] = survivor;
                kept += 1;
            }
        }
        self.length = kept;
    }
}

/// Computes every pair of a shortlist that is still in the window exactly, and empties the list.
struct Score<'a> {
    shortlist: &'a mut Shortlist,
    exact: &'a Exact<'a>,
    window: &'a mut Window,
}

impl Kernel for Score<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { shortlist, exact, window } = self;
        for survivor in &shortlist.survivors[..shortlist.length] {
            if survivor.screened >= window.low {
                let similarity = exact.cosine(simd, survivor.candidate) as f32;
                shortlist.search.offer(survivor.candidate, similarity);
            }
        }
        shortlist.length = 0;
        if let Some(found) = shortlist.search.found() {
            raise(window, shrunk(found.similarity), exact.bound);
        }
    }
}
