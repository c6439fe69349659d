//! One line a row, with floats that read back to the same bits.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use csv::{Error, Writer};
use hardneg::RowStats;

const HEADER: [&str; 6] = ["row", "positive", "mean_negative", "closest_negative", "closest_index", "loss"];

/// Opens the file before the work begins, as a path that cannot be written should not be found after it. What is in the
/// file stays until there is something to replace it.
pub(crate) fn open(path: &Path) -> Result<File, String> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    file.map_err(|error| format!("{}: {error}", path.display()))
}

/// Replaces the contents of the file by the rows.
pub(crate) fn write(file: File, path: &Path, rows: &[RowStats], margin: f32) -> Result<(), String> {
    write_rows(file, rows, margin).map_err(|error| format!("{}: {error}", path.display()))
}

/// Drops what is in the file.
pub(crate) fn empty(file: &File) -> io::Result<()> {
    // A pipe or a device has no length to set.
    if file.metadata()?.is_file() { file.set_len(0) } else { Ok(()) }
}

fn write_rows(file: File, rows: &[RowStats], margin: f32) -> Result<(), Error> {
    empty(&file)?;
    let mut writer = Writer::from_writer(file);
    writer.write_record(HEADER)?;
    for (row, stats) in rows.iter().enumerate() {
        writer.write_record(record(row, stats, margin))?;
    }
    Ok(writer.flush()?)
}

/// The fields of a row; those of an absent closest negative are empty.
fn record(row: usize, stats: &RowStats, margin: f32) -> [String; 6] {
    let closest = stats.closest_negative;
    [
        row.to_string(),
        stats.positive.to_string(),
        stats.mean_negative.to_string(),
        closest.map_or_else(String::new, |closest| closest.similarity.to_string()),
        closest.map_or_else(String::new, |closest| closest.index.to_string()),
        (stats.mean_term(margin) + stats.closest_term(margin)).to_string(),
    ]
}
