//! What a screen says of every pair, computed by the screen itself: the input of checks that need no search.

use core::marker::PhantomData;

use crate::arch::{Backend, Simd, WithSimd};
use crate::error::Side;
use crate::exact::{cosine_rows, norm_row};
use crate::rows::Rows;
use crate::screen::quantize::scratch_len;
use crate::screen::{
    AnchorConstants, Center, Format, HitSink, Intervals, MAX_LANES, PanelWriter, Params, Prefetch, RawRows, ScreenTile,
    ScreenUnits, Tile, TileBounds, Window, center_len, float,
};

/// What a screen says of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screened {
    /// The ends of the interval.
    pub(super) lower: f32,
    pub(super) upper: f32,
    /// The exact similarity, in the units of the ends.
    pub(super) exact: f32,
}

impl Screened {
    /// Where the exact similarity lies in the interval: -1 at its lower end, 1 at its upper end.
    pub(super) fn place(self) -> f64 {
        let [lower, upper, exact] = [self.lower, self.upper, self.exact].map(f64::from);
        (2.0 * exact - lower - upper) / (upper - lower)
    }
}

/// The norms of rows.
fn norms<S: Simd>(simd: S, rows: &[f32], dim: usize) -> Vec<f64> {
    rows.chunks(dim).map(|row| norm_row(simd, row)).collect()
}

/// Screens all pairs of two sides in one format, row after row.
struct Screening<'a, F> {
    anchors: &'a [f32],
    candidates: &'a [f32],
    dim: usize,
    params: Params<'a>,
    format: PhantomData<F>,
}

impl<F: Format> WithSimd for Screening<'_, F> {
    type Output = Vec<Screened>;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<Screened> {
        let Self { anchors, candidates, dim, params, .. } = self;
        let (anchor_norms, candidate_norms) = (norms(simd, anchors, dim), norms(simd, candidates, dim));
        let (rows, columns) = (anchor_norms.len(), candidate_norms.len());
        let (steps, width) = (F::steps(dim), S::TILE_REGISTERS * S::F32_LANES);
        let mut scratch = vec![0.0; scratch_len(dim)];

        let padded = rows.next_multiple_of(MAX_LANES);
        let mut words = vec![0; padded * steps];
        let mut constants = vec![AnchorConstants::default(); padded];
        for (first, group) in (RawRows { rows: anchors, norms: &anchor_norms, dim }).row_groups(S::F32_LANES) {
            let writer = PanelWriter::new(&mut words, first, S::TILE_ANCHORS, padded, steps);
            let packed = F::pack_anchors(simd, group, params, &mut scratch, writer);
            constants[first..first + S::F32_LANES].copy_from_slice(&packed[..S::F32_LANES]);
        }

        let mut screened = vec![Screened { lower: 0.0, upper: 0.0, exact: 0.0 }; rows * columns];
        let mut bounds = TileBounds::ZERO;
        let panels = candidates.chunks(width * dim).zip(candidate_norms.chunks(width)).enumerate();
        for (panel, (panel_rows, panel_norms)) in panels {
            let padded = panel_norms.len().next_multiple_of(S::F32_LANES);
            let mut panel_words = vec![0; padded * F::words_per_candidate(dim)];
            for (first, group) in (RawRows { rows: panel_rows, norms: panel_norms, dim }).row_groups(S::F32_LANES) {
                let writer = PanelWriter::new(&mut panel_words, first, width, padded, F::words_per_candidate(dim));
                F::pack_candidates(simd, group, params, &mut scratch, writer);
            }
            let (candidate_words, candidate_constants) = panel_words.split_at(steps * padded);
            for first in (0..rows).step_by(S::TILE_ANCHORS) {
                let anchor_words = &words[first * steps..][..S::TILE_ANCHORS * steps];
                let constants = &constants[first..first + S::TILE_ANCHORS];
                let mut sink = AllIntervals { constants, windows: vec![OPEN; S::TILE_ANCHORS], taken: Vec::new() };
                let tile = Tile {
                    anchors: anchor_words,
                    candidates: candidate_words,
                    constants: candidate_constants,
                    prefetch: Prefetch::nothing(anchor_words),
                };
                let kernel = ScreenTile { tile, bounds: &mut bounds, sink: &mut sink, format: PhantomData::<F> };
                simd.run_tile(S::TILE_ANCHORS, padded / S::F32_LANES, kernel);
                for (row, lower, upper) in sink.taken.into_iter().filter(|taken| first + taken.0 < rows) {
                    let (anchor, units) = (first + row, ScreenUnits { unit: F::UNIT, shift: constants[row].shift });
                    for lane in 0..panel_norms.len() {
                        let column = panel * width + lane;
                        let (x, y) = (&anchors[anchor * dim..][..dim], &candidates[column * dim..][..dim]);
                        let exact = cosine_rows(simd, x, anchor_norms[anchor], y, candidate_norms[column]) as f32;
                        let (lower, upper, exact) = (lower[lane], upper[lane], units.of(exact));
                        screened[anchor * columns + column] = Screened { lower, upper, exact };
                    }
                }
            }
        }
        screened
    }
}

/// The window of a row in which every interval ends.
const OPEN: Window = Window { low: f32::NEG_INFINITY, high: f32::INFINITY };

/// Takes the intervals of all rows.
pub(super) struct AllIntervals<'a> {
    pub(super) constants: &'a [AnchorConstants],
    pub(super) windows: Vec<Window>,
    /// The rows that had hits, with the lower and the upper ends.
    pub(super) taken: Vec<(usize, Vec<f32>, Vec<f32>)>,
}

impl HitSink for AllIntervals<'_> {
    fn rows(&self) -> (&[AnchorConstants], &[Window]) {
        (self.constants, &self.windows)
    }

    fn take(&mut self, row: usize, intervals: Intervals<'_>) {
        let Intervals { upper, lower, width } = intervals;
        self.taken.push((row, lower[..width].to_vec(), upper[..width].to_vec()));
    }
}

/// What the screen of a format says of all pairs, row after row.
pub(super) fn screen<F: Format>(backend: Backend, anchors: &[f32], candidates: &[f32], dim: usize) -> Vec<Screened> {
    let mut buffer = vec![0.0; center_len(dim)];
    let rows = Rows::new(Side::Candidates, candidates, dim).unwrap();
    let params = Params { center: Center::of(backend, rows, &mut buffer), float_bound: float::bound(dim) };
    backend.run(Screening { anchors, candidates, dim, params, format: PhantomData::<F> })
}

/// Panics unless the interval of every pair holds its exact similarity, on every backend. Returns the least and the
/// largest place in an interval that one has.
pub(super) fn assert_intervals<F: Format>(anchors: &[f32], candidates: &[f32], dim: usize, what: &str) -> [f64; 2] {
    let (mut places, columns) = ([f64::INFINITY, f64::NEG_INFINITY], candidates.len() / dim);
    for backend in Backend::available() {
        for (pair, screened) in screen::<F>(backend, anchors, candidates, dim).into_iter().enumerate() {
            let Screened { lower, upper, exact } = screened;
            let (row, column, format) = (pair / columns, pair % columns, F::PRECISION);
            let holds = lower <= exact && exact <= upper;
            assert!(holds, "{what}, {backend}, {format:?}, anchor {row}, candidate {column}: {screened:?}");
            places = [places[0].min(screened.place()), places[1].max(screened.place())];
        }
    }
    places
}
