//! A block of anchors: from raw rows, past all candidates, to the statistics of each row.

use crate::arch::{Backend, Kernel, Simd};
use crate::batch::Batch;
use crate::join::Divide;
use crate::screen::{Ahead, Exact, MAX_LANES, MAX_WIDTH, Record, Shortlist, Tile, Window, pack};
use crate::similarity::{dot_sum, norm_row};
use crate::stats::{Negatives, RowStats};
use crate::workspace::SlotBuffers;

/// A multiple of every register's lanes and of every tile's anchors: rows are padded to it and divided by it.
pub(crate) const ROW_UNIT: usize = MAX_LANES;

/// The most anchors in a block.
const MAX_BLOCK: usize = 96;

/// The elements of a block of unit anchors, which should stay in the second-level cache while the candidates pass by:
/// 256 KiB.
const BLOCK_ELEMENTS: usize = 1 << 16;

/// The elements of a cache line. A tile fetches `dim` lines, as many elements as this many rows have.
const LINE: usize = 16;

/// The room that a block of a batch's anchors needs: the anchors that have a shortlist, and the elements of unit
/// anchors. Smaller batches never need more, however many threads share them.
pub(crate) fn block_room(rows: usize, dim: usize) -> (usize, usize) {
    let padded = rows.next_multiple_of(ROW_UNIT);
    (padded.min(MAX_BLOCK), padded.saturating_mul(dim).min(BLOCK_ELEMENTS.saturating_add(dim.saturating_mul(ROW_UNIT))))
}

/// Anchors in a block: as many as stay in the cache, but few enough that every thread gets several blocks.
pub(crate) fn anchor_block(rows: usize, dim: usize, threads: usize) -> usize {
    let cached = (BLOCK_ELEMENTS / dim).clamp(ROW_UNIT, MAX_BLOCK);
    let shared = if threads > 1 { rows.div_ceil(4 * threads) } else { rows };
    cached.min(shared.max(ROW_UNIT)).next_multiple_of(ROW_UNIT)
}

/// What all anchors share.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub(crate) batch: Batch<'a>,
    pub(crate) candidate_norms: &'a [f64],
    pub(crate) panels: &'a [f32],
    pub(crate) sum: &'a [f64],
    pub(crate) negatives: Negatives,
    pub(crate) bound: f32,
}

/// Consecutive blocks of anchors, with what is to be written of them.
pub(crate) struct AnchorBlocks<'a> {
    pub(crate) shared: Shared<'a>,
    /// The index of the first anchor.
    pub(crate) first: usize,
    /// Anchors in a block, a multiple of `ROW_UNIT`.
    pub(crate) block_rows: usize,
    pub(crate) rows: &'a [f32],
    pub(crate) norms: &'a mut [f64],
    pub(crate) stats: &'a mut [RowStats],
}

impl Divide for AnchorBlocks<'_> {
    fn blocks(&self) -> usize {
        self.norms.len().div_ceil(self.block_rows)
    }

    fn divide(self, blocks: usize) -> (Self, Self) {
        let Self { shared, first, block_rows, .. } = self;
        let at = blocks * block_rows;
        let (rows, norms) = (self.rows.split_at(at * shared.batch.dim()), self.norms.split_at_mut(at));
        let stats = self.stats.split_at_mut(at);
        (
            Self { shared, first, block_rows, rows: rows.0, norms: norms.0, stats: stats.0 },
            Self { shared, first: first + at, block_rows, rows: rows.1, norms: norms.1, stats: stats.1 },
        )
    }
}

/// What comes after a panel: the next one, and how many there are.
#[derive(Clone, Copy)]
struct Upcoming<'a> {
    panel: Option<&'a [f32]>,
    panels: usize,
}

