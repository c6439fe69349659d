//! The forward pass beside the machine's ceiling: criterion's report of each, and then a table of shares of the ceiling
//! with both measured in turns, since a ratio survives a noisy machine and a time does not.
//!
//! `cargo bench --bench forward` runs both; `cargo bench --bench forward -- shares` the table alone.

#[path = "common/ceiling.rs"]
mod ceiling;
mod common;

use std::hint::black_box;

use ceiling::{CEILING_WORK, fma_ceiling};
use common::{in_turns, random_rows};
use criterion::{BenchmarkId, Criterion, Throughput};
use hardneg::{Backend, Batch, Negatives, Reduction, Threads, TripletLoss, Workspace, reference};

/// Rows and dim of the shapes.
const SHAPES: [(usize, usize); 7] =
    [(32, 128), (128, 128), (1024, 64), (1024, 128), (1024, 384), (1024, 768), (4096, 768)];

/// The multiply-adds of a call.
fn work(rows: usize, dim: usize) -> u64 {
    (rows * rows * dim) as u64
}

fn criterion_report(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ceiling");
    group.throughput(Throughput::Elements(CEILING_WORK));
    group.bench_function("f32 fma", |bencher| bencher.iter(fma_ceiling));
    group.finish();
    let mut group = criterion.benchmark_group("forward");
    group.sample_size(10);
    for (rows, dim) in SHAPES {
        group.throughput(Throughput::Elements(work(rows, dim)));
        let (a, p) = (random_rows(1, rows, dim), random_rows(2, rows, dim));
        let batch = Batch::paired(&a, &p, dim).expect("a batch");
        for backend in Backend::available() {
            let (plan, mut workspace) = (serial(backend), Workspace::new());
            let id = BenchmarkId::new(backend.name(), format!("{rows}x{dim}"));
            group.bench_function(id, |bencher| bencher.iter(|| plan.forward(batch, &mut workspace)));
        }
    }
    group.finish();
}

fn serial(backend: Backend) -> TripletLoss {
    TripletLoss::new().backend(backend).threads(Threads::Serial)
}

/// Calls per measurement, so that one takes some milliseconds.
fn repeats(rows: usize, dim: usize) -> usize {
    (200_000_000 / work(rows, dim) as usize).clamp(1, 2000)
}

fn shares() {
    println!("\n| rows x dim | backend | threads | time, us | share of the f32 FMA ceiling | against one thread |");
    println!("|---|---|---|---|---|---|");
    for (rows, dim) in SHAPES {
        let (a, p) = (random_rows(1, rows, dim), random_rows(2, rows, dim));
        let batch = Batch::paired(&a, &p, dim).expect("a batch");
        for backend in Backend::available() {
            share_line(rows, dim, batch, backend);
        }
    }
}

fn share_line(rows: usize, dim: usize, batch: Batch<'_>, backend: Backend) {
    let (one, all) = (serial(backend), TripletLoss::new().backend(backend));
    let (mut first, mut second) = (Workspace::new(), Workspace::new());
    let rounds = if work(rows, dim) > 1 << 32 { 7 } else { 15 };
    let times = in_turns(
        rounds,
        &mut [
            (1, &mut || _ = black_box(fma_ceiling())),
            (repeats(rows, dim), &mut || _ = black_box(one.forward(batch, &mut first))),
            (repeats(rows, dim), &mut || _ = black_box(all.forward(batch, &mut second))),
        ],
    );
    let ceiling = CEILING_WORK as f64 / times[0];
    for (threads, time) in [("1", times[1]), ("all", times[2])] {
        let share = 100.0 * work(rows, dim) as f64 / time / ceiling;
        let gain = times[1] / time;
        println!("| {rows} x {dim} | {backend} | {threads} | {:.1} | {share:.1} % | {gain:.2} |", time * 1e6);
    }
}

/// What is timed must be right: a small batch against the reference.
fn check() {
    let (a, p) = (random_rows(1, 32, 128), random_rows(2, 32, 128));
    let batch = Batch::paired(&a, &p, 128).expect("a batch");
    let expected = reference::forward(batch, 0.25, Negatives::Below, Reduction::Sum).expect("finite rows").0;
    for backend in Backend::available() {
        assert_eq!(serial(backend).forward(batch, &mut Workspace::new()), Ok(expected));
    }
}

fn main() {
    check();
    common::run(criterion_report, shares);
}
