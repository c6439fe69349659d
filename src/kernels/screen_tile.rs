//! The tile: the inner loop in which nearly all of the time of a large call goes.
//!
//! ```text
//!                    one panel: the registers of the format's tile
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
//!   the rows of the format's tile
//! ```
//!
//! A tile of few anchors, as the last of a block may be or that of a call with a single one, computes its own rows
//! only: then the panel is read as fast as the memory gives it.
//!
//! A lane of an accumulator is one pair and ends as its sum of products: there is nothing to reduce across lanes, so
//! that short rows cost hardly more than long ones. The end of a tile turns sums into the upper ends of intervals,
//! which are compared with the windows of the rows; lower ends are computed only for rows with a hit.

use core::marker::PhantomData;

use super::format::{CandidateConstants, Float32, Format, Int8, Int16, Words};
use super::prefetch::{Prefetch, PrefetchPlan};
use crate::arch::{Backend, Simd, TileKernel, WithSimd, in_range};

/// The registers of candidates in the widest tile, times their lanes.
pub(crate) const MAX_WIDTH: usize = 48;

/// The most anchors of a tile.
pub(crate) const MAX_ANCHORS: usize = 8;

/// Up to so many rows of a tile, the upper ends of a row are written where those of the row before, if it has no hits, were:
/// the address waits for that. With 8 rows and AVX-512 it costs up to a sixth of a call (1024 x 1024 x 128 on Zen 4, by the
/// place of the stack), so that they are written to one place there; with 4 rows and AVX2 it saves 6 %, as it takes no
/// branch on which rows have hits.
const CHAINED_ANCHORS: usize = 6;

/// The rows for whose intervals there is room: those with hits of several tiles, in memory that stays in the first-level
/// cache.
const SLOTS: usize = 3 * MAX_ANCHORS;

/// Whether a row has so many hits, three or more, that its window is raised to the best of them at once. Not every CPU has
/// an instruction that counts bits.
#[inline(always)]
pub(crate) fn are_many_hits(mask: u64) -> bool {
    let without_first = mask & mask.wrapping_sub(1);
    without_first & without_first.wrapping_sub(1) != 0
}

/// What a tile knows of an anchor beside its words.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnchorConstants {
    /// The word that a sum starts with.
    pub(crate) start: u32,
    /// What one unit of the anchor's integers stands for.
    pub(crate) quant_step: f32,
    /// The norm of what the anchor's integers stand for.
    pub(crate) norm: f32,
    /// The norm of what they leave out.
    pub(crate) residual: f32,
    /// The part of an interval's length that is the same for all candidates.
    pub(crate) length: f32,
    /// What is added to all similarities of the row, and left out until they are compared.
    pub(crate) shift: f32,
}

/// The upper ends that matter to a row, `low <= upper <= high`, less the row's shift.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) low: f32,
    pub(crate) high: f32,
    /// Pairs whose intervals end up to here are below the row's upper limit for certain.
    pub(crate) certain: f32,
}

impl Window {
    /// The window of a row whose closest negative is known.
    pub(crate) const CLOSED: Window =
        Window { low: f32::INFINITY, high: f32::NEG_INFINITY, certain: f32::NEG_INFINITY };

    /// Raises the lower end to `low`, which the wanted negatives reach, unless it is there already.
    pub(crate) fn raise(&mut self, low: f32) {
        self.low = if low > self.low { low } else { self.low };
    }

    /// Lets nothing in from now on. What lies on a list is still compared with the lower end.
    pub(crate) fn close(&mut self) {
        self.high = f32::NEG_INFINITY;
    }

    /// Whether nothing lies in the window, whatever there is.
    pub(crate) fn is_closed(self) -> bool {
        self.low > self.high
    }

    /// Bit `l` is set where `upper[l]` lies in the window.
    pub(crate) fn hits(self, upper: &[f32; MAX_WIDTH]) -> u64 {
        in_range(upper, self.low, self.high)
    }
}

/// A block of anchors and panels of candidates, whose tiles are to be computed.
#[derive(Clone, Copy)]
pub(crate) struct PanelTiles<'a> {
    /// The length of the rows.
    pub(crate) dim: usize,
    /// The words of the anchors, `[tile][step][anchor]`.
    pub(crate) anchors: &'a [u32],
    /// The anchors of the block: the last tile may have fewer than the others.
    pub(crate) rows: usize,
    /// The constants and the window of each anchor, for whole tiles.
    pub(crate) constants: &'a [AnchorConstants],
    pub(crate) windows: &'a [Window],
    /// Of each panel, the words of the candidates, `[step][candidate]`, and their constants, `[..][candidate]`. The last one
    /// may be narrower.
    pub(crate) panels: &'a [u32],
    /// The panel before which to stop.
    pub(crate) end: usize,
    pub(crate) prefetch: &'a PrefetchPlan<'a>,
}

