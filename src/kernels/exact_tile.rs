//! The exact tile: the definition of similarity for many pairs at once, bit for bit.
//!
//! ```text
//!                    CANDIDATES rows, as they lie in memory
//!                    c0 -> . . . . . . . . | . . . .        one block of 16 elements after the other;
//!                    c1 -> . . . . . . . . | . . . .        element k goes to virtual lane k mod 16
//!                    c2 -> . . . . . . . . | . . . .
//!    ANCHORS rows
//!    a0 -> . . . .   [lanes of a0 c0] [lanes of a0 c1] [lanes of a0 c2]
//!    a1 -> . . . .   [lanes of a1 c0] [lanes of a1 c1] [lanes of a1 c2]
//! ```
//!
//! A pair has all its 16 virtual lanes in registers, as [`dots`](super::lanes::dots) has: REGISTERS of them at a time,
//! and where that is not all of them, the rows are read once for each part of the lanes. A load of a row, which widens
//! it to `f64`, serves all rows of the other side. The lanes of several pairs are folded together.

use super::dots::dots_from_memory;
use super::lanes::{LANES, MOST_REGISTERS, PaddedRows, padded};
use super::wide_tile::WidenedRows;
use crate::arch::{Backend, DotKernel, Simd, WithSimd};
use crate::rows::Rows;

/// The most pairs of a tile.
pub(super) const MOST_PAIRS: usize = 16;

/// The most candidates of a run: whole tiles of every instruction set. Divisions and comparisons of a row's similarities
/// with them are made in whole registers.
pub(crate) const MOST_CANDIDATES: usize = 48;

/// The most anchors that are met by a run of candidates at once: whole tiles of every instruction set. All their
/// similarities stay in the first-level cache.
pub(crate) const MOST_ANCHORS: usize = 24;

/// Rows with their norms.
#[derive(Clone, Copy)]
pub(crate) struct NormedRows<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) norms: &'a [f64],
}

impl<'a> NormedRows<'a> {
    /// `count` rows from row `first` on.
    pub(crate) fn range(self, first: usize, count: usize) -> NormedRows<'a> {
        NormedRows { rows: self.rows.range(first, count), norms: &self.norms[first..first + count] }
    }
}

/// The similarities of a row that are looked for: `above < s <= up_to`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sought {
    pub(crate) above: f32,
    pub(crate) up_to: f32,
}

impl Sought {
    /// All similarities.
    pub(crate) const ALL: Sought = Sought { above: f32::NEG_INFINITY, up_to: f32::INFINITY };
}

/// The exact similarities of some anchors with a run of candidates.
#[derive(Debug)]
pub(crate) struct Similarities {
    values: [[f32; MOST_CANDIDATES]; MOST_ANCHORS],
    /// The largest similarity of each anchor up to the end of what is looked for.
    largest: [f32; MOST_ANCHORS],
    /// Bit `a` is set where anchor `a` has a similarity that is looked for.
    found: u32,
    /// The rows of both sides, where they are widened before they are multiplied.
    pub(crate) widened: WidenedRows,
}

/// The similarities of one anchor with a run of candidates, and the largest of them up to the end of what is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowSimilarities<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) largest: f32,
}

impl Similarities {
    /// Room for similarities, and none for widened rows.
    pub(crate) const EMPTY: Similarities = Similarities {
        values: [[0.0; MOST_CANDIDATES]; MOST_ANCHORS],
        largest: [0.0; MOST_ANCHORS],
        found: 0,
        widened: WidenedRows::EMPTY,
    };

    /// Forgets which anchors have a similarity that is looked for.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.found = 0;
    }

    /// Takes the next anchor that has a similarity that is looked for, and its similarities with `candidates` candidates.
    #[inline]
    pub(crate) fn next_row(&mut self, candidates: usize) -> Option<(usize, RowSimilarities<'_>)> {
        if self.found == 0 {
            return None;
        }
        let row = self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        let values = &self.values[row][..candidates];
        Some((row, RowSimilarities { values, largest: self.largest[row] }))
    }
}

/// Computes the similarities of up to [`MOST_ANCHORS`] anchors with up to [`MOST_CANDIDATES`] candidates. `sought` says
/// what is looked for in the row of each anchor.
#[inline]
pub(crate) fn compute_similarities(
    backend: Backend,
    anchors: NormedRows<'_>,
    candidates: NormedRows<'_>,
    sought: &[Sought],
    similarities: &mut Similarities,
) {
    debug_assert!(anchors.rows.count() <= MOST_ANCHORS && candidates.rows.count() <= MOST_CANDIDATES);
    backend.run(ExactTiles { anchors, candidates, sought, similarities });
}

