//! What training costs beyond the forward pass: criterion's report of both passes on every backend and with every screen,
//! which compares with the run before.

mod common;
#[path = "common/report.rs"]
mod report;

use std::hint::black_box;

use common::{OwnedBatch, serial_ways, sets};
use criterion::{Bencher, BenchmarkId, Criterion, Throughput};
use hardneg::{Gradients, TripletLoss, Workspace, reference};

/// Rows and dim of the shapes.
const SHAPES: [(usize, usize); 3] = [(32, 128), (1024, 128), (4096, 768)];

/// Batches that take turns, with room for their gradients.
struct Training {
    sets: Vec<OwnedBatch>,
    turn: usize,
    by_anchors: Vec<f32>,
    by_positives: Vec<f32>,
    workspace: Workspace,
}

impl Training {
    fn new(rows: usize, dim: usize) -> Training {
        let sets = (0..sets(2 * rows * dim)).map(|seed| pairs(seed, rows, dim)).collect();
        let [by_anchors, by_positives] = [0, 1].map(|_| vec![0.0; rows * dim]);
        Training { sets, turn: 0, by_anchors, by_positives, workspace: Workspace::new() }
    }

    fn next(&mut self) {
        self.turn = (self.turn + 1) % self.sets.len();
    }

    fn forward(&mut self, plan: TripletLoss) {
        self.next();
        let forward = plan.forward(self.sets[self.turn].batch(), &mut self.workspace).expect("finite rows");
        _ = black_box(forward.loss());
    }

    fn forward_backward(&mut self, plan: TripletLoss) {
        self.next();
        let gradients = Gradients::new(&mut self.by_anchors, &mut self.by_positives);
        let batch = self.sets[self.turn].batch();
        let forward = plan.forward_backward(batch, gradients, &mut self.workspace).expect("finite rows");
        _ = black_box(forward.loss());
    }
}

/// Random rows that are only a little closer to their anchors than to the others, so that hinges are active.
fn pairs(seed: u64, rows: usize, dim: usize) -> OwnedBatch {
    let OwnedBatch { anchors, candidates: noise, dim, .. } = OwnedBatch::independent(seed, rows, dim);
    let positives = anchors.iter().zip(&noise).map(|(anchor, noise)| 0.2 * anchor + noise).collect();
    OwnedBatch::pairs(anchors, positives, dim)
}

fn criterion_report(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("training");
    group.sample_size(10);
    for (rows, dim) in SHAPES {
        let work = rows * rows * dim;
        group.throughput(Throughput::Elements(work as u64));
        for plan in serial_ways(TripletLoss::new(), work as u64) {
            let mut training = Training::new(rows, dim);
            let way = format!("{}/{}", plan.backend, plan.screen);
            let id = |pass| BenchmarkId::new(format!("{pass}/{way}"), format!("{rows}x{dim}"));
            group.bench_function(id("forward"), |bencher| bencher.iter(|| training.forward(plan)));
            let both = |bencher: &mut Bencher<'_>| bencher.iter(|| training.forward_backward(plan));
            group.bench_function(id("forward_backward"), both);
        }
    }
    group.finish();
}

/// What is timed must be right: a small batch against the reference.
fn check() {
    let mut training = Training::new(32, 128);
    for plan in serial_ways(TripletLoss::new().margin(1.0), 0) {
        training.forward_backward(plan);
        let batch = training.sets[training.turn].batch();
        let [by_anchors, by_positives, _] =
            reference::backward(batch, 1.0, Default::default(), &[1.0; 32]).expect("finite rows");
        for (expected, actual) in [(by_anchors, &training.by_anchors), (by_positives, &training.by_positives)] {
            let near = |(expected, &actual): (&f64, &f32)| (expected - f64::from(actual)).abs() < 1e-6;
            assert!(expected.iter().zip(actual).all(near), "{plan:?}");
        }
    }
}

fn main() {
    check();
    report::run(criterion_report);
}
