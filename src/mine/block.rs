//! A block of anchors: from raw rows, screened against all candidates or a part of them, to the results of each row.

use core::ops::Range;

use super::Call;
use super::division::{MAX_BLOCK, ROW_UNIT};
use super::task::{PartResults, Task};
use crate::arch::Backend;
use crate::candidates::Candidates;
use crate::error::{Error, Side};
use crate::exact::{PairsOf, SearchedRow, grow_widened};
use crate::kernels::{
    AnchorConstants, Format, MAX_LANES, NormedRows, PanelHits, PanelTarget, RawRows, Similarities, Window, scratch_len,
};
use crate::memory::{AlignedVec, bytes_of, grow};
use crate::row_stats::Search;
use crate::rows::Shape;
use crate::screen::{
    ExactCosts, Method, NeighbourList, Pairs, RowList, ScreenUnits, Screening, Shortlist, pack_anchors, unit,
};

/// The method that a block of anchors waits for, and whether its rows are complete.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockState {
    /// How its pairs are to be computed.
    pub(super) method: Method,
    pub(super) done: bool,
    /// The counts of all that was done for it. Its rows are counted when they are complete.
    pub(super) screening: Screening,
}

impl BlockState {
    /// Whether the block's pairs are to be computed by a method next.
    pub(super) fn waits_for(&self, method: Method) -> bool {
        !self.done && self.method == method
    }
}

/// The scratch of one thread for one block of anchors.
#[derive(Debug)]
pub(super) struct BlockScratch {
    /// The anchors as tiles read them.
    words: AlignedVec<u32>,
    /// A register's worth of rows without their center, before they are rounded to integers.
    rows: AlignedVec<f32>,
    constants: [AnchorConstants; MAX_BLOCK],
    windows: [Window; MAX_BLOCK],
    hits: PanelHits,
    similarities: Similarities,
    /// The lists of the rows, where one closest negative is wanted, and where several are.
    closest: Vec<RowList<Shortlist>>,
    several: Vec<RowList<NeighbourList>>,
}

impl Default for BlockScratch {
    fn default() -> BlockScratch {
        BlockScratch {
            words: AlignedVec::default(),
            rows: AlignedVec::default(),
            constants: [AnchorConstants::default(); MAX_BLOCK],
            windows: [Window::CLOSED; MAX_BLOCK],
            hits: PanelHits::default(),
            similarities: Similarities::EMPTY,
            closest: Vec::new(),
            several: Vec::new(),
        }
    }
}

impl BlockScratch {
    /// Grows to blocks of so many words, and to rows of `quantised_dim` elements that are rounded to integers.
    pub(super) fn grow(&mut self, words: usize, quantised_dim: usize) -> Result<(), Error> {
        self.words.grow(Side::Anchors, words, 1)?;
        self.rows.grow(Side::Anchors, scratch_len(quantised_dim), 1).map(|_| ())
    }

    /// The bytes that it has got beside itself.
    pub(super) fn bytes(&self) -> usize {
        let lists = self.several.iter().map(RowList::bytes).sum::<usize>();
        let rows = self.words.bytes() + self.rows.bytes() + self.similarities.widened.bytes();
        rows + bytes_of(&self.closest) + bytes_of(&self.several) + lists
    }

    /// Grows to exact tiles of blocks of this shape.
    pub(super) fn grow_tiles(&mut self, backend: Backend, shape: Shape) -> Result<(), Error> {
        grow_widened(&mut self.similarities, backend, shape)
    }

    /// Grows to the lists of `rows` rows, for the `k` closest of so many candidates.
    pub(super) fn grow_lists(&mut self, rows: usize, k: usize, candidates: usize) -> Result<(), Error> {
        // A call for fewer may search for one alone.
        grow(&mut self.closest, Side::Anchors, rows, 1)?;
        if k == 1 {
            return Ok(());
        }
        let lists = grow(&mut self.several, Side::Anchors, rows, 1)?;
        lists.iter_mut().try_for_each(|list| list.grow(k, candidates))
    }
}

