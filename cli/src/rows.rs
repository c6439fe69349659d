//! Rows of numbers in `.npy` files and `.npz` archives, read piece by piece.
//!
//! Elements are `f32`, `f16`, `f64`, which is rounded to the nearest `f32`, or, where the caller says so, `bf16` in the
//! bits of `u16`, for which NumPy has no type; in either byte order, and in C or Fortran order.

mod columns;
mod convert;

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::input::{self, Array, Bytes, Element, Header, Kind, Wanted};
use columns::Columns;
use convert::Numbers;

/// The bytes that are read and converted at a time.
const BUFFER: usize = 1 << 18;
/// What is read of an archive where no array is named.
const ROWS: Wanted = Wanted { is_wanted: is_matrix, name: "two-dimensional arrays of numbers" };

fn is_matrix(header: &Header) -> bool {
    header.shape.len() == 2
}

/// A file of rows whose header was read.
#[derive(Debug)]
pub struct RowFile {
    path: PathBuf,
    /// How many rows there are, one at least.
    pub rows: usize,
    /// The elements of a row, one at least.
    pub dim: usize,
    numbers: Numbers,
    array: Array,
}

impl RowFile {
    /// Opens a file, and reads no more than its header; a pipe is read to its end. With `has_bf16`, `u16` stands for
    /// `bf16`. The error is one line that begins with the path.
    pub fn open(path: &Path, has_bf16: bool) -> Result<RowFile, String> {
        open(path, has_bf16).map_err(|what| format!("{}: {what}", path.display()))
    }

    /// A reader of the first row and those after it.
    pub fn reader(&self) -> Result<RowReader<'_>, String> {
        let order = if self.array.header.is_fortran {
            Ok(Order::Fortran(Columns::default()))
        } else {
            self.array.elements().map(Order::C)
        };
        order.map(|order| RowReader { file: self, order, next: 0 }).map_err(|error| self.describe(&error, 0))
    }

    /// All rows.
    pub fn read(&self) -> Result<Vec<f32>, String> {
        self.read_range(0..self.rows)
    }

    /// Some of the rows, which are there.
    pub fn read_range(&self, range: Range<usize>) -> Result<Vec<f32>, String> {
        let (mut reader, mut values) = (self.reader()?, Vec::new());
        reader.skip(range.start)?;
        reader.read(range.len(), &mut values)?;
        Ok(values)
    }

    /// In which way the file differs from little-endian `f32` in C order, if it does, for the report.
    #[must_use]
    pub fn converted(&self) -> Option<String> {
        let Header { element, is_fortran, .. } = self.array.header;
        let kind = self.numbers.name().map(str::to_owned);
        let order = element.is_big_endian.then(|| "big-endian".to_owned());
        let parts: Vec<String> =
            [kind, order, is_fortran.then(|| "Fortran order".to_owned())].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// What went wrong on the way to row `row` or in it.
    fn describe(&self, error: &io::Error, row: usize) -> String {
        let path = self.path.display();
        match error.kind() {
            ErrorKind::UnexpectedEof => format!("{path}: it ends in row {row} of {}", self.rows),
            _ => format!("{path}: row {row}: {error}"),
        }
    }
}

/// Files that were not little-endian `f32` in C order, each with the key of its line in a report.
pub type Converted = Vec<(&'static str, String)>;

/// What of these files was converted.
pub fn converted<'a>(files: impl IntoIterator<Item = (&'static str, &'a RowFile)>) -> Converted {
    files.into_iter().filter_map(|(key, file)| Some((key, file.converted()?))).collect()
}

/// Opens files of rows. Between those that are there and those that somebody has still to write, `between` does what
/// may fail at once: nobody waits for a pipe in order to hear of it.
pub fn open_all<const N: usize, T>(
    paths: [Option<&Path>; N],
    has_bf16: bool,
    between: impl FnOnce() -> Result<T, String>,
) -> Result<([Option<RowFile>; N], T), String> {
    let mut files = [const { None }; N];
    // Before any is read.
    let are_pipes = paths.map(|path| path.is_some_and(input::is_pipe));
    let mut open = |is_pipe: bool| {
        for ((path, file), _) in paths.iter().zip(&mut files).zip(are_pipes).filter(|&(_, it)| it == is_pipe) {
            *file = path.map(|path| RowFile::open(path, has_bf16)).transpose()?;
        }
        Ok::<(), String>(())
    };
    open(false)?;
    let done = between()?;
    open(true)?;
    Ok((files, done))
}

