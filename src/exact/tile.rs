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

use super::lanes::{LANES, MOST_REGISTERS, PaddedRows, padded};
use super::similarity::{cosine, dots_from_memory};
use crate::arch::{DotKernel, Simd};
use crate::rows::Rows;

/// The most pairs of a tile.
const MOST_PAIRS: usize = 16;

/// The most pairs of a row that a sink gets at once: whole tiles of every instruction set. Divisions and comparisons of
/// a run of pairs are made in whole registers, and a run of so many stays in the first-level cache.
const MOST_RUN: usize = 48;

/// Receives exact similarities, a run of each row.
pub(crate) trait PairSink {
    /// Takes the similarities of row `anchor` with `similarities.len()` candidates from `candidate` on, at most
    /// [`MOST_RUN`].
    fn take(&mut self, anchor: usize, candidate: usize, similarities: &[f32]);
}

/// Rows with their norms.
#[derive(Clone, Copy)]
pub(crate) struct NormedRows<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) norms: &'a [f64],
}

/// Computes the similarity of every anchor with every candidate: candidates in ascending order for each anchor.
#[inline(always)]
pub(crate) fn for_all_pairs<S: Simd, P: PairSink>(
    simd: S,
    anchors: NormedRows<'_>,
    candidates: NormedRows<'_>,
    sink: &mut P,
) {
    for_pairs_from(simd, 0, anchors, candidates, sink);
}

/// Computes the norm of every candidate and its similarity with every anchor, for candidates that come from memory: the
/// first anchor is multiplied with a row while the norm of the row is computed.
#[inline(always)]
pub(crate) fn measure_all_pairs<S: Simd, P: PairSink>(
    simd: S,
    anchors: NormedRows<'_>,
    rows: Rows<'_>,
    norms: &mut [f64],
    sink: &mut P,
) {
    for (run, (rows, norms)) in rows.blocks(MOST_RUN).zip(norms.chunks_mut(MOST_RUN)).enumerate() {
        let mut dots = [0.0; MOST_RUN];
        dots_from_memory(simd, rows, anchors.rows.row(0), norms, dots.as_chunks_mut().0);
        sink.take(0, run * MOST_RUN, &similarities(anchors.norms[0], &dots, norms)[..norms.len()]);
    }
    for_pairs_from(simd, 1, anchors, NormedRows { rows, norms }, sink);
}

/// [`for_all_pairs`] with the anchors from row `from` on.
#[inline(always)]
fn for_pairs_from<S: Simd, P: PairSink>(
    simd: S,
    from: usize,
    anchors: NormedRows<'_>,
    candidates: NormedRows<'_>,
    sink: &mut P,
) {
    let count = anchors.rows.count();
    for first in (from..count).step_by(S::DOT_ANCHORS) {
        let rows = S::DOT_ANCHORS.min(count - first);
        simd.run_dot_tile(rows, Strip { anchors, first, candidates, sink: &mut *sink });
    }
}

/// The similarities of a run of pairs of one row, as many as there are norms; zeros beyond them.
#[inline(always)]
fn similarities(norm: f64, dots: &[f64; MOST_RUN], other_norms: &[f64]) -> [f32; MOST_RUN] {
    let mut similarities = [0.0; MOST_RUN];
    for ((similarity, &dot), &other_norm) in similarities.iter_mut().zip(dots).zip(other_norms) {
        *similarity = cosine(dot, norm, other_norm) as f32;
    }
    similarities
}

/// A few anchors and all candidates.
struct Strip<'a, 'b, P> {
    anchors: NormedRows<'a>,
    /// The first of the anchors.
    first: usize,
    candidates: NormedRows<'a>,
    sink: &'b mut P,
}

