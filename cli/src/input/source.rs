//! Files, pipes and the standard input, by the paths that name them.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::bytes::At;
use super::header;
use super::place::Place;
use super::shared;

/// The path that stands for the standard input.
const STANDARD: &str = "-";

/// A file that was opened to be read at any place. A pipe was copied into one that is nowhere else.
pub(super) struct Source {
    pub file: File,
    /// The first bytes.
    pub magic: Vec<u8>,
    /// The array that is wanted of an archive.
    pub array: Option<String>,
}

impl Source {
    /// The error does not name the path.
    pub(super) fn open(path: &Path) -> Result<Source, String> {
        let (path, array) = split(path);
        let text = |error: io::Error| error.to_string();
        let stand_in = shared::of(&path).map_err(text)?;
        let file = match stand_in.map_or_else(|| standard_file(&path), |file| Ok(Some(file))).map_err(text)? {
            Some(file) => file,
            None if is_pipe(&path) => copy(&mut *open_stream(&path).map_err(text)?)?,
            None => open_file(&path).map_err(text)?,
        };
        let mut magic = Vec::new();
        At { file: &file, place: 0 }.take(6).read_to_end(&mut magic).map_err(text)?;
        if array.is_some() && !magic.starts_with(b"PK") {
            return Err("only an archive has arrays with names".to_owned());
        }
        Ok(Source { file, magic, array })
    }

    /// All of it.
    pub(super) fn whole(self) -> Result<Place, String> {
        let length = self.file.metadata().map_err(|error| error.to_string())?.len();
        Ok(Place { file: self.file, start: 0, stored: length, length, is_deflated: false, crc: None })
    }
}

/// The file of a path that may name an array of an archive.
pub(crate) fn file_of(path: &Path) -> PathBuf {
    split(path).0
}

/// Whether a path is the standard input or names a file that is there.
pub(crate) fn is_there(path: &Path) -> bool {
    let file = file_of(path);
    file == Path::new(STANDARD) || fs::metadata(file).is_ok()
}

/// The file, and the array that is named after a colon. A file that has a colon in its name is a file.
fn split(path: &Path) -> (PathBuf, Option<String>) {
    let is_there = |path: &str| path == STANDARD || fs::metadata(path).is_ok();
    let text = path.to_str().filter(|text| !is_there(text)).unwrap_or_default();
    let mut colons = text.rmatch_indices(':').map(|(at, _)| (&text[..at], &text[at + 1..]));
    match colons.find(|(file, _)| is_there(file)) {
        Some((file, array)) => (file.into(), Some(array.to_owned())),
        None => (path.to_owned(), None),
    }
}

/// Fails for what is not there or cannot be read, and for a standard input that is wanted twice, without waiting for
/// anybody.
pub fn check<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<(), String> {
    let mut is_taken = false;
    for path in paths {
        let (file, _) = split(path);
        if file == Path::new(STANDARD) {
            if std::mem::replace(&mut is_taken, true) {
                return Err("-: the standard input can be read once".to_owned());
            }
        } else if let Err(error) = check_file(&file) {
            return Err(format!("{}: {error}", path.display()));
        }
    }
    Ok(())
}

fn check_file(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::other("a folder, not a file"));
    }
    #[cfg(unix)]
    rustix::fs::access(path, rustix::fs::Access::READ_OK)?;
    Ok(())
}

fn open_file(path: &Path) -> io::Result<File> {
    check_file(path)?;
    File::open(path)
}

/// Whether a path stands for the standard input.
#[must_use]
pub fn is_standard(path: &Path) -> bool {
    file_of(path) == Path::new(STANDARD)
}

/// Whether somebody must write what is read: the file is no regular one.
#[must_use]
pub fn is_pipe(path: &Path) -> bool {
    let (file, _) = split(path);
    if file == Path::new(STANDARD) {
        return !standard_file(&file).is_ok_and(|file| file.is_some());
    }
    fs::metadata(file).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// The standard input, where it is a file of which nothing was read.
fn standard_file(path: &Path) -> io::Result<Option<File>> {
    #[cfg(unix)]
    if path == Path::new(STANDARD) {
        use std::os::fd::AsFd;
        let mut file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let is_whole = file.metadata()?.is_file() && file.stream_position()? == 0;
        return Ok(is_whole.then_some(file));
    }
    let _ = path;
    Ok(None)
}

pub(super) fn open_stream(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(if path == Path::new(STANDARD) { Box::new(io::stdin().lock()) } else { Box::new(open_file(path)?) })
}

/// Opens a file of text, a pipe or the standard input. The error names the path.
pub(crate) fn open_text(path: &Path) -> Result<Box<dyn Read>, String> {
    let file = shared::of(path).and_then(|file| file.map_or_else(|| open_stream(path), |file| Ok(Box::new(file) as _)));
    file.map_err(|error| format!("{}: {error}", path.display()))
}

/// A file without a name, which is gone when it is closed.
pub(super) fn temporary() -> io::Result<File> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("no temporary file: {error}"));
    tempfile::tempfile().map_err(named)
}

/// Copies what comes from a pipe into a file: an archive as a whole, of an array no more than its header says and a
/// byte. What is neither is refused at its first bytes, however much would follow.
pub(super) fn copy(stream: &mut dyn Read) -> Result<File, String> {
    let text = |error: io::Error| format!("{error}, copying it to the folder for temporary files, which TMPDIR names");
    let mut start = Vec::new();
    stream.take(2).read_to_end(&mut start).map_err(|error| error.to_string())?;
    let mut file = temporary().map_err(text)?;
    if start == b"PK" {
        io::copy(&mut start.chain(stream), &mut file).map_err(text)?;
        return Ok(file);
    }
    let mut head = Vec::new();
    let header = header::read(&mut Tee { from: &mut (&start[..]).chain(&mut *stream), to: &mut head })?;
    let more = header.data_bytes().and_then(|bytes| bytes.checked_add(1)).unwrap_or(u64::MAX);
    io::copy(&mut (&head[..]).chain(stream.take(more)), &mut file).map_err(text)?;
    Ok(file)
}

/// Keeps what is read.
struct Tee<'a, R> {
    from: &'a mut R,
    to: &'a mut Vec<u8>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}
