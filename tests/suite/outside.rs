//! Positives that are no candidates: against the reference bit for bit, what errors say of them, and what the calls
//! promise besides.

use hardneg::{
    Batch, Error, Gradients, Positives, RowStats, Side, SimilarityMatrix, TripletLoss, Workspace, reference,
};

use crate::common::{
    ALL_DATA, ALL_NEGATIVES, Data, OwnedBatch, Pairing, Random, assert_loss, assert_rows, bits, check_forward, ways,
    ways_of_one_screen,
};

/// Anchors, candidates and as many positives of their own as anchors, all of one kind.
fn input(data: Data, seed: u64, rows: usize, candidates: usize, dim: usize) -> OwnedBatch {
    let mut batch = data.batch(seed, 2 * rows, candidates, dim);
    let positives = batch.anchors.split_off(rows * dim);
    batch.with(Pairing::Outside(positives))
}

const SHAPES: [(usize, usize, usize); 10] = [
    (1, 1, 1),
    (3, 1, 16),
    (40, 1, 33),
    (1, 2, 17),
    (2, 50, 5),
    (33, 31, 15),
    (10, 200, 40),
    (97, 193, 64),
    (192, 240, 65),
    (385, 40, 17),
];

#[test]
fn every_way_to_run_gives_the_bits_of_the_reference() {
    let mut workspace = Workspace::new();
    for (rows, candidates, dim) in SHAPES {
        for (turn, data) in ALL_DATA.into_iter().enumerate() {
            let input = input(data, turn as u64, rows, candidates, dim);
            let what = format!("{data:?} {rows} x {candidates} x {dim}");
            check_forward(input.batch(), ALL_NEGATIVES[turn % 3], &mut workspace, &what);
        }
    }
}

/// One anchor against so many candidates that these are divided over threads.
#[test]
fn few_anchors_whose_candidates_are_divided_over_threads() {
    let mut workspace = Workspace::new();
    for (turn, data) in [Data::Random, Data::NearTies, Data::ZeroRows].into_iter().enumerate() {
        let input = input(data, turn as u64, 1, 3000, 901);
        check_forward(input.batch(), ALL_NEGATIVES[turn], &mut workspace, &format!("{data:?}"));
    }
}

/// A positive among the candidates gives the same statistics, but for the mean, which has as many negatives.
#[test]
fn the_same_positive_among_the_candidates() {
    let mut workspace = Workspace::new();
    for candidates in [1, 90] {
        let outside = input(Data::CommonMean, 3, 1, candidates, 19);
        let Pairing::Outside(positive) = &outside.pairing else { unreachable!() };
        let all = [&outside.candidates[..], positive].concat();
        let inside = OwnedBatch::new(outside.anchors.clone(), all, 19, Pairing::Indices(vec![candidates]));
        for negatives in ALL_NEGATIVES {
            let plan = TripletLoss::new().negatives(negatives);
            let inside = plan.forward(inside.batch(), &mut workspace).unwrap().row_stats()[0];
            let outside = plan.forward(outside.batch(), &mut workspace).unwrap().row_stats()[0];
            assert_eq!(inside.positive(), outside.positive());
            assert_eq!(inside.closest_negative(), outside.closest_negative());
            let [inside, outside] = [inside, outside].map(|row| row.mean_negative().unwrap());
            assert!((inside - outside).abs() < 1e-6);
        }
    }
}

#[test]
fn lengths_and_single_candidates() {
    let data = [1.0; 24];
    for actual in [0, 4, 11, 13, 16] {
        let error = Batch::new(&data[..12], &data, 4, Positives::Outside(&data[..actual])).unwrap_err();
        assert_eq!(error, Error::Length { side: Side::Positives, expected: 12, actual });
        let error = SimilarityMatrix::new(&data, 3, 8, Positives::Outside(&data[..actual])).unwrap_err();
        assert_eq!(error, Error::Length { side: Side::Positives, expected: 3, actual });
    }
    let one = Batch::new(&data[..12], &data[..4], 4, Positives::Outside(&data[..12])).unwrap();
    assert_eq!((one.rows(), one.candidates()), (3, 1));
    assert_eq!(
        Batch::new(&data[..4], &[], 4, Positives::Outside(&data[..4])).unwrap_err(),
        Error::Empty { side: Side::Candidates }
    );
}

/// The error names the positive's row, after anchors and candidates that are not finite.
#[test]
fn positives_that_are_not_finite() {
    for (rows, candidates, dim) in [(3, 5, 4), (200, 390, 41)] {
        for (turn, bad) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
            let mut input = input(Data::Random, 1, rows, candidates, dim);
            let row = [0, rows / 2, rows - 1][turn];
            let Pairing::Outside(positives) = &mut input.pairing else { unreachable!() };
            positives[row * dim + turn] = bad;
            let check = |input: &OwnedBatch, side: Side, row: usize| {
                for (way, plan) in ways(TripletLoss::new().negatives(ALL_NEGATIVES[turn])) {
                    let error = plan.forward(input.batch(), &mut Workspace::new()).unwrap_err();
                    assert_eq!(error, Error::NotFinite { side, row }, "{way}");
                }
                let error = reference::row_stats(input.batch(), ALL_NEGATIVES[turn]).unwrap_err();
                assert_eq!(error, Error::NotFinite { side, row });
            };
            check(&input, Side::Positives, row);
            input.candidates[dim] = bad;
            check(&input, Side::Candidates, 1);
            input.anchors[2 * dim] = bad;
            check(&input, Side::Anchors, 2);
        }
    }
}

