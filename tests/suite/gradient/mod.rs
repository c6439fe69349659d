//! The gradients: against the reference bit for bit, against its more accurate ones, against autograd, against finite
//! differences, and what the calls promise besides.

mod accuracy;
mod of_anchors;

use hardneg::{
    Backend, Batch, Error, Forward, Gradients, Loss, Negatives, Positives, Reduction, Side, TripletLoss, Workspace,
    reference,
};

use crate::common::{
    ALL_DATA, ALL_NEGATIVES, ALL_REDUCTIONS, Data, OwnedBatch, Pairing, Random, assert_forward, assert_loss,
    assert_rows, bits, ways, ways_of_one_screen,
};

/// The gradients with respect to the anchors and to the candidates.
type Pair = [Vec<f32>; 2];

/// A batch of any kind of rows, with positives that repeat.
fn input(data: Data, seed: u64, rows: usize, candidates: usize, dim: usize) -> OwnedBatch {
    let pairing = Pairing::random(&mut Random(seed ^ 77), rows, candidates.min(rows / 2 + 2));
    data.batch(seed, rows, candidates, dim).with(pairing)
}

/// Two buffers for the gradients of a batch, full of rubbish.
fn dirty(batch: Batch<'_>) -> Pair {
    [batch.rows(), batch.candidates()].map(|rows| vec![7.5; rows * batch.dim()])
}

fn zeros(batch: Batch<'_>) -> Pair {
    [batch.rows(), batch.candidates()].map(|rows| vec![0.0; rows * batch.dim()])
}

/// The gradients with weights, if there are any.
fn weighted<'a>(gradients: Gradients<'a>, weights: Option<&'a [f32]>) -> Gradients<'a> {
    if let Some(weights) = weights { gradients.weights(weights) } else { gradients }
}

/// Both buffers, with weights, if there are any.
fn both<'a>([a, c]: &'a mut Pair, weights: Option<&'a [f32]>) -> Gradients<'a> {
    weighted(Gradients::new(a, c), weights)
}

fn forward_backward<'w, 'b>(
    plan: TripletLoss,
    batch: Batch<'b>,
    weights: Option<&[f32]>,
    workspace: &'w mut Workspace,
) -> (Forward<'w, 'b>, Pair) {
    let mut pair = dirty(batch);
    let forward = plan.forward_backward(batch, both(&mut pair, weights), workspace).unwrap();
    (forward, pair)
}

/// The loss and the gradients, from a workspace of their own.
fn run(plan: TripletLoss, batch: Batch<'_>, weights: Option<&[f32]>) -> (Loss, Pair) {
    let mut workspace = Workspace::new();
    let (forward, pair) = forward_backward(plan, batch, weights, &mut workspace);
    (forward.loss(), pair)
}

fn pair_bits(pair: &Pair) -> [Vec<u32>; 2] {
    [bits(&pair[0]), bits(&pair[1])]
}

fn assert_pair(expected: &Pair, actual: &Pair, what: &str) {
    for (side, (expected, actual)) in ["anchors", "candidates"].into_iter().zip(expected.iter().zip(actual)) {
        assert_eq!(expected.len(), actual.len(), "{what}: {side}");
        for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
            assert_eq!(expected.to_bits(), actual.to_bits(), "{what}: {side}[{index}]: {expected} against {actual}");
        }
    }
}

#[test]
fn every_way_to_run_gives_the_bits_of_the_reference() {
    let mut workspace = Workspace::new();
    let mut random = Random(1);
    for (rows, candidates, dim) in [(1, 2, 1), (2, 3, 16), (33, 31, 15), (70, 90, 33), (385, 40, 17), (60, 385, 48)] {
        for data in ALL_DATA {
            let input = input(data, random.bits(), rows, candidates, dim);
            let weights = random.rows(1, rows);
            for negatives in ALL_NEGATIVES {
                for margin in [0.25, 1.0] {
                    check_bits(&input, negatives, margin, &weights, &mut workspace, &format!("{data:?}"));
                }
            }
        }
    }
}

