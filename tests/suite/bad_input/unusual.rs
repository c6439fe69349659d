//! Input that only looks bad: rows of zeros, and rows of the largest and the smallest numbers.

use hardneg::{Backend, Batch, Negatives, Positives, TripletLoss, Workspace};

use super::PATTERN;
use crate::common::{ALL_NEGATIVES, Data, OwnedBatch, bits, check_forward};

#[test]
fn zero_rows_are_similar_to_nothing_and_counted() {
    // Anchors 1 and 3 and candidates 0 and 2 are zero, one of each with the sign of -0.0.
    let anchors = [1.0, 2.0, 0.0, 0.0, 3.0, -1.0, -0.0, 0.0];
    let candidates = [0.0, 0.0, 1.0, 2.0, 0.0, -0.0, -1.0, 1.0, 2.0, 2.0];
    let batch = Batch::new(&anchors, &candidates, 2, Positives::Identity).unwrap();
    let mut workspace = Workspace::new();
    for negatives in ALL_NEGATIVES {
        check_forward(batch, negatives, &mut workspace, "zero rows");
        let forward = TripletLoss::new().negatives(negatives).forward(batch, &mut workspace).unwrap();
        assert_eq!((forward.loss().zero_anchors, forward.loss().zero_candidates), (Some(2), Some(2)));
        for row in [1, 3] {
            let stats = forward.row_stats()[row];
            assert_eq!(bits(&[stats.positive(), stats.mean_negative().unwrap()]), [0, 0]);
            // All similarities tie with the positive's: none is below it, and the lowest index wins.
            let closest = stats.closest_negative().map(|closest| (closest.index(), closest.similarity().to_bits()));
            assert_eq!(closest, (negatives != Negatives::Below).then_some((0, 0)));
        }
        assert_eq!(forward.row_stats()[0].positive().to_bits(), 0, "a zero positive");
        assert_eq!(forward.row_stats()[2].positive().to_bits(), 0, "a zero positive");
    }
    for backend in Backend::available() {
        assert_eq!(backend.norm(&[0.0, -0.0]).unwrap().to_bits(), 0, "{backend}");
        assert_eq!(backend.cosine_similarity(&[0.0; 3], &[1.0; 3]).unwrap().to_bits(), 0, "{backend}");
        assert_eq!(backend.cosine_similarity(&[-1.0; 3], &[0.0; 3]).unwrap().to_bits(), 0, "{backend}");
        assert_eq!(backend.cosine_similarity(&[-0.0; 3], &[0.0; 3]).unwrap().to_bits(), 0, "{backend}");
        let mut unit = [PATTERN; 3];
        backend.normalize_into(&[0.0; 3], &mut unit).unwrap();
        assert_eq!(unit, [0.0; 3], "{backend}");
    }
    let zeros = [0.0; 12];
    let batch = Batch::paired(&zeros, &zeros, 3).unwrap();
    for negatives in ALL_NEGATIVES {
        check_forward(batch, negatives, &mut workspace, "nothing but zero rows");
    }
}

/// The cosine in plain `f64`, which neither overflows nor underflows on squares of `f32`.
fn plain_cosine(x: &[f32], y: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    dot(x, y) / (dot(x, x).sqrt() * dot(y, y).sqrt())
}

/// Rows of these magnitudes, times elements of at most 1: `f32` ends at 3.4e38, and below 1e-38 it loses digits.
const SCALES: [f32; 7] = [1e-40, 3e38, 1e-30, 1.0, 1e30, 1e-45, 1e-38];

#[test]
fn rows_of_extreme_size_have_the_right_cosine() {
    const DIM: usize = 33;
    let OwnedBatch { anchors, candidates, .. } = Data::CommonMean.batch(8, 7, 14, DIM);
    let scaled = |rows: &[f32], shift: usize| -> Vec<f32> {
        let scale = |(row, values): (usize, &[f32])| {
            let scale = SCALES[(row + shift) % SCALES.len()];
            values
                .iter()
                .map(|value| value / 4.0 * scale)
                .map(|value| if value == 0.0 { scale } else { value })
                .collect()
        };
        rows.chunks(DIM).enumerate().flat_map(|row| -> Vec<f32> { scale(row) }).collect()
    };
    let mut workspace = Workspace::new();
    for shift in 0..SCALES.len() {
        let (anchors, candidates) = (scaled(&anchors, 0), scaled(&candidates, shift));
        assert!(anchors.iter().chain(&candidates).all(|value| value.is_finite()));
        for (x, y) in anchors.chunks(DIM).zip(candidates.chunks(DIM)) {
            let expected = plain_cosine(x, y);
            for backend in Backend::available() {
                let actual = backend.cosine_similarity(x, y).unwrap();
                assert!((expected - f64::from(actual)).abs() < 1e-7, "{backend}: {expected} against {actual}");
                let mut unit = [PATTERN; DIM];
                backend.normalize_into(x, &mut unit).unwrap();
                let norm = backend.norm(&unit).unwrap();
                assert!((norm - 1.0).abs() < 1e-6, "{backend}: a unit row of norm {norm}");
            }
        }
        let batch = Batch::new(&anchors, &candidates, DIM, Positives::Identity).unwrap();
        for negatives in ALL_NEGATIVES {
            check_forward(batch, negatives, &mut workspace, "extreme rows");
        }
        let forward = TripletLoss::new().forward(batch, &mut workspace).unwrap();
        for (row, (stats, anchor)) in forward.row_stats().iter().zip(anchors.chunks(DIM)).enumerate() {
            let similarities: Vec<f64> = candidates.chunks(DIM).map(|other| plain_cosine(anchor, other)).collect();
            let others: f64 = similarities.iter().sum::<f64>() - similarities[row];
            let mean = others / (similarities.len() - 1) as f64;
            assert!((similarities[row] - f64::from(stats.positive())).abs() < 1e-6, "row {row}");
            assert!((mean - f64::from(stats.mean_negative().unwrap())).abs() < 1e-6, "row {row}");
        }
    }
}

#[test]
fn the_largest_and_the_smallest_numbers() {
    for dim in [1, 7, 64, 4096] {
        for value in [f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1)] {
            let row = vec![value; dim];
            for backend in Backend::available() {
                assert_eq!(backend.cosine_similarity(&row, &row).unwrap(), 1.0, "{backend}: {value} x {dim}");
            }
            let batch = [row.clone(), row].concat();
            let batch = Batch::paired(&batch, &batch, dim).unwrap();
            for negatives in ALL_NEGATIVES {
                check_forward(batch, negatives, &mut Workspace::new(), &format!("{value} x {dim}"));
            }
        }
    }
}
