//! The choice of a precision: by a sample of similarities before the call, and again by the counts of the first panels.
//!
//! A cheaper screen leaves more pairs to be computed exactly, of two kinds. Those that compete for the largest
//! similarity below the positive are few, and each further panel adds fewer. But all pairs whose interval contains the
//! positive are left, too, and any candidate's does with about the same probability: next to none where the positive
//! stands above the bulk of the similarities, many where it stands inside.
//!
//! So that probability decides. It is estimated from the exact similarities of a few pairs before anything is prepared
//! ([`first_precision`]), since preparing the candidates for a screen that does not pay is the larger part of what a
//! wrong choice costs. Under `Any` the positive decides nothing, and the cheapest screen begins. And each block of
//! anchors compares costs again after 1, 2, 4, 8, 16, 24, .. panels ([`is_checkpoint`], [`CostModel`]), and waits for a
//! finer screen if what is left of its work would cost less there.
//!
//! Every estimate can be wrong: what is left of a block may be unlike what was seen of it. So there is a limit to what a
//! block may do in vain ([`ExactCosts`], [`SCREENING`]) before exact tiles take over, which no data makes slow.

use super::center::Center;
use super::format::Params;
use super::integer::int16_residual;
use super::precision::{Precision, Precisions, Screening};
use super::quantize::MAX_DIM;
use crate::arch::{Backend, Simd, WithSimd};
use crate::exact::{LANES, cosine, dot_rows, dots, inverse, norm_row};
use crate::row_stats::{Exclusion, RowExclusions};
use crate::rows::{Shape, Sides};

/// What a pair that survives costs, in multiples of screening one of `dim` elements in `f32`: computing it exactly,
/// fetching its row from afar, and what does not depend on its length. Measured at dim 128 to 768.
fn survivor_cost(dim: f64) -> f64 {
    30.0 + 3000.0 / dim
}

/// What a pair in an exact tile costs, in the same multiples, if a long one costs `dot_cost`: the lanes are folded, and
/// an incomplete last block takes as long as a whole one, and a copy of it. Measured at dim 5 to 64 with AVX-512.
pub(crate) fn exact_tile_cost(dot_cost: f64, dim: usize) -> f64 {
    let of_pair = if dim.is_multiple_of(LANES) { 100.0 } else { 300.0 };
    dot_cost + of_pair / dim as f64
}

/// Where the formats of small batches change.
pub(crate) mod crossovers {
    /// Batches with shorter rows, or fewer elements on both sides, are screened in `f32`: there, rounding rows to integers
    /// costs more than it saves. Whole calls on Zen 5, 16 bits over `f32`: 48 x 48 x 128 took 0.98, 64 x 64 x 64 0.98,
    /// 128 x 128 x 32 0.99, 96 x 96 x 32 1.04. Without an instruction for dot products, which 16 bits of AVX2 lack,
    /// 128 x 128 x 128 took 1.07, 192 x 192 x 128 1.09, 64 x 64 x 768 1.10, and 256 x 256 x 128 0.97.
    pub(crate) const LEAST_DIM: usize = 32;
    pub(crate) const LEAST_ELEMENTS: usize = 1 << 12;
    pub(crate) const LEAST_ROWS_WITHOUT_DOTS: usize = 128;
    pub(crate) const LEAST_ELEMENTS_WITHOUT_DOTS: usize = 1 << 15;

    /// Batches with fewer rows, or fewer elements, on both sides begin with 16-bit integers, without a sample: bytes save
    /// less there than it takes. Whole calls on Zen 5, bytes by a sample over 16 bits without: 128 x 128 x 768 took 1.09,
    /// 192 x 192 x 384 1.00, 256 x 256 x 128 1.06, 256 x 256 x 384 0.94.
    pub(crate) const LEAST_SAMPLED_ROWS: usize = 192;
    pub(crate) const LEAST_SAMPLED_ELEMENTS: usize = 1 << 16;
}
use crossovers::{
    LEAST_DIM, LEAST_ELEMENTS, LEAST_ELEMENTS_WITHOUT_DOTS, LEAST_ROWS_WITHOUT_DOTS, LEAST_SAMPLED_ELEMENTS,
    LEAST_SAMPLED_ROWS,
};

