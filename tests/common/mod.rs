//! What tests, benchmarks and fuzz targets share: batches, numbers, ways to run, and comparisons bit for bit. It is
//! included by path, and uses the public interface of the crate and the standard library alone.
#![allow(dead_code, unreachable_pub, unused_imports)] // Each user needs a part of it.

mod banks;
mod batch;
mod compare;
mod data;
mod excluding;
pub mod genome;
pub mod near_ties;
mod random;
mod ways;

pub use banks::bank_ways;
pub use batch::{OwnedBatch, Pairing};
pub use compare::{assert_forward, assert_lists, assert_loss, assert_rows, bits, check_forward, row_bits};
pub use data::{ALL_DATA, Data};
pub use excluding::{ALL_KINDS, Excluding, Kind};
pub use random::Random;
pub use ways::{ALL_NEGATIVES, ALL_REDUCTIONS, ALL_THREADS, miners, ways, ways_of_one_screen};
