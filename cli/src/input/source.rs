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

/// A file that was opened to be read at any place. A pipe was copied into one without a name.
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

/// Fails for what is not there or cannot be read, and for a pipe that is wanted twice, without waiting for anybody.
pub fn check<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<(), String> {
    let mut pipes = Vec::new();
    for path in paths {
        let (file, _) = split(path);
        let is_standard = file == Path::new(STANDARD);
        if !is_standard && let Err(error) = check_file(&file) {
            return Err(format!("{}: {error}", path.display()));
        }
        if is_standard || is_pipe(&file) {
            let number = number(if is_standard { Path::new("/dev/stdin") } else { &file });
            if pipes.iter().any(|(other, of_other)| *other == file || number.is_some() && *of_other == number) {
                return Err(format!("{}: the standard input and pipes can be read once", path.display()));
            }
            pipes.push((file, number));
        }
    }
    Ok(())
}

/// The device and the number of a file, which are the same for `-`, `/dev/stdin` and all links to one pipe.
fn number(path: &Path) -> Option<(u64, u64)> {
    #[cfg(unix)]
    return fs::metadata(path).ok().map(|file| {
        use std::os::unix::fs::MetadataExt;
        (file.dev(), file.ino())
    });
    #[cfg(not(unix))]
    return None;
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
pub(super) fn temporary() -> Result<File, String> {
    tempfile::tempfile().map_err(|error| format!("no temporary file, in the folder that TMPDIR names: {error}"))
}

/// Copies what comes from a pipe into a file: an archive as a whole, of an array no more than its header says and a
/// byte. What is neither is refused at its first bytes, however much would follow.
pub(super) fn copy(stream: &mut dyn Read) -> Result<File, String> {
    let mut start = Vec::new();
    stream.take(2).read_to_end(&mut start).map_err(|error| error.to_string())?;
    if start == b"PK" {
        return copy_all(&mut start.chain(stream));
    }
    let mut head = Vec::new();
    let header = header::read(&mut Tee { from: &mut (&start[..]).chain(&mut *stream), to: &mut head })?;
    let more = header.data_bytes().and_then(|bytes| bytes.checked_add(1)).unwrap_or(u64::MAX);
    copy_all(&mut (&head[..]).chain(stream.take(more)))
}

/// Copies a stream into a file without a name.
pub(super) fn copy_all(stream: &mut dyn Read) -> Result<File, String> {
    let text = |error: io::Error| format!("{error}, copying it to the folder for temporary files, which TMPDIR names");
    let mut file = temporary()?;
    io::copy(stream, &mut file).map_err(text)?;
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
