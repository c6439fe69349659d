//! The modified triplet loss over batches of embeddings, with its hard negatives: exact, fused, without allocating, and
//! the same bits on every CPU.
//!
//! # What it computes
//!
//! There are two batches of embeddings: m *anchors* and n *candidates*. One candidate `p(i)` is the *positive* of
//! anchor `i`; every other candidate is a *negative* of it. In a paired batch m = n and `p(i) = i`. With the cosine
//! similarity `s_ij` of anchor `i` and candidate `j`:
//!
//! ```text
//! positive_i         = s_ip(i)
//! mean_negative_i    = mean of s_ij over j != p(i)
//! closest_negative_i = the largest s_ij over j != p(i) that qualifies; the lowest j where several are as large
//!
//! mean term_i        = max(mean_negative_i    - positive_i + margin, 0)
//! closest term_i     = max(closest_negative_i - positive_i + margin, 0)        0 where no negative qualifies
//! loss               = sum (or mean) over i of (mean term_i + closest term_i)
//! ```
//!
//! Which negatives qualify as the closest is the choice of [`Negatives`]: those less similar than the positive
//! (`Below`, the default: negatives harder than the positive are skipped), also those as similar (`AtOrBelow`), or all
//! of them (`Any`, batch-hard mining).
//!
//! # Shapes and units
//!
//! Embeddings are `f32`, row-major, one a row, `dim` elements each, in slices of `m * dim` and `n * dim` elements. They
//! may have any finite values and any length: similarities are cosines, so rows need not be normalised. Similarities
//! are `f32` from -1 to 1 (a rounding may exceed that); the margin has their unit. The terms and the loss are `f64`.
//!
//! # Example
//!
//! ```
//! use hardneg::{Batch, Negatives, Positives, TripletLoss, Workspace};
//!
//! let anchors = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
//! let positives = [0.8, 0.6, -0.6, 0.8, 0.0, 1.0];
//! let mut workspace = Workspace::new();
//!
//! // Paired: row i of one belongs to row i of the other.
//! let loss = TripletLoss::new().margin(0.25);
//! let forward = loss.forward(Batch::paired(&anchors, &positives, 2)?, &mut workspace)?;
//! assert!((forward.loss().loss - 0.37).abs() < 1e-6);
//! assert_eq!((forward.loss().active_mean, forward.loss().active_closest), (2, 1));
//!
//! // Row by row, without a copy. The third anchor is closer to the first candidate, which `Below` does not look at.
//! let third = forward.row_stats()[2];
//! assert_eq!(third.positive(), 0.8);
//! assert_eq!(third.closest_negative().map(|closest| closest.index()), Some(1));
//!
//! // Rectangular: one anchor, all three candidates, and the second of them as its positive.
//! let batch = Batch::new(&anchors[2..4], &positives, 2, Positives::Indices(&[1]))?;
//! let forward = loss.negatives(Negatives::Any).forward(batch, &mut workspace)?;
//! assert_eq!(forward.row_stats()[0].closest_negative().map(|closest| closest.index()), Some(2));
//! assert_eq!(forward.loss().active_closest, 1);
//! # Ok::<(), hardneg::Error>(())
//! ```
//!
//! # What is here
//!
//! | you want | see |
//! |---|---|
//! | the loss of a batch | [`TripletLoss::forward`], with a [`Batch`] and a [`Workspace`] |
//! | its gradients as well, or afterwards | [`TripletLoss::forward_backward`], [`Forward::backward`], [`Gradients`] |
//! | its terms and counts; the statistics of each row | [`Forward::loss`] and [`Loss`]; [`Forward::row_stats`] and [`RowStats`] |
//! | anchors in several calls; statistics from elsewhere | [`Positives::Offset`], [`TripletLoss::reduce`]; [`RowStats::new`] |
//! | candidates in several places; gradients of some rows | [`CandidateSum`], [`Neighbour::merge`]; [`TripletLoss::forward_from_row_stats`], [`Gradients::rows`] |
//! | candidates that are known before the call: a catalogue, a queue, a corpus | [`Bank`] with [`BankOptions`], [`Batch::against`] |
//! | totals of several batches | [`Loss`], which adds up |
//! | other positives than row `i` for row `i` | [`Batch::new`], [`Positives`] |
//! | negatives that are nobody's positive: a queue, a corpus | [`Positives::Outside`], [`Gradients::positives`] |
//! | false negatives left out: duplicates, further positives | [`Exclusions`], [`Batch::excluding`] |
//! | the loss from similarities you have already | [`TripletLoss::forward_from_similarities`], [`SimilarityMatrix`] |
//! | the similarity of two vectors, or all of two small batches | [`Backend::cosine_similarity`], [`Backend::similarity_matrix_into`] |
//! | its parts | [`Backend::dot`], [`Backend::norm`], [`Backend::normalize_into`] |
//! | top k: the rows of a [`Bank`] nearest to each query | [`Miner::mine`], with a [`MiningBatch::against`] it |
//! | hard negatives of a corpus: the k closest that qualify | [`Miner`], with a [`MiningBatch`]; [`Mined`], [`Neighbour`] |
//! | the original triplet loss | [`triplet_loss`] |
//! | a certain instruction set; several threads | [`Backend`]; [`Threads::Rayon`] |
//! | a certain screen, or none; counts of the work done | [`Screen`]; [`Forward::screening`] |
//! | options from text, and back | `FromStr` and `Display` of every option; [`ParseOptionError`] |
//! | what can go wrong | [`Error`], [`Side`] |
//! | `ndarray`, own ids, many requests on rayon, debug builds | [`recipes`] |
//! | the definition, as short and slow code | [`mod@reference`] |
//!
//! # The arithmetic
//!
//! Similarities decide which negative is chosen, and a comparison is not continuous: one unit in the last place of
//! difference between two code paths picks another negative, and moves the loss by as much as the margin. So similarity
//! has one definition, and every path returns exactly its bits:
//!
//! ```text
//! dot(x, y)      sum of f64(x_k) * f64(y_k) in f64. Element k goes to lane k mod 16 in ascending k; then the lanes are
//!                folded by halves: lane l takes lane l + 8, then l + 4, l + 2, l + 1. The product of two f32 is
//!                exact in f64, so that fused and unfused multiply-adds agree.
//! norm(x)        sqrt(dot(x, x)). No finite f32 row overflows or underflows it.
//! cosine(x, y)   f32(dot(x, y) / (norm(x) * norm(y))), and 0 where either norm is 0. Not clamped: a clamp makes ties.
//! ```
//!
//! Comparisons are made on those `f32` values. The mean needs no pairs: with V, the sum of all candidates scaled to
//! norm 1, it is `(dot(a_i, V) / norm(a_i) - s_ip) / (n - 1)`, all in `f64` and rounded once. [Excluded](Exclusions)
//! candidates are taken away from it: those of a label as their sum, whose dot product is subtracted from that with V,
//! listed ones each with its similarity, in ascending order. V is added up in blocks
//! of 192 candidates, the losses of the rows in blocks of 256 rows; a block is summed in ascending order, and the
//! blocks are combined as a fixed tree, neighbours first. None of it depends on the machine. The gradients are computed
//! in `f64` in an order as fixed, and rounded to `f32` once; [`Gradients`] says what splitting does to them.
//!
//! LANES = 16 and the two block sizes are part of the definition, and frozen: other values would be other results.
//! [`mod@reference`] is the same in code.
//!
//! Computing every pair of a large batch that way would be slow. So the pairs are looked at first in `f32`, or in
//! integers that the rows are rounded to. That is a *screen*: it has a proven bound on its error, and only rules out
//! pairs that by this bound cannot be the closest negative of their row. What survives is computed by the definition.
//! The screen changes the time, never the answer; [`Screen`] says which pays when, and [`Screen::Auto`], the default,
//! chooses by itself.
//!
//! # Promises
//!
//! * **The same bits everywhere.** The same input gives the same bits on every [`Backend`], with every [`Screen`], on
//!   any number of threads, and for every way of splitting the anchors into calls. (Gradients of candidates are sums
//!   over anchors: split over calls they round more often.) Programs that flush subnormals or round another way get
//!   them, too: on x86 and 64-bit Arm a call computes in the default floating-point environment on every thread that it
//!   uses, and restores what was set. ([`reference`](mod@reference) computes in what is set.)
//! * **The n x m matrix never exists.** Every tile of it is reduced on the spot.
//! * **NaN never becomes a number.** A hinge made of `f32::max` turns NaN into 0; here NaN and infinity in an input are
//!   errors, and [`triplet_loss`], which has no error, returns NaN for NaN.
//! * **Nothing stands for something else.** A row in which no negative qualifies has `None`, not a number that can leak
//!   into a loss.
//!
//! # Errors
//!
//! Calls that can fail return an [`Error`], which names the side and, where there is one, the row. It is decided before
//! anything is written to a buffer of the caller. Refused are: lengths that are not a whole number of rows, that
//! disagree, or whose product overflows; `dim` 0, no anchors, no candidates, or a single candidate that is the
//! positive; a positive that is not among the candidates; labels and lists of [`Exclusions`] that do not fit; NaN and
//! infinity in a row or as the margin; gradient buffers or weights of another length than the batch asks for, and
//! weights that are not finite; rows that a [`Bank`] does not have; similarities of a [`SimilarityMatrix`],
//! [`RowStats::new`] and [`ClosestNegative::new`] that are not finite; and shapes for which there is no memory. A zero
//! row is no error: its similarities are 0, and it is counted in the [`Loss`]. A backward pass is a method of its
//! forward pass, so that it cannot be that of another.
//!
//! # Allocation
//!
//! A [`Workspace`] owns all scratch memory. Its size grows with the number of rows, not with the number of pairs; it
//! grows when a larger shape arrives, and what it held before never matters. After the first call of a shape, a serial
//! call with the same screen and backend allocates nothing; nor does a call against a [`Bank`], from any thread with a
//! workspace of its own. On several threads this crate allocates nothing either, but
//! entering a rayon pool from a thread outside of it makes rayon's own queue allocate a block every 63 entries.
//!
//! # Threads
//!
//! A call runs on the calling thread, unless [`Threads::Rayon`] is chosen: then on rayon's ambient pool, which is the
//! pool the call is made in or else the global one. Calls too small to gain from others stay on the calling thread by
//! themselves. A server whose requests are spread over threads already keeps the default, with one workspace a thread.
//!
//! # Features
//!
//! * `rayon` (default): the dependency behind [`Threads::Rayon`]. Without it that option runs on the calling thread,
//!   with the same results. No default depends on a feature.
//! * `serde` (off by default): `Serialize` and `Deserialize` of [`Loss`], [`RowStats`], [`ClosestNegative`],
//!   [`Neighbour`] and [`Screening`], and of the options [`Negatives`], [`Reduction`], [`Threads`], [`Screen`] and
//!   [`Backend`] by their names. Statistics that are read are validated as their constructors do it, a neighbour's
//!   similarity as they are, and a backend is one that this CPU has.
//!
//! The minimum Rust version is 1.89.
//!
//! # Where the formula comes from
//!
//! The loss is that of the laboratory on siamese networks in the course "Natural Language Processing with Sequence
//! Models" (DeepLearning.AI). It extends the triplet loss of F. Schroff, D. Kalenichenko and J. Philbin, "FaceNet: A
//! Unified Embedding for Face Recognition and Clustering", CVPR 2015. The lab's code sets -2 where no negative
//! qualifies; here the term is 0 there. The two agree for every margin up to 1.

