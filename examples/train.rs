//! The gradient at work: a linear projection of the sample's 256 real pairs, from 384 elements to 64, is trained with
//! plain gradient descent on the loss.
//!
//! ```text
//! cargo run --release --example train
//! ```
//!
//! Both sides go through the same projection `W`, so that `d loss / d W` is the sum over both of `(gradient of a
//! projected row) x (row)`. The crate computes the loss and the gradients of the projected rows; the projection itself
//! is plain loops. Line 0 is the random projection, line `e` what `e` epochs made of it; every run prints the same.

#[path = "common/npy.rs"]
mod npy;
#[path = "common/projection.rs"]
mod projection;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use hardneg::{Batch, Gradients, Loss, Negatives, Reduction, RowStats, TripletLoss, Workspace};
use npy::Embeddings;
use projection::{PROJECTED, Projection};

const EPOCHS: usize = 30;

fn main() -> ExitCode {
    match train(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln!`, which panics where nobody listens.
            let _ = writeln!(io::stderr(), "train: {error}");
            ExitCode::FAILURE
        }
    }
}

fn train(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (anchors, positives) = (npy::sample("anchors")?, npy::sample("positives")?);
    let mut projection = Projection::random(anchors.dim);
    let mut trainer = Trainer::default();
    writeln!(out, "{} pairs of {} elements, projected to {PROJECTED}", anchors.rows(), anchors.dim)?;
    writeln!(out, "epoch      loss   active   nearest is the positive")?;
    for epoch in 0..=EPOCHS {
        let (loss, nearest) = trainer.gradients(&projection, &anchors, &positives)?;
        let active = loss.active_mean + loss.active_closest;
        writeln!(out, "{epoch:5}  {:8.5}  {active:7}   {:5.1} %", loss.loss, 100.0 * nearest)?;
        projection
            .step(&[(&anchors.values, &trainer.by_anchors), (&positives.values, &trainer.by_positives)], 0..PROJECTED);
    }
    Ok(())
}

/// What is kept from epoch to epoch, so that only the first one allocates.
#[derive(Default)]
struct Trainer {
    workspace: Workspace,
    anchors: Vec<f32>,
    positives: Vec<f32>,
    by_anchors: Vec<f32>,
    by_positives: Vec<f32>,
}

impl Trainer {
    /// The loss of the projected pairs and the share of anchors whose positive is the nearest candidate; leaves the
    /// gradients with respect to the projected rows.
    fn gradients(
        &mut self,
        projection: &Projection,
        anchors: &Embeddings,
        positives: &Embeddings,
    ) -> Result<(Loss, f64), hardneg::Error> {
        projection.apply(&anchors.values, &mut self.anchors);
        projection.apply(&positives.values, &mut self.positives);
        self.by_anchors.resize(self.anchors.len(), 0.0);
        self.by_positives.resize(self.positives.len(), 0.0);
        // The hardest negative whatever the positive, so that a positive above it is the nearest candidate.
        let loss = TripletLoss::new().negatives(Negatives::Any).reduction(Reduction::Mean);
        let batch = Batch::paired(&self.anchors, &self.positives, PROJECTED)?;
        let gradients = Gradients::new(&mut self.by_anchors, &mut self.by_positives);
        let forward = loss.forward_backward(batch, gradients, &mut self.workspace)?;
        Ok((forward.loss(), nearest(forward.row_stats())))
    }
}

/// The share of rows whose positive is more similar than every negative.
fn nearest(rows: &[RowStats]) -> f64 {
    let is_nearest =
        |row: &&RowStats| row.closest_negative().is_none_or(|closest| closest.similarity() < row.positive());
    rows.iter().filter(is_nearest).count() as f64 / rows.len() as f64
}
