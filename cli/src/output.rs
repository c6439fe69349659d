//! The files that a run writes.

use std::cell::Cell;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// A file to write. What is written goes to another file beside it, which takes its name when all of it is there: a run
/// that fails or is interrupted leaves the file as it was. A pipe or a device is written at once.
pub(crate) struct Output {
    path: PathBuf,
    target: Target,
}

enum Target {
    /// The file, links followed, and the file beside it.
    File {
        path: PathBuf,
        beside: PathBuf,
        is_written: Cell<bool>,
    },
    Device(File),
}

impl Output {
    /// Checks before the work begins that the file can be written, as one that cannot should not be found after it.
    pub(crate) fn open(path: PathBuf) -> Result<Output, String> {
        match open_target(&path) {
            Ok(target) => Ok(Output { path, target }),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Writes what is to replace the contents of the file.
    pub(crate) fn replace<E>(&self, write: impl FnOnce(&File) -> Result<(), E>) -> Result<(), String>
    where
        E: Display + From<io::Error>,
    {
        let result = match &self.target {
            Target::Device(file) => write(file),
            Target::File { path, beside, is_written } => create(beside).map_err(E::from).and_then(|file| {
                is_written.set(true);
                if let Ok(metadata) = fs::metadata(path) {
                    file.set_permissions(metadata.permissions())?;
                }
                write(&file)
            }),
        };
        result.map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Refuses to write over an input, or twice to one file. Until [`Output::keep`] nothing is lost.
    pub(crate) fn check_distinct<'a>(
        inputs: impl IntoIterator<Item = &'a Path>,
        outputs: impl Iterator<Item = &'a Output>,
    ) -> Result<(), String> {
        let mut taken: Vec<PathBuf> = inputs.into_iter().map(resolved).collect();
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

    /// The run has succeeded: what was written takes the name of the file.
    pub(crate) fn keep(self) -> Result<(), String> {
        if let Target::File { path, beside, is_written } = &self.target
            && is_written.get()
        {
            fs::rename(beside, path).map_err(|error| format!("{}: {error}", self.path.display()))?;
            is_written.set(false);
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Target::File { beside, is_written, .. } = &self.target
            && is_written.get()
        {
            // The run has failed already, and says why.
            let _ = fs::remove_file(beside);
        }
    }
}

/// The path with all links followed, also where the file itself is not there yet.
fn resolved(path: &Path) -> PathBuf {
    let in_folder = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::canonicalize(folder).ok().zip(path.file_name()).map(|(folder, name)| folder.join(name))
    };
    fs::canonicalize(path).ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

/// Opens what is no regular file; of a file, makes sure that it and one beside it can be written.
fn open_target(path: &Path) -> io::Result<Target> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return OpenOptions::new().write(true).open(path).map(Target::Device);
        }
        Ok(_) => drop(OpenOptions::new().append(true).open(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // A link that leads nowhere: the file is made where it leads to.
    let path = match fs::read_link(path) {
        Ok(link) if fs::metadata(path).is_err() => path.parent().unwrap_or(Path::new("")).join(link),
        _ => resolved(path),
    };
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", process::id()));
    let beside = path.with_file_name(name);
    drop(create(&beside)?);
    fs::remove_file(&beside)?;
    Ok(Target::File { path, beside, is_written: Cell::new(false) })
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}