/// The tiles of some anchors and a run of candidates.
struct ExactTiles<'a, 'b> {
    anchors: NormedRows<'a>,
    candidates: NormedRows<'a>,
    sought: &'a [Sought],
    similarities: &'b mut Similarities,
}

impl WithSimd for ExactTiles<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        const { assert!(MOST_ANCHORS.is_multiple_of(S::DOT_ANCHORS)) }
        let Self { anchors, candidates, sought, similarities } = self;
        similarities.clear();
        let count = anchors.rows.count();
        for first in (0..count).step_by(S::DOT_ANCHORS) {
            let strip = Strip { anchors, first, candidates, sought, similarities: &mut *similarities };
            simd.run_dot_tile(S::DOT_ANCHORS.min(count - first), strip);
        }
    }
}

/// A few anchors and a run of candidates.
struct Strip<'a, 'b> {
    anchors: NormedRows<'a>,
    /// The first of the anchors.
    first: usize,
    candidates: NormedRows<'a>,
    sought: &'a [Sought],
    similarities: &'b mut Similarities,
}

impl DotKernel for Strip<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, const ANCHORS: usize, const CANDIDATES: usize, const REGISTERS: usize>(self, simd: S) {
        const { assert!(ANCHORS <= S::DOT_ANCHORS && ANCHORS * CANDIDATES <= MOST_PAIRS) }
        const { assert!(MOST_CANDIDATES.is_multiple_of(CANDIDATES)) }
        let Self { anchors, first, candidates, sought, similarities } = self;
        let mut rows = [&[][..]; ANCHORS];
        for (a, row) in rows.iter_mut().enumerate() {
            *row = anchors.rows.row(first + a);
        }
        let (mut tails, mut other_tails) = ([[0.0; LANES]; ANCHORS], [[0.0; LANES]; CANDIDATES]);
        // Whether the rows end with an incomplete block.
        let ragged = !anchors.rows.dim().is_multiple_of(LANES);
        if ragged {
            tails = PaddedRows::new(rows).tails;
        }
        let count = candidates.rows.count();
        let mut dots = [[0.0; MOST_CANDIDATES]; ANCHORS];
        for start in (0..count).step_by(CANDIDATES) {
            // A tile beyond the last candidate repeats that one.
            let mut others = [&[][..]; CANDIDATES];
            for (c, other) in others.iter_mut().enumerate() {
                *other = candidates.rows.row((start + c).min(count - 1));
            }
            if ragged {
                for (c, tail) in other_tails.iter_mut().enumerate() {
                    *tail = last_block(candidates.rows, (start + c).min(count - 1));
                }
            }
            let ends = [Ends { anchors: &tails, candidates: &other_tails }];
            let ends = &ends[..usize::from(ragged)];
            let tile = tile::<S, ANCHORS, CANDIDATES, REGISTERS>(simd, rows, others, ends);
            for (dots, of_anchor) in dots.iter_mut().zip(tile.as_chunks::<CANDIDATES>().0) {
                dots[start..][..CANDIDATES].copy_from_slice(of_anchor);
            }
        }
        for (a, dots) in dots.iter().enumerate() {
            let row = first + a;
            let (norm, other_norms, sought) = (anchors.norms[row], candidates.norms, sought[row]);
            WriteRow { row, norm, dots, other_norms, sought, similarities: &mut *similarities }.run(simd);
        }
    }
}

/// Computes the norms of up to [`MOST_CANDIDATES`] rows that come from memory and their similarities with `anchor`,
/// whose norm is `norm`: the norm and the product of a row from one pass.
pub(crate) fn measure_similarities(
    backend: Backend,
    (anchor, norm): (&[f32], f64),
    rows: Rows<'_>,
    norms: &mut [f64],
    sought: Sought,
    similarities: &mut Similarities,
) {
    backend.run_widening(MeasureRun { anchor, norm, rows, norms, sought, similarities });
}

struct MeasureRun<'a, 'b> {
    anchor: &'a [f32],
    norm: f64,
    rows: Rows<'a>,
    norms: &'b mut [f64],
    sought: Sought,
    similarities: &'b mut Similarities,
}

