//! The screen of a block of anchors: its tiles with all candidates, panel by panel, and the decisions on the way.

use super::block::{ListedBlock, Outcome};
use crate::candidates::Candidates;
use crate::kernels::{Format, PanelTiles, PrefetchPlan, find_hits};
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
        let panels = self.block.candidates.panels.chunks(width * format.words_per_candidate(dim));
        for (panel, words) in panels.clone().enumerate() {
            // Every row is known or was given up: nothing can be hit any more.
            if closed + self.given_up == rows {
                break;
            }
            let next_panel = panels.clone().nth(panel + 1);
            let prefetch = self.prefetch_plan(format, next_panel, panels.len() - 1 - panel);
            let start = first + panel * width;
            self.screen_panel(format, words, start, &prefetch, &mut budget);
            let present = width.min(count - start);
            self.block.state.screening.count_pairs(Method::Screen(format), rows * present);
            self.screened = start + present;
            let seen = panel + 1;
            if is_checkpoint(seen, width) {
                let outcome = self.compare_costs(format, seen * width);
                if outcome != Outcome::Listed {
                    return outcome;
                }
            }
        }
        Outcome::Listed
    }

    /// What the tiles on one panel fetch.
    fn prefetch_plan(&self, format: Format, next_panel: Option<&'a [u32]>, panels_left: usize) -> PrefetchPlan<'a> {
        let (anchors, rows) = (self.block.call.sides.anchors, self.lists.len());
        let (dim, next) = (anchors.dim(), self.block.first + rows);
        let read_first = if next < anchors.count() { self.block.task.rows_read_first(next) } else { &[] };
        PrefetchPlan {
            next_panel,
            width: format.panel_width(self.block.call.backend),
            panels_left,
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

    /// Computes every tile of this block's anchors and one panel, whose first candidate is `first`, and puts their hits on
    /// the lists.
    fn screen_panel(
        &mut self,
        format: Format,
        panel: &[u32],
        first: usize,
        prefetch: &PrefetchPlan<'_>,
        budget: &mut PairBudget,
    ) {
        let (backend, pairs) = (self.block.call.backend, self.block.pairs());
        let rows = self.lists.len();
        let (mut tile, tiles) = (0, rows.div_ceil(format.tile_anchors(backend)));
        while tile < tiles {
            let panel_tiles = PanelTiles {
                dim: pairs.candidates.rows.dim(),
                anchors: &*self.buffers.words,
                rows,
                constants: &*self.buffers.constants,
                windows: &*self.buffers.windows,
                panel,
                prefetch,
            };
            tile = find_hits(backend, format, &panel_tiles, tile, self.buffers.hits);
            // The windows of rows beyond the last are closed, so that these have no hits.
            while let Some(hits) = self.buffers.hits.next_row() {
                let (list, window) = (&mut self.lists[hits.row], &mut self.buffers.windows[hits.row]);
                list.add(hits, first, &pairs, window, budget);
                self.given_up += usize::from(list.is_given_up());
            }
        }
    }
}
