//! The screen of small batches, and of few anchors among many candidates: similarities in `f32` of rows as they lie in
//! memory, a few anchors with some hundred candidates at a time. Most often they leave a pair of an anchor, or none, to be
//! computed exactly.

use super::plan::MinePlan;
use crate::batch::Batch;
use crate::exact::PairsOf;
use crate::kernels::{
    CandidateBits, Format, MOST_SEEKING, MOST_SIMILAR, NearSimilarities, NormedRows, ScaledRows, Similarities, Sought,
    approximate, find_likely, inverse,
};
use crate::parallel::Join;
use crate::row_stats::{ClosestSearch, Search};
use crate::screen::{Method, Screen, ScreenPlan, Screening, row_bound};

/// The norms of rows whose products in `f32`, and those of their elements that matter, neither overflow nor underflow.
const NORMS: core::ops::RangeInclusive<f64> = 1e-12..=1e12;

/// Of so many pairs, one may be left by the screen; where more are left, all are computed in exact tiles.
const RULED_OUT: usize = 4;

/// The bytes of the candidates that are met by all anchors at once, which stay in the second-level cache.
const GROUP_BYTES: usize = 128 << 10;

/// How many candidates of `dim` elements, which are not widened, are met by all anchors at once.
pub(super) fn screened_rows(dim: usize) -> usize {
    /// Whole tiles of every instruction set, also of those in which all pairs are computed.
    const UNIT: usize = 12;
    (GROUP_BYTES / (4 * dim)).clamp(UNIT, MOST_SIMILAR) / UNIT * UNIT
}

/// Whether rows are screened as they lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowScreen {
    /// All pairs are computed in exact tiles.
    Off,
    /// Unless that leaves too many pairs.
    Auto,
    /// However many pairs that leaves, as long as norms are in range.
    Always,
}

impl RowScreen {
    /// How a batch is screened, if it is a small one, on the calling thread.
    pub(super) fn of_small(plan: MinePlan, batch: &Batch<'_>) -> Option<RowScreen> {
        let MinePlan { backend, screen, threads, .. } = plan;
        if batch.bank().is_some() {
            return None;
        }
        let shape = batch.sides().shape();
        let unpacked = screen.nanoseconds_unpacked(backend, shape);
        if unpacked.is_some_and(|nanoseconds| threads.join(nanoseconds) == Join::Serial) {
            return Some(if screen == Screen::Auto { RowScreen::Auto } else { RowScreen::Always });
        }
        screen.is_small(backend, shape).then_some(RowScreen::Off)
    }

    /// How the pairs of a call that takes one pass over the candidates are screened.
    pub(super) fn of_pass(screens: ScreenPlan) -> RowScreen {
        match (screens.is_unpacked, screens.methods.contains(Method::Exact)) {
            (false, _) => RowScreen::Off,
            (true, true) => RowScreen::Auto,
            (true, false) => RowScreen::Always,
        }
    }
}

/// The search for the closest negatives of some anchors, among some candidates after the others.
pub(super) struct RowSearch<'a> {
    pub(super) screen: RowScreen,
    pub(super) near: &'a mut NearSimilarities,
    pub(super) similarities: &'a mut Similarities,
    /// What was done so far, but for how rows end.
    pub(super) counts: Screening,
    /// How many of the anchors, the first ones, were screened to the end.
    pub(super) screened: usize,
}

