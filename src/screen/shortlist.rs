//! The pairs of a row of which the closest negative is wanted.

use super::budget::PairBudget;
use super::row_list::{Pairs, RowList};
use crate::arch::in_range;
use crate::exact::ExactRow;
use crate::kernels::{Window, prefetch_row};
use crate::row_stats::{Admissible, ClosestSearch};
use crate::rows::Rows;

/// Pairs that a shortlist holds before it must be pruned. With sums in `f32` random rows need about ln n places; with
/// bytes all that lies within an interval of the best, some tens. More room costs memory and a longer pass over it.
const CAPACITY: usize = 32;

/// The numbers that are looked at together.
const LANES: usize = 4;

/// The pairs that the screen could not rule out yet, in ascending order of candidates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortlist {
    /// The upper ends of their intervals, and negative infinity where there is none.
    upper: [f32; CAPACITY],
    candidates: [usize; CAPACITY],
    length: usize,
}

impl Default for Shortlist {
    fn default() -> Shortlist {
        Shortlist { upper: [f32::NEG_INFINITY; CAPACITY], candidates: [0; CAPACITY], length: 0 }
    }
}

impl Shortlist {
    /// Takes the candidate that may be the most similar off the list; none if all are below `low`, and then the list is
    /// empty.
    fn take_best(&mut self, low: f32) -> Option<usize> {
        let best = self.best()?;
        if self.upper[best] >= low {
            self.upper[best] = f32::NEG_INFINITY;
            Some(self.candidates[best])
        } else {
            self.prune(low);
            None
        }
    }

    /// Where the pair stands that may be the most similar.
    fn best(&self) -> Option<usize> {
        if self.length < 2 {
            return (self.length == 1 && self.upper[0] >= f32::MIN).then_some(0);
        }
        let best = largest(self.used());
        (best >= f32::MIN).then(|| in_range(self.used(), best, best).trailing_zeros() as usize)
    }

    /// The upper ends of the pairs, and perhaps some places without one: whole lanes of [`largest`].
    fn used(&self) -> &[f32] {
        &self.upper[..self.length.next_multiple_of(LANES)]
    }

    /// Keeps the pairs at these positions.
    fn retain_at(&mut self, mut positions: u64) {
        let (mut kept, length) = (0, self.length);
        while positions != 0 {
            let index = positions.trailing_zeros() as usize;
            positions &= positions - 1;
            self.candidates[kept] = self.candidates[index];
            self.upper[kept] = self.upper[index];
            kept += 1;
        }
        self.upper[kept..length].fill(f32::NEG_INFINITY);
        self.length = kept;
    }
}

/// The largest of some numbers, whole lanes of them, none of which is NaN.
fn largest(numbers: &[f32]) -> f32 {
    let larger = |one: f32, other: f32| if other > one { other } else { one };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for numbers in numbers.as_chunks::<LANES>().0 {
        for (lane, &number) in lanes.iter_mut().zip(numbers) {
            *lane = larger(*lane, number);
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, larger)
}

impl Pairs for Shortlist {
    type Search = ClosestSearch;

    const WANTS_BEST: bool = true;

    /// One pair or two, too few to count in a budget.
    fn fewest_scored(&self) -> usize {
        0
    }

    fn open(&mut self, search: &mut ClosestSearch, admissible: Admissible) {
        self.open_search(search, admissible);
        self.retain_at(0);
    }

    fn open_search(&self, search: &mut ClosestSearch, admissible: Admissible) {
        *search = ClosestSearch::new(admissible);
    }

    fn length(&self) -> usize {
        self.length
    }

    fn is_full(&self) -> bool {
        self.length == CAPACITY
    }

    fn candidates(&self) -> impl Iterator<Item = usize> {
        self.candidates[..self.length].iter().copied()
    }

    fn reached_with(&mut self, lower: f32) -> f32 {
        lower
    }

    fn push(&mut self, upper: f32, candidate: usize) {
        self.candidates[self.length] = candidate;
        self.upper[self.length] = upper;
        self.length += 1;
    }

    fn prune(&mut self, low: f32) {
        const { assert!(CAPACITY <= 64 && CAPACITY.is_multiple_of(LANES)) }
        self.retain_at(in_range(self.used(), low.max(f32::MIN), f32::INFINITY));
    }

    fn forget_from(&mut self, first: usize) {
        for (upper, &candidate) in self.upper.iter_mut().zip(&self.candidates[..self.length]) {
            *upper = if candidate < first { *upper } else { f32::NEG_INFINITY };
        }
        self.prune(f32::MIN);
    }

    #[cold]
    #[inline(never)]
    fn make_room(list: &mut RowList<Self>, exact: &ExactRow<'_>, window: &mut Window, budget: &mut PairBudget) {
        list.pairs.prune(window.low);
        while list.pairs.length > CAPACITY / 2 && budget.allows(list.scored) {
            let before = list.scored;
            Self::score_best(list, exact, window);
            budget.spend(list.scored - before);
        }
    }

    fn close(list: &mut RowList<Self>, window: &mut Window) {
        list.pairs.prune(window.low);
    }

    /// Computes the best two pairs, which hide each other's latency.
    fn score_best(list: &mut RowList<Self>, exact: &ExactRow<'_>, window: &mut Window) {
        let Some(first) = list.pairs.take_best(window.low) else { return };
        if let Some(second) = list.pairs.take_best(window.low) {
            let [similarity, other] = exact.cosines([first, second]);
            list.offer(first, similarity);
            list.offer(second, other);
        } else {
            let [similarity] = exact.cosines([first]);
            list.offer(first, similarity);
        }
        list.raise_to_found(window);
        list.pairs.prune(window.low);
    }

    fn finish(list: &mut RowList<Self>, exact: &ExactRow<'_>, window: &mut Window) {
        while list.pairs.length > 0 {
            Self::score_best(list, exact, window);
        }
    }

    fn prefetch_best(&self, candidates: Rows<'_>) {
        if let Some(index) = self.best() {
            prefetch_row(candidates.row(self.candidates[index]));
        }
    }

    fn prefetch(&self, candidates: Rows<'_>) {
        for &candidate in &self.candidates[..self.length] {
            prefetch_row(candidates.row(candidate));
        }
    }
}
