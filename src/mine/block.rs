//! A block of anchors: from raw rows, screened against all candidates, to the statistics of each row.

use core::marker::PhantomData;

use super::PassContext;
use super::direct::search_pairs;
use crate::arch::{Backend, Simd, WithSimd};
use crate::error::{Error, Side};
use crate::exact::{ExactRow, NormedRows, anchor_dots, cosine};
use crate::memory::{AlignedVec, grow};
use crate::row_stats::{ClosestSearch, RowStats};
use crate::screen::{
    AnchorConstants, CostModel, Format, HitSink, Intervals, MAX_LANES, PanelWriter, Precision, Prefetch, PrefetchPlan,
    RawRows, ScreenTile, ScreenUnits, Shortlist, Tile, TileBounds, Window, is_checkpoint, scratch_len, survivor_cost,
};

/// A multiple of every register's lanes and of every tile's anchors: rows are padded to it and divided by it.
pub(super) const ROW_UNIT: usize = MAX_LANES;

/// The most anchors in a block.
const MAX_BLOCK: usize = 96;

/// The pairs of a block that may be computed exactly before it gives up its screen, as a share of the time of a product in
/// `f32`: enough for blocks with a few crowded rows, and little beside what computing all pairs takes.
const FORCED_SHARE: f64 = 0.25;

/// The words of a block of anchors, which should stay in the second-level cache while the candidates are read: 256 KiB
/// in `f32`, less in integers.
const BLOCK_WORDS: usize = 1 << 16;

/// The memory that a block of a batch's anchors needs: the anchors that have a shortlist, and their words at most.
/// Smaller batches never need more, however many threads share them.
pub(super) fn block_len(rows: usize, dim: usize) -> (usize, usize) {
    let padded = rows.next_multiple_of(ROW_UNIT);
    (padded.min(MAX_BLOCK), padded.saturating_mul(dim).min(BLOCK_WORDS.saturating_add(dim.saturating_mul(ROW_UNIT))))
}

/// Anchors in a block: as many as stay in the cache, but few enough that every thread gets several blocks.
pub(super) fn block_rows(rows: usize, dim: usize, threads: usize) -> usize {
    let cached = (BLOCK_WORDS / dim).clamp(ROW_UNIT, MAX_BLOCK);
    let shared = if threads > 1 { rows.div_ceil(4 * threads) } else { rows };
    cached.min(shared.max(ROW_UNIT)).next_multiple_of(ROW_UNIT)
}

/// The scratch of one thread for one block of anchors.
#[derive(Debug, Default)]
pub(super) struct BlockScratch {
    /// The anchors as tiles read them.
    words: AlignedVec<u32>,
    /// A register's worth of rows without their center, before they are rounded to integers.
    rows: AlignedVec<f32>,
    shortlists: Vec<Shortlist>,
}

impl BlockScratch {
    /// Grows to blocks with so many shortlists and words, of rows that are at most `quantised_dim` long if they are
    /// rounded to integers.
    pub(super) fn grow(&mut self, shortlists: usize, words: usize, quantised_dim: usize) -> Result<(), Error> {
        self.words.grow(Side::Anchors, words, 1)?;
        self.rows.grow(Side::Anchors, if quantised_dim == 0 { 0 } else { scratch_len(quantised_dim) }, 1)?;
        grow(&mut self.shortlists, Side::Anchors, shortlists, 1)?;
        Ok(())
    }
}

/// How far a block of anchors has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockState {
    /// What it is to be screened in.
    pub(super) precision: Precision,
    pub(super) done: bool,
    /// The pairs that were computed exactly.
    pub(super) scored: usize,
}

/// One block of anchors with its thread's scratch.
pub(super) struct AnchorBlock<'a> {
    context: &'a PassContext<'a>,
    /// The index of the first anchor.
    first: usize,
    /// The raw rows.
    rows: &'a [f32],
    norms: &'a mut [f64],
    stats: &'a mut [RowStats],
    state: &'a mut BlockState,
    windows: [Window; MAX_BLOCK],
    constants: [AnchorConstants; MAX_BLOCK],
    bounds: TileBounds,
    /// The pairs that were computed exactly as a shortlist was full.
    forced: usize,
    words: &'a mut [u32],
    scratch: &'a mut [f32],
    shortlists: &'a mut [Shortlist],
}

