//! The tile of rows as they lie in memory: similarities in `f32` of batches so small that packing their rows would take
//! longer than it saves.
//!
//! ```text
//!                    ROW_CANDIDATES rows
//!                    c0 -> . . . . . . . . | . . . .        a register of elements after the other
//!                    c1 -> . . . . . . . . | . . . .
//!    ROW_ANCHORS rows
//!    a0 -> . . . .   [lanes of a0 c0] [lanes of a0 c1] ..   one register for each pair, whose lanes are
//!    a1 -> . . . .   [lanes of a1 c0] [lanes of a1 c1] ..   summed for as many pairs together
//! ```
//!
//! What it computes is off by a little, and is compared with the positive in intervals: how far off it may be is derived
//! in [`screen`](crate::screen).

use super::exact_tile::{Ends, Sought, each, largest_up_to, last_block, whole_blocks};
use super::lanes::{LANES, padded};
use crate::arch::{Backend, DotKernel, Simd, WithSimd};
use crate::rows::Rows;

/// The most candidates whose similarities are computed at once, whole tiles of every instruction set.
pub(crate) const MOST_SIMILAR: usize = 192;

/// The anchors whose similarities are computed at once, whole tiles of every instruction set.
pub(crate) const MOST_SEEKING: usize = 12;

/// The most pairs of a tile.
const MOST_PAIRS: usize = 16;

/// Words of a bit for each candidate.
pub(crate) type CandidateBits = [u64; MOST_SIMILAR / 64];

/// Rows with the factors that scale them to norm 1.
#[derive(Clone, Copy)]
pub(crate) struct ScaledRows<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) scales: &'a [f32],
}

/// The similarities of each of some anchors with all candidates, about as they are.
#[derive(Debug)]
pub(crate) struct NearSimilarities(pub(crate) [[f32; MOST_SIMILAR]; MOST_SEEKING]);

impl NearSimilarities {
    /// Room for similarities.
    pub(crate) const EMPTY: NearSimilarities = NearSimilarities([[0.0; MOST_SIMILAR]; MOST_SEEKING]);
}

/// Computes the similarities of up to [`MOST_SEEKING`] anchors with up to [`MOST_SIMILAR`] candidates in `f32`.
pub(crate) fn approximate(
    backend: Backend,
    anchors: ScaledRows<'_>,
    candidates: ScaledRows<'_>,
    similarities: &mut NearSimilarities,
) {
    debug_assert!(anchors.rows.count() <= MOST_SEEKING && candidates.rows.count() <= MOST_SIMILAR);
    backend.run(Approximate { anchors, candidates, similarities });
}

struct Approximate<'a, 'b> {
    anchors: ScaledRows<'a>,
    candidates: ScaledRows<'a>,
    similarities: &'b mut NearSimilarities,
}

impl WithSimd for Approximate<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        simd.run_row_tile(self);
    }
}

impl DotKernel for Approximate<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, const ANCHORS: usize, const CANDIDATES: usize, const REGISTERS: usize>(self, simd: S) {
        const { assert!(ANCHORS == S::ROW_ANCHORS && CANDIDATES == S::ROW_CANDIDATES && REGISTERS == 1) }
        const { assert!(MOST_SEEKING.is_multiple_of(ANCHORS) && MOST_SIMILAR.is_multiple_of(CANDIDATES)) }
        const { assert!(S::F32_LANES >= 4, "what the bound is derived for") }
        const { assert!(ANCHORS * CANDIDATES <= MOST_PAIRS && MOST_PAIRS.is_multiple_of(S::F32_LANES)) }
        let Self { anchors, candidates, similarities: NearSimilarities(similarities) } = self;
        let (rows, others) = (anchors.rows, candidates.rows);
        let ragged = !rows.dim().is_multiple_of(LANES);
        let mut tails = [[0.0; LANES]; MOST_SEEKING];
        if ragged {
            for (row, tail) in rows.iter().zip(&mut tails) {
                *tail = padded(row.as_chunks::<LANES>().1);
            }
        }
        for start in (0..others.count()).step_by(CANDIDATES) {
            let mut other_tails = [[0.0; LANES]; CANDIDATES];
            if ragged {
                for (c, tail) in other_tails.iter_mut().enumerate() {
                    *tail = last_block(others, (start + c).min(others.count() - 1));
                }
            }
            let other_rows = rows_from(others, start);
            for (first, tails) in (0..rows.count()).step_by(ANCHORS).zip(tails.as_chunks::<ANCHORS>().0) {
                let ends = [Ends { anchors: tails, candidates: &other_tails }];
                let dots = tile(simd, rows_from(rows, first), other_rows, &ends[..usize::from(ragged)]);
                for (row, dots) in similarities[first..][..ANCHORS].iter_mut().zip(dots.as_chunks::<CANDIDATES>().0) {
                    row[start..][..CANDIDATES].copy_from_slice(dots);
                }
            }
        }
        for (row, &scale) in similarities.iter_mut().zip(anchors.scales) {
            for (similarity, &other_scale) in row.iter_mut().zip(candidates.scales) {
                *similarity *= scale * other_scale;
            }
        }
    }
}

