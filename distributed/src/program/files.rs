//! Files that every rank reads.

use std::path::Path;

use hardneg_cli::rows::RowFile;

/// Opens a file of rows. A pipe gives its bytes to one reader, and not to each rank.
pub(crate) fn open(path: &Path, has_bf16: bool) -> Result<RowFile, String> {
    if hardneg_cli::is_pipe(path) {
        return Err(format!("{}: a pipe, which the ranks cannot all read: copy it to a file", path.display()));
    }
    RowFile::open(path, has_bf16)
}
