//! The pairs of a row that may still matter, and what is known of the row's closest negative.

use super::tile::{Intervals, MAX_WIDTH, Window};
use crate::arch::{Kernel, Simd};
use crate::rows::Rows;
use crate::similarity::cosine_rows;
use crate::stats::{ClosestNegative, ClosestSearch, Negatives};

/// Pairs that a shortlist holds before it must be pruned. Random rows need about ln n places, rows with positives
/// inside the bulk a few more; more room costs memory and, in the rows that fill it, a longer pass over it.
const CAPACITY: usize = 32;

/// Up to this many hits of a tile's row are added one by one, without looking for the best of them first.
const FEW: u32 = 2;

/// A pair that the screen could not rule out.
#[derive(Clone, Copy, Debug, Default)]
struct Survivor {
    candidate: usize,
    upper: f32,
}

/// The state of one row while candidates pass by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortlist {
    /// An interval that ends up to here belongs to a pair that qualifies for sure.
    sure: f32,
    scale: Scale,
    positive: usize,
    search: ClosestSearch,
    survivors: [Survivor; CAPACITY],
    length: usize,
    /// The pairs that were computed exactly.
    scored: usize,
    /// The pairs that were added although they may not qualify.
    doubtful: usize,
}

/// How an exact similarity is compared with the ends of intervals: `similarity * unit - shift`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// One, or what the rows of the screen were shrunk by.
    pub(crate) unit: f32,
    /// The row's shift.
    pub(crate) shift: f32,
}

impl Scale {
    #[inline(always)]
    fn of(self, similarity: f32) -> f32 {
        similarity * self.unit - self.shift
    }
}

/// What is needed to compute pairs of one row exactly.
#[derive(Clone, Copy)]
pub(crate) struct Exact<'a> {
    pub(crate) anchor: &'a [f32],
    pub(crate) anchor_norm: f64,
    pub(crate) candidates: Rows<'a>,
    pub(crate) candidate_norms: &'a [f64],
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
            scale: Scale { unit: 1.0, shift: 0.0 },
            positive: 0,
            search: ClosestSearch::new(Negatives::Below, 0.0, 0),
            survivors: [Survivor::default(); CAPACITY],
            length: 0,
            scored: 0,
            doubtful: 0,
        }
    }
}

/// Takes note that the closest negative of a row is at least as similar as `low` says.
#[inline(always)]
fn raise(window: &mut Window, low: f32) {
    window.low = if low > window.low { low } else { window.low };
}

/// The largest lower end of the intervals that end up to `limit`, and negative infinity without one.
#[inline(always)]
fn largest_lower<S: Simd>(simd: S, limit: f32, intervals: &Intervals) -> f32 {
    let (mut best, limit) = (simd.splat(f32::NEG_INFINITY), simd.splat(limit));
    for register in 0..MAX_WIDTH / S::F32_LANES {
        let at = register * S::F32_LANES;
        best = simd.max_where(best, simd.load(&intervals.lower[at..]), simd.load(&intervals.upper[at..]), limit);
    }
    simd.largest(best)
}

impl Shortlist {
    /// Starts a row whose positive is candidate `positive` with the exact similarity `similarity`, and opens its
    /// window. No interval is longer than `longest`.
    #[inline(always)]
    pub(crate) fn open(
        &mut self,
        negatives: Negatives,
        positive: usize,
        similarity: f32,
        scale: Scale,
        longest: f32,
    ) -> Window {
        let (sure, high) = match negatives {
            Negatives::Any => (f32::INFINITY, f32::INFINITY),
            Negatives::Below | Negatives::AtOrBelow => (scale.of(similarity), scale.of(similarity) + longest),
        };
        self.sure = sure;
        self.scale = scale;
        self.positive = positive;
        self.search = ClosestSearch::new(negatives, similarity, positive);
        self.length = 0;
        self.scored = 0;
        self.doubtful = 0;
        Window { low: f32::NEG_INFINITY, high }
    }

    /// Ends a zero row at once. All its similarities are 0, so that its first negative stands for all.
    pub(crate) fn settle_zero_row(&mut self) -> Window {
        self.search.offer(usize::from(self.positive == 0), 0.0);
        Window::CLOSED
    }