/// Fails for files that are none of rows, but for pipes, which are not read.
pub fn check<'a>(paths: impl Iterator<Item = &'a Path>, has_bf16: bool) -> Result<(), String> {
    let mut files = paths.filter(|path| !input::is_pipe(path));
    files.try_for_each(|path| RowFile::open(path, has_bf16).map(drop))
}

fn open(path: &Path, has_bf16: bool) -> Result<RowFile, String> {
    let mut array = Array::open(path, ROWS)?;
    let [rows, dim] = array.header.shape[..] else { return Err(describe_shape(&array.header)) };
    if rows == 0 || dim == 0 {
        return Err(format!("{rows} x {dim} elements are none"));
    }
    let sizes = usize::try_from(rows).ok().zip(usize::try_from(dim).ok());
    let fits = |&(rows, dim): &(usize, usize)| rows.checked_mul(dim).is_some_and(|count| count < usize::MAX / 8);
    let (rows, dim) = sizes.filter(fits).ok_or_else(|| format!("{rows} x {dim} elements do not fit into memory"))?;
    let numbers = Numbers::of(array.header.element, has_bf16)?;
    // Any element is read at once. The checksum is that of all in their order, too.
    if array.header.is_fortran && array.place.crc.is_some() {
        array.place = array.place.unpacked()?;
    }
    Ok(RowFile { path: path.to_owned(), rows, dim, numbers, array })
}

fn describe_shape(header: &Header) -> String {
    let Header { shape, element, .. } = header;
    let way = if shape.len() == 1 { "array.reshape(-1, dim)" } else { "array.reshape(len(array), -1)" };
    format!("expected a 2-D array, found a {}-D array of {element} with shape {shape:?}: save {way}", shape.len())
}

/// Reads the rows of a file in order.
#[derive(Debug)]
pub struct RowReader<'a> {
    file: &'a RowFile,
    order: Order<'a>,
    /// The row that is read next.
    next: usize,
}

#[derive(Debug)]
enum Order<'a> {
    C(Bytes<'a>),
    Fortran(Columns),
}

impl RowReader<'_> {
    /// Passes over rows.
    pub fn skip(&mut self, rows: usize) -> Result<(), String> {
        if let Order::C(bytes) = &mut self.order {
            let count = rows as u64 * (self.file.dim * self.file.numbers.size()) as u64;
            bytes.skip(count).map_err(|error| self.file.describe(&error, self.next))?;
        }
        self.next += rows;
        Ok(())
    }

    /// Appends the next `rows` rows, which are there, to `values`.
    pub fn read(&mut self, rows: usize, values: &mut Vec<f32>) -> Result<(), String> {
        let no_memory = |_| format!("{}: no memory for {rows} rows", self.file.path.display());
        values.try_reserve_exact(rows * self.file.dim).map_err(no_memory)?;
        match &mut self.order {
            Order::C(bytes) => read_in_order(self.file, bytes, self.next, rows, values)?,
            Order::Fortran(columns) => columns.read(self.file, self.next..self.next + rows, values)?,
        }
        self.next += rows;
        Ok(())
    }
}

/// Appends `rows` rows from `first` on, whose bytes come next.
fn read_in_order(
    file: &RowFile,
    bytes: &mut Bytes<'_>,
    first: usize,
    rows: usize,
    values: &mut Vec<f32>,
) -> Result<(), String> {
    let (size, begin, count) = (file.numbers.size(), values.len(), rows * file.dim);
    let mut buffer = vec![0; BUFFER.min(count * size)];
    while values.len() < begin + count {
        let done = values.len() - begin;
        let part = &mut buffer[..(BUFFER / size).min(count - done) * size];
        let row = first + done / file.dim;
        io::Read::read_exact(bytes, part).map_err(|error| file.describe(&error, row))?;
        file.numbers
            .append(part, values)
            .map_err(|at| format!("{}: {}", file.path.display(), beyond(first + (done + at) / file.dim)))?;
    }
    Ok(())
}

fn beyond(row: usize) -> String {
    format!("row {row} holds a number beyond the range of float32")
}
