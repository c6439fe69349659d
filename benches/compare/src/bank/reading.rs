//! How fast memory is read: the least time of one anchor, which needs every panel once.

use std::hint::black_box;

use crate::common::Call;
use crate::rivals::{Loop, vectorised};

/// A call that reads a buffer of so many bytes.
pub(super) fn call(bytes: usize) -> Call<'static> {
    let words: Vec<u64> = (0..bytes.div_ceil(size_of::<u64>()) as u64).collect();
    Box::new(move || _ = black_box(vectorised(Sum(black_box(&words)))))
}

/// The sum of all words: additions that are faster than any memory.
struct Sum<'a>(&'a [u64]);

impl Loop for Sum<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> u64 {
        /// Eight of the widest registers, so that no addition waits for the one before.
        const SUMS: usize = 64;
        let (blocks, tail) = self.0.as_chunks::<SUMS>();
        let mut sums = [0_u64; SUMS];
        for block in blocks {
            for lane in 0..SUMS {
                sums[lane] = sums[lane].wrapping_add(block[lane]);
            }
        }
        sums.iter().chain(tail).fold(0, |sum, &word| sum.wrapping_add(word))
    }
}
