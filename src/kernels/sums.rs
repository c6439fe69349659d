//! Sums of rows, each times a number: every product is rounded before it is added, and rows are added one after the
//! other, so that the result is the same whatever a register holds.

use super::dots::{norms_from_cache, norms_from_memory};
use super::lanes::{self, TOGETHER};
use crate::arch::{Backend, Simd, WithSimd};
use crate::rows::Rows;

/// The most rows that are scaled to norm 1 and added at once.
pub(crate) const MOST_ROWS: usize = 48;

/// The most terms that are added in one pass over a sum.
pub(crate) const MOST_TERMS: usize = 8;

/// A row, and what it is multiplied by.
pub(crate) type Term<'a> = (&'a [f32], f64);

/// `1 / norm`, and 0 for a zero row.
#[inline(always)]
pub(crate) fn inverse(norm: f64) -> f64 {
    // Divided before the norm is looked at: that is a choice between two numbers, not a branch.
    let inverse = 1.0 / norm;
    if norm == 0.0 { 0.0 } else { inverse }
}

/// Adds up to [`MOST_ROWS`] rows, each scaled to norm 1, to `sum`.
pub(crate) fn add_unit_rows(backend: Backend, rows: &[f32], norms: &[f64], sum: &mut [f64]) {
    backend.run_widening(AddUnitRows { rows, norms, sum });
}

struct AddUnitRows<'a, 'b> {
    rows: &'a [f32],
    norms: &'a [f64],
    sum: &'b mut [f64],
}

impl WithSimd for AddUnitRows<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        add_units(simd, self.rows, self.norms, self.sum);
    }
}

/// Computes the norms of up to [`MOST_ROWS`] rows that are in a cache, or will be read again soon, and adds the rows,
/// each scaled to norm 1, to `sum`.
pub(crate) fn measure_cached_rows(backend: Backend, rows: &[f32], norms: &mut [f64], sum: &mut [f64]) {
    backend.run_widening(MeasureCached { rows, norms, sum });
}

struct MeasureCached<'a, 'b> {
    rows: &'a [f32],
    norms: &'b mut [f64],
    sum: &'b mut [f64],
}

impl WithSimd for MeasureCached<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rows, norms, sum } = self;
        norms_from_cache(simd, rows, sum.len(), norms);
        add_units(simd, rows, norms, sum);
    }
}

/// Computes the norms of rows that come from memory, and adds the rows, each scaled to norm 1, to `sum`.
pub(crate) fn measure_rows(backend: Backend, rows: Rows<'_>, norms: &mut [f64], sum: &mut [f64]) {
    backend.run_widening(MeasureRows { rows, norms, sum });
}

struct MeasureRows<'a, 'b> {
    rows: Rows<'a>,
    norms: &'b mut [f64],
    sum: &'b mut [f64],
}

impl WithSimd for MeasureRows<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rows, norms, sum } = self;
        for (rows, norms) in rows.blocks(MOST_ROWS).zip(norms.chunks_mut(MOST_ROWS)) {
            norms_from_memory(simd, rows, norms);
            add_units(simd, rows.data(), norms, sum);
        }
    }
}

/// Adds up to [`MOST_ROWS`] rows, each scaled to norm 1.
#[inline(always)]
fn add_units<S: Simd>(simd: S, rows: &[f32], norms: &[f64], sums: &mut [f64]) {
    debug_assert!(norms.len() <= MOST_ROWS);
    add_multiples(simd, rows, &inverses(norms)[..norms.len()], sums);
}

/// Adds rows, each times its scale.
#[inline(always)]
fn add_multiples<S: Simd>(simd: S, rows: &[f32], scales: &[f64], sums: &mut [f64]) {
    /// Registers of sums that are held while the rows are added: enough to hide the latency of an addition.
    const HELD: usize = 4;
    let dim = sums.len();
    let step = HELD * S::F64_LANES;
    let whole = dim - dim % step;
    for from in (0..whole).step_by(step) {
        let held = &mut sums[from..from + step];
        let mut sum = [simd.splat64(0.0); HELD];
        for (sum, held) in sum.iter_mut().zip(held.chunks_exact(S::F64_LANES)) {
            *sum = simd.load64(held);
        }
        for (row, &scale) in scales.iter().enumerate() {
            let (values, scale) = (&rows[row * dim + from..][..step], simd.splat64(scale));
            for (sum, values) in sum.iter_mut().zip(values.chunks_exact(S::F64_LANES)) {
                *sum = simd.add64(*sum, simd.mul64(simd.widen(values), scale));
            }
        }
        for (sum, held) in sum.into_iter().zip(held.chunks_exact_mut(S::F64_LANES)) {
            simd.store64(sum, held);
        }
    }
    if whole < dim {
        for (row, &scale) in scales.iter().enumerate() {
            lanes::add_scaled(&rows[row * dim + whole..][..dim - whole], scale, &mut sums[whole..]);
        }
    }
}

