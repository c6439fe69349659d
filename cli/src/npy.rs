//! Embeddings and labels from `.npy` files: one layout is read, and any other is named in the error rather than
//! converted, since a silent conversion would change what is measured.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use npyz::{Deserialize, NpyFile, NpyHeader, Order};

/// A batch of embeddings, one a row, in row-major order.
pub struct Embeddings {
    /// All elements.
    pub values: Vec<f32>,
    /// How many rows there are.
    pub rows: usize,
    /// The elements of a row.
    pub dim: usize,
}

/// Reads a 2-D array of little-endian `f32` in C order. The error is one line that begins with the path.
pub fn read(path: &Path) -> Result<Embeddings, String> {
    read_file(path, read_rows)
}

/// Reads a 1-D array of little-endian `u64` or `i64`, the bits of which are taken as they are. The error is one line
/// that begins with the path.
pub fn read_labels(path: &Path) -> Result<Vec<u64>, String> {
    read_file(path, read_words)
}

fn read_file<T>(path: &Path, read: fn(&mut BufReader<File>) -> Result<T, String>) -> Result<T, String> {
    let file = File::open(path).map_err(|error| error.to_string());
    file.and_then(|file| read(&mut BufReader::new(file))).map_err(|what| format!("{}: {what}", path.display()))
}

fn read_rows(file: &mut BufReader<File>) -> Result<Embeddings, String> {
    let npy = NpyFile::new(&mut *file).map_err(describe_header_error)?;
    let (rows, dim) = shape(npy.header())?;
    let values = read_values(npy, &format!("{rows} x {dim}"))?;
    check_end(file, &format!("{rows} x {dim}"))?;
    Ok(Embeddings { values, rows, dim })
}

fn read_words(file: &mut BufReader<File>) -> Result<Vec<u64>, String> {
    let npy = NpyFile::new(&mut *file).map_err(describe_header_error)?;
    let (descr, shape) = (npy.header().dtype().descr(), npy.header().shape().to_vec());
    let count = shape.first().copied().unwrap_or_default().to_string();
    let words = match (descr.as_str(), &shape[..]) {
        ("'<u8'", [_]) => read_values::<u64>(npy, &count)?,
        ("'<i8'", [_]) => read_values::<i64>(npy, &count)?.into_iter().map(i64::cast_unsigned).collect(),
        _ => {
            return Err(format!(
                "expected a 1-D array of little-endian u64 or i64 ('<u8', '<i8'), found a {}-D array of {descr} with \
                 shape {shape:?}",
                shape.len(),
            ));
        }
    };
    check_end(file, &count)?;
    Ok(words)
}

/// Fails if something follows after the elements of the header, which would be ignored without a word.
fn check_end(file: &mut impl Read, elements: &str) -> Result<(), String> {
    match file.read(&mut [0]).map_err(|error| error.to_string())? {
        0 => Ok(()),
        _ => Err(format!("there is more data after the {elements} elements of its header")),
    }
}

/// The parser of the header answers in several lines, of which the first one says it all.
fn describe_header_error(error: io::Error) -> String {
    let message = error.to_string();
    let line = message.lines().next().unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidData => format!("not an npy file: {line}"),
        ErrorKind::UnexpectedEof => "not an npy file: it ends inside its header".to_owned(),
        _ => message,
    }
}

/// The rows and columns of the only layout that is read.
fn shape(header: &NpyHeader) -> Result<(usize, usize), String> {
    let is_little_f32 = header.dtype().descr() == "'<f4'";
    match *header.shape() {
        [rows, dim] if is_little_f32 && header.order() == Order::C => sizes(rows, dim),
        _ => Err(format!(
            "expected a 2-D array of little-endian f32 ('<f4') in C order, \
             found a {}-D array of {} with shape {:?} in {:?} order",
            header.shape().len(),
            header.dtype().descr(),
            header.shape(),
            header.order(),
        )),
    }
}

fn sizes(rows: u64, dim: u64) -> Result<(usize, usize), String> {
    let fits = |&(rows, dim): &(usize, usize)| rows.checked_mul(dim).is_some();
    let sizes = usize::try_from(rows).ok().zip(usize::try_from(dim).ok());
    sizes.filter(fits).ok_or_else(|| format!("{rows} x {dim} elements do not fit into memory"))
}

/// The vector grows with what is there: the header of a truncated file must not decide how much memory is asked for.
fn read_values<T: Deserialize>(npy: NpyFile<impl Read>, elements: &str) -> Result<Vec<T>, String> {
    let mut values = Vec::new();
    for value in npy.data::<T>().map_err(|error| error.to_string())? {
        match value {
            Ok(value) => values.push(value),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(format!("truncated: {} of {elements} elements are there", values.len()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(values)
}
