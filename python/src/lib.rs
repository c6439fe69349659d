//! The Python package `hardneg`: arguments from Python as slices, the crate's calls without the GIL, and results as
//! NumPy arrays.
//!
//! | module | |
//! |---|---|
//! | `loss`, `result` | the loss of a batch, with and without gradients |
//! | `mine`, `pieces` | mining, in pieces between which signals are looked at |
//! | `bank` | candidates that are prepared once |
//! | `similarity` | similarities, and the original triplet loss |
//! | `arrays`, `lists`, `excluded`, `duplicates` | arguments |
//! | `pools` | workspaces and threads, which outlive a call |
//! | `errors` | exceptions |

mod arrays;
mod bank;
mod duplicates;
mod errors;
mod excluded;
mod lists;
mod loss;
mod mine;
mod pieces;
mod pools;
mod result;
mod similarity;

/// The compiled part of the package.
#[pyo3::pymodule(gil_used = true)]
mod _hardneg {
    #[pymodule_export]
    use crate::bank::Bank;
    #[pymodule_export]
    use crate::loss::{triplet_loss, triplet_loss_and_gradients};
    #[pymodule_export]
    use crate::mine::{Mined, mine};
    #[pymodule_export]
    use crate::result::{TripletLossGradients, TripletLossResult};
    #[pymodule_export]
    use crate::similarity::{backend, cosine_similarity, original_triplet_loss};
}