impl WithSimd for MeasureRun<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { anchor, norm, rows, norms, sought, similarities } = self;
        let mut dots = [0.0; MOST_CANDIDATES];
        dots_from_memory(simd, rows, anchor, norms, dots.as_chunks_mut().0);
        similarities.clear();
        let (dots, other_norms) = (&dots, &*norms);
        simd.run(WriteRow { row: 0, norm, dots, other_norms, sought, similarities });
    }
}

/// Writes the similarities of an anchor by its dot products with as many candidates as there are norms. Widened rows share
/// one function of it. Behind the tiles of rows in memory it is inlined: a call there made the compiler spill sums, which
/// took 1.4 times as long with AVX2.
pub(super) struct WriteRow<'a> {
    pub(super) row: usize,
    pub(super) norm: f64,
    pub(super) dots: &'a [f64; MOST_CANDIDATES],
    pub(super) other_norms: &'a [f64],
    pub(super) sought: Sought,
    pub(super) similarities: &'a mut Similarities,
}

impl WithSimd for WriteRow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { row, norm, dots, other_norms, sought, similarities } = self;
        let values = &mut similarities.values[row];
        for ((value, &dot), &other_norm) in values.iter_mut().zip(dots).zip(other_norms) {
            *value = cosine(dot, norm, other_norm) as f32;
        }
        let largest = largest_up_to(sought.up_to, &values[..other_norms.len()]);
        similarities.largest[row] = largest;
        similarities.found |= u32::from(largest > sought.above) << row;
    }
}

/// The cosine similarity of two rows whose dot product and norms are known, before it is rounded to `f32`.
#[inline(always)]
pub(crate) fn cosine(dot: f64, x_norm: f64, y_norm: f64) -> f64 {
    let norms = x_norm * y_norm;
    if norms == 0.0 { 0.0 } else { dot / norms }
}

/// The last, incomplete block of a row, and behind it what follows it in memory, or zeros.
#[inline(always)]
pub(super) fn last_block(rows: Rows<'_>, row: usize) -> [f32; LANES] {
    let (dim, data) = (rows.dim(), rows.data());
    let from = &data[row * dim + dim / LANES * LANES..];
    from.first_chunk().copied().unwrap_or_else(|| padded(from))
}

/// The incomplete blocks of the rows of a tile.
pub(super) struct Ends<'a, const ANCHORS: usize, const CANDIDATES: usize> {
    /// Filled up with zeros.
    pub(super) anchors: &'a [[f32; LANES]; ANCHORS],
    /// Filled up with anything finite.
    pub(super) candidates: &'a [[f32; LANES]; CANDIDATES],
}

/// The dot products of a tile, those of the first anchor first: of the whole blocks of the rows, and of their incomplete
/// blocks, which are the one element of `ends`, if there are any. Those of candidates may go on beyond the rows: what
/// follows a row in memory is multiplied with the zeros that anchors are filled up with, which adds nothing to a
/// lane. It is finite, as the row that it belongs to, or the call fails.
#[inline(always)]
fn tile<S: Simd, const ANCHORS: usize, const CANDIDATES: usize, const REGISTERS: usize>(
    simd: S,
    anchors: [&[f32]; ANCHORS],
    candidates: [&[f32]; CANDIDATES],
    ends: &[Ends<'_, ANCHORS, CANDIDATES>],
) -> [f64; MOST_PAIRS] {
    let registers = LANES / S::F64_LANES;
    let mut lanes = [[[simd.splat64(0.0); MOST_REGISTERS]; CANDIDATES]; ANCHORS];
    let whole = anchors[0].len() / LANES;
    let anchor_blocks = whole_blocks(anchors, whole);
    let candidate_blocks = whole_blocks(candidates, whole);
    for part in (0..registers).step_by(REGISTERS) {
        let mut sums = [[[simd.splat64(0.0); REGISTERS]; CANDIDATES]; ANCHORS];
        for k in 0..whole {
            add_block(simd, part, &mut sums, &each(&anchor_blocks, k), &each(&candidate_blocks, k));
        }
        for Ends { anchors, candidates } in ends {
            add_block(simd, part, &mut sums, &anchors.each_ref(), &candidates.each_ref());
        }
        for a in 0..ANCHORS {
            for c in 0..CANDIDATES {
                for r in 0..REGISTERS {
                    lanes[a][c][part + r] = sums[a][c][r];
                }
            }
        }
    }
    fold(simd, &mut lanes)
}

/// The first `whole` blocks of each row. A loop, not a closure: that is compiled without the instruction set, where it
/// is not inlined.
#[inline(always)]
pub(super) fn whole_blocks<const ROWS: usize>(rows: [&[f32]; ROWS], whole: usize) -> [&[[f32; LANES]]; ROWS] {
    let mut blocks = [&[][..]; ROWS];
    for (blocks, row) in blocks.iter_mut().zip(rows) {
        *blocks = &row.as_chunks().0[..whole];
    }
    blocks
}

/// Block `k` of each row.
#[inline(always)]
pub(super) fn each<'a, const ROWS: usize>(rows: &[&'a [[f32; LANES]]; ROWS], k: usize) -> [&'a [f32; LANES]; ROWS] {
    let mut blocks = [&[0.0; LANES]; ROWS];
    for (block, row) in blocks.iter_mut().zip(rows) {
        *block = &row[k];
    }
    blocks
}

