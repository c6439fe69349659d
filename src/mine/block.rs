//! A block of anchors: from raw rows, screened against all candidates, to the statistics of each row.

use core::marker::PhantomData;
use core::ops::Range;

use super::direct::search_pairs;
use super::pass::PassContext;
use crate::arch::{Backend, Simd, WithSimd};
use crate::error::{Error, Side};
use crate::exact::{ExactRow, NormedRows, anchor_dots, cosine};
use crate::memory::{AlignedVec, grow};
use crate::row_stats::{ClosestSearch, RowStats};
use crate::screen::{
    AnchorConstants, Format, MAX_LANES, PairLimits, PanelWriter, Precision, RawRows, ScreenUnits, Shortlist,
    TileBounds, Window, scratch_len,
};

/// A multiple of every register's lanes and of every tile's anchors: rows are padded to it and divided by it.
pub(super) const ROW_UNIT: usize = MAX_LANES;

/// The most anchors in a block.
const MAX_BLOCK: usize = 96;

/// The words of a block of anchors, which should stay in the second-level cache while the candidates are read: 256 KiB
/// in `f32`, less in integers.
const BLOCK_WORDS: usize = 1 << 16;

/// The memory that a block of a batch's anchors needs: the anchors that have a shortlist, and their words at most.
/// Smaller batches never need more, however many threads share them.
pub(super) fn block_len(rows: usize, dim: usize) -> (usize, usize) {
    let padded = rows.next_multiple_of(ROW_UNIT);
    (padded.min(MAX_BLOCK), padded.saturating_mul(dim).min(BLOCK_WORDS.saturating_add(dim.saturating_mul(ROW_UNIT))))
}

/// Anchors in a block: as many as stay in the cache, but so few that every thread gets four blocks or more, and each
/// as many as the others.
pub(super) fn block_rows(rows: usize, dim: usize, threads: usize) -> usize {
    let cached = (BLOCK_WORDS / dim).clamp(ROW_UNIT, MAX_BLOCK).next_multiple_of(ROW_UNIT);
    if threads == 1 {
        return cached.min(rows.next_multiple_of(ROW_UNIT));
    }
    let blocks = rows.div_ceil(cached).next_multiple_of(4 * threads);
    rows.div_ceil(blocks).next_multiple_of(ROW_UNIT)
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
        self.rows.grow(Side::Anchors, scratch_len(quantised_dim), 1)?;
        grow(&mut self.shortlists, Side::Anchors, shortlists, 1)?;
        Ok(())
    }
}

/// The precision that a block of anchors waits for, and whether its rows are complete.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockState {
    /// What it is to be screened in.
    pub(super) precision: Precision,
    pub(super) done: bool,
    /// The pairs that were computed exactly.
    pub(super) scored: usize,
    /// The rows all of whose pairs were computed exactly.
    pub(super) exact_rows: usize,
}

/// One block of anchors with its thread's scratch.
pub(super) struct AnchorBlock<'a> {
    pub(super) context: &'a PassContext<'a>,
    /// The index of the first anchor.
    pub(super) first: usize,
    /// The raw rows.
    pub(super) rows: &'a [f32],
    pub(super) norms: &'a mut [f64],
    pub(super) stats: &'a mut [RowStats],
    pub(super) state: &'a mut BlockState,
    pub(super) windows: [Window; MAX_BLOCK],
    pub(super) constants: [AnchorConstants; MAX_BLOCK],
    pub(super) bounds: TileBounds,
    /// The rows of which many pairs were computed exactly, as their shortlists were full.
    pub(super) crowded: usize,
    pub(super) words: &'a mut [u32],
    pub(super) scratch: &'a mut [f32],
    pub(super) shortlists: &'a mut [Shortlist],
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
        let dim = context.candidates.rows.dim();
        AnchorBlock {
            context,
            first,
            rows: &context.anchors.data()[first * dim..][..norms.len() * dim],
            norms,
            stats,
            state,
            windows: [Window::CLOSED; MAX_BLOCK],
            constants: [AnchorConstants::default(); MAX_BLOCK],
            bounds: TileBounds::ZERO,
            crowded: 0,
            words: scratch.words.aligned(),
            scratch: scratch.rows.aligned(),
            shortlists: &mut scratch.shortlists,
        }
    }

    /// Screens the block against all candidates, and completes its statistics; or sets the finer precision of the pass
    /// that will complete it. Where the screen leaves too many pairs, all of them are computed exactly.
    pub(super) fn mine<F: Format>(mut self, backend: Backend) {
        backend.run(OpenBlock(&mut self, PhantomData::<F>));
        let screened = backend.run(ScreenBlock(&mut self, PhantomData::<F>));
        let outcome = if screened == Outcome::Screened { backend.run(FinishBlock(&mut self)) } else { screened };
        if outcome == Outcome::Hopeless {
            self.search_all(backend);
        }
    }

    /// Computes all pairs exactly, and completes the block's statistics.
    pub(super) fn mine_exactly(mut self, backend: Backend) {
        backend.run(MeasureBlock(&mut self));
        self.search_all(backend);
    }

    /// Computes all pairs exactly.
    fn search_all(mut self, backend: Backend) {
        let rows = 0..self.stats.len();
        *self.state = BlockState { precision: Precision::Exact, done: true, ..BlockState::default() };
        backend.run(SearchBlock(&mut self, rows));
    }
}

