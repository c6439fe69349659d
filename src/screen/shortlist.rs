//! `RowList`: what is kept of a row while its candidates are screened; and the list for one closest negative.

use super::cost::PairBudget;
use super::prefetch::prefetch_row;
use super::tile::{Intervals, MAX_WIDTH, Window};
use crate::arch::{Simd, WithSimd};
use crate::exact::ExactRow;
use crate::row_stats::{Admissible, ClosestSearch, Exclusion, NoExclusion, Search};
use crate::rows::Rows;

/// Pairs that a shortlist holds before it must be pruned. With sums in `f32` random rows need about ln n places; with
/// bytes all that lies within an interval of the best, some tens. More room costs memory and a longer pass over it.
const CAPACITY: usize = 32;

/// Up to this many hits of a tile's row are added one by one, without looking for the best of them first.
const FEW: u32 = 2;

/// A row that is screened: what its pairs are computed exactly with, its window, and how many pairs of its block may be
/// computed.
pub(crate) struct OpenRow<'a, 'b> {
    pub(crate) exact: &'b ExactRow<'a>,
    pub(crate) window: &'b mut Window,
    pub(crate) budget: &'b mut PairBudget,
}

/// What is kept of a row while its candidates are screened: the pairs that may still matter, and what was found among
/// those that were computed exactly.
pub(crate) trait RowList: Default + Send {
    type Search: Search;

    /// How many pairs must be computed exactly, whatever the screen rules out: about.
    fn wanted(&self) -> usize;

    /// The search among the pairs that are computed exactly.
    fn search(&mut self) -> &mut Self::Search;

    /// Starts the search anew, for a row whose pairs are all computed exactly.
    fn restart(&mut self, admissible: Admissible);

    /// Starts a row, and opens its window. No interval is longer than `longest`.
    fn open(&mut self, admissible: Admissible, units: ScreenUnits, longest: f32) -> Window;

    /// Ends a zero row at once. All its similarities are 0, so that its first negatives stand for all.
    fn settle_zero_row(&mut self, candidates: usize, exclusion: impl Exclusion) -> Window {
        let search = self.search();
        let mut candidates = 0..if search.admissible().admits(0.0) { candidates } else { 0 };
        while let Some(index) = candidates.next().filter(|_| search.bar() < 0.0) {
            search.offer(index, 0.0, exclusion);
        }
        Window::CLOSED
    }

    /// Whether the row was given up, as its list was full and no budget was left: the window was closed, and tiles are to
    /// take over.
    fn is_hopeless(&self) -> bool {
        self.given_up_at() < usize::MAX
    }

    /// The first candidate that is not on the list of a row that was given up, though it may matter; `usize::MAX` for
    /// other rows.
    fn given_up_at(&self) -> usize;

    /// The candidates that are on the list.
    fn candidates(&self) -> impl Iterator<Item = usize>;

    /// Forgets all pairs with candidates from `first` on, which are computed in tiles.
    fn leave_to_tiles<S: Simd>(&mut self, simd: S, first: usize);

    /// Raises the window to what was found.
    fn raise_to_found(&mut self, window: &mut Window);

    /// Adds the pairs of a tile's row that may matter. The first of `intervals` belongs to candidate `first`. A row whose
    /// list is full while the budget is spent is given up, and its window closed.
    fn add<S: Simd>(
        &mut self,
        simd: S,
        row: OpenRow<'_, '_>,
        first: usize,
        intervals: Intervals<'_>,
        exclusion: impl Exclusion,
    );

    /// Drops the pairs that fell below the window, after all candidates were screened.
    fn close<S: Simd>(&mut self, simd: S, window: &mut Window);

    /// Fetches the rows of the pairs that [`RowList::score_best`] computes.
    fn prefetch_best<S: Simd>(&self, simd: S, candidates: Rows<'_>);

    /// Computes the best pairs exactly, as far as they are still in the window, and drops those that fall below the
    /// window by it.
    fn score_best<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window);

