//! What a screen measures of rows, against the true numbers; and an attack with the longest rows, whose sums lose the most.

use super::super::intervals::assert_intervals;
use super::{BYTES, PAIRS, WORDS, beyond, center, check_ties, dot, rows_of, sampled, to_f32, unit, with_opposites};
use crate::arch::Backend;
use crate::common::near_ties::{NearTies, scaled, sign};
use crate::common::{ALL_DATA, ALL_NEGATIVES, OwnedBatch, Pairing, Random, check_forward};
use crate::kernels::{Format, MAX_LANES, PanelTarget, RawRows, norm, scratch_len};
use crate::screen::quantize::MAX_DIM;
use crate::screen::rounding::ROUNDING;
use crate::screen::{Center, Params, center_len, pack_candidates};
use crate::{Workspace, reference};

/// The longest rows that are rounded.
const LONGEST: usize = MAX_DIM;

/// A long row with one element that sets the step, many that count, and a last one that lengthens the row until it has
/// the similarity `target` with the signs of those that count.
fn long_row(target: f64, mut element: impl FnMut() -> f64) -> Vec<f32> {
    let mut y: Vec<f64> = (0..LONGEST).map(|k| element() * f64::from(sign(k))).collect();
    (y[0], y[LONGEST - 1]) = (BYTES.largest, 0.0);
    let along = dot(&y, &signs()) / ((LONGEST - 2) as f64).sqrt();
    y[LONGEST - 1] = ((along / target).powi(2) - dot(&y, &y)).sqrt();
    to_f32(&beyond(&vec![0.0; LONGEST], &y))
}

/// The signs of the elements that count.
fn signs() -> Vec<f64> {
    let mut signs: Vec<f64> = (0..LONGEST).map(|k| f64::from(sign(k))).collect();
    (signs[0], signs[LONGEST - 1]) = (0.0, 0.0);
    signs
}

/// The similarity of a long row whose elements are all `off`, the last one being 20 whole steps.
fn long_similarity(off: f64) -> f64 {
    let along = off * off * (LONGEST - 2) as f64;
    f64::from((along / (along + BYTES.largest.powi(2) + 400.0)).sqrt() as f32)
}

/// By how much, relatively, a sum in `f32` of as many equal products as rows have elements is too small: in four parts,
/// as the screens add up.
fn loss(x: f64, y: f64) -> f64 {
    let (x, y, count) = (x as f32, y as f32, LONGEST / 4);
    let part = (0..count).fold(0.0_f32, |sum, _| x.mul_add(y, sum));
    1.0 - f64::from(part) / (count as f64 * f64::from(x) * f64::from(y))
}

/// Long rows of nearly the similarity that is lost the most of, half of them with equal elements, of whose sums it is
/// lost. The others' elements differ, so that they lose little: against them, the former have no chance if a bound does
/// not allow for such a loss. `lost` says how much of the sums of rows with elements of such a size is lost.
fn long_rows(lost: impl Fn(f64) -> f64) -> Vec<Vec<f32>> {
    let mut random = Random(1);
    let lost = |off: f64| lost(f64::from(long_row(long_similarity(off), || off)[1]).abs());
    let offs = (440..490).map(|off| f64::from(off) / 1000.0);
    let off = offs.max_by(|&x, &y| lost(x).total_cmp(&lost(y))).expect("some");
    assert!(lost(off) > 8e-5, "only {:e} are lost", lost(off));
    let row = |index: usize| {
        let target = long_similarity(off) - (index % 7) as f64 * 2.0_f64.powi(-24);
        let varied = index.is_multiple_of(2);
        long_row(target, || if varied { 0.5 + 0.2 * f64::from(random.unit()) } else { off })
    };
    (0..PAIRS).map(row).collect()
}

/// The measured norm of residuals is too small by many roundings, and the bound with it.
#[test]
fn residuals_that_are_measured_too_small() {
    let zero = vec![0.0; LONGEST];
    let anchor = to_f32(&beyond(&zero, &signs()));
    let rows = long_rows(|element| loss(element, element));
    for row in rows.iter().skip(1).step_by(2) {
        let share = BYTES.share([&anchor, row], &zero);
        assert!(share > 1.0 - 1e-6, "{share} of the bound");
    }
    let (anchors, candidates) = (with_opposites(&[anchor]), with_opposites(&rows));
    let batch = OwnedBatch::new(anchors, candidates, LONGEST, Pairing::Identity);
    check_ties(&mut Workspace::new(), BYTES, batch, "long rows");
}

