//! How long single calls take: few anchors among many candidates, and small batches, on one thread.

use std::hint::black_box;
use std::time::Instant;

use hardneg::{Gradients, TripletLoss, Workspace, reference};

use crate::args::Args;
use crate::common::{Call, OwnedBatch, Random, Rotation};
use crate::inputs::{Input, Shape};
use crate::oracle::{assert_loss, check, expected};
use crate::plot::{self, Chart, Series};
use crate::rivals::{Entrant, MARGIN, Rival, single_calls};
use crate::row::Row;
use crate::table;

/// Anchors and candidates.
const SIZES: [(usize, usize); 13] = [
    (1, 64),
    (1, 1024),
    (1, 16384),
    (4, 1024),
    (8, 16384),
    (32, 16384),
    (2, 2),
    (4, 4),
    (8, 8),
    (16, 16),
    (32, 32),
    (64, 64),
    (128, 128),
];
const DIMS: [usize; 3] = [128, 384, 768];

/// The most calls of a contender that are timed.
const CALLS: usize = 1000;

/// The calls in a turn, unless they take long.
const TURN: usize = 8;

/// A call that takes so many seconds is a turn by itself.
const LONG: f64 = 1e-3;

/// How far the loss of a rival may be from the right one, as a share of it.
const TOLERANCE: f64 = 1e-3;

/// The multiply-adds of the batches whose gradients are compared with the reference.
const SMALL: u64 = 1 << 18;

/// Prints the table, and draws it.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    print_notes();
    table::header(&[
        "anchors x candidates x dim",
        "hardneg p50, us",
        "hardneg p99, us",
        "gemm",
        "dot products",
        "forward + backward",
    ]);
    let mut series = Vec::new();
    for dim in DIMS {
        let [mut ours, mut gemm] = ["hardneg", "gemm"].map(|name| Series::new(&format!("{name}, dim {dim}")));
        for (rows, candidates) in SIZES {
            let [forward, product, ..] = measure(args, Shape { rows, candidates, dim });
            if rows == candidates {
                ours.points.push((rows as f64, forward * 1e6));
                gemm.points.push((rows as f64, product * 1e6));
            }
        }
        series.extend([ours, gemm]);
    }
    let chart = Chart {
        file: "latency",
        title: "Single forward calls by rows, one thread, p50".to_owned(),
        x_label: "rows (anchors, and as many candidates)",
        y_label: "us",
        series,
        roofs: Vec::new(),
    };
    args.svg.as_ref().map_or(Ok(()), |directory| plot::lines(directory, &chart))
}

fn print_notes() {
    let mut clock: Vec<f64> = (0..CALLS).map(|_| seconds_of(&mut || ())).collect();
    println!(
        "Whole calls on one thread, from rows that are not normalised to the loss; the default screen. Positives stand
above the bulk, and inputs rotate. Every call is timed by itself: up to {CALLS} calls of each contender, in turns of {TURN} and
in random order, fewer where they would take longer than the time for a line. Of fewer than a hundred calls the p99 is
the slowest. Every time includes the clock's own: {:.0} ns. The columns after the p99 are p50s as multiples of hardneg's
p50:
- gemm: both sides normalised in f32, one product by the crate gemm, one vectorised pass over the matrix
- dot products: both sides normalised in f32, a vectorised f32 dot product for each pair, used on the spot
- forward + backward: hardneg, with the gradients of both sides",
        percentile(&mut clock, 50) * 1e9
    );
}

/// Checks and measures all contenders with a shape, and prints the line. Returns the p50s in seconds: of hardneg's
/// forward call, of the rivals, and of hardneg's forward and backward call.
fn measure(args: &Args, shape: Shape) -> [f64; 4] {
    let input = Input::trained_among(shape);
    let expected: Vec<Vec<Row>> = input.sets.iter().map(expected).collect();
    let mut contenders = single_calls().map(|entrant| checked(&entrant, &input, &expected));
    let mut training = Training::new(shape);
    training.check(&input.sets[0]);
    let mut calls: Vec<Call<'_>> = contenders.iter_mut().map(|rival| call(rival.as_mut(), &input)).collect();
    let mut sets = Rotation::new(&input.sets);
    calls.push(Box::new(move || training.run(sets.turn())));
    let (seconds, rounds) = args.effort();
    let mut times = single_times(&mut calls, seconds, rounds);
    let p99 = percentile(&mut times[0], 99);
    let p50 = [0, 1, 2, 3].map(|contender| percentile(&mut times[contender], 50));
    let multiple = |contender: usize| format!("{:.2}", p50[contender] / p50[0]);
    let microseconds = |time: f64| format!("{:.2}", time * 1e6);
    let label = input.label.clone();
    table::line(&[label, microseconds(p50[0]), microseconds(p99), multiple(1), multiple(2), multiple(3)]);
    p50
}

