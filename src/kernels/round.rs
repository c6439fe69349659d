//! Rows as integers: the center is removed, what is left is rounded to multiples of a step, and what the rounding leaves
//! out is measured, row by row. What the bound on the screen's error needs of it stands in
//! [`screen::quantize`](crate::screen).

use super::format::{Format, IntegerRange};
use super::pack::{Columns, MAX_LANES, PanelTarget, RawRows, RowGroup};
use super::round_row::pack_few_integers;
use crate::arch::{Backend, Simd, WithSimd};

/// By how much, relatively, a norm that was measured in `f32` may be too small.
pub(crate) const SLACK: f32 = 1.0 / 512.0;

/// By how much a norm is increased for the roundings of its row's elements: 8 roundings of numbers up to 1.
const OF_ELEMENTS: f32 = 8.0 / (1 << 24) as f32;

/// Rows of a smaller step are rounded to zero, so that the inverse of a step is finite.
const SMALLEST_STEP: f32 = 1e-30;

/// Adding this to a number below 2^22 rounds it to an integer, whose low bits are the low bits of the sum.
pub(super) const MAGIC: f32 = (3 << 22) as f32;

/// Elements of the scratch that rows of `dim` elements need.
pub(crate) const fn scratch_len(dim: usize) -> usize {
    dim.next_multiple_of(MAX_LANES) * MAX_LANES
}

/// What is measured of one row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QuantizedRow {
    /// What the largest integer stands for: the largest magnitude of the row without the center, or more.
    largest: f32,
    /// What one unit stands for.
    pub(crate) quant_step: f32,
    /// The row without the center, times the center.
    pub(crate) center_dot: f32,
    /// At least the norm of the row without the center.
    pub(crate) norm: f32,
    /// At least the norm of what the rounding left out.
    pub(crate) residual: f32,
    /// The sum of the integers.
    pub(crate) sum: f32,
}

impl QuantizedRow {
    /// A row that was not rounded yet.
    #[inline(always)]
    pub(super) fn measured(largest: f32, squared_norm: f32, center_dot: f32) -> QuantizedRow {
        let norm = squared_norm.sqrt() * (1.0 + SLACK);
        QuantizedRow { largest, center_dot, norm, ..QuantizedRow::default() }
    }

    /// Sets the step with which the row fits into integers.
    #[inline(always)]
    pub(super) fn set_step(&mut self, range: IntegerRange) {
        self.quant_step = (self.largest / range.largest as f32).max(self.norm / range.largest_norm);
    }

    /// The inverse of the step.
    #[inline(always)]
    pub(super) fn inverse_step(&self) -> f32 {
        if self.quant_step > SMALLEST_STEP { 1.0 / self.quant_step } else { 0.0 }
    }

    /// Adds what was measured when the row was rounded.
    #[inline(always)]
    pub(super) fn add_rounding(&mut self, squared_residual: f32, sum: f32) {
        self.residual = squared_residual.sqrt() * (1.0 + SLACK) + OF_ELEMENTS;
        self.norm += OF_ELEMENTS;
        self.sum = sum;
    }
}

/// Whether so many rows are anchors that are rounded one after the other. With AVX-512 on Zen 4, a call with 1 anchor
/// against a bank of 1024 x 128 takes 0.84 of the time so, with 2 anchors 0.85, with 4 anchors 0.94.
pub(crate) fn are_few(range: IntegerRange, rows: usize) -> bool {
    rows <= 4 && range.candidate_offset.is_none() && range.largest_sum.is_none()
}

/// Rounds up to [`MAX_LANES`] rows, each scaled to norm 1 and less `center`, to the integers of `range`, and packs them.
/// Behind the words of candidates the constants of each row are written. Returns what was measured of each row; of rows
/// beyond the last, anything.
pub(crate) fn pack_integers(
    backend: Backend,
    range: IntegerRange,
    rows: RawRows<'_>,
    center: &[f32],
    scratch: &mut [f32],
    target: PanelTarget<'_>,
) -> [QuantizedRow; MAX_LANES] {
    if are_few(range, rows.norms.len()) {
        return pack_few_integers(range, rows, center, scratch, target);
    }
    backend.run(PackIntegers { range, rows, center, scratch, target })
}

