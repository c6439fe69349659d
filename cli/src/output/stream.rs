//! Outputs that are written at once, as no file can take their place: descriptors, pipes and devices.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::STANDARD;
use super::descriptor::{self, Descriptor};

/// Where the bytes go.
pub(super) enum Stream {
    /// The standard output.
    Standard,
    /// An open file: another descriptor of this process, or a device.
    Open(File),
    /// A pipe with a name, which is opened when there is something to write: opening waits for a reader.
    Pipe(PathBuf),
}

impl Stream {
    /// The stream that a path stands for, if it is none of a file that can be replaced.
    pub(super) fn of(path: &Path) -> io::Result<Option<Stream>> {
        if path == STANDARD {
            return Ok(Some(Stream::Standard));
        }
        match descriptor::of(path) {
            Some(Descriptor::Own(1)) => return Ok(Some(Stream::Standard)),
            Some(descriptor) => return descriptor::open(&descriptor).map(|file| Some(Stream::Open(file))),
            None => {}
        }
        match fs::metadata(path) {
            Ok(metadata) if is_pipe(&metadata) => {
                check_writable(path)?;
                Ok(Some(Stream::Pipe(path.to_owned())))
            }
            Ok(metadata) if !metadata.is_file() => {
                OpenOptions::new().write(true).open(path).map(|file| Some(Stream::Open(file)))
            }
            _ => Ok(None),
        }
    }

    /// The stream, ready to be written.
    pub(super) fn open(&mut self) -> io::Result<Box<dyn Write + '_>> {
        Ok(match self {
            Stream::Standard => Box::new(io::stdout().lock()),
            Stream::Open(file) => Box::new(file),
            Stream::Pipe(path) => Box::new(OpenOptions::new().write(true).open(path)?),
        })
    }
}

#[cfg(unix)]
fn is_pipe(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_: &fs::Metadata) -> bool {
    false
}

/// Checks that a pipe may be opened, without waiting for its reader.
#[cfg(unix)]
fn check_writable(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, rustix::fs::Access::WRITE_OK)?)
}

#[cfg(not(unix))]
fn check_writable(_: &Path) -> io::Result<()> {
    Ok(())
}
