//! The similarity of vectors, the original triplet loss, and the name of the backend.

use hardneg::{Backend, Side};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{self, Rows};
use crate::errors::refused;
use crate::loss::check_dim;
use crate::pools::Resources;

/// The cosine similarity of two vectors, a float, or of the rows of `a` (m, dim) and of `b` (n, dim), an (m, n) array
/// of float32.
///
/// Similarities are 0 where a row is zero, and not clamped: they may exceed 1 by a rounding. Raises ValueError where
/// lengths differ or a row is not finite.
#[pyfunction]
pub(crate) fn cosine_similarity<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    match (arrays::dimensions(a)?, arrays::dimensions(b)?) {
        (1, 1) => of_vectors(a, b)?.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from),
        _ => of_matrices(py, a, b).map(Bound::into_any),
    }
}

fn of_vectors(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> PyResult<f64> {
    let (a, b) = (arrays::vector("a", a)?, arrays::vector("b", b)?);
    Backend::detect().cosine_similarity(a.as_slice()?, b.as_slice()?).map(f64::from).map_err(refused)
}

fn of_matrices<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (a, b) = (Rows::extract("a", a)?, Rows::extract("b", b)?);
    check_dim(Side::Candidates, a.dim(), b.dim())?;
    let empty = py.import("numpy")?.getattr("empty")?;
    let matrix = empty.call1(((a.count(), b.count()), "float32"))?.cast_into::<PyArray2<f32>>()?;
    let mut output = matrix.readwrite();
    let (output_rows, a_rows, b_rows, dim) = (output.as_slice_mut()?, a.data(), b.data(), a.dim());
    let write = || Backend::detect().similarity_matrix_into(a_rows, b_rows, dim, output_rows);
    Resources::new(py, 1)?.run(py, write).map_err(refused)?;
    drop(output);
    Ok(matrix)
}

/// The original triplet loss max(negative - positive + margin, 0) of similarities: a float of two floats, an array of
/// float64 of two arrays of one dimension. NaN stays NaN.
#[pyfunction]
#[pyo3(signature = (positive, negative, margin=0.25))]
pub(crate) fn original_triplet_loss<'py>(
    py: Python<'py>,
    positive: &Bound<'py, PyAny>,
    negative: &Bound<'py, PyAny>,
    margin: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let margin = margin as f32;
    if let (Ok(positive), Ok(negative)) = (positive.extract::<f64>(), negative.extract::<f64>()) {
        let loss = hardneg::triplet_loss(positive as f32, negative as f32, margin);
        return loss.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from);
    }
    let (positive, negative) = (arrays::vector("positive", positive)?, arrays::vector("negative", negative)?);
    let (positive, negative) = (positive.as_slice()?, negative.as_slice()?);
    if positive.len() != negative.len() {
        let (expected, actual) = (positive.len(), negative.len());
        return Err(PyValueError::new_err(format!("negative: expected {expected} elements, got {actual}")));
    }
    let pairs = positive.iter().zip(negative);
    let losses: Vec<f64> =
        pairs.map(|(&positive, &negative)| hardneg::triplet_loss(positive, negative, margin)).collect();
    Ok(PyArray1::from_vec(py, losses).into_any())
}

/// The name of the instruction set that calls compute with, such as "avx512". Results do not depend on it.
#[pyfunction]
pub(crate) fn backend() -> &'static str {
    Backend::detect().name()
}
