//! Exact similarities of some rows with others against scalar code, bit for bit.

use super::scalar::{LENGTHS, bits, bits32, cancelling_rows, dot, norm, rows, wide};
use crate::arch::Backend;
use crate::common::Random;
use crate::kernels::{
    self, MOST_ANCHORS, MOST_CANDIDATES, NormedRows, STRIP_UNIT, Similarities, Sought, TileSide, WidenedPairs,
};
use crate::rows::Rows;

/// Numbers of anchors: fewer and more than any tile has, and the most.
const ANCHORS: [usize; 9] = [1, 2, 3, 4, 5, 7, 12, MOST_ANCHORS - 1, MOST_ANCHORS];

/// Numbers of candidates, likewise.
const CANDIDATES: [usize; 10] = [1, 2, 3, 5, 6, 8, 13, 31, MOST_CANDIDATES - 1, MOST_CANDIDATES];

/// The rows of both sides: of all sizes and some of them zero, or such that a sum in another order is far off.
fn sides(random: &mut Random, counts: [usize; 2], length: usize) -> [Vec<f32>; 2] {
    if random.below(2) == 0 {
        cancelling_rows(random, counts, length)
    } else {
        counts.map(|count| rows(random, count, length))
    }
}

fn norms(rows: &[f32], length: usize) -> Vec<f64> {
    rows.chunks(length).map(norm).collect()
}

/// The similarities of an anchor with all candidates.
fn similarities(anchor: &[f32], candidates: &[f32]) -> Vec<f32> {
    let similarity = |candidate: &[f32]| {
        let norms = norm(anchor) * norm(candidate);
        if norms == 0.0 { 0.0 } else { (dot(anchor, candidate) / norms) as f32 }
    };
    candidates.chunks(anchor.len()).map(similarity).collect()
}

/// What is looked for in a row: everything, nothing, or what lies between two of its similarities.
fn sought(random: &mut Random, similarities: &[f32]) -> Sought {
    match random.below(4) {
        0 => Sought::ALL,
        1 => Sought { above: f32::INFINITY, ..Sought::ALL },
        _ => Sought { above: random.choose(similarities), up_to: random.choose(similarities) },
    }
}

/// The largest of some numbers up to a limit, and negative infinity without one.
fn largest_up_to(limit: f32, numbers: &[f32]) -> f32 {
    numbers.iter().filter(|&&number| number <= limit).fold(f32::NEG_INFINITY, |best, &number| best.max(number))
}

/// Panics unless the rows with something that is looked for, and no others, are handed over in order.
fn assert_found(found: &mut Similarities, expected: &[Vec<f32>], sought: &[Sought], what: &str) {
    for (row, (expected, &Sought { above, up_to })) in expected.iter().zip(sought).enumerate() {
        let largest = largest_up_to(up_to, expected);
        if largest > above {
            let (index, of_row) = found.next_row(expected.len()).expect(what);
            assert_eq!((index, bits32(of_row.values)), (row, bits32(expected)), "{what}, row {row}");
            assert_eq!(of_row.largest, largest, "{what}, row {row}, up to {up_to}");
        }
    }
    assert!(found.next_row(1).is_none(), "{what}: a row without anything that is looked for");
}

/// Rows with and without an incomplete block, in the midst of others and at the end of the memory.
#[test]
fn similarities_of_anchors_with_candidates() {
    for backend in Backend::available() {
        let mut found = Similarities::EMPTY;
        for (turn, anchors) in ANCHORS.into_iter().enumerate() {
            for (candidates, length) in CANDIDATES.into_iter().flat_map(|count| LENGTHS.map(|length| (count, length))) {
                let mut random = Random((turn * 64 + candidates) as u64);
                // One row more on both sides, which is left out at one end or at the other.
                let [all, others] = sides(&mut random, [anchors + 1, candidates + 1], length);
                let [all, others] = [&all, &others].map(|rows| Rows::known(rows, length));
                let (all_norms, other_norms) = (norms(all.data(), length), norms(others.data(), length));
                let [first, first_other] = [random.below(2), random.below(2)];
                let some = NormedRows { rows: all, norms: &all_norms }.range(first, anchors);
                let with = NormedRows { rows: others, norms: &other_norms }.range(first_other, candidates);
                let expected: Vec<Vec<f32>> =
                    some.rows.iter().map(|anchor| similarities(anchor, with.rows.data())).collect();
                let sought: Vec<Sought> = expected.iter().map(|row| sought(&mut random, row)).collect();
                kernels::compute_similarities(backend, some, with, &sought, &mut found);
                let what = format!("{backend}, {anchors} x {candidates} x {length}");
                assert_found(&mut found, &expected, &sought, &what);
            }
        }
    }
}

