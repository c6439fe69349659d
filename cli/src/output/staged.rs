//! A file that appears under its name when it is complete.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::interrupts::with_staged;
use super::leftovers::{self, PREFIX, SUFFIX};

/// A temporary file, and the file whose name it takes.
pub(super) struct Staged {
    /// Links followed.
    path: PathBuf,
    beside: Option<NamedTempFile>,
    is_written: bool,
}

impl Staged {
    /// Makes the temporary file, and makes sure that a file which is there can be written.
    pub(super) fn new(path: PathBuf) -> io::Result<Staged> {
        let is_there = match OpenOptions::new().append(true).open(&path) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = match temporary(folder) {
            // The file can be written, but nothing beside it: it may be the one thing of a container that can.
            Err(_) if is_there => temporary(&env::temp_dir()),
            beside => beside,
        }?;
        if let Ok(metadata) = fs::metadata(&path) {
            beside.as_file().set_permissions(metadata.permissions())?;
        }
        Ok(Staged { path, beside: Some(beside), is_written: false })
    }

    /// Writes the temporary file.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let Some(beside) = &mut self.beside else { return Ok(()) };
        write(beside.as_file_mut())?;
        self.is_written = true;
        Ok(())
    }

    /// What was written takes the name of the file. Where it cannot (a mount, another file system, another's file in a
    /// folder like `/tmp`), the file is written in place, from a copy that stays where that fails, too.
    pub(super) fn keep(mut self) -> Result<(), String> {
        // What was not written goes away as `self` does.
        let Some(beside) = self.beside.take_if(|_| self.is_written) else { return Ok(()) };
        let staged = beside.path().to_owned();
        // A power cut after the renaming leaves the old file or the whole new one.
        if let Err(error) = sync(beside.as_file()) {
            let (_, kept) = keep_under_another_name(beside).map_err(|error| error.to_string())?;
            return Err(is_kept(&error, &kept));
        }
        let renamed = with_staged(|paths| {
            paths.retain(|path| *path != staged);
            beside.persist(&self.path)
        });
        match renamed {
            Ok(_) => Ok(()),
            Err(error) => write_in_place(error.file, &self.path),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // The run has failed already, and says why.
        let Some(beside) = self.beside.take() else { return };
        with_staged(|paths| {
            paths.retain(|path| path != beside.path());
            drop(beside);
        });
    }
}

/// A temporary file in a folder, which an interrupt removes. What killed runs left there goes first.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    leftovers::clear(folder);
    with_staged(|paths| {
        // Again where another run has taken the file for a left one, between its creation and its lock.
        loop {
            let file = create(folder)?;
            // Not every file system has locks. Without them nothing is taken for a left file, either.
            let _ = file.as_file().lock();
            if fs::symlink_metadata(file.path()).is_ok() {
                paths.push(file.path().to_owned());
                return Ok(file);
            }
        }
    })
}

fn create(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX).rand_bytes(8);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Waits until a file is on the disk, where the file system can tell.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Copies a finished file into another one, and removes it when all of it is there.
fn write_in_place(finished: NamedTempFile, path: &Path) -> Result<(), String> {
    let (mut file, kept) = keep_under_another_name(finished).map_err(|error| error.to_string())?;
    match copy(&mut file, path) {
        Ok(()) => fs::remove_file(kept).map_err(|error| error.to_string()),
        Err(error) => Err(is_kept(&error, &kept)),
    }
}

/// What is said of an error after which a finished file stays.
fn is_kept(error: &io::Error, kept: &Path) -> String {
    format!("{error}; what was computed is in {}", kept.display())
}

/// Gives a finished file a name that nothing clears away, so that it is there whatever stops the copying.
fn keep_under_another_name(finished: NamedTempFile) -> io::Result<(File, PathBuf)> {
    let (file, path) = with_staged(|paths| {
        paths.retain(|path| path != finished.path());
        finished.keep().map_err(|error| error.error)
    })?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let kept = path.with_file_name(format!("{}.kept", name.trim_start_matches('.').trim_end_matches(SUFFIX)));
    let renamed = fs::rename(&path, &kept);
    Ok((file, if renamed.is_ok() { kept } else { path }))
}

fn copy(from: &mut File, path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    from.rewind()?;
    io::copy(from, &mut file)?;
    sync(&file)
}
