//! The tile: the inner loop in which nearly all of the time goes.
//!
//! ```text
//!                    one panel: TILE_REGISTERS registers of candidates
//!                      +--------+--------+--------+
//!            step 0    | v v .. | v v .. | v v .. |     candidates lie [step][candidate], so that a load
//!            step 1    | v v .. | v v .. | v v .. |     is one word (1, 2 or 4 elements) of each of them
//!               ...    +--------+--------+--------+
//!    step 0 1 ...
//!   +---------+        +--------+--------+--------+
//!   | u u ... |  --->  | accum. | accum. | accum. |     anchors lie [step][anchor]; each word is
//!   | u u ... |  --->  | accum. | accum. | accum. |     broadcast and meets every register of the
//!   |   ...   |        |        |        |        |     panel: an outer product for each step
//!   +---------+        +--------+--------+--------+
//!   TILE_ANCHORS rows
//! ```
//!
//! A lane of an accumulator is one pair and ends as its sum of products: there is nothing to reduce across lanes, so
//! that short rows cost hardly more than long ones. The end of a tile turns sums into the upper ends of intervals,
//! which are compared with the windows of the rows; lower ends are computed only for rows with a hit.

use super::format::{AnchorConstants, CandidateConstants, Format};
use crate::arch::Simd;

/// The registers of candidates in the widest tile, times their lanes.
pub(crate) const MAX_WIDTH: usize = 48;

/// What a tile is computed from.
pub(crate) struct Tile<'a> {
    /// Anchors, `[step][TILE_ANCHORS]`.
    pub(crate) anchors: &'a [u32],
    /// Candidates, `[step][width]`, with a width of a whole number of registers.
    pub(crate) candidates: &'a [u32],
    /// The candidates' constants, `[..][width]`.
    pub(crate) constants: &'a [u32],
    /// What is brought near while this tile computes.
    pub(crate) ahead: Ahead,
}

/// Memory that will be needed soon: one cache line for each step of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// Where it begins. Lines beyond the end are asked for all the same, which does no harm.
    from: *const u8,
    /// The bytes from one line to the next.
    stride: usize,
}

impl Ahead {
    /// Lines of `from`, `stride` elements apart.
    #[inline(always)]
    pub(crate) fn new<T>(from: &[T], stride: usize) -> Ahead {
        Ahead { from: from.as_ptr().cast(), stride: stride * size_of::<T>() }
    }
}

/// The upper ends that matter to a row, `low <= upper <= high`, less the row's shift.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Window {
    /// The window of a row that is not looking for anything.
    pub(crate) const CLOSED: Window = Window { low: f32::INFINITY, high: f32::NEG_INFINITY };

    /// Bit `l` is set where `upper[l]` lies in the window.
    #[inline(always)]
    pub(crate) fn hits<S: Simd>(self, simd: S, upper: &[f32; MAX_WIDTH]) -> u64 {
        let (low, high) = (simd.splat(self.low), simd.splat(self.high));
        let mut hits = 0;
        for (register, upper) in upper.chunks_exact(S::F32_LANES).enumerate() {
            hits |= u64::from(simd.in_range(simd.load(upper), low, high)) << (register * S::F32_LANES);
        }
        hits
    }
}

/// The most anchors of a tile.
const MAX_ANCHORS: usize = 8;

/// The intervals in which the similarities of a tile lie, less their rows' shifts. Each row starts at a cache line, so
/// that no store of a register crosses two.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Ends {
    upper: [[f32; MAX_WIDTH]; MAX_ANCHORS],
    /// Those of one row.
    lower: [f32; MAX_WIDTH],
}

impl Ends {
    pub(crate) const ZERO: Ends = Ends { upper: [[0.0; MAX_WIDTH]; MAX_ANCHORS], lower: [0.0; MAX_WIDTH] };
}

/// The intervals of a row.
pub(crate) struct Intervals<'a> {
    pub(crate) upper: &'a mut [f32; MAX_WIDTH],
    pub(crate) lower: &'a [f32; MAX_WIDTH],
    /// How many of them were written by this tile.
    pub(crate) width: usize,
}

