//! The tile: the inner loop in which nearly all of the time of a large call goes.
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
//!   | u u ... |  --->  | accum. | accum. | accum. |     broadcast and multiplied with every register
//!   |   ...   |        |        |        |        |     of the panel: an outer product for each step
//!   +---------+        +--------+--------+--------+
//!   TILE_ANCHORS rows
//! ```
//!
//! A tile of few anchors, as the last of a block may be or that of a call with a single one, computes its own rows
//! only: then the panel is read as fast as the memory gives it.
//!
//! A lane of an accumulator is one pair and ends as its sum of products: there is nothing to reduce across lanes, so
//! that short rows cost hardly more than long ones. The end of a tile turns sums into the upper ends of intervals,
//! which are compared with the windows of the rows; lower ends are computed only for rows with a hit.

use core::marker::PhantomData;

use super::format::{AnchorConstants, CandidateConstants, Format};
use super::prefetch::Prefetch;
use crate::arch::{Simd, TileKernel};

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
    /// What is fetched while this tile computes.
    pub(crate) prefetch: Prefetch,
}

/// The upper ends that matter to a row, `low <= upper <= high`, less the row's shift.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Window {
    /// The window of a row whose closest negative is known.
    pub(crate) const CLOSED: Window = Window { low: f32::INFINITY, high: f32::NEG_INFINITY };

    /// Lets nothing in from now on. What lies on a list is still compared with the lower end.
    pub(crate) fn close(&mut self) {
        self.high = f32::NEG_INFINITY;
    }

    /// Whether nothing lies in the window, whatever there is.
    pub(crate) fn is_closed(self) -> bool {
        self.low > self.high
    }

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

/// The bounds of the similarities of a tile, less their rows' shifts: room for one tile. Each row starts at a cache
/// line, so that no store of a register crosses two.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct TileBounds {
    upper: [[f32; MAX_WIDTH]; MAX_ANCHORS],
    /// Those of one row.
    lower: [f32; MAX_WIDTH],
}

impl TileBounds {
    pub(crate) const ZERO: TileBounds = TileBounds { upper: [[0.0; MAX_WIDTH]; MAX_ANCHORS], lower: [0.0; MAX_WIDTH] };
}

/// The intervals of a row.
pub(crate) struct Intervals<'a> {
    pub(crate) upper: &'a mut [f32; MAX_WIDTH],
    pub(crate) lower: &'a [f32; MAX_WIDTH],
    /// How many of them were written by this tile.
    pub(crate) width: usize,
}

/// Receives the hits of a tile: rows some of whose intervals end in the row's window.
pub(crate) trait HitSink {
    /// What is known of the rows of the tile, and their windows.
    fn rows(&self) -> (&[AnchorConstants], &[Window]);
    /// Takes the intervals of row `row`, some of which may matter. They are the sink's to change.
    fn take(&mut self, row: usize, intervals: Intervals<'_>);
}

/// The kernel of one tile: computes it, and passes the rows with hits to `sink`.
pub(crate) struct ScreenTile<'a, F, H> {
    pub(crate) tile: Tile<'a>,
    pub(crate) bounds: &'a mut TileBounds,
    pub(crate) sink: &'a mut H,
    pub(crate) format: PhantomData<F>,
}

impl<F: Format, H: HitSink> TileKernel for ScreenTile<'_, F, H> {
    #[inline(always)]
    fn run<S: Simd, const ANCHORS: usize, const REGISTERS: usize>(self, simd: S) {
        const {
            assert!(ANCHORS <= S::TILE_ANCHORS && S::TILE_ANCHORS <= MAX_ANCHORS && REGISTERS <= S::TILE_REGISTERS);
            assert!(S::TILE_REGISTERS * S::F32_LANES <= MAX_WIDTH && MAX_WIDTH.is_multiple_of(S::F32_LANES));
        }
        let Self { tile, bounds, sink, .. } = self;
        let (constants, width) = (tile.constants, REGISTERS * S::F32_LANES);
        let (rows, windows) = sink.rows();
        let rows: &[AnchorConstants; ANCHORS] = rows.first_chunk().expect("as many rows as the tile has");
        let windows: &[Window; ANCHORS] = windows.first_chunk().expect("as many windows as the tile has rows");
        let sums = products::<S, F, ANCHORS, REGISTERS>(simd, tile, rows);
        let mut loaded = [F::load_constants(simd, CandidateConstants { constants, width, first: 0 }); REGISTERS];
        for (c, loaded) in loaded.iter_mut().enumerate() {
            *loaded = F::load_constants(simd, CandidateConstants { constants, width, first: c * S::F32_LANES });
        }
        let mut rows_hit = 0_u32;
        for r in 0..ANCHORS {
            let upper = &mut bounds.upper[r];
            let hit = write_upper::<S, F, REGISTERS>(simd, &sums[r], (&rows[r], windows[r]), &loaded, upper);
            rows_hit |= u32::from(hit) << r;
        }
        while rows_hit != 0 {
            let r = rows_hit.trailing_zeros() as usize;
            rows_hit &= rows_hit - 1;
            let (upper, lower) = (&mut bounds.upper[r], &mut bounds.lower);
            write_lower::<S, F, REGISTERS>(simd, &sink.rows().0[r], &loaded, upper, lower);
            sink.take(r, Intervals { upper, lower, width });
        }
    }
}

/// Writes the upper ends of a row; true if one of them is in its window.
#[inline(always)]
fn write_upper<S: Simd, F: Format, const REGISTERS: usize>(
    simd: S,
    sums: &[F::Words<S>; REGISTERS],
    (row, window): (&AnchorConstants, Window),
    loaded: &[F::Loaded<S>; REGISTERS],
    upper: &mut [f32; MAX_WIDTH],
) -> bool {
    let (low, high) = (simd.splat(window.low), simd.splat(window.high));
    let mut hits = 0;
    for c in 0..REGISTERS {
        let ends = F::upper(simd, sums[c], row, &loaded[c]);
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
    loaded: &[F::Loaded<S>; REGISTERS],
    upper: &[f32; MAX_WIDTH],
    lower: &mut [f32; MAX_WIDTH],
) {
    for (c, loaded) in loaded.iter().enumerate() {
        let at = c * S::F32_LANES;
        let length = F::length(simd, row, loaded);
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
    let mut prefetch = tile.prefetch;
    let steps = tile.anchors.chunks_exact(S::TILE_ANCHORS).zip(tile.candidates.chunks_exact(width));
    for (anchors, candidates) in steps {
        prefetch.step(simd);
        let mut loaded = [F::splat(simd, 0); REGISTERS];
        for c in 0..REGISTERS {
            loaded[c] = F::load(simd, &candidates[c * S::F32_LANES..]);
        }
        for r in 0..ANCHORS {
            for c in 0..REGISTERS {
                sums[r][c] = F::add_products(simd, anchors[r], loaded[c], sums[r][c]);
            }
        }
    }
    sums
}
