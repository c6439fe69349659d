//! Similarities of rows in memory and what is likely of them, against scalar code.

use super::scalar::{LENGTHS, dot, norm};
use crate::arch::Backend;
use crate::common::Random;
use crate::kernels::{self, CandidateBits, MOST_SEEKING, MOST_SIMILAR, NearSimilarities, ScaledRows, Sought};
use crate::rows::Rows;

/// Numbers of anchors and of candidates: fewer and more than a tile has, and the most.
const ANCHORS: [usize; 6] = [1, 2, 3, 4, MOST_SEEKING - 1, MOST_SEEKING];
const CANDIDATES: [usize; 8] = [1, 2, 3, 4, 5, 67, MOST_SIMILAR - 1, MOST_SIMILAR];

/// Every pair has its own place, in the midst of other rows and at the end of the memory; whole numbers are exact.
#[test]
fn similarities_of_rows_in_memory() {
    for backend in Backend::available() {
        for (turn, anchors) in ANCHORS.into_iter().enumerate() {
            for (candidates, length) in CANDIDATES.into_iter().flat_map(|count| LENGTHS.map(|length| (count, length))) {
                let what = format!("{backend}, {anchors} x {candidates} x {length}");
                let mut random = Random((turn * 256 + candidates) as u64);
                let mut whole = |rows: usize| {
                    let row = (0..rows * length).map(|_| random.below(17) as f32 - 8.0);
                    row.collect::<Vec<f32>>()
                };
                let (all, others) = (whole(anchors + 1), whole(candidates + 1));
                let first = turn % 2;
                let [rows, others] = [(&all, anchors), (&others, candidates)]
                    .map(|(rows, count)| Rows::known(rows, length).range(first, count));
                // Powers of two, so that scaling is exact as well.
                let scales =
                    |count: usize| (0..count).map(|row| 2.0_f32.powi(row as i32 % 5 - 2)).collect::<Vec<f32>>();
                let (own, other) = (scales(anchors), scales(candidates));
                let mut near = NearSimilarities([[f32::NAN; MOST_SIMILAR]; MOST_SEEKING]);
                let scaled = ScaledRows { rows, scales: &own };
                kernels::approximate(backend, scaled, ScaledRows { rows: others, scales: &other }, &mut near);
                for (row, (x, scale)) in rows.iter().zip(&own).enumerate() {
                    for (column, (y, other)) in others.iter().zip(&other).enumerate() {
                        let expected = dot(x, y) as f32 * scale * other;
                        assert_eq!(near.0[row][column], expected, "{what}, {row} x {column}");
                    }
                }
            }
        }
    }
}

/// Zero rows, and rows whose sums are rounded.
#[test]
fn similarities_are_near_the_exact_ones() {
    for backend in Backend::available() {
        for length in LENGTHS {
            let (mut random, count) = (Random(length as u64), 9);
            let mut sides = [random.rows(count, length), random.rows(count, length)];
            sides[1][2 * length..3 * length].fill(0.0);
            let scales = |rows: &[f32]| {
                let inverse = |row: &[f32]| if norm(row) == 0.0 { 0.0 } else { (1.0 / norm(row)) as f32 };
                rows.chunks(length).map(inverse).collect::<Vec<f32>>()
            };
            let (own, other) = (scales(&sides[0]), scales(&sides[1]));
            let [rows, others] = [&sides[0], &sides[1]].map(|rows| Rows::known(rows, length));
            let mut near = NearSimilarities::EMPTY;
            let scaled = ScaledRows { rows, scales: &own };
            kernels::approximate(backend, scaled, ScaledRows { rows: others, scales: &other }, &mut near);
            for (row, x) in rows.iter().enumerate() {
                for (column, y) in others.iter().enumerate() {
                    let norms = norm(x) * norm(y);
                    let exact = if norms == 0.0 { 0.0 } else { dot(x, y) / norms };
                    let error = (f64::from(near.0[row][column]) - exact).abs();
                    assert!(error < 2e-6, "{backend}, {row} x {column} x {length}: off by {error}");
                }
            }
        }
    }
}

/// Bit `c` of what is likely, by the definition.
fn likely(row: &[f32], sought: Sought, error: f32) -> CandidateBits {
    let Sought { above, up_to } = sought;
    let certain = row.iter().filter(|&&similarity| similarity <= up_to - error);
    let best = certain.fold(f32::NEG_INFINITY, |best, &similarity| best.max(similarity));
    let mut bits = CandidateBits::default();
    for (column, &similarity) in row.iter().enumerate() {
        let reaches = similarity >= best - 2.0 * error && similarity >= above - error && similarity > f32::NEG_INFINITY;
        bits[column / 64] |= u64::from(reaches && similarity <= up_to + error) << (column % 64);
    }
    bits
}

#[test]
fn what_may_be_the_most_similar() {
    for backend in Backend::available() {
        for (turn, count) in (1..=MOST_SIMILAR).chain([1, 64, MOST_SIMILAR]).enumerate() {
            let mut random = Random(turn as u64);
            let rows = 1 + random.below(MOST_SEEKING);
            // Numbers that meet each other and the limits, those that were taken out, and what earlier calls left.
            let error = random.choose(&[0.0, 0.125, 0.25, 4.0]);
            let mut near = NearSimilarities([[0.0; MOST_SIMILAR]; MOST_SEEKING]);
            near.0.iter_mut().flatten().for_each(|similarity| {
                *similarity =
                    if random.below(5) == 0 { f32::NEG_INFINITY } else { (random.unit() * 8.0).round() / 8.0 };
            });
            let ends = [-0.5, 0.0, 0.125, 0.25, 1.0, f32::INFINITY, f32::NEG_INFINITY];
            let mut sought = || Sought { above: random.choose(&ends[..5]), up_to: random.choose(&ends) };
            let mut sought: Vec<Sought> = (0..rows).map(|_| sought()).collect();
            sought[0].above = f32::NEG_INFINITY;
            let found = kernels::find_likely(backend, &near, count, &sought, error);
            for (row, &sought) in sought.iter().enumerate() {
                let expected = likely(&near.0[row][..count], sought, error);
                assert_eq!(found[row], expected, "{backend}, {count} candidates, row {row}, {sought:?}, {error}");
            }
        }
    }
}
