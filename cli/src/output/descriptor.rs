//! Paths that name an open file of a process, such as `/dev/stdout`, `/dev/fd/3` and `/proc/self/fd/3`.
//!
//! Opening such a path on Linux opens the file anew, from its first byte on and without the flag that appends. A file
//! behind it must neither be replaced nor be written over: the shell that has opened it goes on with it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Links to links are followed so often.
const MOST_LINKS: usize = 40;

/// An open file.
pub(super) enum Descriptor {
    /// Of this process.
    Own(i32),
    /// Of another one, by its path.
    Foreign(PathBuf),
}

/// The open file that a path names, itself or through links.
pub(super) fn of(path: &Path) -> Option<Descriptor> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Some(descriptor) = named(&path) {
            return Some(descriptor);
        }
        let link = fs::read_link(&path).ok()?;
        path = path.parent().unwrap_or(Path::new("")).join(link);
    }
    None
}

fn named(path: &Path) -> Option<Descriptor> {
    let number = path.file_name()?.to_str()?.parse::<i32>().ok().filter(|&number| number >= 0)?;
    let folder = fs::canonicalize(path.parent()?).ok()?;
    let is_own = |own: &str| fs::canonicalize(own).is_ok_and(|own| own == folder);
    if ["/proc/self/fd", "/proc/thread-self/fd", "/dev/fd"].into_iter().any(is_own) {
        return Some(Descriptor::Own(number));
    }
    (folder.starts_with("/proc") && folder.ends_with("fd")).then(|| Descriptor::Foreign(path.to_owned()))
}

/// Opens a descriptor for writing, at the place where its owner is.
pub(super) fn open(descriptor: &Descriptor) -> io::Result<File> {
    match descriptor {
        Descriptor::Own(number) => own(*number),
        Descriptor::Foreign(path) => OpenOptions::new().append(true).open(path),
    }
}

/// A copy of a descriptor of this process, which shares its place in the file.
#[cfg(target_os = "linux")]
fn own(number: i32) -> io::Result<File> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let path = format!("/proc/self/fd/{number}");
    fs::symlink_metadata(&path)?;
    check_inherited(number)?;
    let copy = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|process| pidfd_getfd(process, number, PidfdGetfdFlags::empty()));
    // Some containers forbid this way. The other one appends: nothing that is there is written over.
    copy.map(File::from).or_else(|_| OpenOptions::new().append(true).open(path))
}

/// Fails for a file that this process has opened by itself, which its user cannot mean, and for one to read.
#[cfg(target_os = "linux")]
fn check_inherited(number: i32) -> io::Result<()> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    const ACCESS: u32 = 0o3;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(ACCESS);
    if flags & CLOSE_ON_EXEC != 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    if flags & ACCESS == 0 {
        return Err(io::Error::other("it is open for reading only"));
    }
    Ok(())
}

/// Opening `/dev/fd/N` copies the descriptor there.
#[cfg(not(target_os = "linux"))]
fn own(number: i32) -> io::Result<File> {
    OpenOptions::new().append(true).open(format!("/dev/fd/{number}"))
}