impl RowSearch<'_> {
    /// A search of the pairs of so many anchors.
    pub(super) fn new<'a>(
        screen: RowScreen,
        anchors: usize,
        near: &'a mut NearSimilarities,
        similarities: &'a mut Similarities,
    ) -> RowSearch<'a> {
        RowSearch { screen, near, similarities, counts: Screening::default(), screened: anchors }
    }

    /// Searches all pairs. `widens` says that there is memory for widened rows.
    pub(super) fn search(&mut self, pairs: &PairsOf<'_>, searches: &mut [ClosestSearch], widens: bool) {
        let searched = self.screen_anchors(pairs, searches);
        self.screened = self.screened.min(searched);
        let left = &mut searches[searched..];
        if left.is_empty() {
            return;
        }
        self.counts.count_pairs(Method::Exact, left.len().saturating_mul(pairs.candidates.rows.count()));
        if widens {
            pairs.search(searched, 0, left, self.similarities);
        } else {
            pairs.search_unwidened(searched, 0, left, self.similarities);
        }
    }

    /// Screens anchors until there are none, or some have too many pairs left or norms that are out of range. Returns how many
    /// were completed.
    fn screen_anchors(&mut self, pairs: &PairsOf<'_>, searches: &mut [ClosestSearch]) -> usize {
        let NormedRows { rows, norms } = pairs.candidates;
        let mut scales = [0.0; MOST_SIMILAR];
        if self.screen == RowScreen::Off || !write_scales(norms, &mut scales) {
            return 0;
        }
        let candidates = ScaledRows { rows, scales: &scales[..norms.len()] };
        for (block, searches) in searches.chunks_mut(MOST_SEEKING).enumerate() {
            if !self.screen_block(pairs, block * MOST_SEEKING, candidates, searches) {
                return block * MOST_SEEKING;
            }
        }
        searches.len()
    }

    /// Screens some anchors, the first of which is anchor `first`. Whether their norms are in range and few enough pairs are
    /// left, which were computed.
    fn screen_block(
        &mut self,
        pairs: &PairsOf<'_>,
        first: usize,
        candidates: ScaledRows<'_>,
        searches: &mut [ClosestSearch],
    ) -> bool {
        let (rows, count) = (searches.len(), candidates.rows.count());
        let mut scales = [0.0; MOST_SEEKING];
        if !write_scales(&pairs.anchors.norms[first..][..rows], &mut scales) {
            return false;
        }
        let anchors = ScaledRows { rows: pairs.anchors.rows.range(first, rows), scales: &scales[..rows] };
        approximate(pairs.backend, anchors, candidates, self.near);
        self.counts.count_pairs(Method::Screen(Format::Float32), rows * count);
        let mut sought = [Sought::ALL; MOST_SEEKING];
        for (row, (sought, search)) in sought.iter_mut().zip(&*searches).enumerate() {
            *sought = Sought { above: search.entry_similarity(), up_to: search.admissible().high };
            rule_out(pairs, first + row, count, &mut self.near.0[row]);
        }
        let error = row_bound(candidates.rows.dim());
        let likely = find_likely(pairs.backend, self.near, count, &sought[..rows], error);
        let left = likely.iter().flatten().map(|bits| bits.count_ones() as usize).sum::<usize>();
        if left * RULED_OUT > rows * count && self.screen == RowScreen::Auto {
            // The candidates to come will not be ruled out either.
            self.screen = RowScreen::Off;
            return false;
        }
        for (row, (search, likely)) in searches.iter_mut().zip(&likely).enumerate() {
            compute(pairs, first + row, likely, search);
        }
        self.counts.count_single_pairs(left);
        true
    }

    /// Counts pairs of all anchors that were computed in tiles elsewhere.
    pub(super) fn count_tiles(&mut self, pairs: usize) {
        self.screened = 0;
        self.counts.count_pairs(Method::Exact, pairs);
    }

    /// The counts of a call over `batch`, all of which was searched.
    pub(super) fn counts_of(mut self, batch: &Batch<'_>) -> Screening {
        let (screened, left) = (self.screened, batch.rows() - self.screened);
        self.counts.count(Method::Screen(Format::Float32), screened, self.counts.single_pairs);
        self.counts.count(Method::Exact, left, left.saturating_mul(batch.negatives()));
        self.counts
    }
}

/// Writes the factors that scale rows to norm 1. Whether all products are in range.
fn write_scales(norms: &[f64], scales: &mut [f32]) -> bool {
    let mut in_range = true;
    for (&norm, scale) in norms.iter().zip(scales) {
        *scale = inverse(norm) as f32;
        in_range &= norm == 0.0 || NORMS.contains(&norm);
    }
    in_range
}

/// Takes the candidates out that are no negatives of an anchor.
fn rule_out(pairs: &PairsOf<'_>, row: usize, count: usize, similarities: &mut [f32; MOST_SIMILAR]) {
    for first in (0..count).step_by(64) {
        let run = u64::MAX >> (64 - (count - first).min(64));
        let mut excluded = pairs.excluded(row, first, run);
        while excluded != 0 {
            similarities[first + excluded.trailing_zeros() as usize] = f32::NEG_INFINITY;
            excluded &= excluded - 1;
        }
    }
}

/// Computes some pairs of an anchor exactly, and offers them to its search. One by one: two rows are converted to `f64` as
/// fast as several pairs hide each other's latency.
fn compute(pairs: &PairsOf<'_>, row: usize, likely: &CandidateBits, search: &mut ClosestSearch) {
    let exact = pairs.of_row(row);
    for (word, &bits) in likely.iter().enumerate() {
        let mut bits = bits;
        while bits != 0 {
            let index = 64 * word + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let [similarity] = exact.cosines([index]);
            search.offer_negative(pairs.first_candidate + index, similarity);
        }
    }
}