    /// Adds the pairs of a tile's row that may matter. The first of `intervals` belongs to candidate `first`.
    #[inline(always)]
    pub(crate) fn add<S: Simd>(
        &mut self,
        simd: S,
        exact: &Exact<'_>,
        window: &mut Window,
        first: usize,
        intervals: &mut Intervals,
    ) {
        // What is no negative is blanked out: NaN lies in no window.
        if let Some(positive) = intervals.upper.get_mut(self.positive.wrapping_sub(first)) {
            *positive = f32::NAN;
        }
        if let Some(padding) = intervals.upper.get_mut(exact.candidates.count() - first..) {
            padding.fill(f32::NAN);
        }
        let mut hits = window.hits(simd, &intervals.upper);
        if hits.count_ones() > FEW {
            // First the bound, then the list: most of what a row's first panel holds falls to the best of it.
            raise(window, largest_lower(simd, self.sure, intervals));
            hits = window.hits(simd, &intervals.upper);
        }
        while hits != 0 {
            let lane = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            let (lower, upper) = (intervals.lower[lane], intervals.upper[lane]);
            if upper <= self.sure {
                raise(window, lower);
            } else if lower > self.sure {
                continue;
            } else {
                self.doubtful += 1;
            }
            self.push(simd, exact, window, Survivor { candidate: first + lane, upper });
        }
    }

    /// Adds a pair, after making room if there is none.
    #[inline(always)]
    fn push<S: Simd>(&mut self, simd: S, exact: &Exact<'_>, window: &mut Window, survivor: Survivor) {
        if self.length == CAPACITY {
            self.prune(window.low);
            if self.length > CAPACITY / 2 {
                simd.run(Score { shortlist: self, exact, window, leave: CAPACITY / 2 });
            }
        }
        self.survivors[self.length] = survivor;
        self.length += 1;
    }

    /// Asks for the rows of the pairs that are left to be brought near.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd>(&self, simd: S, candidates: Rows<'_>, window: Window) {
        const LINE: usize = 16;
        for survivor in self.survivors[..self.length].iter().filter(|survivor| survivor.upper >= window.low) {
            for line in candidates.row(survivor.candidate).chunks(LINE) {
                simd.prefetch(line.as_ptr().cast());
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
        simd.run(Score { shortlist: self, exact, window: &mut window, leave: 0 });
        self.search.found()
    }

    /// How many pairs were computed exactly.
    pub(crate) fn scored(&self) -> usize {
        self.scored
    }

    /// How many pairs, so far, may be on either side of the positive.
    pub(crate) fn doubtful(&self) -> usize {
        self.doubtful
    }

    /// Drops the pairs that fell below the window.
    fn prune(&mut self, low: f32) {
        let mut kept = 0;
        for index in 0..self.length {
            let survivor = self.survivors[index];
            if survivor.upper >= low {
                self.survivors[kept] = survivor;
                kept += 1;
            }
        }
        self.length = kept;
    }

    /// Takes the pair that may be the most similar off the list.
    fn take_best(&mut self) -> Option<Survivor> {
        let survivors = &mut self.survivors[..self.length];
        let best = (0..survivors.len()).max_by(|&a, &b| survivors[a].upper.total_cmp(&survivors[b].upper))?;
        let survivor = survivors[best];
        self.length -= 1;
        self.survivors[best] = self.survivors[self.length];
        Some(survivor)
    }
}

/// Computes pairs of a shortlist exactly, the most similar ones first, since these raise the bound the most, until at
/// most `leave` pairs of the list are still in the window.
struct Score<'a> {
    shortlist: &'a mut Shortlist,
    exact: &'a Exact<'a>,
    window: &'a mut Window,
    leave: usize,
}

impl Kernel for Score<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { shortlist, exact, window, leave } = self;
        loop {
            if leave > 0 {
                shortlist.prune(window.low);
            }
            if shortlist.length <= leave {
                return;
            }
            let Some(survivor) = shortlist.take_best().filter(|survivor| survivor.upper >= window.low) else {
                shortlist.length = 0;
                return;
            };
            let similarity = exact.cosine(simd, survivor.candidate) as f32;
            shortlist.scored += 1;
            shortlist.search.offer(survivor.candidate, similarity);
            if let Some(found) = shortlist.search.found() {
                raise(window, shortlist.scale.of(found.similarity));
            }
        }
    }
}
