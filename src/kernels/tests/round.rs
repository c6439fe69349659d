//! Rows as integers: those that lie on a grid exactly, so that every word, and what is measured of a row, is known.

use super::pack::{LENGTHS, Place};
use crate::arch::Backend;
use crate::common::Random;
use crate::kernels::{self, Format, IntegerRange, PanelTarget, QuantizedRow, RawRows, SLACK, scratch_len};

/// What is added to a norm for the roundings of its row's elements.
const OF_ELEMENTS: f32 = 8.0 / 16_777_216.0;

/// Rows on a grid: less the center they are integers, one of which is the largest that there is, times a unit.
struct Grid {
    range: IntegerRange,
    dim: usize,
    integers: Vec<Vec<i32>>,
    /// What one unit of each row stands for, a power of two.
    units: Vec<f64>,
    /// The center in the largest unit.
    center: Vec<i32>,
}

impl Grid {
    /// The largest unit.
    const UNIT: f64 = 1.0 / 1024.0;

    fn draw(range: IntegerRange, random: &mut Random, count: usize, dim: usize) -> Grid {
        // All others are small: a norm of 16-bit integers has no room for several of the largest, nor has a group of bytes.
        let (largest, small) = (range.largest, range.largest_sum.map_or(range.largest.min(127), |_| 17));
        let integers = (0..count).map(|row| {
            let mut integers: Vec<i32> =
                (0..dim).map(|_| random.below(2 * small as usize + 1) as i32 - small).collect();
            integers[(row * 5) % dim] = if row % 2 == 0 { largest } else { -largest };
            integers
        });
        let integers = integers.collect();
        let units = (0..count).map(|row| Grid::UNIT / f64::from(1 << (row % 4))).collect();
        // Small numbers, so that products with them have sums without roundings.
        let center = (0..dim).map(|_| random.below(5) as i32 - 2).collect();
        Grid { range, dim, integers, units, center }
    }

    /// The center as kernels take it.
    fn center(&self) -> Vec<f32> {
        let mut center: Vec<f32> = self.center.iter().map(|&c| (f64::from(c) * Grid::UNIT) as f32).collect();
        center.resize(self.dim.next_multiple_of(kernels::MAX_LANES), 0.0);
        center
    }

    /// The rows with the center, each times its norm. The elements, but for the largest, are `off` units away from the
    /// grid.
    fn rows(&self, norms: &[f64], off: impl Fn(usize) -> f64) -> Vec<f32> {
        let mut rows = Vec::new();
        for (row, integers) in self.integers.iter().enumerate() {
            for (k, &integer) in integers.iter().enumerate() {
                let off = if integer.abs() == self.range.largest { 0.0 } else { off(row + k) };
                let element = (f64::from(integer) + off) * self.units[row] + f64::from(self.center[k]) * Grid::UNIT;
                rows.push((element * norms[row]) as f32);
            }
        }
        rows
    }

    /// A word of a row, whose integers are filled up with zeros.
    fn word(&self, row: usize, step: usize) -> u32 {
        let (per_word, offset) = (self.range.format.per_word(), self.range.candidate_offset.unwrap_or(0));
        let bits = 32 / per_word;
        let mask = u32::MAX >> (32 - bits);
        (0..per_word).rev().fold(0, |word, part| {
            let integer = self.integers[row].get(step * per_word + part).copied().unwrap_or(0) + offset;
            word << bits | integer.cast_unsigned() & mask
        })
    }

    /// Packs the rows as those of their side.
    fn pack(
        &self,
        backend: Backend,
        place: Place,
        off: impl Fn(usize) -> f64,
    ) -> (Vec<u32>, [QuantizedRow; kernels::MAX_LANES]) {
        let norms: Vec<f64> = (0..place.count).map(|row| f64::from(1_u32 << (row % 3))).collect();
        let (rows, center) = (self.rows(&norms, off), self.center());
        let words_per_row = self.words_per_row();
        let (mut panels, mut scratch) = (place.memory(words_per_row), vec![0.0; scratch_len(self.dim)]);
        let Place { width, padded, first, .. } = place;
        let target = PanelTarget { panels: &mut panels, width, padded, words_per_row, first };
        let rows = RawRows { rows: &rows, norms: &norms, dim: self.dim };
        let packed = kernels::pack_integers(backend, self.range, rows, &center, &mut scratch, target);
        (panels, packed)
    }

