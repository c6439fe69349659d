//! The screen of a block of anchors: its tiles with all candidates, panel by panel, and the decisions on the way.

use core::marker::PhantomData;

use super::block::{AnchorBlock, Outcome, exact_row};
use super::pass::PassContext;
use super::task::Task;
use crate::arch::Simd;
use crate::screen::{
    AnchorConstants, CostModel, ExactCosts, Format, HitSink, Intervals, OpenRow, PairBudget, Precision, Prefetch,
    PrefetchPlan, RowList, ScreenTile, Tile, Window, exact_tile_cost, is_checkpoint,
};

impl<'a, T: Task> AnchorBlock<'a, T> {
    /// Computes the block's tiles panel by panel: each panel is read from memory once, and then from the cache.
    #[inline(always)]
    pub(super) fn screen<S: Simd, F: Format>(&mut self, simd: S) -> Outcome {
        let dim = self.context.candidates.rows.dim();
        let width = S::TILE_REGISTERS * S::F32_LANES;
        let wanted = self.lists.first().map_or(0, RowList::wanted);
        let costs = self.exact_costs::<S>();
        let mut budget = costs.map_or(PairBudget::UNLIMITED, |costs| {
            costs.budget(self.norms.len(), wanted, self.state.screening.single_pairs)
        });
        if self.windows[..self.norms.len()].iter().all(|window| window.is_closed()) {
            return Outcome::Screened;
        }
        // The rows given up when the number of screened panels was a power of two.
        let mut given_up = 0;
        let panels = self.context.candidates.panels.chunks(width * F::words_per_candidate(dim));
        for (panel, words) in panels.clone().enumerate() {
            let next_panel = panels.clone().nth(panel + 1);
            let prefetch = self.prefetch_plan::<S, F>(next_panel, panels.len() - 1 - panel);
            self.screen_panel::<S, F>(simd, words, panel * width, prefetch, &mut budget);
            let present = width.min(self.context.candidates.rows.count() - panel * width);
            self.state.screening.count_pairs(F::PRECISION, self.norms.len() * present);
            self.covered = panel * width + present;
            let recent = if panel == 0 { 0 } else { self.given_up - given_up };
            if self.given_up > given_up && costs.is_some_and(|costs| self.screen_loses::<F>(costs, recent)) {
                return Outcome::Hopeless;
            }
            let seen = panel + 1;
            if seen.is_power_of_two() {
                given_up = self.given_up;
            }
            if is_checkpoint(seen) {
                let outcome = self.compare_costs::<S, F>(seen * width);
                if outcome != Outcome::Screened {
                    return outcome;
                }
            }
        }
        Outcome::Screened
    }

    /// Whether so many rows were given up that tiles are the better end, `recent` of them since about half as many
    /// candidates were screened.
    fn screen_loses<F: Format>(&self, costs: ExactCosts, recent: usize) -> bool {
        costs.screen_loses(self.norms.len(), self.covered, F::PRECISION, recent, self.runs_given_up())
    }

