//! The search for the closest negatives of a row: for one, and for several.

use super::admissible::Admissible;
use super::exclusion::{NegativeRules, RowRule};
use super::neighbour::{ClosestNegative, Neighbour};
use crate::arch::in_range;
use crate::error::{Error, Side};
use crate::kernels::RowSimilarities;
use crate::memory::{bytes_of, grow};

/// The search for the closest negatives of a row: offer every candidate that may be one, in any order.
pub(crate) trait Search {
    /// The similarities that qualify.
    fn admissible(&self) -> Admissible;

    /// The similarity of the last candidate that is kept, once there are enough, and negative infinity until then: a
    /// candidate that is less similar does not enter, and one that is as similar enters if its index is lower.
    fn entry_similarity(&self) -> f32;

    /// Puts a candidate that qualifies among those found, if it precedes one of them or there are too few.
    fn put(&mut self, found: Neighbour);

    /// Forgets those found from candidate `first` on, which will be offered again.
    fn forget_from(&mut self, first: usize);

    /// The candidates found so far, the closest first. The search ends with it.
    fn sorted(&mut self) -> &[Neighbour];

    /// Considers candidate `index`, which is a negative: its similarity must qualify, and it must precede one that was
    /// found.
    fn offer_negative(&mut self, index: usize, similarity: f32) {
        if similarity >= self.entry_similarity() && self.admissible().admits(similarity) {
            self.put(Neighbour { index, similarity });
        }
    }

    /// Considers candidate `index`, if it is a negative.
    fn offer(&mut self, index: usize, similarity: f32, rule: &RowRule<'_>) {
        let may_enter = similarity >= self.entry_similarity() && self.admissible().admits(similarity);
        if may_enter && !rule.excludes(index) {
            self.put(Neighbour { index, similarity });
        }
    }

    /// Considers a run of candidates, the first of which is `first`, as far as they are negatives of row `row`.
    fn offer_run(&mut self, first: usize, run: RowSimilarities<'_>, rules: &NegativeRules<'_>, row: usize) {
        let rule = rules.row(row);
        for (index, &similarity) in run.values.iter().enumerate() {
            self.offer(first + index, similarity, &rule);
        }
    }
}

/// The search for a row's closest negative.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClosestSearch {
    admissible: Admissible,
    /// The closest that was found; its similarity is negative infinity where there is none yet.
    closest: Neighbour,
}

impl ClosestSearch {
    /// A search in no row.
    pub(crate) const EMPTY: ClosestSearch = ClosestSearch::new(Admissible::ALL);

    /// A search among the candidates with these similarities.
    #[inline(always)]
    pub(crate) const fn new(admissible: Admissible) -> ClosestSearch {
        ClosestSearch { admissible, closest: Neighbour { index: usize::MAX, similarity: f32::NEG_INFINITY } }
    }

    /// Considers what a search of other candidates in the same row has found.
    #[inline(always)]
    pub(crate) fn merge(&mut self, other: &ClosestSearch) {
        if other.found().is_some() {
            self.put(other.closest);
        }
    }

    /// The closest negative among the candidates offered so far.
    #[inline(always)]
    pub(crate) fn found(&self) -> Option<ClosestNegative> {
        let Neighbour { index, similarity } = self.closest;
        (similarity > f32::NEG_INFINITY).then_some(ClosestNegative { index, similarity })
    }
}

impl Default for ClosestSearch {
    fn default() -> ClosestSearch {
        ClosestSearch::EMPTY
    }
}

impl Search for ClosestSearch {
    #[inline(always)]
    fn admissible(&self) -> Admissible {
        self.admissible
    }

    fn entry_similarity(&self) -> f32 {
        self.closest.similarity
    }

    #[inline(always)]
    fn put(&mut self, found: Neighbour) {
        if found.precedes(self.closest) {
            self.closest = found;
        }
    }

    fn forget_from(&mut self, first: usize) {
        if self.closest.index >= first {
            *self = ClosestSearch::new(self.admissible);
        }
    }

    fn sorted(&mut self) -> &[Neighbour] {
        let found = usize::from(self.found().is_some());
        &core::slice::from_ref(&self.closest)[..found]
    }

    /// The first negative with the largest similarity is the one, if there is one.
    fn offer_run(&mut self, first: usize, run: RowSimilarities<'_>, rules: &NegativeRules<'_>, row: usize) {
        if run.largest == f32::NEG_INFINITY {
            return;
        }
        // Not the largest itself is kept, which may be a zero of the other sign.
        let (quads, tail) = run.values.as_chunks::<4>();
        for (quad, values) in quads.iter().enumerate() {
            let best = in_range(values, run.largest, run.largest);
            if best != 0 {
                let first = first + 4 * quad;
                let negatives = best & !rules.among(row, first, best);
                if negatives != 0 {
                    let index = negatives.trailing_zeros() as usize;
                    return self.offer_negative(first + index, values[index]);
                }
            }
        }
        let (first, rule) = (first + 4 * quads.len(), rules.row(row));
        let best = |&(index, &similarity): &(usize, &f32)| similarity == run.largest && !rule.excludes(first + index);
        if let Some((index, &similarity)) = tail.iter().enumerate().find(best) {
            return self.offer_negative(first + index, similarity);
        }
        let first = first - 4 * quads.len();
        run.values.iter().enumerate().for_each(|(index, &similarity)| self.offer(first + index, similarity, &rule));
    }
}