fn check_bits(
    input: &OwnedBatch,
    negatives: Negatives,
    margin: f32,
    weights: &[f32],
    workspace: &mut Workspace,
    what: &str,
) {
    let batch = input.batch();
    let expected = reference::forward(batch, margin, negatives, Reduction::Mean).unwrap();
    let implied = 1.0 / batch.rows() as f64;
    let given: Vec<f64> = weights.iter().map(|&weight| weight.into()).collect();
    let product: Vec<f64> = given.iter().map(|weight| weight * implied).collect();
    let reference = |weights: &[f64]| {
        let [anchors, candidates, _] = reference::gradients(batch, &expected.1, margin, weights);
        [anchors, candidates]
    };
    let by_mean = reference(&vec![implied; batch.rows()]);
    let (by_weights, by_both) = (reference(&given), reference(&product));
    let what = format!("{what}, {} x {} x {}, {negatives}, {margin}", batch.rows(), batch.candidates(), batch.dim());
    for (way, sum) in ways_of_one_screen(TripletLoss::new().margin(margin).negatives(negatives)) {
        let what = format!("{what}, {way}");
        let mean = sum.reduction(Reduction::Mean);
        let (actual, pair) = forward_backward(mean, batch, None, workspace);
        assert_forward(&expected, &actual, &what);
        assert_pair(&by_mean, &pair, &what);
        let (actual, pair) = forward_backward(mean, batch, Some(weights), workspace);
        assert_forward(&expected, &actual, &what);
        assert_pair(&by_both, &pair, &what);
        let (actual, pair) = forward_backward(sum, batch, Some(weights), workspace);
        assert_rows(&expected.1, actual.row_stats(), &what);
        assert_pair(&by_weights, &pair, &what);
    }
}

#[test]
#[cfg(feature = "rayon")]
fn every_number_of_threads_gives_the_same_bits() {
    // So many elements that the work is divided.
    let input = input(Data::CommonMean, 5, 500, 700, 450);
    assert!(input.anchors.len() + input.candidates.len() > 1 << 19);
    let (_, expected) = run(TripletLoss::new().threads(hardneg::Threads::Serial), input.batch(), None);
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for backend in Backend::available() {
            let plan = TripletLoss::new().backend(backend).threads(hardneg::Threads::Rayon);
            let (_, pair) = pool.install(|| run(plan, input.batch(), None));
            assert_pair(&expected, &pair, &format!("{backend}, {threads} threads"));
        }
    }
}

#[test]
fn backward_alone_and_several_times() {
    let input = input(Data::CommonMean, 8, 90, 70, 20);
    let batch = input.batch();
    let weights = Random(8).rows(1, 90);
    let mut workspace = Workspace::new();
    for plan in [TripletLoss::new(), TripletLoss::new().margin(0.75).reduction(Reduction::Mean)] {
        let mut forward = plan.forward(batch, &mut workspace).unwrap();
        for weights in [None, Some(&weights[..]), None] {
            let mut pair = dirty(batch);
            forward.backward(both(&mut pair, weights)).unwrap();
            assert_pair(&run(plan, batch, weights).1, &pair, "backward alone");
        }
    }
}

#[test]
fn accumulating_adds_in_double_precision() {
    for data in [Data::Random, Data::ZeroRows, Data::Scaled] {
        let input = input(data, 9, 40, 45, 12);
        let batch = input.batch();
        let mut random = Random(3);
        let before = zeros(batch).map(|side| random.rows(1, side.len()));
        let mut pair = before.clone();
        let mut workspace = Workspace::new();
        let [a, c] = &mut pair;
        let gradients = Gradients::new(a, c).accumulate();
        let _ = TripletLoss::new().forward_backward(batch, gradients, &mut workspace).unwrap();
        let (_, alone) = run(TripletLoss::new(), batch, None);
        for side in 0..2 {
            for ((before, alone), after) in before[side].iter().zip(&alone[side]).zip(&pair[side]) {
                let sum = f64::from(*before) + f64::from(*alone);
                // The sum is rounded once, the gradient that is known here was rounded before.
                let tolerance = (sum.abs() + f64::from(alone.abs())) * 2.0_f64.powi(-24);
                let near = (sum - f64::from(*after)).abs() <= tolerance;
                assert!(near || (alone.is_infinite() && after == alone), "{data:?}: {before} + {alone} is not {after}");
                assert!(*alone != 0.0 || before.to_bits() == after.to_bits());
            }
        }
    }
}

