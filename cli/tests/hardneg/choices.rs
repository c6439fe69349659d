//! Which passages are mined: thresholds, copies and exclusions.

use std::fs;
use std::path::Path;

use hardneg_cli::mine::distinct::Distinct;
use hardneg_cli::rows::RowFile;

use crate::common::{data, error, folder, path, printed, value};

/// The lines of the table that a run writes, without its header.
fn lines(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let table = path(folder, "out.csv");
    printed(&[&["mine"], arguments, &["--out", &table]].concat());
    fs::read_to_string(table).expect("the table").lines().skip(1).map(str::to_owned).collect()
}

/// The indices that a query got.
fn indices(lines: &[String], query: usize) -> Vec<usize> {
    let fields = lines.iter().map(|line| line.split(',').collect::<Vec<_>>());
    let own = fields.filter(|fields| fields[0] == query.to_string());
    own.map(|fields| fields[2].parse().expect("an index")).collect()
}

#[test]
fn a_printed_similarity_passes_the_threshold_of_its_digits() {
    let folder = folder("thresholds");
    let [query, corpus] = ["threshold_query.npy", "threshold_corpus.npy"].map(data);
    let all = lines(&folder, &[&query, &corpus, "--k", "20"]);
    assert_eq!(all.len(), 10);
    for (rank, line) in all.iter().enumerate() {
        let similarity = line.rsplit(',').next().expect("a similarity");
        let most = lines(&folder, &[&query, &corpus, "--k", "20", "--max-similarity", similarity]);
        let least = lines(&folder, &[&query, &corpus, "--k", "20", "--min-similarity", similarity]);
        assert!(most.iter().any(|kept| kept.ends_with(similarity)), "{line}");
        assert!(least.iter().any(|kept| kept.ends_with(similarity)), "{line}");
        assert!(most.len() + least.len() > all.len() && least.len() > rank, "{line}");
    }
}

#[test]
fn distinct_leaves_out_copies() {
    let folder = folder("distinct");
    let [queries, corpus] = ["duplicates_queries.npy", "duplicates_corpus.npy"].map(data);
    let rows: Vec<Vec<u8>> = fs::read(&corpus).expect("rows")[128..].chunks(16).map(<[u8]>::to_vec).collect();
    let first = |row: usize| rows.iter().position(|other| *other == rows[row]).expect("itself");
    let all = lines(&folder, &[&queries, &corpus, "--paired", "--k", "7"]);
    for memory in ["1", "1G"] {
        let options = ["--paired", "--k", "7", "--distinct", "--memory", memory];
        let distinct = lines(&folder, &[&[queries.as_str(), &corpus], &options[..]].concat());
        for query in 0..2 {
            let keep = |&row: &usize| first(row) == row && first(row) != first(query);
            let expected: Vec<usize> = indices(&all, query).into_iter().filter(keep).collect();
            assert_eq!(indices(&distinct, query), expected, "query {query}, memory {memory}");
        }
        assert!(distinct.len() < all.len());
    }
    let printed = printed(&["mine", &queries, &corpus, "--distinct"]);
    assert_eq!(value(&printed, "corpus"), "7");
    assert_eq!(value(&printed, "distinct"), (0..7).filter(|&row| first(row) == row).count().to_string());
}