// What the tests share is written for users of the crate, of which its own tests are one.
#[cfg(test)]
extern crate self as hardneg;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

mod arch;
mod bank;
mod batch;
mod candidate_sum;
mod candidates;
mod error;
mod exact;
mod excluded;
mod exclusions;
mod forward;
mod gradient;
mod kernels;
mod loss;
mod memory;
mod mine;
mod miner;
mod mining_batch;
mod option_names;
mod parallel;
mod positives;
pub mod recipes;
mod reduction;
pub mod reference;
mod row_stats;
mod rows;
mod screen;
mod similarity_matrix;
mod workspace;

pub use arch::Backend;
pub use bank::{Bank, BankOptions};
pub use batch::Batch;
pub use candidate_sum::CandidateSum;
pub use error::{Error, Side};
pub use exclusions::Exclusions;
pub use forward::Forward;
pub use gradient::Gradients;
pub use loss::TripletLoss;
pub use miner::{Mined, MinedRows, Miner};
pub use mining_batch::{KnownPositives, MiningBatch, Predicate};
pub use option_names::ParseOptionError;
pub use parallel::Threads;
pub use positives::Positives;
pub use reduction::{Loss, Reduction};
pub use row_stats::{ClosestNegative, Negatives, Neighbour, RowStats, triplet_loss};
pub use screen::{Screen, Screening};
pub use similarity_matrix::{ForwardFromSimilarities, SimilarityMatrix};
pub use workspace::Workspace;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