impl<'a> AnchorBlocks<'a> {
    /// What tile `tile` of `tiles` fetches while it computes. The first tiles fetch the next panel, a register's worth
    /// of each `k` of it each; the others of the last panels fetch what the next block begins with.
    #[inline(always)]
    fn ahead<'u, S: Simd>(&self, upcoming: Upcoming<'u>, tile: usize, tiles: usize) -> Option<Ahead<'u>>
    where
        'a: 'u,
    {
        match tile.checked_sub(S::TILE_REGISTERS) {
            None => {
                let from = upcoming.panel?.get(tile * S::F32_LANES..).filter(|from| !from.is_empty())?;
                Some(Ahead { from, stride: S::TILE_REGISTERS * S::F32_LANES })
            }
            Some(spare) => self.next_rows(upcoming.panels * (tiles - S::TILE_REGISTERS) + spare),
        }
    }

    /// Part `part` of the rows that the next block reads first, its anchors and their positives, if there are that
    /// many.
    #[inline(always)]
    fn next_rows(&self, part: usize) -> Option<Ahead<'a>> {
        let batch = self.shared.batch;
        let next = self.first + self.block_rows;
        let parts = self.block_rows.div_ceil(LINE);
        let (rows, row) = match part / parts {
            0 => (batch.anchor_rows(), next),
            1 if next < batch.rows() => (batch.candidate_rows(), batch.positives().of(next)),
            _ => return None,
        };
        let start = (row + part % parts * LINE) * batch.dim();
        let from = rows.data().get(start..).filter(|from| !from.is_empty())?;
        Some(Ahead { from, stride: LINE })
    }
}

/// One block of anchors with its thread's scratch.
struct AnchorBlock<'a, 'b> {
    /// A single block.
    anchors: AnchorBlocks<'a>,
    windows: [Window; MAX_BLOCK],
    unit: &'b mut [f32],
    shortlists: &'b mut [Shortlist],
}

/// Computes the norms and statistics of one block of anchors.
pub(crate) fn mine_block(backend: Backend, anchors: AnchorBlocks<'_>, scratch: &mut SlotBuffers) {
    let (unit, shortlists) = scratch.parts();
    let mut block = AnchorBlock { anchors, windows: [Window::CLOSED; MAX_BLOCK], unit, shortlists };
    backend.run(Open(&mut block));
    backend.run(Screen(&mut block));
    backend.run(Finish(&mut block));
}

// The steps of a block, each compiled as a function of its own.
struct Open<'c, 'a, 'b>(&'c mut AnchorBlock<'a, 'b>);
struct Screen<'c, 'a, 'b>(&'c mut AnchorBlock<'a, 'b>);
struct Finish<'c, 'a, 'b>(&'c mut AnchorBlock<'a, 'b>);

impl Kernel for Open<'_, '_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.unit_rows(simd);
        self.0.open_rows(simd);
    }
}

impl Kernel for Screen<'_, '_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.screen(simd);
    }
}

impl Kernel for Finish<'_, '_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.finish_rows(simd);
    }
}

impl AnchorBlock<'_, '_> {
    /// Norms and unit rows. A row that is not finite is found by its norm when all blocks are done; until then its
    /// similarities are NaN or anything else, and decide nothing.
    #[inline(always)]
    fn unit_rows<S: Simd>(&mut self, simd: S) {
        const {
            assert!(ROW_UNIT.is_multiple_of(S::F32_LANES) && ROW_UNIT.is_multiple_of(S::TILE_ANCHORS));
            assert!(MAX_BLOCK.is_multiple_of(ROW_UNIT));
        }
        let (rows, dim) = (self.anchors.rows, self.anchors.shared.batch.dim());
        for (norm, row) in self.anchors.norms.iter_mut().zip(rows.chunks_exact(dim)) {
            *norm = norm_row(simd, row);
        }
        pack(simd, rows, self.anchors.norms, dim, S::TILE_ANCHORS, self.unit);
    }

    /// The first two numbers of every row, which need no pass over candidates; they set the row's window.
    #[inline(always)]
    fn open_rows<S: Simd>(&mut self, simd: S) {
        let Shared { batch, sum, negatives, bound, .. } = self.anchors.shared;
        let others = (batch.candidates() - 1) as f64;
        let rows = self.anchors.stats.iter_mut().zip(&mut self.windows).zip(&mut *self.shortlists).enumerate();
        for (row, ((stats, window), shortlist)) in rows {
            let exact = self.anchors.shared.exact(self.anchors.rows, self.anchors.norms, row);
            let positive = batch.positives().of(self.anchors.first + row);
            let similarity = exact.cosine(simd, positive);
            stats.positive = similarity as f32;
            *window = shortlist.open(negatives, positive, stats.positive, bound);
            if exact.anchor_norm == 0.0 {
                *window = shortlist.settle_zero_row();
                stats.mean_negative = 0.0;
            } else {
                let total = dot_sum(simd, exact.anchor, sum) / exact.anchor_norm;
                stats.mean_negative = ((total - similarity) / others) as f32;
            }
        }
    }