/// Rows that share a hash are told apart by their bits, whatever the hash and however few are compared at a time.
#[test]
fn rows_are_told_apart_by_their_bits() {
    let file = path(&folder("bits"), "rows.npy");
    let rows: [[f32; 2]; 12] = [
        [0.0, 1.0],
        [-0.0, 1.0],
        [1.0, 0.0],
        [0.0, 1.0],
        [2.0, 3.0],
        [1.0, 0.0],
        [1.0, -0.0],
        [-0.0, 1.0],
        [2.0, 3.0],
        [0.0, 1.0],
        [3.0, 2.0],
        [-0.0, 1.0],
    ];
    let expected = [0, 1, 2, 0, 4, 2, 6, 1, 4, 0, 10, 1];
    let bytes = |order: [usize; 24]| order.map(|at| rows[at / 2][at % 2].to_le_bytes()).concat();
    let by_rows: [usize; 24] = std::array::from_fn(|at| at);
    let by_columns: [usize; 24] = std::array::from_fn(|at| at % 12 * 2 + at / 12);
    for (order, name) in [(by_rows, "False"), (by_columns, "True")] {
        let header = format!("{{'descr': '<f4', 'fortran_order': {name}, 'shape': (12, 2)}}\n");
        let length = u16::try_from(header.len()).expect("a short header").to_le_bytes();
        fs::write(&file, [&b"\x93NUMPY\x01\x00"[..], &length, header.as_bytes(), &bytes(order)].concat())
            .expect("rows");
        let rows = RowFile::open(Path::new(&file), false).expect("rows");
        assert_eq!(Distinct::of(&rows).expect("memory").first(), expected, "{name}");
        let hash = |kind: u64, row: &[f32]| match kind {
            0 => 7,
            1 => u64::from(row[0].to_bits()),
            _ => u64::from(row[0] < row[1]),
        };
        for (kind, compared) in (0..3).flat_map(|kind| [1, 16, 1000].map(|compared| (kind, compared))) {
            let distinct = Distinct::by_hash(&rows, |row| hash(kind, row), compared).expect("memory");
            assert_eq!(distinct.first(), expected, "{name}, hash {kind}, {compared} bytes at a time");
        }
    }
}

#[test]
fn labels_and_pairs_exclude_passages() {
    let folder = folder("excluded");
    let [queries, corpus] = ["plain_anchors.npy", "plain_positives.npy"].map(data);
    let labels = path(&folder, "labels.npy");
    let header = b"\x93NUMPY\x01\x00\x3a\x00{'descr': '|u1', 'fortran_order': False, 'shape': (6,), }\n";
    fs::write(&labels, [&header[..], &[0, 1, 0, 1, 2, 2]].concat()).expect("labels");
    let pairs = path(&folder, "pairs.csv");
    fs::write(&pairs, "query,index\n0,0\n0,2\n1,1\n1,3\n2,0\n2,2\n3,1\n3,3\n4,4\n4,5\n5,4\n5,5\n").expect("pairs");
    let all = lines(&folder, &[&queries, &corpus, "--k", "6"]);
    for more in [&["--memory", "1"][..], &[], &["--distinct"]] {
        let base = [queries.as_str(), &corpus, "--k", "6"];
        let by_labels =
            lines(&folder, &[&base, more, &["--query-labels", &labels, "--corpus-labels", &labels]].concat());
        let by_pairs = lines(&folder, &[&base, more, &["--exclude", &pairs]].concat());
        assert_eq!(by_labels, by_pairs, "{more:?}");
        for query in 0..6 {
            let group = [[0, 2], [1, 3], [0, 2], [1, 3], [4, 5], [4, 5]][query];
            let kept: Vec<usize> = indices(&all, query).into_iter().filter(|row| !group.contains(row)).collect();
            assert_eq!(indices(&by_pairs, query), kept, "{more:?}");
        }
    }
    assert!(error(&["mine", &queries, &corpus, "--query-labels", &labels]).contains("--corpus-labels"));
    let both = ["--query-labels", &labels, "--corpus-labels", &labels, "--exclude", &pairs];
    assert!(error(&[&["mine", &queries, &corpus], &both[..]].concat()).contains("--exclude"));
}

/// The graded exercise of the course takes the second questions as anchors.
#[test]
fn the_graded_exercise_has_its_value() {
    let [first, second] = ["lab_v1.npy", "lab_v2.npy"].map(data);
    for (anchors, positives, expected) in [(&second, &first, 0.703_507_7), (&first, &second, 2.203_507_7)] {
        let printed = printed(&["score", anchors, positives, "--negatives", "at-or-below"]);
        let loss: f64 = value(&printed, "loss").parse().expect("a number");
        assert!((loss - expected).abs() < 1e-6, "{loss}, not {expected}");
    }
}
