//! How near the gradients are to those in more digits: of the reference, of autograd, and of differences of the loss.

use std::path::PathBuf;

use hardneg::{Backend, Batch, Negatives, TripletLoss, Workspace, reference};

use super::{forward_backward, input, run};
use crate::common::{ALL_DATA, Data, OwnedBatch};
use crate::npz::Npz;

#[test]
fn rounded_gradients_are_those_of_the_reference() {
    for data in ALL_DATA {
        let input = input(data, 6, 60, 50, 24);
        let [by_anchors, by_candidates, _] =
            reference::backward(input.batch(), 0.5, Negatives::Below, &vec![1.0; 60]).unwrap();
        let (_, pair) = run(TripletLoss::new().margin(0.5), input.batch(), None);
        let rows = [(&input.anchors, &by_anchors, &pair[0]), (&input.candidates, &by_candidates, &pair[1])];
        for (rows, expected, actual) in rows {
            for ((row, expected), actual) in rows.chunks(24).zip(expected.chunks(24)).zip(actual.chunks(24)) {
                // The derivatives by the similarities of a row add up to less than 3 for each of at most 60 anchors.
                let scale = 180.0 / reference::norm(row).max(f64::MIN_POSITIVE);
                for (&expected, &actual) in expected.iter().zip(actual) {
                    let tolerance = expected.abs() * 2.0_f64.powi(-24) + 5e-15 * scale + 1e-45;
                    let near = (expected - f64::from(actual)).abs() <= tolerance || expected as f32 == actual;
                    assert!(near, "{data:?}: {expected} against {actual}");
                }
            }
        }
    }
}

/// Fails unless all numbers are within 1e-6 of the largest expected one.
fn assert_near_the_largest(expected: &[f64], actual: &[f32], what: &str) {
    assert_eq!(expected.len(), actual.len(), "{what}");
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    for (index, (expected, &actual)) in expected.iter().zip(actual).enumerate() {
        let near = (expected - f64::from(actual)).abs() <= 1e-6 * largest;
        assert!(near, "{what}[{index}]: {expected} against {actual}, the largest is {largest}");
    }
}

#[test]
fn gradients_that_pytorch_computed() {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases.json");
    let cases: serde_json::Value = serde_json::from_reader(std::fs::File::open(cases).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 8, "the list of cases");
    let mut some = false;
    for case in cases {
        let (file, dim) = (case["file"].as_str().unwrap(), case["dim"].as_u64().unwrap() as usize);
        let archive = Npz::open(file);
        let (a, c) = (archive.f32("anchors"), archive.f32("positives"));
        let negatives = match case["negatives"].as_str().unwrap() {
            "below" => Negatives::Below,
            "at_or_below" => Negatives::AtOrBelow,
            _ => Negatives::Any,
        };
        let margin = case["margin"].as_f64().unwrap() as f32;
        let batch = Batch::paired(&a, &c, dim).unwrap();
        for backend in Backend::available() {
            let plan = TripletLoss::new().margin(margin).negatives(negatives).backend(backend);
            let (_, [by_anchors, by_positives]) = run(plan, batch, None);
            assert_near_the_largest(&archive.f64("grad_anchors"), &by_anchors, &format!("{file}, anchors"));
            assert_near_the_largest(&archive.f64("grad_positives"), &by_positives, &format!("{file}, positives"));
            some |= by_anchors.iter().any(|&value| value != 0.0);
        }
    }
    assert!(some, "every gradient is 0");
}

/// The loss of a batch in `f64`, with the closest negatives held fixed, as the derivative holds them.
fn loss64(a: &[f64], c: &[f64], input: &OwnedBatch, closest: &[Option<usize>], margin: f64) -> f64 {
    let (dim, positives) = (input.dim, input.positives());
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let rows = a.chunks(dim).zip(&positives).zip(closest);
    rows.map(|((anchor, &positive), closest)| {
        let cosine =
            |candidate: &[f64]| dot(anchor, candidate) / (dot(anchor, anchor) * dot(candidate, candidate)).sqrt();
        let similarities: Vec<f64> = c.chunks(dim).map(cosine).collect();
        let others = similarities.len() - 1;
        let mean = (similarities.iter().sum::<f64>() - similarities[positive]) / others as f64;
        let hinge = |negative: f64| (negative - similarities[positive] + margin).max(0.0);
        hinge(mean) + closest.map_or(0.0, |closest| hinge(similarities[closest]))
    })
    .sum()
}

#[test]
fn central_differences_of_the_loss() {
    const STEP: f64 = 1e-5;
    for (seed, rows, candidates, dim, margin) in [(1, 6, 9, 5, 0.3), (2, 9, 7, 8, 1.25), (3, 12, 12, 3, 0.0)] {
        let input = input(Data::Random, seed, rows, candidates, dim);
        let mut workspace = Workspace::new();
        let plan = TripletLoss::new().margin(margin).negatives(Negatives::Any);
        let (forward, [by_anchors, by_candidates]) = forward_backward(plan, input.batch(), None, &mut workspace);
        assert!(forward.loss().active_mean + forward.loss().active_closest > 0);
        let stats = forward.row_stats();
        let closest: Vec<_> = stats.iter().map(|row| row.closest_negative().map(|closest| closest.index())).collect();
        let wide = |rows: &[f32]| rows.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        let sides = [wide(&input.anchors), wide(&input.candidates)];
        for (side, gradient) in [by_anchors, by_candidates].iter().enumerate() {
            for (index, &gradient) in gradient.iter().enumerate() {
                let at = |step: f64| {
                    let mut sides = sides.clone();
                    sides[side][index] += step;
                    loss64(&sides[0], &sides[1], &input, &closest, margin.into())
                };
                let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let error = (slope - f64::from(gradient)).abs();
                assert!(error < 1e-6 * (1.0 + slope.abs()), "seed {seed}: {slope} against {gradient}");
            }
        }
    }
}