impl<'a> AnchorBlock<'a> {
    /// The block whose first anchor is `first`, of as many anchors as there are norms.
    pub(super) fn new(
        context: &'a PassContext<'a>,
        first: usize,
        norms: &'a mut [f64],
        stats: &'a mut [RowStats],
        state: &'a mut BlockState,
        scratch: &'a mut BlockScratch,
    ) -> AnchorBlock<'a> {
        let dim = context.batch.dim();
        AnchorBlock {
            context,
            first,
            rows: &context.batch.anchor_rows().data()[first * dim..][..norms.len() * dim],
            norms,
            stats,
            state,
            windows: [Window::CLOSED; MAX_BLOCK],
            constants: [AnchorConstants::default(); MAX_BLOCK],
            bounds: TileBounds::ZERO,
            forced: 0,
            words: scratch.words.aligned(),
            scratch: scratch.rows.aligned(),
            shortlists: &mut scratch.shortlists,
        }
    }

    /// Screens the block against all candidates, and completes its statistics; or leaves it to a finer precision. Where
    /// the screen leaves too many pairs, all of them are computed exactly.
    pub(super) fn mine<F: Format>(mut self, backend: Backend) {
        backend.run(Open(&mut self, PhantomData::<F>));
        let outcome = match backend.run(Screen(&mut self, PhantomData::<F>)) {
            Outcome::Screened => backend.run(Finish(&mut self)),
            outcome => outcome,
        };
        if outcome == Outcome::Hopeless {
            backend.run(SearchExactly(&mut self));
        }
    }

    /// Computes all pairs exactly, and completes the block's statistics.
    pub(super) fn mine_exactly(mut self, backend: Backend) {
        backend.run(OpenExactly(&mut self));
        backend.run(SearchExactly(&mut self));
    }
}

/// How the screen of a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// What is left of the pairs is on the shortlists, or was computed.
    Screened,
    /// The block waits for a finer precision.
    Deferred,
    /// So many pairs are left that computing all of them in tiles is cheaper.
    Hopeless,
}

// The steps of a block, each compiled as a function of its own.
struct Open<'b, 'a, F>(&'b mut AnchorBlock<'a>, PhantomData<F>);
struct Screen<'b, 'a, F>(&'b mut AnchorBlock<'a>, PhantomData<F>);
struct Finish<'b, 'a>(&'b mut AnchorBlock<'a>);
struct OpenExactly<'b, 'a>(&'b mut AnchorBlock<'a>);
struct SearchExactly<'b, 'a>(&'b mut AnchorBlock<'a>);

impl<F: Format> WithSimd for Open<'_, '_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if !self.0.context.measured {
            self.0.measure_rows(simd);
        }
        self.0.pack_rows::<S, F>(simd);
        self.0.open_rows::<F>();
    }
}

impl<F: Format> WithSimd for Screen<'_, '_, F> {
    type Output = Outcome;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Outcome {
        self.0.screen::<S, F>(simd)
    }
}

impl WithSimd for Finish<'_, '_> {
    type Output = Outcome;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Outcome {
        self.0.finish_rows(simd)
    }
}

impl WithSimd for OpenExactly<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if !self.0.context.measured {
            self.0.measure_rows(simd);
        }
    }
}

impl WithSimd for SearchExactly<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.search_exactly(simd);
    }
}

