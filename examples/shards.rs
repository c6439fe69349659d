//! The loss of the sample's 256 pairs over three uneven shards, and its gradients: what several machines would do, on
//! one, with a check that every number has the bits of one call with all rows.
//!
//! ```text
//! cargo run --release --example shards
//! ```
//!
//! Each shard has some of the pairs. First every shard tells the others its positives' similarities and hands on the
//! sum of its candidates; then it searches its own candidates for the closest negative of every anchor. Lists of one
//! merge to the closest negative of all, statistics are put together from the parts, and the loss is reduced from them.
//! For the gradients a shard reads rows of all shards, and makes those of its own rows.

#[path = "common/npy.rs"]
mod npy;

use std::error::Error;
use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;

use hardneg::{
    Backend, Bank, Batch, CandidateSum, ClosestNegative, Gradients, KnownPositives, Miner, MiningBatch, Neighbour,
    RowStats, TripletLoss, Workspace,
};

/// The pairs of each shard.
const SHARDS: [Range<usize>; 3] = [0..17, 17..209, 209..256];

fn main() -> ExitCode {
    match shards(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln!`, which panics where nobody listens.
            let _ = writeln!(io::stderr(), "shards: {error}");
            ExitCode::FAILURE
        }
    }
}

fn shards(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (anchors, positives) = (npy::sample("anchors")?, npy::sample("positives")?);
    let pairs = Pairs { anchors: &anchors.values, positives: &positives.values, dim: anchors.dim };
    let plan = TripletLoss::new();
    let stats = pairs.stats(plan)?;
    let loss = plan.reduce(&stats)?;
    writeln!(out, "{} pairs in shards {SHARDS:?}: loss {}", anchors.rows(), loss.loss)?;

    // The same by one call.
    let (mut by_anchors, mut by_positives) = (anchors.values.clone(), positives.values.clone());
    let gradients = Gradients::new(&mut by_anchors, &mut by_positives);
    let mut workspace = Workspace::new();
    let whole = plan.forward_backward(pairs.batch()?, gradients, &mut workspace)?;
    assert_eq!(loss.loss.to_bits(), whole.loss().loss.to_bits());
    assert_eq!(stats, whole.row_stats());
    for own in SHARDS {
        let [some_anchors, some_positives] = pairs.gradients(plan, &stats, own.clone())?;
        assert_eq!(bits(&some_anchors), bits(rows(&by_anchors, own.clone(), pairs.dim)));
        assert_eq!(bits(&some_positives), bits(rows(&by_positives, own, pairs.dim)));
    }
    writeln!(out, "statistics, loss and gradients have the bits of one call")?;
    Ok(())
}

/// All pairs. A shard looks at its own rows, but where it says otherwise.
struct Pairs<'a> {
    anchors: &'a [f32],
    positives: &'a [f32],
    dim: usize,
}

impl Pairs<'_> {
    fn batch(&self) -> Result<Batch<'_>, hardneg::Error> {
        Batch::paired(self.anchors, self.positives, self.dim)
    }

    /// The statistics of all anchors.
    fn stats(&self, plan: TripletLoss) -> Result<Vec<RowStats>, hardneg::Error> {
        let mut similarities = Vec::new();
        let mut sum = CandidateSum::new(self.dim)?;
        for own in SHARDS {
            for row in own.clone() {
                let similarity = Backend::detect().cosine_similarity(self.anchor(row), self.positive(row))?;
                similarities.push(Some(similarity));
            }
            sum.push(rows(self.positives, own, self.dim))?;
        }
        let mut closest = vec![None; similarities.len()];
        for own in SHARDS {
            self.search(plan, own, &similarities, &mut closest)?;
        }
        let stats = similarities.iter().zip(closest).enumerate().map(|(row, (similarity, closest))| {
            let mean = sum.mean_negative(self.anchor(row), Some(self.positive(row)))?;
            let closest = closest.map(|found: Neighbour| ClosestNegative::new(found.index, found.similarity));
            RowStats::new(similarity.unwrap_or_default(), Some(mean), closest.transpose()?)
        });
        stats.collect()
    }

    /// Merges the closest negatives among one shard's candidates into those of the shards before it.
    fn search(
        &self,
        plan: TripletLoss,
        own: Range<usize>,
        similarities: &[Option<f32>],
        closest: &mut [Option<Neighbour>],
    ) -> Result<(), hardneg::Error> {
        // A shard keeps its candidates prepared. Anchors come to it from everywhere; those of its own pairs have their
        // positive here, at an index that counts from the shard's first candidate.
        let bank = Bank::new(rows(self.positives, own.clone(), self.dim), self.dim)?;
        let offsets: Vec<usize> =
            (0..=similarities.len()).map(|row| row.clamp(own.start, own.end) - own.start).collect();
        let indices: Vec<usize> = (0..own.len()).collect();
        let batch = MiningBatch::against(self.anchors, &bank)?
            .known_positives(KnownPositives::Lists { offsets: &offsets, indices: &indices })?
            .positive_similarities(similarities)?;
        let mut workspace = Workspace::new();
        let mined = Miner::new().k(1).negatives(plan.negatives).mine(batch, &mut workspace)?;
        for (found, closest) in mined.rows().zip(closest) {
            let here = found.iter().map(|found| Neighbour { index: own.start + found.index, ..*found }).next();
            let mut merged = [Neighbour::default()];
            let count = Neighbour::merge(closest.as_slice(), here.as_slice(), &mut merged);
            *closest = merged[..count].first().copied();
        }
        Ok(())
    }

    /// The gradients with respect to one shard's anchors and positives, from the statistics and the rows of all shards.
    fn gradients(
        &self,
        plan: TripletLoss,
        stats: &[RowStats],
        own: Range<usize>,
    ) -> Result<[Vec<f32>; 2], hardneg::Error> {
        let zeros = vec![0.0; own.len() * self.dim];
        let mut gradients = [zeros.clone(), zeros];
        let [by_anchors, by_positives] = &mut gradients;
        let buffers = Gradients::new(by_anchors, by_positives).rows(own.clone(), own);
        plan.forward_from_row_stats(self.batch()?, stats, &mut Workspace::new())?.backward(buffers)?;
        Ok(gradients)
    }

    fn anchor(&self, row: usize) -> &[f32] {
        rows(self.anchors, row..row + 1, self.dim)
    }

    fn positive(&self, row: usize) -> &[f32] {
        rows(self.positives, row..row + 1, self.dim)
    }
}

/// The elements of some rows.
fn rows(all: &[f32], rows: Range<usize>, dim: usize) -> &[f32] {
    &all[rows.start * dim..rows.end * dim]
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
