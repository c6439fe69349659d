//! The pairs of a row of which the k closest negatives are wanted.

use super::budget::PairBudget;
use super::lower_ends::LowerEnds;
use super::row_list::{Pairs, RowList};
use crate::error::{Error, Side};
use crate::exact::ExactRow;
use crate::kernels::{Window, prefetch_row};
use crate::memory::{bytes_of, grow};
use crate::row_stats::{Admissible, ClosestList};
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

/// The pairs that the screen could not rule out yet.
///
/// The lower end of the window is the k-th largest of the lower ends of all pairs that qualify for certain, or, if that is
/// larger, of the similarities that were computed: k candidates are at least as similar, also those whose pairs are no
/// longer on the list.
#[derive(Debug, Default)]
pub(crate) struct NeighbourList {
    k: usize,
    /// Room for pairs, `first..end` of which are there.
    pairs: Vec<Pair>,
    /// How many of the places a call may use.
    room: usize,
    first: usize,
    end: usize,
    lower: LowerEnds,
}

/// A pair that may matter.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    upper: f32,
    candidate: usize,
}

impl RowList<NeighbourList> {
    /// Makes room for the `k` closest, of so many candidates.
    pub(crate) fn grow(&mut self, k: usize, candidates: usize) -> Result<(), Error> {
        let (pairs, room) = (&mut self.pairs, capacity(k).min(candidates.saturating_add(SPARE)));
        (pairs.k, pairs.room) = (k, room);
        self.search.grow(k)?;
        grow(&mut pairs.pairs, Side::Output, room, 1)?;
        pairs.lower.grow(k)
    }

    /// The bytes of its pairs, their lower ends and the candidates that were found.
    pub(crate) fn bytes(&self) -> usize {
        bytes_of(&self.pairs.pairs) + self.pairs.lower.bytes() + self.search.bytes()
    }

    /// Raises the window to the k-th largest lower end, and drops the pairs below it.
    fn raise_to_lower_ends(&mut self, window: &mut Window) {
        window.raise(self.pairs.lower.kth_largest());
        self.pairs.prune(window.low);
    }

    /// Computes the first `count` pairs, as far as they are there, and drops the rest that lie below the window then.
    fn score(&mut self, exact: &ExactRow<'_>, window: &mut Window, count: usize) {
        let last = self.pairs.end.min(self.pairs.first.saturating_add(count));
        while self.pairs.first < last {
            self.score_group(exact, GROUP.min(last - self.pairs.first), last);
        }
        self.raise_to_found(window);
        self.pairs.prune(window.low);
    }

    /// Computes the first pairs, from 1 to `GROUP` of them, and fetches the rows of some that follow before `last`.
    fn score_group(&mut self, exact: &ExactRow<'_>, count: usize, last: usize) {
        // A group beyond the last pair repeats that one.
        let mut group = [0; GROUP];
        for (at, candidate) in group.iter_mut().enumerate() {
            *candidate = self.pairs.pairs[self.pairs.first + at.min(count - 1)].candidate;
        }
        for pair in self.pairs.pairs[self.pairs.first..last].iter().skip(AHEAD).take(GROUP) {
            prefetch_row(exact.candidates.rows.row(pair.candidate));
        }
        let similarities = exact.cosines(group);
        for (&candidate, &similarity) in group.iter().zip(&similarities).take(count) {
            self.offer(candidate, similarity);
        }
        self.pairs.first += count;
    }
}

impl NeighbourList {
    /// The pairs that are there.
    fn present(&self) -> &[Pair] {
        &self.pairs[self.first..self.end]
    }

    /// Drops the pairs for which `stays` is false.
    fn retain(&mut self, stays: impl Fn(Pair) -> bool) {
        let pairs = &mut self.pairs[self.first..self.end];
        let mut kept = 0;
        for at in 0..pairs.len() {
            pairs[kept] = pairs[at];
            kept += usize::from(stays(pairs[at]));
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
}

impl Pairs for NeighbourList {
    type Search = ClosestList;

    const WANTS_BEST: bool = false;

    fn fewest_scored(&self) -> usize {
        self.k
    }

    fn open(&mut self, search: &mut ClosestList, admissible: Admissible) {
        self.open_search(search, admissible);
        (self.first, self.end) = (0, 0);
        self.lower.open(self.k);
    }

    fn open_search(&self, search: &mut ClosestList, admissible: Admissible) {
        search.open(admissible, self.k);
    }

    fn length(&self) -> usize {
        self.end - self.first
    }

    fn is_full(&self) -> bool {
        self.end == self.room
    }

    fn candidates(&self) -> impl Iterator<Item = usize> {
        self.present().iter().map(|pair| pair.candidate)
    }

    fn reached_with(&mut self, lower: f32) -> f32 {
        self.lower.add(lower)
    }

    fn push(&mut self, upper: f32, candidate: usize) {
        self.pairs[self.end] = Pair { upper, candidate };
        self.end += 1;
    }

    fn prune(&mut self, low: f32) {
        self.retain(|pair| pair.upper >= low);
    }

    fn forget_from(&mut self, first: usize) {
        self.retain(|pair| pair.candidate < first);
    }

    #[cold]
    #[inline(never)]
    fn make_room(list: &mut RowList<Self>, exact: &ExactRow<'_>, window: &mut Window, budget: &mut PairBudget) {
        list.raise_to_lower_ends(window);
        while list.pairs.end > list.pairs.room / 2 && budget.allows(list.scored) {
            let count = list.pairs.end.div_ceil(4);
            list.pairs.select(count);
            list.score(exact, window, count);
            budget.spend(count);
            let NeighbourList { pairs, first, end, .. } = &mut list.pairs;
            pairs.copy_within(*first..*end, 0);
            (*first, *end) = (0, *end - *first);
        }
    }

    /// Moves the k pairs to the front that may be the most similar. All of them must be computed: the k closest have
    /// upper ends above the similarity of the last of them, so that the k largest upper ends are.
    fn close(list: &mut RowList<Self>, window: &mut Window) {
        list.raise_to_lower_ends(window);
        list.pairs.select(list.pairs.k);
    }

    /// Computes the best k pairs, and sorts the others.
    fn score_best(list: &mut RowList<Self>, exact: &ExactRow<'_>, window: &mut Window) {
        list.score(exact, window, list.pairs.k);
        list.pairs.sort();
    }

    /// Computes the pairs of the sorted list until one lies below the window, and with it all that follow.
    fn finish(list: &mut RowList<Self>, exact: &ExactRow<'_>, window: &mut Window) {
        loop {
            let group = list.pairs.present().iter().take(GROUP);
            let count = group.take_while(|pair| pair.upper >= window.low).count();
            if count == 0 {
                break;
            }
            list.score_group(exact, count, list.pairs.end);
            list.raise_to_found(window);
        }
        list.pairs.end = list.pairs.first;
    }

    fn prefetch_best(&self, candidates: Rows<'_>) {
        self.prefetch(candidates);
    }

    fn prefetch(&self, candidates: Rows<'_>) {
        for pair in self.present().iter().take(AHEAD) {
            prefetch_row(candidates.row(pair.candidate));
        }
    }
}
