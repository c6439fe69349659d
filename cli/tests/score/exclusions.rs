//! Candidates that are no negatives: by labels, by pairs, and positives in a file of their own.

use hardneg::{Batch, Exclusions, Gradients, Positives, TripletLoss, Workspace};
use hardneg_cli::score::chunks::Work;
use hardneg_cli::score::excluded::Excluded;

use crate::common::{
    assert_table, printed, read, refused, sample, temporary, value, write_labels, write_npy, write_rows, write_text,
};

/// Scores the sample with `options`, and compares lines, table and gradients with those of the library.
fn assert_excluded(name: &str, options: &[&str], exclusions: Exclusions<'_>) {
    let (anchors, positives) = (sample("anchors"), sample("positives"));
    let (a, p) = (read(&anchors), read(&positives));
    let batch = Batch::paired(&a.values, &p.values, a.dim).expect("a batch");
    let batch = batch.excluding(exclusions).expect("exclusions of this batch");
    let (mut by_anchors, mut by_positives) = (vec![0.0; a.values.len()], vec![0.0; p.values.len()]);
    let gradients = Gradients::new(&mut by_anchors, &mut by_positives);
    let mut workspace = Workspace::new();
    let plan = TripletLoss::new().margin(0.5);
    let forward = plan.forward_backward(batch, gradients, &mut workspace).expect("finite rows");
    let (table, prefix) = (temporary(&format!("{name}.csv")), temporary(name));
    let common = ["--margin", "0.5", "--rows", &table, "--gradients", &prefix];
    let printed = printed(&[&[anchors.as_str(), &positives], &common[..], options].concat());
    assert_eq!(value(&printed, "loss"), forward.loss().loss.to_string(), "{name}");
    assert_eq!(value(&printed, "without_negatives"), forward.loss().without_negatives.to_string(), "{name}");
    assert_table(&table, forward.row_stats(), 0.5);
    for (side, expected) in [("anchors", &by_anchors), ("positives", &by_positives)] {
        let written = read(&format!("{prefix}_{side}.npy"));
        assert!(written.values.iter().zip(expected).all(|(x, y)| x.to_bits() == y.to_bits()), "{name}, {side}");
    }
    // Without gradients the anchors may be scored in several calls.
    let (plan, excluded) = (TripletLoss::new().margin(0.5), owned(exclusions));
    let work = Work { plan: &plan, anchors: &a, candidates: &p, positives: None, excluded: &excluded, chunk: 100 };
    let scored = work.forward(&mut Workspace::new(), |_| ()).expect("finite rows");
    assert_eq!(scored.loss, forward.loss(), "{name}, 100 a call");
}

/// Exclusions that own their slices.
fn owned(exclusions: Exclusions<'_>) -> Excluded {
    match exclusions {
        Exclusions::Labels { anchors, candidates } => {
            Excluded::Labels { anchors: anchors.to_vec(), candidates: candidates.to_vec() }
        }
        Exclusions::Lists { offsets, indices } => {
            Excluded::Lists { offsets: offsets.to_vec(), indices: indices.to_vec() }
        }
        _ => Excluded::Nothing,
    }
}

#[test]
fn labels_exclude_rows() {
    let labels: Vec<u64> = (0..256).map(|row| row % 40).collect();
    let both = Exclusions::Labels { anchors: &labels, candidates: &labels };
    let file = write_labels("labels.npy", &labels);
    assert_excluded("by_labels", &["--labels", &file], both);
    assert_excluded("by_sides", &["--anchor-labels", &file, "--positive-labels", &file], both);
    // Signed labels are the same bits.
    let signed: Vec<u64> = (0..256).map(|row: u64| (row % 3).wrapping_sub(2)).collect();
    let data: Vec<u8> = signed.iter().flat_map(|label| label.to_le_bytes()).collect();
    let file = write_npy("signed.npy", "'descr': '<i8', 'fortran_order': False", "(256,)", &data);
    let both = Exclusions::Labels { anchors: &signed, candidates: &signed };
    assert_excluded("by_signed", &["--labels", &file], both);
    // One label for all leaves no negatives, and empty fields.
    let file = write_labels("equal.npy", &[9; 256]);
    assert_excluded("by_equal", &["--labels", &file], Exclusions::Labels { anchors: &[9; 256], candidates: &[9; 256] });
}

#[test]
fn pairs_exclude_rows() {
    let file = write_text("pairs.csv", "query,index\n3,9\n0,255\n3,4\n3,3\n3,9\n255,0\n");
    let offsets: Vec<usize> = (0..=256)
        .map(|row| match row {
            0 => 0,
            1..=3 => 1,
            4..=255 => 5,
            _ => 6,
        })
        .collect();
    let lists = Exclusions::Lists { offsets: &offsets, indices: &[255, 9, 4, 3, 9, 0] };
    assert_excluded("by_pairs", &["--exclude", &file], lists);
    let empty = write_text("no_pairs.csv", "query,index\n");
    assert_excluded("by_no_pairs", &["--exclude", &empty], Exclusions::None);
}

