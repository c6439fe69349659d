//! The list of a row of which the k closest negatives are wanted.

use super::prefetch::prefetch_row;
use super::shortlist::{CertainLimits, RowList, ScreenUnits, raise};
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

/// How many pairs there is room for: so many that the bound is found anew seldom, and few enough that a block of rows
/// stays in the cache.
fn capacity(k: usize) -> usize {
    k.saturating_mul(4).saturating_add(SPARE)
}

/// The list of a row of which the k closest negatives are wanted.
///
/// The bound b below which no pair is wanted is the k-th largest of the lower ends of pairs that qualify for certain and
/// of the similarities that were computed. It is found anew when the list is full, and when it is over; between, the
/// list takes what reaches the bound that was found last. A pair that is dropped lies below the bound, so that the list
/// always holds all pairs that the bound depends on.
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
    /// The length with which the bound is found anew.
    full: usize,
    /// Room for the numbers of which the k-th largest is the bound.
    ends: Vec<f32>,
    scored: usize,
    doubtful: usize,
    hopeless: bool,
}

/// A pair that may matter.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    upper: f32,
    /// The lower end of the interval, or negative infinity where the pair may not qualify.
    lower: f32,
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
            full: 0,
            ends: Vec::new(),
            scored: 0,
            doubtful: 0,
            hopeless: false,
        }
    }
}

impl RowList for NeighbourList {
    type Search = ClosestList;

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
        self.full = self.step();
        self.scored = 0;
        self.doubtful = 0;
        self.hopeless = false;
        window
    }

    fn give_up(&mut self) -> Window {
        (self.first, self.end) = (0, 0);
        self.hopeless = true;
        Window::CLOSED
    }

    fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    #[inline(always)]
    fn add<S: Simd>(
        &mut self,
        simd: S,
        exact: &ExactRow<'_>,
        window: &mut Window,
        first: usize,
        intervals: Intervals<'_>,
        exclusion: impl Exclusion,
    ) {
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
            let is_certain = upper <= self.limits.up_to && lower > self.limits.above;
            self.doubtful += usize::from(!is_certain);
            if self.end == self.full {
                simd.run(MakeRoom { list: self, exact, window });
            }
            let lower = if is_certain { lower } else { f32::NEG_INFINITY };
            self.pairs[self.end] = Pair { upper, lower, candidate: first + lane };
            self.end += 1;
        }
    }

    /// Sorts the pairs, those that may be the most similar first.
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
        let most = self.k;
        simd.run(Score { list: self, exact, window, most });
    }

    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, candidates: Rows<'_>) {
        for pair in self.pairs[self.first..self.end].iter().take(AHEAD) {
            prefetch_row(simd, candidates.row(pair.candidate));
        }
    }

    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window) {
        simd.run(Score { list: self, exact, window, most: usize::MAX });
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
        grow(&mut self.ends, Side::Output, room.saturating_add(k), 1).map(|_| ())
    }

    /// How many pairs are added before the bound is found anew.
    fn step(&self) -> usize {
        self.room.min(self.k + 16)
    }

    /// Raises the window to the bound, and drops the pairs below it.
    fn tighten(&mut self, window: &mut Window) {
        let pairs = &mut self.pairs[self.first..self.end];
        let mut known = 0;
        for lower in pairs.iter().map(|pair| pair.lower).filter(|&lower| lower > f32::NEG_INFINITY) {
            self.ends[known] = lower;
            known += 1;
        }
        for found in self.search.found() {
            self.ends[known] = self.units.of(found.similarity);
            known += 1;
        }
        if known >= self.k {
            let ends = &mut self.ends[..known];
            let (_, bound, _) = ends.select_nth_unstable_by(self.k - 1, |one, other| other.total_cmp(one));
            raise(window, *bound);
        }
        let mut kept = 0;
        for at in 0..pairs.len() {
            pairs[kept] = pairs[at];
            kept += usize::from(pairs[at].upper >= window.low);
        }
        self.end = self.first + kept;
    }

    /// Sorts the pairs, those that may be the most similar first.
    fn sort(&mut self) {
        self.pairs[self.first..self.end].sort_unstable_by(|one, other| other.upper.total_cmp(&one.upper));
    }

    /// Computes the first pairs of a sorted list, at most about `most`, until one lies below the window, which drops all
    /// that follow.
    #[inline(always)]
    fn score<S: Simd>(&mut self, simd: S, exact: &ExactRow<'_>, window: &mut Window, most: usize) {
        let mut left = most;
        while left > 0 && self.first < self.end {
            let pairs = &self.pairs[self.first..self.end];
            let present = GROUP.min(pairs.len());
            // A group beyond the last pair repeats that one.
            let mut group = [0; GROUP];
            let mut wanted = 0;
            for (at, candidate) in group.iter_mut().enumerate() {
                let pair = pairs[at.min(present - 1)];
                *candidate = pair.candidate;
                wanted += usize::from(at < present && pair.upper >= window.low);
            }
            if wanted == 0 {
                break;
            }
            for pair in pairs.iter().skip(AHEAD).take(GROUP) {
                prefetch_row(simd, exact.others.row(pair.candidate));
            }
            let similarities = exact.cosines(simd, group);
            for (&candidate, &similarity) in group.iter().zip(&similarities).take(wanted) {
                self.search.offer(candidate, similarity, NoExclusion);
            }
            self.first += wanted;
            self.scored += wanted;
            left = left.saturating_sub(wanted);
            raise(window, self.units.of(self.search.bar()));
        }
        let left = &self.pairs[self.first..self.end];
        self.end = self.first + left.partition_point(|pair| pair.upper >= window.low);
    }
}

/// Makes room on a full list: finds the bound and, while the pairs that reach it leave less than half of the room free,
/// computes those exactly that may be the most similar, which raises the bound.
struct MakeRoom<'a> {
    list: &'a mut NeighbourList,
    exact: &'a ExactRow<'a>,
    window: &'a mut Window,
}

impl WithSimd for MakeRoom<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { list, exact, window } = self;
        list.tighten(window);
        while list.end > list.room / 2 {
            list.sort();
            list.score(simd, exact, window, list.length().div_ceil(4));
            list.pairs.copy_within(list.first..list.end, 0);
            (list.first, list.end) = (0, list.end - list.first);
            list.tighten(window);
        }
        list.full = list.room.min(list.end + list.step());
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
        self.list.tighten(self.window);
        self.list.sort();
    }
}

/// Computes pairs, as a function of its own.
struct Score<'a> {
    list: &'a mut NeighbourList,
    exact: &'a ExactRow<'a>,
    window: &'a mut Window,
    most: usize,
}

impl WithSimd for Score<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.list.score(simd, self.exact, self.window, self.most);
    }
}
