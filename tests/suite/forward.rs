//! The forward pass against the reference, bit for bit.

use hardneg::{RowStats, TripletLoss, Workspace, reference};

use crate::common::{
    ALL_DATA, ALL_NEGATIVES, ALL_REDUCTIONS, Data, OwnedBatch, Pairing, Random, assert_loss, check_forward,
};

/// Lanes of a sum, lanes of the registers, anchors and widths of the tiles, block sizes of the driver: every constant
/// at which some loop changes its path.
const ROWS: [usize; 8] = [4, 8, 16, 24, 48, 64, 96, 192];
const DIMS: [usize; 6] = [4, 8, 16, 32, 64, 128];

/// Each value, one less and one more.
fn around(values: &[usize]) -> Vec<usize> {
    values.iter().flat_map(|&value| [value - 1, value, value + 1]).collect()
}

#[test]
fn shapes_around_every_constant() {
    let mut workspace = Workspace::new();
    for (index, candidates) in around(&ROWS).into_iter().enumerate() {
        for (turn, dim) in around(&DIMS).into_iter().enumerate() {
            let rows = around(&ROWS)[(7 * index + 5 * turn) % 24].min(candidates);
            let data = ALL_DATA[(index + turn) % ALL_DATA.len()];
            let negatives = ALL_NEGATIVES[turn % 3];
            let batch = data.batch((index * 100 + turn) as u64, rows, candidates, dim);
            let what = format!("{data:?} {rows} x {candidates} x {dim}");
            check_forward(batch.batch(), negatives, &mut workspace, &what);
        }
    }
}

#[test]
fn every_kind_of_data_with_every_rule() {
    let mut workspace = Workspace::new();
    for data in ALL_DATA {
        for (rows, dim) in [(2, 1), (5, 3), (50, 33), (97, 7), (130, 64)] {
            for negatives in ALL_NEGATIVES {
                let batch = data.batch(rows as u64, rows, rows, dim).with(Pairing::Paired);
                check_forward(batch.batch(), negatives, &mut workspace, &format!("{data:?} {rows} x {dim}"));
            }
        }
    }
}

/// Shapes on both sides of the largest batches whose pairs are all computed exactly, on any backend: by the larger
/// side, and by the smaller one.
#[test]
fn shapes_around_the_end_of_the_exact_path() {
    let mut workspace = Workspace::new();
    let squares = around(&[10, 11, 16, 32]).into_iter().map(|rows| (rows, rows));
    let few = around(&[3, 4, 9]).into_iter().map(|rows| (rows, 200));
    for (turn, (rows, candidates)) in squares.chain(few).enumerate() {
        for data in ALL_DATA {
            let (dim, negatives) = (1 + (7 * turn) % 40, ALL_NEGATIVES[turn % 3]);
            let batch = data.batch(turn as u64, rows, candidates, dim);
            check_forward(batch.batch(), negatives, &mut workspace, &format!("{data:?} {rows} x {candidates} x {dim}"));
        }
    }
}

/// Few anchors against so many candidates that these are divided over threads, block by block: ties between blocks go
/// to the lowest index, whichever thread is the last.
#[test]
fn few_anchors_whose_candidates_are_divided_over_threads() {
    let mut workspace = Workspace::new();
    for (turn, data) in [Data::Random, Data::Duplicates, Data::NearTies, Data::ZeroRows].into_iter().enumerate() {
        for (rows, candidates, dim) in [(1, 3000, 901), (3, 1153, 800), (9, 2000, 160)] {
            assert!(rows * candidates * dim > 2_700_000, "{rows} x {candidates} x {dim} is not divided");
            let batch = data.batch(turn as u64, rows, candidates, dim);
            let negatives = ALL_NEGATIVES[turn % 3];
            check_forward(batch.batch(), negatives, &mut workspace, &format!("{data:?} {rows} x {candidates} x {dim}"));
        }
    }
}

/// Five blocks of candidates: fewer would be added up in the same order by another tree. Every row but the positive has
/// its opposite among them, so that nothing is left of the mean but the roundings of the sum, which depend on its
/// order.
#[test]
fn a_mean_that_is_nothing_but_roundings() {
    let mut workspace = Workspace::new();
    for dim in [1, 5, 16, 37] {
        let mut random = Random(dim as u64);
        let half = random.rows(480, dim);
        let opposite = half.chunks(dim).rev().flatten().map(|value| -value);
        let candidates: Vec<f32> = half.iter().copied().chain(opposite).chain(random.rows(1, dim)).collect();
        let batch = OwnedBatch::new(random.rows(7, dim), candidates, dim, Pairing::Indices(vec![960; 7]));
        for negatives in ALL_NEGATIVES {
            check_forward(batch.batch(), negatives, &mut workspace, &format!("dim {dim}"));
            let forward = TripletLoss::new().negatives(negatives).forward(batch.batch(), &mut workspace).unwrap();
            assert!(dim == 1 || forward.row_stats().iter().all(|row| row.mean_negative().unwrap().abs() < 1e-12));
        }
    }
}

/// Losses of such different sizes that their sum is rounded at every step, so that it depends on its order.
#[test]
fn losses_of_many_rows() {
    let mut random = Random(3);
    for count in [1, 255, 256, 257, 512, 513, 700, 1025, 1300, 2600] {
        let row = |random: &mut Random| {
            let positive = random.unit() * 2.0_f32.powi(-(random.below(60) as i32));
            RowStats::new(positive, Some(0.0), None).unwrap()
        };
        let rows: Vec<RowStats> = (0..count).map(|_| row(&mut random)).collect();
        for reduction in ALL_REDUCTIONS {
            let expected = reference::loss(&rows, 0.0, reduction);
            let actual = TripletLoss::new().margin(0.0).reduction(reduction).reduce(&rows).unwrap();
            assert_loss(&expected, &actual, &format!("{count} rows, {reduction:?}"));
        }
    }
}

/// Smaller batches stay on the thread that asks, even where threads are allowed.
#[test]
fn shapes_around_the_blocks_of_divided_work() {
    let mut workspace = Workspace::new();
    let mut turn = 0;
    for data in ALL_DATA {
        for rows in around(&[192]) {
            for candidates in around(&[240]) {
                let (dim, negatives) = (64 + turn % 4, ALL_NEGATIVES[turn % 3]);
                assert!(rows * candidates * dim > 2_700_000, "{rows} x {candidates} x {dim} is not divided");
                let batch = data.batch(turn as u64, rows, candidates, dim);
                let what = format!("{data:?} {rows} x {candidates} x {dim}");
                check_forward(batch.batch(), negatives, &mut workspace, &what);
                turn += 1;
            }
        }
    }
}

#[test]
fn work_that_is_divided_over_threads() {
    let mut workspace = Workspace::new();
    for data in [Data::Random, Data::CommonMean, Data::Duplicates] {
        for negatives in ALL_NEGATIVES {
            let batch = data.batch(1, 401, 401, 40).with(Pairing::Paired);
            check_forward(batch.batch(), negatives, &mut workspace, &format!("{data:?} 401 x 40"));
        }
    }
}