/// The anchors and the candidates that the center is made of are all alike, so that nothing is left of them: the
/// similarities of the other candidates are their products with the center, and wrong by many roundings.
#[test]
fn centers_whose_products_are_measured_too_small() {
    let anchor = to_f32(&beyond(&vec![0.0; LONGEST], &signs()));
    let element = f64::from(anchor[1]).abs();
    let rows = long_rows(|other| loss(element - other, element));
    let count = 16 + PAIRS;
    let sampled = sampled(count);
    let (ties, between): (Vec<f32>, Vec<usize>) =
        (rows.concat(), (0..count).filter(|index| !sampled.contains(index)).collect());
    let mut candidates = anchor.repeat(count);
    for (row, &index) in rows.iter().zip(&between) {
        candidates[index * LONGEST..][..LONGEST].copy_from_slice(&scaled(row, index));
    }
    let common = center(&candidates, LONGEST);
    let rest: Vec<f64> = unit(&anchor).iter().zip(&common).map(|(value, center)| value - center).collect();
    assert!(dot(&rest, &rest).sqrt() < 1e-6, "the anchors are not at the center");
    let anchors = [anchor.clone(), anchor].concat();
    // The candidates at the center are more similar than all others: the near-ties are looked at without them.
    let alone = OwnedBatch::new(anchors.clone(), ties, LONGEST, Pairing::Identity);
    let alone = NearTies { batch: alone, attacked: vec![0, 1], ties: PAIRS };
    alone.assert_near_ties(10, "long rows");
    let batch = OwnedBatch::new(anchors, candidates, LONGEST, Pairing::Identity);
    for grid in [BYTES, WORDS] {
        grid.assert_intervals(&batch, "long rows");
    }
    for (turn, negatives) in ALL_NEGATIVES.into_iter().enumerate() {
        let positives = alone.positives(turn).into_iter().map(|index| between[index]).collect();
        let batch = batch.clone().with(Pairing::Indices(positives));
        check_forward(batch.batch(), negatives, &mut Workspace::new(), "long rows");
    }
}

/// What a screen keeps of a candidate.
#[derive(Debug)]
struct Measured {
    integers: Vec<i32>,
    quant_step: f64,
    center_dot: f64,
    residual: f64,
    norm: f64,
}

/// The center of some rows, and what a screen keeps of each of them as a candidate.
fn measure(backend: Backend, format: Format, rows: &[f32], dim: usize) -> (Vec<f64>, Vec<Measured>) {
    let norms: Vec<f64> = rows.chunks(dim).map(|row| norm(backend, row)).collect();
    let (mut buffer, mut scratch) = (vec![0.0; center_len(dim)], vec![0.0; scratch_len(dim)]);
    let center = Center::of(Backend::portable(), rows_of(rows, dim), &mut buffer);
    let (words_per_row, width) = (format.words_per_candidate(dim), MAX_LANES);
    let mut measured = Vec::new();
    for (first, group) in (RawRows { rows, norms: &norms, dim }).groups(width) {
        let mut panel = vec![0; width * words_per_row];
        let target = PanelTarget { panels: &mut panel, width, padded: width, words_per_row, first: 0 };
        pack_candidates(backend, format, group, Params { center, float_bound: 0.0 }, &mut scratch, target);
        for lane in 0..width.min(norms.len() - first) {
            let (per_word, bits) = (format.per_word(), 32 / format.per_word());
            let integer = |k: usize| {
                let part =
                    (panel[k / per_word * width + lane] >> (k % per_word * bits) & (u32::MAX >> (32 - bits))) as i32;
                match format {
                    Format::Int8 => i32::from((part - backend.traits().i8_offset) as i8),
                    _ => i32::from(part as i16),
                }
            };
            let number = |row: usize| f64::from(f32::from_bits(panel[(format.steps(dim) + row) * width + lane]));
            let integers = (0..dim).map(integer).collect();
            let [quant_step, center_dot, residual, norm] = [0, 1, 2, 3].map(number);
            measured.push(Measured { integers, quant_step, center_dot, residual, norm });
        }
    }
    (center.values()[..dim].iter().map(|&value| value.into()).collect(), measured)
}