#[test]
fn weights_multiply_the_weight_of_the_reduction() {
    let input = input(Data::CommonMean, 10, 64, 70, 20);
    let batch = input.batch();
    let run = |reduction, weights: Option<&[f32]>| run(TripletLoss::new().reduction(reduction), batch, weights).1;
    let sum = run(Reduction::Sum, None);
    for reduction in ALL_REDUCTIONS {
        let alone = run(reduction, None);
        assert_pair(&alone, &run(reduction, Some(&[1.0; 64])), "weights of 1");
        assert_pair(
            &alone.clone().map(|side| side.iter().map(|value| -value).collect()),
            &run(reduction, Some(&[-1.0; 64])),
            "negative",
        );
    }
    // 1/64 is exact.
    assert_pair(&run(Reduction::Mean, None), &run(Reduction::Sum, Some(&[1.0 / 64.0; 64])), "weights of 1/m");
    assert_pair(&sum, &run(Reduction::Mean, Some(&[64.0; 64])), "weights of m");
    let mut weights = [1.0; 64];
    weights[17] = 0.0;
    let [anchors, candidates] = run(Reduction::Sum, Some(&weights));
    assert_ne!(sum[0][17 * 20..18 * 20], [0.0; 20]);
    assert_eq!(bits(&anchors[17 * 20..18 * 20]), [0; 20]);
    assert_eq!(bits(&anchors[18 * 20..]), bits(&sum[0][18 * 20..]));
    assert_ne!(candidates, sum[1]);
}

#[test]
fn an_offset_is_the_indices_it_stands_for() {
    let indices = Data::CommonMean.batch(11, 30, 80, 19).with(Pairing::Indices((41..71).collect()));
    let offset = indices.clone().with(Pairing::Offset(41));
    let (loss, expected) = run(TripletLoss::new(), indices.batch(), None);
    let (again, actual) = run(TripletLoss::new(), offset.batch(), None);
    assert_loss(&loss, &again, "offset");
    assert_pair(&expected, &actual, "offset");
}

#[test]
fn anchors_may_be_split_over_calls() {
    let input = input(Data::CommonMean, 12, 500, 400, 24);
    let (batch, plan, dim, positives) = (input.batch(), TripletLoss::new(), input.dim, input.positives());
    let mut workspace = Workspace::new();
    let (_, whole) = run(plan, batch, None);
    for step in [1, 7, 192, 250, 499] {
        let [mut a, mut c] = zeros(batch);
        // Half a unit in the last place of every partial sum, the last of which the whole has as well.
        let mut bound: Vec<f64> = whole[1].iter().map(|value| f64::from(value.abs()) * 2.0_f64.powi(-24)).collect();
        for first in (0..500).step_by(step) {
            let rows = first..(first + step).min(500);
            let positives = Positives::Indices(&positives[rows.clone()]);
            let range = rows.start * dim..rows.end * dim;
            let part = Batch::new(&input.anchors[range.clone()], &input.candidates, dim, positives).unwrap();
            let gradients = Gradients::new(&mut a[range], &mut c).accumulate();
            let _ = plan.forward_backward(part, gradients, &mut workspace).unwrap();
            bound.iter_mut().zip(&c).for_each(|(bound, sum)| *bound += f64::from(sum.abs()) * 2.0_f64.powi(-24));
        }
        assert_eq!(bits(&whole[0]), bits(&a), "steps of {step}");
        for ((expected, actual), bound) in whole[1].iter().zip(&c).zip(bound) {
            let error = (f64::from(*expected) - f64::from(*actual)).abs();
            assert!(error <= bound * (1.0 + 1e-6) + 1e-12, "steps of {step}: {expected} against {actual}");
        }
    }
}

#[test]
fn zero_rows_have_no_gradient() {
    let input = input(Data::ZeroRows, 13, 60, 50, 10);
    let plan = TripletLoss::new().negatives(Negatives::Any);
    let (loss, pair) = run(plan, input.batch(), None);
    let (zero_anchors, zero_candidates) = (loss.zero_anchors.unwrap(), loss.zero_candidates.unwrap());
    assert!(zero_anchors > 0 && zero_candidates > 0 && loss.active_mean > zero_anchors);
    for (rows, gradients) in [(&input.anchors, &pair[0]), (&input.candidates, &pair[1])] {
        for (row, gradient) in rows.chunks(10).zip(gradients.chunks(10)) {
            assert!(gradient.iter().all(|value| value.is_finite()));
            assert!(row.iter().any(|&value| value != 0.0) || bits(gradient) == [0; 10]);
        }
    }
}