/// The place of a tile in the order in which they are computed: panel by panel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TilePlace {
    pub(crate) panel: usize,
    pub(crate) tile: usize,
}

/// The rows with hits that tiles have found: those some of whose intervals end in the row's window. Each row of numbers
/// starts at a cache line, so that no store of a register crosses two.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct PanelHits {
    /// The upper ends of a tile of many rows, from where those of rows with hits are copied.
    tile: [[f32; MAX_WIDTH]; MAX_ANCHORS],
    upper: [[f32; MAX_WIDTH]; SLOTS],
    lower: [[f32; MAX_WIDTH]; SLOTS],
    /// Of each slot with a row: the row, and which of its intervals end in the row's window.
    rows: [usize; SLOTS],
    found: [Found; SLOTS],
    /// The slots that hold rows, and those of them that were taken.
    used: usize,
    taken: usize,
    /// The panel of the tiles, and its candidates.
    panel: usize,
    width: usize,
}

impl Default for PanelHits {
    fn default() -> PanelHits {
        PanelHits {
            tile: [[0.0; MAX_WIDTH]; MAX_ANCHORS],
            upper: [[0.0; MAX_WIDTH]; SLOTS],
            lower: [[0.0; MAX_WIDTH]; SLOTS],
            rows: [0; SLOTS],
            found: [Found::default(); SLOTS],
            used: 0,
            taken: 0,
            panel: 0,
            width: 0,
        }
    }
}

/// Which intervals of a row end in its window. Bits beyond the last candidate mean nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// Bit `l` is set where interval `l` ends in the window.
    pub(crate) mask: u64,
    /// Where [there are many](are_many_hits): the largest lower end of the intervals that end up to [`Window::certain`], and negative
    /// infinity without one. 0 elsewhere.
    pub(crate) reached: f32,
    /// The bits of `mask` that are left when the window begins at `reached`, if that is above its lower end.
    pub(crate) raised: u64,
}

/// A row with hits, and its intervals.
pub(crate) struct RowHits<'a> {
    /// The row in the block.
    pub(crate) row: usize,
    pub(crate) panel: usize,
    /// The ends of the intervals, `width` of which were written. The upper ones are the receiver's to change.
    pub(crate) width: usize,
    pub(crate) upper: &'a mut [f32; MAX_WIDTH],
    pub(crate) lower: &'a [f32; MAX_WIDTH],
    pub(crate) found: Found,
}

impl PanelHits {
    /// Takes the next row with hits, in ascending order.
    #[inline]
    pub(crate) fn next_row(&mut self) -> Option<RowHits<'_>> {
        if self.taken == self.used {
            return None;
        }
        let slot = self.taken;
        self.taken += 1;
        let PanelHits { panel, width, rows, found, .. } = self;
        let (upper, lower) = (&mut self.upper[slot], &self.lower[slot]);
        Some(RowHits { row: rows[slot], panel: *panel, width: *width, upper, lower, found: found[slot] })
    }
}

/// Computes the tiles of a block from `from` on, up to the end of the first panel with hits or until there is no room for
/// another tile with hits, and leaves the rows with hits in `hits`. Returns the next tile.
pub(crate) fn find_hits(
    backend: Backend,
    format: Format,
    tiles: &PanelTiles<'_>,
    from: TilePlace,
    hits: &mut PanelHits,
) -> TilePlace {
    match format {
        Format::Int8 => backend.run_with_dots(FindHits { tiles, from, hits, words: PhantomData::<Int8> }),
        Format::Int16 => backend.run_with_dots(FindHits { tiles, from, hits, words: PhantomData::<Int16> }),
        Format::Float32 => backend.run(FindHits { tiles, from, hits, words: PhantomData::<Float32> }),
    }
}

struct FindHits<'a, 'b, W> {
    tiles: &'a PanelTiles<'a>,
    from: TilePlace,
    hits: &'b mut PanelHits,
    words: PhantomData<W>,
}

