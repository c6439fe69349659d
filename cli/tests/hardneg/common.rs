//! Running the program, and files for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program, without arguments.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_hardneg"))
}

/// Runs the program.
pub(crate) fn hardneg(arguments: &[&str]) -> Output {
    command().args(arguments).output().expect("the binary runs")
}

/// What a run that succeeds prints.
pub(crate) fn printed(arguments: &[&str]) -> String {
    let output = hardneg(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// The one line on the standard error of an output of a run that fails.
pub(crate) fn error_of(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.starts_with("hardneg: ") && errors.lines().count() == 1, "{errors}");
    errors
}

/// The one line on the standard error of a run that fails.
pub(crate) fn error(arguments: &[&str]) -> String {
    error_of(&hardneg(arguments))
}

/// A file that the tests carry.
pub(crate) fn data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A new, empty folder of one test.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hardneg").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder
}

/// A path in a folder, as an argument.
pub(crate) fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}
/// The value of a printed key.
pub(crate) fn value<'a>(printed: &'a str, key: &str) -> &'a str {
    let mut values = printed.lines().filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name == key);
    values.next().unwrap_or_else(|| panic!("no {key} in:\n{printed}")).1
}
