//! Dot products and norms against scalar code, bit for bit.

use super::scalar::{LENGTHS, bits, dot, dot_sum, lane_sum, norm, rows, wide};
use crate::arch::Backend;
use crate::common::Random;
use crate::kernels::{self, MOST_MEASURED, RowGroup};
use crate::rows::Rows;

/// Rows of every length, several times, on every backend; the empty row among them.
fn for_each_length(check: impl Fn(Backend, &mut Random, usize, &str)) {
    for backend in Backend::available() {
        for length in LENGTHS.into_iter().chain([0]) {
            for seed in 0..8 {
                check(backend, &mut Random(seed), length, &format!("{backend}, {length} elements, seed {seed}"));
            }
        }
    }
}

/// Some rows of one length.
fn split<const N: usize>(rows: &[f32], length: usize) -> [&[f32]; N] {
    core::array::from_fn(|row| &rows[row * length..][..length])
}

#[test]
fn dot_products_of_one_row_with_several() {
    for_each_length(|backend, random, length, what| {
        let rows = rows(random, 5, length);
        let [x, others @ ..] = split::<5>(&rows, length);
        let expected = others.map(|other| dot(x, other));
        let [a, b, c, d] = others;
        let ones = [a, b, c, d].map(|other| kernels::dots(backend, x, [other])).concat();
        let twos = [[a, b], [c, d]].map(|pair| kernels::dots(backend, x, pair)).concat();
        for (actual, pairs) in [(&ones[..], 1), (&twos[..], 2), (&kernels::dots(backend, x, others)[..], 4)] {
            assert_eq!(bits(actual), bits(&expected), "{what}, {pairs} at once");
        }
    });
}

#[test]
fn dot_products_of_a_pair() {
    for_each_length(|backend, random, length, what| {
        let rows = rows(random, 3, length);
        let [x, y, z] = split(&rows, length);
        for (x, y) in [(x, y), (y, z), (z, x)] {
            let expected = [dot(x, x), dot(x, y), dot(y, y)];
            assert_eq!(bits(&kernels::pair_dots(backend, x, y)), bits(&expected), "{what}");
        }
    });
}

/// A norm shows that an element is not finite, wherever it stands.
#[test]
fn norms_of_rows_that_are_not_finite() {
    for backend in Backend::available() {
        for length in LENGTHS {
            for (place, value) in (0..length).flat_map(|k| [f32::INFINITY, f32::NEG_INFINITY, f32::NAN].map(|v| (k, v)))
            {
                let mut row = rows(&mut Random(place as u64), 1, length);
                assert!(kernels::norm(backend, &row).is_finite());
                row[place] = value;
                assert!(!kernels::norm(backend, &row).is_finite(), "{backend}, {value} at {place} of {length}");
            }
            assert!(kernels::norm(backend, &vec![f32::MAX; length]).is_finite());
            assert!(kernels::norm(backend, &vec![1e-45; length]) > 0.0);
        }
    }
}

#[test]
fn dot_products_with_numbers_of_f64() {
    for_each_length(|backend, random, length, what| {
        let (rows, sum) = (rows(random, 3, length), wide(random, length));
        for (x, y) in
            [[0, 1], [1, 2], [2, 0]].map(|pair| pair.map(|row| &rows[row * length..][..length])).map(<[_; 2]>::into)
        {
            let scale = wide(random, 1)[0];
            let scaled = lane_sum(x.iter().zip(y).map(|(&x, &y)| f64::from(x) * (f64::from(y) * scale)));
            let values = lane_sum(x.iter().map(|&value| f64::from(value)));
            let expected = [dot_sum(x, &sum), scaled, values, norm(x)];
            let actual = [
                kernels::dot_sum(backend, x, &sum),
                kernels::dot_scaled(backend, x, y, scale),
                kernels::sum_values(backend, x),
                kernels::norm(backend, x),
            ];
            assert_eq!(bits(&actual), bits(&expected), "{what}");
        }
    });
}

#[test]
fn what_anchors_need_of_themselves() {
    for backend in Backend::available() {
        for (length, count) in
            LENGTHS.into_iter().flat_map(|length| [1, 2, 5, MOST_MEASURED].map(|count| (length, count)))
        {
            for among in [false, true] {
                let mut random = Random(length as u64);
                let (anchors, others) = (rows(&mut random, count, length), rows(&mut random, MOST_MEASURED, length));
                let (mut partners, sum) = ([&[][..]; MOST_MEASURED], wide(&mut random, length));
                others.chunks(length).zip(&mut partners).for_each(|(row, partner)| *partner = row);
                let partner_norms = partners.map(norm);
                let rows = Rows::known(&anchors, length);
                let group = RowGroup { rows, partners, partner_norms, sum: &sum, count: 7, among };
                let measured = kernels::measure_group(backend, &group);
                for (row, x) in anchors.chunks(length).enumerate() {
                    let (own, other) = (norm(x), partner_norms[row]);
                    let is_zero = own * other == 0.0;
                    let cosine = if is_zero { 0.0 } else { dot(x, partners[row]) / (own * other) };
                    let (taken, negatives) = if among { (cosine, 6.0) } else { (0.0, 7.0) };
                    let mean = if own == 0.0 { 0.0 } else { (dot_sum(x, &sum) / own - taken) / negatives };
                    let actual = [measured.norms[row], measured.cosines[row], measured.means[row]];
                    let what = format!("{backend}, row {row} of {count} x {length}, among {among}");
                    assert_eq!(bits(&actual), bits(&[own, cosine, mean]), "{what}");
                }
            }
        }
    }
}

/// As many rows as are measured at once, and more.
#[test]
fn norms_of_rows_from_memory() {
    for backend in Backend::available() {
        for (length, count) in
            LENGTHS.into_iter().flat_map(|length| [1, 2, 63, 64, 65, 130].map(|count| (length, count)))
        {
            let rows = rows(&mut Random(count as u64), count, length);
            let mut norms = vec![0.5; count];
            kernels::norms(backend, Rows::known(&rows, length), &mut norms);
            let expected: Vec<f64> = rows.chunks(length).map(norm).collect();
            assert_eq!(bits(&norms), bits(&expected), "{backend}, {count} x {length}");
        }
    }
}