    /// The words of a row and, of a candidate, its constants.
    fn words_per_row(&self) -> usize {
        let format = self.range.format;
        if self.range.candidate_offset.is_some() {
            format.words_per_candidate(self.dim)
        } else {
            format.steps(self.dim)
        }
    }
}

/// The integers of a format: of anchors, of candidates, and of candidates that have nothing added.
fn ranges(backend: Backend, format: Format) -> [IntegerRange; 3] {
    let [anchors, candidates] = format.integer_ranges(backend).expect("integers");
    [anchors, candidates, IntegerRange { candidate_offset: Some(0), ..candidates }]
}

/// Checks rows that are up to three eighths of a unit away from the grid, or on it: `off` says how far each element is.
fn check(off: impl Fn(usize) -> f64 + Copy) {
    for format in [Format::Int8, Format::Int16] {
        for backend in Backend::available() {
            for (place, dim) in Place::all(backend).into_iter().flat_map(|place| LENGTHS.map(|dim| (place, dim))) {
                for range in ranges(backend, format) {
                    let grid = Grid::draw(range, &mut Random((dim + place.first) as u64), place.count, dim);
                    check_packed(backend, &grid, place, off);
                }
            }
        }
    }
}

/// Packs the rows of a grid in a place, and checks their words, their constants and what is returned.
fn check_packed(backend: Backend, grid: &Grid, place: Place, off: impl Fn(usize) -> f64 + Copy) {
    let (panels, packed) = grid.pack(backend, place, off);
    let (words, steps) = (grid.words_per_row(), grid.range.format.steps(grid.dim));
    for (row, measured) in packed.iter().enumerate().take(place.count) {
        let what = format!("{backend}, {:?}, {place:?}, dim {}, row {row}", grid.range, grid.dim);
        for step in 0..steps {
            let (found, expected) = (panels[place.of(words, row, step)], grid.word(row, step));
            assert_eq!(found, expected, "{what}, word {step}: {found:x} in place of {expected:x}");
        }
        if grid.range.candidate_offset.is_some() {
            let constant = |number: usize| f32::from_bits(panels[place.of(words, row, steps + number)]);
            let expected = [measured.quant_step, measured.center_dot, measured.residual, measured.norm];
            assert_eq!([0, 1, 2, 3].map(constant), expected, "{what}: constants");
        }
        assert_measured(grid, row, off, measured, &what);
    }
    // Few anchors are written one by one.
    let written = if kernels::are_few(grid.range, place.count) { place.count } else { place.written(backend) };
    place.assert_untouched(written, &panels, words, words);
}

/// Panics unless the numbers of a row are exact where all sums are, and norms lie between what they are and the slack.
fn assert_measured(grid: &Grid, row: usize, off: impl Fn(usize) -> f64, measured: &QuantizedRow, what: &str) {
    let (integers, unit) = (&grid.integers[row], grid.units[row]);
    let largest = grid.range.largest;
    let (mut norm, mut residual, mut along) = (0.0, 0.0, 0.0);
    for (k, &integer) in integers.iter().enumerate() {
        let off = if integer.abs() == largest { 0.0 } else { off(row + k) };
        let element = (f64::from(integer) + off) * unit;
        norm += element * element;
        residual += (off * unit) * (off * unit);
        along += element * f64::from(grid.center[k]) * Grid::UNIT;
    }
    let sum = integers.iter().sum::<i32>() as f32;
    let exact = [measured.quant_step, measured.center_dot, measured.sum];
    assert_eq!(exact, [unit as f32, along as f32, sum], "{what}: step, product with the center, sum");
    for (name, measured, exact) in
        [("norm", measured.norm, norm.sqrt()), ("residual", measured.residual, residual.sqrt())]
    {
        // In sums of a few terms roundings are nothing beside the slack.
        let least = (exact * f64::from(1.0 + SLACK / 2.0)) as f32 + OF_ELEMENTS / 2.0;
        let most = (exact * f64::from(1.0 + SLACK) * (1.0 + 1e-5)) as f32 + OF_ELEMENTS * 1.01;
        assert!(least <= measured && measured <= most, "{what}: {name} {measured} of {exact}");
    }
}