/// Who is told of the similarities that a tile found inside the windows of its rows.
pub(crate) trait Record {
    /// What is known of the rows of the tile, and their windows.
    fn rows(&self) -> (&[AnchorConstants], &[Window]);
    /// Some of `intervals` may matter to row `row`. They are the callee's to change.
    fn record(&mut self, row: usize, intervals: Intervals<'_>);
}

/// Computes one tile and tells `record` what lies in the windows.
#[inline(always)]
pub(crate) fn tile<S: Simd, F: Format, R: Record, const ANCHORS: usize, const REGISTERS: usize>(
    simd: S,
    tile: Tile<'_>,
    ends: &mut Ends,
    record: &mut R,
) {
    const {
        assert!(ANCHORS == S::TILE_ANCHORS && ANCHORS <= MAX_ANCHORS && REGISTERS <= S::TILE_REGISTERS);
        assert!(S::TILE_REGISTERS * S::F32_LANES <= MAX_WIDTH && MAX_WIDTH.is_multiple_of(S::F32_LANES));
    }
    let (constants, width) = (tile.constants, REGISTERS * S::F32_LANES);
    let (rows, windows) = record.rows();
    let rows: &[AnchorConstants; ANCHORS] = rows.first_chunk().expect("as many rows as the tile has");
    let windows: &[Window; ANCHORS] = windows.first_chunk().expect("as many windows as the tile has rows");
    let sums = products::<S, F, ANCHORS, REGISTERS>(simd, tile, rows);
    let mut columns = [F::columns(simd, CandidateConstants { constants, width, first: 0 }); REGISTERS];
    for (c, columns) in columns.iter_mut().enumerate() {
        *columns = F::columns(simd, CandidateConstants { constants, width, first: c * S::F32_LANES });
    }
    let mut rows_hit = 0_u32;
    for r in 0..ANCHORS {
        let hit = write_upper::<S, F, REGISTERS>(simd, &sums[r], (&rows[r], windows[r]), &columns, &mut ends.upper[r]);
        rows_hit |= u32::from(hit) << r;
    }
    while rows_hit != 0 {
        let r = rows_hit.trailing_zeros() as usize;
        rows_hit &= rows_hit - 1;
        let (upper, lower) = (&mut ends.upper[r], &mut ends.lower);
        write_lower::<S, F, REGISTERS>(simd, &record.rows().0[r], &columns, upper, lower);
        record.record(r, Intervals { upper, lower, width });
    }
}

/// Writes the upper ends of a row, and tells whether one of them is in its window.
#[inline(always)]
fn write_upper<S: Simd, F: Format, const REGISTERS: usize>(
    simd: S,
    sums: &[F::Words<S>; REGISTERS],
    (row, window): (&AnchorConstants, Window),
    columns: &[F::Loaded<S>; REGISTERS],
    upper: &mut [f32; MAX_WIDTH],
) -> bool {
    let (low, high) = (simd.splat(window.low), simd.splat(window.high));
    let mut hits = 0;
    for c in 0..REGISTERS {
        let ends = F::upper(simd, sums[c], row, &columns[c]);
        simd.store(ends, &mut upper[c * S::F32_LANES..]);
        hits |= simd.in_range(ends, low, high);
    }
    hits != 0
}

/// Writes the lower ends of a row.
#[inline(always)]
fn write_lower<S: Simd, F: Format, const REGISTERS: usize>(
    simd: S,
    row: &AnchorConstants,
    columns: &[F::Loaded<S>; REGISTERS],
    upper: &[f32; MAX_WIDTH],
    lower: &mut [f32; MAX_WIDTH],
) {
    for (c, columns) in columns.iter().enumerate() {
        let at = c * S::F32_LANES;
        let length = F::length(simd, row, columns);
        simd.store(simd.sub(simd.load(&upper[at..]), length), &mut lower[at..]);
    }
}

/// The sums of products of a tile, in ascending order of steps.
#[inline(always)]
fn products<S: Simd, F: Format, const ANCHORS: usize, const REGISTERS: usize>(
    simd: S,
    tile: Tile<'_>,
    rows: &[AnchorConstants; ANCHORS],
) -> [[F::Words<S>; REGISTERS]; ANCHORS] {
    let width = REGISTERS * S::F32_LANES;
    let mut sums = [[F::splat(simd, 0); REGISTERS]; ANCHORS];
    for r in 0..ANCHORS {
        sums[r] = [F::splat(simd, rows[r].start); REGISTERS];
    }
    let mut ahead = tile.ahead.from;
    for (anchors, candidates) in tile.anchors.as_chunks::<ANCHORS>().0.iter().zip(tile.candidates.chunks_exact(width)) {
        simd.prefetch(ahead);
        ahead = ahead.wrapping_add(tile.ahead.stride);
        let mut loaded = [F::splat(simd, 0); REGISTERS];
        for c in 0..REGISTERS {
            loaded[c] = F::load(simd, &candidates[c * S::F32_LANES..]);
        }
        for r in 0..ANCHORS {
            let anchor = F::splat(simd, anchors[r]);
            for c in 0..REGISTERS {
                sums[r][c] = F::add_products(simd, anchor, loaded[c], sums[r][c]);
            }
        }
    }
    sums
}
