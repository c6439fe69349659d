//! The gradients before they are rounded, against the reference.

use super::*;
use crate::arch::{Simd, WithSimd};
use crate::common::Random;
use crate::exact::inverse;
use crate::mine::{MineMemory, MinePlan, mine};
use crate::positives::Positives;
use crate::reference;
use crate::row_stats::Negatives;
use crate::screen::Screen;

/// The gradients of all rows of a side in `f64`.
struct AllRows<'a>(Pullback<'a>);

impl WithSimd for AllRows<'_> {
    type Output = Vec<f64>;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<f64> {
        let (rows, dim) = (self.0.rows.count(), self.0.rows.dim());
        let mut all = vec![0.0; rows * dim];
        for (row, gradient) in all.chunks_exact_mut(dim).enumerate().filter(|(row, _)| !self.0.is_zero(*row)) {
            self.0.row(simd, row, gradient);
        }
        all
    }
}

/// The gradients of both sides in `f64` on a backend.
fn gradients(backend: Backend, batch: Batch<'_>, margin: f32, weights: &[f32]) -> [Vec<f64>; 2] {
    let (mut mining, mut memory) = (MineMemory::default(), GradientMemory::default());
    let plan =
        MinePlan { negatives: Negatives::default(), backend, screen: Screen::default(), threads: Threads::Serial };
    mine(plan, batch, &mut mining).unwrap();
    let mut buffers = memory.grow(batch, 1).unwrap();
    let weights = Weights { margin, all: 1.0, each: Some(weights) };
    let results = mining.results(batch);
    let (of_anchors, of_candidates) = pullbacks(backend, Join::Serial, &weights, batch, results, true, &mut buffers);
    let of_candidates = of_candidates.expect("the candidates' side was asked for");
    [backend.run(AllRows(of_anchors)), backend.run(AllRows(of_candidates))]
}

/// How far a gradient may be from the truth, relative to the size of what adds up to it: twice what is measured here.
const TOLERANCE: f64 = 8e-16;

/// Fails unless each row is within [`TOLERANCE`] of what the reference says, relative to the size of what adds up to
/// it.
fn assert_near(expected: &[f64], actual: &[f64], scales: &[f64], what: &str) {
    let dim = actual.len() / scales.len();
    for (row, (expected, actual)) in expected.chunks(dim).zip(actual.chunks(dim)).enumerate() {
        for (expected, actual) in expected.iter().zip(actual) {
            let error = (expected - actual).abs();
            assert!(error <= TOLERANCE * scales[row], "{what}, row {row}: {expected} against {actual}");
        }
    }
}

/// The sum of the absolute derivatives by a row's similarities over the norm of the row: no gradient is larger.
fn scales<'a>(rows: &[f32], dim: usize, by_similarity: impl Fn(usize) -> Vec<f64> + 'a) -> Vec<f64> {
    let scale = |(row, values): (usize, &[f32])| {
        by_similarity(row).iter().map(|value| value.abs()).sum::<f64>() * inverse(reference::norm(values))
    };
    rows.chunks(dim).enumerate().map(scale).collect()
}

#[test]
fn rows_before_rounding_are_those_of_the_reference() {
    for (rows, candidates, dim, margin) in [
        (1, 2, 1, 3.0),
        (7, 9, 16, 0.25),
        (200, 150, 17, 0.75),
        (400, 600, 40, 1.0),
        (33, 33, 131, 0.1),
        (60, 50, 3, -0.5),
    ] {
        let (mut a, c) = (Random(1).rows(1, rows * dim), Random(2).rows(1, candidates * dim));
        // Rows of all norms, and one of norm 0.
        a.chunks_mut(dim).enumerate().for_each(|(row, values)| {
            let scale = if row % 7 == 5 { 0.0 } else { 2.0_f32.powi(row as i32 % 80 - 40) };
            values.iter_mut().for_each(|value| *value *= scale);
        });
        let indices: Vec<usize> = (0..rows).map(|row| row * row % candidates).collect();
        let weights = Random(3).rows(1, rows);
        let wide: Vec<f64> = weights.iter().map(|&weight| f64::from(weight)).collect();
        let batch = Batch::new(&a, &c, dim, Positives::Indices(&indices)).unwrap();
        let negatives = Negatives::default();
        let stats = reference::row_stats(batch, negatives).unwrap();
        let by_similarity = reference::similarity_gradients(batch, &stats, margin, &wide);
        let of_anchors = scales(&a, dim, |row| by_similarity[row].clone());
        let of_candidates = scales(&c, dim, |column| by_similarity.iter().map(|row| row[column]).collect());
        let (by_anchors, by_candidates) = reference::backward(batch, margin, negatives, &wide).unwrap();
        let defined = reference::gradients(batch, &stats, margin, &wide);
        for backend in Backend::available() {
            let what = format!("{rows} x {candidates} x {dim}, {backend}");
            let [anchors, candidates] = gradients(backend, batch, margin, &weights);
            assert_near(&by_anchors, &anchors, &of_anchors, &format!("anchors, {what}"));
            assert_near(&by_candidates, &candidates, &of_candidates, &format!("candidates, {what}"));
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
            let rounded = |values: &[f64]| values.iter().map(|&value| (value as f32).to_bits()).collect::<Vec<u32>>();
            assert_eq!(bits(&defined.0), rounded(&anchors), "anchors, {what}");
            assert_eq!(bits(&defined.1), rounded(&candidates), "candidates, {what}");
        }
    }
}
