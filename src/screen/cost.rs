//! The choice of a screen: by a sample of similarities before the call, and again by the counts of the first panels.
//!
//! A cheaper screen leaves more pairs to be computed exactly, of two kinds. Those that compete for the largest
//! similarity below the positive are few, and each further panel adds fewer. But all pairs whose interval contains the
//! positive are left, too, and any candidate's does with about the same probability: next to none where the positive
//! stands above the bulk of the similarities, many where it stands inside.
//!
//! So that probability decides. It is estimated from the exact similarities of a few pairs before anything is prepared
//! ([`sample`](super::sample)), since preparing the candidates for a screen that does not pay is the larger part of what a
//! wrong choice costs. Under `Any` the positive decides nothing, and the cheapest screen begins. And each block of
//! anchors compares costs again after 1, 2, 4, 8, .. panels and every 384 candidates ([`is_checkpoint`]): it goes on,
//! waits for a finer screen, or leaves all its pairs to exact tiles, whichever costs the least ([`CostModel`]).
//!
//! # Costs
//!
//! The unit is the time that screening a pair of rows takes in `f32`. With c the cost of screening a pair, p that of a
//! pair that is computed by itself, e that of a pair in an exact tile:
//!
//! ```text
//! c = 0.3, 0.6, 1              bytes, 16-bit integers, f32; 0.45 and 0.7 with AVX2 alone
//! p = 30 + 3000 / dim          fetched from afar, and what does not depend on the length
//! q = 2 lanes / rows           the candidates are packed anew, for the rows of this block at least; 0 of a bank's
//! e = (exact d + 60) / dim     d is dim rounded up to a multiple of 16; exact is 2 to 3, by instruction set
//! ```
//!
//! For one anchor, of whose n candidates t were screened, with l pairs on its list and s computed, and with d of n pairs
//! whose intervals hold a limit of the row, as many as those of t say, of which a finer screen leaves the share f:
//!
//! ```text
//! this screen     (n - t) c + max(d - s, 0) p
//! a finer one     n (c' + q) + (1 + d f) p           if n c' + (what was screened so far) <= 1.1 n
//! exact tiles     (n - t) e + min(l p, t e)          the last term is t e where rows of the block were given up
//! ```
//!
//! Beside exact tiles this screen costs `(n - t) c + l p`, too, and the tiles of the rows that were given up, if that is
//! more. Every estimate can be wrong: what is left of a block may be unlike what was seen of it. So there is a limit to
//! what a block may do in vain, in pairs ([`budget`](super::budget)) and in screens (the 1.1 n above), before exact tiles
//! take over, which no data makes slow.

use super::float::LAST_BELOW_ONE;
use super::method::{Method, Methods};
use super::quantize::MAX_DIM;
use super::screening::Screening;
use crate::arch::{Backend, Costs};
use crate::kernels::{Format, LANES, MAX_WIDTH, MOST_SIMILAR};
use crate::rows::Shape;

/// What a pair that survives costs, in multiples of screening one of `dim` elements in `f32`: computing it exactly,
/// fetching its row from afar, and what does not depend on its length. Measured at dim 128 to 768.
pub(super) fn survivor_cost(dim: f64) -> f64 {
    30.0 + 3000.0 / dim
}

/// What a pair in an exact tile costs, in the same multiples, if a long one costs `exact`: the lanes are folded, and
/// an incomplete last block takes as long as a whole one. Measured at dim 50 to 1536 with AVX2 and AVX-512 on Zen 4.
pub(crate) fn exact_tile_cost(exact: f64, dim: usize) -> f64 {
    const OF_PAIR: f64 = 60.0;
    (exact * dim.next_multiple_of(LANES) as f64 + OF_PAIR) / dim as f64
}

/// About how long a row's element takes to prepare, in nanoseconds.
pub(crate) const PREPARATION: f64 = 0.3;

/// About how long a multiply-add in `f32` takes on every lane of a register, in nanoseconds: by two of the registers' units at
/// about 3.5 GHz.
const PER_REGISTER: f64 = 0.15;

/// What packing a candidate costs, in multiples of screening a pair in `f32`.
pub(crate) fn packing_cost(backend: Backend) -> f64 {
    PREPARATION / PER_REGISTER * backend.traits().f32_lanes as f64
}

impl Method {
    /// What a pair costs.
    fn cost(self, costs: Costs) -> f64 {
        match self {
            Method::Screen(format) => costs.screening[format as usize],
            Method::Exact => costs.exact,
        }
    }
}