/// A block of anchors with its place among the results.
pub(super) struct Block<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) task: Task<'a>,
    pub(super) candidates: Candidates<'a>,
    /// The index of the first anchor.
    pub(super) first: usize,
    pub(super) norms: &'a [f64],
    pub(super) state: &'a mut BlockState,
}

impl Block<'_> {
    /// Completes the results of the block by the method that it waits for, or sets the method of the pass that will
    /// complete them.
    pub(super) fn mine(self, scratch: &mut BlockScratch) {
        let BlockScratch { words, rows, constants, windows, hits, similarities, closest, several } = scratch;
        let buffers =
            BlockBuffers { words: words.aligned(), scratch: rows.aligned(), constants, windows, hits, similarities };
        if self.task.kept() == 1 {
            ListedBlock::new(self, buffers, closest).mine();
        } else {
            ListedBlock::new(self, buffers, several).mine();
        }
    }

    /// The pairs of its rows with all candidates.
    pub(super) fn pairs(&self) -> PairsOf<'_> {
        let Block { call, task, candidates, first, norms, .. } = self;
        let anchors = NormedRows { rows: call.sides.anchors.range(*first, norms.len()), norms };
        let candidates = NormedRows { rows: candidates.rows, norms: candidates.norms };
        let (first, rules) = (*first, task.rules());
        PairsOf { backend: call.backend, anchors, first, candidates, first_candidate: 0, rules }
    }
}

/// What a block borrows from its thread's scratch, but for the lists.
pub(super) struct BlockBuffers<'a> {
    pub(super) words: &'a mut [u32],
    pub(super) scratch: &'a mut [f32],
    pub(super) constants: &'a mut [AnchorConstants; MAX_BLOCK],
    pub(super) windows: &'a mut [Window; MAX_BLOCK],
    pub(super) hits: &'a mut PanelHits,
    pub(super) similarities: &'a mut Similarities,
}

/// A block with the lists of its rows.
pub(super) struct ListedBlock<'a, P: Pairs> {
    pub(super) block: Block<'a>,
    pub(super) buffers: BlockBuffers<'a>,
    pub(super) lists: &'a mut [RowList<P>],
    /// How many rows were given up, for exact tiles.
    pub(super) given_up: usize,
    /// The candidate up to which all were screened.
    pub(super) screened: usize,
}

/// How the screen of a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All candidates were screened: what is left of the pairs is on the lists.
    Listed,
    /// The block waits for a finer screen.
    Deferred,
    /// So many pairs are left that computing all of them in exact tiles is cheaper.
    LeftToTiles,
}

impl<'a, P: Pairs> ListedBlock<'a, P> {
    fn new(block: Block<'a>, buffers: BlockBuffers<'a>, lists: &'a mut [RowList<P>]) -> ListedBlock<'a, P> {
        let lists = &mut lists[..block.norms.len()];
        let screened = block.candidates.first;
        ListedBlock { block, buffers, lists, given_up: 0, screened }
    }

    fn mine(self) {
        match self.block.state.method {
            Method::Screen(format) => self.mine_screened(format),
            Method::Exact => self.mine_exactly(),
        }
    }

    /// Screens the block against all candidates, and completes its results; or sets the finer screen of the pass that
    /// will complete it. Where the screen leaves too many pairs, exact tiles take over.
    fn mine_screened(mut self, format: Format) {
        self.pack_rows(format);
        self.open_rows(format);
        let mut outcome = self.screen(format);
        if outcome == Outcome::Listed {
            outcome = self.finish_rows(format);
        }
        if outcome == Outcome::LeftToTiles {
            self.block.state.done = true;
            self.search_rest(0..self.lists.len());
        }
        // Also those of a screen that was given up.
        for list in &*self.lists {
            self.block.state.screening.count_single_pairs(list.scored());
        }
    }

    /// Computes all pairs exactly, and completes the block's results.
    fn mine_exactly(mut self) {
        let rows = self.lists.len();
        self.block.state.done = true;
        for (row, list) in self.lists.iter_mut().enumerate() {
            list.open_search(self.block.task.admissible(row));
        }
        let searched = self.search_from(0..rows, self.block.candidates.first);
        for (row, list) in self.lists.iter_mut().enumerate() {
            self.block.task.write(row, list.search().sorted());
        }
        self.count(Method::Exact, rows, searched);
    }

    /// The raw rows of the block.
    fn rows(&self) -> &'a [f32] {
        let anchors = self.block.call.sides.anchors;
        anchors.range(self.block.first, self.lists.len()).data()
    }

