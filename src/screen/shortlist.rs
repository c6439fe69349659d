//! The pairs of a row that may still matter, and what is known of the row's closest negative.

use super::prefetch::prefetch_row;
use super::tile::{Intervals, MAX_WIDTH, Window};
use crate::arch::{Simd, WithSimd};
use crate::exact::ExactRow;
use crate::row_stats::{ClosestNegative, ClosestSearch, Negatives};
use crate::rows::Rows;

/// Pairs that a shortlist holds before it must be pruned. With sums in `f32` random rows need about ln n places; with
/// bytes all that lies within an interval of the best, some tens. More room costs memory and a longer pass over it.
const CAPACITY: usize = 32;

/// Up to this many hits of a tile's row are added one by one, without looking for the best of them first.
const FEW: u32 = 2;

/// The state of one row while candidates are screened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortlist {
    /// A pair whose interval ends here or below qualifies for certain.
    certain_up_to: f32,
    units: ScreenUnits,
    /// The candidate that is the positive, or a number beyond all candidates.
    positive: usize,
    search: ClosestSearch,
    /// The pairs that the screen could not rule out yet: the upper ends of their intervals, negative infinity where
    /// there is none, and the candidates.
    upper: [f32; CAPACITY],
    candidates: [usize; CAPACITY],
    length: usize,
    /// The pairs that were computed exactly.
    scored: usize,
    /// The pairs that were added although they may not qualify.
    doubtful: usize,
    /// Whether the row's pairs are all to be computed in tiles.
    hopeless: bool,
}

/// How an exact similarity is compared with the ends of intervals: `similarity * unit - shift`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScreenUnits {
    /// One, or what the rows of the screen were shrunk by.
    pub(crate) unit: f32,
    /// The row's shift.
    pub(crate) shift: f32,
}

impl ScreenUnits {
    /// An exact similarity in the units of the ends.
    #[inline(always)]
    pub(super) fn of(self, similarity: f32) -> f32 {
        similarity * self.unit - self.shift
    }
}

impl Default for Shortlist {
    fn default() -> Shortlist {
        Shortlist {
            certain_up_to: f32::NEG_INFINITY,
            units: ScreenUnits { unit: 1.0, shift: 0.0 },
            positive: 0,
            search: ClosestSearch::EMPTY,
            upper: [f32::NEG_INFINITY; CAPACITY],
            candidates: [0; CAPACITY],
            length: 0,
            scored: 0,
            doubtful: 0,
            hopeless: false,
        }
    }
}

/// Raises the window of a row whose closest negative is at least as similar as `low` says.
#[inline(always)]
fn raise(window: &mut Window, low: f32) {
    window.low = if low > window.low { low } else { window.low };
}

/// The largest lower end of the intervals that end up to `limit`, and negative infinity without one.
#[inline(always)]
fn largest_lower<S: Simd>(simd: S, limit: f32, upper: &[f32; MAX_WIDTH], lower: &[f32; MAX_WIDTH]) -> f32 {
    let (mut best, limit) = (simd.splat(f32::NEG_INFINITY), simd.splat(limit));
    for (upper, lower) in upper.chunks_exact(S::F32_LANES).zip(lower.chunks_exact(S::F32_LANES)) {
        best = simd.max_where(best, simd.load(lower), simd.load(upper), limit);
    }
    simd.largest(best)
}

impl Shortlist {
    /// Starts a row whose positive, candidate `positive` if it is one, has the exact similarity `similarity`, and opens
    /// its window. No interval is longer than `longest`.
    #[inline(always)]
    pub(crate) fn open(
        &mut self,
        negatives: Negatives,
        positive: Option<usize>,
        similarity: f32,
        units: ScreenUnits,
        longest: f32,
    ) -> Window {
        let (certain_up_to, high) = match negatives {
            Negatives::Any => (f32::INFINITY, f32::INFINITY),
            Negatives::Below | Negatives::AtOrBelow => (units.of(similarity), units.of(similarity) + longest),
        };
        self.certain_up_to = certain_up_to;
        self.units = units;
        self.positive = positive.unwrap_or(usize::MAX);
        self.search = ClosestSearch::new(negatives, similarity, positive);
        self.upper = [f32::NEG_INFINITY; CAPACITY];
        self.length = 0;
        self.scored = 0;
        self.doubtful = 0;
        self.hopeless = false;
        Window { low: f32::NEG_INFINITY, high }
    }