impl<'a> AnchorBlock<'a> {
    /// The norm and the first two numbers of every row, which need no pass over candidates. A row that is not finite is
    /// found by its norm when all blocks are done; until then its similarities are NaN or anything else, and decide
    /// nothing.
    #[inline(always)]
    fn measure_rows<S: Simd>(&mut self, simd: S) {
        let PassContext { batch, candidates, .. } = *self.context;
        let negatives = (batch.candidates() - 1) as f64;
        for (row, stats) in self.stats.iter_mut().enumerate() {
            let anchor = &self.rows[row * batch.dim()..][..batch.dim()];
            let positive = batch.positives().of(self.first + row);
            let [square, dot, total] = anchor_dots(simd, anchor, candidates.rows.row(positive), candidates.sum);
            let norm = square.sqrt();
            let similarity = cosine(dot, norm, candidates.norms[positive]);
            let mean = if norm == 0.0 { 0.0 } else { (total / norm - similarity) / negatives };
            self.norms[row] = norm;
            *stats = RowStats::computed(similarity as f32, mean as f32, None);
        }
    }

    /// The rows as the tiles read them.
    #[inline(always)]
    fn pack_rows<S: Simd, F: Format>(&mut self, simd: S) {
        const {
            assert!(ROW_UNIT.is_multiple_of(S::F32_LANES) && ROW_UNIT.is_multiple_of(S::TILE_ANCHORS));
            assert!(MAX_BLOCK.is_multiple_of(ROW_UNIT));
        }
        let dim = self.context.batch.dim();
        let padded = self.norms.len().next_multiple_of(S::F32_LANES);
        let rows = RawRows { rows: self.rows, norms: self.norms, dim };
        for (first, group) in rows.row_groups(S::F32_LANES) {
            let writer = PanelWriter::new(self.words, first, S::TILE_ANCHORS, padded, F::steps(dim));
            let constants = F::pack_anchors(simd, group, self.context.candidates.params, self.scratch, writer);
            self.constants[first..first + S::F32_LANES].copy_from_slice(&constants[..S::F32_LANES]);
        }
    }

    /// Opens the window of every row.
    #[inline(always)]
    fn open_rows<F: Format>(&mut self) {
        let PassContext { batch, negatives, candidates, .. } = *self.context;
        for (row, stats) in self.stats.iter().enumerate() {
            let (constants, shortlist) = (&self.constants[row], &mut self.shortlists[row]);
            let units = ScreenUnits { unit: F::UNIT, shift: constants.shift };
            let positive = batch.positives().of(self.first + row);
            let longest = constants.longest(candidates.extremes);
            self.windows[row] = shortlist.open(negatives, positive, stats.positive(), units, longest);
            if self.norms[row] == 0.0 {
                self.windows[row] = shortlist.settle_zero_row();
            }
        }
    }

    /// Computes every tile of this block's anchors and all candidates: panel by panel, so that a panel is read from far
    /// away once and from the cache for the other anchors.
    #[inline(always)]
    fn screen<S: Simd, F: Format>(&mut self, simd: S) -> Outcome {
        let dim = self.context.batch.dim();
        let width = S::TILE_REGISTERS * S::F32_LANES;
        let forced_limit = self.pair_limit(FORCED_SHARE);
        let panels = self.context.candidates.panels.chunks(width * F::words_per_candidate(dim));
        for (panel, words) in panels.clone().enumerate() {
            let next_panel = panels.clone().nth(panel + 1);
            let prefetch = self.prefetch_plan::<S, F>(next_panel, panels.len() - 1 - panel);
            self.screen_panel::<S, F>(simd, words, panel * width, prefetch);
            if self.forced > forced_limit {
                return Outcome::Hopeless;
            }
            let seen = panel + 1;
            if is_checkpoint(seen) {
                let outcome = self.compare_costs::<S, F>(seen * width);
                if outcome != Outcome::Screened {
                    return outcome;
                }
            }
        }
        Outcome::Screened
    }

    /// The pairs that may be computed exactly, one by one, before the block gives up its screen.
    #[inline(always)]
    fn pair_limit(&self, share_of_product: f64) -> usize {
        let PassContext { batch, finest, .. } = *self.context;
        if finest < Precision::Exact {
            return usize::MAX;
        }
        let product = self.norms.len() as f64 * batch.candidates() as f64;
        (share_of_product * product / survivor_cost(batch.dim() as f64)) as usize
    }

