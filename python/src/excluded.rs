//! The arguments that exclude candidates: labels, and lists.

use hardneg::Exclusions;
use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arrays;
use crate::lists::{Lists, Meaning, Shape};

/// The labels of rows and of candidates.
pub(crate) struct Labels<'py> {
    rows: PyReadonlyArray1<'py, u64>,
    /// `None` where they are those of the rows.
    candidates: Option<PyReadonlyArray1<'py, u64>>,
}

impl<'py> Labels<'py> {
    /// Labels from two arguments, of which both are given or none.
    pub(crate) fn of_both(
        rows: Option<&Bound<'py, PyAny>>,
        candidates: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Labels<'py>>> {
        match (rows, candidates) {
            (None, None) => Ok(None),
            (Some(rows), Some(candidates)) => {
                let rows = arrays::labels("query_labels", rows)?;
                Ok(Some(Labels { rows, candidates: Some(arrays::labels("corpus_labels", candidates)?) }))
            }
            _ => Err(PyValueError::new_err("query_labels and corpus_labels: expected both or none")),
        }
    }

    /// Labels from one argument: an array where the batch is paired, otherwise a tuple of two.
    fn extract(object: &Bound<'py, PyAny>, is_paired: bool) -> PyResult<Labels<'py>> {
        if let Ok((rows, candidates)) = object
            .cast::<PyTuple>()
            .map_err(PyErr::from)
            .and_then(|pair| pair.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>())
            && !is_number(&rows)
        {
            let candidates = Some(arrays::labels("labels", &candidates)?);
            return Ok(Labels { rows: arrays::labels("labels", &rows)?, candidates });
        }
        if !is_paired {
            let message = "labels: expected a tuple of the labels of the anchors and those of the candidates";
            return Err(PyValueError::new_err(message));
        }
        Ok(Labels { rows: arrays::labels("labels", object)?, candidates: None })
    }

    /// The labels of the rows.
    pub(crate) fn rows(&self) -> &[u64] {
        self.rows.as_slice().expect("the array was made contiguous")
    }

    /// The labels of the candidates.
    pub(crate) fn candidates(&self) -> &[u64] {
        self.candidates.as_ref().unwrap_or(&self.rows).as_slice().expect("the array was made contiguous")
    }
}

fn is_number(object: &Bound<'_, PyAny>) -> bool {
    object.extract::<i64>().is_ok()
}

/// What is excluded of a batch of the loss.
pub(crate) enum Excluded<'py> {
    Nothing,
    Labels(Labels<'py>),
    Lists(Lists),
}

impl<'py> Excluded<'py> {
    pub(crate) fn extract(
        labels: Option<&Bound<'py, PyAny>>,
        exclude: Option<&Bound<'py, PyAny>>,
        is_paired: bool,
        shape: Shape,
    ) -> PyResult<Excluded<'py>> {
        match (labels, exclude) {
            (None, None) => Ok(Excluded::Nothing),
            (Some(labels), None) => Ok(Excluded::Labels(Labels::extract(labels, is_paired)?)),
            (None, Some(lists)) => Ok(Excluded::Lists(Lists::extract(Meaning::Exclusions, lists, shape)?)),
            (Some(_), Some(_)) => Err(PyValueError::new_err("labels and exclude: expected one of them")),
        }
    }

    pub(crate) fn exclusions(&self) -> Exclusions<'_> {
        match self {
            Excluded::Nothing => Exclusions::None,
            Excluded::Labels(labels) => Exclusions::Labels { anchors: labels.rows(), candidates: labels.candidates() },
            Excluded::Lists(Lists { offsets, indices }) => Exclusions::Lists { offsets, indices },
        }
    }
}
