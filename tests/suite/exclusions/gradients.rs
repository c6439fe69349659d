//! Gradients of batches with exclusions: against the reference bit for bit, against autograd, and against differences of
//! the loss.

use hardneg::{Exclusions, Gradients, Negatives, TripletLoss, Workspace, reference};

use super::{Case, SHAPES, input};
use crate::common::{ALL_DATA, ALL_KINDS, ALL_NEGATIVES, Data, OwnedBatch, Pairing, Random, bits, ways_of_one_screen};

/// The gradients of all sides, with weights.
pub(super) fn of_all_sides(
    plan: TripletLoss,
    input: &OwnedBatch,
    weights: &[f32],
    workspace: &mut Workspace,
) -> [Vec<f32>; 3] {
    let outside = if let Pairing::Outside(rows) = &input.pairing { rows.len() } else { 0 };
    let lengths = [input.anchors.len(), input.candidates.len(), outside];
    let [mut a, mut c, mut p] = lengths.map(|length| vec![7.5; length]);
    let gradients = Gradients::new(&mut a, &mut c).positives(&mut p).weights(weights);
    let _ = plan.forward_backward(input.batch(), gradients, workspace).unwrap();
    // Those of the anchors are the same alone.
    let mut alone = vec![7.5; lengths[0]];
    let gradients = Gradients::of_anchors(&mut alone).weights(weights);
    let _ = plan.forward_backward(input.batch(), gradients, workspace).unwrap();
    assert_eq!(bits(&a), bits(&alone), "the anchors alone");
    [a, c, p]
}

