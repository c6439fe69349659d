//! A block of anchors: from raw rows, past all candidates, to the statistics of each row.

use core::marker::PhantomData;

use crate::arch::{Backend, Kernel, Simd};
use crate::batch::Batch;
use crate::join::Divide;
use crate::screen::{
    Ahead, AnchorConstants, Ends, Exact, F32, Format, I8, I16, Intervals, Level, MAX_LANES, Place, RawRows, Record,
    SHRINK, Scale, Seen, Setting, Shortlist, Tile, Window, i16_error,
};
use crate::similarity::{anchor_dots, cosine};
use crate::stats::{Negatives, RowStats};
use crate::workspace::SlotBuffers;

/// A multiple of every register's lanes and of every tile's anchors: rows are padded to it and divided by it.
pub(crate) const ROW_UNIT: usize = MAX_LANES;

/// The most anchors in a block.
const MAX_BLOCK: usize = 96;

/// The words of a block of anchors, which should stay in the second-level cache while the candidates pass by: 256 KiB
/// in `f32`, less in integers.
const BLOCK_WORDS: usize = 1 << 16;

/// The elements of a cache line.
const LINE: usize = 16;

/// The room that a block of a batch's anchors needs: the anchors that have a shortlist, and their words at most.
/// Smaller batches never need more, however many threads share them.
pub(crate) fn block_room(rows: usize, dim: usize) -> (usize, usize) {
    let padded = rows.next_multiple_of(ROW_UNIT);
    (padded.min(MAX_BLOCK), padded.saturating_mul(dim).min(BLOCK_WORDS.saturating_add(dim.saturating_mul(ROW_UNIT))))
}

/// Anchors in a block: as many as stay in the cache, but few enough that every thread gets several blocks.
pub(crate) fn anchor_block(rows: usize, dim: usize, threads: usize) -> usize {
    let cached = (BLOCK_WORDS / dim).clamp(ROW_UNIT, MAX_BLOCK);
    let shared = if threads > 1 { rows.div_ceil(4 * threads) } else { rows };
    cached.min(shared.max(ROW_UNIT)).next_multiple_of(ROW_UNIT)
}

/// What all anchors share.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub(crate) batch: Batch<'a>,
    pub(crate) candidate_norms: &'a [f64],
    /// What the candidates are screened with.
    pub(crate) level: Level,
    /// The level that the call began with; its pass also measures the anchors.
    pub(crate) first: Level,
    /// The finest level that a block may change to.
    pub(crate) last: Level,
    pub(crate) setting: Setting<'a>,
    pub(crate) panels: &'a [u32],
    /// The largest residual and the largest norm of the candidates' integers.
    pub(crate) largest: [f32; 2],
    pub(crate) sum: &'a [f64],
    pub(crate) negatives: Negatives,
}

/// How far a block of anchors has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// What it is to be screened with.
    pub(crate) level: Level,
    pub(crate) done: bool,
    /// The pairs that were computed exactly.
    pub(crate) scored: usize,
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
    pub(crate) progress: &'a mut [Progress],
}

impl Divide for AnchorBlocks<'_> {
    fn blocks(&self) -> usize {
        self.norms.len().div_ceil(self.block_rows)
    }

    fn divide(self, blocks: usize) -> (Self, Self) {
        let Self { shared, first, block_rows, .. } = self;
        let at = blocks * block_rows;
        let (rows, norms) = (self.rows.split_at(at * shared.batch.dim()), self.norms.split_at_mut(at));
        let (stats, progress) = (self.stats.split_at_mut(at), self.progress.split_at_mut(blocks));
        (
            Self { rows: rows.0, norms: norms.0, stats: stats.0, progress: progress.0, ..self },
            Self { first: first + at, rows: rows.1, norms: norms.1, stats: stats.1, progress: progress.1, ..self },
        )
    }
}

/// What comes after a panel: the next one, and how many there are.
#[derive(Clone, Copy)]
struct Upcoming<'a> {
    panel: Option<&'a [u32]>,
    panels: usize,
}