/// How the screen of a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What is left of the pairs is on the shortlists, or was computed.
    Screened,
    /// The block waits for a finer precision.
    Deferred,
    /// So many pairs are left that computing all of them in tiles is cheaper.
    Hopeless,
}

// The steps of a block, each compiled as a function of its own.
struct OpenBlock<'b, 'a, F>(&'b mut AnchorBlock<'a>, PhantomData<F>);
struct ScreenBlock<'b, 'a, F>(&'b mut AnchorBlock<'a>, PhantomData<F>);
struct FinishBlock<'b, 'a>(&'b mut AnchorBlock<'a>);
struct MeasureBlock<'b, 'a>(&'b mut AnchorBlock<'a>);
struct SearchBlock<'b, 'a>(&'b mut AnchorBlock<'a>, Range<usize>);

impl<F: Format> WithSimd for OpenBlock<'_, '_, F> {
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

impl<F: Format> WithSimd for ScreenBlock<'_, '_, F> {
    type Output = Outcome;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Outcome {
        self.0.screen::<S, F>(simd)
    }
}

impl WithSimd for FinishBlock<'_, '_> {
    type Output = Outcome;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Outcome {
        self.0.finish_rows(simd)
    }
}

impl WithSimd for MeasureBlock<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if !self.0.context.measured {
            self.0.measure_rows(simd);
        }
    }
}

impl WithSimd for SearchBlock<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.search_exactly(simd, self.1);
    }
}

