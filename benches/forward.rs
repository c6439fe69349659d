//! The forward pass on every backend and with every screen: criterion's report, from small batches, where latency
//! matters, to large ones, and then a table of shares of the machine's `f32` ceiling with both measured in turns, since
//! a ratio survives a noisy machine and a time does not.
//!
//! `cargo bench --bench forward` runs both; `cargo bench --bench forward -- shares` the table alone, and
//! `cargo bench --bench forward -- latency` the report on small batches, with the table.

#[path = "common/ceiling.rs"]
mod ceiling;
mod common;
#[path = "common/report.rs"]
mod report;

use std::hint::black_box;

use ceiling::{CEILING_WORK, Unit};
use common::{Call, OwnedBatch, Rotation, in_turns, serial_ways, sets};
use criterion::{BenchmarkId, Criterion, Throughput};
use hardneg::{Threads, TripletLoss, Workspace};

/// Rows of the small batches, of dim 128.
const SMALL: [usize; 5] = [4, 8, 16, 32, 64];

/// Rows and dim of the large ones.
const LARGE: [(usize, usize); 6] = [(128, 128), (1024, 64), (1024, 128), (1024, 384), (1024, 768), (4096, 768)];

/// The multiply-adds of a call.
fn work(rows: usize, dim: usize) -> u64 {
    (rows * rows * dim) as u64
}

fn criterion_report(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ceiling");
    group.throughput(Throughput::Elements(CEILING_WORK));
    for unit in Unit::available() {
        group.bench_function(unit.name(), |bencher| bencher.iter(|| unit.work_out()));
    }
    group.finish();
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

fn shares() {
    println!(
        "\n| rows x dim | backend | screen | threads | time, us | share of the f32 FMA ceiling | against one thread |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (rows, dim) in SMALL.map(|rows| (rows, 128)).into_iter().chain(LARGE) {
        let inputs = inputs(rows, dim);
        for plan in serial_ways(TripletLoss::new(), work(rows, dim)) {
            share_lines(&inputs, plan);
        }
    }
}

fn share_lines(inputs: &[OwnedBatch], one: TripletLoss) {
    let (rows, dim) = (inputs[0].rows(), inputs[0].dim);
    let all = one.threads(Threads::Rayon);
    let mut workspaces = [Workspace::new(), Workspace::new()];
    let [first, second] = &mut workspaces;
    let calls: Vec<Call<'_>> =
        vec![Box::new(|| Unit::F32.work_out()), call(one, inputs, first), call(all, inputs, second)];
    let turns = in_turns(0.5, 5, calls);
    for (threads, contender) in [("1", 1), ("all", 2)] {
        let share = 100.0 * turns.ratio(0, contender) * work(rows, dim) as f64 / CEILING_WORK as f64;
        let (time, gain) = (turns.time(contender) * 1e6, turns.ratio(1, contender));
        let (backend, screen) = (one.backend, one.screen);
        println!("| {rows} x {dim} | {backend} | {screen} | {threads} | {time:.1} | {share:.1} % | {gain:.2} |");
    }
}

fn call<'a>(plan: TripletLoss, inputs: &'a [OwnedBatch], workspace: &'a mut Workspace) -> Call<'a> {
    let mut inputs = Rotation::new(inputs);
    Box::new(move || _ = black_box(plan.forward(inputs.turn().batch(), workspace).map(|forward| forward.loss())))
}

fn main() {
    report::run(criterion_report, shares);
}