impl AnchorBlocks<'_> {
    /// What tile `tile` of `tiles`, of `steps` steps, fetches while it computes. The first tiles fetch the next panel,
    /// a register's worth of each step of it each; the others of the last panels fetch what the next block begins with.
    #[inline(always)]
    fn ahead<S: Simd>(&self, upcoming: Upcoming<'_>, steps: usize, tile: usize, tiles: usize) -> Option<Ahead> {
        match tile.checked_sub(S::TILE_REGISTERS) {
            None => {
                let from = upcoming.panel?.get(tile * S::F32_LANES..).filter(|from| !from.is_empty())?;
                Some(Ahead::new(from, S::TILE_REGISTERS * S::F32_LANES))
            }
            Some(spare) => self.next_rows(upcoming.panels * (tiles - S::TILE_REGISTERS) + spare, steps),
        }
    }

    /// Part `part` of the rows that the next block reads first, `steps` lines of its anchors or their positives, if
    /// there are that many.
    #[inline(always)]
    fn next_rows(&self, part: usize, steps: usize) -> Option<Ahead> {
        let batch = self.shared.batch;
        let next = self.first + self.block_rows;
        let parts = (self.block_rows * batch.dim()).div_ceil(LINE * steps);
        let (rows, row) = match part / parts {
            0 => (batch.anchor_rows(), next),
            1 if next < batch.rows() => (batch.candidate_rows(), batch.positives().of(next)),
            _ => return None,
        };
        let start = row * batch.dim() + part % parts * LINE * steps;
        let from = rows.data().get(start..).filter(|from| !from.is_empty())?;
        Some(Ahead::new(from, LINE))
    }
}

/// One block of anchors with its thread's scratch.
struct AnchorBlock<'a, 'b> {
    /// A single block.
    anchors: AnchorBlocks<'a>,
    windows: [Window; MAX_BLOCK],
    constants: [AnchorConstants; MAX_BLOCK],
    ends: Ends,
    words: &'b mut [u32],
    scratch: &'b mut [f32],
    shortlists: &'b mut [Shortlist],
}

/// Takes one block of anchors past all candidates, unless the level of these is not what the block waits for.
pub(crate) fn mine_block(backend: Backend, anchors: AnchorBlocks<'_>, scratch: &mut SlotBuffers) {
    let level = anchors.shared.level;
    if anchors.progress[0].done || anchors.progress[0].level != level {
        return;
    }
    let (words, scratch, shortlists) = scratch.parts();
    let (windows, constants) = ([Window::CLOSED; MAX_BLOCK], [AnchorConstants::default(); MAX_BLOCK]);
    let mut block = AnchorBlock { anchors, windows, constants, ends: Ends::ZERO, words, scratch, shortlists };
    match level {
        Level::I8 => mine_with::<I8>(backend, &mut block),
        Level::I16 => mine_with::<I16>(backend, &mut block),
        Level::F32 => mine_with::<F32>(backend, &mut block),
    }
}

fn mine_with<F: Format>(backend: Backend, block: &mut AnchorBlock<'_, '_>) {
    backend.run(OpenBlock(block, PhantomData::<F>));
    if backend.run(ScreenBlock(block, PhantomData::<F>)) {
        backend.run(FinishBlock(block));
    }
}

// The steps of a block, each compiled as a function of its own.
struct OpenBlock<'c, 'a, 'b, F>(&'c mut AnchorBlock<'a, 'b>, PhantomData<F>);
struct ScreenBlock<'c, 'a, 'b, F>(&'c mut AnchorBlock<'a, 'b>, PhantomData<F>);
struct FinishBlock<'c, 'a, 'b>(&'c mut AnchorBlock<'a, 'b>);

impl<F: Format> Kernel for OpenBlock<'_, '_, '_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if self.0.anchors.shared.level == self.0.anchors.shared.first {
            self.0.measure_rows(simd);
        }
        self.0.write_rows::<S, F>(simd);
        self.0.open_rows();
    }
}

impl<F: Format> Kernel for ScreenBlock<'_, '_, '_, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        self.0.screen::<S, F>(simd)
    }
}

impl Kernel for FinishBlock<'_, '_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.finish_rows(simd);
    }
}

