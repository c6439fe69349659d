//! Rows of numbers in `.npy` files and in `.npz` archives of one array, read piece by piece.
//!
//! Elements are little-endian `f32`, `f16`, or, where the caller says so, `bf16` in the bits of `u16`, for which NumPy
//! has no type. All of them are `f32` without loss.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use half::{bf16, f16};
use npyz::{NpyHeader, Order};
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

/// The bytes that are read and converted at a time.
const BUFFER: usize = 1 << 18;

/// A file of rows whose header was read.
#[derive(Debug)]
pub struct RowFile {
    path: PathBuf,
    /// How many rows there are, one at least.
    pub rows: usize,
    /// The elements of a row, one at least.
    pub dim: usize,
    element: Element,
    place: Place,
    /// The length of the array's own header.
    header: u64,
}

/// How an element is written.
#[derive(Clone, Copy, Debug)]
enum Element {
    Float32,
    Float16,
    BFloat16,
}

impl Element {
    fn size(self) -> usize {
        match self {
            Element::Float32 => 4,
            Element::Float16 | Element::BFloat16 => 2,
        }
    }
}

/// Where the bytes of the array are.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u64,
    /// The bytes in the file.
    stored: u64,
    /// The bytes of the array.
    length: u64,
    is_deflated: bool,
    crc: Option<u32>,
}

impl RowFile {
    /// Opens the file, and reads no more than its header. With `has_bf16`, `u16` stands for `bf16`. The error is one
    /// line that begins with the path.
    pub fn open(path: &Path, has_bf16: bool) -> Result<RowFile, String> {
        open(path, has_bf16).map_err(|what| format!("{}: {what}", path.display()))
    }

    /// A reader of the first row and those after it.
    pub fn reader(&self) -> Result<RowReader<'_>, String> {
        let input = self.place.input(&self.path).and_then(|mut input| {
            input.read_over(self.header)?;
            Ok(input)
        });
        match input {
            Ok(input) => Ok(RowReader { file: self, input, next: 0 }),
            Err(error) => Err(self.describe(&error, 0)),
        }
    }

    /// All rows.
    pub fn read(&self) -> Result<Vec<f32>, String> {
        let mut values = Vec::new();
        self.reader()?.read(self.rows, &mut values)?;
        Ok(values)
    }

    /// Some of the rows, which are there.
    pub fn read_range(&self, range: Range<usize>) -> Result<Vec<f32>, String> {
        let (mut reader, mut values) = (self.reader()?, Vec::new());
        reader.skip(range.start)?;
        reader.read(range.len(), &mut values)?;
        Ok(values)
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

fn open(path: &Path, has_bf16: bool) -> Result<RowFile, String> {
    let text = |error: io::Error| error.to_string();
    let mut file = File::open(path).map_err(text)?;
    let metadata = file.metadata().map_err(text)?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic).map_err(text)?;
    file.rewind().map_err(text)?;
    let length = metadata.len();
    let place = match magic[..] {
        [b'P', b'K', ..] => find_entry(file)?,
        _ => Place { start: 0, stored: length, length, is_deflated: false, crc: None },
    };
    let mut input = place.input(path).map_err(text)?;
    let header = NpyHeader::from_reader(&mut input).map_err(describe_header_error)?;
    let (rows, dim, element) = layout(&header, has_bf16)?;
    let header = input.position;
    let expected = (rows as u64).checked_mul(dim as u64).and_then(|count| count.checked_mul(element.size() as u64));
    let expected = expected.and_then(|bytes| bytes.checked_add(header));
    if expected != Some(place.length) {
        let there = place.length.saturating_sub(header);
        return Err(format!("its header promises {rows} x {dim} elements, but {there} bytes follow"));
    }
    Ok(RowFile { path: path.to_owned(), rows, dim, element, place, header })
}

/// The one array in an archive.
fn find_entry(file: File) -> Result<Place, String> {
    let text = |error: rawzip::Error| format!("not an npz file: {error}");
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(text)?;
    let mut found = Vec::new();
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(text)? {
        let method = entry.compression_method();
        found.push((entry.wayfinder(), method, entry.uncompressed_size_hint(), entry.crc32()));
    }
    let [(wayfinder, method, length, crc)] = found[..] else {
        return Err(format!("expected an archive of one array, found {}", found.len()));
    };
    if method != CompressionMethod::STORE && method != CompressionMethod::DEFLATE {
        return Err("its array is compressed in a way that is not read".to_owned());
    }
    let (start, end) = archive.get_entry(wayfinder).map_err(text)?.compressed_data_range();
    let is_deflated = method == CompressionMethod::DEFLATE;
    Ok(Place { start, stored: end.saturating_sub(start), length, is_deflated, crc: Some(crc) })
}

/// The parser of the header answers in several lines, of which the first one says it all.
fn describe_header_error(error: io::Error) -> String {
    let message = error.to_string();
    let line = message.lines().next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnexpectedEof => "not an npy file: it ends inside its header".to_owned(),
        _ => format!("not an npy file: {line}"),
    }
}