/// Grows to so many rows on both sides and widens them.
fn widen(backend: Backend, [anchors, candidates]: [Rows<'_>; 2], similarities: &mut Similarities) {
    let elements = |rows: Rows<'_>| rows.count().next_multiple_of(STRIP_UNIT) * kernels::widened_dim(rows.dim());
    similarities.widened.grow(elements(anchors), elements(candidates)).unwrap();
    similarities.widened.widen(backend, TileSide::Anchors, anchors);
    similarities.widened.widen(backend, TileSide::Candidates, candidates);
}

/// Whole and incomplete strips of rows with and without an incomplete block, in memory that other rows were in.
#[test]
fn similarities_of_widened_rows() {
    for backend in Backend::available() {
        let mut found = Similarities::EMPTY;
        for (turn, anchors) in ANCHORS.into_iter().enumerate() {
            for (candidates, length) in CANDIDATES.into_iter().flat_map(|count| LENGTHS.map(|length| (count, length))) {
                let mut random = Random((turn * 64 + candidates) as u64);
                // The first of the anchors that are multiplied is the first of a strip, and not that of the memory.
                let first = random.choose(&[0, STRIP_UNIT, 2 * STRIP_UNIT]);
                let [all, others] = sides(&mut random, [first + anchors, candidates], length);
                let (all_norms, other_norms) = (norms(&all, length), norms(&others, length));
                let some = Rows::known(&all, length).range(first, anchors);
                let expected: Vec<Vec<f32>> = some.iter().map(|anchor| similarities(anchor, &others)).collect();
                let sought: Vec<Sought> = expected.iter().map(|row| sought(&mut random, row)).collect();
                widen(backend, [&all, &others].map(|rows| Rows::known(rows, length)), &mut found);
                let (anchor_norms, candidate_norms) = (&all_norms[first..], &other_norms[..]);
                let pairs = WidenedPairs { dim: length, first, anchor_norms, candidate_norms };
                kernels::multiply_widened(backend, pairs, &sought, &mut found);
                assert_found(
                    &mut found,
                    &expected,
                    &sought,
                    &format!("{backend}, {anchors} x {candidates} x {length}"),
                );
            }
        }
    }
}

/// A row that is not finite has no finite similarity, and its neighbours in a strip keep theirs.
#[test]
fn widened_rows_that_are_not_finite() {
    let (anchors, candidates, length) = (7, 13, 19);
    for backend in Backend::available() {
        let mut found = Similarities::EMPTY;
        for (turn, trouble) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
            let mut random = Random(turn as u64);
            let [mut all, mut others] = [anchors, candidates].map(|count| random.rows(count, length));
            let [row, other] = [random.below(anchors), random.below(candidates)];
            all[row * length + random.below(length)] = trouble;
            others[other * length + random.below(length)] = trouble;
            let (anchor_norms, candidate_norms) = (&norms(&all, length)[..], &norms(&others, length)[..]);
            widen(backend, [&all, &others].map(|rows| Rows::known(rows, length)), &mut found);
            let pairs = WidenedPairs { dim: length, first: 0, anchor_norms, candidate_norms };
            let sought = Sought { above: -2.0, ..Sought::ALL };
            kernels::multiply_widened(backend, pairs, &[sought; 7], &mut found);
            for a in (0..anchors).filter(|&a| a != row) {
                let (index, of_row) = found.next_row(candidates).expect("a finite similarity");
                let expected = similarities(&all[a * length..][..length], &others);
                for (c, (&value, expected)) in of_row.values.iter().zip(expected).enumerate() {
                    let is_same = if c == other { value.is_nan() } else { value.to_bits() == expected.to_bits() };
                    assert!(index == a && is_same, "{backend}, {trouble}, {a} with {c}: {value}, not {expected}");
                }
            }
            assert!(found.next_row(candidates).is_none(), "{backend}, {trouble}");
        }
    }
}

