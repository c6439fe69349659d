//! The lists as a table, as arrays and as lines of JSON.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use csv::Writer;
use hardneg::Neighbour;
use npyz::WriterBuilder;

use crate::numbers::Float;
use crate::output::Output;
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

/// Writes the indices and the similarities of `queries` lists, in rows of `k`.
pub(crate) fn write_arrays<'a>(
    [indices, similarities]: &mut [Output; 2],
    rows: impl Iterator<Item = &'a [Neighbour]> + Clone,
    queries: usize,
    k: usize,
) -> Result<(), String> {
    let shape = [queries as u64, k as u64];
    let index = |found: &Neighbour| found.index as i64;
    indices.replace(|file| write_array(file, shape, rows.clone(), index, -1))?;
    similarities.replace(|file| write_array(file, shape, rows, |found| found.similarity, f32::NAN))
}

/// Writes one array, filled up where a list is short.
fn write_array<'a, T: npyz::AutoSerialize + Copy>(
    file: &mut dyn Write,
    shape: [u64; 2],
    rows: impl Iterator<Item = &'a [Neighbour]>,
    element: impl Fn(&Neighbour) -> T,
    absent: T,
) -> io::Result<()> {
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd()?;
    for row in rows {
        writer.extend(row.iter().map(&element))?;
        writer.extend((row.len() as u64..shape[1]).map(|_| absent))?;
    }
    writer.finish()
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
