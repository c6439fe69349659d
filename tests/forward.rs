//! The forward pass against the reference, bit for bit.

mod common;

use common::{ALL_DATA, ALL_NEGATIVES, Data, check_forward};
use hardneg::{Batch, Positives, Workspace};

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
            let (a, c) = data.batch((index * 100 + turn) as u64, rows, candidates, dim);
            let batch = Batch::new(&a, &c, dim, Positives::Identity).unwrap();
            check_forward(batch, negatives, &mut workspace, &format!("{data:?} {rows} x {candidates} x {dim}"));
        }
    }
}

#[test]
fn every_kind_of_data_with_every_rule() {
    let mut workspace = Workspace::new();
    for data in ALL_DATA {
        for (rows, dim) in [(2, 1), (5, 3), (50, 33), (97, 7), (130, 64)] {
            for negatives in ALL_NEGATIVES {
                let (a, c) = data.batch(rows as u64, rows, rows, dim);
                let batch = Batch::paired(&a, &c, dim).unwrap();
                check_forward(batch, negatives, &mut workspace, &format!("{data:?} {rows} x {dim}"));
            }
        }
    }
}

/// Five blocks of candidates and five of rows: fewer would be added up in the same order by another tree.
#[test]
fn sums_of_many_blocks() {
    let mut workspace = Workspace::new();
    for (rows, candidates, dim) in [(3, 4 * 192 + 1, 16), (4 * 256 + 1, 4, 2), (600, 577, 3)] {
        let (a, c) = Data::Random.batch(2, rows, candidates, dim);
        let positives: Vec<usize> = (0..rows).map(|row| row % candidates).collect();
        let batch = Batch::new(&a, &c, dim, Positives::Indices(&positives)).unwrap();
        for negatives in ALL_NEGATIVES {
            check_forward(batch, negatives, &mut workspace, &format!("{rows} x {candidates} x {dim}"));
        }
    }
}

#[test]
fn work_that_is_divided_over_threads() {
    let mut workspace = Workspace::new();
    for data in [Data::Random, Data::CommonMean, Data::Duplicates] {
        for negatives in ALL_NEGATIVES {
            let (a, c) = data.batch(1, 401, 401, 40);
            let batch = Batch::paired(&a, &c, 40).unwrap();
            check_forward(batch, negatives, &mut workspace, &format!("{data:?} 401 x 40"));
        }
    }
}