#[test]
fn integers_are_in_their_places() {
    check(|_| 0.0);
}

/// Elements beside the grid go to the next integer, on both sides of it.
#[test]
fn elements_are_rounded_to_the_next_integer() {
    check(|k| [0.25, -0.25, 0.125, -0.375, 0.0][k % 5]);
}

/// Rows of zeros, rows that are the center, and rows whose step would be too small: all integers are 0, and the norms
/// are still not too small.
#[test]
fn rows_of_which_nothing_is_left() {
    const DIM: usize = 19;
    for (format, backend) in
        [Format::Int8, Format::Int16].into_iter().flat_map(|format| Backend::available().map(move |b| (format, b)))
    {
        let mut center = [0.0; kernels::MAX_LANES * 2];
        for (value, of_center) in [(0.0, 0.0), (0.25, 0.25), (2.0_f32.powi(-100), 0.0), (1e-43, 0.0)] {
            center[..DIM].fill(of_center);
            let place = Place::anchors(backend, format);
            let words_per_row = format.steps(DIM);
            let (mut panels, mut scratch) = (place.memory(words_per_row), vec![0.0; scratch_len(DIM)]);
            let Place { width, padded, first, .. } = place;
            let target = PanelTarget { panels: &mut panels, width, padded, words_per_row, first };
            let norms = [if value == 0.0 { 0.0 } else { 1.0 }; 16];
            let rows = RawRows { rows: &[value; DIM * 16], norms: &norms, dim: DIM };
            let [range, _, _] = ranges(backend, format);
            let packed = kernels::pack_integers(backend, range, rows, &center, &mut scratch, target);
            let what = format!("{backend}, {format:?}, elements of {value:e}");
            place.assert_words(&panels, words_per_row, 0, &what);
            for row in packed {
                let QuantizedRow { center_dot, norm, residual, sum, .. } = row;
                let left = (value - of_center) * (DIM as f32).sqrt();
                assert_eq!([center_dot, sum], [0.0; 2], "{backend}, {format:?}, elements of {value:e}");
                assert!(norm >= left + OF_ELEMENTS && residual >= left + OF_ELEMENTS, "{backend}, {format:?}: {row:?}");
            }
        }
    }
}

/// Rows of equal elements, of which the largest integers would make a norm that is too large: the norm decides the
/// step.
#[test]
fn the_norm_decides_the_step_of_16_bit_integers() {
    const DIM: usize = 36;
    for backend in Backend::available() {
        let place = Place::anchors(backend, Format::Int16);
        let (mut panels, mut scratch) = (place.memory(DIM / 2), vec![0.0; scratch_len(DIM)]);
        let Place { width, padded, first, .. } = place;
        let target = PanelTarget { panels: &mut panels, width, padded, words_per_row: DIM / 2, first };
        let rows = RawRows { rows: &[0.5; DIM * 16], norms: &[3.0; 16], dim: DIM };
        let center = [0.0; 48];
        let [range, _, _] = ranges(backend, Format::Int16);
        let packed = kernels::pack_integers(backend, range, rows, &center, &mut scratch, target);
        // Rows of norm 1, each element of which is a sixth; the norm is taken a little larger than it is.
        let integer = (46000.0 / (1.0 + f64::from(SLACK)) / 6.0).round() as u32;
        place.assert_words(&panels, DIM / 2, integer << 16 | integer, &backend.to_string());
        for row in packed {
            let step = (1.0 + SLACK) / 46000.0;
            assert!((row.quant_step / step - 1.0).abs() < 1e-6, "{backend}: {} of {step}", row.quant_step);
        }
    }
}