impl<W: Words> WithSimd for FindHits<'_, '_, W> {
    type Output = TilePlace;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> TilePlace {
        let Self { tiles, from: mut at, hits, .. } = self;
        let PanelTiles { dim, anchors, rows, constants, windows, panels, end, prefetch } = *tiles;
        let shape = const { S::TILES[W::FORMAT as usize] };
        let (steps, words_per_candidate) = (W::FORMAT.steps(dim), W::FORMAT.words_per_candidate(dim));
        let (count, panel_len) = (rows.div_ceil(shape.anchors), shape.registers * S::F32_LANES * words_per_candidate);
        let tiles = anchors.chunks_exact(shape.anchors * steps).take(count).enumerate();
        (hits.used, hits.taken) = (0, 0);
        while at.panel < end && hits.used == 0 {
            let rest = &panels[at.panel * panel_len..];
            let (panel, next_panel) = rest.split_at(panel_len.min(rest.len()));
            let width = panel.len() / words_per_candidate;
            let (candidates, candidate_constants) = panel.split_at(steps * width);
            (hits.panel, hits.width) = (at.panel, width);
            let tiles = tiles.clone().skip(at.tile);
            at = TilePlace { panel: at.panel + 1, tile: 0 };
            for (tile, anchors) in tiles {
                let row = tile * shape.anchors;
                let prefetch = prefetch.of_tile(tile, hits.panel, next_panel).unwrap_or(Prefetch::nothing(anchors));
                let (constants, windows) = (&constants[row..], &windows[row..]);
                let tile_of = Tile { anchors, candidates, candidate_constants, prefetch, row, constants, windows };
                let kernel = ScreenTile { tile: tile_of, hits: &mut *hits, words: PhantomData::<W> };
                simd.run_tile(shape.anchors.min(rows - row), width / S::F32_LANES, kernel);
                if hits.used + shape.anchors > SLOTS && tile + 1 < count {
                    at = TilePlace { panel: hits.panel, tile: tile + 1 };
                    break;
                }
            }
            // Not tile by tile: which rows have hits is hard to foresee, and a tile that waits for it begins the next one
            // late.
            for slot in 0..hits.used {
                let row = hits.rows[slot];
                let (upper, lower) = (&hits.upper[slot], &mut hits.lower[slot]);
                let of_row = (&constants[row], windows[row]);
                hits.found[slot] = write_lower::<S, W>(simd, of_row, (candidate_constants, width), upper, lower);
            }
        }
        at
    }
}

/// What a tile is computed from.
struct Tile<'a> {
    /// Anchors, `[step][anchor]`.
    anchors: &'a [u32],
    /// Candidates, `[step][width]`, with a width of a whole number of registers.
    candidates: &'a [u32],
    /// The candidates' constants, `[..][width]`.
    candidate_constants: &'a [u32],
    /// What is fetched while this tile computes.
    prefetch: Prefetch,
    /// The first row of the tile in its block.
    row: usize,
    /// Of the rows of the tile, and others.
    constants: &'a [AnchorConstants],
    windows: &'a [Window],
}

/// Computes one tile.
struct ScreenTile<'a, 'b, W> {
    tile: Tile<'a>,
    hits: &'b mut PanelHits,
    words: PhantomData<W>,
}

impl<W: Words> TileKernel for ScreenTile<'_, '_, W> {
    const TILE: usize = W::FORMAT as usize;

    #[inline(always)]
    fn run<S: Simd, const ANCHORS: usize, const REGISTERS: usize>(self, simd: S) {
        const {
            assert!(S::TILES[Self::TILE].anchors <= MAX_ANCHORS);
            assert!(REGISTERS * S::F32_LANES <= MAX_WIDTH && MAX_WIDTH.is_multiple_of(S::F32_LANES));
        }
        let Self { tile, hits, .. } = self;
        let (constants, width) = (tile.candidate_constants, REGISTERS * S::F32_LANES);
        let rows: &[AnchorConstants; ANCHORS] = tile.constants.first_chunk().expect("as many rows as the tile has");
        let windows: &[Window; ANCHORS] = tile.windows.first_chunk().expect("as many windows as the tile has rows");
        let sums = products::<S, W, ANCHORS, REGISTERS>(simd, &tile, rows);
        let mut loaded = [W::load_constants(simd, CandidateConstants { constants, width, first: 0 }); REGISTERS];
        for (c, loaded) in loaded.iter_mut().enumerate() {
            *loaded = W::load_constants(simd, CandidateConstants { constants, width, first: c * S::F32_LANES });
        }
        if const { S::TILES[Self::TILE].anchors <= CHAINED_ANCHORS } {
            // A row without hits leaves its slot to the next one.
            let mut used = hits.used;
            for r in 0..ANCHORS {
                let upper = &mut hits.upper[used];
                let hit = write_upper::<S, W, REGISTERS>(simd, &sums[r], (&rows[r], windows[r]), &loaded, upper);
                hits.rows[used] = tile.row + r;
                used += usize::from(hit);
            }
            hits.used = used;
            return;
        }
        let mut rows_hit = 0_u32;
        for r in 0..ANCHORS {
            let upper = &mut hits.tile[r];
            let hit = write_upper::<S, W, REGISTERS>(simd, &sums[r], (&rows[r], windows[r]), &loaded, upper);
            rows_hit |= u32::from(hit) << r;
        }
        while rows_hit != 0 {
            let r = rows_hit.trailing_zeros() as usize;
            rows_hit &= rows_hit - 1;
            hits.rows[hits.used] = tile.row + r;
            hits.upper[hits.used] = hits.tile[r];
            hits.used += 1;
        }
    }
}