/// Whether a block compares costs after so many panels of some width: often at first, when little is known and much is
/// left, and then after the same numbers of candidates, whatever the width.
pub(crate) fn is_checkpoint(panels: usize, width: usize) -> bool {
    const CANDIDATES: usize = 8 * MAX_WIDTH;
    panels.is_power_of_two() || (panels * width).is_multiple_of(CANDIDATES)
}

/// How much screening there may be of a block in all formats together, in multiples of screening it once in `f32`: all
/// of it in one format and the first panels of the others. Any block may yet be one that no screen pays for.
const SCREENING: f64 = 1.1;

/// What the choice of a screen depends on: counts for one anchor, as a block has seen them so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CostModel {
    /// What the block is screened in.
    pub(crate) format: Format,
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
    /// What screening a pair costs in each format.
    pub(crate) screening: [f64; 3],
    /// What packing the candidates for a finer screen costs, for each of them.
    pub(crate) packing: f64,
    /// What computing a pair exactly costs in a tile.
    pub(crate) exact_cost: f64,
}

impl CostModel {
    /// The method, this screen or a later one of `methods`, by which the rest of the work is cheapest.
    pub(crate) fn cheapest(self, methods: Methods) -> Method {
        let CostModel { format, screened, candidates, doubtful, scored, exact_cost, .. } = self;
        let survivor = survivor_cost(self.dim);
        let spent = self.spent() / self.rows;
        let ahead = (candidates - screened) * self.screening[format as usize];
        let here = ahead + (doubtful - scored).max(0.0) * survivor;
        let mut best = (format, here);
        for (finer, survivors) in
            [(Format::Int16, 1.0 + doubtful * self.int16_share), (Format::Float32, 1.0 + doubtful * self.float32_share)]
        {
            let screening = candidates * self.screening[finer as usize];
            let may_screen = spent + screening <= SCREENING * candidates;
            let cost = screening + candidates * self.packing + survivors * survivor;
            if finer > format && methods.contains(Method::Screen(finer)) && may_screen && cost < best.1 {
                best = (finer, cost);
            }
        }
        // Exact tiles compute the rest, and of the candidates that were screened what is left: all their pairs where rows
        // were given up, those on the lists elsewhere. The cost of the lists, `listed * survivor`, counts against this
        // screen beside exact tiles alone, not beside a finer screen, as some of their pairs will still be ruled out.
        let listed = self.listed * survivor;
        let screened_tiles = screened * exact_cost;
        let behind = if self.given_up.is_some() { screened_tiles } else { listed.min(screened_tiles) };
        let tiles = (candidates - screened) * exact_cost + behind;
        let with_list = ahead + listed + self.given_up.unwrap_or(0.0);
        let best_screen = if best.0 == format { best.1.max(with_list) } else { best.1 };
        if methods.contains(Method::Exact) && tiles < best_screen { Method::Exact } else { Method::Screen(best.0) }
    }

    /// What the screens cost that were counted.
    fn spent(self) -> f64 {
        let counts = [self.done.i8_pairs, self.done.i16_pairs, self.done.f32_pairs];
        counts.into_iter().zip(self.screening).map(|(pairs, cost)| pairs as f64 * cost).sum()
    }
}

/// About how long a forward call takes on one thread: what it multiplies by this method and the ends of the tiles, or
/// reading the candidates once if that takes longer, and the preparation of both sides, or of the anchors alone where the
/// candidates are prepared. Within a third of what Zen 5 took for 64 to 1024 rows on both sides, on AVX-512.
pub(super) fn nanoseconds(backend: Backend, shape: Shape, method: Method, prepared: bool) -> f64 {
    const PER_PAIR: f64 = 0.1;
    /// A byte of a candidate, as a third-level cache delivers it at 80 GB/s; memory takes two to four times as long.
    const PER_BYTE: f64 = 0.0125;
    let (traits, Shape { anchors, candidates, dim }) = (backend.traits(), shape);
    let [anchors, candidates, dim] = [anchors, candidates, dim].map(|count| count as f64);
    let product = dim * method.cost(traits.costs) * PER_REGISTER / traits.f32_lanes as f64;
    let raw_rows = if prepared { anchors } else { anchors + candidates };
    let bytes = method.format().map_or(1.0, |format| 1.0 / format.per_word() as f64) * size_of::<u32>() as f64;
    let reading = candidates * dim * bytes * PER_BYTE;
    (anchors * candidates * (product + PER_PAIR)).max(reading) + raw_rows * dim * PREPARATION
}