    /// Fetches the rows of the pairs that are left.
    fn prefetch<S: Simd>(&self, simd: S, candidates: Rows<'_>);

    /// Computes what is left of the list exactly, and ends the row.
    fn finish<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window);

    /// How many pairs are on the list.
    fn length(&self) -> usize;

    /// How many pairs were computed exactly.
    fn scored(&self) -> usize;

    /// How many pairs, so far, may be on either side of a limit of the row.
    fn doubtful(&self) -> usize;
}

/// The list of a row of which the closest negative is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortlist {
    limits: CertainLimits,
    units: ScreenUnits,
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
    given_up_at: usize,
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

/// Between which ends an interval is that of a pair that qualifies for certain: the lower end above `above`, the upper
/// end at most `up_to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct CertainLimits {
    pub(super) above: f32,
    pub(super) up_to: f32,
}

impl CertainLimits {
    /// The limits of a row in the units of the ends, and its window. No interval is longer than `longest`.
    #[inline(always)]
    pub(super) fn open(admissible: Admissible, units: ScreenUnits, longest: f32) -> (CertainLimits, Window) {
        let (above, up_to) = (units.of(admissible.low), units.of(admissible.high));
        let window = Window { low: above, high: up_to + longest };
        (CertainLimits { above, up_to }, if admissible.is_empty() { Window::CLOSED } else { window })
    }
}

impl Default for Shortlist {
    fn default() -> Shortlist {
        Shortlist {
            limits: CertainLimits { above: f32::NEG_INFINITY, up_to: f32::INFINITY },
            units: ScreenUnits { unit: 1.0, shift: 0.0 },
            search: ClosestSearch::EMPTY,
            upper: [f32::NEG_INFINITY; CAPACITY],
            candidates: [0; CAPACITY],
            length: 0,
            scored: 0,
            doubtful: 0,
            given_up_at: usize::MAX,
        }
    }
}