#[test]
fn the_hinge_at_exactly_zero() {
    // The positive is orthogonal to its anchor, both negatives are opposite: -1 - 0 + 1 = 0 in both hinges.
    let anchors = [1.0, 0.0];
    let candidates = [0.0, 1.0, -1.0, 0.0, -2.0, 0.0];
    let batch = Batch::new(&anchors, &candidates, 2, Positives::Identity).unwrap();
    for (margin, is_active) in [(1.0, false), (1.0_f32.next_up(), true)] {
        let plan = TripletLoss::new().margin(margin);
        let (loss, pair) = run(plan, batch, None);
        assert_eq!(loss.active_mean + loss.active_closest, if is_active { 2 } else { 0 });
        assert_eq!(pair.concat().iter().any(|value| value.to_bits() != 0), is_active);
    }
}

#[test]
fn a_step_against_the_gradient_lowers_the_loss() {
    let input = input(Data::CommonMean, 14, 100, 100, 30);
    let (loss, pair) = run(TripletLoss::new(), input.batch(), None);
    let step = |rows: &[f32], gradient: &[f32]| rows.iter().zip(gradient).map(|(x, g)| x - 0.05 * g).collect();
    let (anchors, candidates) = (step(&input.anchors, &pair[0]), step(&input.candidates, &pair[1]));
    let moved = OwnedBatch { anchors, candidates, ..input };
    let after = TripletLoss::new().forward(moved.batch(), &mut Workspace::new()).unwrap().loss();
    assert!(after.loss < loss.loss, "{} from {}", after.loss, loss.loss);
}

/// A call that must fail with this error and leave the buffers as they are.
fn refused(error: Error, plan: TripletLoss, batch: Batch<'_>, weights: Option<&[f32]>, mut pair: Pair) {
    let before = pair_bits(&pair);
    let mut workspace = Workspace::new();
    let good = input(Data::Random, 1, batch.rows(), batch.candidates(), batch.dim());
    let _ = TripletLoss::new().forward(good.batch(), &mut workspace).unwrap();
    assert_eq!(plan.forward_backward(batch, both(&mut pair, weights), &mut workspace).unwrap_err(), error);
    assert_eq!(before, pair_bits(&pair), "{error}");
    match plan.forward(batch, &mut workspace) {
        Ok(mut forward) => {
            let (loss, rows) = (forward.loss(), forward.row_stats().to_vec());
            assert_eq!(forward.backward(both(&mut pair, weights)).unwrap_err(), error);
            assert_eq!(before, pair_bits(&pair), "{error}");
            assert_forward(&(loss, rows), &forward, "a refused backward pass takes nothing away");
            let mut again = dirty(batch);
            forward.backward(both(&mut again, None)).unwrap();
            assert_pair(&run(plan, batch, None).1, &again, "after a refused backward pass");
        }
        Err(of_forward) => assert_eq!(of_forward, error, "the forward pass alone"),
    }
}

#[test]
fn errors_leave_the_buffers_untouched() {
    let mut input = input(Data::Random, 15, 7, 9, 4);
    let plan = TripletLoss::new();
    {
        let batch = input.batch();
        let length = |side, expected, actual| Error::Length { side, expected, actual };
        for wrong in [0, 27, 29] {
            let pair = [vec![1.0; wrong], vec![2.0; 36]];
            refused(length(Side::AnchorGradients, 28, wrong), plan, batch, None, pair);
        }
        for wrong in [0, 28, 37] {
            let pair = [vec![1.0; 28], vec![2.0; wrong]];
            refused(length(Side::CandidateGradients, 36, wrong), plan, batch, None, pair);
        }
        for wrong in [0, 6, 8] {
            refused(length(Side::Weights, 7, wrong), plan, batch, Some(&vec![1.0; wrong]), dirty(batch));
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let weights = [1.0, 1.0, bad, 1.0, bad, 1.0, 1.0];
            let error = Error::NotFinite { side: Side::Weights, row: 2 };
            refused(error, plan, batch, Some(&weights), dirty(batch));
        }
        let margin = f32::INFINITY;
        refused(Error::MarginNotFinite { margin }, plan.margin(margin), batch, None, dirty(batch));
    }
    input.candidates[13] = f32::NAN;
    refused(Error::NotFinite { side: Side::Candidates, row: 3 }, plan, input.batch(), None, dirty(input.batch()));
    input.anchors[13] = f32::INFINITY;
    refused(Error::NotFinite { side: Side::Anchors, row: 3 }, plan, input.batch(), None, dirty(input.batch()));
}