/// Panics unless what the screen measures of rows is what the proof of its bound needs: norms at least as large as the
/// true ones, integers in their range whose products stay in theirs, and products with the center that are as near as
/// the slack allows.
fn assert_measured(format: Format, rows: &[f32], dim: usize, what: &str) {
    let norm = |values: &[f64]| dot(values, values).sqrt();
    for backend in Backend::available() {
        let (center, measured) = measure(backend, format, rows, dim);
        let [_, range] = format.integer_ranges(backend).expect("integers");
        for (index, (row, measured)) in rows.chunks(dim).zip(measured).enumerate() {
            let what = format!("{what}, {backend}, {:?}, row {index}", format);
            let Measured { integers, quant_step, center_dot, residual, norm: measured_norm } = measured;
            let unit = if reference::norm(row) == 0.0 { vec![0.0; dim] } else { unit(row) };
            let rest: Vec<f64> = unit.iter().zip(&center).map(|(value, center)| value - center).collect();
            let left: Vec<f64> =
                rest.iter().zip(&integers).map(|(rest, &integer)| rest - quant_step * f64::from(integer)).collect();
            assert!(norm(&rest) <= measured_norm, "{what}: norm {measured_norm} of {}", norm(&rest));
            assert!(norm(&left) <= residual, "{what}: residual {residual} of {}", norm(&left));
            assert!(integers.iter().all(|integer| integer.abs() <= range.largest), "{what}: {integers:?}");
            let square: i64 = integers.iter().map(|&integer| i64::from(integer).pow(2)).sum();
            assert!(square < 1 << 31, "{what}: the integers' square is {square}");
            let roundings = (dim / 4 + 8) as f64 * norm(&rest) * norm(&center) + 8.0 * norm(&center);
            let error = (center_dot - dot(&rest, &center)).abs();
            assert!(error <= roundings * ROUNDING, "{what}: a product with the center that is off by {error:e}");
        }
    }
}

/// All kinds of rows, and rows of equal elements, of which the rounding leaves out nothing but what their own roundings
/// were.
#[test]
fn what_is_measured_of_rows_is_what_the_bound_needs() {
    for dim in [1, 2, 3, 4, 7, 16, 17, 33, 64, 100, 255, 384] {
        for data in ALL_DATA {
            let rows = data.rows(&mut Random(dim as u64), 40, dim);
            let what = format!("{data:?}, dim {dim}");
            assert_measured(Format::Int8, &rows, dim, &what);
            assert_measured(Format::Int16, &rows, dim, &what);
        }
        let mut random = Random(dim as u64);
        let flat = |index: usize| {
            let value = 1.0 + random.unit() / 3.0;
            (0..dim).map(move |k| if index.is_multiple_of(2) { value * sign(k) } else { -value * sign(k) })
        };
        let rows: Vec<f32> = (0..64).flat_map(flat).collect();
        assert_measured(Format::Int8, &rows, dim, &format!("equal elements, dim {dim}"));
        assert_measured(Format::Int16, &rows, dim, &format!("equal elements, dim {dim}"));
    }
}

/// Rows whose squares are lost, all of them or some, as hardly anything is left of the rows without their center.
#[test]
fn rows_at_their_center() {
    for dim in [16, 100, 1000] {
        for exponent in [-75, -70, -66, -62, -50, -30] {
            let mut random = Random(dim as u64);
            // All rows are the same, but for elements so small that the center knows nothing of them.
            let mut rows = vec![0.0; 40 * dim];
            for (index, row) in rows.chunks_mut(dim).enumerate() {
                row[0] = 1.0;
                let size = 2.0_f32.powi(exponent) / (1 + index % 5) as f32;
                row[1..].iter_mut().for_each(|value| *value = size * (random.unit() + 1.5));
            }
            let what = format!("2^{exponent}, dim {dim}");
            assert_intervals(Format::Int8, &rows[..8 * dim], &rows, dim, &what);
            assert_intervals(Format::Int16, &rows[..8 * dim], &rows, dim, &what);
        }
    }
}

/// The longest rows: sums of equal squares lose the most.
#[test]
fn what_is_measured_of_the_longest_rows() {
    let rows = [long_rows(|element| loss(element, element)).concat(), to_f32(&signs())].concat();
    let opposite: Vec<f32> = rows.iter().map(|value| -value).collect();
    let rows = [rows, opposite].concat();
    assert_measured(Format::Int8, &rows, LONGEST, "long rows");
    assert_measured(Format::Int16, &rows, LONGEST, "long rows");
}