#[test]
fn gradients_are_the_bits_of_the_reference() {
    let mut workspace = Workspace::new();
    let mut random = Random(1);
    for (rows, candidates, dim) in SHAPES {
        for (turn, kind) in ALL_KINDS.into_iter().enumerate() {
            let seed = (turn + rows) as u64;
            let data = ALL_DATA[(turn + dim) % ALL_DATA.len()];
            let input = input(data, kind, seed, rows, candidates, dim);
            let (negatives, margin) = (ALL_NEGATIVES[(turn + rows) % 3], [0.25, 1.0][turn % 2]);
            let mut weights = random.rows(1, rows);
            if turn % 2 == 0 {
                weights.iter_mut().step_by(3).for_each(|weight| *weight = 0.0);
            }
            let wide: Vec<f64> = weights.iter().map(|&weight| weight.into()).collect();
            let stats = reference::row_stats(input.batch(), negatives).unwrap();
            let expected = reference::gradients(input.batch(), &stats, margin, &wide);
            for (way, plan) in ways_of_one_screen(TripletLoss::new().margin(margin).negatives(negatives)) {
                let actual = of_all_sides(plan, &input, &weights, &mut workspace);
                for (expected, actual) in expected.iter().zip(&actual) {
                    let what = format!("{kind:?}, {data:?} {rows} x {candidates} x {dim}, {way}");
                    assert_eq!(bits(expected), bits(actual), "{what}");
                }
            }
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn gradients_on_any_number_of_threads() {
    use crate::common::Kind;

    let mut workspace = Workspace::new();
    for kind in [Kind::EqualLabels, Kind::SmallGroups, Kind::LargeGroups, Kind::ZipfLabels, Kind::LongLists] {
        let input = input(Data::CommonMean, kind, 5, 500, 700, 450);
        assert!(input.anchors.len() + input.candidates.len() > 1 << 19);
        let weights = vec![1.0; 500];
        let plan = TripletLoss::new().margin(1.0);
        let expected = of_all_sides(plan, &input, &weights, &mut workspace);
        for threads in [1, 2, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let plan = plan.threads(hardneg::Threads::Rayon);
            let actual = pool.install(|| of_all_sides(plan, &input, &weights, &mut workspace));
            for (expected, actual) in expected.iter().zip(&actual) {
                assert_eq!(bits(expected), bits(actual), "{kind:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn gradients_that_pytorch_computed() {
    let mut workspace = Workspace::new();
    for case in Case::all() {
        let weights = vec![1.0; case.batch.rows()];
        let mut some = case.name == "exclusion_all_excluded";
        for (_, plan) in ways_of_one_screen(case.plan) {
            let actual = of_all_sides(plan, &case.batch, &weights, &mut workspace);
            for (name, actual) in ["grad_anchors", "grad_candidates", "grad_positives"].into_iter().zip(&actual) {
                if actual.is_empty() {
                    continue;
                }
                let expected = case.archive.f32(name);
                let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                some |= largest > 0.0;
                for (expected, actual) in expected.iter().zip(actual) {
                    let near = (expected - actual).abs() <= 1e-6 * largest;
                    assert!(near, "{}, {name}: {expected} against {actual}, the largest is {largest}", case.name);
                }
            }
        }
        assert!(some, "{}: every gradient is 0", case.name);
    }
}

/// The loss of a batch in `f64`, with the closest negatives held fixed.
fn loss64(sides: &[Vec<f64>; 3], input: &OwnedBatch, closest: &[Option<usize>], margin: f64) -> f64 {
    let dim = input.dim;
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let cosine = |x: &[f64], y: &[f64]| dot(x, y) / (dot(x, x) * dot(y, y)).sqrt();
    let is_excluded = |row: usize, candidate: usize| match input.excluding.exclusions() {
        Exclusions::Labels { anchors, candidates } => anchors[row] == candidates[candidate],
        Exclusions::Lists { offsets, indices } => indices[offsets[row]..offsets[row + 1]].contains(&candidate),
        Exclusions::Shared(indices) => indices.contains(&candidate),
        Exclusions::SharedU32(indices) => indices.contains(&(candidate as u32)),
        _ => false,
    };
    let rows = sides[0].chunks(dim).enumerate().zip(closest);
    rows.map(|((row, anchor), closest)| {
        let index = if let Pairing::Indices(indices) = &input.pairing { Some(indices[row]) } else { None };
        let similarities: Vec<f64> = sides[1].chunks(dim).map(|candidate| cosine(anchor, candidate)).collect();
        let positive = index.map_or_else(|| cosine(anchor, &sides[2][row * dim..][..dim]), |index| similarities[index]);
        let negatives = (0..similarities.len()).filter(|&other| Some(other) != index && !is_excluded(row, other));
        let negatives: Vec<f64> = negatives.map(|other| similarities[other]).collect();
        let hinge = |negative: f64| (negative - positive + margin).max(0.0);
        let mean = negatives.iter().sum::<f64>() / negatives.len() as f64;
        let mean = if negatives.is_empty() { 0.0 } else { hinge(mean) };
        mean + closest.map_or(0.0, |closest| hinge(similarities[closest]))
    })
    .sum()
}

#[test]
fn central_differences_of_the_loss() {
    const STEP: f64 = 1e-5;
    let mut workspace = Workspace::new();
    for (turn, kind) in ALL_KINDS.into_iter().cycle().take(20).enumerate() {
        let input = input(Data::Random, kind, turn as u64, 7, 9, 5);
        let margin = [0.3, 1.25][turn % 2];
        let plan = TripletLoss::new().margin(margin).negatives(Negatives::Any);
        let stats = plan.forward(input.batch(), &mut workspace).unwrap().row_stats().to_vec();
        let closest: Vec<_> = stats.iter().map(|row| row.closest_negative().map(|closest| closest.index())).collect();
        let gradients = of_all_sides(plan, &input, &[1.0; 7], &mut workspace);
        let wide = |rows: &[f32]| rows.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        let outside = if let Pairing::Outside(rows) = &input.pairing { wide(rows) } else { Vec::new() };
        let sides = [wide(&input.anchors), wide(&input.candidates), outside];
        for (side, gradient) in gradients.iter().enumerate() {
            for (index, &gradient) in gradient.iter().enumerate() {
                let at = |step: f64| {
                    let mut sides = sides.clone();
                    sides[side][index] += step;
                    loss64(&sides, &input, &closest, margin.into())
                };
                let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let error = (slope - f64::from(gradient)).abs();
                assert!(error < 1e-6 * (1.0 + slope.abs()), "{kind:?}, side {side}: {slope} against {gradient}");
            }
        }
    }
}