    /// Ends a zero row at once. All its similarities are 0, so that its first negative stands for all.
    pub(crate) fn settle_zero_row(&mut self) -> Window {
        self.search.offer(usize::from(self.positive == 0), 0.0);
        Window::CLOSED
    }

    /// Ends a row of which the screen leaves so many pairs that computing all of them in tiles is cheaper.
    #[inline(always)]
    pub(crate) fn give_up(&mut self) -> Window {
        self.length = 0;
        self.hopeless = true;
        Window::CLOSED
    }

    /// Whether the row's pairs are all to be computed in tiles.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// Adds the pairs of a tile's row that may matter. The first of `intervals` belongs to candidate `first`.
    #[inline(always)]
    pub(crate) fn add<S: Simd>(
        &mut self,
        simd: S,
        exact: &ExactRow<'_>,
        window: &mut Window,
        first: usize,
        intervals: Intervals<'_>,
    ) {
        let Intervals { upper, lower, width } = intervals;
        // The positive is no negative, and what stands beyond the last candidate is nothing at all.
        let present = width.min(exact.others.count() - first);
        let positive = self.positive.wrapping_sub(first);
        let mut negatives = u64::MAX >> (64 - present);
        if positive < present {
            negatives &= !(1 << positive);
            upper[positive] = f32::NAN;
        }
        let mut hits = window.hits(simd, upper) & negatives;
        if hits.count_ones() > FEW {
            // First the bound, then the list: most of what a row's first panel holds falls to the best of it.
            upper[present..].fill(f32::NAN);
            raise(window, largest_lower(simd, self.certain_up_to, upper, lower));
            hits = window.hits(simd, upper) & negatives;
        }
        while hits != 0 {
            let lane = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            if upper[lane] <= self.certain_up_to {
                raise(window, lower[lane]);
            } else if lower[lane] > self.certain_up_to {
                continue;
            } else {
                self.doubtful += 1;
            }
            self.push(simd, exact, window, first + lane, upper[lane]);
        }
    }

