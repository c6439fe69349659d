//! The files that a run writes.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A file to write. It is removed when dropped, unless it is kept or was there before: a run that fails leaves no file
/// behind that looks like a result.
pub(crate) struct Output {
    file: File,
    path: PathBuf,
    /// Whether it is to be removed.
    is_new: bool,
}

impl Output {
    /// Opens the file before the work begins, as a path that cannot be written should not be found after it. What is in
    /// the file stays until there is something to replace it.
    pub(crate) fn open(path: PathBuf) -> Result<Output, String> {
        match open_file(&path) {
            Ok((file, is_new)) => Ok(Output { file, path, is_new }),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Replaces the contents of the file by what `write` writes.
    pub(crate) fn replace<E>(&self, write: impl FnOnce(&File) -> Result<(), E>) -> Result<(), String>
    where
        E: Display + From<io::Error>,
    {
        let result = empty(&self.file).map_err(E::from).and_then(|()| write(&self.file));
        result.map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Refuses to write over an input, or twice to one file. Until [`Output::replace`] nothing is lost.
    pub(crate) fn check_distinct<'a>(
        inputs: [&Path; 2],
        outputs: impl Iterator<Item = &'a Output>,
    ) -> Result<(), String> {
        // By then every file exists; what cannot be resolved is no file that was read.
        let resolved = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut taken = inputs.map(resolved).to_vec();
        for output in outputs {
            let path = resolved(&output.path);
            if taken.contains(&path) {
                return Err(format!(
                    "{}: would be written over, and is an input or another output",
                    output.path.display()
                ));
            }
            taken.push(path);
        }
        Ok(())
    }

    /// The run has succeeded: the file stays.
    pub(crate) fn keep(mut self) {
        self.is_new = false;
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.is_new {
            // The run has failed already, and says why.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The file, and whether it was made just now.
fn open_file(path: &Path) -> io::Result<(File, bool)> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        // A link that leads nowhere exists as well, so this may still have to create what it leads to.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            Ok((file, false))
        }
        Err(error) => Err(error),
    }
}

/// Drops what is in the file.
fn empty(file: &File) -> io::Result<()> {
    // A pipe or a device has no length to set.
    if file.metadata()?.is_file() { file.set_len(0) } else { Ok(()) }
}