/// The error bound of similarities of bytes, for rows whose largest element is 3.5 times their root mean square; if
/// these rows' are larger, the blocks will notice.
const INT8_ERROR: f64 = 0.016;

/// The divisor of the sampled number of doubtful pairs before costs are compared: a small sample errs, and blocks can
/// change to a finer screen, but not back.
const CAUTION: f64 = 1.25;

/// The candidates of the sample.
const SAMPLE: usize = 32;

/// The pairs of the sample that are computed at once, which hide each other's latency.
const TOGETHER: usize = 4;

/// About how long a row's element takes to prepare, in nanoseconds.
pub(crate) const PREPARATION: f64 = 0.3;

impl Precision {
    /// What screening a pair costs.
    fn cost(self, exact_cost: f64) -> f64 {
        match self {
            Precision::Int8 => 0.3,
            Precision::Int16 => 0.6,
            Precision::Float32 => 1.0,
            Precision::Exact => exact_cost,
        }
    }
}

/// Whether a block compares costs after so many panels: often at first, when little is known and much is left.
pub(crate) fn is_checkpoint(panels: usize) -> bool {
    panels.is_power_of_two() || panels.is_multiple_of(8)
}

/// The pairs of a block that may be computed one by one before all candidates were screened, as full lists need it: they
/// may take this share of what a product in `f32` takes. What is given up then has cost little beside computing all pairs.
const SINGLE_SHARE: f64 = 0.25;

/// How much screening there may be of a block in all precisions together, in multiples of screening it once in `f32`: all
/// of it in one precision and the first panels of the others. Any block may yet be one that no screen pays for.
const SCREENING: f64 = 1.1;

/// How many rows of a block take as long alone, in tiles, as one of them.
const ROWS_ALONE: usize = 3;

/// What computing pairs of a block exactly costs, one by one and in tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExactCosts {
    /// A pair by itself.
    single: f64,
    /// All pairs of a row among several, in tiles.
    row: f64,
    candidates: usize,
}

/// How many parts the candidates of a block are divided into, to find out where the tiles should begin.
pub(crate) const PARTS: usize = 32;

impl ExactCosts {
    /// The costs for rows with so many candidates of `dim` elements, where a long pair in a tile costs `dot_cost`.
    pub(crate) fn new(candidates: usize, dim: usize, dot_cost: f64) -> ExactCosts {
        let row = exact_tile_cost(dot_cost, dim) * candidates as f64;
        ExactCosts { single: survivor_cost(dim as f64), row, candidates }
    }

    /// The pairs of a block of `rows` rows that may be computed one by one while it is screened, if `wanted` of each row
    /// must be computed in any case, and `spent` were computed while it was screened more coarsely.
    pub(crate) fn budget(self, rows: usize, wanted: usize, spent: usize) -> PairBudget {
        let pairs = |cost: f64| (cost / self.single) as usize;
        PairBudget {
            of_row: wanted + pairs(ROWS_ALONE as f64 * self.row),
            left: (rows * wanted + pairs(SINGLE_SHARE * self.candidates as f64 * rows as f64)).saturating_sub(spent),
        }
    }

    /// What the tiles cost for so many rows with the candidates from `first` on.
    fn tiles(self, rows: usize, first: usize) -> f64 {
        rows as f64 * self.row * (1.0 - first as f64 / self.candidates as f64)
    }

    /// What the tiles cost for rows that were given up, which come in `runs` of these lengths, each from a candidate on.
    pub(crate) fn runs(self, runs: impl Iterator<Item = (usize, usize)>) -> f64 {
        runs.map(|(rows, first)| self.tiles(rows.max(ROWS_ALONE), first)).sum()
    }