    /// Adds a pair, after making room if there is none.
    #[inline(always)]
    fn push<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window, candidate: usize, upper: f32) {
        if self.length == CAPACITY {
            simd.run(MakeRoom { shortlist: self, exact, window });
        }
        self.candidates[self.length] = candidate;
        self.upper[self.length] = upper;
        self.length += 1;
    }

    /// Fetches the rows of all pairs.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd>(&self, simd: S, candidates: Rows<'_>) {
        for &candidate in &self.candidates[..self.length] {
            prefetch_row(simd, candidates.row(candidate));
        }
    }

    /// Fetches the row of the pair that may be the most similar.
    #[inline(always)]
    pub(crate) fn prefetch_best<S: Simd>(&self, simd: S, candidates: Rows<'_>) {
        if let Some(index) = self.best(simd) {
            prefetch_row(simd, candidates.row(self.candidates[index]));
        }
    }

    /// Computes the best two pairs of the list exactly, as far as they are still in the window, and drops those that
    /// fall below the window by it.
    #[inline(always)]
    pub(crate) fn score_best<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window) {
        let Some(first) = self.take_best(simd, window.low) else { return };
        if let Some(second) = self.take_best(simd, window.low) {
            let [similarity, other] = exact.cosines(simd, [first, second]);
            self.offer(first, similarity);
            self.offer(second, other);
        } else {
            let [similarity] = exact.cosines(simd, [first]);
            self.offer(first, similarity);
        }
        if let Some(found) = self.search.found() {
            raise(window, self.units.of(found.similarity()));
        }
        self.prune(simd, window.low);
    }

    /// Offers an exact similarity to the search.
    #[inline(always)]
    fn offer(&mut self, candidate: usize, similarity: f32) {
        self.scored += 1;
        self.search.offer(candidate, similarity);
    }

    /// Computes what is left of the list exactly, and ends the row.
    #[inline(always)]
    pub(crate) fn finish<S: Simd>(
        &mut self,
        simd: S,
        exact: &ExactRow<'_>,
        window: &mut Window,
    ) -> Option<ClosestNegative> {
        while self.length > 0 {
            self.score_best(simd, exact, window);
        }
        self.search.found()
    }

    /// How many pairs are on the list.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// How many pairs were computed exactly.
    pub(crate) fn scored(&self) -> usize {
        self.scored
    }

    /// How many pairs, so far, may be on either side of the positive.
    pub(crate) fn doubtful(&self) -> usize {
        self.doubtful
    }

    /// The candidate that may be the most similar, off the list; none if all are below `low`, and then the list is
    /// empty.
    #[inline(always)]
    fn take_best<S: Simd>(&mut self, simd: S, low: f32) -> Option<usize> {
        let best = self.best(simd)?;
        if self.upper[best] >= low {
            self.upper[best] = f32::NEG_INFINITY;
            Some(self.candidates[best])
        } else {
            self.prune(simd, low);
            None
        }
    }

    /// Where the pair stands that may be the most similar.
    #[inline(always)]
    fn best<S: Simd>(&self, simd: S) -> Option<usize> {
        if self.length < 2 {
            return (self.length == 1 && self.upper[0] >= f32::MIN).then_some(0);
        }
        let mut best = simd.splat(f32::NEG_INFINITY);
        for upper in self.upper.chunks_exact(S::F32_LANES) {
            best = simd.max(best, simd.load(upper));
        }
        let best = simd.largest(best);
        let equal = self.positions(simd, simd.splat(best), simd.splat(best));
        (best >= f32::MIN).then(|| equal.trailing_zeros() as usize)
    }

    /// Drops the pairs that fell below the window.
    #[inline(always)]
    pub(crate) fn prune<S: Simd>(&mut self, simd: S, low: f32) {
        let mut kept = 0;
        let mut positions = self.positions(simd, simd.splat(low.max(f32::MIN)), simd.splat(f32::INFINITY));
        while positions != 0 {
            let index = positions.trailing_zeros() as usize;
            positions &= positions - 1;
            self.candidates[kept] = self.candidates[index];
            self.upper[kept] = self.upper[index];
            kept += 1;
        }
        self.upper[kept..].fill(f32::NEG_INFINITY);
        self.length = kept;
    }

    /// Bit `i` is set where the upper end of pair `i` lies between two numbers, above negative infinity.
    #[inline(always)]
    fn positions<S: Simd>(&self, simd: S, low: S::F32, high: S::F32) -> u64 {
        const { assert!(CAPACITY.is_multiple_of(S::F32_LANES) && CAPACITY <= 64) }
        let mut positions = 0;
        for (register, upper) in self.upper.chunks_exact(S::F32_LANES).enumerate() {
            positions |= u64::from(simd.in_range(simd.load(upper), low, high)) << (register * S::F32_LANES);
        }
        positions
    }
}

/// Makes room on a full list: drops what fell below the window, and while that leaves it more than half full, computes
/// the best two pairs exactly, which raise the window the most.
struct MakeRoom<'a> {
    shortlist: &'a mut Shortlist,
    exact: &'a ExactRow<'a>,
    window: &'a mut Window,
}

impl WithSimd for MakeRoom<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { shortlist, exact, window } = self;
        shortlist.prune(simd, window.low);
        while shortlist.length > CAPACITY / 2 {
            shortlist.score_best(simd, exact, window);
        }
    }
}
