//! Sums of rows and gradients against scalar code, bit for bit.

use super::scalar::{LENGTHS, add_scaled, bits, bits32, cancelling_rows, dot_sum, inverse, norm, rows, wide};
use crate::arch::Backend;
use crate::common::Random;
use crate::kernels::{self, MOST_ROWS, MOST_TERMS, RowGradient, Start, Term};
use crate::rows::Rows;

/// Adds rows, each over its norm.
fn add_units(rows: &[f32], norms: &[f64], sum: &mut [f64]) {
    for (row, &norm) in rows.chunks(sum.len()).zip(norms) {
        add_scaled(row, inverse(norm), sum);
    }
}

/// The norms are whatever is said: here they are no roots of sums, and some are 0.
#[test]
fn unit_rows_are_added_in_order() {
    for backend in Backend::available() {
        for (length, count) in LENGTHS.into_iter().flat_map(|length| [1, 2, 47, MOST_ROWS].map(|count| (length, count)))
        {
            let mut random = Random((length * count) as u64);
            let (rows, mut norms) = (rows(&mut random, count, length), wide(&mut random, count));
            norms.iter_mut().skip(1).step_by(5).for_each(|norm| *norm = 0.0);
            let mut sum = wide(&mut random, length);
            let mut expected = sum.clone();
            add_units(&rows, &norms, &mut expected);
            kernels::add_unit_rows(backend, &rows, &norms, &mut sum);
            assert_eq!(bits(&sum), bits(&expected), "{backend}, {count} x {length}");
        }
    }
}

/// Rows from the cache, at most so many, and from memory, any number of them.
#[test]
fn rows_are_measured_and_added() {
    for backend in Backend::available() {
        for (length, count) in
            LENGTHS.into_iter().flat_map(|length| [1, 2, 3, 47, MOST_ROWS, 49, 97].map(|count| (length, count)))
        {
            let mut random = Random((length * count) as u64);
            let (rows, sum) = (rows(&mut random, count, length), wide(&mut random, length));
            let (norms, mut expected): (Vec<f64>, Vec<f64>) = (rows.chunks(length).map(norm).collect(), sum.clone());
            add_units(&rows, &norms, &mut expected);
            let assert_measured = |way: &str, measure: &dyn Fn(&mut [f64], &mut [f64])| {
                let (mut found, mut sum) = (vec![0.5; count], sum.clone());
                measure(&mut found, &mut sum);
                let found = [bits(&found), bits(&sum)];
                assert_eq!(found, [bits(&norms), bits(&expected)], "{backend}, {count} x {length}, from {way}");
            };
            if count <= MOST_ROWS {
                assert_measured("the cache", &|norms, sum| kernels::measure_cached_rows(backend, &rows, norms, sum));
            }
            let known = Rows::known(&rows, length);
            assert_measured("memory", &|norms, sum| kernels::measure_rows(backend, known, norms, sum));
        }
    }
}

/// What a vector begins with.
fn begin(start: Option<Start<'_>>, sum: &mut [f64]) {
    let Some(Start { common, less, share }) = start else { return };
    for (k, sum) in sum.iter_mut().enumerate() {
        *sum = if share == 0.0 { 0.0 } else { (common[k] - less.map_or(0.0, |less| less[k])) * share };
    }
}

/// Every way to begin, with vectors of these numbers; those without a share may be anything.
fn starts<'a>(common: &'a [f64], less: &'a [f64], anything: &'a [f64]) -> [Option<Start<'a>>; 5] {
    let start = |common, less, share| Some(Start { common, less, share });
    [
        None,
        start(common, None, -0.3),
        start(common, Some(less), 0.7),
        start(anything, None, 0.0),
        start(anything, Some(anything), -0.0),
    ]
}

/// Numbers for one row of a length, of each kind that a sum takes.
struct Numbers {
    common: Vec<f64>,
    less: Vec<f64>,
    anything: Vec<f64>,
    sum: Vec<f64>,
    scales: Vec<f64>,
}

impl Numbers {
    fn draw(random: &mut Random, length: usize) -> Numbers {
        let [common, less, sum] = [(); 3].map(|()| wide(random, length));
        let anything = (0..length).map(|k| [f64::NAN, f64::INFINITY, 1.0][k % 3]).collect();
        Numbers { common, less, anything, sum, scales: wide(random, MOST_TERMS) }
    }
}

