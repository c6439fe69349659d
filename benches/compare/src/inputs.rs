//! The batches that contenders are compared on.

use std::path::{Path, PathBuf};

use hardneg_cli::npy;

use crate::args::Args;
use crate::common::{OwnedBatch, random_rows, sets};

/// The folder of the sample.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data");

/// The shape of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Anchors.
    pub rows: usize,
    pub candidates: usize,
    pub dim: usize,
}

impl Shape {
    /// The multiply-adds of all pairs.
    pub(crate) fn work(self) -> u64 {
        (self.rows * self.candidates * self.dim) as u64
    }
}

/// Batches of one kind and shape: several of them if they are small.
pub(crate) struct Input {
    pub label: String,
    pub sets: Vec<OwnedBatch>,
}

impl Input {
    pub(crate) fn shape(&self) -> Shape {
        let OwnedBatch { candidates, dim, .. } = &self.sets[0];
        Shape { rows: self.rows(), candidates: candidates.len() / dim, dim: *dim }
    }

    pub(crate) fn rows(&self) -> usize {
        self.sets[0].rows()
    }

    /// The multiply-adds of one batch.
    pub(crate) fn work(&self) -> u64 {
        self.shape().work()
    }

    fn random(rows: usize, dim: usize, kind: &str, pairs: fn(u64, usize, usize) -> OwnedBatch) -> Input {
        let sets = (0..sets(2 * rows * dim)).map(|seed| pairs(seed, rows, dim)).collect();
        Input { label: format!("{rows} x {dim}{kind}"), sets }
    }

    /// Random pairs as after training.
    pub(crate) fn trained(rows: usize, dim: usize) -> Input {
        Input::random(rows, dim, "", OwnedBatch::trained)
    }

    /// Random anchors among as many candidates or more, as after training; two sets at least.
    pub(crate) fn trained_among(shape: Shape) -> Input {
        let Shape { rows, candidates, dim } = shape;
        let sets = 0..sets((rows + candidates) * dim).max(2);
        Input {
            label: format!("{rows} x {candidates} x {dim}"),
            sets: sets.map(|seed| OwnedBatch::trained_among(seed, rows, candidates, dim)).collect(),
        }
    }

    /// Random pairs as before training.
    fn independent(rows: usize, dim: usize) -> Input {
        Input::random(rows, dim, ", positives in the bulk", OwnedBatch::independent)
    }

    fn files(paths: [&Path; 2], kind: &str) -> Result<Input, String> {
        let [anchors, positives] = paths.map(npy::read);
        let (anchors, positives) = (anchors?, positives?);
        if (anchors.rows, anchors.dim) != (positives.rows, positives.dim) || anchors.rows < 2 {
            return Err("the two files must have the same shape, of two rows at least".to_owned());
        }
        let label = format!("{} x {}, {kind}", anchors.rows, anchors.dim);
        Ok(Input { label, sets: vec![OwnedBatch::pairs(anchors.values, positives.values, anchors.dim)] })
    }

    /// The sample's pairs, and then `rows - 256` mixtures of them: of two pairs at random, anchor with anchor and
    /// positive with positive in the same proportion, with noise of norm 0.1.
    pub(crate) fn mixtures(rows: usize) -> Result<Input, String> {
        let sample = ["anchors", "positives"].map(|name| Path::new(SAMPLE).join(name).with_extension("npy"));
        let Input { sets, .. } = Input::files([&sample[0], &sample[1]], "")?;
        let OwnedBatch { anchors, candidates: positives, dim, .. } = &sets[0];
        let choices = random_rows(1, rows, 3);
        let mixed = |side: &[f32], seed| {
            let noise = random_rows(seed, rows, *dim);
            let mut values = side.to_vec();
            for (choice, noise) in choices.chunks_exact(3).zip(noise.chunks_exact(*dim)).skip(sets[0].rows()) {
                mix(side, *dim, choice, noise, &mut values);
            }
            values
        };
        let pairs = OwnedBatch::pairs(mixed(anchors, 2), mixed(positives, 3), *dim);
        Ok(Input { label: format!("{rows} x {dim}, 256 real pairs and mixtures of them"), sets: vec![pairs] })
    }
}

/// Appends a mixture of two of the rows; `choice` are three numbers in -1..1 that say which and in what proportion.
fn mix(side: &[f32], dim: usize, choice: &[f32], noise: &[f32], values: &mut Vec<f32>) {
    let unit = |choice: f32| 0.5 + 0.5 * choice;
    let row = |choice: f32| {
        let index = (unit(choice) * (side.len() / dim) as f32) as usize;
        &side[index * dim..][..dim]
    };
    let (share, noise_scale) = (unit(choice[2]), 0.1 * (3.0 / dim as f32).sqrt());
    let mixture = row(choice[0]).iter().zip(row(choice[1])).zip(noise);
    values.extend(mixture.map(|((one, other), noise)| share * one + (1.0 - share) * other + noise_scale * noise));
}

/// What is compared, each batch made when its turn comes.
pub(crate) fn inputs(args: &Args) -> Vec<Box<dyn FnOnce() -> Result<Input, String> + '_>> {
    if let Some([anchors, positives]) = args.data.as_deref() as Option<&[PathBuf]> {
        return vec![Box::new(move || Input::files([anchors, positives], "your data"))];
    }
    let trained = |rows, dim| Box::new(move || Ok(Input::trained(rows, dim))) as Box<dyn FnOnce() -> _>;
    let independent = |rows, dim| Box::new(move || Ok(Input::independent(rows, dim))) as Box<dyn FnOnce() -> _>;
    let mut inputs = vec![
        trained(4, 128),
        trained(32, 128),
        trained(256, 256),
        trained(1024, 128),
        trained(1024, 768),
        independent(1024, 768),
        Box::new(|| Input::mixtures(4096)),
        trained(4096, 768),
        independent(4096, 768),
    ];
    if args.long {
        inputs.push(Box::new(move || Input::mixtures(16384)));
    }
    inputs
}
