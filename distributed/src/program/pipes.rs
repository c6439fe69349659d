//! Pipes, which one rank reads for all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use hardneg_cli::input;
use hardneg_mpi::Ranks;

use crate::together::{self, Failed};

/// The bytes that travel at a time.
const PART: usize = 1 << 20;

/// Reads on rank 0 each of these files that is a pipe or the standard input, and gives every rank a copy, in a file
/// without a name. Every rank calls it. Files that are `tables` are text.
pub(crate) fn share<'a>(
    ranks: &mut Ranks,
    paths: impl Iterator<Item = &'a Path>,
    tables: &[&Path],
) -> Result<(), Failed> {
    for path in paths {
        let mut is_shared = [u8::from(input::is_pipe(path) || input::is_standard(path))];
        together::from_first(&mut is_shared);
        if is_shared == [1] {
            share_one(ranks, path, tables.contains(&path))?;
        }
    }
    Ok(())
}

fn share_one(ranks: &mut Ranks, path: &Path, is_table: bool) -> Result<(), Failed> {
    let is_first = ranks.rank() == 0;
    let file = if is_first { input::copy_of(path, is_table) } else { input::empty_copy(path) };
    let mut file = together::all(ranks, file)?;
    let copied = copy(&mut file, is_first).map_err(|error| format!("{}: {error}", path.display()));
    together::all(ranks, copied)?;
    input::stand_in(path, file);
    Ok(())
}

/// Copies the file of rank 0, from where it stands, to those of the others. A rank that fails goes on, as the others wait
/// for it.
fn copy(file: &mut File, is_first: bool) -> io::Result<()> {
    let length = if is_first { file.metadata().map(|metadata| metadata.len()) } else { Ok(0) };
    let mut left = [*length.as_ref().unwrap_or(&0)];
    together::from_first(&mut left);
    let (mut copied, mut left, mut buffer) = (length.map(|_| ()), left[0], vec![0; PART]);
    while left > 0 {
        let part = &mut buffer[..usize::try_from(left).unwrap_or(PART).min(PART)];
        if is_first {
            copied = copied.and_then(|()| file.read_exact(part));
        }
        together::from_first(part);
        if !is_first {
            copied = copied.and_then(|()| file.write_all(part));
        }
        left -= part.len() as u64;
    }
    copied
}