#[test]
fn terms_are_added_in_order() {
    for backend in Backend::available() {
        for (length, count) in LENGTHS.into_iter().flat_map(|length| [0, 1, 2, 7, MOST_TERMS].map(|n| (length, n))) {
            let mut random = Random((length + count) as u64);
            let (rows, numbers) = (rows(&mut random, MOST_TERMS, length), Numbers::draw(&mut random, length));
            let terms: Vec<Term<'_>> = rows.chunks(length).zip(numbers.scales.iter().copied()).take(count).collect();
            for (way, start) in starts(&numbers.common, &numbers.less, &numbers.anything).into_iter().enumerate() {
                let (mut sum, mut expected) = (numbers.sum.clone(), numbers.sum.clone());
                begin(start, &mut expected);
                terms.iter().for_each(|&(row, scale)| add_scaled(row, scale, &mut expected));
                kernels::add_terms(backend, start, &terms, &mut sum);
                assert_eq!(bits(&sum), bits(&expected), "{backend}, {count} x {length}, start {way}");
            }
        }
    }
}

/// The gradient by a row, before it is rounded.
fn gradient(row: &[f32], norm: f64, sum: &[f64]) -> Vec<f64> {
    let scale = inverse(norm);
    let along = dot_sum(row, sum) * scale * scale;
    row.iter().zip(sum).map(|(&value, &sum)| (sum - f64::from(value) * along) * scale).collect()
}

/// The products of a row with the terms are huge and cancel each other, so that they must be added in their order.
#[test]
fn gradients_take_away_what_lies_along_the_row() {
    for backend in Backend::available() {
        for (length, count) in LENGTHS.into_iter().flat_map(|length| [0, 1, 2, 7, MOST_TERMS].map(|n| (length, n))) {
            let mut random = Random((length + count) as u64);
            let ([row, rows], numbers) =
                (cancelling_rows(&mut random, [1, MOST_TERMS], length), Numbers::draw(&mut random, length));
            // Small numbers beside the huge ones: what the sum begins with does not cancel.
            let [common, less, sum] = [&numbers.common, &numbers.less, &numbers.sum]
                .map(|numbers| numbers.iter().map(|number| number * 1e-9).collect::<Vec<f64>>());
            let terms: Vec<Term<'_>> = rows.chunks(length).zip([1.0, -0.5].into_iter().cycle()).take(count).collect();
            for (way, start) in starts(&common, &less, &numbers.anything).into_iter().enumerate() {
                for (norm, accumulate) in [(1.0, false), (0.7, true), (1e30, false)] {
                    let (mut found, mut expected) = (sum.clone(), sum.clone());
                    begin(start, &mut expected);
                    terms.iter().for_each(|&(row, scale)| add_scaled(row, scale, &mut expected));
                    let mut output = random.rows(1, length);
                    let before = |k: usize| if accumulate { f64::from(output[k]) } else { 0.0 };
                    let rounded = |(k, gradient): (usize, f64)| {
                        if accumulate { (before(k) + gradient) as f32 } else { gradient as f32 }
                    };
                    let gradients = gradient(&row, norm, &expected);
                    let gradients: Vec<f32> = gradients.into_iter().enumerate().map(rounded).collect();
                    let of_row = RowGradient { row: &row, norm, start, terms: &terms, accumulate };
                    kernels::write_gradient(backend, of_row, &mut found, &mut output);
                    let what = format!("{backend}, {count} x {length}, start {way}, norm {norm}");
                    assert_eq!(bits(&found), bits(&expected), "{what}");
                    assert_eq!(bits32(&output), bits32(&gradients), "{what}, {accumulate}");
                }
            }
        }
    }
}

/// One rounding from `f64`, and one addition of `f32`. What follows the row's elements in the output stays.
#[test]
fn rows_times_a_number_in_f32() {
    for backend in Backend::available() {
        for length in LENGTHS.into_iter().chain([0]) {
            let mut random = Random(length as u64);
            for row in rows(&mut random, 3, length.max(1)).chunks(length.max(1)).map(|row| &row[..length]) {
                let (scale, before) = (wide(&mut random, 1)[0], random.rows(1, length + 3));
                let scaled: Vec<f32> = row.iter().map(|&value| (f64::from(value) * scale) as f32).collect();
                let (mut written, mut added) = (before.clone(), before.clone());
                kernels::scale_row(backend, row, scale, &mut written);
                kernels::add_scaled_to_f32(backend, row, scale, &mut added);
                let sums = before.iter().zip(&scaled).map(|(&before, &scaled)| before + scaled);
                let sums: Vec<f32> = sums.chain(before[length..].iter().copied()).collect();
                let what = format!("{backend}, {length} elements times {scale}");
                assert_eq!(bits32(&written), bits32(scaled.iter().chain(&before[length..])), "{what}");
                assert_eq!(bits32(&added), bits32(&sums), "{what}, added");
            }
        }
    }
}
