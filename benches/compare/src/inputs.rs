//! The rows that contenders are compared on.

use std::path::Path;

use hardneg_cli::npy;

use crate::common::{OwnedBatch, random_rows, sets};
use crate::setting::Setting;
use crate::shapes::Case;

/// The folder of the sample.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data");
/// The elements of a row of the sample.
const SAMPLE_DIM: usize = 384;

/// Batches of one kind and shape: several of them if they are small.
pub(crate) struct Input {
    pub sets: Vec<OwnedBatch>,
}

impl Input {
    /// The batches of a case, in which the positive of anchor `i` is candidate `i`. Positives stand above the bulk of
    /// the similarities, as after training, but for those "in the bulk".
    pub(crate) fn of(setting: &Setting, case: &Case) -> Result<Input, String> {
        let &Case { rows, candidates, dim, .. } = case;
        if let Some([anchors, others]) = &setting.data {
            let anchors = anchors.values[..rows * dim].to_vec();
            return Ok(Input { sets: vec![OwnedBatch::among(anchors, others.values.clone(), dim)] });
        }
        if case.is("real") {
            return Ok(Input { sets: vec![mixtures(rows, candidates, dim)?] });
        }
        let make = |seed| match case.is("in the bulk") {
            true => OwnedBatch::independent_among(seed, rows, candidates, dim),
            false => OwnedBatch::trained_among(seed, rows, candidates, dim),
        };
        Ok(Input { sets: (0..sets((rows + candidates) * dim)).map(make).collect() })
    }
}

/// The sample's pairs, and then mixtures of them: of two pairs at random, anchor with anchor and positive with positive
/// in the same proportion, with noise of norm 0.1. Of the sample's elements, rows shorter than its own have the first;
/// longer rows are several of its rows joined, and the last of them cut.
fn mixtures(rows: usize, candidates: usize, dim: usize) -> Result<OwnedBatch, String> {
    let sample = ["anchors", "positives"].map(|name| npy::read(&Path::new(SAMPLE).join(name).with_extension("npy")));
    let [anchors, positives] = sample;
    let joined = dim.div_ceil(SAMPLE_DIM);
    let choices = random_rows(1, candidates * joined, 3);
    let mixed = |side: &[f32], seed, count: usize| {
        let noise = random_rows(seed, count * joined, SAMPLE_DIM);
        let mut values = side.to_vec();
        let choices = choices.chunks_exact(3).zip(noise.chunks_exact(SAMPLE_DIM)).skip(side.len() / SAMPLE_DIM);
        choices.for_each(|(choice, noise)| mix(side, choice, noise, &mut values));
        let rows = values.chunks_exact(joined * SAMPLE_DIM).take(count);
        rows.flat_map(|row| &row[..dim]).copied().collect::<Vec<f32>>()
    };
    let anchors = mixed(&anchors?.values, 2, rows);
    Ok(OwnedBatch::among(anchors, mixed(&positives?.values, 3, candidates), dim))
}

/// Appends a mixture of two of the rows; `choice` are three numbers in -1..1 that say which and in what proportion.
fn mix(side: &[f32], choice: &[f32], noise: &[f32], values: &mut Vec<f32>) {
    let unit = |choice: f32| 0.5 + 0.5 * choice;
    let row = |choice: f32| {
        let index = (unit(choice) * (side.len() / SAMPLE_DIM) as f32) as usize;
        &side[index * SAMPLE_DIM..][..SAMPLE_DIM]
    };
    let (share, noise_scale) = (unit(choice[2]), 0.1 * (3.0 / SAMPLE_DIM as f32).sqrt());
    let mixture = row(choice[0]).iter().zip(row(choice[1])).zip(noise);
    values.extend(mixture.map(|((one, other), noise)| share * one + (1.0 - share) * other + noise_scale * noise));
}