#[test]
fn positives_in_a_file_of_their_own() {
    let (anchors, positives) = (read(&sample("anchors")), read(&sample("positives")));
    let (dim, rows) = (anchors.dim, 100);
    let part = |values: &[f32], from: usize, to: usize| values[from * dim..to * dim].to_vec();
    let (a, p) = (part(&anchors.values, 0, rows), part(&positives.values, 0, rows));
    let n = part(&positives.values, rows, 256);
    let batch = Batch::new(&a, &n, dim, Positives::Outside(&p)).expect("a batch");
    let mut buffers = [&a, &n, &p].map(|rows| vec![0.0; rows.len()]);
    let [by_anchors, by_candidates, by_positives] = &mut buffers;
    let gradients = Gradients::new(by_anchors, by_candidates).positives(by_positives);
    let mut workspace = Workspace::new();
    let forward = TripletLoss::new().forward_backward(batch, gradients, &mut workspace).expect("finite rows");
    let files = [("outside_a.npy", &a), ("outside_n.npy", &n), ("outside_p.npy", &p)];
    let [a, n, p] = files.map(|(name, rows)| write_rows(name, rows, dim));
    let (table, prefix) = (temporary("outside.csv"), temporary("outside"));
    let printed = printed(&[&a, &n, "--positive-rows", &p, "--rows", &table, "--gradients", &prefix]);
    assert_eq!(value(&printed, "loss"), forward.loss().loss.to_string());
    assert_eq!((value(&printed, "rows"), value(&printed, "candidates")), ("100", "156"));
    assert_table(&table, forward.row_stats(), 0.25);
    for (side, expected) in ["anchors", "candidates", "positives"].into_iter().zip(&buffers) {
        let written = read(&format!("{prefix}_{side}.npy"));
        assert_eq!(written.values.len(), expected.len(), "{side}");
        assert!(written.values.iter().zip(expected).all(|(x, y)| x.to_bits() == y.to_bits()), "{side}");
    }
    // In several calls.
    let (plan, excluded) = (TripletLoss::new(), Excluded::Nothing);
    let [a, n, p] = [&a, &n, &p].map(|path| read(path));
    let work = Work { plan: &plan, anchors: &a, candidates: &n, positives: Some(&p), excluded: &excluded, chunk: 33 };
    let scored = work.forward(&mut Workspace::new(), |_| ()).expect("finite rows");
    assert_eq!((scored.loss, &scored.stats[..]), (forward.loss(), forward.row_stats()));
}

#[test]
fn files_of_exclusions_that_are_wrong() {
    let rows = write_rows("six.npy", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.0, 2.0, 4.0], 2);
    let labels = write_labels("six_labels.npy", &[1, 2, 3, 1, 2, 3]);
    let with = |options: &[&str], parts: &[&str]| refused(&[&[rows.as_str(), &rows], options].concat(), parts);
    let few = write_labels("five_labels.npy", &[1, 2, 3, 4, 5]);
    with(&["--labels", &few], &["five_labels.npy has 5 labels", "six.npy has 6 rows"]);
    with(&["--anchor-labels", &few, "--positive-labels", &labels], &["five_labels.npy has 5 labels"]);
    with(&["--anchor-labels", &labels, "--positive-labels", &few], &["five_labels.npy has 5 labels"]);
    with(&["--labels", &rows], &["six.npy", "1-D array", "float32", "[6, 2]"]);
    let floats = write_npy("floats.npy", "'descr': '<f8', 'fortran_order': False", "(6,)", &[0; 48]);
    with(&["--labels", &floats], &["floats.npy", "float64", "astype('int64')"]);
    let short = write_npy("short.npy", "'descr': '<u8', 'fortran_order': False", "(6,)", &[0; 40]);
    with(&["--labels", &short], &["short.npy", "promises 6 elements of uint64, 48 bytes, but 40 bytes follow"]);
    let long = write_npy("long.npy", "'descr': '<i8', 'fortran_order': False", "(6,)", &[0; 56]);
    with(&["--labels", &long], &["long.npy", "but 56 bytes follow"]);
    with(&["--labels", &temporary("no_labels.npy")], &["no_labels.npy", "No such file"]);
    for (name, text, parts) in [
        ("no_header.csv", "1,2\n", &["expected the header query,index"][..]),
        ("empty.csv", "", &["expected the header query,index"]),
        ("word.csv", "query,index\n1,2\n2,three\n", &["line 3", "\"three\" is no row number"]),
        ("negative.csv", "query,index\n-1,2\n", &["line 2", "\"-1\" is no row number"]),
        ("beyond.csv", "query,index\n1,2\n6,0\n", &["line 3", "query \"6\" is no row number below 6"]),
        ("index.csv", "query,index\n1,600\n", &["line 2", "index \"600\" is no row number below 6"]),
        ("huge.csv", "query,index\n1,99999999999999999999999\n", &["line 2", "is no row"]),
        ("three.csv", "query,index\n1,2,3\n", &["three.csv"]),
    ] {
        let file = write_text(name, text);
        with(&["--exclude", &file], &[&[name], parts].concat());
    }
    with(&["--exclude", &temporary("no_pairs_at_all.csv")], &["no_pairs_at_all.csv", "No such file"]);
    let pairs = write_text("good_pairs.csv", "query,index\n1,2\n");
    with(&["--labels", &labels, "--exclude", &pairs], &["--labels", "--exclude"]);
    with(&["--labels", &labels, "--positive-rows", &rows], &["--labels", "--positive-rows"]);
    with(&["--anchor-labels", &labels], &["--positive-labels"]);
    let few = write_rows("two.npy", &[1.0; 4], 2);
    with(&["--positive-rows", &few], &["six.npy has 6 rows, ", "two.npy has 2: every anchor needs its positive"]);
    let wide = write_rows("three_wide.npy", &[1.0; 18], 3);
    with(&["--positive-rows", &wide], &["six.npy has dim 2", "three_wide.npy has dim 3"]);
    let nan = write_rows("nan_positives.npy", &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0, 1.0, 1.0, 1.0], 2);
    with(&["--positive-rows", &nan], &["nan_positives.npy", "positives", "row 3"]);
}
