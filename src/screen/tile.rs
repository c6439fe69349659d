//! The tile: the inner loop in which nearly all of the time goes.
//!
//! ```text
//!                    one panel: TILE_REGISTERS registers of candidates
//!                      +--------+--------+--------+
//!              k = 0   | v v .. | v v .. | v v .. |     candidates lie [k][candidate], so that a load
//!              k = 1   | v v .. | v v .. | v v .. |     is one element of a register's worth of them
//!               ...    +--------+--------+--------+
//!     k = 0 1 ...
//!   +---------+        +--------+--------+--------+
//!   | u u ... |  --->  | accum. | accum. | accum. |     anchors lie [k][anchor]; each element is
//!   | u u ... |  --->  | accum. | accum. | accum. |     broadcast and meets every register of the
//!   |   ...   |        |        |        |        |     panel: an outer product for each k
//!   +---------+        +--------+--------+--------+
//!   TILE_ANCHORS rows
//! ```
//!
//! A lane of an accumulator is one pair and ends as its similarity: there is nothing to reduce across lanes, so that
//! the end of a tile is two comparisons a register, and short rows cost hardly more than long ones.

use crate::arch::Simd;

/// The registers of candidates in the widest tile, times their lanes.
pub(crate) const MAX_WIDTH: usize = 48;

/// What a tile is computed from.
pub(crate) struct Tile<'a> {
    /// Unit anchors, `[k][TILE_ANCHORS]`.
    pub(crate) anchors: &'a [f32],
    /// Unit candidates, `[k][width]`, with a width of a whole number of registers.
    pub(crate) candidates: &'a [f32],
    /// What is brought near while this tile computes.
    pub(crate) ahead: Ahead<'a>,
}

/// Memory that will be needed soon: one cache line for each `k` of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Ahead<'a> {
    /// Where it begins. Lines beyond the end are asked for all the same, which does no harm.
    pub(crate) from: &'a [f32],
    /// The elements from one line to the next.
    pub(crate) stride: usize,
}

/// A value that starts at a cache line, so that no store of a register crosses two.
#[repr(align(64))]
struct Aligned<T>(T);

/// The screened similarities that matter to a row: `low <= similarity <= high`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Window {
    /// The window of a row that is not looking for anything.
    pub(crate) const CLOSED: Window = Window { low: f32::INFINITY, high: f32::NEG_INFINITY };

    /// Bit `l` is set where `similarities[l]` lies in the window.
    #[inline(always)]
    pub(crate) fn hits<S: Simd>(self, simd: S, similarities: &[f32; MAX_WIDTH]) -> u64 {
        let (low, high) = (simd.splat(self.low), simd.splat(self.high));
        let mut hits = 0;
        for (register, similarities) in similarities.chunks_exact(S::F32_LANES).enumerate() {
            hits |= u64::from(simd.in_range(simd.load(similarities), low, high)) << (register * S::F32_LANES);
        }
        hits
    }
}

/// Who is told of the similarities that a tile found inside the windows of its rows.
pub(crate) trait Record {
    /// The window of row `row` of the tile.
    fn window(&self, row: usize) -> Window;
    /// Some of `similarities` are in the window of row `row`. Those beyond the width of the tile are NaN. They are the
    /// callee's to change.
    fn record(&mut self, row: usize, similarities: &mut [f32; MAX_WIDTH]);
}

/// Computes one tile and tells `record` what lies in the windows.
#[inline(always)]
pub(crate) fn tile<S: Simd, R: Record, const ANCHORS: usize, const REGISTERS: usize>(
    simd: S,
    tile: Tile<'_>,
    record: &mut R,
) {
    const {
        assert!(ANCHORS == S::TILE_ANCHORS && REGISTERS <= S::TILE_REGISTERS);
        assert!(S::TILE_REGISTERS * S::F32_LANES <= MAX_WIDTH && MAX_WIDTH.is_multiple_of(S::F32_LANES));
    }
    let sums = products::<S, ANCHORS, REGISTERS>(simd, tile);
    let mut rows_hit = 0_u32;
    for (row, sums) in sums.iter().enumerate() {
        let window = record.window(row);
        let (low, high) = (simd.splat(window.low), simd.splat(window.high));
        let mut hits = 0;
        for &sum in sums {
            hits |= simd.in_range(sum, low, high);
        }
        rows_hit |= u32::from(hits != 0) << row;
    }
    if rows_hit == 0 {
        return;
    }
    // Everything goes to memory before the first call, so that no register is live across it.
    let mut similarities = Aligned([[0.0; MAX_WIDTH]; ANCHORS]);
    let similarities = &mut similarities.0;
    for r in 0..ANCHORS {
        for c in 0..MAX_WIDTH / S::F32_LANES {
            let sum = if c < REGISTERS { sums[r][c] } else { simd.splat(f32::NAN) };
            simd.store(sum, &mut similarities[r][c * S::F32_LANES..]);
        }
    }
    while rows_hit != 0 {
        let row = rows_hit.trailing_zeros() as usize;
        rows_hit &= rows_hit - 1;
        record.record(row, &mut similarities[row]);
    }
}

/// The dot products of a tile: one multiply-add for each pair and `k`, in ascending `k`.
#[inline(always)]
fn products<S: Simd, const ANCHORS: usize, const REGISTERS: usize>(
    simd: S,
    tile: Tile<'_>,
) -> [[S::F32; REGISTERS]; ANCHORS] {
    let width = REGISTERS * S::F32_LANES;
    let mut sums = [[simd.splat(0.0); REGISTERS]; ANCHORS];
    let steps = tile.anchors.as_chunks::<ANCHORS>().0.iter().zip(tile.candidates.chunks_exact(width));
    for (k, (anchors, candidates)) in steps.enumerate() {
        simd.prefetch(tile.ahead.from, k * tile.ahead.stride);
        let mut loaded = [simd.splat(0.0); REGISTERS];
        for c in 0..REGISTERS {
            loaded[c] = simd.load(&candidates[c * S::F32_LANES..]);
        }
        for r in 0..ANCHORS {
            let anchor = simd.splat(anchors[r]);
            for c in 0..REGISTERS {
                sums[r][c] = simd.mul_add(anchor, loaded[c], sums[r][c]);
            }
        }
    }
    sums
}