/// The rows, the columns and the elements of a layout that is read.
fn layout(header: &NpyHeader, has_bf16: bool) -> Result<(usize, usize, Element), String> {
    let descr = header.dtype().descr();
    let element = match descr.as_str() {
        "'<f4'" => Some(Element::Float32),
        "'<f2'" => Some(Element::Float16),
        "'<u2'" if has_bf16 => Some(Element::BFloat16),
        _ => None,
    };
    if let ([rows, dim], Order::C, Some(element)) = (header.shape(), header.order(), element) {
        let sizes = usize::try_from(*rows).ok().zip(usize::try_from(*dim).ok());
        let fits = |&(rows, dim): &(usize, usize)| rows.checked_mul(dim).is_some_and(|count| count < usize::MAX / 8);
        let (rows, dim) =
            sizes.filter(fits).ok_or_else(|| format!("{rows} x {dim} elements do not fit into memory"))?;
        return if rows == 0 || dim == 0 {
            Err(format!("{rows} x {dim} elements are none"))
        } else {
            Ok((rows, dim, element))
        };
    }
    Err(format!(
        "expected a 2-D array of little-endian f32 or f16 ('<f4' or '<f2', or '<u2' with --bf16) in C order, found a {}-D \
         array of {descr} with shape {:?} in {:?} order",
        header.shape().len(),
        header.shape(),
        header.order(),
    ))
}

impl Place {
    fn input(self, path: &Path) -> io::Result<Input> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.start))?;
        let source = if self.is_deflated {
            Source::Deflated(BufReader::with_capacity(BUFFER, DeflateDecoder::new(file.take(self.stored))))
        } else {
            Source::Plain(BufReader::with_capacity(BUFFER, file))
        };
        Ok(Input { source, position: 0, length: self.length, crc: self.crc.map(|crc| (crc, Crc::new())) })
    }
}

/// The bytes of an array from the first on.
#[derive(Debug)]
struct Input {
    source: Source,
    position: u64,
    length: u64,
    /// The checksum that is expected and that so far, unless bytes were skipped.
    crc: Option<(u32, Crc)>,
}

#[derive(Debug)]
enum Source {
    Plain(BufReader<File>),
    Deflated(BufReader<DeflateDecoder<io::Take<File>>>),
}

impl Input {
    /// Goes on by so many bytes. What is passed over in a file that is not compressed is not in the checksum.
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let Source::Plain(file) = &mut self.source else { return self.read_over(bytes) };
        file.seek_relative(i64::try_from(bytes).map_err(io::Error::other)?)?;
        self.position += bytes;
        self.crc = None;
        Ok(())
    }

    /// Reads so many bytes, and forgets them.
    fn read_over(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.take(bytes), &mut io::sink())?;
        if passed < bytes { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let count = match &mut self.source {
            Source::Plain(file) => file.read(&mut buffer[..most])?,
            Source::Deflated(file) => file.read(&mut buffer[..most])?,
        };
        self.position += count as u64;
        if let Some((expected, crc)) = &mut self.crc {
            crc.update(&buffer[..count]);
            if self.position == self.length && crc.sum() != *expected {
                return Err(io::Error::new(ErrorKind::InvalidData, "the checksum of the archive does not match"));
            }
        }
        Ok(count)
    }
}

/// Reads the rows of a file in order.
#[derive(Debug)]
pub struct RowReader<'a> {
    file: &'a RowFile,
    input: Input,
    /// The row that is read next.
    next: usize,
}

impl RowReader<'_> {
    /// Passes over rows.
    pub fn skip(&mut self, rows: usize) -> Result<(), String> {
        let bytes = rows as u64 * self.row_bytes() as u64;
        self.input.skip(bytes).map_err(|error| self.file.describe(&error, self.next))?;
        self.next += rows;
        Ok(())
    }

    /// Appends the next `rows` rows, which are there, to `values`.
    pub fn read(&mut self, rows: usize, values: &mut Vec<f32>) -> Result<(), String> {
        let count = rows * self.file.dim;
        values
            .try_reserve_exact(count)
            .map_err(|_| format!("{}: no memory for {rows} rows", self.file.path.display()))?;
        let end = values.len() + count;
        let mut buffer = vec![0; BUFFER.min(count * self.file.element.size())];
        while values.len() < end {
            let size = self.file.element.size();
            let bytes = (BUFFER / size).min(end - values.len()) * size;
            let row = self.next + (rows - (end - values.len()).div_ceil(self.file.dim));
            self.input.read_exact(&mut buffer[..bytes]).map_err(|error| self.file.describe(&error, row))?;
            convert(self.file.element, &buffer[..bytes], values);
        }
        self.next += rows;
        Ok(())
    }

    fn row_bytes(&self) -> usize {
        self.file.dim * self.file.element.size()
    }
}

fn convert(element: Element, bytes: &[u8], values: &mut Vec<f32>) {
    let halves = || bytes.as_chunks::<2>().0.iter().copied();
    match element {
        Element::Float32 => values.extend(bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
        Element::Float16 => values.extend(halves().map(|bytes| f16::from_le_bytes(bytes).to_f32())),
        Element::BFloat16 => values.extend(halves().map(|bytes| bf16::from_le_bytes(bytes).to_f32())),
    }
}