/// Adds the products of a block of `LANES` elements, those of the lanes from register `part` on.
#[inline(always)]
fn add_block<S: Simd, const ANCHORS: usize, const CANDIDATES: usize, const REGISTERS: usize>(
    simd: S,
    part: usize,
    sums: &mut [[[S::F64; REGISTERS]; CANDIDATES]; ANCHORS],
    anchors: &[&[f32; LANES]; ANCHORS],
    candidates: &[&[f32; LANES]; CANDIDATES],
) {
    for (r, at) in (0..REGISTERS).map(|r| (r, (part + r) * S::F64_LANES)) {
        let mut widened = [simd.splat64(0.0); ANCHORS];
        for a in 0..ANCHORS {
            widened[a] = simd.widen(&anchors[a][at..]);
        }
        for c in 0..CANDIDATES {
            let candidate = simd.widen(&candidates[c][at..]);
            for a in 0..ANCHORS {
                sums[a][c][r] = simd.mul_add_exact(widened[a], candidate, sums[a][c][r]);
            }
        }
    }
}

/// Folds the lanes of every pair by halves.
#[inline(always)]
pub(super) fn fold<S: Simd, const ANCHORS: usize, const CANDIDATES: usize>(
    simd: S,
    lanes: &mut [[[S::F64; MOST_REGISTERS]; CANDIDATES]; ANCHORS],
) -> [f64; MOST_PAIRS] {
    let mut pairs = [simd.splat64(0.0); MOST_PAIRS];
    for a in 0..ANCHORS {
        for c in 0..CANDIDATES {
            let lanes = &mut lanes[a][c];
            let mut registers = LANES / S::F64_LANES;
            while registers > 1 {
                registers /= 2;
                for r in 0..registers {
                    lanes[r] = simd.add64(lanes[r], lanes[r + registers]);
                }
            }
            pairs[a * CANDIDATES + c] = lanes[0];
        }
    }
    let mut dots = [0.0; MOST_PAIRS];
    for first in (0..ANCHORS * CANDIDATES).step_by(S::F64_LANES) {
        simd.store64(simd.fold_each(&pairs[first..]), &mut dots[first..]);
    }
    dots
}

/// The largest of some numbers that is at most `limit`, and negative infinity without one.
pub(crate) fn find_largest_up_to(backend: Backend, limit: f32, numbers: &[f32]) -> f32 {
    backend.run(LargestUpTo { limit, numbers })
}

struct LargestUpTo<'a> {
    limit: f32,
    numbers: &'a [f32],
}

impl WithSimd for LargestUpTo<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> f32 {
        largest_up_to(self.limit, self.numbers)
    }
}

/// [`find_largest_up_to`], in lanes, as the instruction sets have them: one number after the other waits for the one
/// before it.
#[inline(always)]
pub(super) fn largest_up_to(limit: f32, numbers: &[f32]) -> f32 {
    const LANES: usize = 16;
    let larger = |one: f32, other: f32| if one > other { one } else { other };
    let admitted = |number: f32| if number <= limit { number } else { f32::NEG_INFINITY };
    let (blocks, tail) = numbers.as_chunks::<LANES>();
    let mut best = f32::NEG_INFINITY;
    for &number in tail {
        best = larger(admitted(number), best);
    }
    let Some((first, blocks)) = blocks.split_first() else { return best };
    let mut lanes = first.map(admitted);
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] = larger(admitted(block[lane]), lanes[lane]);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = larger(lanes[lane + half], lanes[lane]);
        }
        half /= 2;
    }
    larger(lanes[0], best)
}