/// Rows that are measured on the way, below and above the length from which on they are read one by one.
#[test]
fn similarities_of_one_anchor_with_rows_from_memory() {
    for backend in Backend::available() {
        let mut found = Similarities::EMPTY;
        for length in LENGTHS.into_iter().chain([511, 512, 513]) {
            for count in CANDIDATES {
                let mut random = Random((length + count) as u64);
                let [anchor, others] = sides(&mut random, [1, count], length);
                let expected = similarities(&anchor, &others);
                let (sought, mut norms_found) = (sought(&mut random, &expected), vec![0.5; count]);
                let (with_norm, rows) = ((&anchor[..], norm(&anchor)), Rows::known(&others, length));
                kernels::measure_similarities(backend, with_norm, rows, &mut norms_found, sought, &mut found);
                let what = format!("{backend}, {count} x {length}");
                assert_eq!(bits(&norms_found), bits(&norms(&others, length)), "{what}");
                assert_found(&mut found, &[expected], &[sought], &what);
            }
        }
    }
}

/// Numbers of which some are NaN, infinite, or as large as the limit.
#[test]
fn the_largest_number_up_to_a_limit() {
    for backend in Backend::available() {
        for count in LENGTHS.into_iter().chain([0]) {
            for seed in 0..60 {
                let mut random = Random(seed);
                let numbers: Vec<f32> = (0..count)
                    .map(|_| {
                        let number = random.below(7) as f32 - 3.0;
                        random.choose(&[number, number, number, f32::NAN, f32::NEG_INFINITY, -number])
                    })
                    .collect();
                let limit = random.choose(&[-3.0, -1.0, 0.0, -0.5, 3.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
                let found = kernels::find_largest_up_to(backend, limit, &numbers);
                assert_eq!(found, largest_up_to(limit, &numbers), "{backend}, up to {limit} of {numbers:?}");
            }
        }
    }
}

/// The largest number is found wherever it stands, and one above the limit is not.
#[test]
fn one_number_in_every_place() {
    for backend in Backend::available() {
        for (count, place) in LENGTHS.into_iter().flat_map(|count| (0..count).map(move |place| (count, place))) {
            let mut numbers = vec![-1.0; count];
            numbers[place] = 2.0;
            let found = [1.0, 2.0].map(|limit| kernels::find_largest_up_to(backend, limit, &numbers));
            let below = if count == 1 { f32::NEG_INFINITY } else { -1.0 };
            assert_eq!(found, [below, 2.0], "{backend}, place {place} of {count}");
        }
    }
}

/// What is rounded to a similarity, and the factor that brings a row to norm 1: both are 0 for a zero row.
#[test]
fn cosines_and_inverse_norms() {
    let mut random = Random(1);
    for _ in 0..1000 {
        let numbers = wide(&mut random, 3);
        let (dot, x_norm, y_norm) = (numbers[0], numbers[1].abs(), numbers[2].abs());
        let expected = [dot / (x_norm * y_norm), 0.0, 0.0, 1.0 / x_norm, 0.0];
        let cosines = [(x_norm, y_norm), (0.0, y_norm), (x_norm, 0.0)].map(|(x, y)| kernels::cosine(dot, x, y));
        let inverses = [x_norm, 0.0].map(kernels::inverse);
        assert_eq!(bits(cosines.iter().chain(&inverses)), bits(&expected), "{dot}, {x_norm}, {y_norm}");
    }
}
