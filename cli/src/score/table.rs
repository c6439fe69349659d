//! One line a row, with floats that read back to the same bits.

use std::io::{self, Write};

use csv::Writer;
use hardneg::RowStats;

use crate::numbers::Float;
use crate::output::Output;
use crate::records;

const HEADER: [&str; 6] = ["row", "positive", "mean_negative", "closest_negative", "closest_index", "loss"];

/// Replaces the contents of the file by the rows.
pub(crate) fn write(output: &mut Output, rows: &[RowStats], margin: f32) -> Result<(), String> {
    output.replace(|file| write_rows(file, rows, margin))
}

fn write_rows(file: &mut dyn Write, rows: &[RowStats], margin: f32) -> io::Result<()> {
    let mut writer = Writer::from_writer(file);
    records::write(&mut writer, HEADER)?;
    for (row, stats) in rows.iter().enumerate() {
        records::write(&mut writer, record(row, stats, margin))?;
    }
    writer.flush()
}

/// The fields of a row; those of an absent mean or closest negative are empty.
fn record(row: usize, stats: &RowStats, margin: f32) -> [String; 6] {
    let closest = stats.closest_negative();
    [
        row.to_string(),
        Float(stats.positive()).to_string(),
        stats.mean_negative().map_or_else(String::new, |mean| Float(mean).to_string()),
        closest.map_or_else(String::new, |closest| Float(closest.similarity()).to_string()),
        closest.map_or_else(String::new, |closest| closest.index().to_string()),
        Float(stats.mean_term(margin) + stats.closest_term(margin)).to_string(),
    ]
}
