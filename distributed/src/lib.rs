//! [`hardneg`] over the processes of an MPI job: the loss of a batch spread over the ranks with its gradients, bit for
//! bit as one process computes them.
//!
//! ```no_run
//! use hardneg::TripletLoss;
//! use hardneg_mpi::{Ranks, Shard, ShardGradients};
//!
//! let universe = mpi::initialize().expect("MPI is not initialised yet");
//! let mut ranks = Ranks::new(&universe.world());
//! // Every rank has some of the pairs, here one more than the rank before.
//! let rows = ranks.rank() + 1;
//! let (anchors, positives) = (vec![1.0; rows * 64], vec![0.5; rows * 64]);
//! let (mut by_anchors, mut by_positives) = (vec![0.0; rows * 64], vec![0.0; rows * 64]);
//! let gradients = ShardGradients::new(&mut by_anchors, &mut by_positives);
//! let shard = Shard::paired(&anchors, &positives, 64);
//! let loss = ranks.forward_backward(&TripletLoss::new(), shard, gradients)?.loss();
//! // The same on every rank: the loss of all pairs.
//! println!("{}", loss.loss);
//! # Ok::<(), hardneg_mpi::Error>(())
//! ```

mod agreement;
mod corpus;
mod error;
mod loss;
mod mined;
mod mining;
mod piece;
mod queries;
mod ranks;
mod shard;
mod stats;
mod transport;

pub use corpus::Corpus;
pub use error::{Error, Setting};
pub use loss::ShardForward;
pub use mined::ShardMined;
pub use queries::Queries;
pub use ranks::Ranks;
pub use shard::{Shard, ShardGradients};
pub use transport::Traffic;
