//! Running `hardneg score`, files for it, and what the library says of them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hardneg::{Batch, Loss, Positives, RowStats, TripletLoss, Workspace};
use hardneg_cli::npy::{self, Embeddings};

/// The header of the one layout that is read.
pub(crate) const F32: &str = "'descr': '<f4', 'fortran_order': False";

/// The command, without its arguments.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hardneg"));
    command.arg("score");
    command
}

pub(crate) fn score(arguments: &[&str]) -> Output {
    command().args(arguments).output().expect("the binary runs")
}

/// A file of the sample that the project carries.
pub(crate) fn sample(name: &str) -> String {
    format!("{}/../examples/data/{name}.npy", env!("CARGO_MANIFEST_DIR"))
}

/// A path for a file of this test's own.
pub(crate) fn temporary(name: &str) -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("score");
    fs::create_dir_all(&directory).expect("a folder for temporary files");
    directory.join(name).display().to_string()
}

/// Writes an npy file, version 1.0, with the given items of its header.
pub(crate) fn write_npy(name: &str, layout: &str, shape: &str, data: &[u8]) -> String {
    let header = format!("{{{layout}, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).expect("a short header");
    let path = temporary(name);
    let bytes = [b"\x93NUMPY\x01\x00", &length.to_le_bytes()[..], header.as_bytes(), data].concat();
    fs::write(&path, bytes).expect("a temporary file");
    path
}

pub(crate) fn write_rows(name: &str, values: &[f32], dim: usize) -> String {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    write_npy(name, F32, &format!("({}, {dim})", values.len() / dim), &data)
}

pub(crate) fn read(path: &str) -> Embeddings {
    npy::read(Path::new(path)).expect("a file of embeddings")
}

/// The value of a printed key.
pub(crate) fn value<'a>(printed: &'a str, key: &str) -> &'a str {
    let mut values = printed.lines().filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name == key);
    values.next().unwrap_or_else(|| panic!("no {key} in:\n{printed}")).1
}

/// What a successful run prints.
pub(crate) fn printed(arguments: &[&str]) -> String {
    let output = score(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{arguments:?} is short work");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs `score` in a way that is wrong: status 2, nothing printed, and one line that says all of `parts`.
pub(crate) fn refused(arguments: &[&str], parts: &[&str]) {
    let output = score(arguments);
    let message = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?} prints a result");
    assert!(message.starts_with("hardneg: ") && message.ends_with('\n'), "{arguments:?}: {message}");
    assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "{arguments:?}: no {part:?} in {message}");
    }
}

/// What the library says of the sample.
pub(crate) fn library(plan: TripletLoss, anchors: &str, positives: &str) -> (Loss, Vec<RowStats>) {
    let (anchors, positives) = (read(anchors), read(positives));
    let batch = Batch::new(&anchors.values, &positives.values, anchors.dim, Positives::Identity).expect("a batch");
    let mut workspace = Workspace::new();
    let forward = plan.forward(batch, &mut workspace).expect("finite rows");
    (forward.loss(), forward.row_stats().to_vec())
}

/// Fails unless the fields of a line are the row, bit for bit.
pub(crate) fn assert_fields(fields: &csv::StringRecord, row: usize, stats: &RowStats, margin: f32) {
    let bits = |field: usize| fields[field].parse::<f32>().expect("a number").to_bits();
    assert_eq!(fields[0].parse(), Ok(row));
    assert_eq!(bits(1), stats.positive().to_bits(), "positive of row {row}");
    match stats.mean_negative() {
        Some(mean) => assert_eq!(bits(2), mean.to_bits(), "mean negative of row {row}"),
        None => assert_eq!(&fields[2], "", "row {row} has no mean negative"),
    }
    match stats.closest_negative() {
        Some(closest) => {
            assert_eq!(bits(3), closest.similarity().to_bits(), "closest negative of row {row}");
            assert_eq!(fields[4].parse(), Ok(closest.index()), "closest index of row {row}");
        }
        None => assert_eq!((&fields[3], &fields[4]), ("", ""), "row {row} has no closest negative"),
    }
    let loss: f64 = fields[5].parse().expect("a number");
    assert_eq!(loss.to_bits(), (stats.mean_term(margin) + stats.closest_term(margin)).to_bits(), "loss of row {row}");
}

/// Fails unless the file holds exactly these rows.
pub(crate) fn assert_table(path: &str, stats: &[RowStats], margin: f32) {
    let mut table = csv::Reader::from_path(path).expect("the table");
    let header = ["row", "positive", "mean_negative", "closest_negative", "closest_index", "loss"];
    assert_eq!(table.headers().expect("a header"), header.as_slice());
    let lines: Vec<csv::StringRecord> = table.records().collect::<Result<_, _>>().expect("lines of six fields");
    assert_eq!(lines.len(), stats.len());
    for (row, (fields, stats)) in lines.iter().zip(stats).enumerate() {
        assert_fields(fields, row, stats, margin);
    }
}

/// Writes labels as `u64`.
pub(crate) fn write_labels(name: &str, labels: &[u64]) -> String {
    let data: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    write_npy(name, "'descr': '<u8', 'fortran_order': False", &format!("({},)", labels.len()), &data)
}

pub(crate) fn write_text(name: &str, text: &str) -> String {
    let path = temporary(name);
    fs::write(&path, text).expect("a temporary file");
    path
}
