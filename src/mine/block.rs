//! A block of anchors: from raw rows, screened against all candidates, to the results of each row.

use core::marker::PhantomData;
use core::ops::Range;

use super::direct::{GroupSink, search_pairs};
use super::pass::PassContext;
use super::task::Task;
use crate::arch::{Backend, Simd, WithSimd};
use crate::error::{Error, Side};
use crate::exact::{ExactRow, NormedRows, PairSink};
use crate::memory::{AlignedVec, grow};
use crate::row_stats::Search;
use crate::screen::{
    AnchorConstants, ExactCosts, Format, MAX_LANES, NeighbourList, PARTS, PanelWriter, Precision, RawRows, RowList,
    ScreenUnits, Screening, Shortlist, TileBounds, Window, scratch_len,
};

/// A multiple of every register's lanes and of every tile's anchors: rows are padded to it and divided by it.
pub(super) const ROW_UNIT: usize = MAX_LANES;

/// The most anchors in a block.
const MAX_BLOCK: usize = 96;

/// The words of a block of anchors, which should stay in the second-level cache while the candidates are read: 256 KiB
/// in `f32`, less in integers.
const BLOCK_WORDS: usize = 1 << 16;

/// The memory that a block of a batch's anchors needs: the anchors that have a list, and their words at most.
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
    lists: RowLists,
}

/// The lists of a block's rows, of one kind or the other.
#[derive(Debug, Default)]
pub(super) struct RowLists {
    /// For the closest negative.
    pub(super) short: Vec<Shortlist>,
    /// For several.
    pub(super) neighbours: Vec<NeighbourList>,
}

impl RowLists {
    /// Grows to the lists of `rows` rows, for the `k` closest of so many candidates.
    fn grow(&mut self, rows: usize, k: usize, candidates: usize) -> Result<(), Error> {
        // A call for fewer may search for one alone.
        grow(&mut self.short, Side::Anchors, rows, 1)?;
        if k == 1 {
            return Ok(());
        }
        let lists = grow(&mut self.neighbours, Side::Anchors, rows, 1)?;
        lists.iter_mut().try_for_each(|list| list.grow(k, candidates))
    }
}

impl BlockScratch {
    /// Grows to blocks of the size of `block`.
    pub(super) fn grow(&mut self, block: BlockSizes) -> Result<(), Error> {
        self.words.grow(Side::Anchors, block.words, 1)?;
        self.rows.grow(Side::Anchors, scratch_len(block.quantised_dim), 1)?;
        self.lists.grow(block.lists, block.k, block.candidates)
    }
}

/// How much memory a block of anchors needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockSizes {
    pub(super) lists: usize,
    pub(super) words: usize,
    /// The length of the longest rows that may be rounded to integers, or 0.
    pub(super) quantised_dim: usize,
    /// How many candidates a list is to find, and of how many.
    pub(super) k: usize,
    pub(super) candidates: usize,
}

/// The precision that a block of anchors waits for, and whether its rows are complete.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockState {
    /// What it is to be screened in.
    pub(super) precision: Precision,
    pub(super) done: bool,
    /// The counts of all that was done for it. Its rows are counted when they are complete.
    pub(super) screening: Screening,
}

/// One block of anchors with its thread's scratch.
pub(super) struct AnchorBlock<'a, T: Task> {
    pub(super) context: &'a PassContext<'a, T>,
    /// The index of the first anchor.
    pub(super) first: usize,
    /// The raw rows.
    pub(super) rows: &'a [f32],
    pub(super) norms: &'a mut [f64],
    pub(super) results: T::Results<'a>,
    pub(super) state: &'a mut BlockState,
    pub(super) windows: [Window; MAX_BLOCK],
    pub(super) constants: [AnchorConstants; MAX_BLOCK],
    pub(super) bounds: TileBounds,
    /// The rows that were given up, for tiles.
    pub(super) given_up: usize,
    /// The candidates that were screened.
    pub(super) covered: usize,
    pub(super) words: &'a mut [u32],
    pub(super) scratch: &'a mut [f32],
    pub(super) lists: &'a mut [T::List],
}

