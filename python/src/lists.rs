//! Lists of candidates for each row: known positives, and exclusions.

use hardneg::Error;
use numpy::PyUntypedArrayMethods;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::arrays;
use crate::errors::refused;

/// What the lists are of.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Meaning {
    Positives,
    Exclusions,
}

impl Meaning {
    fn argument(self) -> &'static str {
        match self {
            Meaning::Positives => "positives",
            Meaning::Exclusions => "exclude",
        }
    }

    fn out_of_range(self, row: usize, index: i64, candidates: usize) -> PyErr {
        let index = i128::from(index);
        refused(match self {
            Meaning::Positives => Error::PositiveOutOfRange { row, index, candidates },
            Meaning::Exclusions => Error::ExcludedOutOfRange { row, index, candidates },
        })
    }
}

/// Compressed lists: those of row i are `indices[offsets[i]..offsets[i + 1]]`.
#[derive(Default)]
pub(crate) struct Lists {
    pub(crate) offsets: Vec<usize>,
    pub(crate) indices: Vec<usize>,
}

/// The rows and the candidates that lists speak of.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) candidates: usize,
}

impl Lists {
    /// Lists from one of three forms: pairs (an array of two columns, or a list of tuples), one candidate for each row
    /// (an array of one dimension), or a sequence of sequences, one for each row.
    pub(crate) fn extract(meaning: Meaning, object: &Bound<'_, PyAny>, shape: Shape) -> PyResult<Lists> {
        if object.hasattr(intern!(object.py(), "ndim"))? {
            return match arrays::dimensions(object)? {
                1 => Lists::of_one_each(meaning, object, shape),
                _ => Lists::of_pairs(meaning, object, shape),
            };
        }
        let is_list = object.hasattr(intern!(object.py(), "__getitem__"))? && !object.is_instance_of::<PyString>();
        if !is_list {
            let argument = meaning.argument();
            return Err(PyTypeError::new_err(format!("{argument}: expected pairs or a list for each row")));
        }
        match object.len()? > 0 && object.get_item(0)?.is_instance_of::<PyTuple>() {
            true => Lists::of_pairs(meaning, object, shape),
            false => Lists::of_sequences(meaning, object, shape),
        }
    }

    fn of_one_each(meaning: Meaning, object: &Bound<'_, PyAny>, shape: Shape) -> PyResult<Lists> {
        let indices = arrays::indices(meaning.argument(), object)?;
        check_rows(meaning, shape, indices.len())?;
        let mut lists = Lists::with_capacity(shape, indices.len());
        for (row, &index) in indices.as_slice()?.iter().enumerate() {
            lists.indices.push(checked(meaning, shape, row, index)?);
            lists.end_row();
        }
        Ok(lists)
    }

    fn of_sequences(meaning: Meaning, object: &Bound<'_, PyAny>, shape: Shape) -> PyResult<Lists> {
        check_rows(meaning, shape, object.len()?)?;
        let mut lists = Lists::with_capacity(shape, shape.rows);
        for (row, list) in object.try_iter()?.enumerate() {
            let list = list?;
            if let Ok(index) = list.extract::<i64>() {
                lists.indices.push(checked(meaning, shape, row, index)?);
            } else {
                for &index in arrays::indices(meaning.argument(), &list)?.as_slice()? {
                    lists.indices.push(checked(meaning, shape, row, index)?);
                }
            }
            lists.end_row();
        }
        Ok(lists)
    }

    /// The pairs in the order of their rows, counted first and placed then.
    fn of_pairs(meaning: Meaning, object: &Bound<'_, PyAny>, shape: Shape) -> PyResult<Lists> {
        let pairs = arrays::pairs(meaning.argument(), object)?;
        let pairs = pairs.as_slice()?.chunks_exact(2);
        let mut ends = vec![0; shape.rows + 1];
        for (place, pair) in pairs.clone().enumerate() {
            let row = usize::try_from(pair[0]).ok().filter(|&row| row < shape.rows);
            let row = row.ok_or_else(|| no_such_row(meaning, place, pair[0], shape.rows))?;
            checked(meaning, shape, row, pair[1])?;
            ends[row + 1] += 1;
        }
        for row in 0..shape.rows {
            ends[row + 1] += ends[row];
        }
        let (offsets, mut indices) = (ends.clone(), vec![0; ends[shape.rows]]);
        for pair in pairs {
            let place = &mut ends[pair[0] as usize];
            indices[*place] = pair[1] as usize;
            *place += 1;
        }
        Ok(Lists { offsets, indices })
    }

    fn with_capacity(shape: Shape, indices: usize) -> Lists {
        let mut offsets = Vec::with_capacity(shape.rows + 1);
        offsets.push(0);
        Lists { offsets, indices: Vec::with_capacity(indices) }
    }

    fn end_row(&mut self) {
        self.offsets.push(self.indices.len());
    }

    /// The list of one row.
    pub(crate) fn of(&self, row: usize) -> &[usize] {
        &self.indices[self.offsets[row]..self.offsets[row + 1]]
    }
}

fn check_rows(meaning: Meaning, shape: Shape, actual: usize) -> PyResult<()> {
    if actual == shape.rows {
        return Ok(());
    }
    let (argument, rows) = (meaning.argument(), shape.rows);
    Err(PyValueError::new_err(format!("{argument}: expected a list for each of {rows} rows, got {actual}")))
}

fn checked(meaning: Meaning, shape: Shape, row: usize, index: i64) -> PyResult<usize> {
    let inside = usize::try_from(index).ok().filter(|&index| index < shape.candidates);
    inside.ok_or_else(|| meaning.out_of_range(row, index, shape.candidates))
}

fn no_such_row(meaning: Meaning, place: usize, row: i64, rows: usize) -> PyErr {
    let argument = meaning.argument();
    PyValueError::new_err(format!("{argument}: pair {place} is of row {row}, but there are {rows} rows"))
}
