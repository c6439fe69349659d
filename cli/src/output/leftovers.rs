//! Temporary files of runs that were killed.

use std::fs::{self, DirEntry, File};
use std::path::Path;

/// How the names of temporary files begin. They are short: the name of the file to write may be as long as names get.
pub(super) const PREFIX: &str = ".hardneg-";
/// How the names of temporary files end.
pub(super) const SUFFIX: &str = ".tmp";

/// Removes from a folder the temporary files that no process has locked. A process holds the lock of its own as long as
/// it lives.
pub(super) fn clear(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(is_temporary).for_each(|entry| clear_file(&entry.path()));
}

fn is_temporary(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let is_named_so = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
    is_named_so && entry.file_type().is_ok_and(|kind| kind.is_file())
}

fn clear_file(path: &Path) {
    if let Ok(file) = File::open(path)
        && file.try_lock().is_ok()
    {
        // While the lock is held, so that the file is not one that a run has just made and is about to lock.
        let _ = fs::remove_file(path);
    }
}