impl<'a, T: Task> AnchorBlock<'a, T> {
    /// The block whose first anchor is `first`, of as many anchors as there are norms.
    pub(super) fn new(
        context: &'a PassContext<'a, T>,
        first: usize,
        norms: &'a mut [f64],
        results: T::Results<'a>,
        state: &'a mut BlockState,
        scratch: &'a mut BlockScratch,
    ) -> AnchorBlock<'a, T> {
        let dim = context.candidates.rows.dim();
        AnchorBlock {
            context,
            first,
            rows: &context.anchors.data()[first * dim..][..norms.len() * dim],
            norms,
            results,
            state,
            windows: [Window::CLOSED; MAX_BLOCK],
            constants: [AnchorConstants::default(); MAX_BLOCK],
            bounds: TileBounds::ZERO,
            given_up: 0,
            covered: 0,
            words: scratch.words.aligned(),
            scratch: scratch.rows.aligned(),
            lists: T::lists(&mut scratch.lists),
        }
    }

    /// Screens the block against all candidates, and completes its results; or sets the finer precision of the pass
    /// that will complete it. Where the screen leaves too many pairs, tiles take over.
    pub(super) fn mine<F: Format>(mut self, backend: Backend) {
        backend.run(OpenBlock(&mut self, PhantomData::<F>));
        let screened = backend.run(ScreenBlock(&mut self, PhantomData::<F>));
        let outcome =
            if screened == Outcome::Screened { backend.run(FinishBlock(&mut self, F::PRECISION)) } else { screened };
        if outcome == Outcome::Hopeless {
            let rows = 0..self.norms.len();
            self.state.done = true;
            backend.run(SearchRest(&mut self, rows));
        }
        self.count_lists();
    }

    /// Counts the pairs of its lists that were computed exactly, also those of a screen that was given up.
    fn count_lists(&mut self) {
        for list in &self.lists[..self.norms.len()] {
            self.state.screening.count_single_pairs(list.scored());
        }
    }

    /// Computes all pairs exactly, and completes the block's results.
    pub(super) fn mine_exactly(mut self, backend: Backend) {
        backend.run(MeasureBlock(&mut self));
        self.state.done = true;
        backend.run(SearchAll(&mut self));
    }
}

/// How the screen of a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What is left of the pairs is on the lists, or was computed.
    Screened,
    /// The block waits for a finer precision.
    Deferred,
    /// So many pairs are left that computing all of them in tiles is cheaper.
    Hopeless,
}

// The steps of a block, each compiled as a function of its own.
struct OpenBlock<'b, 'a, T: Task, F>(&'b mut AnchorBlock<'a, T>, PhantomData<F>);
struct ScreenBlock<'b, 'a, T: Task, F>(&'b mut AnchorBlock<'a, T>, PhantomData<F>);
struct FinishBlock<'b, 'a, T: Task>(&'b mut AnchorBlock<'a, T>, Precision);
struct MeasureBlock<'b, 'a, T: Task>(&'b mut AnchorBlock<'a, T>);
struct SearchAll<'b, 'a, T: Task>(&'b mut AnchorBlock<'a, T>);
struct SearchRest<'b, 'a, T: Task>(&'b mut AnchorBlock<'a, T>, Range<usize>);

impl<T: Task, F: Format> WithSimd for OpenBlock<'_, '_, T, F> {
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

impl<T: Task, F: Format> WithSimd for ScreenBlock<'_, '_, T, F> {
    type Output = Outcome;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Outcome {
        self.0.screen::<S, F>(simd)
    }
}

impl<T: Task> WithSimd for FinishBlock<'_, '_, T> {
    type Output = Outcome;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Outcome {
        self.0.finish_rows(simd, self.1)
    }
}

impl<T: Task> WithSimd for MeasureBlock<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if !self.0.context.measured {
            self.0.measure_rows(simd);
        }
    }
}

impl<T: Task> WithSimd for SearchAll<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.search_all(simd);
    }
}

impl<T: Task> WithSimd for SearchRest<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.search_rest(simd, self.1);
    }
}

