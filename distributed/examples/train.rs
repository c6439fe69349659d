//! `examples/train.rs` of the library over the ranks of a job: the projection of the sample's 256 real pairs is
//! trained, each rank with some of the pairs and some of the weights.
//!
//! ```text
//! mpirun -n 3 cargo run --release --example train
//! ```
//!
//! Every epoch a rank projects its own pairs, gets the loss of all pairs with the gradients of its own, gathers the
//! gradients of all, and takes the step for its own weights, which are gathered in turn. Rank 0 prints what one process
//! prints; it also trains alone, with all pairs, and checks that every weight has the same bits.

#[path = "../../examples/common/npy.rs"]
mod npy;
#[path = "../../examples/common/projection.rs"]
mod projection;

use std::error::Error;
use std::io::{self, Write};
use std::ops::Range;

use hardneg::{Batch, Gradients, Loss, Negatives, Reduction, RowStats, TripletLoss, Workspace};
use hardneg_mpi::{Ranks, Shard, ShardGradients};
use mpi::topology::{Communicator, SimpleCommunicator};
use npy::Embeddings;
use projection::{PROJECTED, Projection};

const EPOCHS: usize = 30;

fn main() {
    let universe = mpi::initialize().expect("MPI is not initialised yet");
    let mut ranks = Ranks::new(&universe.world());
    let mut out: Box<dyn Write> = if ranks.rank() == 0 { Box::new(io::stdout()) } else { Box::new(io::sink()) };
    if let Err(error) = train(&mut ranks, &mut out) {
        // Not `eprintln!`, which panics where nobody listens.
        let _ = writeln!(io::stderr(), "train: {error}");
        // Other ranks may wait for this one.
        SimpleCommunicator::world().abort(1);
    }
}

fn train(ranks: &mut Ranks, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (anchors, positives) = (npy::sample("anchors")?, npy::sample("positives")?);
    let dim = anchors.dim;
    // The rows of a rank, and those of the weights.
    let own = part(anchors.rows(), ranks);
    let weights = part(PROJECTED, ranks);
    let mut projection = Projection::random(dim);
    let mut trainer = Trainer::default();
    writeln!(out, "{} pairs of {dim} elements, projected to {PROJECTED}", anchors.rows())?;
    writeln!(out, "epoch      loss   active   nearest is the positive")?;
    for epoch in 0..=EPOCHS {
        let sides = [&anchors, &positives].map(|side| &side.values[own.start * dim..own.end * dim]);
        let (loss, nearest) = trainer.gradients(ranks, &projection, sides)?;
        let active = loss.active_mean + loss.active_closest;
        writeln!(out, "{epoch:5}  {:8.5}  {active:7}   {:5.1} %", loss.loss, 100.0 * nearest)?;
        trainer.step(ranks, &mut projection, [&anchors, &positives], weights.clone())?;
    }
    if ranks.rank() == 0 {
        let alone = train_alone(&anchors, &positives)?;
        let bits =
            |projection: &Projection| projection.weights.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>();
        assert!(bits(&projection) == bits(&alone), "the weights of one process are others");
    }
    Ok(())
}

/// The rows of this rank, of so many in all.
fn part(rows: usize, ranks: &Ranks) -> Range<usize> {
    rows * ranks.rank() / ranks.size()..rows * (ranks.rank() + 1) / ranks.size()
}

/// What is kept from epoch to epoch.
#[derive(Default)]
struct Trainer {
    /// The projected rows of this rank, their gradients, and the gradients of all ranks: of anchors, and of positives.
    projected: [Vec<f32>; 2],
    own: [Vec<f32>; 2],
    all: [Vec<f32>; 2],
    weights: Vec<f32>,
}

impl Trainer {
    /// The loss of all projected pairs and the share of anchors whose positive is the nearest candidate; leaves the
    /// gradients with respect to this rank's projected rows.
    fn gradients(
        &mut self,
        ranks: &mut Ranks,
        projection: &Projection,
        sides: [&[f32]; 2],
    ) -> Result<(Loss, f64), hardneg_mpi::Error> {
        for ((side, projected), own) in sides.iter().zip(&mut self.projected).zip(&mut self.own) {
            projection.apply(side, projected);
            own.resize(projected.len(), 0.0);
        }
        let [by_anchors, by_positives] = &mut self.own;
        let shard = Shard::paired(&self.projected[0], &self.projected[1], PROJECTED);
        let forward = ranks.forward_backward(&plan(), shard, ShardGradients::new(by_anchors, by_positives))?;
        Ok((forward.loss(), nearest(forward.all_row_stats())))
    }

    /// A step of this rank's weights by the gradients of all pairs, and then the weights of all ranks.
    fn step(
        &mut self,
        ranks: &mut Ranks,
        projection: &mut Projection,
        sides: [&Embeddings; 2],
        weights: Range<usize>,
    ) -> Result<(), hardneg_mpi::Error> {
        for (own, all) in self.own.iter().zip(&mut self.all) {
            ranks.gather_rows(own, PROJECTED, all)?;
        }
        let dim = sides[0].dim;
        let [by_anchors, by_positives] = &self.all;
        projection.step(&[(&sides[0].values, by_anchors), (&sides[1].values, by_positives)], weights.clone());
        ranks.gather_rows(&projection.weights[weights.start * dim..weights.end * dim], dim, &mut self.weights)?;
        projection.weights.copy_from_slice(&self.weights);
        Ok(())
    }
}

/// The hardest negative whatever the positive, so that a positive above it is the nearest candidate.
fn plan() -> TripletLoss {
    TripletLoss::new().negatives(Negatives::Any).reduction(Reduction::Mean)
}

/// The share of rows whose positive is more similar than every negative.
fn nearest(rows: &[RowStats]) -> f64 {
    let is_nearest =
        |row: &&RowStats| row.closest_negative().is_none_or(|closest| closest.similarity() < row.positive());
    rows.iter().filter(is_nearest).count() as f64 / rows.len() as f64
}

/// The same training by one process with all pairs.
fn train_alone(anchors: &Embeddings, positives: &Embeddings) -> Result<Projection, hardneg::Error> {
    let mut projection = Projection::random(anchors.dim);
    let (mut projected, mut workspace) = ([Vec::new(), Vec::new()], Workspace::new());
    for _ in 0..=EPOCHS {
        projection.apply(&anchors.values, &mut projected[0]);
        projection.apply(&positives.values, &mut projected[1]);
        let [mut by_anchors, mut by_positives] = projected.clone();
        let gradients = Gradients::new(&mut by_anchors, &mut by_positives);
        let batch = Batch::paired(&projected[0], &projected[1], PROJECTED)?;
        plan().forward_backward(batch, gradients, &mut workspace)?;
        projection.step(&[(&anchors.values, &by_anchors), (&positives.values, &by_positives)], 0..PROJECTED);
    }
    Ok(projection)
}
