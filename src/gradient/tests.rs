//! The gradients before they are rounded, against the reference.

use super::*;
use crate::common::{ALL_KINDS, Pairing, Random};
use crate::excluded::ExclusionMemory;
use crate::exclusions::Exclusions;
use crate::kernels::{dot_sum, inverse};
use crate::mine::{MineMemory, MinePlan, mine};
use crate::reference;
use crate::row_stats::{Negatives, RowStats};
use crate::screen::Screen;

/// The gradients of all rows of a side in `f64`: what of a row's `g`, which is left in the scratch, lies along the row is
/// taken away, and the rest is divided by the norm of the row. That is what the row's gradient is rounded from.
fn all_rows(backend: Backend, side: Pullback<'_>) -> Vec<f64> {
    let (rows, dim) = (side.rows.count(), side.rows.dim());
    let (mut all, mut group_sum, mut rounded) = (vec![0.0; rows * dim], vec![0.0; dim], vec![0.0; dim]);
    for (row, gradient) in all.chunks_exact_mut(dim).enumerate().filter(|(row, _)| !side.is_zero(*row)) {
        side.write_row(backend, row, (&mut *gradient, &mut group_sum), &mut rounded, false);
        let (values, scale) = (side.rows.row(row), inverse(side.norms[row]));
        let along = dot_sum(backend, values, gradient) * scale * scale;
        for ((gradient, &value), &rounded) in gradient.iter_mut().zip(values).zip(&rounded) {
            *gradient = (*gradient - f64::from(value) * along) * scale;
            assert_eq!((*gradient as f32).to_bits(), rounded.to_bits(), "{backend}, row {row}: {gradient}");
        }
    }
    all
}

/// The gradients of all sides in `f64` on a backend.
fn gradients(backend: Backend, batch: Batch<'_>, margin: f32, weights: &[f32]) -> [Vec<f64>; 3] {
    let (mut mining, mut memory) = (MineMemory::default(), GradientMemory::default());
    let plan =
        MinePlan { negatives: Negatives::default(), backend, screen: Screen::default(), threads: Threads::Serial };
    let mut exclusions = ExclusionMemory::default();
    let sorted = exclusions.sort((batch.rows(), batch.candidates()), batch.positives(), batch.exclusions()).unwrap();
    mine(plan, &batch, &sorted, &mut mining).unwrap();
    let mut buffers = memory.grow(batch, 1).unwrap();
    let weights = Weights { margin, all: 1.0, each: Some(weights) };
    let results = mining.results(batch, sorted);
    let sides = pullbacks(backend, Join::Serial, &weights, batch, results, true, &mut buffers).unwrap();
    let of_candidates = sides.of_candidates.expect("the candidates' side was asked for");
    let of_positives = sides.of_positives.map_or(Vec::new(), |side| all_rows(backend, side));
    [all_rows(backend, sides.of_anchors), all_rows(backend, of_candidates), of_positives]
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
        let outside = Random(4).rows(rows, dim);
        let weights = Random(3).rows(1, rows);
        for pairing in [Pairing::Indices(indices), Pairing::Outside(outside)] {
            let batch = Batch::new(&a, &c, dim, pairing.positives()).unwrap();
            let what = format!("{rows} x {candidates} x {dim}");
            check_before_rounding(batch, margin, &weights, &what);
            for kind in ALL_KINDS.into_iter().filter(|_| rows * candidates < 10_000) {
                let excluding = kind.of(&mut Random(5), rows, candidates, &pairing);
                let batch = batch.excluding(excluding.exclusions()).unwrap();
                check_before_rounding(batch, margin, &weights, &format!("{what}, {kind:?}"));
            }
        }
    }
}

/// Adds what adds up to the gradients and is taken away again: an excluded candidate is in the sum of all.
fn add_what_cancels(
    batch: Batch<'_>,
    stats: &[RowStats],
    margin: f32,
    weights: &[f64],
    by_similarity: &mut [Vec<f64>],
) {
    let mut memory = ExclusionMemory::default();
    let sorted = memory.sort((batch.rows(), batch.candidates()), batch.positives(), batch.exclusions()).unwrap();
    for (row, by_similarity) in by_similarity.iter_mut().enumerate() {
        let mean = if stats[row].mean_term(margin) > 0.0 { weights[row].abs() } else { 0.0 };
        let share = mean / sorted.negatives(row).max(1) as f64;
        let rule = sorted.rules.row(row);
        for candidate in (0..batch.candidates()).filter(|&candidate| rule.excludes(candidate)) {
            by_similarity[candidate] = by_similarity[candidate].abs() + 2.0 * share;
        }
    }
}

fn check_before_rounding(batch: Batch<'_>, margin: f32, weights: &[f32], what: &str) {
    const SIDES: [&str; 3] = ["anchors", "candidates", "positives"];
    let (negatives, dim) = (Negatives::default(), batch.dim());
    let wide: Vec<f64> = weights.iter().map(|&weight| f64::from(weight)).collect();
    let stats = reference::row_stats(batch, negatives).unwrap();
    let mut by_similarity = reference::similarity_gradients(batch, &stats, margin, &wide);
    if !matches!(batch.exclusions(), Exclusions::None) {
        add_what_cancels(batch, &stats, margin, &wide, &mut by_similarity);
    }
    let (a, c) = (batch.anchor_rows().data(), batch.candidate_rows().data());
    let outside = batch.outside_rows().map_or(&[][..], |rows| rows.data());
    let scales = [
        scales(a, dim, |row| by_similarity[row].clone()),
        scales(c, dim, |column| by_similarity.iter().map(|row| row[column]).collect()),
        scales(outside, dim, |row| by_similarity[row][batch.candidates()..].to_vec()),
    ];
    let accurate = reference::backward(batch, margin, negatives, &wide).unwrap();
    let defined = reference::gradients(batch, &stats, margin, &wide);
    for backend in Backend::available() {
        let actual = gradients(backend, batch, margin, weights);
        for (side, name) in SIDES.into_iter().enumerate() {
            let what = format!("{name}, {what}, {backend}");
            assert_eq!(defined[side].len(), actual[side].len(), "{what}");
            if !scales[side].is_empty() {
                assert_near(&accurate[side], &actual[side], &scales[side], &what);
            }
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
            let rounded = |values: &[f64]| values.iter().map(|&value| (value as f32).to_bits()).collect::<Vec<u32>>();
            assert_eq!(bits(&defined[side]), rounded(&actual[side]), "{what}");
        }
    }
}