    /// Whether the rest of a block of `rows` rows, of which so many candidates were screened in `precision`, takes less
    /// time in tiles than by its screen, and by tiles for the rows that were given up. While the screened candidates doubled
    /// in number, `recent` of the rows were given up: as many are expected each time that they do so again.
    pub(crate) fn screen_loses(
        self,
        rows: usize,
        screened: usize,
        precision: Precision,
        recent: usize,
        runs: impl Iterator<Item = (usize, usize)> + Clone,
    ) -> bool {
        let first = runs.clone().map(|(_, first)| first).min().unwrap_or(screened);
        let ahead = rows as f64 * (self.candidates - screened) as f64 * precision.cost(0.0);
        let expected = recent * (self.candidates / screened).ilog2() as usize * ROWS_ALONE;
        ahead + self.runs(runs) + self.tiles(expected, screened) > self.tiles(rows, first)
    }

    /// Whether all pairs of `rows` rows take less time in tiles than `listed` pairs one by one, and tiles for the rows that
    /// were given up.
    pub(crate) fn lists_lose(self, rows: usize, listed: usize, runs: impl Iterator<Item = (usize, usize)>) -> bool {
        listed as f64 * self.single + self.runs(runs) > self.tiles(rows, 0)
    }

    /// The part of the candidates that one belongs to.
    pub(crate) fn part_of(self, candidate: usize) -> usize {
        candidate / self.candidates.div_ceil(PARTS)
    }

    /// From which candidate on, at most `latest`, all pairs of `rows` rows should be computed in tiles, if so many pairs
    /// of each part are left and those before are computed one by one.
    pub(crate) fn first_in_tiles(self, rows: usize, latest: usize, listed: &[usize; PARTS]) -> usize {
        let (mut best, mut before) = ((f64::INFINITY, 0), 0);
        for (part, &listed) in listed.iter().enumerate() {
            let first = part * self.candidates.div_ceil(PARTS);
            if first > latest || first >= self.candidates {
                break;
            }
            let cost = before as f64 * self.single + self.tiles(rows, first);
            best = if cost < best.0 { (cost, first) } else { best };
            before += listed;
        }
        best.1
    }
}

/// How many pairs may be computed exactly one by one, as lists are full: a row that needs more is computed in tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairBudget {
    /// Of a row: as many as take as long as all of its pairs, alone, in tiles.
    of_row: usize,
    /// Of all rows, from now on.
    left: usize,
}

impl PairBudget {
    /// Any number.
    pub(crate) const UNLIMITED: PairBudget = PairBudget { of_row: usize::MAX, left: usize::MAX };

    /// Whether a row of which `scored` pairs were computed may have more of them computed.
    pub(super) fn allows(self, scored: usize) -> bool {
        scored < self.of_row && self.left > 0
    }

    /// Takes pairs that were computed off the budget.
    pub(super) fn spend(&mut self, pairs: usize) {
        self.left = self.left.saturating_sub(pairs);
    }
}

/// What the choice of a precision depends on: counts for one anchor, as a block has seen them so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CostModel {
    /// What the block is screened in.
    pub(crate) precision: Precision,
    /// The length of the rows.
    pub(crate) dim: f64,
    /// The candidates that were screened.
    pub(crate) screened: f64,
    /// What was done by all screens of the block.
    pub(crate) done: Screening,
    /// The block's rows.
    pub(crate) rows: f64,
    /// All candidates.
    pub(crate) candidates: f64,
    /// The pairs, of all candidates, that will probably reach over the positive.
    pub(crate) doubtful: f64,
    /// The pairs that were computed exactly already.
    pub(crate) scored: f64,
    /// The pairs that are on the list.
    pub(crate) listed: f64,
    /// What the tiles of the rows that were given up cost, and none where there are none.
    pub(crate) given_up: Option<f64>,
    /// The share of the doubtful pairs that 16-bit integers would leave.
    pub(crate) int16_share: f64,
    /// The share of the doubtful pairs that `f32` would leave.
    pub(crate) float32_share: f64,
    /// What computing a pair exactly costs in a tile.
    pub(crate) exact_cost: f64,
}

