//! An attack on the error bound of rows that are screened as they lie in memory: products that are lost or rounded up in
//! every lane, and near-ties that only their exact similarities tell apart.

use crate::Workspace;
use crate::arch::Backend;
use crate::common::near_ties::{NearTies, aim, cosine, disturb};
use crate::common::{OwnedBatch, Pairing, Random};
use crate::kernels::{MOST_SEEKING, NearSimilarities, ScaledRows, approximate};
use crate::reference;
use crate::rows::Rows;
use crate::screen::float::{LAST_BELOW_ONE, row_bound};
use crate::screen::rounding::ROUNDING;

const CANDIDATES: usize = 40;
const DIMS: [usize; 9] = [1, 2, 31, 32, 100, 384, 768, 1000, LAST_BELOW_ONE];

/// What the window and the exact side may be off by, in roundings: the part of the bound that is no error of the screen.
const REST: f64 = 4.0;

/// A row whose products with itself are lost in sums of so many lanes, or rounded up: one in each lane, and then elements
/// whose product is a little less than half a unit in the last place of what is in the lane, or a little more.
fn row(lanes: usize, dim: usize, off: f32) -> Vec<f32> {
    let element = 2.0_f32.powf(-12.0) * off;
    (0..dim).map(|k| if k < lanes { 1.0 } else { element }).collect()
}

/// The similarities of all anchors with all candidates less the exact ones, in roundings.
fn errors(backend: Backend, anchors: &[f32], candidates: &[f32], dim: usize) -> Vec<f64> {
    let scales = |rows: &[f32]| rows.chunks(dim).map(|row| (1.0 / reference::norm(row)) as f32).collect::<Vec<f32>>();
    let (own, other) = (scales(anchors), scales(candidates));
    let [own, other] = [(anchors, &own), (candidates, &other)]
        .map(|(rows, scales)| ScaledRows { rows: Rows::known(rows, dim), scales });
    let mut near = NearSimilarities::EMPTY;
    approximate(backend, own, other, &mut near);
    let rows = anchors.chunks(dim).zip(&near.0);
    let of_row = |(anchor, near): (&[f32], &[f32; _])| {
        let exact = candidates.chunks(dim).map(move |candidate| cosine(anchor, candidate));
        near.iter().zip(exact).map(|(&near, exact)| (f64::from(near) - exact) / ROUNDING).collect::<Vec<f64>>()
    };
    rows.flat_map(of_row).collect()
}

#[test]
fn sums_that_lose_products_in_every_lane() {
    for backend in Backend::available() {
        let lanes = backend.traits().f32_lanes;
        for dim in DIMS {
            let off = [1.0 - 2.0_f32.powi(-10), 1.0 + 2.0_f32.powi(-10)];
            let mut random = Random(dim as u64);
            let anchors = [row(lanes, dim, 1.0), random.rows(1, dim)].concat();
            let mut candidates = off.map(|off| row(lanes, dim, off)).concat();
            candidates.extend(random.rows(CANDIDATES, dim));
            let errors = errors(backend, &anchors, &candidates, dim);
            let bound = f64::from(row_bound(dim)) / ROUNDING;
            let worst = errors.iter().fold(0.0_f64, |worst, error| worst.max(error.abs()));
            assert!(worst <= bound - REST, "{backend}, dim {dim}: off by {worst} of {bound} roundings");
            // A lane loses half a rounding of what it holds with every product: half of dim / lanes in all.
            let expected = 0.4 * (dim as f64 / lanes as f64 - 1.0);
            assert!(dim < 384 || worst > expected, "{backend}, dim {dim}: off by {worst} roundings only");
        }
    }
}

/// Candidates within a few units in the last place of each other, which sums in `f32` put in another order.
#[test]
fn near_ties_of_rows_in_memory() {
    let mut workspace = Workspace::new();
    for (turn, dim) in [33, 100, 384, 768].into_iter().enumerate() {
        for seed in 0..4 {
            let mut random = Random((turn * 4 + seed) as u64);
            let anchor = random.rows(1, dim);
            // The last element is beside the anchor's direction, to aim with.
            let beside = |random: &mut Random| {
                let mut row: Vec<f32> = anchor.iter().map(|value| value + 0.1 * random.unit()).collect();
                row[dim - 1] = (0.8 * reference::norm(&row)) as f32;
                row
            };
            let first = beside(&mut random);
            let target = f64::from(cosine(&anchor, &first) as f32);
            let unit = f64::from((target as f32).next_up()) - target;
            let mut candidates = Vec::new();
            for index in 0..CANDIDATES {
                let mut row = beside(&mut random);
                disturb(&mut random, &mut row);
                aim(&anchor, &mut row, target + unit * ((index % 7) as f64 - 3.0));
                // Another norm for each row.
                candidates.extend(row.iter().map(|value| value * (1.0 + index as f32)));
            }
            let anchors = [1.0, 3.0, 1e-6].map(|scale| anchor.iter().map(|value| value * scale).collect::<Vec<f32>>());
            let anchors: Vec<f32> = anchors.concat().repeat(MOST_SEEKING / 2);
            let rows = anchors.len() / dim;
            let batch = OwnedBatch::new(anchors, candidates, dim, Pairing::Identity);
            let ties = NearTies { batch, attacked: (0..rows).collect(), ties: CANDIDATES };
            let what = format!("dim {dim}, seed {seed}");
            ties.assert_near_ties(8, &what);
            ties.check(&mut workspace, &what);
        }
    }
}
