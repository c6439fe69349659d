//! The list of a row of which the k closest negatives are wanted.

use super::cost::PairBudget;
use super::lower_ends::LowerEnds;
use super::prefetch::prefetch_row;
use super::shortlist::{CertainLimits, OpenRow, RowList, ScreenUnits, raise};
use super::tile::{Intervals, Window};
use crate::arch::{Simd, WithSimd};
use crate::error::{Error, Side};
use crate::exact::ExactRow;
use crate::memory::grow;
use crate::row_stats::{Admissible, ClosestList, Exclusion, NoExclusion, Search};
use crate::rows::Rows;

/// Pairs for which there is room beside a multiple of k: an interval of bytes leaves some tens.
const SPARE: usize = 64;

/// Pairs that are computed exactly together. They hide each other's latency.
const GROUP: usize = 4;

/// Pairs whose rows are fetched ahead of those that are computed.
const AHEAD: usize = 8;

/// How many pairs there is room for: so many that pairs are seldom dropped, and few enough that a block of rows stays
/// in the cache.
fn capacity(k: usize) -> usize {
    k.saturating_mul(4).saturating_add(SPARE)
}

/// The list of a row of which the k closest negatives are wanted.
///
/// The bound b below which no pair is wanted is the k-th largest of the lower ends of all pairs that qualify for
/// certain, or, if that is larger, of the similarities that were computed: k candidates are at least as similar, also
/// those whose pairs are no longer on the list.
#[derive(Debug)]
pub(crate) struct NeighbourList {
    limits: CertainLimits,
    units: ScreenUnits,
    search: ClosestList,
    k: usize,
    /// Room for the pairs that the screen could not rule out, `first..end` of which are there.
    pairs: Vec<Pair>,
    /// How many of the places a call may use.
    room: usize,
    first: usize,
    end: usize,
    lower: LowerEnds,
    scored: usize,
    doubtful: usize,
    given_up_at: usize,
}

/// A pair that may matter.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    upper: f32,
    candidate: usize,
}

impl Default for NeighbourList {
    fn default() -> NeighbourList {
        NeighbourList {
            limits: CertainLimits { above: f32::NEG_INFINITY, up_to: f32::INFINITY },
            units: ScreenUnits { unit: 1.0, shift: 0.0 },
            search: ClosestList::default(),
            k: 0,
            pairs: Vec::new(),
            room: 0,
            first: 0,
            end: 0,
            lower: LowerEnds::default(),
            scored: 0,
            doubtful: 0,
            given_up_at: usize::MAX,
        }
    }
}

impl RowList for NeighbourList {
    type Search = ClosestList;

    fn wanted(&self) -> usize {
        self.k
    }

    #[inline(always)]
    fn search(&mut self) -> &mut ClosestList {
        &mut self.search
    }

    fn restart(&mut self, admissible: Admissible) {
        self.search.open(admissible, self.k);
    }

    fn open(&mut self, admissible: Admissible, units: ScreenUnits, longest: f32) -> Window {
        let (limits, window) = CertainLimits::open(admissible, units, longest);
        self.limits = limits;
        self.units = units;
        self.search.open(admissible, self.k);
        (self.first, self.end) = (0, 0);
        self.lower.open(self.k);
        self.scored = 0;
        self.doubtful = 0;
        self.given_up_at = usize::MAX;
        window
    }

    fn given_up_at(&self) -> usize {
        self.given_up_at
    }

    fn candidates(&self) -> impl Iterator<Item = usize> {
        self.pairs[self.first..self.end].iter().map(|pair| pair.candidate)
    }

    fn leave_to_tiles<S: Simd>(&mut self, _simd: S, first: usize) {
        self.search.forget_from(first);
        self.keep(|pair| pair.candidate < first);
    }

    fn raise_to_found(&mut self, window: &mut Window) {
        raise(window, self.units.of(self.search.bar()));
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
        let present = width.min(exact.others.count() - first);
        let mut hits = window.hits(simd, upper) & (u64::MAX >> (64 - present));
        hits &= !exclusion.among(first, hits);
        while hits != 0 {
            let lane = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            let (upper, lower) = (upper[lane], lower[lane]);
            // The bound may have risen since the hits were found; and what lies above the limit does not qualify.
            if upper < window.low || lower > self.limits.up_to {
                continue;
            }
            if upper > self.limits.up_to || lower <= self.limits.above {
                self.doubtful += 1;
            } else {
                raise(window, self.lower.add(lower));
            }
            if self.end == self.room {
                simd.run(MakeRoom { list: self, exact, window, budget });
                if self.end == self.room {
                    self.given_up_at = first + lane;
                    window.close();
                    return;
                }
            }
            self.pairs[self.end] = Pair { upper, candidate: first + lane };
            self.end += 1;
        }
    }

    /// Moves the k pairs to the front that may be the most similar. All of them must be computed: the k closest have
    /// upper ends above the similarity of the last of them, so that the k largest upper ends are.
    #[inline(always)]
    fn close<S: Simd>(&mut self, simd: S, window: &mut Window) {
        simd.run(Close { list: self, window });
    }

    #[inline(always)]
    fn prefetch_best<S: Simd>(&self, simd: S, candidates: Rows<'_>) {
        self.prefetch(simd, candidates);
    }

