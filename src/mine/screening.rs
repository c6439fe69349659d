//! The screen of a block of anchors: its tiles with all candidates, panel by panel, and the decisions on the way.

use core::ops::Range;

use super::block::{ListedBlock, Outcome};
use crate::candidates::Candidates;
use crate::kernels::{Format, PanelTiles, PrefetchPlan, TilePlace, find_hits};
use crate::screen::{CostModel, Method, PairBudget, Pairs, RowList, exact_tile_cost, is_checkpoint, packing_cost};

impl<'a, P: Pairs> ListedBlock<'a, P> {
    /// Computes the block's tiles panel by panel: each panel is read from memory once, and then from the cache.
    #[inline(never)]
    pub(super) fn screen(&mut self, format: Format) -> Outcome {
        let rows = self.lists.len();
        let Candidates { rows: candidates, first, .. } = self.block.candidates;
        let (dim, count) = (candidates.dim(), candidates.count());
        let width = format.panel_width(self.block.call.backend);
        let fewest = self.lists.first().map_or(0, RowList::fewest_scored);
        let costs = self.exact_costs();
        let mut budget = costs
            .map_or(PairBudget::UNLIMITED, |costs| costs.budget(rows, fewest, self.block.state.screening.single_pairs));
        let closed = self.buffers.windows[..rows].iter().filter(|window| window.is_closed()).count();
        let panels = self.block.candidates.panels.len().div_ceil(width * format.words_per_candidate(dim));
        let prefetch = self.prefetch_plan(format, panels);
        let mut seen = 0;
        // Once every row is known or was given up, nothing can be hit any more.
        while seen < panels && closed + self.given_up < rows {
            let end = (seen + 1..panels).find(|&panels| is_checkpoint(panels, width)).unwrap_or(panels);
            seen = self.screen_panels(format, seen..end, rows - closed, &prefetch, &mut budget);
            let screened = count.min(first + seen * width);
            let pairs = rows * (screened - self.screened);
            self.block.state.screening.count_pairs(Method::Screen(format), pairs);
            self.screened = screened;
            if is_checkpoint(seen, width) {
                let outcome = self.compare_costs(format, seen * width);
                if outcome != Outcome::Listed {
                    return outcome;
                }
            }
        }
        Outcome::Listed
    }

    /// What the tiles on so many panels fetch.
    fn prefetch_plan(&self, format: Format, panels: usize) -> PrefetchPlan<'a> {
        let (anchors, rows) = (self.block.call.sides.anchors, self.lists.len());
        let (dim, next) = (anchors.dim(), self.block.first + rows);
        let read_first = if next < anchors.count() { self.block.task.rows_read_first(next) } else { &[] };
        PrefetchPlan {
            panels,
            width: format.panel_width(self.block.call.backend),
            next_rows: [&anchors.data()[next * dim..], read_first],
            block_len: rows * dim,
            steps: format.steps(dim),
            tiles: rows.div_ceil(format.tile_anchors(self.block.call.backend)),
        }
    }

    /// Compares the costs of the rest of the block's work after so many candidates: whether to go on
    /// ([`Outcome::Listed`]), to set a finer screen and wait for its pass, or to compute all pairs exactly.
    #[inline(never)]
    fn compare_costs(&mut self, format: Format, screened: usize) -> Outcome {
        let (candidates, methods) = (self.block.candidates, self.block.call.screens.methods);
        let (count, dim) = (candidates.count(), candidates.rows.dim());
        if Method::Screen(format) == methods.last() || screened >= count {
            return Outcome::Listed;
        }
        let rows = self.lists.len();
        let costs = self.exact_costs().filter(|_| self.given_up > 0);
        let given_up = costs.map(|costs| costs.runs(self.runs_given_up()));
        let (mut listed, mut doubtful, mut scored, mut screened_rows) = (0, 0, 0, 0);
        for list in &*self.lists {
            listed += list.length();
            if !list.is_given_up() {
                doubtful += list.doubtful();
                scored += list.scored();
                screened_rows += 1;
            }
        }
        let (backend, is_packed) = (self.block.call.backend, self.block.call.bank.is_some());
        let of_set = backend.traits().costs;
        let mean = |sum: usize| sum as f64 / f64::from(screened_rows.max(1));
        let (screened, count, constants) = (screened as f64, count as f64, &self.buffers.constants[..rows]);
        let float_bound = candidates.params.float_bound;
        let [int16_share, float32_share] = candidates.extremes.shares(format, constants, dim, float_bound);
        let model = CostModel {
            format,
            dim: dim as f64,
            screened,
            done: self.block.state.screening,
            rows: rows as f64,
            candidates: count,
            doubtful: mean(doubtful) * count / screened,
            scored: mean(scored),
            listed: listed as f64 / rows as f64,
            given_up: given_up.map(|cost| cost / rows as f64),
            int16_share,
            float32_share,
            screening: of_set.screening,
            packing: if is_packed { 0.0 } else { packing_cost(backend) / rows as f64 },
            exact_cost: exact_tile_cost(of_set.exact, dim),
        };
        match model.cheapest(methods) {
            // Most pairs of a list that never was full may have fallen below the window.
            Method::Exact if self.prune_lists() => self.compare_costs(format, screened as usize),
            Method::Exact => Outcome::LeftToTiles,
            method if method == Method::Screen(format) => Outcome::Listed,
            method => {
                self.block.state.method = method;
                Outcome::Deferred
            }
        }
    }

    /// Drops the pairs of all lists that have fallen below the windows. Whether there were any.
    fn prune_lists(&mut self) -> bool {
        let mut dropped = 0;
        for (list, window) in self.lists.iter_mut().zip(&mut *self.buffers.windows) {
            let before = list.length();
            list.close(window);
            dropped += before - list.length();
        }
        dropped > 0
    }

    /// Computes every tile of this block's anchors and some panels, and puts their hits on the lists; up to the panel on which
    /// the last of `open` rows is given up. Returns the panel behind.
    fn screen_panels(
        &mut self,
        format: Format,
        panels: Range<usize>,
        open: usize,
        prefetch: &PrefetchPlan<'_>,
        budget: &mut PairBudget,
    ) -> usize {
        let (backend, pairs) = (self.block.call.backend, self.block.pairs());
        let Candidates { first, panels: words, .. } = self.block.candidates;
        let mut at = TilePlace { panel: panels.start, tile: 0 };
        while at.tile > 0 || at.panel < panels.end && self.given_up < open {
            let panel_tiles = PanelTiles {
                dim: pairs.candidates.rows.dim(),
                anchors: &*self.buffers.words,
                rows: self.lists.len(),
                constants: &*self.buffers.constants,
                windows: &*self.buffers.windows,
                panels: words,
                end: panels.end,
                prefetch,
            };
            at = find_hits(backend, format, &panel_tiles, at, self.buffers.hits);
            // The windows of rows beyond the last are closed, so that these have no hits.
            while let Some(hits) = self.buffers.hits.next_row() {
                let (list, window) = (&mut self.lists[hits.row], &mut self.buffers.windows[hits.row]);
                let first = first + hits.panel * prefetch.width;
                list.add(hits, first, &pairs, window, budget);
                self.given_up += usize::from(list.is_given_up());
            }
        }
        at.panel
    }
}
