//! The files that a run writes.

mod array;
mod descriptor;
mod interrupts;
mod leftovers;
mod staged;
mod stream;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::input;
use crate::report::{To, unless_closed};
pub(crate) use array::{Number, write_array};
use staged::Staged;
use stream::Stream;

/// The path that stands for the standard output.
pub(crate) const STANDARD: &str = "-";

/// A file to write. What is written goes to another file beside it, which takes its name when all of it is there: a run
/// that fails or is interrupted leaves the file as it was. A descriptor, a pipe or a device is written at once.
pub(crate) struct Output {
    path: PathBuf,
    target: Target,
}

enum Target {
    File(Staged),
    Stream(Stream),
}

impl Output {
    /// Checks before the work begins that the file can be written, as one that cannot should not be found after it.
    pub(crate) fn open(path: PathBuf) -> Result<Output, String> {
        match open_target(&path) {
            Ok(target) => Ok(Output { path, target }),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Writes what is to replace the contents of the file. A reader of a stream who leaves has seen enough.
    pub(crate) fn replace(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
        let result = match &mut self.target {
            Target::File(file) => file.write(|file| write_all(file, write)),
            Target::Stream(stream) => stream.open().and_then(|mut stream| write_all(&mut *stream, write)),
        };
        unless_closed(result).map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Whether this is the standard output, where no report can stand then.
    pub(crate) fn is_standard(&self) -> bool {
        matches!(self.target, Target::Stream(Stream::Standard))
    }

    /// Refuses to write over an input, or twice to one file. Until [`Output::keep`] nothing is lost.
    pub(crate) fn check_distinct<'a>(
        inputs: impl IntoIterator<Item = &'a Path>,
        outputs: impl Iterator<Item = &'a Output>,
    ) -> Result<(), String> {
        let inputs = inputs.into_iter().map(input::file_of).filter(|path| path != STANDARD);
        let mut taken: Vec<PathBuf> = inputs.map(|path| resolved(&path)).collect();
        for output in outputs {
            let path = if output.is_standard() { STANDARD.into() } else { resolved(&output.path) };
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
        match self.target {
            Target::File(file) => file.keep().map_err(|what| format!("{}: {what}", self.path.display())),
            Target::Stream(_) => Ok(()),
        }
    }
}

/// Ends a run whose files were `written`: keeps them and prints the report. What fails stops nothing else, as all of it
/// was computed; the error is the first one.
pub(crate) fn finish(
    written: Result<(), String>,
    outputs: impl Iterator<Item = Output>,
    print: impl FnOnce(To) -> Result<(), String>,
) -> Result<(), String> {
    let outputs: Vec<Output> = outputs.collect();
    let to = if outputs.iter().any(Output::is_standard) { To::Error } else { To::Output };
    let kept = outputs.into_iter().map(Output::keep).fold(written, Result::and);
    // On the standard error an error is one line.
    if kept.is_err() && to == To::Error { kept } else { kept.and(print(to)) }
}

fn write_all(file: &mut dyn Write, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = BufWriter::with_capacity(1 << 16, file);
    write(&mut buffer)?;
    buffer.flush()
}

/// The path with all links followed, also where the file itself is not there yet.
fn resolved(path: &Path) -> PathBuf {
    let in_folder = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::canonicalize(folder).ok().zip(path.file_name()).map(|(folder, name)| folder.join(name))
    };
    fs::canonicalize(path).ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

/// Opens what is no regular file; of a file, makes sure that it can be written.
fn open_target(path: &Path) -> io::Result<Target> {
    if let Some(stream) = Stream::of(path)? {
        return Ok(Target::Stream(stream));
    }
    // A link that leads nowhere: the file is made where it leads to.
    let path = match fs::read_link(path) {
        Ok(link) if fs::metadata(path).is_err() => path.parent().unwrap_or(Path::new("")).join(link),
        _ => resolved(path),
    };
    Staged::new(path).map(Target::File)
}
