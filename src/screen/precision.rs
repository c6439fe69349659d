//! The precisions of screening, and what they did in a call.

use core::ops::AddAssign;

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
        self.survivors += survivors;
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