#[test]
fn zero_positives_are_counted() {
    let mut workspace = Workspace::new();
    for (rows, candidates) in [(4, 3), (60, 70)] {
        let mut input = input(Data::Random, 5, rows, candidates, 8);
        let Pairing::Outside(positives) = &mut input.pairing else { unreachable!() };
        positives[8..24].fill(0.0);
        for (way, plan) in ways(TripletLoss::new()) {
            let loss = plan.forward(input.batch(), &mut workspace).unwrap().loss();
            let counts = (loss.zero_anchors, loss.zero_candidates, loss.zero_positives);
            assert_eq!(counts, (Some(0), Some(0), Some(2)), "{way}");
        }
    }
}

/// Buffers for the gradients of all sides, full of rubbish.
fn dirty(batch: Batch<'_>) -> [Vec<f32>; 3] {
    [batch.rows(), batch.candidates(), batch.rows()].map(|rows| vec![7.5; rows * batch.dim()])
}

#[test]
fn gradients_are_the_bits_of_the_reference() {
    let mut workspace = Workspace::new();
    let mut random = Random(1);
    for (rows, candidates, dim) in SHAPES {
        for (turn, data) in ALL_DATA.into_iter().enumerate() {
            let (input, negatives) = (input(data, turn as u64, rows, candidates, dim), ALL_NEGATIVES[turn % 3]);
            let (batch, margin) = (input.batch(), [0.25, 1.0][turn % 2]);
            let weights = random.rows(1, rows);
            let wide: Vec<f64> = weights.iter().map(|&weight| weight.into()).collect();
            let stats = reference::row_stats(batch, negatives).unwrap();
            let expected = reference::gradients(batch, &stats, margin, &wide);
            for (way, plan) in ways_of_one_screen(TripletLoss::new().margin(margin).negatives(negatives)) {
                let what = format!("{data:?} {rows} x {candidates} x {dim}, {way}");
                let [mut a, mut c, mut p] = dirty(batch);
                let gradients = Gradients::new(&mut a, &mut c).positives(&mut p).weights(&weights);
                let forward = plan.forward_backward(batch, gradients, &mut workspace).unwrap();
                assert_rows(&stats, forward.row_stats(), &what);
                for (expected, actual) in expected.iter().zip([&a, &c, &p]) {
                    assert_eq!(bits(expected), bits(actual), "{what}");
                }
                // Those of candidates, or of positives as well, may be left out.
                let [mut alone, _, mut positives] = dirty(batch);
                let gradients = Gradients::of_anchors(&mut alone).positives(&mut positives).weights(&weights);
                let _ = plan.forward_backward(batch, gradients, &mut workspace).unwrap();
                assert_eq!([bits(&a), bits(&p)], [bits(&alone), bits(&positives)], "{what}");
                let [mut alone, ..] = dirty(batch);
                let gradients = Gradients::of_anchors(&mut alone).weights(&weights);
                let _ = plan.forward_backward(batch, gradients, &mut workspace).unwrap();
                assert_eq!(bits(&a), bits(&alone), "{what}");
            }
        }
    }
}

/// The loss of one anchor in `f64`, its closest negative held fixed.
fn loss64(sides: &[Vec<f64>; 3], dim: usize, closest: &[Option<usize>], margin: f64) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let cosine = |x: &[f64], y: &[f64]| dot(x, y) / (dot(x, x) * dot(y, y)).sqrt();
    let [anchors, candidates, positives] = sides;
    let rows = anchors.chunks(dim).zip(positives.chunks(dim)).zip(closest);
    rows.map(|((anchor, positive), closest)| {
        let similarities: Vec<f64> = candidates.chunks(dim).map(|candidate| cosine(anchor, candidate)).collect();
        let mean = similarities.iter().sum::<f64>() / similarities.len() as f64;
        let hinge = |negative: f64| (negative - cosine(anchor, positive) + margin).max(0.0);
        hinge(mean) + closest.map_or(0.0, |closest| hinge(similarities[closest]))
    })
    .sum()
}

