//! Files that are read in place of pipes, where one process has read these for several.

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::source::{copy, copy_all, file_of, open_stream, temporary};

/// These files, by the paths of the pipes.
static STAND_INS: Mutex<Vec<(PathBuf, File)>> = Mutex::new(Vec::new());

/// From now on a file is read where a path names a pipe or the standard input.
pub fn stand_in(path: &Path, file: File) {
    STAND_INS.lock().unwrap_or_else(PoisonError::into_inner).push((file_of(path), file));
}

/// The file that is read in place of a pipe, from its first byte on.
pub(super) fn of(path: &Path) -> io::Result<Option<File>> {
    let stand_ins = STAND_INS.lock().unwrap_or_else(PoisonError::into_inner);
    let file = stand_ins.iter().find(|(known, _)| known == path).map(|(_, file)| file.try_clone());
    let mut file = file.transpose()?;
    file.as_mut().map(File::rewind).transpose()?;
    Ok(file)
}

/// Copies what comes from a pipe into a file without a name: of a table all of it; of arrays, what is none is refused at
/// its first bytes. The error is one line that begins with the path.
pub fn copy_of(path: &Path, is_table: bool) -> Result<File, String> {
    let text = |error: io::Error| error.to_string();
    let copied = || {
        let mut stream = open_stream(&file_of(path)).map_err(text)?;
        let mut file = if is_table { copy_all(&mut *stream)? } else { copy(&mut *stream)? };
        file.rewind().map_err(text)?;
        Ok(file)
    };
    copied().map_err(|what: String| format!("{}: {what}", path.display()))
}

/// An empty file without a name, for a copy of a pipe that another process reads.
pub fn empty_copy(path: &Path) -> Result<File, String> {
    temporary().map_err(|what| format!("{}: {what}", path.display()))
}