impl AnchorBlock<'_, '_> {
    /// The norm and the first two numbers of every row, which need no pass over candidates. A row that is not finite is
    /// found by its norm when all blocks are done; until then its similarities are NaN or anything else, and decide
    /// nothing.
    #[inline(always)]
    fn measure_rows<S: Simd>(&mut self, simd: S) {
        let Shared { batch, candidate_norms, sum, .. } = self.anchors.shared;
        let others = (batch.candidates() - 1) as f64;
        for (row, stats) in self.anchors.stats.iter_mut().enumerate() {
            let anchor = &self.anchors.rows[row * batch.dim()..][..batch.dim()];
            let positive = batch.positives().of(self.anchors.first + row);
            let [square, dot, total] = anchor_dots(simd, anchor, batch.candidate_rows().row(positive), sum);
            let norm = square.sqrt();
            let similarity = cosine(dot, norm, candidate_norms[positive]);
            let mean = if norm == 0.0 { 0.0 } else { (total / norm - similarity) / others };
            self.anchors.norms[row] = norm;
            (stats.positive, stats.mean_negative) = (similarity as f32, mean as f32);
        }
    }

    /// The rows as the tiles read them.
    #[inline(always)]
    fn write_rows<S: Simd, F: Format>(&mut self, simd: S) {
        const {
            assert!(ROW_UNIT.is_multiple_of(S::F32_LANES) && ROW_UNIT.is_multiple_of(S::TILE_ANCHORS));
            assert!(MAX_BLOCK.is_multiple_of(ROW_UNIT));
        }
        let dim = self.anchors.shared.batch.dim();
        let padded = self.anchors.norms.len().next_multiple_of(S::F32_LANES);
        let rows = RawRows { rows: self.anchors.rows, norms: self.anchors.norms, dim };
        for (first, square) in rows.squares(S::F32_LANES) {
            let place = Place::new(self.words, first, S::TILE_ANCHORS, padded, F::steps(dim));
            let setting = self.anchors.shared.setting;
            let constants = F::write_anchors(simd, square, setting, self.scratch, place);
            self.constants[first..first + S::F32_LANES].copy_from_slice(&constants[..S::F32_LANES]);
        }
    }

    /// Opens the window of every row.
    #[inline(always)]
    fn open_rows(&mut self) {
        let Shared { batch, negatives, level, largest, .. } = self.anchors.shared;
        let unit = if level == Level::F32 { (SHRINK * SHRINK) as f32 } else { 1.0 };
        for (row, stats) in self.anchors.stats.iter().enumerate() {
            let (constants, shortlist) = (&self.constants[row], &mut self.shortlists[row]);
            let scale = Scale { unit, shift: constants.shift };
            let positive = batch.positives().of(self.anchors.first + row);
            self.windows[row] = shortlist.open(
                negatives,
                positive,
                stats.positive,
                scale,
                constants.length + 2.0 * constants.error(largest),
            );
            if self.anchors.norms[row] == 0.0 {
                self.windows[row] = shortlist.settle_zero_row();
            }
        }
    }

    /// Takes every tile of this block's anchors and all candidates: panel by panel, so that a panel is read from far
    /// away once and from the cache for the other anchors. False if another level was found to be cheaper.
    #[inline(always)]
    fn screen<S: Simd, F: Format>(&mut self, simd: S) -> bool {
        let stride = F::stride(self.anchors.shared.batch.dim());
        let padded = self.anchors.shared.batch.candidates().next_multiple_of(S::F32_LANES);
        let width = S::TILE_REGISTERS * S::F32_LANES;
        let panels = self.anchors.shared.panels[..padded * stride].chunks(width * stride);
        for (panel, candidates) in panels.clone().enumerate() {
            let next = panels.clone().nth(panel + 1);
            let upcoming = Upcoming { panel: next, panels: panels.len() - 1 - panel };
            self.screen_panel::<S, F>(simd, candidates, panel * width, upcoming);
            let seen = panel + 1;
            if (seen.is_power_of_two() || seen.is_multiple_of(8)) && self.defer(seen * width) {
                return false;
            }
        }
        true
    }

