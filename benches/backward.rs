//! What training costs beyond the forward pass: criterion's report of both, and then a table of what the backward pass
//! adds, with both measured in turns, since a ratio survives a noisy machine and a time does not.
//!
//! `cargo bench --bench backward` runs both; `cargo bench --bench backward -- shares` the table alone.

mod common;

use std::hint::black_box;

use common::{in_turns, random_rows};
use criterion::{BenchmarkId, Criterion};
use hardneg::{Backend, Batch, Gradients, Threads, TripletLoss, Workspace, reference};

/// Rows and dim of the shapes.
const SHAPES: [(usize, usize); 3] = [(32, 128), (1024, 128), (4096, 768)];

/// Margins: the usual one, at which of random rows only the closest negative counts, and one at which the mean does
/// too.
const MARGINS: [f32; 2] = [0.25, 1.0];

/// A batch with room for its gradients.
struct Training {
    anchors: Vec<f32>,
    positives: Vec<f32>,
    dim: usize,
    by_anchors: Vec<f32>,
    by_positives: Vec<f32>,
    workspace: Workspace,
}

impl Training {
    fn new(rows: usize, dim: usize) -> Training {
        let (anchors, noise) = (random_rows(1, rows, dim), random_rows(2, rows, dim));
        // Closer to their anchors than to the others, as in use.
        let positives = anchors.iter().zip(&noise).map(|(anchor, noise)| 0.2 * anchor + noise).collect();
        let [by_anchors, by_positives] = [0, 1].map(|_| vec![0.0; rows * dim]);
        Training { anchors, positives, dim, by_anchors, by_positives, workspace: Workspace::new() }
    }

    fn forward(&mut self, plan: TripletLoss) {
        let batch = Batch::paired(&self.anchors, &self.positives, self.dim).expect("a batch");
        _ = black_box(plan.forward(batch, &mut self.workspace).expect("finite rows"));
    }

    fn forward_backward(&mut self, plan: TripletLoss) {
        let batch = Batch::paired(&self.anchors, &self.positives, self.dim).expect("a batch");
        let gradients = Gradients::new(&mut self.by_anchors, &mut self.by_positives);
        _ = black_box(plan.forward_backward(batch, gradients, &mut self.workspace).expect("finite rows"));
    }

    /// Needs a forward pass before it.
    fn backward(&mut self, plan: TripletLoss) {
        let batch = Batch::paired(&self.anchors, &self.positives, self.dim).expect("a batch");
        let gradients = Gradients::new(&mut self.by_anchors, &mut self.by_positives);
        plan.backward(batch, gradients, &mut self.workspace).expect("a forward pass");
        black_box(&self.by_anchors);
    }
}

fn criterion_report(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("training");
    group.sample_size(10);
    for (rows, dim) in SHAPES {
        for backend in Backend::available() {
            let (plan, mut training) = (serial(backend), Training::new(rows, dim));
            let id = |pass| BenchmarkId::new(format!("{pass}/{backend}"), format!("{rows}x{dim}"));
            group.bench_function(id("forward"), |bencher| bencher.iter(|| training.forward(plan)));
            group.bench_function(id("forward_backward"), |bencher| bencher.iter(|| training.forward_backward(plan)));
        }
    }
    group.finish();
}

fn serial(backend: Backend) -> TripletLoss {
    TripletLoss::new().backend(backend).threads(Threads::Serial)
}

/// Calls per measurement, so that one takes some milliseconds.
fn repeats(rows: usize, dim: usize) -> usize {
    (200_000_000 / (rows * rows * dim)).clamp(1, 1000)
}

fn shares() {
    println!(
        "\n| rows x dim | margin | backend | threads | forward, us | forward + backward, us | backward alone, us | backward / forward |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (rows, dim) in SHAPES {
        for margin in MARGINS {
            for backend in Backend::available() {
                for (threads, plan) in [("1", serial(backend)), ("all", TripletLoss::new().backend(backend))] {
                    let what = format!("{rows} x {dim} | {margin} | {backend} | {threads}");
                    share_line(&what, rows, dim, plan.margin(margin));
                }
            }
        }
    }
}

fn share_line(what: &str, rows: usize, dim: usize, plan: TripletLoss) {
    let mut trainings = [0, 1, 2].map(|_| Training::new(rows, dim));
    trainings[2].forward(plan);
    let [one, two, three] = &mut trainings;
    let repeat = repeats(rows, dim);
    let rounds = if rows * dim > 1 << 20 { 5 } else { 15 };
    let times = in_turns(
        rounds,
        &mut [
            (repeat, &mut || one.forward(plan)),
            (repeat, &mut || two.forward_backward(plan)),
            (4 * repeat, &mut || three.backward(plan)),
        ],
    );
    let [forward, both, backward] = [0, 1, 2].map(|contender| times[contender] * 1e6);
    println!("| {what} | {forward:.1} | {both:.1} | {backward:.1} | {:.1} % |", 100.0 * backward / forward);
}

/// What is timed must be right: a small batch against the reference.
fn check() {
    let mut training = Training::new(32, 128);
    for backend in Backend::available() {
        training.forward_backward(serial(backend).margin(1.0));
        let batch = Batch::paired(&training.anchors, &training.positives, 128).expect("a batch");
        let (by_anchors, by_positives) =
            reference::backward(batch, 1.0, Default::default(), &[1.0; 32]).expect("finite rows");
        for (expected, actual) in [(by_anchors, &training.by_anchors), (by_positives, &training.by_positives)] {
            let near = |(expected, &actual): (&f64, &f32)| (expected - f64::from(actual)).abs() < 1e-6;
            assert!(expected.iter().zip(actual).all(near), "{backend}");
        }
    }
}

fn main() {
    check();
    common::run(criterion_report, shares);
}
