//! `Screening`: what was done in a call.

use core::ops::AddAssign;

use super::method::Method;
use crate::kernels::Format;

/// Counts of the work that a call did, for tuning. They are no part of the answer, depend on the instruction set and the
/// number of threads, never on time, and may change between versions. Values of several calls add up.
///
/// `*_rows` and `survivors` say how rows ended. The other counts are of all that was done, screens that were given up
/// included: a block of anchors that goes from bytes to 16-bit integers has pairs in `i8_pairs` and in `i16_pairs`. Pairs
/// of an anchor and its positive, and those that are excluded, are counted where they were computed. Where threads share the
/// candidates, each packs the anchors for its part of them, and a row ends as it does in the first part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Screening {
    /// The pairs that the last screen of their row could not rule out, and that were computed exactly.
    pub survivors: usize,
    /// The rows whose last screen was in 8-bit integers.
    pub i8_rows: usize,
    /// The rows whose last screen was in 16-bit integers.
    pub i16_rows: usize,
    /// The rows whose last screen was in `f32`.
    pub f32_rows: usize,
    /// The rows all of whose pairs were computed exactly, as no screen pays for them.
    pub exact_rows: usize,
    /// The pairs that were screened in 8-bit integers.
    pub i8_pairs: usize,
    /// The pairs that were screened in 16-bit integers.
    pub i16_pairs: usize,
    /// The pairs that were screened in `f32`.
    pub f32_pairs: usize,
    /// The pairs that were computed exactly one by one, as a screen left them.
    pub single_pairs: usize,
    /// The pairs that were computed exactly in tiles, several rows by several rows; and those of the sample by which
    /// [`Screen::Auto`](crate::Screen::Auto) chooses its first screen.
    pub tile_pairs: usize,
    /// The rows of both sides that were packed for a screen, once for each format; candidates in a bank are packed
    /// already.
    pub packed_rows: usize,
}

impl Screening {
    /// Counts rows that were completed by `method`, and their survivors.
    pub(crate) fn count(&mut self, method: Method, rows: usize, survivors: usize) {
        add(&mut self.survivors, survivors);
        let counted = match method {
            Method::Screen(Format::Int8) => &mut self.i8_rows,
            Method::Screen(Format::Int16) => &mut self.i16_rows,
            Method::Screen(Format::Float32) => &mut self.f32_rows,
            Method::Exact => &mut self.exact_rows,
        };
        add(counted, rows);
    }

    /// Counts pairs that were computed exactly one by one.
    pub(crate) fn count_single_pairs(&mut self, pairs: usize) {
        add(&mut self.single_pairs, pairs);
    }

    /// Counts pairs that were computed by `method`: screened, or computed exactly in tiles.
    pub(crate) fn count_pairs(&mut self, method: Method, pairs: usize) {
        let counted = match method {
            Method::Screen(Format::Int8) => &mut self.i8_pairs,
            Method::Screen(Format::Int16) => &mut self.i16_pairs,
            Method::Screen(Format::Float32) => &mut self.f32_pairs,
            Method::Exact => &mut self.tile_pairs,
        };
        add(counted, pairs);
    }
}

/// Adds to a count. Pairs may be more than a `usize` of 32 bits holds.
fn add(count: &mut usize, more: usize) {
    *count = count.saturating_add(more);
}

impl AddAssign for Screening {
    fn add_assign(&mut self, other: Screening) {
        let Screening { survivors, i8_rows, i16_rows, f32_rows, exact_rows, .. } = other;
        let Screening { i8_pairs, i16_pairs, f32_pairs, single_pairs, tile_pairs, packed_rows, .. } = other;
        add(&mut self.survivors, survivors);
        add(&mut self.i8_rows, i8_rows);
        add(&mut self.i16_rows, i16_rows);
        add(&mut self.f32_rows, f32_rows);
        add(&mut self.exact_rows, exact_rows);
        add(&mut self.i8_pairs, i8_pairs);
        add(&mut self.i16_pairs, i16_pairs);
        add(&mut self.f32_pairs, f32_pairs);
        add(&mut self.single_pairs, single_pairs);
        add(&mut self.tile_pairs, tile_pairs);
        add(&mut self.packed_rows, packed_rows);
    }
}
