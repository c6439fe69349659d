//! The levels of screening, and what they did.

use super::format::{F32, Format, I8, I16};

/// What pairs are screened with, in ascending order of cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    I8,
    I16,
    #[default]
    F32,
}

impl Level {
    const ALL: [Level; 3] = [Level::I8, Level::I16, Level::F32];

    /// The most words of a candidate of `dim` elements at any of the levels from `first` to `last`.
    pub(crate) fn longest_stride((first, last): (Level, Level), dim: usize) -> usize {
        let levels = Level::ALL.into_iter().filter(|level| (first..=last).contains(level));
        levels.map(|level| level.stride(dim)).max().unwrap_or(0)
    }

    /// How many words a candidate of `dim` elements has.
    pub(crate) fn stride(self, dim: usize) -> usize {
        match self {
            Level::I8 => I8::stride(dim),
            Level::I16 => I16::stride(dim),
            Level::F32 => F32::stride(dim),
        }
    }
}

/// How the screens did in a forward pass: of interest to those who tune, and no part of the answer. It depends on the
/// instruction set, and may change between versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Screening {
    /// The pairs that the last screen of their row could not rule out, and that were computed exactly.
    pub survivors: usize,
    /// The rows whose last screen was in 8-bit integers.
    pub i8_rows: usize,
    /// The rows whose last screen was in 16-bit integers.
    pub i16_rows: usize,
    /// The rows whose last screen was in `f32`, or none.
    pub f32_rows: usize,
}
