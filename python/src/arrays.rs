//! Arrays that come in: what `numpy.asarray` takes, as slices.

use std::borrow::Cow;

use hardneg::Error;
use numpy::{Element, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PySlice, PyTuple};

use crate::errors::refused;

/// What an argument must consist of.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    /// The letters of `numpy.dtype.kind` that are taken.
    kinds: &'static str,
    /// The type that they are converted to.
    dtype: &'static str,
    /// What an error calls them.
    name: &'static str,
}

const FLOATS: Numbers = Numbers { kinds: "fiub", dtype: "float32", name: "numbers" };
const INDICES: Numbers = Numbers { kinds: "iu", dtype: "int64", name: "integers" };
const LABELS: Numbers = Numbers { kinds: "iub", dtype: "uint64", name: "integers" };

/// Embeddings, `float32` in C order, one a row.
pub(crate) struct Rows<'py> {
    array: PyReadonlyArray2<'py, f32>,
}

impl<'py> Rows<'py> {
    /// The rows of an argument: without a copy where it is C-contiguous `float32`, otherwise converted by one copy.
    pub(crate) fn extract(argument: &str, object: &Bound<'py, PyAny>) -> PyResult<Rows<'py>> {
        if let Ok(array) = object.cast::<PyArray2<f32>>()
            && array.is_c_contiguous()
            && array.is_aligned()
        {
            return Ok(Rows { array: borrow2(argument, array)? });
        }
        let array = convert(argument, object, FLOATS)?;
        let array = array.cast::<PyArray2<f32>>().map_err(|_| wrong_dimensions(argument, &array, "two"))?;
        Ok(Rows { array: borrow2(argument, array)? })
    }

    /// How many rows there are.
    pub(crate) fn count(&self) -> usize {
        self.array.shape()[0]
    }

    /// The length of a row.
    pub(crate) fn dim(&self) -> usize {
        self.array.shape()[1]
    }

    /// All rows, row-major.
    pub(crate) fn data(&self) -> &[f32] {
        self.array.as_slice().expect("the array was checked to be contiguous")
    }
}

/// Rows for a bank, which owns them: as they are, to be copied without the GIL, or converted piece by piece into a copy,
/// so that there is never a second one.
pub(crate) enum OwnedRows<'py> {
    Borrowed(Rows<'py>),
    Converted { data: Vec<f32>, dim: usize },
}

impl<'py> OwnedRows<'py> {
    pub(crate) fn extract(argument: &str, object: &Bound<'py, PyAny>) -> PyResult<OwnedRows<'py>> {
        let is_array = object.cast::<PyUntypedArray>().is_ok_and(|array| array.ndim() == 2);
        if object.cast::<PyArray2<f32>>().is_ok_and(|array| array.is_c_contiguous()) || !is_array {
            return Ok(OwnedRows::Borrowed(Rows::extract(argument, object)?));
        }
        let (count, dim): (usize, usize) = object.getattr(intern!(object.py(), "shape"))?.extract()?;
        let mut data = Vec::new();
        let bytes = count.saturating_mul(dim).saturating_mul(size_of::<f32>());
        data.try_reserve_exact(count.saturating_mul(dim)).map_err(|_| refused(Error::OutOfMemory { bytes }))?;
        // A piece has about as many elements, and at least one row.
        const PIECE: usize = 1 << 18;
        let step = (PIECE / dim.max(1)).max(1);
        for first in (0..count.max(1)).step_by(step) {
            let piece = PySlice::new(object.py(), first as isize, first.saturating_add(step).min(count) as isize, 1);
            data.extend_from_slice(Rows::extract(argument, &object.get_item(piece)?)?.data());
        }
        Ok(OwnedRows::Converted { data, dim })
    }

    /// The length of a row.
    pub(crate) fn dim(&self) -> usize {
        match self {
            OwnedRows::Borrowed(rows) => rows.dim(),
            OwnedRows::Converted { dim, .. } => *dim,
        }
    }

    /// All rows, row-major: a copy that is still to be made, or one that was.
    pub(crate) fn into_data<'a>(self, borrowed: &'a mut Option<Rows<'py>>) -> Cow<'a, [f32]> {
        match self {
            OwnedRows::Borrowed(rows) => Cow::Borrowed(borrowed.insert(rows).data()),
            OwnedRows::Converted { data, .. } => Cow::Owned(data),
        }
    }
}

fn borrow2<'py>(argument: &str, array: &Bound<'py, PyArray2<f32>>) -> PyResult<PyReadonlyArray2<'py, f32>> {
    array.try_readonly().map_err(|error| PyValueError::new_err(format!("{argument}: {error}")))
}

