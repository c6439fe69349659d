//! The exact similarity by itself, criterion's report: a dot product, a norm, and one row against many, on every
//! backend. Throughput is in multiply-adds. Rows rotate, so that neither cache nor branch predictor learns one.

mod common;
#[path = "common/report.rs"]
mod report;

use common::{Rotation, random_rows};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use hardneg::{Backend, reference};

const DIMS: [usize; 4] = [64, 128, 384, 768];

/// Rows that take turns: more than the first-level cache holds.
const ROWS: usize = 64;

/// The candidates of one row against many.
const CANDIDATES: usize = 1024;

/// Two rows at a time.
fn row_pairs(dim: usize) -> Vec<[Vec<f32>; 2]> {
    (0..ROWS as u64).map(|seed| [random_rows(2 * seed, 1, dim), random_rows(2 * seed + 1, 1, dim)]).collect()
}

/// Calls `body` for each dim and backend, with the name of the benchmark.
fn for_each(group: &mut BenchmarkGroup<'_, WallTime>, work: usize, body: Body) {
    for dim in DIMS {
        group.throughput(Throughput::Elements((work * dim) as u64));
        for backend in Backend::available() {
            body(group, BenchmarkId::new(backend.name(), dim), backend, dim);
        }
    }
}

type Body = fn(&mut BenchmarkGroup<'_, WallTime>, BenchmarkId, Backend, usize);

fn dot(criterion: &mut Criterion) {
    for_each(&mut criterion.benchmark_group("dot"), 1, |group, id, backend, dim| {
        let pairs = row_pairs(dim);
        pairs.iter().for_each(|[x, y]| assert_eq!(backend.dot(x, y), Ok(reference::dot(x, y)), "{backend}"));
        let mut pairs = Rotation::new(&pairs);
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                let [x, y] = pairs.turn();
                backend.dot(x, y)
            });
        });
    });
}

fn norm(criterion: &mut Criterion) {
    for_each(&mut criterion.benchmark_group("norm"), 1, |group, id, backend, dim| {
        let rows: Vec<Vec<f32>> = row_pairs(dim).into_iter().map(|[row, _]| row).collect();
        rows.iter().for_each(|row| assert_eq!(backend.norm(row), Ok(reference::norm(row)), "{backend}"));
        let mut rows = Rotation::new(&rows);
        group.bench_function(id, |bencher| bencher.iter(|| backend.norm(rows.turn())));
    });
}

/// The norms of the candidates are part of the call, and as much work as the products; the throughput counts both.
fn row_against_many(criterion: &mut Criterion) {
    for_each(&mut criterion.benchmark_group("row against 1024"), 2 * CANDIDATES, |group, id, backend, dim| {
        let candidates = random_rows(1, CANDIDATES, dim);
        let rows: Vec<Vec<f32>> = row_pairs(dim).into_iter().map(|[row, _]| row).collect();
        let mut output = vec![0.0; CANDIDATES];
        backend.similarity_matrix_into(&rows[0], &candidates, dim, &mut output).expect("finite rows");
        assert_eq!(output, reference::similarity_matrix(&rows[0], &candidates, dim), "{backend}");
        let mut rows = Rotation::new(&rows);
        group.bench_function(id, |bencher| {
            bencher.iter(|| backend.similarity_matrix_into(rows.turn(), &candidates, dim, &mut output));
        });
    });
}

fn kernels(criterion: &mut Criterion) {
    dot(criterion);
    norm(criterion);
    row_against_many(criterion);
}

fn main() {
    report::run(kernels);
}