    /// Takes every tile of this block's anchors and all candidates: panel by panel, so that a panel is read from far
    /// away once and from the cache for the other anchors.
    #[inline(always)]
    fn screen<S: Simd>(&mut self, simd: S) {
        let dim = self.anchors.shared.batch.dim();
        let padded = self.anchors.shared.batch.candidates().next_multiple_of(S::F32_LANES);
        let width = S::TILE_REGISTERS * S::F32_LANES;
        let panels = self.anchors.shared.panels[..padded * dim].chunks(width * dim);
        for (panel, candidates) in panels.clone().enumerate() {
            let next = panels.clone().nth(panel + 1);
            self.screen_panel(
                simd,
                candidates,
                panel * width,
                Upcoming { panel: next, panels: panels.len() - 1 - panel },
            );
        }
    }

    /// Takes every tile of this block's anchors and one panel, whose first candidate is `first_candidate`.
    #[inline(always)]
    fn screen_panel<S: Simd>(&mut self, simd: S, candidates: &[f32], first_candidate: usize, upcoming: Upcoming<'_>) {
        let shared = &self.anchors.shared;
        let dim = shared.batch.dim();
        let registers = candidates.len() / dim / S::F32_LANES;
        let tiles = self.anchors.norms.len().div_ceil(S::TILE_ANCHORS);
        for (tile, anchors) in self.unit.chunks_exact(S::TILE_ANCHORS * dim).take(tiles).enumerate() {
            let row = tile * S::TILE_ANCHORS;
            // With nothing to fetch, a line that is there already: an address without memory would cost more.
            let ahead = self.anchors.ahead::<S>(upcoming, tile, tiles).unwrap_or(Ahead { from: anchors, stride: 0 });
            let mut record = TileRecord {
                simd,
                shared,
                rows: &self.anchors.rows[row * dim..],
                norms: &self.anchors.norms[row..],
                shortlists: &mut self.shortlists[row..],
                windows: &mut self.windows[row..row + S::TILE_ANCHORS],
                first_candidate,
            };
            simd.screen_tile(registers, Tile { anchors, candidates, ahead }, &mut record);
        }
    }

    /// The last number of every row: exact scores of what the screen left, with the next row's on their way.
    #[inline(always)]
    fn finish_rows<S: Simd>(&mut self, simd: S) {
        let shared = &self.anchors.shared;
        for (row, stats) in self.anchors.stats.iter_mut().enumerate() {
            if let (Some(next), Some(&window)) = (self.shortlists.get(row + 1), self.windows.get(row + 1)) {
                next.prefetch(simd, shared.batch.candidate_rows(), window);
            }
            let exact = shared.exact(self.anchors.rows, self.anchors.norms, row);
            stats.closest_negative = self.shortlists[row].finish(simd, &exact, self.windows[row]);
        }
    }
}

impl<'a> Shared<'a> {
    /// What is needed to compute pairs of row `row` of `rows` exactly.
    #[inline(always)]
    fn exact(&self, rows: &'a [f32], norms: &[f64], row: usize) -> Exact<'a> {
        let dim = self.batch.dim();
        Exact {
            anchor: &rows[row * dim..][..dim],
            anchor_norm: norms[row],
            candidates: self.batch.candidate_rows(),
            candidate_norms: self.candidate_norms,
            bound: self.bound,
        }
    }
}

/// Puts the hits of a tile on the shortlists of its rows.
struct TileRecord<'a, 'b, S> {
    simd: S,
    shared: &'b Shared<'a>,
    rows: &'a [f32],
    norms: &'b [f64],
    shortlists: &'b mut [Shortlist],
    windows: &'b mut [Window],
    first_candidate: usize,
}

impl<S: Simd> Record for TileRecord<'_, '_, S> {
    #[inline(always)]
    fn window(&self, row: usize) -> Window {
        self.windows[row]
    }

    #[inline(always)]
    fn record(&mut self, row: usize, similarities: &mut [f32; MAX_WIDTH]) {
        let exact = self.shared.exact(self.rows, self.norms, row);
        let window = &mut self.windows[row];
        self.shortlists[row].add(self.simd, &exact, window, self.first_candidate, similarities);
    }
}