/// Bytes of anchors whose products are added in 16 bits: no group has a larger sum of either sign than fits, and the step is
/// not larger than it takes.
#[test]
fn groups_of_bytes_fit_into_sixteen_bits() {
    for backend in Backend::available() {
        let [range, _, _] = ranges(backend, Format::Int8);
        let Some(group) = range.largest_sum else { continue };
        let place = Place::anchors(backend, Format::Int8);
        for (dim, turn) in LENGTHS.into_iter().chain([8, 24, 129]).flat_map(|dim| (0..6).map(move |turn| (dim, turn))) {
            let mut random = Random((dim * 6 + turn) as u64);
            // Of one size and sign, of one size, of all sizes, and with one group or one element above all others.
            let mut element = |row: usize, k: usize| match turn {
                0 => {
                    if row.is_multiple_of(2) {
                        0.1
                    } else {
                        -0.1
                    }
                }
                1 => [0.1, -0.1][random.below(2)],
                2 => random.unit().powi(3),
                3 if k / 8 == row % dim.div_ceil(8) => [0.5, -0.5][row / 4 % 2] + random.unit() / 8.0,
                4 if k / 8 == row % dim.div_ceil(8) && k / 2 % 2 == row % 2 => [0.5, -0.5][row / 4 % 2],
                5 if k == row % dim => 0.9,
                _ => random.unit() / 16.0,
            };
            let rows: Vec<f32> =
                (0..16).flat_map(|row| (0..dim).map(move |k| (row, k))).map(|(row, k)| element(row, k)).collect();
            let words_per_row = Format::Int8.steps(dim);
            let (mut panels, mut scratch) = (place.memory(words_per_row), vec![0.0; scratch_len(dim)]);
            let Place { width, padded, first, .. } = place;
            let target = PanelTarget { panels: &mut panels, width, padded, words_per_row, first };
            let raw = RawRows { rows: &rows, norms: &[1.0; 16], dim };
            let center = vec![0.0; dim.next_multiple_of(kernels::MAX_LANES)];
            let packed = kernels::pack_integers(backend, range, raw, &center, &mut scratch, target);
            for (row, (elements, measured)) in rows.chunks(dim).zip(packed).enumerate() {
                let what = format!("{backend}, dim {dim}, kind {turn}, row {row}");
                let integer = |k: usize| {
                    let word = panels[place.of(words_per_row, row, k / 4)];
                    i32::from(word.to_le_bytes()[k % 4].cast_signed())
                };
                let integers: Vec<i32> = (0..dim).map(integer).collect();
                let most = largest_sum(&integers.iter().map(|&integer| f64::from(integer)).collect::<Vec<f64>>());
                assert!(most <= f64::from(group), "{what}: a sum of {most}");
                let elements: Vec<f64> = elements.iter().map(|&element| element.into()).collect();
                let largest = elements.iter().fold(0.0, |largest: f64, element| largest.max(element.abs()));
                let step = (largest / f64::from(range.largest)).max(largest_sum(&elements) / f64::from(group - 2));
                let found = f64::from(measured.quant_step);
                assert!((found / step - 1.0).abs() < 1e-5, "{what}: a step of {found} in place of {step}");
            }
        }
    }
}

/// The largest sum of the positive elements, or of the magnitudes of the negative ones, of two pairs of elements that are
/// four elements apart.
fn largest_sum(elements: &[f64]) -> f64 {
    let sum = |eight: &[f64], half: usize, sign: f64| -> f64 {
        let of_half = eight.iter().enumerate().filter(|(k, _)| k / 2 % 2 == half);
        of_half.map(|(_, element)| (sign * element).max(0.0)).sum()
    };
    let groups = elements
        .chunks(8)
        .flat_map(|eight| [(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)].map(|(half, sign)| sum(eight, half, sign)));
    groups.fold(0.0, f64::max)
}