/// The rows from row `first` on. Beyond the last row that one is repeated.
#[inline(always)]
fn rows_from<'a, const ROWS: usize>(rows: Rows<'a>, first: usize) -> [&'a [f32]; ROWS] {
    let mut some = [&[][..]; ROWS];
    for (r, row) in some.iter_mut().enumerate() {
        *row = rows.row((first + r).min(rows.count() - 1));
    }
    some
}

/// The dot products of a tile, those of the first anchor first: of the whole blocks of the rows, and of their incomplete
/// blocks, which are the one element of `ends`, if there are any.
#[inline(always)]
fn tile<S: Simd, const ANCHORS: usize, const CANDIDATES: usize>(
    simd: S,
    anchors: [&[f32]; ANCHORS],
    candidates: [&[f32]; CANDIDATES],
    ends: &[Ends<'_, ANCHORS, CANDIDATES>],
) -> [f32; MOST_PAIRS] {
    let whole = anchors[0].len() / LANES;
    let (anchors, candidates) = (whole_blocks(anchors, whole), whole_blocks(candidates, whole));
    let mut sums = [[simd.splat(0.0); CANDIDATES]; ANCHORS];
    for k in 0..whole {
        add_block(simd, &each(&anchors, k), &each(&candidates, k), &mut sums);
    }
    for Ends { anchors, candidates } in ends {
        add_block(simd, &anchors.each_ref(), &candidates.each_ref(), &mut sums);
    }
    let mut all = [simd.splat(0.0); MOST_PAIRS];
    for a in 0..ANCHORS {
        for c in 0..CANDIDATES {
            all[a * CANDIDATES + c] = sums[a][c];
        }
    }
    let mut dots = [0.0; MOST_PAIRS];
    for pair in (0..ANCHORS * CANDIDATES).step_by(S::F32_LANES) {
        simd.store(simd.sum_each(&all[pair..]), &mut dots[pair..]);
    }
    dots
}

/// Adds the products of a block of elements.
#[inline(always)]
fn add_block<S: Simd, const ANCHORS: usize, const CANDIDATES: usize>(
    simd: S,
    anchors: &[&[f32; LANES]; ANCHORS],
    candidates: &[&[f32; LANES]; CANDIDATES],
    sums: &mut [[S::F32; CANDIDATES]; ANCHORS],
) {
    for at in (0..LANES).step_by(S::F32_LANES) {
        let mut held = [simd.splat(0.0); ANCHORS];
        for a in 0..ANCHORS {
            held[a] = simd.load(&anchors[a][at..]);
        }
        for c in 0..CANDIDATES {
            let candidate = simd.load(&candidates[c][at..]);
            for a in 0..ANCHORS {
                sums[a][c] = simd.mul_add(held[a], candidate, sums[a][c]);
            }
        }
    }
}

/// Finds the candidates of each row that may be the most similar one of those that are sought, above `above` and up to
/// `up_to`, where similarities are off by at most `error`. Of each row that is in `sought`, with `count` candidates.
pub(crate) fn find_likely(
    backend: Backend,
    similarities: &NearSimilarities,
    count: usize,
    sought: &[Sought],
    error: f32,
) -> [CandidateBits; MOST_SEEKING] {
    backend.run(FindLikely { similarities, count, sought, error })
}

struct FindLikely<'a> {
    similarities: &'a NearSimilarities,
    count: usize,
    sought: &'a [Sought],
    error: f32,
}

impl WithSimd for FindLikely<'_> {
    type Output = [CandidateBits; MOST_SEEKING];
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [CandidateBits; MOST_SEEKING] {
        let Self { similarities: NearSimilarities(similarities), count, sought, error } = self;
        let mut likely = [CandidateBits::default(); MOST_SEEKING];
        for ((row, &Sought { above, up_to }), likely) in similarities.iter().zip(sought).zip(&mut likely) {
            // A candidate up to here is as similar as the limit or less for certain.
            let best = largest_up_to(up_to - error, &row[..count]);
            // What was taken out is below all that is finite.
            let low = simd.splat((best - 2.0 * error).max(above - error).max(f32::MIN));
            let high = simd.splat(up_to + error);
            for at in (0..count).step_by(S::F32_LANES) {
                let found = simd.in_range(simd.load(&row[at..]), low, high);
                likely[at / 64] |= u64::from(found) << (at % 64);
            }
            let last = count / 64;
            if last < likely.len() {
                likely[last] &= (1 << (count % 64)) - 1;
            }
        }
        likely
    }
}
