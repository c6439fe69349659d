//! The forward pass on every backend and with every screen: criterion's report, which compares with the run before, from
//! small batches, where latency matters, to large ones. `cargo bench --bench forward -- latency` has the small ones alone.

mod common;
#[path = "common/report.rs"]
mod report;

use common::{OwnedBatch, Rotation, serial_ways, sets};
use criterion::{BenchmarkId, Criterion, Throughput};
use hardneg::{TripletLoss, Workspace};

/// Rows of the small batches, of dim 128.
const SMALL: [usize; 5] = [4, 8, 16, 32, 64];

/// Rows and dim of the large ones.
const LARGE: [(usize, usize); 6] = [(128, 128), (1024, 64), (1024, 128), (1024, 384), (1024, 768), (4096, 768)];

/// The multiply-adds of a call.
fn work(rows: usize, dim: usize) -> u64 {
    (rows * rows * dim) as u64
}

fn criterion_report(criterion: &mut Criterion) {
    report_group(criterion, "latency", SMALL.map(|rows| (rows, 128)).into_iter());
    report_group(criterion, "forward", LARGE.into_iter());
}

fn report_group(criterion: &mut Criterion, name: &str, shapes: impl Iterator<Item = (usize, usize)>) {
    let mut group = criterion.benchmark_group(name);
    for (rows, dim) in shapes {
        group.throughput(Throughput::Elements(work(rows, dim)));
        let inputs = inputs(rows, dim);
        for plan in serial_ways(TripletLoss::new(), work(rows, dim)) {
            let mut workspace = Workspace::new();
            check(plan, &inputs, &mut workspace);
            let mut inputs = Rotation::new(&inputs);
            let id = BenchmarkId::new(format!("{}/{}", plan.backend, plan.screen), format!("{rows}x{dim}"));
            let mut call = || plan.forward(inputs.turn().batch(), &mut workspace).map(|forward| forward.loss());
            group.bench_function(id, |bencher| bencher.iter(&mut call));
        }
    }
    group.finish();
}

fn inputs(rows: usize, dim: usize) -> Vec<OwnedBatch> {
    (0..sets(2 * rows * dim)).map(|seed| OwnedBatch::trained(seed, rows, dim)).collect()
}

/// What is timed must be right.
fn check(plan: TripletLoss, inputs: &[OwnedBatch], workspace: &mut Workspace) {
    let forward = plan.forward(inputs[0].batch(), workspace).expect("finite rows");
    inputs[0].check(forward.row_stats(), "the forward pass");
}

fn main() {
    report::run(criterion_report);
}