/// A contender that was seen to be right.
fn checked(entrant: &Entrant, input: &Input, expected: &[Vec<Row>]) -> Box<dyn Rival> {
    let mut rival = (entrant.build)(input.shape());
    check(entrant, rival.as_mut(), input, expected);
    for (pairs, expected) in input.sets.iter().zip(expected) {
        assert_loss(&entrant.name, rival.run(pairs), expected, TOLERANCE);
    }
    rival
}

fn call<'a>(rival: &'a mut dyn Rival, input: &'a Input) -> Call<'a> {
    let mut sets = Rotation::new(&input.sets);
    Box::new(move || _ = black_box(rival.run(sets.turn())))
}

/// Forward and backward calls of this crate, with room for the gradients.
struct Training {
    plan: TripletLoss,
    workspace: Workspace,
    by_anchors: Vec<f32>,
    by_candidates: Vec<f32>,
}

impl Training {
    fn new(shape: Shape) -> Training {
        Training {
            plan: TripletLoss::new().margin(MARGIN),
            workspace: Workspace::new(),
            by_anchors: vec![0.0; shape.rows * shape.dim],
            by_candidates: vec![0.0; shape.candidates * shape.dim],
        }
    }

    fn run(&mut self, pairs: &OwnedBatch) {
        let gradients = Gradients::new(&mut self.by_anchors, &mut self.by_candidates);
        let forward = self.plan.forward_backward(pairs.batch(), gradients, &mut self.workspace).expect("finite rows");
        _ = black_box(forward.loss());
    }

    /// Compares the gradients of a small batch with the reference.
    fn check(&mut self, pairs: &OwnedBatch) {
        if (pairs.anchors.len() * pairs.candidates.len() / pairs.dim) as u64 > SMALL {
            return;
        }
        self.run(pairs);
        let weights = vec![1.0; pairs.rows()];
        let [by_anchors, by_candidates, _] =
            reference::backward(pairs.batch(), MARGIN, Default::default(), &weights).expect("finite rows");
        for (expected, actual) in [(by_anchors, &self.by_anchors), (by_candidates, &self.by_candidates)] {
            let near = |(expected, &actual): (&f64, &f32)| (expected - f64::from(actual)).abs() < 1e-6;
            assert!(expected.iter().zip(actual).all(near), "gradients of {} x {}", pairs.rows(), pairs.dim);
        }
    }
}

/// The times of single calls of each contender, which take turns; for about `seconds`, and at least `least` calls. The
/// order of each round is random: the first of a round fetches the inputs from memory, and each finds the caches as the
/// one before left them.
fn single_times(calls: &mut [Call<'_>], seconds: f64, least: usize) -> Vec<Vec<f64>> {
    calls.iter_mut().for_each(|call| call());
    let once: Vec<f64> = calls.iter_mut().map(seconds_of).collect();
    let count = ((seconds / once.iter().sum::<f64>()) as usize).clamp(least, CALLS);
    let turn = if once.iter().any(|&once| once > LONG) { 1 } else { TURN };
    let mut times = vec![Vec::with_capacity(count + TURN); calls.len()];
    let (mut random, mut order) = (Random(1), (0..calls.len()).collect::<Vec<usize>>());
    for _ in 0..count.div_ceil(turn) {
        (1..order.len()).for_each(|place| order.swap(place, random.below(place + 1)));
        for &contender in &order {
            times[contender].extend((0..turn).map(|_| seconds_of(&mut calls[contender])));
        }
    }
    times
}

fn seconds_of(call: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    call();
    start.elapsed().as_secs_f64()
}

/// The least of the times that so many in a hundred do not exceed.
fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() * percent).div_ceil(100) - 1]
}
