//! A run that is refused changes no file.

use std::fs;
use std::path::Path;

use crate::common::{refused, temporary, write_rows};

/// Both kinds of files are opened before a row is found that cannot be scored.
#[test]
fn a_refused_run_leaves_no_new_file_and_changes_no_old_one() {
    let nan = write_rows("unfinished.npy", &[1.0, 2.0, f32::NAN, 4.0], 2);
    let (table, prefix) = (temporary("unfinished.csv"), temporary("unfinished"));
    let sides = ["anchors", "positives"].map(|side| format!("{prefix}_{side}.npy"));
    let arguments = [nan.as_str(), &nan, "--rows", &table, "--gradients", &prefix];
    for path in [&table, &sides[0], &sides[1]] {
        // What another run of this test may have left.
        let _ = fs::remove_file(path);
    }
    refused(&arguments, &["row 1"]);
    assert!([&table, &sides[0], &sides[1]].iter().all(|path| !Path::new(path).exists()), "a new file is left");
    fs::write(&table, "old").expect("a temporary file");
    refused(&arguments, &["row 1"]);
    assert_eq!(fs::read(&table).expect("the old table"), b"old");
    // The gradients cannot be opened, when the table is open already.
    fs::remove_file(&table).expect("a temporary file");
    let nowhere = temporary("no_such_folder/prefix");
    refused(&[&nan, &nan, "--rows", &table, "--gradients", &nowhere], &["No such file"]);
    assert!(!Path::new(&table).exists(), "a new table is left");
}

#[test]
fn inputs_are_not_written_over() {
    let rows = [1.0, 0.0, 0.0, 1.0];
    let [anchors, positives] = ["own_anchors.npy", "own_positives.npy"].map(|name| write_rows(name, &rows, 2));
    let before = [&anchors, &positives].map(|path| fs::read(path).expect("an input"));
    let prefix = temporary("own");
    refused(&[&anchors, &positives, "--gradients", &prefix], &["own_anchors.npy", "input"]);
    refused(&[&anchors, &positives, "--rows", &positives], &["own_positives.npy", "input"]);
    let other = temporary("twice");
    refused(&[&anchors, &positives, "--gradients", &other, "--rows", &format!("{other}_anchors.npy")], &["output"]);
    assert_eq!([&anchors, &positives].map(|path| fs::read(path).expect("an input")), before);
}
