//! Whole files of embeddings and of labels.

use std::io::Read;
use std::path::Path;

use crate::input::{Array, Element, Header, Kind, Wanted};
use crate::memory::reserved;
use crate::rows::RowFile;

/// What is read of an archive where no array is named.
const LABELS: Wanted = Wanted { is_wanted: is_list, name: "one-dimensional arrays of integers" };

fn is_list(header: &Header) -> bool {
    header.shape.len() == 1 && header.element.is_integer()
}

/// A batch of embeddings, one a row, in row-major order.
pub struct Embeddings {
    /// All elements.
    pub values: Vec<f32>,
    /// How many rows there are.
    pub rows: usize,
    /// The elements of a row.
    pub dim: usize,
}

impl Embeddings {
    /// All rows of a file.
    pub(crate) fn of(file: &RowFile) -> Result<Embeddings, String> {
        Ok(Embeddings { values: file.read()?, rows: file.rows, dim: file.dim })
    }
}

/// Reads a 2-D array of floats. The error is one line that begins with the path.
pub fn read(path: &Path) -> Result<Embeddings, String> {
    Embeddings::of(&RowFile::open(path, false)?)
}

/// Reads a 1-D array of integers of any type: those of 64 bits as their bits are, narrower ones with their sign. The
/// error is one line that begins with the path.
pub fn read_labels(path: &Path) -> Result<Vec<u64>, String> {
    read_words(path).map_err(|what| format!("{}: {what}", path.display()))
}

fn read_words(path: &Path) -> Result<Vec<u64>, String> {
    let array = Array::open(path, LABELS)?;
    let Header { element, shape, .. } = &array.header;
    if !is_list(&array.header) {
        let way = if element.is_integer() { "array.reshape(-1)" } else { "array.astype('int64')" };
        return Err(format!(
            "expected a 1-D array of integers, found a {}-D array of {element} with shape {shape:?}: save {way}",
            shape.len(),
        ));
    }
    let count = usize::try_from(shape[0]).unwrap_or(usize::MAX);
    let (mut labels, mut elements) = (reserved(count, "labels")?, array.elements().map_err(|error| error.to_string())?);
    let mut word = [0; 8];
    for _ in 0..count {
        elements.read_exact(&mut word[..element.size]).map_err(|error| error.to_string())?;
        labels.push(label(*element, word));
    }
    Ok(labels)
}

/// The label in the first bytes of a word.
fn label(element: Element, mut word: [u8; 8]) -> u64 {
    if element.is_big_endian {
        word[..element.size].reverse();
    }
    let shift = 64 - 8 * element.size;
    let high = u64::from_le_bytes(word) << shift;
    match element.kind {
        Kind::Signed => (high.cast_signed() >> shift).cast_unsigned(),
        _ => high >> shift,
    }
}