/// Writes the upper ends of a row; true if one of them is in its window.
#[inline(always)]
fn write_upper<S: Simd, W: Words, const REGISTERS: usize>(
    simd: S,
    sums: &[W::Register<S>; REGISTERS],
    (row, window): (&AnchorConstants, Window),
    loaded: &[W::Constants<S>; REGISTERS],
    upper: &mut [f32; MAX_WIDTH],
) -> bool {
    let (low, high) = (simd.splat(window.low), simd.splat(window.high));
    let mut hits = 0;
    for c in 0..REGISTERS {
        let ends = W::upper(simd, sums[c], row, &loaded[c]);
        simd.store(ends, &mut upper[c * S::F32_LANES..]);
        hits |= simd.in_range(ends, low, high);
    }
    hits != 0
}

/// Writes the lower ends of a row with `width` candidates, and finds what matters of it.
#[inline(always)]
fn write_lower<S: Simd, W: Words>(
    simd: S,
    (row, window): (&AnchorConstants, Window),
    (constants, width): (&[u32], usize),
    upper: &[f32; MAX_WIDTH],
    lower: &mut [f32; MAX_WIDTH],
) -> Found {
    let (low, high, certain) = (simd.splat(window.low), simd.splat(window.high), simd.splat(window.certain));
    let (mut mask, mut largest) = (0, simd.splat(f32::NEG_INFINITY));
    for at in (0..width).step_by(S::F32_LANES) {
        let loaded = W::load_constants(simd, CandidateConstants { constants, width, first: at });
        let (length, ends) = (W::length(simd, row, &loaded), simd.load(&upper[at..]));
        let lower_ends = simd.sub(ends, length);
        mask |= u64::from(simd.in_range(ends, low, high)) << at;
        largest = simd.max_where(largest, lower_ends, ends, certain);
        simd.store(lower_ends, &mut lower[at..]);
    }
    if !are_many_hits(mask) {
        return Found { mask, ..Found::default() };
    }
    let (reached, mut raised) = (simd.largest(largest), 0);
    let low = simd.splat(if reached > window.low { reached } else { window.low });
    for at in (0..width).step_by(S::F32_LANES) {
        raised |= u64::from(simd.in_range(simd.load(&upper[at..]), low, high)) << at;
    }
    Found { mask, reached, raised }
}

/// The sums of products of a tile, in ascending order of steps.
#[inline(always)]
fn products<S: Simd, W: Words, const ANCHORS: usize, const REGISTERS: usize>(
    simd: S,
    tile: &Tile<'_>,
    rows: &[AnchorConstants; ANCHORS],
) -> [[W::Register<S>; REGISTERS]; ANCHORS] {
    let width = REGISTERS * S::F32_LANES;
    let mut sums = [[W::splat(simd, 0); REGISTERS]; ANCHORS];
    for r in 0..ANCHORS {
        sums[r] = [W::splat(simd, rows[r].start); REGISTERS];
    }
    let tile_anchors = const { S::TILES[W::FORMAT as usize].anchors };
    let (mut prefetch, mut anchors, mut candidates) = (tile.prefetch, tile.anchors, tile.candidates);
    if const { matches!(W::FORMAT, Format::Int8) && S::I8_SUM.is_some() } {
        let pairs = anchors.chunks_exact(2 * tile_anchors).zip(candidates.chunks_exact(2 * width));
        let in_pairs = anchors.len() / (2 * tile_anchors);
        for (anchors, candidates) in pairs {
            prefetch.step();
            prefetch.step();
            let mut loaded = [[W::splat(simd, 0); 2]; REGISTERS];
            for (c, loaded) in loaded.iter_mut().enumerate() {
                let at = c * S::F32_LANES;
                *loaded = [W::load(simd, &candidates[at..]), W::load(simd, &candidates[width + at..])];
            }
            for r in 0..ANCHORS {
                let words = [anchors[r], anchors[tile_anchors + r]];
                for c in 0..REGISTERS {
                    sums[r][c] = W::add_two_products(simd, words, loaded[c], sums[r][c]);
                }
            }
        }
        // The last one of an odd number of steps.
        (anchors, candidates) = (&anchors[in_pairs * 2 * tile_anchors..], &candidates[in_pairs * 2 * width..]);
    }
    for (anchors, candidates) in anchors.chunks_exact(tile_anchors).zip(candidates.chunks_exact(width)) {
        prefetch.step();
        let mut loaded = [W::splat(simd, 0); REGISTERS];
        for c in 0..REGISTERS {
            loaded[c] = W::load(simd, &candidates[c * S::F32_LANES..]);
        }
        for r in 0..ANCHORS {
            for c in 0..REGISTERS {
                sums[r][c] = W::add_products(simd, anchors[r], loaded[c], sums[r][c]);
            }
        }
    }
    sums
}
