//! The Python exception of each error.

use hardneg::{Error, Side};
use pyo3::PyErr;
use pyo3::exceptions::{PyMemoryError, PyValueError};

/// A `ValueError` with the crate's sentence; a `MemoryError` where the allocator refused memory.
pub(crate) fn refused(error: Error) -> PyErr {
    match error {
        Error::OutOfMemory { .. } | Error::SizeOverflow { .. } => PyMemoryError::new_err(error.to_string()),
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// A `ValueError` for the text of an option.
pub(crate) fn unknown_option(error: hardneg::ParseOptionError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The error of a call with the anchors from row `first` on, as that of the call with all of them.
pub(crate) fn of_all_rows(error: Error, first: usize) -> Error {
    match error {
        Error::NotFinite { side: side @ (Side::Anchors | Side::Queries), row } => {
            Error::NotFinite { side, row: first + row }
        }
        error => error,
    }
}
