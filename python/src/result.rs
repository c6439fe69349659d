//! What the loss returns.

use hardneg::{Loss, RowStats};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadwriteArray1};
use pyo3::prelude::*;

/// The loss of a batch, what it is made of, and the statistics of each of m anchors.
///
/// `loss`, `mean_term` and `closest_term` are floats; `rows`, `active_mean`, `active_closest`,
/// `without_closest_negative`, `without_negatives`, `zero_anchors`, `zero_candidates` and `zero_positives` are counts.
/// `positive`, `mean_negative` and `closest_negative` are arrays of m float32 similarities, NaN where there is none;
/// `closest_index` is an array of m int64, -1 where there is none.
#[pyclass(frozen, get_all, subclass, module = "hardneg")]
pub(crate) struct TripletLossResult {
    loss: f64,
    mean_term: f64,
    closest_term: f64,
    rows: usize,
    active_mean: usize,
    active_closest: usize,
    without_closest_negative: usize,
    without_negatives: usize,
    zero_anchors: Option<usize>,
    zero_candidates: Option<usize>,
    zero_positives: Option<usize>,
    positive: Py<PyArray1<f32>>,
    mean_negative: Py<PyArray1<f32>>,
    closest_negative: Py<PyArray1<f32>>,
    closest_index: Py<PyArray1<i64>>,
}

#[pymethods]
impl TripletLossResult {
    fn __repr__(&self) -> String {
        let TripletLossResult { loss, mean_term, closest_term, rows, .. } = self;
        format!("TripletLossResult(loss={loss:?}, mean_term={mean_term:?}, closest_term={closest_term:?}, rows={rows})")
    }
}

/// A TripletLossResult with the gradients of the loss: float32 arrays of the shapes of the inputs.
///
/// `anchor_gradients` is (m, dim). `positive_gradients` is (m, dim), or None where the positives are indices of
/// candidates. `candidate_gradients` is (n, dim), or None where no candidates were given.
#[pyclass(frozen, get_all, extends = TripletLossResult, module = "hardneg")]
pub(crate) struct TripletLossGradients {
    pub(crate) anchor_gradients: Py<PyArray2<f32>>,
    pub(crate) positive_gradients: Option<Py<PyArray2<f32>>>,
    pub(crate) candidate_gradients: Option<Py<PyArray2<f32>>>,
}

/// The arrays of a result, before there is one.
pub(crate) struct RowArrays<'py> {
    positive: Bound<'py, PyArray1<f32>>,
    mean_negative: Bound<'py, PyArray1<f32>>,
    closest_negative: Bound<'py, PyArray1<f32>>,
    closest_index: Bound<'py, PyArray1<i64>>,
}

impl<'py> RowArrays<'py> {
    /// Those of `rows` anchors.
    pub(crate) fn new(py: Python<'py>, rows: usize) -> RowArrays<'py> {
        RowArrays {
            positive: PyArray1::zeros(py, rows, false),
            mean_negative: PyArray1::zeros(py, rows, false),
            closest_negative: PyArray1::zeros(py, rows, false),
            closest_index: PyArray1::zeros(py, rows, false),
        }
    }

    /// The arrays lent out to be written.
    pub(crate) fn borrow(&self) -> RowBorrows<'py> {
        RowBorrows {
            positive: self.positive.readwrite(),
            mean_negative: self.mean_negative.readwrite(),
            closest_negative: self.closest_negative.readwrite(),
            closest_index: self.closest_index.readwrite(),
        }
    }

    /// The result with this loss.
    pub(crate) fn into_result(self, loss: Loss) -> TripletLossResult {
        TripletLossResult {
            loss: loss.loss,
            mean_term: loss.mean_term,
            closest_term: loss.closest_term,
            rows: loss.rows,
            active_mean: loss.active_mean,
            active_closest: loss.active_closest,
            without_closest_negative: loss.without_closest_negative,
            without_negatives: loss.without_negatives,
            zero_anchors: loss.zero_anchors,
            zero_candidates: loss.zero_candidates,
            zero_positives: loss.zero_positives,
            positive: self.positive.unbind(),
            mean_negative: self.mean_negative.unbind(),
            closest_negative: self.closest_negative.unbind(),
            closest_index: self.closest_index.unbind(),
        }
    }
}

/// The arrays of a result while they are written.
pub(crate) struct RowBorrows<'py> {
    positive: PyReadwriteArray1<'py, f32>,
    mean_negative: PyReadwriteArray1<'py, f32>,
    closest_negative: PyReadwriteArray1<'py, f32>,
    closest_index: PyReadwriteArray1<'py, i64>,
}

impl RowBorrows<'_> {
    pub(crate) fn slices(&mut self) -> RowSlices<'_> {
        const NEW: &str = "a new array is contiguous";
        RowSlices {
            positive: self.positive.as_slice_mut().expect(NEW),
            mean_negative: self.mean_negative.as_slice_mut().expect(NEW),
            closest_negative: self.closest_negative.as_slice_mut().expect(NEW),
            closest_index: self.closest_index.as_slice_mut().expect(NEW),
        }
    }
}

/// The arrays of a result as slices.
pub(crate) struct RowSlices<'a> {
    positive: &'a mut [f32],
    mean_negative: &'a mut [f32],
    closest_negative: &'a mut [f32],
    closest_index: &'a mut [i64],
}

impl RowSlices<'_> {
    pub(crate) fn write(&mut self, rows: &[RowStats]) {
        for (row, stats) in rows.iter().enumerate() {
            let closest = stats.closest_negative();
            self.positive[row] = stats.positive();
            self.mean_negative[row] = stats.mean_negative().unwrap_or(f32::NAN);
            self.closest_negative[row] = closest.map_or(f32::NAN, |closest| closest.similarity());
            self.closest_index[row] = closest.map_or(-1, |closest| closest.index() as i64);
        }
    }
}