    /// What the tiles on one panel fetch.
    #[inline(always)]
    fn prefetch_plan<S: Simd, F: Format>(&self, next_panel: Option<&'a [u32]>, panels_left: usize) -> PrefetchPlan<'a> {
        let PassContext { batch, candidates, .. } = *self.context;
        let (dim, rows) = (batch.dim(), self.norms.len());
        let next = self.first + rows;
        let next_positive = if next < batch.rows() { batch.positives().of(next) } else { batch.candidates() };
        PrefetchPlan {
            next_panel,
            panels_left,
            next_rows: [&batch.anchor_rows().data()[next * dim..], &candidates.rows.data()[next_positive * dim..]],
            block_len: rows * dim,
            steps: F::steps(dim),
            tiles: rows.div_ceil(S::TILE_ANCHORS),
        }
    }

    /// Whether the block had better wait for a finer screen or take none, after so many candidates.
    fn compare_costs<S: Simd, F: Format>(&mut self, screened: usize) -> Outcome {
        let PassContext { batch, candidates, finest, .. } = *self.context;
        if F::PRECISION == finest || screened >= batch.candidates() {
            return Outcome::Screened;
        }
        let rows = self.norms.len();
        let (mut doubtful, mut scored) = (0, 0);
        for shortlist in &self.shortlists[..rows] {
            doubtful += shortlist.doubtful();
            scored += shortlist.scored();
        }
        let mean = |sum: usize| sum as f64 / rows as f64;
        let (screened, candidates_count) = (screened as f64, batch.candidates() as f64);
        let model = CostModel {
            precision: F::PRECISION,
            dim: batch.dim() as f64,
            screened,
            candidates: candidates_count,
            doubtful: mean(doubtful) * candidates_count / screened,
            scored: mean(scored),
            int16_share: F::int16_share(&self.constants[..rows], candidates.extremes, batch.dim()),
            float32_share: F::float32_share(
                &self.constants[..rows],
                candidates.extremes,
                candidates.params.float_bound,
            ),
            exact_cost: S::DOT_COST,
        };
        match model.cheapest(finest) {
            Precision::Exact => Outcome::Hopeless,
            precision if precision == F::PRECISION => Outcome::Screened,
            precision => {
                self.state.precision = precision;
                Outcome::Deferred
            }
        }
    }

    /// Computes every tile of this block's anchors and one panel, whose first candidate is `first_candidate`.
    #[inline(always)]
    fn screen_panel<S: Simd, F: Format>(
        &mut self,
        simd: S,
        panel: &[u32],
        first_candidate: usize,
        prefetch: PrefetchPlan<'_>,
    ) {
        let dim = self.context.batch.dim();
        let (steps, width) = (F::steps(dim), panel.len() / F::words_per_candidate(dim));
        let (candidates, constants) = panel.split_at(steps * width);
        let tiles = self.norms.len().div_ceil(S::TILE_ANCHORS);
        for (tile, anchors) in self.words.chunks_exact(S::TILE_ANCHORS * steps).take(tiles).enumerate() {
            let row = tile * S::TILE_ANCHORS;
            let prefetch = prefetch.of_tile::<S>(tile).unwrap_or(Prefetch::nothing(anchors));
            let mut sink = ShortlistSink {
                simd,
                context: self.context,
                rows: &self.rows[row * dim..],
                norms: &self.norms[row..],
                shortlists: &mut self.shortlists[row..],
                windows: &mut self.windows[row..row + S::TILE_ANCHORS],
                constants: &self.constants[row..row + S::TILE_ANCHORS],
                first_candidate,
                forced: &mut self.forced,
            };
            let tile = Tile { anchors, candidates, constants, prefetch };
            let bounds = &mut self.bounds;
            let kernel = ScreenTile { tile, bounds, sink: &mut sink, format: PhantomData::<F> };
            simd.run_tile(width / S::F32_LANES, kernel);
        }
    }

    /// The last number of every row: exact scores of what the screen left. First the best two pairs of every row, which
    /// rule out most of the others, then those that are left; each while the next row's are fetched.
    #[inline(always)]
    fn finish_rows<S: Simd>(&mut self, simd: S) -> Outcome {
        let (rows, candidates) = (self.stats.len(), self.context.candidates.rows);
        for row in 0..rows {
            if let Some(next) = self.shortlists[..rows].get_mut(row + 1) {
                next.prune(simd, self.windows[row + 1].low);
                next.prefetch_best(simd, candidates);
            }
            let exact = exact_row(self.context, self.rows, self.norms, row);
            self.shortlists[row].score_best(simd, &exact, &mut self.windows[row]);
        }
        let left: usize = self.shortlists[..rows].iter().map(Shortlist::length).sum();
        if left > self.pair_limit(S::DOT_COST) {
            return Outcome::Hopeless;
        }
        let mut scored = 0;
        for (row, stats) in self.stats.iter_mut().enumerate() {
            if let Some(next) = self.shortlists[..rows].get(row + 1) {
                next.prefetch(simd, candidates);
            }
            let exact = exact_row(self.context, self.rows, self.norms, row);
            stats.set_closest_negative(self.shortlists[row].finish(simd, &exact, &mut self.windows[row]));
            scored += self.shortlists[row].scored();
        }
        (self.state.done, self.state.scored) = (true, scored);
        Outcome::Screened
    }

    /// The last number of every row, from exact tiles of all pairs.
    #[inline(always)]
    fn search_exactly<S: Simd>(&mut self, simd: S) {
        let PassContext { batch, negatives, candidates, .. } = *self.context;
        let mut searches = [ClosestSearch::EMPTY; MAX_BLOCK];
        for (row, stats) in self.stats.iter().enumerate() {
            let positive = batch.positives().of(self.first + row);
            searches[row] = ClosestSearch::new(negatives, stats.positive(), positive);
        }
        let anchors = NormedRows { rows: batch.anchor_rows().range(self.first, self.norms.len()), norms: self.norms };
        let candidates = NormedRows { rows: candidates.rows, norms: candidates.norms };
        search_pairs(simd, anchors, candidates, &mut searches);
        for (stats, search) in self.stats.iter_mut().zip(&searches) {
            stats.set_closest_negative(search.found());
        }
        let scored = self.stats.len() * (batch.candidates() - 1);
        *self.state = BlockState { precision: Precision::Exact, done: true, scored };
    }
}

/// What is needed to compute pairs of row `row` of `rows` exactly.
#[inline(always)]
fn exact_row<'a>(context: &PassContext<'a>, rows: &'a [f32], norms: &[f64], row: usize) -> ExactRow<'a> {
    let (dim, candidates) = (context.batch.dim(), context.candidates);
    ExactRow {
        row: &rows[row * dim..][..dim],
        norm: norms[row],
        others: candidates.rows,
        other_norms: candidates.norms,
    }
}

/// Puts the hits of a tile on the shortlists of its rows.
struct ShortlistSink<'a, 'b, S> {
    simd: S,
    context: &'b PassContext<'a>,
    rows: &'a [f32],
    norms: &'b [f64],
    shortlists: &'b mut [Shortlist],
    windows: &'b mut [Window],
    constants: &'b [AnchorConstants],
    first_candidate: usize,
    /// The pairs that were computed exactly.
    forced: &'b mut usize,
}

impl<S: Simd> HitSink for ShortlistSink<'_, '_, S> {
    #[inline(always)]
    fn rows(&self) -> (&[AnchorConstants], &[Window]) {
        (self.constants, self.windows)
    }

    #[inline(always)]
    fn take(&mut self, row: usize, intervals: Intervals<'_>) {
        let exact = exact_row(self.context, self.rows, self.norms, row);
        let (window, shortlist) = (&mut self.windows[row], &mut self.shortlists[row]);
        let before = shortlist.scored();
        shortlist.add(self.simd, &exact, window, self.first_candidate, intervals);
        *self.forced += shortlist.scored() - before;
    }
}