/// Raises the window of a row whose wanted negatives are at least as similar as `low` says.
#[inline(always)]
pub(super) fn raise(window: &mut Window, low: f32) {
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

impl RowList for Shortlist {
    type Search = ClosestSearch;

    /// A pair or two, which is nothing.
    fn wanted(&self) -> usize {
        0
    }

    #[inline(always)]
    fn search(&mut self) -> &mut ClosestSearch {
        &mut self.search
    }

    #[inline(always)]
    fn restart(&mut self, admissible: Admissible) {
        self.search = ClosestSearch::new(admissible);
    }

    #[inline(always)]
    fn open(&mut self, admissible: Admissible, units: ScreenUnits, longest: f32) -> Window {
        let (limits, window) = CertainLimits::open(admissible, units, longest);
        self.limits = limits;
        self.units = units;
        self.search = ClosestSearch::new(admissible);
        self.upper = [f32::NEG_INFINITY; CAPACITY];
        self.length = 0;
        self.scored = 0;
        self.doubtful = 0;
        self.given_up_at = usize::MAX;
        window
    }

    fn given_up_at(&self) -> usize {
        self.given_up_at
    }

    fn candidates(&self) -> impl Iterator<Item = usize> {
        self.candidates[..self.length].iter().copied()
    }

    #[inline(always)]
    fn leave_to_tiles<S: Simd>(&mut self, simd: S, first: usize) {
        self.search.forget_from(first);
        for (upper, &candidate) in self.upper.iter_mut().zip(&self.candidates[..self.length]) {
            *upper = if candidate < first { *upper } else { f32::NEG_INFINITY };
        }
        self.prune(simd, f32::MIN);
    }

    #[inline(always)]
    fn raise_to_found(&mut self, window: &mut Window) {
        if let Some(found) = self.search.found() {
            raise(window, self.units.of(found.similarity()));
        }
    }

    #[inline(always)]
    fn add<S: Simd>(
        &mut self,
        simd: S,
        row: OpenRow<'_, '_>,
        first: usize,
        intervals: Intervals<'_>,
        exclusion: impl Exclusion,
    ) {
        let OpenRow { exact, window, budget } = row;
        let Intervals { upper, lower, width } = intervals;
        // What stands beyond the last candidate is nothing at all, and some candidates are no negatives.
        let present = width.min(exact.others.count() - first);
        let mut hits = window.hits(simd, upper) & (u64::MAX >> (64 - present));
        let mut excluded = exclusion.among(first, hits);
        hits &= !excluded;
        if hits.count_ones() > FEW {
            // First the bound, then the list: most of what a row's first panel holds falls to the best of it.
            while excluded != 0 {
                upper[excluded.trailing_zeros() as usize] = f32::NAN;
                excluded &= excluded - 1;
            }
            upper[present..].fill(f32::NAN);
            raise(window, largest_lower(simd, self.limits.up_to, upper, lower));
            hits &= window.hits(simd, upper);
        }
        while hits != 0 {
            let lane = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            if upper[lane] <= self.limits.up_to {
                // A lower end that says less than the row's lower limit does not raise the window.
                raise(window, lower[lane]);
                self.doubtful += usize::from(lower[lane] <= self.limits.above);
            } else if lower[lane] > self.limits.up_to {
                continue;
            } else {
                self.doubtful += 1;
            }
            if self.length == CAPACITY {
                simd.run(MakeRoom { shortlist: self, exact, window, budget });
                if self.length == CAPACITY {
                    self.given_up_at = first + lane;
                    window.close();
                    return;
                }
            }
            self.candidates[self.length] = first + lane;
            self.upper[self.length] = upper[lane];
            self.length += 1;
        }
    }

    #[inline(always)]
    fn close<S: Simd>(&mut self, simd: S, window: &mut Window) {
        self.prune(simd, window.low);
    }

    #[inline(always)]
    fn prefetch_best<S: Simd>(&self, simd: S, candidates: Rows<'_>) {
        if let Some(index) = self.best(simd) {
            prefetch_row(simd, candidates.row(self.candidates[index]));
        }
    }

    /// Computes the best two pairs.
    #[inline(always)]
    fn score_best<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window) {
        let Some(first) = self.take_best(simd, window.low) else { return };
        if let Some(second) = self.take_best(simd, window.low) {
            let [similarity, other] = exact.cosines(simd, [first, second]);
            self.offer(first, similarity);
            self.offer(second, other);
        } else {
            let [similarity] = exact.cosines(simd, [first]);
            self.offer(first, similarity);
        }
        self.raise_to_found(window);
        self.prune(simd, window.low);
    }

    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, candidates: Rows<'_>) {
        for &candidate in &self.candidates[..self.length] {
            prefetch_row(simd, candidates.row(candidate));
        }
    }

    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window) {
        while self.length > 0 {
            self.score_best(simd, exact, window);
        }
    }

    fn length(&self) -> usize {
        self.length
    }

    fn scored(&self) -> usize {
        self.scored
    }

    fn doubtful(&self) -> usize {
        self.doubtful
    }
}

impl Shortlist {
    /// Offers an exact similarity to the search.
    #[inline(always)]
    fn offer(&mut self, candidate: usize, similarity: f32) {
        self.scored += 1;
        // Pairs on the list are not excluded.
        self.search.offer(candidate, similarity, NoExclusion);
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
    fn prune<S: Simd>(&mut self, simd: S, low: f32) {
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
/// the best two pairs exactly, which raise the window the most. Where the budget is spent, the list may stay full.
struct MakeRoom<'a> {
    shortlist: &'a mut Shortlist,
    exact: &'a ExactRow<'a>,
    window: &'a mut Window,
    budget: &'a mut PairBudget,
}

impl WithSimd for MakeRoom<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { shortlist, exact, window, budget } = self;
        shortlist.prune(simd, window.low);
        while shortlist.length > CAPACITY / 2 && budget.allows(shortlist.scored) {
            let before = shortlist.scored;
            shortlist.score_best(simd, exact, window);
            budget.spend(shortlist.scored - before);
        }
    }
}
