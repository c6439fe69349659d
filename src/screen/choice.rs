//! Which screen pays: decided by a sample before the call, and again by what the first candidates showed.
//!
//! A cheaper screen leaves more pairs to be computed exactly. Which ones? Those that compete for the largest similarity
//! below the positive are few, and the fewer of a panel the more panels there were. But all pairs whose interval
//! reaches over the positive itself are left, and any candidate's does with about the same probability: next to none
//! where the positive stands above the bulk of the similarities, many where it stands inside.
//!
//! So that probability decides. It is estimated from the exact similarities of a few pairs before anything is prepared
//! ([`first_level`]), since preparing the candidates for a screen that does not pay is the larger part of what a wrong
//! choice costs. Under `Any` the positive decides nothing, and the cheapest screen begins. And each block of anchors
//! looks at it again after 1, 2, 4, 8, 16, 24, .. panels ([`Seen`]), and waits for a finer screen if what is left of
//! its work would cost less there.

use super::Level;
use super::center::Centers;
use super::quantize::i16_error;
use crate::arch::{Backend, Kernel, Simd};
use crate::batch::Batch;
use crate::similarity::{cosine_rows, norm_row};
use crate::stats::Negatives;

/// What a pair that survives costs, in multiples of screening one of `dim` elements in `f32`: computing it exactly, its
/// row's way from afar, and what does not depend on its length. Measured at dim 128 to 768.
fn survivor_cost(dim: f64) -> f64 {
    30.0 + 3000.0 / dim
}

/// Smaller batches are screened in `f32`: there, rounding rows to integers costs more than it saves.
const LEAST_ROWS: usize = 128;

/// So are shorter rows,
const LEAST_DIM: usize = 32;

/// and batches with fewer elements on a side.
const LEAST_ELEMENTS: usize = 1 << 15;

/// The error bound of similarities of bytes, for rows whose largest element is 3.5 times their root mean square; if
/// these rows' are larger, the blocks will notice.
const I8_ERROR: f64 = 0.016;

/// By how much the sample must exceed what speaks for a finer screen: a small sample errs, and blocks can change to a
/// finer screen, but not back.
const CAUTION: f64 = 1.25;

/// The candidates of the sample.
const SAMPLE: usize = 32;

impl Level {
    /// What screening a pair costs.
    fn cost(self) -> f64 {
        match self {
            Level::I8 => 0.3,
            Level::I16 => 0.6,
            Level::F32 => 1.0,
        }
    }
}

/// What a block of anchors has seen so far, per anchor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// What it is screened with.
    pub(crate) level: Level,
    /// The length of the rows.
    pub(crate) dim: f64,
    /// The candidates that were screened.
    pub(crate) screened: f64,
    /// All candidates.
    pub(crate) candidates: f64,
    /// The pairs, of all candidates, that will probably reach over the positive.
    pub(crate) doubtful: f64,
    /// The pairs that were computed exactly already.
    pub(crate) scored: f64,
    /// The error of 16-bit integers as a share of this level's.
    pub(crate) i16_share: f64,
}

impl Seen {
    /// The level, up to `last`, at which the rest of the work is cheapest.
    pub(crate) fn best_level(self, last: Level) -> Level {
        let Seen { level, dim, screened, candidates, doubtful, scored, i16_share } = self;
        let survivor = survivor_cost(dim);
        let here = (candidates - screened) * level.cost() + (doubtful - scored).max(0.0) * survivor;
        let mut best = (level, here);
        for (level, survivors) in [(Level::I16, doubtful * i16_share), (Level::F32, 0.0)] {
            let cost = candidates * level.cost() + (1.0 + survivors) * survivor;
            if level > self.level && level <= last && cost < best.1 {
                best = (level, cost);
            }
        }
        best.0
    }
}

/// The first level that may pay for batches like this one, whatever its rows hold.
pub(crate) fn cheapest_level(backend: Backend, batch: Batch<'_>) -> Level {
    let rows = batch.rows().min(batch.candidates());
    if rows < LEAST_ROWS || batch.dim() < LEAST_DIM || rows * batch.dim() < LEAST_ELEMENTS {
        return Level::F32;
    }
    backend.run(Fastest)
}

/// The level whose products are the fastest.
struct Fastest;

impl Kernel for Fastest {
    type Output = Level;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Level {
        match (S::FAST_BYTES, S::FAST_HALVES) {
            (true, _) => Level::I8,
            (false, true) => Level::I16,
            (false, false) => Level::F32,
        }
    }
}

/// The level with which the blocks of a batch had better begin, from `first` to `last`.
pub(crate) fn first_level(
    backend: Backend,
    batch: Batch<'_>,
    negatives: Negatives,
    centers: Centers<'_>,
    (first, last): (Level, Level),
) -> Level {
    if first == last || negatives == Negatives::Any {
        first
    } else {
        backend.run(Sample { batch, centers, first, last })
    }
}

struct Sample<'a> {
    batch: Batch<'a>,
    centers: Centers<'a>,
    first: Level,
    last: Level,
}

impl Kernel for Sample<'_> {
    type Output = Level;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Level {
        let Self { batch, centers, first, last } = self;
        let i16 = centers.spread() * 2.0 * f64::from(i16_error(batch.dim()));
        let error = if first == Level::I8 { centers.spread() * I8_ERROR } else { i16 };
        let candidates = batch.candidates() as f64;
        let doubtful = candidates * self.doubtful_share(simd, error) / CAUTION;
        let dim = batch.dim() as f64;
        Seen { level: first, dim, screened: 0.0, candidates, doubtful, scored: 0.0, i16_share: i16 / error }
            .best_level(last)
    }
}

impl Sample<'_> {
    /// The share of pairs whose similarity is within `error` of that of the anchor's positive.
    #[inline(always)]
    fn doubtful_share<S: Simd>(&self, simd: S, error: f64) -> f64 {
        let (anchors, candidates) = (self.batch.anchor_rows(), self.batch.candidate_rows());
        let mut norms = [0.0; SAMPLE];
        for (norm, index) in norms.iter_mut().zip(candidates.spread(SAMPLE)) {
            *norm = norm_row(simd, candidates.row(index));
        }
        let (mut pairs, mut doubtful) = (0, 0);
        // Few enough to be cheap beside the call, enough pairs to see some per cent of them.
        for row in anchors.spread((anchors.count() / 32).clamp(8, 64)) {
            let (anchor, positive) = (anchors.row(row), self.batch.positives().of(row));
            let (norm, positive_norm) = (norm_row(simd, anchor), norm_row(simd, candidates.row(positive)));
            let threshold = cosine_rows(simd, anchor, norm, candidates.row(positive), positive_norm);
            for (candidate, &candidate_norm) in candidates.spread(SAMPLE).zip(&norms) {
                if candidate != positive {
                    let similarity = cosine_rows(simd, anchor, norm, candidates.row(candidate), candidate_norm);
                    doubtful += u32::from((similarity - threshold).abs() <= error);
                    pairs += 1;
                }
            }
        }
        f64::from(doubtful) / f64::from(pairs)
    }
}