    /// Packs the rows as the tiles read them.
    #[inline(never)]
    fn pack_rows(&mut self, format: Format) {
        const { assert!(MAX_BLOCK.is_multiple_of(ROW_UNIT)) }
        let Call { backend, .. } = *self.block.call;
        let (dim, width) = (self.block.candidates.rows.dim(), format.tile_anchors(backend));
        debug_assert!(MAX_BLOCK.is_multiple_of(width));
        let padded = self.lists.len().next_multiple_of(ROW_UNIT).next_multiple_of(width);
        let rows = RawRows { rows: self.rows(), norms: self.block.norms, dim };
        let words_per_row = format.steps(dim);
        for (first, group) in rows.groups(MAX_LANES) {
            let panels = &mut self.buffers.words[..padded * words_per_row];
            let target = PanelTarget { panels, width, padded, words_per_row, first };
            let (params, scratch) = (self.block.candidates.params, &mut *self.buffers.scratch);
            let constants = pack_anchors(backend, format, group, params, scratch, target);
            self.buffers.constants[first..first + MAX_LANES].copy_from_slice(&constants);
        }
    }

    /// Opens the window of every row, and closes those of the rest of the last tile.
    fn open_rows(&mut self, format: Format) {
        let Block { task, candidates, first, norms, .. } = &self.block;
        let rows = self.lists.len();
        for (row, list) in self.lists.iter_mut().enumerate() {
            let constants = &self.buffers.constants[row];
            let units = ScreenUnits { unit: unit(format), shift: constants.shift };
            let longest = candidates.extremes.longest(constants);
            let mut window = list.open(task.admissible(row), units, longest);
            if norms[row] == 0.0 {
                let met = candidates.first..candidates.rows.count();
                window = list.settle_zero_row(met, &task.rules().row(*first + row));
            }
            self.buffers.windows[row] = window;
        }
        self.buffers.windows[rows..].fill(Window::CLOSED);
    }

    /// What computing pairs exactly costs; nothing where the block must keep its screen.
    pub(super) fn exact_costs(&self) -> Option<ExactCosts> {
        let Block { call, candidates, .. } = &self.block;
        let costs = || ExactCosts::new(candidates.count(), candidates.rows.dim(), call.backend.traits().costs.exact);
        call.screens.methods.contains(Method::Exact).then(costs)
    }

    /// Completes every row. First the best pairs of every list, which rule out most of the others, then those that are
    /// left, each while the next row's are fetched; then the rows that were given up.
    #[inline(never)]
    fn finish_rows(&mut self, format: Format) -> Outcome {
        let (rows, candidates) = (self.lists.len(), self.block.candidates.rows);
        for row in 0..rows {
            if row == 0 {
                self.lists[0].close(&mut self.buffers.windows[0]);
            }
            if let Some(next) = self.lists.get_mut(row + 1) {
                next.close(&mut self.buffers.windows[row + 1]);
                next.prefetch_best(candidates);
            }
            let exact = self.block.pairs().of_row(row);
            self.lists[row].score_best(&exact, &mut self.buffers.windows[row]);
        }
        let listed = self.lists.iter().map(RowList::length).sum();
        if self.exact_costs().is_some_and(|costs| costs.lists_lose(rows, listed, self.runs_given_up())) {
            return Outcome::LeftToTiles;
        }
        let (mut finished, mut survivors) = (0, 0);
        for row in 0..rows {
            if let Some(next) = self.lists.get(row + 1) {
                next.prefetch(candidates);
            }
            let exact = self.block.pairs().of_row(row);
            let list = &mut self.lists[row];
            if !list.is_given_up() {
                list.finish(&exact, &mut self.buffers.windows[row]);
                self.block.task.write(row, list.search().sorted());
                survivors = list.scored().saturating_add(survivors);
                finished += 1;
            }
        }
        self.count(Method::Screen(format), finished, survivors);
        self.search_given_up_rows();
        self.block.state.done = true;
        Outcome::Listed
    }

