//! The exact tile of widened rows: rows of both sides are widened to `f64` once, in the order in which tiles read them,
//! and many tiles multiply them without a conversion.
//!
//! ```text
//! a strip of 3 rows, registers of 4 lanes, the 16 elements of a row in each block:
//!
//!     part 0                                          part 1             parts 2 and 3
//!     block 0                     block 1             block 0
//!     r0[0..4] r1[0..4] r2[0..4]  r0[16..20] ..       r0[4..8] ..        ..
//! ```
//!
//! A tile has one strip of each side and a register of each pair: it adds up a part of the 16 virtual lanes of all its
//! pairs, then the next part. Each part is read from its beginning to its end. Incomplete blocks are filled up with
//! zeros, which add nothing to their lanes.

use core::hint::black_box;

use super::exact_tile::{MOST_ANCHORS, MOST_CANDIDATES, MOST_PAIRS, Similarities, Sought, WriteRow, fold};
use super::lanes::{LANES, MOST_REGISTERS, padded};
use crate::arch::{Backend, DotKernel, Simd, WithSimd};
use crate::error::{Error, Side};
use crate::memory::{AlignedVec, bytes_of, grow};
use crate::rows::Rows;

/// Strips have a number of rows that divides this one, on every instruction set.
pub(crate) const STRIP_UNIT: usize = 12;

/// The side of a tile that rows are widened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TileSide {
    Anchors,
    Candidates,
}

/// Widened rows of both sides.
#[derive(Debug)]
pub(crate) struct WidenedRows {
    anchors: AlignedVec<f64>,
    candidates: AlignedVec<f64>,
    /// The dot products of the anchors that are multiplied at once, [`MOST_CANDIDATES`] of each.
    dots: Vec<f64>,
}

impl WidenedRows {
    pub(crate) const EMPTY: WidenedRows =
        WidenedRows { anchors: AlignedVec::EMPTY, candidates: AlignedVec::EMPTY, dots: Vec::new() };

    /// Grows to so many elements on both sides. Rows take [`widened_dim`] elements each, a multiple of [`STRIP_UNIT`] of
    /// them.
    pub(crate) fn grow(&mut self, anchors: usize, candidates: usize) -> Result<(), Error> {
        self.anchors.grow(Side::Anchors, anchors, 1)?;
        self.candidates.grow(Side::Candidates, candidates, 1)?;
        grow(&mut self.dots, Side::Anchors, MOST_ANCHORS, MOST_CANDIDATES).map(|_| ())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.anchors.bytes() + self.candidates.bytes() + bytes_of(&self.dots)
    }

    /// Widens rows for one side of the tiles, in place of those that were there.
    pub(crate) fn widen(&mut self, backend: Backend, side: TileSide, rows: Rows<'_>) {
        let widened = match side {
            TileSide::Anchors => self.anchors.aligned(),
            TileSide::Candidates => self.candidates.aligned(),
        };
        debug_assert!(widened.len() >= rows.count().next_multiple_of(STRIP_UNIT) * widened_dim(rows.dim()));
        backend.run(WidenRows { side, rows, widened });
    }
}

/// How many elements a widened row of `dim` elements has.
pub(crate) const fn widened_dim(dim: usize) -> usize {
    dim.next_multiple_of(LANES)
}

struct WidenRows<'a, 'b> {
    side: TileSide,
    rows: Rows<'a>,
    widened: &'b mut [f64],
}

impl WithSimd for WidenRows<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        const { assert!(STRIP_UNIT.is_multiple_of(S::WIDE_ANCHORS) && STRIP_UNIT.is_multiple_of(S::WIDE_CANDIDATES)) }
        let Self { side, rows, widened } = self;
        let width = if side == TileSide::Anchors { S::WIDE_ANCHORS } else { S::WIDE_CANDIDATES };
        let (dim, count) = (widened_dim(rows.dim()), rows.count());
        for (first, strip) in (0..count).step_by(width).zip(widened.chunks_exact_mut(width * dim)) {
            for row in 0..width {
                // A strip beyond the last row repeats that one.
                widen_row(simd, rows.row((first + row).min(count - 1)), width, &mut strip[row * S::F64_LANES..]);
            }
        }
    }
}