impl<'a> AnchorBlock<'a> {
    /// The norm, the positive and the mean negative of every row, which need no pass over candidates. A row that is not
    /// finite is found by its norm when all blocks are done; until then its similarities are NaN or anything else, and
    /// decide nothing.
    #[inline(always)]
    fn measure_rows<S: Simd>(&mut self, simd: S) {
        let PassContext { positives, candidates, .. } = *self.context;
        let (dim, negatives) = (candidates.rows.dim(), (candidates.rows.count() - 1) as f64);
        for (row, stats) in self.stats.iter_mut().enumerate() {
            let anchor = &self.rows[row * dim..][..dim];
            let positive = positives.of(self.first + row);
            let [squared_norm, dot, total] = anchor_dots(simd, anchor, candidates.rows.row(positive), candidates.sum);
            let norm = squared_norm.sqrt();
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
        let dim = self.context.candidates.rows.dim();
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
        let PassContext { positives, negatives, candidates, .. } = *self.context;
        for (row, stats) in self.stats.iter().enumerate() {
            let (constants, shortlist) = (&self.constants[row], &mut self.shortlists[row]);
            let units = ScreenUnits { unit: F::UNIT, shift: constants.shift };
            let positive = positives.of(self.first + row);
            let longest = constants.longest(candidates.extremes);
            self.windows[row] = shortlist.open(negatives, positive, stats.positive(), units, longest);
            if self.norms[row] == 0.0 {
                self.windows[row] = shortlist.settle_zero_row();
            }
        }
    }

    /// How many pairs of a row may be computed one by one; any number where the block must keep its screen.
    #[inline(always)]
    pub(super) fn pair_limits<S: Simd>(&self) -> PairLimits {
        let PassContext { candidates, finest, .. } = *self.context;
        if finest < Precision::Exact {
            return PairLimits::NONE;
        }
        PairLimits::new(candidates.rows.count(), candidates.rows.dim(), S::DOT_COST)
    }

    /// Finds the closest negative of every row. First the best two pairs of every shortlist, which rule out most of the
    /// others, then those that are left, each while the next row's are fetched; then the rows without hope.
    #[inline(always)]
    fn finish_rows<S: Simd>(&mut self, simd: S) -> Outcome {
        let (rows, candidates) = (self.stats.len(), self.context.candidates.rows);
        let (limits, mut long_lists) = (self.pair_limits::<S>(), 0);
        for row in 0..rows {
            if let Some(next) = self.shortlists[..rows].get_mut(row + 1) {
                next.prune(simd, self.windows[row + 1].low);
                next.prefetch_best(simd, candidates);
            }
            let exact = exact_row(self.context, self.rows, self.norms, row);
            let shortlist = &mut self.shortlists[row];
            shortlist.score_best(simd, &exact, &mut self.windows[row]);
            long_lists += usize::from(shortlist.length() > limits.long_list);
        }
        if 2 * long_lists > rows {
            return Outcome::Hopeless;
        }
        for row in 0..rows {
            if let Some(next) = self.shortlists[..rows].get(row + 1) {
                next.prefetch(simd, candidates);
            }
            let exact = exact_row(self.context, self.rows, self.norms, row);
            let shortlist = &mut self.shortlists[row];
            if !shortlist.is_hopeless() {
                self.stats[row].set_closest_negative(shortlist.finish(simd, &exact, &mut self.windows[row]));
                self.state.scored += shortlist.scored();
            }
        }
        self.search_hopeless_rows(simd);
        self.state.done = true;
        Outcome::Screened
    }

    /// Searches the rows without hope, those that follow each other together.
    #[inline(always)]
    fn search_hopeless_rows<S: Simd>(&mut self, simd: S) {
        let mut row = 0;
        while row < self.stats.len() {
            let run = self.shortlists[row..self.stats.len()].iter().take_while(|list| list.is_hopeless()).count();
            if run > 0 {
                simd.run(SearchBlock(self, row..row + run));
            }
            row += run.max(1);
        }
    }

    /// Finds the closest negatives of some rows among all pairs, in exact tiles.
    #[inline(always)]
    fn search_exactly<S: Simd>(&mut self, simd: S, rows: Range<usize>) {
        let PassContext { anchors, positives, negatives, candidates, .. } = *self.context;
        let mut searches = [ClosestSearch::EMPTY; MAX_BLOCK];
        for (search, row) in searches.iter_mut().zip(rows.clone()) {
            let positive = positives.of(self.first + row);
            *search = ClosestSearch::new(negatives, self.stats[row].positive(), positive);
        }
        let norms = &self.norms[rows.clone()];
        let anchors = NormedRows { rows: anchors.range(self.first + rows.start, rows.len()), norms };
        let others = NormedRows { rows: candidates.rows, norms: candidates.norms };
        search_pairs(simd, anchors, others, &mut searches);
        for (stats, search) in self.stats[rows.clone()].iter_mut().zip(&searches) {
            stats.set_closest_negative(search.found());
        }
        self.state.exact_rows += rows.len();
        self.state.scored += rows.len() * (candidates.rows.count() - 1);
    }
}

/// What is needed to compute pairs of row `row` of `rows` exactly.
#[inline(always)]
pub(super) fn exact_row<'a>(context: &PassContext<'a>, rows: &'a [f32], norms: &[f64], row: usize) -> ExactRow<'a> {
    let candidates = context.candidates;
    let dim = candidates.rows.dim();
    ExactRow {
        row: &rows[row * dim..][..dim],
        norm: norms[row],
        others: candidates.rows,
        other_norms: candidates.norms,
    }
}