/// Both formats of integers are one kernel: they differ in a few numbers, and in the words of each four elements.
struct PackIntegers<'a, 'b> {
    range: IntegerRange,
    rows: RawRows<'a>,
    center: &'a [f32],
    scratch: &'b mut [f32],
    target: PanelTarget<'b>,
}

impl WithSimd for PackIntegers<'_, '_> {
    type Output = [QuantizedRow; MAX_LANES];
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [QuantizedRow; MAX_LANES] {
        let Self { range, rows, center, scratch, mut target } = self;
        let mut packed = [QuantizedRow::default(); MAX_LANES];
        for (first, group) in rows.groups(S::F32_LANES) {
            let mut columns = target.columns::<S>(first);
            let mut measured = measure(simd, &RowGroup::new(group, 1.0), center, scratch);
            if let (Some(_), Some(largest_sum)) = (S::I8_SUM, range.largest_sum) {
                let share = range.largest as f32 / (largest_sum as f32 - ROUNDING);
                let sums = lanes(simd, largest_sums(simd, rows.dim, scratch));
                measured.iter_mut().zip(sums).for_each(|(row, sum)| row.largest = row.largest.max(sum * share));
            }
            round(simd, range, rows.dim, scratch, &mut columns, &mut measured);
            if range.candidate_offset.is_some() {
                write_constants(simd, range.format.steps(rows.dim), &measured, &mut columns);
            }
            packed[first..first + S::F32_LANES].copy_from_slice(&measured[..S::F32_LANES]);
        }
        packed
    }
}

/// Writes the [constants](super::format::CandidateConstants) of rows behind their words, of which there are `steps`.
#[inline(always)]
fn write_constants<S: Simd>(simd: S, steps: usize, measured: &[QuantizedRow; MAX_LANES], columns: &mut Columns<'_>) {
    let mut constants = [[0.0; MAX_LANES]; 4];
    for (lane, row) in measured.iter().enumerate() {
        for (constants, value) in constants.iter_mut().zip([row.quant_step, row.center_dot, row.residual, row.norm]) {
            constants[lane] = value;
        }
    }
    for (number, values) in constants.iter().enumerate() {
        columns.write(simd, steps + number, simd.bits(simd.load(values)));
    }
}

/// Writes the rows without the center into `scratch`, `[k][row]`, and measures them.
#[inline(always)]
fn measure<S: Simd>(simd: S, group: &RowGroup<'_>, center: &[f32], scratch: &mut [f32]) -> [QuantizedRow; MAX_LANES] {
    let mut largest = simd.splat(0.0);
    let (mut squared_norms, mut center_dots) = ([simd.splat(0.0); 4], [simd.splat(0.0); 4]);
    let mut quads = scratch.chunks_exact_mut(4 * S::F32_LANES).zip(center.as_chunks::<4>().0);
    for start in (0..group.dim()).step_by(S::F32_LANES) {
        group.prefetch::<S>(start);
        let columns = group.columns(simd, start);
        // By fours, as there are four sums of each kind: a constant number of them stays in registers.
        let columns = columns[..S::F32_LANES].as_chunks::<4>().0;
        for (columns, (scratch, center)) in columns.iter().zip(&mut quads) {
            for k in 0..4 {
                let center = simd.splat(center[k]);
                let element = simd.sub(columns[k], center);
                simd.store(element, &mut scratch[k * S::F32_LANES..]);
                largest = simd.max_abs(largest, element);
                squared_norms[k] = simd.mul_add(element, element, squared_norms[k]);
                center_dots[k] = simd.mul_add(element, center, center_dots[k]);
            }
        }
    }
    let (largest, squared_norms, center_dots) =
        (lanes(simd, largest), lanes(simd, sum(simd, squared_norms)), lanes(simd, sum(simd, center_dots)));
    let mut measured = [QuantizedRow::default(); MAX_LANES];
    for (lane, row) in measured.iter_mut().enumerate() {
        *row = QuantizedRow::measured(largest[lane], squared_norms[lane], center_dots[lane]);
    }
    measured
}

/// By how much four integers together may be larger than the elements in steps that they are rounded from.
const ROUNDING: f32 = 2.0;