/// Widens a row to its places among the `width` rows of a strip, the first of which is the first of `strip`.
#[inline(always)]
fn widen_row<S: Simd>(simd: S, row: &[f32], width: usize, strip: &mut [f64]) {
    let (blocks, tail) = row.as_chunks();
    let part = widened_dim(row.len()) / LANES * width * S::F64_LANES;
    for (k, block) in blocks.iter().enumerate() {
        widen_block(simd, block, part, &mut strip[k * width * S::F64_LANES..]);
    }
    if !tail.is_empty() {
        widen_block(simd, &padded(tail), part, &mut strip[blocks.len() * width * S::F64_LANES..]);
    }
}

/// Widens a block to its places in the parts of the lanes, each of which has so many elements.
#[inline(always)]
fn widen_block<S: Simd>(simd: S, block: &[f32; LANES], part: usize, strip: &mut [f64]) {
    for r in 0..LANES / S::F64_LANES {
        simd.store64(simd.widen(&block[r * S::F64_LANES..]), &mut strip[r * part..]);
    }
}

/// Anchors and candidates of `dim` elements that were widened, by their norms.
#[derive(Clone, Copy)]
pub(crate) struct WidenedPairs<'a> {
    pub(crate) dim: usize,
    /// Which of the anchors that were widened comes first: a multiple of [`STRIP_UNIT`].
    pub(crate) first: usize,
    pub(crate) anchor_norms: &'a [f64],
    pub(crate) candidate_norms: &'a [f64],
}

/// Computes what [`compute_similarities`](super::compute_similarities) does, of the widened rows that `similarities` holds.
#[inline]
pub(crate) fn multiply_widened(
    backend: Backend,
    pairs: WidenedPairs<'_>,
    sought: &[Sought],
    similarities: &mut Similarities,
) {
    let WidenedPairs { first, anchor_norms, candidate_norms, .. } = pairs;
    debug_assert!(anchor_norms.len() <= MOST_ANCHORS && candidate_norms.len() <= MOST_CANDIDATES);
    debug_assert!(first.is_multiple_of(STRIP_UNIT));
    backend.run(WideTiles { pairs, sought, similarities });
}

struct WideTiles<'a, 'b> {
    pairs: WidenedPairs<'a>,
    sought: &'a [Sought],
    similarities: &'b mut Similarities,
}

impl WithSimd for WideTiles<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        simd.run_wide_tile(self);
    }
}

impl DotKernel for WideTiles<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, const ANCHORS: usize, const CANDIDATES: usize, const REGISTERS: usize>(self, simd: S) {
        const { assert!(ANCHORS == S::WIDE_ANCHORS && CANDIDATES == S::WIDE_CANDIDATES && REGISTERS == 1) }
        const { assert!(MOST_ANCHORS.is_multiple_of(STRIP_UNIT) && MOST_CANDIDATES.is_multiple_of(STRIP_UNIT)) }
        let Self { pairs, sought, similarities } = self;
        let WidenedPairs { dim, first, anchor_norms, candidate_norms } = pairs;
        let dim = widened_dim(dim);
        similarities.clear();
        let WidenedRows { anchors, candidates, dots } = &mut similarities.widened;
        let (anchors, candidates) = (&anchors.as_aligned()[first * dim..], candidates.as_aligned());
        let rows = dots.as_chunks_mut::<MOST_CANDIDATES>().0;
        let (mut sums, mut tile) = (Sums([0.0; MOST_PAIRS * LANES]), [0.0; MOST_PAIRS]);
        for start in (0..candidate_norms.len()).step_by(CANDIDATES) {
            let candidates = &candidates[start * dim..][..CANDIDATES * dim];
            for row in (0..anchor_norms.len()).step_by(ANCHORS) {
                let anchors = &anchors[row * dim..][..ANCHORS * dim];
                simd.run(Tile::<ANCHORS, CANDIDATES> { anchors, candidates, sums: &mut sums, dots: &mut tile });
                for (dots, of_anchor) in rows[row..][..ANCHORS].iter_mut().zip(tile.as_chunks::<CANDIDATES>().0) {
                    dots[start..][..CANDIDATES].copy_from_slice(of_anchor);
                }
            }
        }
        for (row, &norm) in anchor_norms.iter().enumerate() {
            let (dots, sought) = (similarities.widened.dots.as_chunks().0[row], sought[row]);
            let (dots, other_norms) = (&dots, candidate_norms);
            simd.run(WriteRow { row, norm, dots, other_norms, sought, similarities: &mut *similarities });
        }
    }
}

