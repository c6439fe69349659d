//! The precisions of screening, and what they did in a call.

use core::fmt;
use core::ops::AddAssign;

use super::quantize::MAX_DIM;

/// What pairs are screened in, in ascending order of cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Precision {
    Int8,
    Int16,
    #[default]
    Float32,
    /// No screen: every pair is computed exactly.
    Exact,
}

/// Some precisions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Precisions(u8);

impl Precisions {
    /// No precision.
    pub(crate) const NONE: Precisions = Precisions(0);

    const ALL: [Precision; 4] = [Precision::Int8, Precision::Int16, Precision::Float32, Precision::Exact];

    /// One precision.
    pub(crate) const fn only(precision: Precision) -> Precisions {
        Precisions(1 << precision as u8)
    }

    /// All precisions from `coarsest` to `finest`.
    pub(crate) fn range(coarsest: Precision, finest: Precision) -> Precisions {
        let within = Precisions::ALL.into_iter().filter(|precision| (coarsest..=finest).contains(precision));
        within.fold(Precisions::NONE, Precisions::with)
    }

    /// The precisions in which rows of `dim` elements are packed in place of these: the longest are not rounded.
    pub(crate) fn for_rows_of(self, dim: usize) -> Precisions {
        if dim <= MAX_DIM || self == Precisions::NONE { self } else { Precisions::only(Precision::Float32) }
    }

    /// These and one more.
    pub(crate) fn with(self, precision: Precision) -> Precisions {
        Precisions(self.0 | Precisions::only(precision).0)
    }

    /// These less one.
    pub(crate) fn without(self, precision: Precision) -> Precisions {
        Precisions(self.0 & !Precisions::only(precision).0)
    }

    pub(crate) fn contains(self, precision: Precision) -> bool {
        self.0 & Precisions::only(precision).0 != 0
    }

    /// All of them, the coarsest first.
    pub(crate) fn iter(self) -> impl DoubleEndedIterator<Item = Precision> {
        Precisions::ALL.into_iter().filter(move |&precision| self.contains(precision))
    }

    pub(crate) fn coarsest(self) -> Precision {
        self.iter().next().unwrap_or(Precision::Exact)
    }

    pub(crate) fn finest(self) -> Precision {
        self.iter().next_back().unwrap_or(Precision::Exact)
    }
}

impl fmt::Debug for Precisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Counts of the screens' work in a forward pass, for tuning. They are no part of the answer, depend on the instruction
/// set and the number of threads, and may change between versions. Values of several calls add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
}

impl Screening {
    /// Counts rows whose last screen was in `precision`, and their survivors.
    pub(crate) fn count(&mut self, precision: Precision, rows: usize, survivors: usize) {
        // Pairs may be more than a `usize` of 32 bits counts.
        self.survivors = self.survivors.saturating_add(survivors);
        *match precision {
            Precision::Int8 => &mut self.i8_rows,
            Precision::Int16 => &mut self.i16_rows,
            Precision::Float32 => &mut self.f32_rows,
            Precision::Exact => &mut self.exact_rows,
        } += rows;
    }
}

impl AddAssign for Screening {
    fn add_assign(&mut self, other: Screening) {
        self.survivors = self.survivors.saturating_add(other.survivors);
        self.i8_rows = self.i8_rows.saturating_add(other.i8_rows);
        self.i16_rows = self.i16_rows.saturating_add(other.i16_rows);
        self.f32_rows = self.f32_rows.saturating_add(other.f32_rows);
        self.exact_rows = self.exact_rows.saturating_add(other.exact_rows);
    }
}