/// The weight that a mean implies is 1 over the rows of the call, so that a call with k of m rows is given weights of
/// k/m.
#[test]
fn a_mean_split_over_calls() {
    let input = input(Data::CommonMean, 31, 256, 200, 12);
    let (batch, plan) = (input.batch(), TripletLoss::new().reduction(Reduction::Mean));
    let (mut workspace, all) = (Workspace::new(), input.positives());
    let (_, whole) = run(plan, batch, None);
    let [mut a, mut c] = zeros(batch);
    for first in [0, 128] {
        let range = first * 12..(first + 128) * 12;
        let positives = Positives::Indices(&all[first..first + 128]);
        let part = Batch::new(&input.anchors[range.clone()], &input.candidates, 12, positives).unwrap();
        let gradients = Gradients::new(&mut a[range], &mut c).accumulate().weights(&[128.0 / 256.0; 128]);
        let _ = plan.forward_backward(part, gradients, &mut workspace).unwrap();
    }
    assert_eq!(bits(&whole[0]), bits(&a));
}

#[test]
fn extreme_weights_and_margins() {
    let input = input(Data::Random, 32, 60, 50, 16);
    let weights: Vec<f32> = [f32::MAX, -f32::MAX, -0.0, 1e-45, 0.0, 1.0].into_iter().cycle().take(60).collect();
    for margin in [-f32::MAX, 0.25, f32::MAX] {
        let run = |backend| {
            let plan = TripletLoss::new().margin(margin).backend(backend);
            run(plan, input.batch(), Some(&weights)).1
        };
        let expected = run(Backend::portable());
        assert!(expected.iter().flatten().all(|value| !value.is_nan()), "margin {margin}");
        for backend in Backend::available() {
            assert_pair(&expected, &run(backend), &format!("margin {margin}, {backend}"));
        }
    }
}

/// A backward pass on more threads than the forward pass had, overwriting and adding.
#[cfg(feature = "rayon")]
#[test]
fn a_backward_pass_on_other_threads_than_the_forward_pass() {
    let input = input(Data::CommonMean, 33, 900, 800, 400);
    let (batch, plan) = (input.batch(), TripletLoss::new().margin(1.0));
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut workspaces = [Workspace::new(), Workspace::new()];
    let backward = |forward: &mut Forward<'_, '_>| {
        let [mut a, mut c] = dirty(batch);
        forward.backward(Gradients::new(&mut a, &mut c)).unwrap();
        forward.backward(Gradients::new(&mut a, &mut c).accumulate()).unwrap();
        [a, c]
    };
    let [one, two] = &mut workspaces;
    let expected = backward(&mut plan.threads(hardneg::Threads::Serial).forward(batch, one).unwrap());
    let parallel = plan.threads(hardneg::Threads::Rayon);
    let mut forward = pool(1).install(|| parallel.forward(batch, two)).unwrap();
    for threads in [8, 1, 3] {
        let actual = pool(threads).install(|| backward(&mut forward));
        assert_pair(&expected, &actual, &format!("{threads} threads on one workspace"));
    }
}

/// Indices of 32 and of 64 bits are those of `usize`, for the forward pass and for the gradients.
#[test]
fn indices_of_every_width() {
    for data in ALL_DATA {
        let wide = input(data, 38, 50, 40, 20);
        let positives = wide.positives();
        let narrow: Vec<u32> = positives.iter().map(|&index| index as u32).collect();
        let signed: Vec<i64> = positives.iter().map(|&index| index as i64).collect();
        for (way, plan) in ways(TripletLoss::new().margin(1.0)) {
            let mut workspace = Workspace::new();
            let (forward, expected) = forward_backward(plan, wide.batch(), None, &mut workspace);
            for positives in [Positives::IndicesU32(&narrow), Positives::IndicesI64(&signed)] {
                let mut workspace = Workspace::new();
                let batch = Batch::new(&wide.anchors, &wide.candidates, wide.dim, positives).unwrap();
                let (actual, pair) = forward_backward(plan, batch, None, &mut workspace);
                let what = format!("{data:?}, {positives:?}, {way}");
                assert_rows(forward.row_stats(), actual.row_stats(), &what);
                assert_loss(&forward.loss(), &actual.loss(), &what);
                assert_pair(&expected, &pair, &what);
            }
        }
    }
}
