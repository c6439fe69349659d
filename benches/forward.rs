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
use common::{Call, Pairs, Rotation, in_turns, sets};
use criterion::{BenchmarkId, Criterion, Throughput};
use hardneg::{Backend, Screen, Threads, TripletLoss, Workspace};

/// Rows of the small batches, of dim 128.
const SMALL: [usize; 5] = [4, 8, 16, 32, 64];

/// Rows and dim of the large ones.
const LARGE: [(usize, usize); 6] = [(128, 128), (1024, 64), (1024, 128), (1024, 384), (1024, 768), (4096, 768)];

/// The multiply-adds of a call.
fn work(rows: usize, dim: usize) -> u64 {
    (rows * rows * dim) as u64
}

/// Every backend with every screen that a batch of so many multiply-adds can wait for.
fn ways(work: u64) -> impl Iterator<Item = (Backend, Screen)> {
    let screens = Screen::all().filter(move |&screen| screen != Screen::Off || work <= 1 << 27);
    screens.flat_map(|screen| Backend::available().map(move |backend| (backend, screen)))
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
        for (backend, screen) in ways(work(rows, dim)) {
            let (plan, mut workspace) = (serial(backend, screen), Workspace::new());
            check(plan, &inputs, &mut workspace);
            let mut inputs = Rotation::new(&inputs);
            let id = BenchmarkId::new(format!("{backend}/{}", screen.name()), format!("{rows}x{dim}"));
            let mut call = || plan.forward(inputs.turn().batch(), &mut workspace);
            group.bench_function(id, |bencher| bencher.iter(&mut call));
        }
    }
    group.finish();
}

fn inputs(rows: usize, dim: usize) -> Vec<Pairs> {
    (0..sets(rows, dim)).map(|seed| Pairs::trained(seed, rows, dim)).collect()
}

fn serial(backend: Backend, screen: Screen) -> TripletLoss {
    TripletLoss::new().backend(backend).screen(screen).threads(Threads::Serial)
}

/// What is timed must be right.
fn check(plan: TripletLoss, inputs: &[Pairs], workspace: &mut Workspace) {
    plan.forward(inputs[0].batch(), workspace).expect("finite rows");
    inputs[0].check(workspace.row_stats(), "the forward pass");
}

fn shares() {
    println!(
        "\n| rows x dim | backend | screen | threads | time, us | share of the f32 FMA ceiling | against one thread |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (rows, dim) in SMALL.map(|rows| (rows, 128)).into_iter().chain(LARGE) {
        let inputs = inputs(rows, dim);
        for (backend, screen) in ways(work(rows, dim)) {
            share_lines(&inputs, backend, screen);
        }
    }
}

fn share_lines(inputs: &[Pairs], backend: Backend, screen: Screen) {
    let (rows, dim) = (inputs[0].rows(), inputs[0].dim);
    let one = serial(backend, screen);
    let all = one.threads(Threads::default());
    let mut workspaces = [Workspace::new(), Workspace::new()];
    let [first, second] = &mut workspaces;
    let calls: Vec<Call<'_>> =
        vec![Box::new(|| Unit::F32.work_out()), call(one, inputs, first), call(all, inputs, second)];
    let turns = in_turns(0.5, 5, calls);
    for (threads, contender) in [("1", 1), ("all", 2)] {
        let share = 100.0 * turns.ratio(0, contender) * work(rows, dim) as f64 / CEILING_WORK as f64;
        let (time, gain) = (turns.time(contender) * 1e6, turns.ratio(1, contender));
        let screen = screen.name();
        println!("| {rows} x {dim} | {backend} | {screen} | {threads} | {time:.1} | {share:.1} % | {gain:.2} |");
    }
}

fn call<'a>(plan: TripletLoss, inputs: &'a [Pairs], workspace: &'a mut Workspace) -> Call<'a> {
    let mut inputs = Rotation::new(inputs);
    Box::new(move || _ = black_box(plan.forward(inputs.turn().batch(), workspace)))
}

fn main() {
    report::run(criterion_report, shares);
}