impl CostModel {
    /// The precision, this one or a finer one of `precisions`, in which the rest of the work is cheapest.
    pub(crate) fn cheapest(self, precisions: Precisions) -> Precision {
        let CostModel { precision, screened, candidates, doubtful, scored, exact_cost, .. } = self;
        let survivor = survivor_cost(self.dim);
        let spent = screening_cost(self.done) / self.rows;
        let ahead = (candidates - screened) * precision.cost(exact_cost);
        let here = ahead + (doubtful - scored).max(0.0) * survivor;
        let mut best = (precision, here);
        for (finer, survivors) in [
            (Precision::Int16, 1.0 + doubtful * self.int16_share),
            (Precision::Float32, 1.0 + doubtful * self.float32_share),
        ] {
            let screening = candidates * finer.cost(exact_cost);
            let may_screen = spent + screening <= SCREENING * candidates;
            let cost = screening + survivors * survivor;
            if finer > precision && precisions.contains(finer) && may_screen && cost < best.1 {
                best = (finer, cost);
            }
        }
        // Tiles take the rest, and what is left of the candidates that were screened. Of the pairs on a list some will fall
        // to better ones that come, so that the list does not speak for a finer screen, but so many are no good sign.
        let listed = self.listed * survivor;
        let screened_tiles = screened * exact_cost;
        let behind = if self.given_up.is_some() { screened_tiles } else { listed.min(screened_tiles) };
        let tiles = (candidates - screened) * exact_cost + behind;
        let with_list = ahead + listed + self.given_up.unwrap_or(0.0);
        let best_screen = if best.0 == precision { best.1.max(with_list) } else { best.1 };
        if precisions.contains(Precision::Exact) && tiles < best_screen {
            best.0 = Precision::Exact;
        }
        best.0
    }
}

/// What the screens cost that were counted.
fn screening_cost(done: Screening) -> f64 {
    let counts =
        [(Precision::Int8, done.i8_pairs), (Precision::Int16, done.i16_pairs), (Precision::Float32, done.f32_pairs)];
    counts.into_iter().map(|(precision, pairs)| pairs as f64 * precision.cost(0.0)).sum()
}

/// About how long a forward call takes on one thread: what it multiplies in this precision, the ends of the tiles, and
/// the preparation of both sides, or of the anchors alone where the candidates are prepared. Within a third of what Zen
/// 5 took for 64 to 1024 rows on both sides, on AVX-512.
pub(super) fn nanoseconds(backend: Backend, shape: Shape, precision: Precision, prepared: bool) -> f64 {
    backend.run(Nanoseconds { shape, precision, prepared })
}

struct Nanoseconds {
    shape: Shape,
    precision: Precision,
    /// Whether the candidates are prepared.
    prepared: bool,
}

impl WithSimd for Nanoseconds {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> f64 {
        /// A multiply-add in `f32` on every lane of a register, by two of the registers' units at about 3.5 GHz.
        const PER_REGISTER: f64 = 0.15;
        const PER_PAIR: f64 = 0.1;
        let Shape { anchors, candidates, dim } = self.shape;
        let [anchors, candidates, dim] = [anchors, candidates, dim].map(|count| count as f64);
        let product = dim * self.precision.cost(S::DOT_COST) * PER_REGISTER / S::F32_LANES as f64;
        let raw_rows = if self.prepared { anchors } else { anchors + candidates };
        anchors * candidates * (product + PER_PAIR) + raw_rows * dim * PREPARATION
    }
}

/// The coarsest precision that may pay for batches like this one, whatever its rows hold.
pub(super) fn coarsest_that_pays(backend: Backend, shape: Shape) -> Precision {
    backend.run(Coarsest(shape))
}

/// Whether a batch is so small that computing all pairs exactly takes less time than any screen.
pub(super) fn is_small(backend: Backend, shape: Shape) -> bool {
    backend.run(IsSmall(shape))
}

struct IsSmall(Shape);