impl<P: PairSink> DotKernel for Strip<'_, '_, P> {
    #[inline(always)]
    fn run<S: Simd, const ANCHORS: usize, const CANDIDATES: usize, const REGISTERS: usize>(self, simd: S) {
        const { assert!(ANCHORS <= S::DOT_ANCHORS && ANCHORS * CANDIDATES <= MOST_PAIRS) }
        const { assert!(MOST_RUN.is_multiple_of(CANDIDATES)) }
        if self.anchors.rows.dim().is_multiple_of(LANES) {
            self.search::<S, ANCHORS, CANDIDATES, REGISTERS, false>(simd);
        } else {
            self.search::<S, ANCHORS, CANDIDATES, REGISTERS, true>(simd);
        }
    }
}

impl<P: PairSink> Strip<'_, '_, P> {
    /// Computes all pairs of the strip. `RAGGED` says whether rows end with an incomplete block.
    #[inline(always)]
    fn search<S: Simd, const ANCHORS: usize, const CANDIDATES: usize, const REGISTERS: usize, const RAGGED: bool>(
        self,
        simd: S,
    ) {
        let Self { anchors, first, candidates, sink } = self;
        let mut rows = [&[][..]; ANCHORS];
        for (a, row) in rows.iter_mut().enumerate() {
            *row = anchors.rows.row(first + a);
        }
        let (mut tails, mut other_tails) = ([[0.0; LANES]; ANCHORS], [[0.0; LANES]; CANDIDATES]);
        if RAGGED {
            tails = PaddedRows::new(rows).tails;
        }
        let count = candidates.rows.count();
        let mut dots = [[0.0; MOST_RUN]; ANCHORS];
        for run in (0..count).step_by(MOST_RUN) {
            let end = count.min(run + MOST_RUN);
            for start in (run..end).step_by(CANDIDATES) {
                // A tile beyond the last candidate repeats that one.
                let mut others = [&[][..]; CANDIDATES];
                for (c, other) in others.iter_mut().enumerate() {
                    *other = candidates.rows.row((start + c).min(count - 1));
                }
                if RAGGED {
                    for (c, tail) in other_tails.iter_mut().enumerate() {
                        *tail = last_block(candidates.rows, (start + c).min(count - 1));
                    }
                }
                let ends = [Ends { anchors: &tails, candidates: &other_tails }];
                let ends = &ends[..usize::from(RAGGED)];
                let tile = tile::<S, ANCHORS, CANDIDATES, REGISTERS>(simd, rows, others, ends);
                for (dots, of_anchor) in dots.iter_mut().zip(tile.as_chunks::<CANDIDATES>().0) {
                    dots[start - run..][..CANDIDATES].copy_from_slice(of_anchor);
                }
            }
            let norms = &candidates.norms[run..end];
            for (a, dots) in dots.iter().enumerate() {
                sink.take(first + a, run, &similarities(anchors.norms[first + a], dots, norms)[..end - run]);
            }
        }
    }
}

/// The last, incomplete block of a row, and behind it what follows it in memory, or zeros.
#[inline(always)]
fn last_block(rows: Rows<'_>, row: usize) -> [f32; LANES] {
    let (dim, data) = (rows.dim(), rows.data());
    let from = &data[row * dim + dim / LANES * LANES..];
    from.first_chunk().copied().unwrap_or_else(|| padded(from))
}

/// The incomplete blocks of the rows of a tile.
struct Ends<'a, const ANCHORS: usize, const CANDIDATES: usize> {
    /// Filled up with zeros.
    anchors: &'a [[f32; LANES]; ANCHORS],
    /// Filled up with anything finite.
    candidates: &'a [[f32; LANES]; CANDIDATES],
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
fn whole_blocks<const ROWS: usize>(rows: [&[f32]; ROWS], whole: usize) -> [&[[f32; LANES]]; ROWS] {
    let mut blocks = [&[][..]; ROWS];
    for (blocks, row) in blocks.iter_mut().zip(rows) {
        *blocks = &row.as_chunks().0[..whole];
    }
    blocks
}

/// Block `k` of each row.
#[inline(always)]
fn each<'a, const ROWS: usize>(rows: &[&'a [[f32; LANES]]; ROWS], k: usize) -> [&'a [f32; LANES]; ROWS] {
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
fn fold<S: Simd, const ANCHORS: usize, const CANDIDATES: usize>(
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
