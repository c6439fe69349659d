//! docs later

mod arch;
mod batch;
mod error;
mod join;
mod loss;
mod matrix;
mod mine;
mod prepare;
pub mod reference;
mod rows;
mod screen;
mod similarity;
mod stats;
mod sum;
mod workspace;

pub use arch::Backend;
pub use batch::{Batch, Positives};
pub use error::{Error, Side};
pub use loss::{Loss, Reduction, Threads, TripletLoss};
pub use matrix::SimilarityMatrix;
pub use similarity::{cosine_similarity, dot, norm, normalize_into, similarity_matrix_into};
pub use stats::{ClosestNegative, Negatives, RowStats, triplet_loss};
pub use workspace::Workspace;