/// Whether a batch is so small that computing all pairs exactly takes less time than packing rows for a screen.
pub(super) fn is_small(backend: Backend, shape: Shape) -> bool {
    shape.anchors.max(shape.candidates) <= backend.traits().costs.exact_square
}

/// A few rows that are shorter take less time in exact tiles than screened without packing.
const LEAST_DIM: usize = 32;

/// Whether a batch is so small that screening its rows as they lie in memory takes less time than anything else: up to
/// `times` as many pairs for each row as the instruction set's.
pub(super) fn is_unpacked(backend: Backend, shape: Shape, times: usize) -> bool {
    let fits = shape.candidates <= MOST_SIMILAR && shape.dim <= LAST_BELOW_ONE;
    let (pairs, rows) =
        (shape.anchors.saturating_mul(shape.candidates), shape.anchors.saturating_add(shape.candidates));
    let has_few_pairs = pairs <= rows.saturating_mul(times * backend.traits().costs.unpacked_pairs);
    fits && has_few_pairs && (shape.dim >= LEAST_DIM || !is_small(backend, shape))
}

/// Whether screening rows as they lie in memory, in one pass over any number of candidates, takes less time than anything
/// else: there are a few anchors, up to `times` as many as the instruction set's. Of fewer anchors or shorter rows no batch
/// is packed either, so that a smaller shape needs no memory that a larger one does not.
pub(super) fn is_unpacked_pass(backend: Backend, shape: Shape, times: usize) -> bool {
    shape.anchors <= times * backend.traits().costs.unpacked_few && shape.dim <= LAST_BELOW_ONE
}

/// Whether 16-bit integers are faster than `f32` on a backend.
pub(super) fn has_fast_i16(backend: Backend) -> bool {
    backend.traits().costs.fast_i16
}

/// The format in which a backend screens the fastest.
pub(super) fn fastest(backend: Backend) -> Format {
    let costs = backend.traits().costs;
    match (costs.fast_i8, costs.fast_i16) {
        (true, _) => Format::Int8,
        (false, true) => Format::Int16,
        (false, false) => Format::Float32,
    }
}

/// Whether computing all pairs in one pass over the candidates takes less time than any screen, as there are few rows on a
/// side or on both: up to `times` as many as the instruction set's.
pub(super) fn is_direct(backend: Backend, shape: Shape, times: usize) -> bool {
    let (costs, Shape { anchors, candidates, .. }) = (backend.traits().costs, shape);
    anchors.max(candidates) <= times * costs.exact_square || anchors.min(candidates) <= times * costs.exact_few
}

/// The first method that may pay for batches like this one, whatever its rows hold.
pub(super) fn first_that_pays(backend: Backend, shape: Shape) -> Method {
    let (costs, Shape { anchors, candidates, dim }) = (backend.traits().costs, shape);
    if is_direct(backend, shape, 1) {
        return Method::Exact;
    }
    let (elements, rows) = (anchors.max(candidates).saturating_mul(dim), anchors.saturating_add(candidates));
    let has_pairs = anchors.saturating_mul(candidates) >= rows.saturating_mul(costs.integer_pairs);
    let many_pairs = has_pairs || elements >= costs.integer_streamed;
    if dim < costs.integer_dim || elements < costs.integer_elements || !many_pairs || dim > MAX_DIM {
        return Method::Screen(Format::Float32);
    }
    Method::Screen(match fastest(backend) {
        Format::Int8 if costs.fast_i16 && (!is_sampled(backend, shape) || is_too_long(backend, dim)) => Format::Int16,
        fastest => fastest,
    })
}

/// Whether rows are too long for bytes where four products are added in 16 bits: the longer a row, the larger the sum of four
/// of its elements by which its step is chosen, and the closer all similarities are to each other. On Zen 4, 16-bit integers
/// take 0.92 of the time of bytes at 1024 x 1024 x 3072, and a quarter at dim 4096, where bytes leave most rows to exact tiles.
fn is_too_long(backend: Backend, dim: usize) -> bool {
    const LONGEST: usize = 2560;
    backend.traits().i8_sum.is_some() && dim > LONGEST
}

/// Whether a batch is so large that a sample pays.
pub(super) fn is_sampled(backend: Backend, shape: Shape) -> bool {
    let (costs, many) = (backend.traits().costs, shape.anchors.max(shape.candidates));
    many >= costs.sampled_rows && many.saturating_mul(shape.dim) >= costs.sampled_elements
}