impl<T: Task> AnchorBlock<'_, T> {
    /// What is known of the rows without a pass over candidates.
    #[inline(always)]
    fn measure_rows<S: Simd>(&mut self, simd: S) {
        let PassContext { anchors, candidates, task, .. } = *self.context;
        let rows = anchors.range(self.first, self.norms.len());
        task.measure(simd, self.first, rows, candidates, self.norms, &mut self.results);
    }

    /// The rows as the tiles read them.
    #[inline(always)]
    fn pack_rows<S: Simd, F: Format>(&mut self, simd: S) {
        const {
            assert!(ROW_UNIT.is_multiple_of(S::F32_LANES) && ROW_UNIT.is_multiple_of(S::TILE_ANCHORS));
            assert!(MAX_BLOCK.is_multiple_of(ROW_UNIT));
        }
        let dim = self.context.candidates.rows.dim();
        let padded = self.norms.len().next_multiple_of(ROW_UNIT);
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
        let PassContext { candidates, task, .. } = *self.context;
        for (row, &norm) in self.norms.iter().enumerate() {
            let (constants, list) = (&self.constants[row], &mut self.lists[row]);
            let units = ScreenUnits { unit: F::UNIT, shift: constants.shift };
            let longest = constants.longest(candidates.extremes);
            self.windows[row] = list.open(task.admissible(&self.results, row), units, longest);
            if norm == 0.0 {
                self.windows[row] = list.settle_zero_row(candidates.rows.count(), task.of(self.first + row));
            }
        }
    }

    /// What computing pairs exactly costs; nothing where the block must keep its screen.
    #[inline(always)]
    pub(super) fn exact_costs<S: Simd>(&self) -> Option<ExactCosts> {
        let PassContext { candidates, precisions, .. } = *self.context;
        let costs = || ExactCosts::new(candidates.rows.count(), candidates.rows.dim(), S::DOT_COST);
        precisions.contains(Precision::Exact).then(costs)
    }

    /// Completes every row. First the best pairs of every list, which rule out most of the others, then those that are
    /// left, each while the next row's are fetched; then the rows that were given up.
    #[inline(always)]
    fn finish_rows<S: Simd>(&mut self, simd: S, precision: Precision) -> Outcome {
        let (rows, candidates) = (self.norms.len(), self.context.candidates.rows);
        for row in 0..rows {
            if row == 0 {
                self.lists[0].close(simd, &mut self.windows[0]);
            }
            if let Some(next) = self.lists[..rows].get_mut(row + 1) {
                next.close(simd, &mut self.windows[row + 1]);
                next.prefetch_best(simd, candidates);
            }
            let exact = exact_row(self.context, self.rows, self.norms, row);
            let list = &mut self.lists[row];
            list.score_best(simd, &exact, &mut self.windows[row]);
        }
        let listed = self.lists[..rows].iter().map(RowList::length).sum();
        let costs = self.exact_costs::<S>();
        if costs.is_some_and(|costs| costs.lists_lose(rows, listed, self.runs_given_up())) {
            return Outcome::Hopeless;
        }
        let (mut finished, mut survivors) = (0, 0);
        for row in 0..rows {
            if let Some(next) = self.lists[..rows].get(row + 1) {
                next.prefetch(simd, candidates);
            }
            let exact = exact_row(self.context, self.rows, self.norms, row);
            let list = &mut self.lists[row];
            if !list.is_hopeless() {
                list.finish(simd, &exact, &mut self.windows[row]);
                self.context.task.keep(&mut self.results, row, list);
                survivors = list.scored().saturating_add(survivors);
                finished += 1;
            }
        }
        self.state.screening.count(precision, finished, survivors);
        self.search_given_up_rows(simd);
        self.state.done = true;
        Outcome::Screened
    }

    /// The rows that were given up: how many follow each other, and from which candidate on they were.
    pub(super) fn runs_given_up(&self) -> impl Iterator<Item = (usize, usize)> + Clone {
        let runs = self.lists[..self.norms.len()].chunk_by(|one, next| one.is_hopeless() == next.is_hopeless());
        let runs = runs.filter(|run| run[0].is_hopeless());
        runs.map(|run| (run.len(), run.iter().map(RowList::given_up_at).min().unwrap_or(usize::MAX)))
    }

    /// Searches the rows that were given up, those that follow each other together.
    #[inline(always)]
    fn search_given_up_rows<S: Simd>(&mut self, simd: S) {
        let (mut row, rows) = (0, self.norms.len());
        while row < rows {
            let run = self.lists[row..rows].iter().take_while(|list| list.is_hopeless()).count();
            if run > 0 {
                simd.run(SearchRest(self, row..row + run));
            }
            row += run.max(1);
        }
    }

    /// Searches all rows among all pairs, in exact tiles.
    #[inline(always)]
    fn search_all<S: Simd>(&mut self, simd: S) {
        let (task, rows) = (self.context.task, self.norms.len());
        for row in 0..rows {
            self.lists[row].restart(task.admissible(&self.results, row));
        }
        let searched = self.search_from(simd, 0..rows, 0);
        for row in 0..rows {
            task.keep(&mut self.results, row, &mut self.lists[row]);
        }
        self.state.screening.count(Precision::Exact, rows, searched);
    }

    /// Completes some rows, of which the screen leaves too many pairs: those with the last candidates are computed in
    /// tiles, as many as it takes that few others are left on the lists.
    #[inline(always)]
    fn search_rest<S: Simd>(&mut self, simd: S, rows: Range<usize>) {
        for row in rows.clone() {
            self.lists[row].close(simd, &mut self.windows[row]);
        }
        let first = self.first_in_tiles::<S>(rows.clone());
        for row in rows.clone() {
            self.lists[row].leave_to_tiles(simd, first);
        }
        let mut computed = self.search_from(simd, rows.clone(), first);
        for row in rows.clone() {
            let exact = exact_row(self.context, self.rows, self.norms, row);
            let (list, window) = (&mut self.lists[row], &mut self.windows[row]);
            let before = list.scored();
            list.raise_to_found(window);
            list.close(simd, window);
            list.score_best(simd, &exact, window);
            list.finish(simd, &exact, window);
            computed = (list.scored() - before).saturating_add(computed);
            self.context.task.keep(&mut self.results, row, list);
        }
        self.state.screening.count(Precision::Exact, rows.len(), computed);
    }

    /// The candidate from which on the pairs of some rows are computed in tiles.
    #[inline(always)]
    fn first_in_tiles<S: Simd>(&self, rows: Range<usize>) -> usize {
        let Some(costs) = self.exact_costs::<S>() else { return 0 };
        let (mut listed, mut latest) = ([0; PARTS], self.covered);
        for list in &self.lists[rows.clone()] {
            latest = latest.min(list.given_up_at());
            list.candidates().for_each(|candidate| listed[costs.part_of(candidate)] += 1);
        }
        costs.first_in_tiles(rows.len(), latest, &listed)
    }

    /// Searches some rows among their pairs with the candidates from `first` on, in exact tiles. Returns how many of them
    /// are no pairs with a positive.
    #[inline(always)]
    fn search_from<S: Simd>(&mut self, simd: S, rows: Range<usize>, first: usize) -> usize {
        let PassContext { anchors, candidates, task, .. } = *self.context;
        let (norms, row) = (&self.norms[rows.clone()], self.first + rows.start);
        let anchors = NormedRows { rows: anchors.range(row, rows.len()), norms };
        let count = candidates.rows.count() - first;
        let others = NormedRows { rows: candidates.rows.range(first, count), norms: &candidates.norms[first..] };
        let lists = &mut self.lists[rows.clone()];
        search_pairs(simd, anchors, others, SearchSink { lists, task, row, offset: first, first });
        self.state.screening.count_pairs(Precision::Exact, rows.len().saturating_mul(count));
        rows.len().saturating_mul(count.saturating_sub(1))
    }
}