    /// Computes the best k pairs.
    #[inline(always)]
    fn score_best<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window) {
        simd.run(ScoreBest { list: self, exact, window });
    }

    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, candidates: Rows<'_>) {
        for pair in self.pairs[self.first..self.end].iter().take(AHEAD) {
            prefetch_row(simd, candidates.row(pair.candidate));
        }
    }

    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window) {
        simd.run(Finish { list: self, exact, window });
    }

    fn length(&self) -> usize {
        self.end - self.first
    }

    fn scored(&self) -> usize {
        self.scored
    }

    fn doubtful(&self) -> usize {
        self.doubtful
    }
}

impl NeighbourList {
    /// Makes room for lists of the `k` closest, of so many candidates.
    pub(crate) fn grow(&mut self, k: usize, candidates: usize) -> Result<(), Error> {
        let room = capacity(k).min(candidates.saturating_add(SPARE));
        (self.k, self.room) = (k, room);
        self.search.grow(k)?;
        grow(&mut self.pairs, Side::Output, room, 1)?;
        self.lower.grow(k)
    }

    /// Raises the window to the bound, and drops the pairs below it.
    fn raise_to_bound(&mut self, window: &mut Window) {
        raise(window, self.lower.bound());
        self.prune(window.low);
    }

    /// Drops the pairs below the window.
    fn prune(&mut self, low: f32) {
        self.keep(|pair| pair.upper >= low);
    }

    /// Drops the pairs that are not wanted.
    fn keep(&mut self, is_wanted: impl Fn(Pair) -> bool) {
        let pairs = &mut self.pairs[self.first..self.end];
        let mut kept = 0;
        for at in 0..pairs.len() {
            pairs[kept] = pairs[at];
            kept += usize::from(is_wanted(pairs[at]));
        }
        self.end = self.first + kept;
    }

    /// Moves the `count` pairs to the front that may be the most similar, in any order.
    fn select(&mut self, count: usize) {
        let pairs = &mut self.pairs[self.first..self.end];
        if count < pairs.len() {
            pairs.select_nth_unstable_by(count, |one, other| other.upper.total_cmp(&one.upper));
        }
    }

    /// Sorts the pairs, those that may be the most similar first.
    fn sort(&mut self) {
        self.pairs[self.first..self.end].sort_unstable_by(|one, other| other.upper.total_cmp(&one.upper));
    }

    /// Computes the first `count` pairs, as far as they are there, and drops the rest that lie below the window then.
    #[inline(always)]
    fn score<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window, count: usize) {
        let last = self.end.min(self.first.saturating_add(count));
        while self.first < last {
            self.score_group(simd, exact, GROUP.min(last - self.first), last);
        }
        self.raise_to_found(window);
        self.prune(window.low);
    }

    /// Computes the pairs of a sorted list until one lies below the window, and with it all that follow.
    #[inline(always)]
    fn score_in_order<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window) {
        loop {
            let group = self.pairs[self.first..self.end].iter().take(GROUP);
            let wanted = group.take_while(|pair| pair.upper >= window.low).count();
            if wanted == 0 {
                break;
            }
            self.score_group(simd, exact, wanted, self.end);
            self.raise_to_found(window);
        }
        self.end = self.first;
    }

    /// Computes the first pairs, from 1 to `GROUP` of them, and fetches the rows of some that follow before `last`.
    #[inline(always)]
    fn score_group<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, count: usize, last: usize) {
        // A group beyond the last pair repeats that one.
        let mut group = [0; GROUP];
        for (at, candidate) in group.iter_mut().enumerate() {
            *candidate = self.pairs[self.first + at.min(count - 1)].candidate;
        }
        for pair in self.pairs[self.first..last].iter().skip(AHEAD).take(GROUP) {
            prefetch_row(simd, exact.others.row(pair.candidate));
        }
        let similarities = exact.cosines(simd, group);
        for (&candidate, &similarity) in group.iter().zip(&similarities).take(count) {
            self.search.offer(candidate, similarity, NoExclusion);
        }
        self.first += count;
        self.scored += count;
    }
}

/// Makes room on a full list: drops the pairs below the bound and, while that leaves less than half of the room free,
/// computes those exactly that may be the most similar, which raises the bound. Where the budget is spent, the list may
/// stay full.
struct MakeRoom<'a> {
    list: &'a mut NeighbourList,
    exact: &'a ExactRow<'a>,
    window: &'a mut Window,
    budget: &'a mut PairBudget,
}

impl WithSimd for MakeRoom<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { list, exact, window, budget } = self;
        list.raise_to_bound(window);
        while list.end > list.room / 2 && budget.allows(list.scored) {
            let count = list.end.div_ceil(4);
            list.select(count);
            list.score(simd, exact, window, count);
            budget.spend(count);
            list.pairs.copy_within(list.first..list.end, 0);
            (list.first, list.end) = (0, list.end - list.first);
        }
    }
}

/// Ends the screening of a row, as a function of its own.
struct Close<'a> {
    list: &'a mut NeighbourList,
    window: &'a mut Window,
}

impl WithSimd for Close<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        self.list.raise_to_bound(self.window);
        self.list.select(self.list.k);
    }
}

/// Computes the best k pairs, as a function of its own.
struct ScoreBest<'a> {
    list: &'a mut NeighbourList,
    exact: &'a ExactRow<'a>,
    window: &'a mut Window,
}

impl WithSimd for ScoreBest<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { list, exact, window } = self;
        list.score(simd, exact, window, list.k);
        list.sort();
    }
}

/// Computes what is left of a row, as a function of its own.
struct Finish<'a> {
    list: &'a mut NeighbourList,
    exact: &'a ExactRow<'a>,
    window: &'a mut Window,
}

impl WithSimd for Finish<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.list.score_in_order(simd, self.exact, self.window);
    }
}