    /// What the tiles on one panel fetch.
    #[inline(always)]
    fn prefetch_plan<S: Simd, F: Format>(&self, next_panel: Option<&'a [u32]>, panels_left: usize) -> PrefetchPlan<'a> {
        let PassContext { anchors, ref task, .. } = *self.context;
        let (dim, rows) = (anchors.dim(), self.norms.len());
        let next = self.first + rows;
        let read_first = if next < anchors.count() { task.read_first(next) } else { &[] };
        PrefetchPlan {
            next_panel,
            panels_left,
            next_rows: [&anchors.data()[next * dim..], read_first],
            block_len: rows * dim,
            steps: F::steps(dim),
            tiles: rows.div_ceil(S::TILE_ANCHORS),
        }
    }

    /// Compares the costs of the rest of the block's work after so many candidates: whether to go on, to set a finer
    /// precision and wait for its pass, or to compute all pairs exactly.
    fn compare_costs<S: Simd, F: Format>(&mut self, screened: usize) -> Outcome {
        let PassContext { candidates, precisions, .. } = *self.context;
        let (count, dim) = (candidates.rows.count(), candidates.rows.dim());
        if F::PRECISION == precisions.finest() || screened >= count {
            return Outcome::Screened;
        }
        let rows = self.norms.len();
        let listed: usize = self.lists[..rows].iter().map(RowList::length).sum();
        let costs = self.exact_costs::<S>().filter(|_| self.given_up > 0);
        let given_up = costs.map(|costs| costs.runs(self.runs_given_up()));
        let (mut doubtful, mut scored, mut rows_with_hope) = (0, 0, 0);
        for list in self.lists[..rows].iter().filter(|list| !list.is_hopeless()) {
            doubtful += list.doubtful();
            scored += list.scored();
            rows_with_hope += 1;
        }
        let mean = |sum: usize| sum as f64 / f64::from(rows_with_hope.max(1));
        let (screened, count) = (screened as f64, count as f64);
        let model = CostModel {
            precision: F::PRECISION,
            dim: dim as f64,
            screened,
            done: self.state.screening,
            rows: rows as f64,
            candidates: count,
            doubtful: mean(doubtful) * count / screened,
            scored: mean(scored),
            listed: listed as f64 / rows as f64,
            given_up: given_up.map(|cost| cost / rows as f64),
            int16_share: F::int16_share(&self.constants[..rows], candidates.extremes, dim),
            float32_share: F::float32_share(
                &self.constants[..rows],
                candidates.extremes,
                candidates.params.float_bound,
            ),
            exact_cost: exact_tile_cost(S::DOT_COST, dim),
        };
        match model.cheapest(precisions) {
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
        budget: &mut PairBudget,
    ) {
        let dim = self.context.candidates.rows.dim();
        let (steps, width) = (F::steps(dim), panel.len() / F::words_per_candidate(dim));
        let (candidates, constants) = panel.split_at(steps * width);
        let tiles = self.norms.len().div_ceil(S::TILE_ANCHORS);
        for (tile, anchors) in self.words.chunks_exact(S::TILE_ANCHORS * steps).take(tiles).enumerate() {
            let row = tile * S::TILE_ANCHORS;
            let prefetch = prefetch.of_tile::<S>(tile).unwrap_or(Prefetch::nothing(anchors));
            let mut sink = ListSink {
                simd,
                context: self.context,
                row: self.first + row,
                rows: &self.rows[row * dim..],
                norms: &self.norms[row..],
                lists: &mut self.lists[row..],
                windows: &mut self.windows[row..row + S::TILE_ANCHORS],
                constants: &self.constants[row..row + S::TILE_ANCHORS],
                first_candidate,
                budget: &mut *budget,
                given_up: &mut self.given_up,
            };
            let tile = Tile { anchors, candidates, constants, prefetch };
            let bounds = &mut self.bounds;
            let kernel = ScreenTile { tile, bounds, sink: &mut sink, format: PhantomData::<F> };
            simd.run_tile(S::TILE_ANCHORS.min(self.norms.len() - row), width / S::F32_LANES, kernel);
        }
    }
}

/// Puts the hits of a tile on the lists of its rows.
struct ListSink<'a, 'b, S, T: Task> {
    simd: S,
    context: &'b PassContext<'a, T>,
    /// The first row of the tile.
    row: usize,
    rows: &'a [f32],
    norms: &'b [f64],
    lists: &'b mut [T::List],
    windows: &'b mut [Window],
    constants: &'b [AnchorConstants],
    first_candidate: usize,
    budget: &'b mut PairBudget,
    /// The rows that were given up.
    given_up: &'b mut usize,
}

impl<S: Simd, T: Task> HitSink for ListSink<'_, '_, S, T> {
    #[inline(always)]
    fn rows(&self) -> (&[AnchorConstants], &[Window]) {
        (self.constants, self.windows)
    }

    #[inline(always)]
    fn take(&mut self, row: usize, intervals: Intervals<'_>) {
        let exact = exact_row(self.context, self.rows, self.norms, row);
        let (window, list) = (&mut self.windows[row], &mut self.lists[row]);
        let exclusion = self.context.task.of(self.row + row);
        let row = OpenRow { exact: &exact, window, budget: self.budget };
        list.add(self.simd, row, self.first_candidate, intervals, exclusion);
        *self.given_up += usize::from(list.is_hopeless());
    }
}