/// One vector of `float32`.
pub(crate) fn vector<'py>(argument: &str, object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray1<'py, f32>> {
    one_dimensional(argument, object, FLOATS)
}

/// Indices of candidates as they were given, negative ones among them.
pub(crate) fn indices<'py>(argument: &str, object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray1<'py, i64>> {
    one_dimensional(argument, object, INDICES)
}

/// Pairs of indices: an array of two columns.
pub(crate) fn pairs<'py>(argument: &str, object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray2<'py, i64>> {
    let array = convert(argument, object, INDICES)?;
    let pairs = array.cast::<PyArray2<i64>>().map_err(|_| wrong_dimensions(argument, &array, "two"))?;
    if pairs.shape()[1] != 2 {
        let columns = pairs.shape()[1];
        return Err(PyValueError::new_err(format!("{argument}: expected pairs, got rows of {columns} elements")));
    }
    pairs.try_readonly().map_err(|error| PyValueError::new_err(format!("{argument}: {error}")))
}

/// Labels of rows. Of negative ones the bits are kept, so that equal labels stay equal.
pub(crate) fn labels<'py>(argument: &str, object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray1<'py, u64>> {
    one_dimensional(argument, object, LABELS)
}

fn one_dimensional<'py, T: Element>(
    argument: &str,
    object: &Bound<'py, PyAny>,
    numbers: Numbers,
) -> PyResult<PyReadonlyArray1<'py, T>> {
    let array = convert(argument, object, numbers)?;
    let array = array.cast::<PyArray1<T>>().map_err(|_| wrong_dimensions(argument, &array, "one"))?;
    array.try_readonly().map_err(|error| PyValueError::new_err(format!("{argument}: {error}")))
}

/// The number of dimensions of what `numpy.asarray` makes of an argument.
pub(crate) fn dimensions(object: &Bound<'_, PyAny>) -> PyResult<usize> {
    match object.getattr(intern!(object.py(), "ndim")) {
        Ok(dimensions) => dimensions.extract(),
        Err(_) => as_array(object, None)?.getattr(intern!(object.py(), "ndim"))?.extract(),
    }
}

/// The argument as an array of these numbers, C-contiguous and aligned.
fn convert<'py>(argument: &str, object: &Bound<'py, PyAny>, numbers: Numbers) -> PyResult<Bound<'py, PyAny>> {
    let is_sequence = object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>();
    let array = if is_sequence { of_sequence(argument, object, numbers)? } else { as_array(object, None)? };
    check_kind(argument, &array, numbers)?;
    let requirements = ["C_CONTIGUOUS", "ALIGNED"];
    static REQUIRE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    REQUIRE.import(object.py(), "numpy", "require")?.call1((array, numbers.dtype, requirements))
}

/// The array of a list or tuple, made in its final type at once. Its first element speaks for the type of all.
fn of_sequence<'py>(argument: &str, object: &Bound<'py, PyAny>, numbers: Numbers) -> PyResult<Bound<'py, PyAny>> {
    if object.len()? > 0 {
        check_kind(argument, &as_array(&object.get_item(0)?, None)?, numbers)?;
    }
    as_array(object, Some(numbers.dtype))
}

fn as_array<'py>(object: &Bound<'py, PyAny>, dtype: Option<&str>) -> PyResult<Bound<'py, PyAny>> {
    static AS_ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    AS_ARRAY.import(object.py(), "numpy", "asarray")?.call1((object, dtype))
}

/// A `TypeError` unless the array is of these numbers. An empty list has no type, and NumPy makes it `float64`.
fn check_kind(argument: &str, array: &Bound<'_, PyAny>, numbers: Numbers) -> PyResult<()> {
    let py = array.py();
    let dtype = array.getattr(intern!(py, "dtype"))?;
    let kind: String = dtype.getattr(intern!(py, "kind"))?.extract()?;
    let is_empty = || -> PyResult<bool> { Ok(array.getattr(intern!(py, "size"))?.extract::<usize>()? == 0) };
    if numbers.kinds.contains(&kind) || is_empty()? {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!("{argument}: expected {}, got {dtype}", numbers.name)))
}

fn wrong_dimensions(argument: &str, array: &Bound<'_, PyAny>, expected: &str) -> PyErr {
    match array.getattr("shape").and_then(|shape| shape.repr().map(|shape| shape.to_string())) {
        Ok(shape) => {
            PyValueError::new_err(format!("{argument}: expected an array of {expected} dimensions, got shape {shape}"))
        }
        Err(error) => error,
    }
}
