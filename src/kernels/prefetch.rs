//! Prefetching: what a tile asks for while it computes, so that the memory is near when a later tile reads it.
//!
//! A tile reads one panel of candidates and a few anchors, and asks for one cache line in each of its steps. The tiles
//! of a block of anchors on one panel share what there is to fetch:
//!
//! ```text
//!                panel p                            panel p + 1
//!          +-----+-----+-----+                +-----+-----+-----+
//!          |     |     |     |                |  0  |  1  |  2  |   a column is one line of each step
//!          +-----+-----+-----+                +-----+-----+-----+
//!   tile 0 . . . . . . . . . . . fetches column 0 of the next panel, one line a step
//!   tile 1 . . . . . . . . . . . fetches column 1
//!   tile 2 . . . . . . . . . . . fetches column 2
//!   tile 3 . . . . . . . . . . . on the last panels: fetches a part of what the next block reads first,
//!    ...                         its anchors, and then their positives among the candidates
//! ```
//!
//! The panel is read from the second-level cache then, not from memory: at 4096 x 768 this took the `f32` tile from 88
//! % to 99 % of the multiply-add ceiling.

use crate::arch::prefetch;

/// The elements of a cache line.
const LINE: usize = 16;

/// What one tile fetches: one cache line for each of its steps.
#[derive(Clone, Copy)]
pub(super) struct Prefetch {
    /// The first line. Lines beyond the end of the memory are asked for all the same, which does no harm.
    next: *const u8,
    /// The bytes from one line to the next.
    step_bytes: usize,
}

impl Prefetch {
    /// Lines of `from`, `step` elements apart.
    #[inline(always)]
    fn new<T>(from: &[T], step: usize) -> Prefetch {
        Prefetch { next: from.as_ptr().cast(), step_bytes: step * size_of::<T>() }
    }

    /// One line again and again, which is near already: an address without memory would cost more.
    #[inline(always)]
    pub(super) fn nothing<T>(near: &[T]) -> Prefetch {
        Prefetch::new(near, 0)
    }

    /// Asks for the line of one step.
    #[inline(always)]
    pub(super) fn step(&mut self) {
        prefetch(self.next);
        self.next = self.next.wrapping_add(self.step_bytes);
    }
}

/// What the tiles of a block of anchors fetch.
#[derive(Clone, Copy)]
pub(crate) struct PrefetchPlan<'a> {
    /// How many panels there are.
    pub(crate) panels: usize,
    /// The candidates of a panel.
    pub(crate) width: usize,
    /// The raw rows that the next block begins with: from its first anchor on, and from the first one's positive on.
    pub(crate) next_rows: [&'a [f32]; 2],
    /// The elements of a block of raw rows.
    pub(crate) block_len: usize,
    /// The steps of a tile.
    pub(crate) steps: usize,
    /// The tiles of a block.
    pub(crate) tiles: usize,
}

impl PrefetchPlan<'_> {
    /// What tile `tile` on panel `panel` fetches. Behind it lie the words of the next one, or nothing.
    #[inline(always)]
    pub(super) fn of_tile(&self, tile: usize, panel: usize, next_panel: &[u32]) -> Option<Prefetch> {
        let lines = self.width.div_ceil(LINE);
        match tile.checked_sub(lines) {
            None => {
                let from = next_panel.get(tile * LINE..).filter(|from| !from.is_empty())?;
                Some(Prefetch::new(from, self.width))
            }
            Some(spare) => self.next_rows((self.panels - 1 - panel) * (self.tiles - lines) + spare),
        }
    }

    /// Part `part`, a line for each step, of the rows that the next block reads first. The parts are counted from the
    /// end of the call's last panel backwards, so that the rows arrive just before they are needed.
    #[inline(always)]
    fn next_rows(&self, part: usize) -> Option<Prefetch> {
        let part_len = LINE * self.steps;
        // Beyond both, as for most tiles of a call: then nothing is divided.
        if part.saturating_mul(part_len) >= 2 * (self.block_len + part_len) {
            return None;
        }
        let parts = self.block_len.div_ceil(part_len);
        let rows = self.next_rows.get(part / parts)?;
        let from = rows.get(part % parts * part_len..).filter(|from| !from.is_empty())?;
        Some(Prefetch::new(from, LINE))
    }
}

/// Asks for a whole row.
#[inline]
pub(crate) fn prefetch_row(row: &[f32]) {
    for line in row.chunks(LINE) {
        prefetch(line.as_ptr().cast());
    }
}
