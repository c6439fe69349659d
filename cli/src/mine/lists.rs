//! The lists as a table, as arrays and as lines of JSON.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use csv::Writer;
use hardneg::Neighbour;

use crate::numbers::Float;
use crate::output::{Number, Output, write_array};
use crate::records;

/// Writes a line for each neighbour, with floats that read back to the same bits.
pub(crate) fn write_table<'a>(output: &mut Output, rows: impl Iterator<Item = &'a [Neighbour]>) -> Result<(), String> {
    output.replace(|file| {
        let mut writer = Writer::from_writer(file);
        records::write(&mut writer, ["query", "rank", "index", "similarity"])?;
        for (query, row) in rows.enumerate() {
            for (rank, Neighbour { index, similarity }) in (1_usize..).zip(row) {
                let fields = [query.to_string(), rank.to_string(), index.to_string(), Float(*similarity).to_string()];
                records::write(&mut writer, fields)?;
            }
        }
        writer.flush()
    })
}

/// Opens the files `PREFIX_indices.npy` and `PREFIX_similarities.npy`.
pub(crate) fn open_arrays(prefix: &Path) -> Result<[Output; 2], String> {
    let open = |suffix| {
        let mut path = OsString::from(prefix);
        path.push(suffix);
        Output::open(PathBuf::from(path))
    };
    Ok([open("_indices.npy")?, open("_similarities.npy")?])
}

/// Writes the indices and the similarities of `queries` lists, in rows of `k`; the similarities also where the indices
/// could not be written.
pub(crate) fn write_arrays<'a>(
    [indices, similarities]: &mut [Output; 2],
    rows: impl Iterator<Item = &'a [Neighbour]> + Clone,
    queries: usize,
    k: usize,
) -> Result<(), String> {
    let shape = [queries, k];
    let index = |found: &Neighbour| found.index as i64;
    let written = indices.replace(|file| write_array(file, shape, filled_up(rows.clone(), k, index, -1)));
    let similarity = |found: &Neighbour| found.similarity;
    written.and(similarities.replace(|file| write_array(file, shape, filled_up(rows, k, similarity, f32::NAN))))
}

/// The elements of all lists, each of `k`.
fn filled_up<'a, T: Number>(
    rows: impl Iterator<Item = &'a [Neighbour]>,
    k: usize,
    element: impl Fn(&Neighbour) -> T,
    absent: T,
) -> impl Iterator<Item = T> {
    rows.flat_map(move |row| (0..k).map(move |at| (row, at))).map(move |(row, at)| row.get(at).map_or(absent, &element))
}

/// Writes a line of JSON for each query.
pub(crate) fn write_lines<'a>(output: &mut Output, rows: impl Iterator<Item = &'a [Neighbour]>) -> Result<(), String> {
    output.replace(|out| {
        for (query, row) in rows.enumerate() {
            write!(out, "{{\"query\":{query},\"negatives\":[")?;
            write_joined(out, row.iter().map(|found| found.index))?;
            write!(out, "],\"scores\":[")?;
            write_joined(out, row.iter().map(|found| Float(found.similarity)))?;
            writeln!(out, "]}}")?;
        }
        Ok(())
    })
}

fn write_joined(out: &mut dyn Write, values: impl Iterator<Item = impl std::fmt::Display>) -> io::Result<()> {
    for (at, value) in values.enumerate() {
        write!(out, "{}{value}", if at == 0 { "" } else { "," })?;
    }
    Ok(())
}
