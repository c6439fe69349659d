//! What a screen says of every pair, computed by the screen itself: the input of checks that need no search.

use crate::arch::Backend;
use crate::candidates::{Padding, pack_panel};
use crate::kernels::{
    AnchorConstants, Format, MAX_LANES, PanelHits, PanelTarget, PanelTiles, PrefetchPlan, RawRows, TilePlace, Window,
    cosine, dots, find_hits, norm, scratch_len,
};
use crate::rows::Rows;
use crate::screen::{Center, Params, ScreenUnits, center_len, float_bound, pack_anchors, unit};

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
fn norms(backend: Backend, rows: &[f32], dim: usize) -> Vec<f64> {
    rows.chunks(dim).map(|row| norm(backend, row)).collect()
}

/// The window of a row in which every interval ends.
const OPEN: Window = Window { low: f32::NEG_INFINITY, high: f32::INFINITY, certain: f32::INFINITY };

/// How the rows of both sides are screened.
#[derive(Clone, Copy)]
struct Screening<'a> {
    backend: Backend,
    format: Format,
    params: Params<'a>,
}

impl Screening<'_> {
    /// The words and the constants of all anchors, in whole tiles.
    fn pack_anchors(self, anchors: RawRows<'_>) -> (Vec<u32>, Vec<AnchorConstants>) {
        let Screening { backend, format, params } = self;
        let (width, words_per_row) = (format.tile_anchors(backend), format.steps(anchors.dim));
        let padded = anchors.norms.len().next_multiple_of(MAX_LANES).next_multiple_of(width);
        let (mut words, mut scratch) = (vec![0; padded * words_per_row], vec![0.0; scratch_len(anchors.dim)]);
        let mut constants = Vec::new();
        for (first, group) in anchors.groups(MAX_LANES) {
            let target = PanelTarget { panels: &mut words, width, padded, words_per_row, first };
            constants.extend(pack_anchors(backend, format, group, params, &mut scratch, target));
        }
        constants.resize(padded, AnchorConstants::default());
        (words, constants)
    }

    /// The words of a panel of candidates.
    fn pack_candidates(self, candidates: RawRows<'_>) -> Vec<u32> {
        let Screening { backend, format, params } = self;
        let padded = Padding::Registers.padded(backend, format, candidates.norms.len());
        let mut panel = vec![0; padded * format.words_per_candidate(candidates.dim)];
        let mut scratch = vec![0.0; scratch_len(candidates.dim)];
        pack_panel(backend, format, candidates, 0, (params, Padding::Registers), &mut scratch, &mut panel);
        panel
    }

    /// Takes the lower and the upper ends of all intervals of each of `rows` anchors with a panel.
    fn take_intervals(
        self,
        dim: usize,
        rows: usize,
        (anchors, constants): (&[u32], &[AnchorConstants]),
        panel: &[u32],
        mut take: impl FnMut(usize, &[f32], &[f32]),
    ) {
        let Screening { backend, format, .. } = self;
        let mut windows = vec![OPEN; constants.len()];
        windows[rows..].fill(Window::CLOSED);
        let (steps, tiles) = (format.steps(dim), rows.div_ceil(format.tile_anchors(backend)));
        let prefetch = PrefetchPlan {
            panels: 1,
            width: format.panel_width(backend),
            next_rows: [&[]; 2],
            block_len: rows * dim,
            steps,
            tiles,
        };
        let windows = &windows[..];
        let block = PanelTiles { dim, anchors, rows, constants, windows, panels: panel, end: 1, prefetch: &prefetch };
        let (mut hits, mut at, mut taken) = (PanelHits::default(), TilePlace::default(), 0);
        while at.panel == 0 {
            at = find_hits(backend, format, &block, at, &mut hits);
            while let Some(hits) = hits.next_row() {
                take(hits.row, hits.lower, hits.upper);
                taken += 1;
            }
        }
        assert_eq!(taken, rows, "{backend}, {format:?}: rows with hits");
    }
}

/// What the screen of a format says of all pairs, row after row.
pub(super) fn screen(
    backend: Backend,
    format: Format,
    anchors: &[f32],
    candidates: &[f32],
    dim: usize,
) -> Vec<Screened> {
    let mut buffer = vec![0.0; center_len(dim)];
    let center = Center::of(backend, Rows::known(candidates, dim), &mut buffer);
    let screening = Screening { backend, format, params: Params { center, float_bound: float_bound(dim) } };
    let (anchor_norms, candidate_norms) = (norms(backend, anchors, dim), norms(backend, candidates, dim));
    let (rows, columns) = (anchor_norms.len(), candidate_norms.len());
    let (words, constants) = screening.pack_anchors(RawRows { rows: anchors, norms: &anchor_norms, dim });
    let mut screened = vec![Screened { lower: 0.0, upper: 0.0, exact: 0.0 }; rows * columns];
    let raw = RawRows { rows: candidates, norms: &candidate_norms, dim };
    for (first, group) in raw.groups(format.panel_width(backend)) {
        let panel = screening.pack_candidates(group);
        screening.take_intervals(dim, rows, (&words, &constants), &panel, |row, lower, upper| {
            let units = ScreenUnits { unit: unit(format), shift: constants[row].shift };
            for (lane, &norm) in group.norms.iter().enumerate() {
                let column = first + lane;
                let [dot] = dots(backend, &anchors[row * dim..][..dim], [&candidates[column * dim..][..dim]]);
                let exact = units.of(cosine(dot, anchor_norms[row], norm) as f32);
                screened[row * columns + column] = Screened { lower: lower[lane], upper: upper[lane], exact };
            }
        });
    }
    screened
}

/// Panics unless the interval of every pair holds its exact similarity, on every backend. Returns the least and the
/// largest place in an interval that one has.
pub(super) fn assert_intervals(
    format: Format,
    anchors: &[f32],
    candidates: &[f32],
    dim: usize,
    what: &str,
) -> [f64; 2] {
    let (mut places, columns) = ([f64::INFINITY, f64::NEG_INFINITY], candidates.len() / dim);
    for backend in Backend::available() {
        for (pair, screened) in screen(backend, format, anchors, candidates, dim).into_iter().enumerate() {
            let Screened { lower, upper, exact } = screened;
            let (row, column) = (pair / columns, pair % columns);
            let holds = lower <= exact && exact <= upper;
            assert!(holds, "{what}, {backend}, {format:?}, anchor {row}, candidate {column}: {screened:?}");
            places = [places[0].min(screened.place()), places[1].max(screened.place())];
        }
    }
    places
}
