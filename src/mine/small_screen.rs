//! The screen of small batches: similarities in `f32` of rows as they lie in memory, a few anchors with all candidates at a
//! time. Most often they leave one pair of an anchor to be computed exactly.

use super::plan::MinePlan;
use crate::batch::Batch;
use crate::exact::PairsOf;
use crate::kernels::{
    CandidateBits, Format, MOST_SEEKING, MOST_SIMILAR, NearSimilarities, ScaledRows, Similarities, approximate,
    find_likely, inverse,
};
use crate::parallel::Join;
use crate::row_stats::{ClosestSearch, Search};
use crate::screen::{Method, Screen, Screening, row_bound};

/// The norms of rows whose products in `f32`, and those of their elements that matter, neither overflow nor underflow.
const NORMS: core::ops::RangeInclusive<f64> = 1e-12..=1e12;

/// Of so many pairs, one may be left by the screen; where more are left, all are computed in exact tiles.
const RULED_OUT: usize = 4;

/// How a small batch is screened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SmallScreen {
    /// Not at all: all pairs are computed in exact tiles.
    Nothing,
    /// Unless it leaves too many pairs.
    Auto,
    /// However many pairs it leaves.
    Always,
}

impl SmallScreen {
    /// How a batch is screened, if it is a small one, on the calling thread.
    pub(super) fn of(plan: MinePlan, batch: &Batch<'_>) -> Option<SmallScreen> {
        let MinePlan { backend, screen, threads, .. } = plan;
        if batch.bank().is_some() {
            return None;
        }
        let shape = batch.sides().shape();
        let unpacked = screen.nanoseconds_unpacked(backend, shape);
        if unpacked.is_some_and(|nanoseconds| threads.join(nanoseconds) == Join::Serial) {
            return Some(if screen == Screen::Auto { SmallScreen::Auto } else { SmallScreen::Always });
        }
        screen.is_small(backend, shape).then_some(SmallScreen::Nothing)
    }
}

/// Searches all pairs. Returns the counts of what was done.
pub(super) fn search(
    pairs: &PairsOf<'_>,
    screen: SmallScreen,
    searches: &mut [ClosestSearch],
    near: &mut NearSimilarities,
    similarities: &mut Similarities,
) -> Screening {
    let mut counts = Screening::default();
    let searched = screen_anchors(pairs, screen, searches, near, &mut counts);
    let left = &mut searches[searched..];
    if !left.is_empty() {
        pairs.search(searched, 0, left, similarities);
        let (rows, candidates) = (left.len(), pairs.candidates.rows.count());
        let negatives = candidates - usize::from(pairs.rules.positives.index(0).is_some());
        counts.count(Method::Exact, rows, rows * negatives);
        counts.count_pairs(Method::Exact, rows * candidates);
    }
    counts
}

/// Screens anchors until there are none, or too many pairs of some are left. Returns how many were completed.
fn screen_anchors(
    pairs: &PairsOf<'_>,
    screen: SmallScreen,
    searches: &mut [ClosestSearch],
    near: &mut NearSimilarities,
    counts: &mut Screening,
) -> usize {
    let (anchors, candidates, format) = (pairs.anchors, pairs.candidates, Method::Screen(Format::Float32));
    let (count, error) = (candidates.rows.count(), row_bound(candidates.rows.dim()));
    let mut scales = [0.0; MOST_SIMILAR];
    if screen == SmallScreen::Nothing || !write_scales(candidates.norms, &mut scales) {
        return 0;
    }
    let candidates = ScaledRows { rows: candidates.rows, scales: &scales[..count] };
    for (block, searches) in searches.chunks_mut(MOST_SEEKING).enumerate() {
        let (first, rows) = (block * MOST_SEEKING, searches.len());
        let (mut scales, mut limits) = ([0.0; MOST_SEEKING], [0.0; MOST_SEEKING]);
        if !write_scales(&anchors.norms[first..][..rows], &mut scales) {
            return first;
        }
        let anchors = ScaledRows { rows: anchors.rows.range(first, rows), scales: &scales[..rows] };
        approximate(pairs.backend, anchors, candidates, near);
        counts.count_pairs(format, rows * count);
        for (row, (limit, search)) in limits.iter_mut().zip(&*searches).enumerate() {
            *limit = search.admissible().high;
            rule_out(pairs, first + row, count, &mut near.0[row]);
        }
        let likely = find_likely(pairs.backend, near, count, &limits[..rows], error);
        let left = likely.iter().flatten().map(|bits| bits.count_ones() as usize).sum::<usize>();
        if left * RULED_OUT > rows * count && screen == SmallScreen::Auto {
            return first;
        }
        for (row, (search, likely)) in searches.iter_mut().zip(&likely).enumerate() {
            compute(pairs, first + row, likely, search);
        }
        counts.count(format, rows, left);
        counts.count_single_pairs(left);
    }
    anchors.norms.len()
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
            search.offer_negative(index, similarity);
        }
    }
}
