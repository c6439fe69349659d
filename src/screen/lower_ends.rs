//! The k-th largest of many numbers that come one by one, the lower ends of a row's intervals: the wanted negatives reach
//! it.

use crate::error::{Error, Side};
use crate::memory::{bytes_of, grow};

/// Up to this k every number finds its place among the k largest at once, so that the k-th largest rules out pairs of the
/// same panel. For a larger k that takes longer than the pairs that it rules out: numbers are collected, and sorted out
/// when there are 2 k of them.
const MOST_IN_HEAP: usize = 32;

/// The k largest numbers that were added, and perhaps some more.
#[derive(Debug, Default)]
pub(super) struct LowerEnds {
    /// Up to [`MOST_IN_HEAP`], k places as a heap whose root is the smallest; those that are free hold negative
    /// infinity. Above it, the k largest of those that were sorted out, and behind them those that came since.
    numbers: Vec<f32>,
    k: usize,
    length: usize,
    /// The k-th largest of the numbers that were sorted out.
    bound: f32,
}

impl LowerEnds {
    /// Makes room for the `k` largest.
    pub(super) fn grow(&mut self, k: usize) -> Result<(), Error> {
        grow(&mut self.numbers, Side::Output, k, 2).map(|_| ())
    }

    pub(super) fn bytes(&self) -> usize {
        bytes_of(&self.numbers)
    }

    /// Starts anew, for the `k` largest, at least one. There is room for them.
    pub(super) fn open(&mut self, k: usize) {
        (self.k, self.length, self.bound) = (k, 0, f32::NEG_INFINITY);
        if k <= MOST_IN_HEAP {
            self.numbers[..k].fill(f32::NEG_INFINITY);
        }
    }

    /// Adds a number. Returns the k-th largest as far as it is known, which is at most the k-th largest of all, and negative
    /// infinity as long as there are fewer.
    pub(super) fn add(&mut self, number: f32) -> f32 {
        if number > self.bound {
            if self.k <= MOST_IN_HEAP {
                self.replace_root(number);
            } else {
                self.numbers[self.length] = number;
                self.length += 1;
                if self.length == 2 * self.k {
                    self.sort_out();
                }
            }
        }
        self.bound
    }

    /// The k-th largest number.
    pub(super) fn kth_largest(&mut self) -> f32 {
        if self.k > MOST_IN_HEAP && self.length >= self.k {
            self.sort_out();
        }
        self.bound
    }

    /// Puts a number in the place of the smallest of the k largest.
    fn replace_root(&mut self, number: f32) {
        let heap = &mut self.numbers[..self.k];
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child + 1 < heap.len() && heap[child + 1] < heap[child] {
                child += 1;
            }
            if child >= heap.len() || heap[child] >= number {
                break;
            }
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = number;
        self.bound = heap[0];
    }

    /// Finds the k largest numbers.
    fn sort_out(&mut self) {
        let numbers = &mut self.numbers[..self.length];
        let (_, bound, _) = numbers.select_nth_unstable_by(self.k - 1, |one, other| other.total_cmp(one));
        self.bound = *bound;
        self.length = self.k;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::Random;

    #[test]
    fn the_kth_largest() {
        let random = &mut Random(1);
        let mut ends = LowerEnds::default();
        for k in [1, 2, 3, 10, MOST_IN_HEAP, MOST_IN_HEAP + 1, 100] {
            ends.grow(k).unwrap();
            ends.open(k);
            let mut all: Vec<f32> = Vec::new();
            for turn in 0..500 {
                let number = if turn % 5 == 0 { 0.25 } else { random.unit() };
                let bound = ends.add(number);
                all.push(number);
                all.sort_by(|one, other| other.total_cmp(one));
                let expected = all.get(k - 1).copied().unwrap_or(f32::NEG_INFINITY);
                assert!(bound <= expected, "k {k}, {turn} numbers");
                if turn % 7 == 0 || k <= MOST_IN_HEAP {
                    assert_eq!(ends.kth_largest(), expected, "k {k}, {turn} numbers");
                }
            }
        }
    }
}