/// Offers the pairs of a tile to the searches of their rows.
struct SearchSink<'a, T: Task> {
    lists: &'a mut [T::List],
    task: T,
    /// The first row.
    row: usize,
    /// The first candidate of all groups.
    offset: usize,
    /// The first candidate of this group.
    first: usize,
}

impl<T: Task> PairSink for SearchSink<'_, T> {
    #[inline(always)]
    fn take(&mut self, anchor: usize, candidate: usize, similarities: &[f32]) {
        let exclusion = self.task.of(self.row + anchor);
        self.lists[anchor].search().offer_run(self.first + candidate, similarities, exclusion);
    }
}

impl<T: Task> GroupSink for SearchSink<'_, T> {
    #[inline(always)]
    fn start_group(&mut self, first: usize) {
        self.first = self.offset + first;
    }
}

/// What is needed to compute pairs of row `row` of `rows` exactly.
#[inline(always)]
pub(super) fn exact_row<'a, T>(
    context: &PassContext<'a, T>,
    rows: &'a [f32],
    norms: &[f64],
    row: usize,
) -> ExactRow<'a> {
    let candidates = context.candidates;
    let dim = candidates.rows.dim();
    ExactRow {
        row: &rows[row * dim..][..dim],
        norm: norms[row],
        others: candidates.rows,
        other_norms: candidates.norms,
    }
}