    /// The rows that were given up: how many follow each other, and after how many candidates they were.
    pub(super) fn runs_given_up(&self) -> impl Iterator<Item = (usize, usize)> + Clone {
        let runs = self.lists.chunk_by(|one, next| one.is_given_up() == next.is_given_up());
        let runs = runs.filter(|run| run[0].is_given_up());
        let first = self.block.candidates.first;
        runs.map(move |run| (run.len(), run.iter().map(|list| list.given_up_at() - first).min().unwrap_or(0)))
    }

    /// Searches the rows that were given up, those that follow each other together.
    fn search_given_up_rows(&mut self) {
        let (mut row, rows) = (0, self.lists.len());
        while row < rows {
            let run = self.lists[row..rows].iter().take_while(|list| list.is_given_up()).count();
            if run > 0 {
                self.search_rest(row..row + run);
            }
            row += run.max(1);
        }
    }

    /// Completes some rows, of which the screen leaves too many pairs: those with the last candidates are computed in
    /// exact tiles, as many as it takes that few others are left on the lists.
    #[inline(never)]
    fn search_rest(&mut self, rows: Range<usize>) {
        for row in rows.clone() {
            self.lists[row].close(&mut self.buffers.windows[row]);
        }
        let first = self.first_in_tiles(rows.clone());
        for row in rows.clone() {
            self.lists[row].leave_to_tiles(first);
        }
        let mut computed = self.search_from(rows.clone(), first);
        for row in rows.clone() {
            let exact = self.block.pairs().of_row(row);
            let (list, window) = (&mut self.lists[row], &mut self.buffers.windows[row]);
            let before = list.scored();
            list.raise_to_found(window);
            list.close(window);
            list.score_best(&exact, window);
            list.finish(&exact, window);
            computed = (list.scored() - before).saturating_add(computed);
            self.block.task.write(row, list.search().sorted());
        }
        self.count(Method::Exact, rows.len(), computed);
    }

    /// The candidate from which on the pairs of some rows are computed in exact tiles.
    fn first_in_tiles(&self, rows: Range<usize>) -> usize {
        let first = self.block.candidates.first;
        let Some(costs) = self.exact_costs() else { return first };
        let lists = &self.lists[rows.clone()];
        let latest = lists.iter().map(RowList::given_up_at).fold(self.screened, usize::min);
        let before = lists.iter().map(|list| list.candidates().filter(|&candidate| candidate < latest).count());
        first + costs.first_in_tiles(rows.len(), latest - first, before.sum())
    }

    /// Counts rows that were completed. Of rows whose candidates are divided, the first part does.
    fn count(&mut self, method: Method, rows: usize, survivors: usize) {
        let rows = if self.block.candidates.first == 0 { rows } else { 0 };
        self.block.state.screening.count(method, rows, survivors);
    }

    /// Searches some rows among their pairs with the candidates from `first` on, in exact tiles. Returns about how
    /// many of them are no pairs with a positive.
    #[inline(never)]
    fn search_from(&mut self, rows: Range<usize>, first: usize) -> usize {
        let count = self.block.candidates.rows.count() - first;
        self.block.pairs().search(rows.start, first, &mut self.lists[rows.clone()], self.buffers.similarities);
        self.block.state.screening.count_pairs(Method::Exact, rows.len().saturating_mul(count));
        rows.len().saturating_mul(count.saturating_sub(1))
    }
}

/// Completes rows whose candidates were divided, by what was found of each row in every part.
pub(super) fn merge_parts(task: &mut Task<'_>, parts: &PartResults<'_>, scratch: &mut BlockScratch) {
    if task.kept() == 1 {
        merge_by(&mut scratch.closest[0], task, parts);
    } else {
        merge_by(&mut scratch.several[0], task, parts);
    }
}

/// [`merge_parts`] by searches of one list.
fn merge_by<P: Pairs>(list: &mut RowList<P>, task: &mut Task<'_>, parts: &PartResults<'_>) {
    for row in 0..parts.rows {
        list.open_search(task.admissible(row));
        parts.found(row).for_each(|&found| list.search().put(found));
        task.write(row, list.search().sorted());
    }
}