impl WithSimd for IsSmall {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> bool {
        self.0.anchors.max(self.0.candidates) <= S::DOT_SQUARE
    }
}

/// The precision in which a backend screens the fastest.
pub(super) fn fastest(backend: Backend) -> Precision {
    backend.run(Fastest)
}

/// Whether 16-bit integers are faster than `f32` on a backend.
pub(super) fn has_fast_i16(backend: Backend) -> bool {
    backend.run(HasFastI16)
}

struct HasFastI16;

impl WithSimd for HasFastI16 {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> bool {
        S::FAST_I16
    }
}

struct Fastest;

impl WithSimd for Fastest {
    type Output = Precision;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Precision {
        match (S::FAST_I8, S::FAST_I16) {
            (true, _) => Precision::Int8,
            (false, true) => Precision::Int16,
            (false, false) => Precision::Float32,
        }
    }
}

struct Coarsest(Shape);

impl WithSimd for Coarsest {
    type Output = Precision;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Precision {
        let Shape { anchors, candidates, dim } = self.0;
        let (few, many) = (anchors.min(candidates), anchors.max(candidates));
        if IsSmall(self.0).run(simd) || few <= S::DOT_FEW {
            return Precision::Exact;
        }
        // Of few rows against many, packing the many takes most of the time, and integers are packed the fastest.
        let (least_rows, least_elements) = match S::FAST_I8 {
            true => (0, LEAST_ELEMENTS),
            false => (LEAST_ROWS_WITHOUT_DOTS, LEAST_ELEMENTS_WITHOUT_DOTS),
        };
        let elements = many.saturating_mul(dim);
        if dim < LEAST_DIM || many < least_rows || elements < least_elements || dim > MAX_DIM {
            return Precision::Float32;
        }
        match Fastest.run(simd) {
            Precision::Int8 if !is_sampled(self.0) && S::FAST_I16 => Precision::Int16,
            fastest => fastest,
        }
    }
}

/// Whether a batch is so large that a sample pays.
fn is_sampled(shape: Shape) -> bool {
    let many = shape.anchors.max(shape.candidates);
    many >= LEAST_SAMPLED_ROWS && many.saturating_mul(shape.dim) >= LEAST_SAMPLED_ELEMENTS
}

/// What the similarities of a row are compared with, beside each other.
pub(crate) trait RowLimits: RowExclusions {
    /// The largest similarity that qualifies in a row, or about that; infinity where all do.
    fn limit<S: Simd>(self, simd: S, row: usize) -> f64;
}

/// The precision in which the blocks of a batch begin, one of `precisions`: the cheapest by a sample, if there are
/// limits and the batch is large; and how many pairs the sample has.
pub(crate) fn first_precision<L: RowLimits>(
    backend: Backend,
    sides: Sides<'_>,
    limits: Option<L>,
    Params { center, float_bound }: Params<'_>,
    precisions: Precisions,
) -> (Precision, usize) {
    let (coarsest, finest) = (precisions.coarsest(), precisions.finest());
    match limits {
        Some(limits) if coarsest < finest && coarsest < Precision::Float32 && is_sampled(sides.shape()) => {
            backend.run(Sample { sides, limits, center, precisions, float_bound })
        }
        _ => (coarsest, 0),
    }
}

/// A look at the exact similarities of a few anchors with a few candidates.
struct Sample<'a, L> {
    sides: Sides<'a>,
    limits: L,
    center: Center<'a>,
    precisions: Precisions,
    /// The error of sums in `f32`.
    float_bound: f32,
}