#[test]
fn central_differences_of_the_loss() {
    const STEP: f64 = 1e-5;
    for (seed, rows, candidates, dim, margin) in [(1, 6, 9, 5, 0.3), (2, 9, 1, 8, 1.25), (3, 12, 12, 3, 0.0)] {
        let input = input(Data::Random, seed, rows, candidates, dim);
        let Pairing::Outside(positives) = &input.pairing else { unreachable!() };
        let mut workspace = Workspace::new();
        let [mut a, mut c, mut p] = dirty(input.batch());
        let gradients = Gradients::new(&mut a, &mut c).positives(&mut p);
        let plan = TripletLoss::new().margin(margin);
        let forward = plan.forward_backward(input.batch(), gradients, &mut workspace).unwrap();
        assert!(forward.loss().active_mean + forward.loss().active_closest > 0);
        let closest = |row: &RowStats| row.closest_negative().map(|closest| closest.index());
        let closest: Vec<_> = forward.row_stats().iter().map(closest).collect();
        let wide = |rows: &[f32]| rows.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        let sides = [wide(&input.anchors), wide(&input.candidates), wide(positives)];
        for (side, gradient) in [a, c, p].iter().enumerate() {
            for (index, &gradient) in gradient.iter().enumerate() {
                let at = |step: f64| {
                    let mut sides = sides.clone();
                    sides[side][index] += step;
                    loss64(&sides, dim, &closest, margin.into())
                };
                let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let error = (slope - f64::from(gradient)).abs();
                assert!(error < 1e-6 * (1.0 + slope.abs()), "seed {seed}, side {side}: {slope} against {gradient}");
            }
        }
    }
}

#[test]
fn buffers_of_positives_that_are_missing_or_too_many() {
    let outside = input(Data::Random, 1, 3, 5, 4);
    let inside = outside.clone().with(Pairing::Identity);
    let wrong = |expected, actual| Error::Length { side: Side::PositiveGradients, expected, actual };
    let mut workspace = Workspace::new();
    let mut check = |batch: Batch<'_>, length: Option<usize>, expected: Error| {
        let [mut a, mut c, _] = dirty(batch);
        let mut p = vec![7.5; length.unwrap_or(0)];
        let gradients = Gradients::new(&mut a, &mut c);
        let gradients = if length.is_some() { gradients.positives(&mut p) } else { gradients };
        let error = TripletLoss::new().forward_backward(batch, gradients, &mut workspace).unwrap_err();
        assert_eq!(error, expected);
        assert!([a, c, p].iter().flatten().all(|&value| value == 7.5), "something was written");
    };
    check(outside.batch(), None, wrong(12, 0));
    check(outside.batch(), Some(11), wrong(12, 11));
    check(inside.batch(), Some(12), wrong(0, 12));
    let mut p = [0.0; 13];
    let gradients = |a, p| Gradients::of_anchors(a).positives(p);
    let mut a = [0.0; 12];
    let error = TripletLoss::new().forward_backward(outside.batch(), gradients(&mut a, &mut p), &mut workspace);
    assert_eq!(error.unwrap_err(), wrong(12, 13));
}

#[test]
fn similarities_with_positives_outside() {
    let mut workspace = Workspace::new();
    let mut random = Random(4);
    for (rows, columns) in [(1, 1), (3, 1), (1, 40), (17, 33), (60, 90)] {
        let (matrix, positives) = (random.rows(rows, columns), random.rows(1, rows));
        let given = SimilarityMatrix::new(&matrix, rows, columns, Positives::Outside(&positives)).unwrap();
        for negatives in ALL_NEGATIVES {
            let expected = reference::row_stats_from_similarities(given, negatives);
            for (way, plan) in ways_of_one_screen(TripletLoss::new().negatives(negatives)) {
                let forward = plan.forward_from_similarities(given, &mut workspace).unwrap();
                assert_rows(&expected, forward.row_stats(), &way);
                assert_loss(&reference::loss(&expected, 0.25, plan.reduction), &forward.loss(), &way);
            }
        }
        let mut bad = positives.clone();
        bad[rows - 1] = f32::NAN;
        let given = SimilarityMatrix::new(&matrix, rows, columns, Positives::Outside(&bad)).unwrap();
        let error = TripletLoss::new().forward_from_similarities(given, &mut workspace).unwrap_err();
        assert_eq!(error, Error::NotFinite { side: Side::Positives, row: rows - 1 });
    }
}

/// Anchors in several calls, each with its own positives.
#[test]
fn any_split_of_the_anchors() {
    let whole = input(Data::CommonMean, 6, 61, 80, 24);
    let Pairing::Outside(positives) = &whole.pairing else { unreachable!() };
    let mut workspace = Workspace::new();
    let plan = TripletLoss::new();
    let expected = plan.forward(whole.batch(), &mut workspace).unwrap().row_stats().to_vec();
    for step in [1, 2, 16, 60] {
        let mut rows = Vec::new();
        for (anchors, positives) in whole.anchors.chunks(step * 24).zip(positives.chunks(step * 24)) {
            let batch = Batch::new(anchors, &whole.candidates, 24, Positives::Outside(positives)).unwrap();
            rows.extend_from_slice(plan.forward(batch, &mut workspace).unwrap().row_stats());
        }
        assert_rows(&expected, &rows, &format!("{step} anchors a call"));
    }
}
