//! `NearTies`: batches whose exact similarities with an anchor lie a few units in the last place apart, and the steps
//! to make one.

use hardneg::{Workspace, reference};

use super::{ALL_NEGATIVES, OwnedBatch, Pairing, Random, check_forward};

/// 1 and -1 in turn.
pub fn sign(k: usize) -> f32 {
    if k.is_multiple_of(2) { 1.0 } else { -1.0 }
}

/// The similarity in `f64`.
pub fn cosine(x: &[f32], y: &[f32]) -> f64 {
    reference::dot(x, y) / (reference::norm(x) * reference::norm(y))
}

/// The last element with which `row` has the similarity `target` with `anchor`, by Newton's method.
pub fn aim(anchor: &[f32], row: &mut [f32], target: f64) {
    let (last, rest) = row.split_last_mut().unwrap();
    let (anchor_last, anchor_rest) = anchor.split_last().unwrap();
    let dot = reference::dot(anchor_rest, rest);
    let (square, norm) = (reference::dot(rest, rest), reference::norm(anchor));
    let mut x = f64::from(*last);
    for _ in 0..6 {
        let own = (square + x * x).sqrt();
        let similarity = (dot + f64::from(*anchor_last) * x) / (norm * own);
        let slope = f64::from(*anchor_last) / (norm * own) - similarity * x / (own * own);
        x -= (similarity - target) / slope;
    }
    *last = x as f32;
}

/// Changes the last bit of some elements.
pub fn disturb(random: &mut Random, row: &mut [f32]) {
    for _ in 0..3 {
        let element = &mut row[random.below(row.len())];
        *element = f32::from_bits(element.to_bits() ^ 1);
    }
}

/// The row times a power of two: another way to normalise it, the same similarities.
pub fn scaled(row: &[f32], index: usize) -> Vec<f32> {
    // The last one makes elements as large as they get.
    let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let top = 127 - largest.log2().floor() as i32;
    let exponents = [0, 1, 64, -64, 63, -65, 90, -90, -1, top];
    let scale = 2.0_f64.powi(exponents[index % exponents.len()]);
    row.iter().map(|&value| (f64::from(value) * scale) as f32).collect()
}

/// Which number in the sequence of all `f32` this is: neighbours differ by 1.
pub fn rank(value: f32) -> i64 {
    let magnitude = i64::from(value.to_bits() & 0x7FFF_FFFF);
    if value.is_sign_negative() { -magnitude } else { magnitude }
}

/// A batch in which some anchors have candidates that are closer to each other than any screen can separate.
pub struct NearTies {
    /// The rows, with any pairing: [`NearTies::check`] chooses it.
    pub batch: OwnedBatch,
    /// The anchors with near-ties.
    pub attacked: Vec<usize>,
    /// How many candidates nearly tie: the most similar ones.
    pub ties: usize,
}

impl NearTies {
    /// For each anchor the near-ties in ascending order of similarity, with their similarities.
    fn order(&self) -> Vec<Vec<(usize, f32)>> {
        let OwnedBatch { anchors, candidates, dim, .. } = &self.batch;
        let matrix = reference::similarity_matrix(anchors, candidates, *dim);
        let columns = candidates.len() / dim;
        let order = |similarities: &[f32]| {
            let mut order: Vec<(usize, f32)> = similarities.iter().copied().enumerate().collect();
            order.sort_by(|(_, x), (_, y)| x.total_cmp(y));
            order.split_off(columns - self.ties)
        };
        matrix.chunks(columns).map(order).collect()
    }

    /// For each anchor another place in the order of its near-ties.
    pub fn positives(&self, turn: usize) -> Vec<usize> {
        let order = self.order();
        let choose =
            |(row, order): (usize, &Vec<(usize, f32)>)| order[(self.ties / 2 + 13 * row + 7 * turn) % self.ties].0;
        order.iter().enumerate().map(choose).collect()
    }

    /// Panics unless, for each of the first attacked anchors, at least `enough` candidates are exactly as similar as
    /// another one, and as many are 1, 2 and 3 units in the last place from another one.
    pub fn assert_near_ties(&self, enough: usize, what: &str) {
        let order = self.order();
        for &anchor in self.attacked.iter().take(3) {
            let ranks: Vec<i64> = order[anchor].iter().map(|&(_, similarity)| rank(similarity)).collect();
            for distance in 0..=3 {
                let pairs =
                    ranks.iter().enumerate().flat_map(|(at, x)| ranks[at + 1..].iter().map(move |y| x.abs_diff(*y)));
                let found = pairs.filter(|&other| other == distance).count();
                assert!(found >= enough, "{what}: {found} pairs of candidates {distance} units apart");
            }
        }
    }

    /// Compares every way to run with the reference, under every rule.
    pub fn check(&self, workspace: &mut Workspace, what: &str) {
        for (turn, negatives) in ALL_NEGATIVES.into_iter().enumerate() {
            let batch = self.batch.clone().with(Pairing::Indices(self.positives(turn)));
            check_forward(batch.batch(), negatives, workspace, what);
        }
    }
}