impl<L: RowLimits> WithSimd for Sample<'_, L> {
    type Output = (Precision, usize);
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (Precision, usize) {
        let Self { sides: Sides { candidates, .. }, precisions, .. } = self;
        let coarsest = precisions.coarsest();
        let spread = self.spread(simd);
        let float32 = 2.0 * f64::from(self.float_bound);
        let int16 = spread * 2.0 * f64::from(int16_residual(candidates.dim())) + float32;
        let error = match coarsest {
            Precision::Int8 => spread * INT8_ERROR + float32,
            Precision::Int16 => int16,
            _ => float32,
        };
        let count = candidates.count() as f64;
        let [here, finest_left] = self.doubtful_shares(simd, [error, float32]);
        let model = CostModel {
            precision: coarsest,
            dim: candidates.dim() as f64,
            screened: 0.0,
            done: Screening::default(),
            rows: 1.0,
            candidates: count,
            doubtful: count * here / CAUTION,
            scored: 0.0,
            listed: 0.0,
            given_up: None,
            int16_share: int16 / error,
            float32_share: if here > 0.0 { finest_left / here } else { 0.0 },
            exact_cost: exact_tile_cost(S::DOT_COST, candidates.dim()),
        };
        (model.cheapest(precisions), self.sampled_anchors().count() * candidates.spread(SAMPLE).count())
    }
}

impl<L: RowLimits> Sample<'_, L> {
    /// The anchors of the sample: few enough to be cheap beside the call, enough pairs to see some per cent of them.
    #[inline(always)]
    fn sampled_anchors(&self) -> impl Iterator<Item = usize> {
        let anchors = self.sides.anchors;
        anchors.spread((anchors.count() / 32).clamp(8, 64))
    }

    /// About the product of the norms that an anchor and a candidate have without the center: `|u - b|^2` is
    /// `1 - 2 u.b + b.b`, and about `1 - b.b` on average over rows whose mean is b.
    #[inline(always)]
    fn spread<S: Simd>(&self, simd: S) -> f64 {
        let (anchors, squared_norm) = (self.sides.anchors, self.center.squared_norm());
        let Some(center) = self.center.values().get(..anchors.dim()) else { return 1.0 };
        let (mut sum, mut count) = (0.0, 0.0);
        for row in self.sampled_anchors() {
            let anchor = anchors.row(row);
            sum += 1.0 - 2.0 * dot_rows(simd, anchor, center) * inverse(norm_row(simd, anchor)) + squared_norm;
            count += 1.0;
        }
        let of_anchors = (sum / count).max(0.0).sqrt();
        of_anchors * (1.0 - squared_norm).max(0.0).sqrt()
    }

    /// The shares of pairs whose similarity is within each error of the limit of the anchor's row.
    #[inline(always)]
    fn doubtful_shares<S: Simd>(&self, simd: S, errors: [f64; 2]) -> [f64; 2] {
        let Sides { anchors, candidates, .. } = self.sides;
        let (mut sample, mut norms, mut count) = ([0; SAMPLE], [0.0; SAMPLE], 0);
        for index in candidates.spread(SAMPLE) {
            (sample[count], norms[count]) = (index, norm_row(simd, candidates.row(index)));
            count += 1;
        }
        let sample = &sample[..count];
        let (mut pairs, mut doubtful) = (0_u32, [0; 2]);
        for row in self.sampled_anchors() {
            let (anchor, exclusion) = (anchors.row(row), self.limits.of(row));
            let (norm, limit) = (norm_row(simd, anchor), self.limits.limit(simd, row));
            for (sample, norms) in sample.chunks(TOGETHER).zip(norms.chunks(TOGETHER)) {
                // A group beyond the last candidate repeats that one.
                let others = core::array::from_fn(|c| candidates.row(sample[c.min(sample.len() - 1)]));
                let dots = dots::<S, TOGETHER>(simd, [anchor; TOGETHER], others);
                for ((&candidate, &candidate_norm), &dot) in sample.iter().zip(norms).zip(&dots) {
                    if !exclusion.excludes(candidate) {
                        let similarity = cosine(dot, norm, candidate_norm);
                        for (doubtful, error) in doubtful.iter_mut().zip(errors) {
                            *doubtful += u32::from((similarity - limit).abs() <= error);
                        }
                        pairs += 1;
                    }
                }
            }
        }
        doubtful.map(|doubtful| f64::from(doubtful) / f64::from(pairs.max(1)))
    }
}