    /// Whether the block had better wait for a finer screen, after so many candidates.
    fn defer(&mut self, screened: usize) -> bool {
        let Shared { level, last, batch, largest, .. } = self.anchors.shared;
        let candidates = batch.candidates();
        if level == last || screened >= candidates {
            return false;
        }
        let rows = self.anchors.norms.len();
        let (mut doubtful, mut scored, mut error, mut i16) = (0, 0, 0.0, 0.0);
        for (constants, shortlist) in self.constants.iter().zip(&*self.shortlists).take(rows) {
            doubtful += shortlist.doubtful();
            scored += shortlist.scored();
            error += constants.error(largest);
            i16 += 2.0 * constants.norm * largest[1] * i16_error(batch.dim()) + constants.length;
        }
        let mean = |sum: usize| sum as f64 / rows as f64;
        let seen = Seen {
            level,
            dim: batch.dim() as f64,
            screened: screened as f64,
            candidates: candidates as f64,
            doubtful: mean(doubtful) * candidates as f64 / screened as f64,
            scored: mean(scored),
            i16_share: f64::from(i16 / error),
        };
        self.anchors.progress[0].level = seen.best_level(last);
        self.anchors.progress[0].level != level
    }

    /// Takes every tile of this block's anchors and one panel, whose first candidate is `first_candidate`.
    #[inline(always)]
    fn screen_panel<S: Simd, F: Format>(
        &mut self,
        simd: S,
        panel: &[u32],
        first_candidate: usize,
        upcoming: Upcoming<'_>,
    ) {
        let shared = &self.anchors.shared;
        let dim = shared.batch.dim();
        let (steps, width) = (F::steps(dim), panel.len() / F::stride(dim));
        let (candidates, constants) = panel.split_at(steps * width);
        let tiles = self.anchors.norms.len().div_ceil(S::TILE_ANCHORS);
        for (tile, anchors) in self.words.chunks_exact(S::TILE_ANCHORS * steps).take(tiles).enumerate() {
            let row = tile * S::TILE_ANCHORS;
            // With nothing to fetch, a line that is there already: an address without memory would cost more.
            let ahead = self.anchors.ahead::<S>(upcoming, steps, tile, tiles).unwrap_or(Ahead::new(anchors, 0));
            let mut record = TileRecord {
                simd,
                shared,
                rows: &self.anchors.rows[row * dim..],
                norms: &self.anchors.norms[row..],
                shortlists: &mut self.shortlists[row..],
                windows: &mut self.windows[row..row + S::TILE_ANCHORS],
                constants: &self.constants[row..row + S::TILE_ANCHORS],
                first_candidate,
            };
            let tile = Tile { anchors, candidates, constants, ahead };
            simd.screen_tile::<F, _>(width / S::F32_LANES, tile, &mut self.ends, &mut record);
        }
    }

    /// The last number of every row: exact scores of what the screen left. First the best two pairs of every row, which
    /// rule out most of the others, then those that are left; each with the next row's on their way.
    #[inline(always)]
    fn finish_rows<S: Simd>(&mut self, simd: S) {
        let shared = &self.anchors.shared;
        let (rows, candidates) = (self.anchors.stats.len(), shared.batch.candidate_rows());
        for row in 0..rows {
            if let Some(next) = self.shortlists[..rows].get_mut(row + 1) {
                next.prune(simd, self.windows[row + 1].low);
                next.prefetch_best(simd, candidates);
            }
            let exact = shared.exact(self.anchors.rows, self.anchors.norms, row);
            self.shortlists[row].score_best(simd, &exact, &mut self.windows[row]);
        }
        let mut scored = 0;
        for (row, stats) in self.anchors.stats.iter_mut().enumerate() {
            if let Some(next) = self.shortlists[..rows].get(row + 1) {
                next.prefetch(simd, candidates);
            }
            let exact = shared.exact(self.anchors.rows, self.anchors.norms, row);
            stats.closest_negative = self.shortlists[row].finish(simd, &exact, &mut self.windows[row]);
            scored += self.shortlists[row].scored();
        }
        self.anchors.progress[0] = Progress { level: shared.level, done: true, scored };
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
    constants: &'b [AnchorConstants],
    first_candidate: usize,
}

impl<S: Simd> Record for TileRecord<'_, '_, S> {
    #[inline(always)]
    fn rows(&self) -> (&[AnchorConstants], &[Window]) {
        (self.constants, self.windows)
    }

    #[inline(always)]
    fn record(&mut self, row: usize, intervals: Intervals<'_>) {
        let exact = self.shared.exact(self.rows, self.norms, row);
        let window = &mut self.windows[row];
        self.shortlists[row].add(self.simd, &exact, window, self.first_candidate, intervals);
    }
}
