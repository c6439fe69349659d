//! Numbers of tables: floats for every reader, and the same bits.

use std::fs;

use crate::common::{data, folder, path, printed};

/// A number that a reader which guesses types takes for a float.
fn is_float(text: &str) -> bool {
    text.contains('.') && text.parse::<f64>().is_ok()
}

/// 120 losses are 0 before the first one that is not: readers decide by the first hundred.
#[test]
fn whole_losses_are_floats() {
    let table = path(&folder("whole_losses"), "rows.csv");
    let files = ["whole_losses_anchors.npy", "whole_losses_positives.npy"].map(data);
    printed(&["score", &files[0], &files[1], "--margin", "0.01", "--rows", &table]);
    let table = fs::read_to_string(table).expect("the table");
    let losses: Vec<&str> = table.lines().skip(1).map(|line| line.rsplit(',').next().unwrap_or_default()).collect();
    assert!(losses[..100].iter().all(|&loss| loss == "0.0") && losses.iter().any(|&loss| loss != "0.0"));
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        assert!([1, 2, 3, 5].iter().all(|&field| fields[field].is_empty() || is_float(fields[field])), "{line}");
    }
}

#[test]
fn whole_similarities_are_floats() {
    let folder = folder("whole_similarities");
    let (table, lines) = (path(&folder, "t.csv"), path(&folder, "t.jsonl"));
    let files = ["duplicates_queries.npy", "duplicates_corpus.npy"].map(data);
    printed(&["mine", &files[0], &files[1], "--k", "7", "--out", &table, "--jsonl", &lines]);
    let table = fs::read_to_string(table).expect("the table");
    assert!(table.contains(",0.0\n"), "{table}");
    assert!(table.lines().skip(1).all(|line| is_float(line.rsplit(',').next().unwrap_or_default())), "{table}");
    let lines = fs::read_to_string(lines).expect("the lines");
    assert!(lines.contains(",0.0,0.0,0.0]"), "{lines}");
    let scores = lines.lines().filter_map(|line| line.split_once("\"scores\":[")?.1.strip_suffix("]}"));
    assert!(scores.flat_map(|scores| scores.split(',')).all(is_float), "{lines}");
}
