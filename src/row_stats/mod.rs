//! The statistics of a row of similarities, and the rules that decide them. Who is a negative, ties, absence and hinges
//! are defined in this folder alone.

mod admissible;
mod exclusion;
mod neighbour;
mod search;
mod stats;

pub use admissible::Negatives;
pub(crate) use admissible::{Admissible, Thresholds};
pub(crate) use exclusion::{Excluded, NegativeRules, RowRule, SortedLists};
pub use neighbour::{ClosestNegative, Neighbour};
pub(crate) use search::{ClosestList, ClosestSearch, Search};
pub use stats::{RowStats, triplet_loss};