/// Room for the sums of the first part of the lanes of all pairs, of the next part, and so on. No register crosses a
/// cache line.
#[repr(align(64))]
struct Sums([f64; MOST_PAIRS * LANES]);

/// The dot products of two strips, those of the first anchor first.
struct Tile<'a, 'b, const ANCHORS: usize, const CANDIDATES: usize> {
    anchors: &'a [f64],
    candidates: &'a [f64],
    sums: &'b mut Sums,
    dots: &'b mut [f64; MOST_PAIRS],
}

impl<const ANCHORS: usize, const CANDIDATES: usize> WithSimd for Tile<'_, '_, ANCHORS, CANDIDATES> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { anchors, candidates, sums, dots } = self;
        let steps = anchors.len() / (ANCHORS * LANES);
        let [anchors_len, candidates_len] = [ANCHORS, CANDIDATES].map(|rows| steps * rows * S::F64_LANES);
        for part in 0..LANES / S::F64_LANES {
            let anchors = &anchors[part * anchors_len..][..anchors_len];
            let candidates = &candidates[part * candidates_len..][..candidates_len];
            let of_part = add_part::<S, ANCHORS, CANDIDATES>(simd, steps, anchors, candidates);
            for (a, of_anchor) in of_part.iter().enumerate() {
                for (c, &of_pair) in of_anchor.iter().enumerate() {
                    let pair = (part * ANCHORS + a) * CANDIDATES + c;
                    simd.store64(of_pair, &mut sums.0[pair * S::F64_LANES..]);
                }
            }
            // Else the compiler keeps them in the registers that the next part needs, and spills in the innermost loop.
            black_box(&mut *sums);
        }
        let mut lanes = [[[simd.splat64(0.0); MOST_REGISTERS]; CANDIDATES]; ANCHORS];
        for (a, of_anchor) in lanes.iter_mut().enumerate() {
            for (c, of_pair) in of_anchor.iter_mut().enumerate() {
                for (part, lane) in of_pair.iter_mut().enumerate().take(LANES / S::F64_LANES) {
                    let pair = (part * ANCHORS + a) * CANDIDATES + c;
                    *lane = simd.load64(&sums.0[pair * S::F64_LANES..]);
                }
            }
        }
        *dots = fold(simd, &mut lanes);
    }
}

/// The sums of a part of the lanes over all blocks. By index: an iterator over pairs of chunks is not always inlined, and
/// keeps the length of a step in memory then, which takes twice as long.
#[inline(always)]
fn add_part<S: Simd, const ANCHORS: usize, const CANDIDATES: usize>(
    simd: S,
    steps: usize,
    anchors: &[f64],
    candidates: &[f64],
) -> [[S::F64; CANDIDATES]; ANCHORS] {
    let mut sums = [[simd.splat64(0.0); CANDIDATES]; ANCHORS];
    for k in 0..steps {
        let anchors = &anchors[k * ANCHORS * S::F64_LANES..][..ANCHORS * S::F64_LANES];
        let candidates = &candidates[k * CANDIDATES * S::F64_LANES..][..CANDIDATES * S::F64_LANES];
        let mut held = [simd.splat64(0.0); ANCHORS];
        for a in 0..ANCHORS {
            held[a] = simd.load64(&anchors[a * S::F64_LANES..]);
        }
        for c in 0..CANDIDATES {
            let candidate = simd.load64(&candidates[c * S::F64_LANES..]);
            for a in 0..ANCHORS {
                sums[a][c] = simd.mul_add_exact(held[a], candidate, sums[a][c]);
            }
        }
    }
    sums
}