/// Of each row in `scratch`, the largest sum that the positive elements, or the magnitudes of the negative ones, have among
/// the four elements, two of each of two words, that are multiplied into one sum of 16 bits.
#[inline(always)]
fn largest_sums<S: Simd>(simd: S, dim: usize, scratch: &[f32]) -> S::F32 {
    let zero = simd.splat(0.0);
    let mut largest = zero;
    for elements in scratch[..dim.next_multiple_of(8) * S::F32_LANES].chunks_exact(8 * S::F32_LANES) {
        for first in [0, 2] {
            let (mut sum, mut magnitudes) = (zero, zero);
            for k in [first, first + 1, first + 4, first + 5] {
                let element = simd.load(&elements[k * S::F32_LANES..]);
                sum = simd.add(sum, element);
                magnitudes = simd.add(magnitudes, simd.max_abs(zero, element));
            }
            // Twice the larger one of both.
            largest = simd.max_abs(largest, simd.add(magnitudes, simd.max_abs(zero, sum)));
        }
    }
    simd.mul(largest, simd.splat(0.5))
}

/// Rounds the rows in `scratch` and measures what is left of them.
#[inline(always)]
fn round<S: Simd>(
    simd: S,
    range: IntegerRange,
    dim: usize,
    scratch: &[f32],
    columns: &mut Columns<'_>,
    measured: &mut [QuantizedRow; MAX_LANES],
) {
    let [steps, inverses] = set_steps(range, measured);
    let offset = range.candidate_offset.unwrap_or(0) as f32;
    let (step, inverse) = (simd.load(&steps), simd.load(&inverses));
    let (magic, unmagic) = (simd.splat(MAGIC + offset), simd.splat(-(MAGIC + offset)));
    let (mut residuals, mut sums) = ([simd.splat(0.0); 4], [simd.splat(0.0); 4]);
    let quads = scratch[..dim.next_multiple_of(4) * S::F32_LANES].chunks_exact(4 * S::F32_LANES);
    for (quad, elements) in quads.enumerate() {
        let mut rounded = [simd.bits(magic); 4];
        for k in 0..4 {
            let element = simd.load(&elements[k * S::F32_LANES..]);
            let magical = simd.mul_add(element, inverse, magic);
            let integer = simd.add(magical, unmagic);
            let residual = simd.neg_mul_add(integer, step, element);
            residuals[k] = simd.mul_add(residual, residual, residuals[k]);
            sums[k] = simd.add(sums[k], integer);
            rounded[k] = simd.bits(magical);
        }
        let [a, b, c, d] = rounded;
        if range.format == Format::Int8 {
            let low = simd.join_low_bytes(a, b);
            columns.write(simd, quad, simd.join_low_i16(low, simd.join_low_bytes(c, d)));
        } else {
            columns.write(simd, 2 * quad, simd.join_low_i16(a, b));
            if 4 * quad + 2 < dim {
                columns.write(simd, 2 * quad + 1, simd.join_low_i16(c, d));
            }
        }
    }
    let (residuals, sums) = (lanes(simd, sum(simd, residuals)), lanes(simd, sum(simd, sums)));
    for (lane, row) in measured.iter_mut().enumerate() {
        row.add_rounding(residuals[lane], sums[lane]);
    }
}

/// Sets the steps with which rows fit into integers; returns them and their inverses.
#[inline(always)]
fn set_steps(range: IntegerRange, measured: &mut [QuantizedRow; MAX_LANES]) -> [[f32; MAX_LANES]; 2] {
    let (mut steps, mut inverses) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
    for (lane, row) in measured.iter_mut().enumerate() {
        row.set_step(range);
        (steps[lane], inverses[lane]) = (row.quant_step, row.inverse_step());
    }
    [steps, inverses]
}

#[inline(always)]
fn sum<S: Simd>(simd: S, [a, b, c, d]: [S::F32; 4]) -> S::F32 {
    simd.add(simd.add(a, b), simd.add(c, d))
}

#[inline(always)]
fn lanes<S: Simd>(simd: S, values: S::F32) -> [f32; MAX_LANES] {
    let mut lanes = [0.0; MAX_LANES];
    simd.store(values, &mut lanes);
    lanes
}
