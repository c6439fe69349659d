//! How a call is divided over threads: its anchors into blocks, or the candidates of few anchors into parts.

use crate::exact::SUM_BLOCK;
use crate::kernels::{MAX_ANCHORS, MAX_LANES};
use crate::rows::Shape;

/// A multiple of every register's lanes: rows are packed in groups of so many, and divided by it.
pub(super) const ROW_UNIT: usize = MAX_LANES;

/// The most anchors in a block.
pub(super) const MAX_BLOCK: usize = 96;

/// The words of a block of anchors, which should stay in the second-level cache while the candidates are read: 256 KiB
/// in `f32`, less in integers.
const BLOCK_WORDS: usize = 1 << 16;

/// The fewest candidates of a part, and the fewest for each anchor where the anchors could be divided as well: what matters
/// to a row is searched for in each part anew. On two cores of Zen 4, 32 anchors against a bank took 0.93 times as long
/// divided themselves as with 4096 candidates of 384 elements divided, and 1.37 times with 16384 of 768; 64 anchors
/// 0.89 times with 4096 of 384.
pub(super) const LEAST_PART: usize = 4 * SUM_BLOCK;
pub(super) const LEAST_FOR_EACH: usize = 256;

/// The memory that a block of a batch's anchors needs: the anchors that have a list, and their words at most.
/// Smaller batches never need more, however many threads share them. The last tile may have some rows more than a group.
pub(super) fn block_len(rows: usize, dim: usize) -> (usize, usize) {
    let padded = rows.next_multiple_of(ROW_UNIT);
    let rows_more = |rows: usize| dim.saturating_mul(rows + MAX_ANCHORS);
    let words = rows_more(padded).min(BLOCK_WORDS.saturating_add(rows_more(ROW_UNIT)));
    (padded.min(MAX_BLOCK), words)
}

/// The blocks of anchors and the parts of candidates that threads take. One of the two is a single one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    /// Anchors in a block, a multiple of [`ROW_UNIT`].
    pub(super) block_rows: usize,
    pub(super) parts: usize,
    /// Candidates in a part, a multiple of [`SUM_BLOCK`].
    pub(super) part_rows: usize,
}

impl Division {
    /// The division for so many threads. Of few anchors against many candidates, each thread takes a part of the
    /// candidates: then every one of these is read once. Elsewhere the anchors of a block are as many as stay in the cache,
    /// but so few that every thread gets four blocks or more, and each as many as the others.
    pub(super) fn of(shape: Shape, threads: usize) -> Division {
        let Shape { anchors, candidates, dim } = shape;
        let cached = (BLOCK_WORDS / dim).clamp(ROW_UNIT, MAX_BLOCK).next_multiple_of(ROW_UNIT);
        let parts = threads.min(candidates / LEAST_PART).max(1);
        let is_single = anchors <= ROW_UNIT || parts > 1 && candidates / anchors >= LEAST_FOR_EACH;
        if anchors <= cached && (threads == 1 || is_single) {
            return Division::into_parts(shape, parts);
        }
        let blocks = if threads == 1 { 1 } else { anchors.div_ceil(cached).next_multiple_of(4 * threads) };
        let block_rows = anchors.div_ceil(blocks).next_multiple_of(ROW_UNIT).min(cached);
        Division { block_rows, parts: 1, part_rows: candidates }
    }

    /// One block of all anchors, and up to so many parts of the candidates.
    pub(super) fn into_parts(shape: Shape, parts: usize) -> Division {
        let part_rows = shape.candidates.div_ceil(parts).next_multiple_of(SUM_BLOCK);
        let block_rows = shape.anchors.next_multiple_of(ROW_UNIT);
        Division { block_rows, parts: shape.candidates.div_ceil(part_rows), part_rows }
    }

    /// How many blocks, or parts of the single one, a call of so many anchors has.
    pub(super) fn blocks(self, anchors: usize) -> usize {
        anchors.div_ceil(self.block_rows) * self.parts
    }
}