/// The search for the k closest negatives of a row: a heap whose root is the one that every other one precedes.
#[derive(Debug)]
pub(crate) struct ClosestList {
    admissible: Admissible,
    /// Room for k candidates, the first `length` of which were found.
    heap: Vec<Neighbour>,
    k: usize,
    length: usize,
}

impl Default for ClosestList {
    fn default() -> ClosestList {
        ClosestList { admissible: Admissible::ALL, heap: Vec::new(), k: 0, length: 0 }
    }
}

impl ClosestList {
    /// Makes room for `k` candidates.
    pub(crate) fn grow(&mut self, k: usize) -> Result<(), Error> {
        grow(&mut self.heap, Side::Output, k, 1).map(|_| ())
    }

    pub(crate) fn bytes(&self) -> usize {
        bytes_of(&self.heap)
    }

    /// Starts the search for the `k` closest, at least one, among the candidates with these similarities. There is room
    /// for them.
    pub(crate) fn open(&mut self, admissible: Admissible, k: usize) {
        (self.admissible, self.k, self.length) = (admissible, k, 0);
    }

    /// Moves a candidate up from the end of the heap.
    fn rise(&mut self, found: Neighbour) {
        let mut at = self.length;
        self.length += 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.heap[parent].precedes(found) {
                break;
            }
            self.heap[at] = self.heap[parent];
            at = parent;
        }
        self.heap[at] = found;
    }

    /// Puts a candidate in the place of the root, and moves it down.
    fn replace_root(&mut self, found: Neighbour) {
        let heap = &mut self.heap[..self.length];
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child + 1 < heap.len() && heap[child].precedes(heap[child + 1]) {
                child += 1;
            }
            if child >= heap.len() || !found.precedes(heap[child]) {
                break;
            }
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = found;
    }
}

impl Search for ClosestList {
    #[inline(always)]
    fn admissible(&self) -> Admissible {
        self.admissible
    }

    fn entry_similarity(&self) -> f32 {
        if self.length < self.k { f32::NEG_INFINITY } else { self.heap[0].similarity }
    }

    #[inline(always)]
    fn put(&mut self, found: Neighbour) {
        if self.length < self.k {
            self.rise(found);
        } else if found.precedes(self.heap[0]) {
            self.replace_root(found);
        }
    }

    fn forget_from(&mut self, first: usize) {
        let found = core::mem::take(&mut self.length);
        for at in 0..found {
            // What was kept so far stands before it.
            if self.heap[at].index < first {
                self.rise(self.heap[at]);
            }
        }
    }

    fn sorted(&mut self) -> &[Neighbour] {
        let found = self.length;
        // The root goes behind what is left of the heap, again and again.
        while let Some(last @ 1..) = self.length.checked_sub(1) {
            (self.length, self.heap[0], self.heap[last]) = (last, self.heap[last], self.heap[0]);
            self.replace_root(self.heap[0]);
        }
        self.length = found;
        &self.heap[..found]
    }
}

#[cfg(test)]
mod tests {
    use super::super::exclusion::RowRule;
    use super::*;
    use crate::common::Random;

    /// Candidates from some index on are forgotten and offered again, some of them as new ones.
    #[test]
    fn a_list_forgets_the_last_candidates() {
        let random = &mut Random(3);
        for (k, first) in [(1, 40), (2, 0), (3, 75), (10, 10), (10, 140), (64, 75), (200, 75)] {
            let mut similarities: Vec<f32> = (0..150).map(|_| (random.unit() * 8.0).round() / 8.0).collect();
            // The first one that is forgotten is in every list.
            similarities[first] = 2.0;
            let [mut once, mut twice] = [(); 2].map(|()| {
                let mut list = ClosestList::default();
                list.grow(k).unwrap();
                list.open(Admissible::ALL, k);
                list
            });
            for (index, &similarity) in similarities.iter().enumerate() {
                once.offer(index, similarity, &RowRule::positive_alone(7));
                // Until they are forgotten, only every other one was found.
                if index <= first || index % 2 == 0 {
                    twice.offer(index, similarity, &RowRule::positive_alone(7));
                }
            }
            twice.forget_from(first);
            for (index, &similarity) in similarities.iter().enumerate().skip(first) {
                twice.offer(index, similarity, &RowRule::positive_alone(7));
            }
            assert_eq!(once.sorted(), twice.sorted(), "k {k}, from {first} on");
        }
    }

    #[test]
    fn a_list_keeps_the_closest() {
        let random = &mut Random(2);
        for k in [1, 2, 3, 10, 64, 200] {
            let mut list = ClosestList::default();
            list.grow(k).unwrap();
            for turn in 0..3 {
                list.open(Admissible { low: -0.5, high: 0.5 }, k);
                let steps = [4.0, 1e6, 16.0][turn];
                let mut all = Vec::new();
                for index in 0..150 {
                    let similarity = (random.unit() * steps).round() / steps;
                    list.offer(index, similarity, &RowRule::positive_alone(7));
                    all.push(Neighbour { index, similarity });
                }
                all.retain(|pair| pair.similarity.abs() <= 0.5 && pair.index != 7);
                all.sort_by(|x, y| y.similarity.partial_cmp(&x.similarity).unwrap());
                all.truncate(k);
                assert_eq!(list.sorted(), all, "k {k}");
            }
        }
    }
}