/// [`inverse`] of up to [`MOST_ROWS`] norms, in whole registers.
#[inline(always)]
fn inverses(norms: &[f64]) -> [f64; MOST_ROWS] {
    const { assert!(MOST_ROWS.is_multiple_of(TOGETHER)) }
    let mut inverses = [0.0; MOST_ROWS];
    inverses[..norms.len()].copy_from_slice(norms);
    for some in &mut inverses.as_chunks_mut::<TOGETHER>().0[..norms.len().div_ceil(TOGETHER)] {
        for number in some {
            *number = inverse(*number);
        }
    }
    inverses
}

/// What a vector begins with before terms are added: `(common - less) * share`.
#[derive(Clone, Copy)]
pub(crate) struct Start<'a> {
    pub(crate) common: &'a [f64],
    /// None for zeros.
    pub(crate) less: Option<&'a [f64]>,
    /// Where it is 0 the result is 0, whatever the vectors hold.
    pub(crate) share: f64,
}

/// Adds up to [`MOST_TERMS`] terms to `sum`, which is set to `start` first, if there is one.
pub(crate) fn add_terms(backend: Backend, start: Option<Start<'_>>, terms: &[Term<'_>], sum: &mut [f64]) {
    backend.run(AddTerms { start, terms, sum });
}

struct AddTerms<'a, 'b> {
    start: Option<Start<'a>>,
    terms: &'a [Term<'a>],
    sum: &'b mut [f64],
}

impl WithSimd for AddTerms<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { start, terms, sum } = self;
        begin(start, sum);
        for &(row, scale) in terms {
            lanes::add_scaled(row, scale, sum);
        }
    }
}

/// Sets a vector to what it begins with.
#[inline(always)]
fn begin(start: Option<Start<'_>>, sum: &mut [f64]) {
    let Some(Start { common, less, share }) = start else { return };
    if share == 0.0 {
        return sum.fill(0.0);
    }
    if let Some(less) = less {
        for ((sum, &common), &less) in sum.iter_mut().zip(common).zip(less) {
            *sum = (common - less) * share;
        }
        return;
    }
    for (sum, &common) in sum.iter_mut().zip(common) {
        *sum = common * share;
    }
}

/// The gradient of a row by the gradient `g` of the row scaled to norm 1: `(g - (g . u) u) / norm` with `u` the row over
/// its norm.
#[derive(Clone, Copy)]
pub(crate) struct RowGradient<'a> {
    pub(crate) row: &'a [f32],
    /// Not 0.
    pub(crate) norm: f64,
    /// What `g` begins with; none where it is begun.
    pub(crate) start: Option<Start<'a>>,
    /// What is added to it: at most [`MOST_TERMS`].
    pub(crate) terms: &'a [Term<'a>],
    /// Whether the gradient is added to what the output holds.
    pub(crate) accumulate: bool,
}

/// Completes `g` in `sum`, and writes the gradient, rounded once, or adds it.
pub(crate) fn write_gradient(backend: Backend, gradient: RowGradient<'_>, sum: &mut [f64], output: &mut [f32]) {
    backend.run(WriteGradient { gradient, sum, output });
}

struct WriteGradient<'a, 'b> {
    gradient: RowGradient<'a>,
    sum: &'b mut [f64],
    output: &'b mut [f32],
}

impl WithSimd for WriteGradient<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { gradient: RowGradient { row, norm, start, terms, accumulate }, sum, output } = self;
        begin(start, sum);
        let scale = inverse(norm);
        let along = lanes::add_scaled_rows(simd, terms, row, sum) * scale * scale;
        for ((output, &sum), &value) in output.iter_mut().zip(&*sum).zip(row) {
            let gradient = (sum - f64::from(value) * along) * scale;
            *output = if accumulate { f64::from(*output) + gradient } else { gradient } as f32;
        }
    }
}

/// Writes `f32(f64(x_k) * scale)`.
pub(crate) fn scale_row(backend: Backend, x: &[f32], scale: f64, output: &mut [f32]) {
    backend.run(ScaleRow { x, scale, output });
}

struct ScaleRow<'a, 'b> {
    x: &'a [f32],
    scale: f64,
    output: &'b mut [f32],
}

impl WithSimd for ScaleRow<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (output, &value) in self.output.iter_mut().zip(self.x) {
            *output = (f64::from(value) * self.scale) as f32;
        }
    }
}

/// Adds `f32(f64(x_k) * scale)` to numbers of `f32`.
pub(crate) fn add_scaled_to_f32(backend: Backend, x: &[f32], scale: f64, sum: &mut [f32]) {
    backend.run(AddScaledToF32 { x, scale, sum });
}

struct AddScaledToF32<'a, 'b> {
    x: &'a [f32],
    scale: f64,
    sum: &'b mut [f32],
}

impl WithSimd for AddScaledToF32<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (sum, &value) in self.sum.iter_mut().zip(self.x) {
            *sum += (f64::from(value) * self.scale) as f32;
        }
    }
}
