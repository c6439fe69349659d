//! Rows as panels hold them: every word in its place, and nothing else written; and rows that are scaled to `f32`.

use crate::arch::Backend;
use crate::common::Random;
use crate::kernels::{self, Format, MAX_LANES, PanelTarget, RawRows};

/// What fills memory that must not be written.
pub(super) const UNTOUCHED: u32 = 0xABCD_1234;

/// Lengths of rows around those of a register and of a word.
pub(super) const LENGTHS: [usize; 11] = [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 53];

/// Where some rows that are packed at once stand in panels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The rows of a whole panel.
    pub(super) width: usize,
    /// The rows of all panels.
    pub(super) padded: usize,
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Place {
    /// Places in panels of candidates and of anchors: in the first one and further on, and in a last one that is
    /// narrower or not.
    pub(super) fn all(backend: Backend) -> Vec<Place> {
        let traits = backend.traits();
        let mut places = Vec::new();
        for count in [1, 3, 4, 5, traits.f32_lanes, (traits.f32_lanes + 1).min(MAX_LANES), MAX_LANES - 1, MAX_LANES] {
            for first in [0, MAX_LANES, 2 * MAX_LANES] {
                let padded = (first + count).next_multiple_of(traits.f32_lanes);
                for format in [Format::Int8, Format::Int16, Format::Float32] {
                    let (width, anchors) = (format.panel_width(backend), format.tile_anchors(backend));
                    places.push(Place { width, padded, first, count });
                    let rows = first + MAX_LANES;
                    places.push(Place { width, padded: rows.next_multiple_of(width), first, count });
                    places.push(Place { width: anchors, padded: rows.next_multiple_of(anchors), first, count });
                }
            }
        }
        places
    }

    /// The place of as many anchors as are packed at once.
    pub(super) fn anchors(backend: Backend, format: Format) -> Place {
        let width = format.tile_anchors(backend);
        Place { width, padded: MAX_LANES.next_multiple_of(width), first: 0, count: MAX_LANES }
    }

    /// Memory for all rows, in which nothing was written.
    pub(super) fn memory(self, words_per_row: usize) -> Vec<u32> {
        vec![UNTOUCHED; self.padded * words_per_row]
    }

    /// Where word `step` of row `row`, counted from the first one, stands: panels follow each other, each
    /// `[step][row]`.
    pub(super) fn of(self, words_per_row: usize, row: usize, step: usize) -> usize {
        let row = self.first + row;
        let start = row / self.width * self.width;
        start * words_per_row + step * self.width.min(self.padded - start) + row - start
    }

    /// The rows that are written: whole registers.
    pub(super) fn written(self, backend: Backend) -> usize {
        self.count.next_multiple_of(backend.traits().f32_lanes)
    }

    /// Panics unless all words of the rows are the same.
    pub(super) fn assert_words(self, panels: &[u32], words_per_row: usize, expected: u32, what: &str) {
        for (row, step) in (0..self.count).flat_map(|row| (0..words_per_row).map(move |step| (row, step))) {
            let found = panels[self.of(words_per_row, row, step)];
            assert_eq!(found, expected, "{what}: word {step} of row {row}");
        }
    }

    /// Panics unless the first `steps` words of the first `written` rows have changed, and no other word.
    pub(super) fn assert_untouched(self, written: usize, panels: &[u32], words_per_row: usize, steps: usize) {
        let mut untouched = vec![true; panels.len()];
        for (row, step) in (0..written).flat_map(|row| (0..steps).map(move |step| (row, step))) {
            let index = self.of(words_per_row, row, step);
            assert_ne!(panels[index], UNTOUCHED, "{self:?}: word {step} of row {row} is missing");
            untouched[index] = false;
        }
        for (index, _) in untouched.iter().enumerate().filter(|&(_, &untouched)| untouched) {
            assert_eq!(panels[index], UNTOUCHED, "{self:?}: word {index} was written");
        }
    }
}

/// Packs rows as `f32` in a place, in memory for rows of some words more.
fn pack(backend: Backend, rows: RawRows<'_>, norm: f64, place: Place, words_per_row: usize) -> Vec<u32> {
    let mut panels = place.memory(words_per_row);
    let Place { width, padded, first, .. } = place;
    let target = PanelTarget { panels: &mut panels, width, padded, words_per_row, first };
    kernels::pack_floats(backend, rows, norm, target);
    panels
}

/// Norms that are powers of two leave all bits of an element: each row's elements are found by their numbers.
#[test]
fn floats_are_in_their_places() {
    for backend in Backend::available() {
        for (place, dim) in Place::all(backend).into_iter().flat_map(|place| LENGTHS.map(|dim| (place, dim))) {
            let element = |row: usize, k: usize| (row * 64 + k + 1) as f32;
            let norm = |row: usize| 2.0_f64.powi(row as i32 * 3 - 20);
            let rows: Vec<f32> = (0..place.count).flat_map(|row| (0..dim).map(move |k| element(row, k))).collect();
            let norms: Vec<f64> = (0..place.count).map(norm).collect();
            let panels = pack(backend, RawRows { rows: &rows, norms: &norms, dim }, 0.5, place, dim + 2);
            for (row, k) in (0..place.written(backend)).flat_map(|row| (0..dim).map(move |k| (row, k))) {
                let expected = if row < place.count { element(row, k) * (0.5 / norm(row)) as f32 } else { 0.0 };
                let found = f32::from_bits(panels[place.of(dim + 2, row, k)]);
                assert_eq!(found, expected, "{backend}, {place:?}, element {k} of {dim}, row {row}");
            }
            place.assert_untouched(place.written(backend), &panels, dim + 2, dim);
        }
    }
}

/// Two roundings of an element, and what is lost below the normal numbers. Rows are of all sizes, also those whose
/// inverse norm is beyond the range of `f32`.
#[test]
fn floats_are_scaled_by_two_roundings() {
    const DIM: usize = 21;
    for backend in Backend::available() {
        let place = Place::anchors(backend, Format::Float32);
        for (seed, exponent) in (-149..=127).enumerate() {
            let (mut random, size) = (Random(seed as u64), 2.0_f64.powi(exponent));
            let rows: Vec<f32> = random.rows(MAX_LANES, DIM).iter().map(|&x| (f64::from(x) * size) as f32).collect();
            let norms: Vec<f64> = rows.chunks(DIM).map(super::scalar::norm).collect();
            let panels = pack(backend, RawRows { rows: &rows, norms: &norms, dim: DIM }, 0.999, place, DIM);
            for (row, k) in (0..MAX_LANES).flat_map(|row| (0..DIM).map(move |k| (row, k))) {
                let exact = f64::from(rows[row * DIM + k]) * super::scalar::inverse(norms[row]) * 0.999;
                let error = (f64::from(f32::from_bits(panels[place.of(DIM, row, k)])) - exact).abs();
                let bound = 2.001 * 2.0_f64.powi(-24) * exact.abs() + 2.0_f64.powi(-117);
                assert!(error <= bound, "{backend}, 2^{exponent}, row {row}, {k}: {exact} is off by {error:e}");
            }
        }
    }
}
