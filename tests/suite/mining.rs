//! Mining: the lists of the reference, bit for bit, for every option, exclusion, way to run and split.

use hardneg::{
    Error, KnownPositives, Miner, MiningBatch, Negatives, Neighbour, Positives, Side, TripletLoss, Workspace, reference,
};
use proptest::prelude::*;

use crate::common::{ALL_DATA, ALL_NEGATIVES, Data, Random, assert_lists, miners, ways};

/// Queries, candidates and known positives.
#[derive(Clone, Debug)]
struct Input {
    queries: Vec<f32>,
    candidates: Vec<f32>,
    dim: usize,
    offsets: Vec<usize>,
    indices: Vec<usize>,
}

impl Input {
    /// Rows of a kind, with 0 to 3 known positives for each query.
    fn new(data: Data, seed: u64, queries: usize, candidates: usize, dim: usize) -> Input {
        let mut random = Random(seed);
        let batch = data.batch(seed, queries, candidates, dim);
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        for _ in 0..queries {
            indices.extend((0..random.below(4)).map(|_| random.below(candidates)));
            offsets.push(indices.len());
        }
        Input { queries: batch.anchors, candidates: batch.candidates, dim, offsets, indices }
    }

    fn rows(&self) -> usize {
        self.queries.len() / self.dim
    }

    fn columns(&self) -> usize {
        self.candidates.len() / self.dim
    }

    fn known(&self) -> KnownPositives<'_> {
        KnownPositives::Lists { offsets: &self.offsets, indices: &self.indices }
    }

    fn batch(&self) -> MiningBatch<'_> {
        let batch = MiningBatch::new(&self.queries, &self.candidates, self.dim).unwrap();
        batch.known_positives(self.known()).unwrap()
    }

    /// Thresholds that fall exactly on a similarity, or between two: one miner for each.
    fn thresholds(&self, miner: Miner) -> Vec<Miner> {
        let matrix = reference::similarity_matrix(&self.queries, &self.candidates, self.dim);
        let middle = f64::from(matrix[matrix.len() / 2]);
        let positive = self.indices.first().map_or(0.5, |&index| f64::from(matrix[index]));
        let rules = ALL_NEGATIVES.map(|negatives| miner.negatives(negatives));
        let mut miners = rules.to_vec();
        miners.extend([
            miner.absolute_margin(0.05),
            miner.absolute_margin(positive - middle),
            miner.absolute_margin(-0.1).negatives(Negatives::AtOrBelow),
            miner.relative_margin(0.05),
            miner.relative_margin(0.0),
            miner.max_similarity(middle),
            miner.max_similarity(middle.next_down()),
            miner.min_similarity(middle),
            miner.min_similarity(middle.next_up()),
            miner.min_similarity(-0.2).max_similarity(0.3).relative_margin(0.1),
            miner.min_similarity(0.9).max_similarity(-0.9),
            miner.skip(3),
            miner.skip(1000),
            miner.max_similarity(middle).skip(1).negatives(Negatives::Below),
        ]);
        miners
    }
}

/// Compares every way to run with the reference.
fn check(miner: Miner, batch: MiningBatch<'_>, workspace: &mut Workspace, what: &str) {
    let expected = reference::mine(&miner, batch).unwrap();
    for (way, miner) in miners(miner) {
        assert_lists(&expected, &miner.mine(batch, workspace).unwrap(), &format!("{what}, {way}, {miner:?}"));
    }
}

#[test]
fn every_kind_of_rows_and_every_k() {
    let mut workspace = Workspace::new();
    for (turn, data) in ALL_DATA.into_iter().enumerate() {
        for (rows, columns, dim) in [(1, 1, 1), (5, 3, 7), (40, 50, 33), (60, 333, 40), (3, 500, 16), (150, 300, 65)] {
            let input = Input::new(data, turn as u64, rows, columns, dim);
            for k in [1, 2, 10, 100, 1000] {
                let miner = Miner::new().k(k).negatives(ALL_NEGATIVES[(turn + k) % 3]);
                check(miner, input.batch(), &mut workspace, &format!("{data:?} {rows} x {columns} x {dim}"));
            }
        }
    }
}
