//! `hardneg score` as its user meets it: the built binary, its files, its lines and its exit status.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hardneg::{
    Backend, Batch, Error, Exclusions, Gradients, Loss, Negatives, Positives, Reduction, RowStats, Screen, Screening,
    Side, TripletLoss, Workspace,
};

use hardneg_cli::npy::{self, Embeddings};
use hardneg_cli::score::chunks::Work;
use hardneg_cli::score::excluded::Excluded;

/// The header of the one layout that is read.
const F32: &str = "'descr': '<f4', 'fortran_order': False";

/// The command, without its arguments.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hardneg"));
    command.arg("score");
    command
}

fn score(arguments: &[&str]) -> Output {
    command().args(arguments).output().expect("the binary runs")
}

/// A file of the sample that the project carries.
fn sample(name: &str) -> String {
    format!("{}/../examples/data/{name}.npy", env!("CARGO_MANIFEST_DIR"))
}

/// A path for a file of this test's own.
fn temporary(name: &str) -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("score");
    fs::create_dir_all(&directory).expect("a folder for temporary files");
    directory.join(name).display().to_string()
}

/// Writes an npy file, version 1.0, with the given items of its header.
fn write_npy(name: &str, layout: &str, shape: &str, data: &[u8]) -> String {
    let header = format!("{{{layout}, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).expect("a short header");
    let path = temporary(name);
    let bytes = [b"\x93NUMPY\x01\x00", &length.to_le_bytes()[..], header.as_bytes(), data].concat();
    fs::write(&path, bytes).expect("a temporary file");
    path
}

fn write_rows(name: &str, values: &[f32], dim: usize) -> String {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    write_npy(name, F32, &format!("({}, {dim})", values.len() / dim), &data)
}

fn read(path: &str) -> Embeddings {
    npy::read(Path::new(path)).expect("a file of embeddings")
}

/// The value of a printed key.
fn value<'a>(printed: &'a str, key: &str) -> &'a str {
    let mut values = printed.lines().filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name == key);
    values.next().unwrap_or_else(|| panic!("no {key} in:\n{printed}")).1
}

/// What a successful run prints.
fn printed(arguments: &[&str]) -> String {
    let output = score(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{arguments:?} is short work");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs `score` in a way that is wrong: status 2, nothing printed, and one line that says all of `parts`.
fn refused(arguments: &[&str], parts: &[&str]) {
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
fn library(plan: TripletLoss, anchors: &str, positives: &str) -> (Loss, Vec<RowStats>) {
    let (anchors, positives) = (read(anchors), read(positives));
    let batch = Batch::new(&anchors.values, &positives.values, anchors.dim, Positives::Identity).expect("a batch");
    let mut workspace = Workspace::new();
    let forward = plan.forward(batch, &mut workspace).expect("finite rows");
    (forward.loss(), forward.row_stats().to_vec())
}

/// Fails unless the fields of a line are the row, bit for bit.
fn assert_fields(fields: &csv::StringRecord, row: usize, stats: &RowStats, margin: f32) {
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
fn assert_table(path: &str, stats: &[RowStats], margin: f32) {
    let mut table = csv::Reader::from_path(path).expect("the table");
    let header = ["row", "positive", "mean_negative", "closest_negative", "closest_index", "loss"];
    assert_eq!(table.headers().expect("a header"), header.as_slice());
    let lines: Vec<csv::StringRecord> = table.records().collect::<Result<_, _>>().expect("lines of six fields");
    assert_eq!(lines.len(), stats.len());
    for (row, (fields, stats)) in lines.iter().zip(stats).enumerate() {
        assert_fields(fields, row, stats, margin);
    }
}

#[test]
fn backends_and_threads_change_no_byte() {
    let (anchors, positives) = (sample("anchors"), sample("positives"));
    let (loss, stats) = library(TripletLoss::new(), &anchors, &positives);
    let table = temporary("every.csv");
    let mut tables = Vec::new();
    for backend in Backend::available() {
        for threads in if cfg!(feature = "rayon") { vec!["1", "2"] } else { vec!["1"] } {
            let options = ["--backend", backend.name(), "--threads", threads, "--rows", &table];
            let printed = printed(&[&[anchors.as_str(), &positives], &options[..]].concat());
            assert_eq!(value(&printed, "loss"), loss.loss.to_string(), "{backend}, {threads} threads");
            assert_eq!((value(&printed, "backend"), value(&printed, "threads")), (backend.name(), threads));
            tables.push(fs::read(&table).expect("the table"));
        }
    }
    assert!(tables.iter().all(|other| *other == tables[0]), "the bytes of the tables differ");
    assert_table(&table, &stats, 0.25);
}

#[test]
fn screens_change_no_byte() {
    let (anchors, positives) = (sample("anchors"), sample("positives"));
    let (loss, stats) = library(TripletLoss::new(), &anchors, &positives);
    let table = temporary("screens.csv");
    let mut tables = Vec::new();
    for screen in Screen::all() {
        let name = screen.to_string();
        let printed = printed(&[&anchors, &positives, "--screen", &name, "--rows", &table]);
        assert_eq!(value(&printed, "loss"), loss.loss.to_string(), "{screen:?}");
        assert_eq!(value(&printed, "screen"), name);
        let screened = value(&printed, "screened_rows");
        match screen {
            Screen::I8 => assert_eq!(screened, "i8 256, i16 0, f32 0, exact 0"),
            Screen::I16 => assert_eq!(screened, "i8 0, i16 256, f32 0, exact 0"),
            Screen::F32 => assert_eq!(screened, "i8 0, i16 0, f32 256, exact 0"),
            Screen::Off => assert_eq!(screened, "i8 0, i16 0, f32 0, exact 256"),
            _ => {}
        }
        let survivors: f64 = value(&printed, "survivors_per_row").parse().expect("a number");
        // Without a screen all negatives survive; with any, hardly more than the closest ones.
        assert!(if screen == Screen::Off { survivors == 255.0 } else { survivors < 20.0 }, "{screen:?}: {survivors}");
        tables.push(fs::read(&table).expect("the table"));
    }
    assert!(tables.iter().all(|other| *other == tables[0]), "the bytes of the tables differ");
    assert_table(&table, &stats, 0.25);
}

#[test]
fn gradients_are_those_of_the_library_on_every_backend() {
    let (anchors, positives) = (sample("anchors"), sample("positives"));
    let (a, p) = (read(&anchors), read(&positives));
    let (mut by_anchors, mut by_positives) = (vec![0.0; a.values.len()], vec![0.0; p.values.len()]);
    let batch = Batch::paired(&a.values, &p.values, a.dim).expect("a batch");
    let gradients = Gradients::new(&mut by_anchors, &mut by_positives);
    let plan = TripletLoss::new().margin(0.5).reduction(Reduction::Mean);
    let loss = plan.forward_backward(batch, gradients, &mut Workspace::new()).expect("finite rows").loss();
    assert!(by_anchors.iter().chain(&by_positives).any(|&value| value != 0.0));
    let prefix = temporary("gradients");
    for backend in Backend::available() {
        for threads in if cfg!(feature = "rayon") { vec!["1", "2"] } else { vec!["1"] } {
            let options = ["--margin", "0.5", "--reduction", "mean", "--gradients", &prefix];
            let ways = ["--backend", backend.name(), "--threads", threads, "--repeat", "2"];
            let printed = printed(&[&[anchors.as_str(), &positives], &options[..], &ways[..]].concat());
            assert_eq!(value(&printed, "loss"), loss.loss.to_string(), "{backend}, {threads} threads");
            let time = |key| value(&printed, key).parse::<f64>().expect("a time");
            assert!(time("milliseconds_with_gradients") > time("milliseconds"), "both passes take longer than one");
            for (name, expected) in [("anchors", &by_anchors), ("positives", &by_positives)] {
                let written = read(&format!("{prefix}_{name}.npy"));
                assert_eq!((written.rows, written.dim), (256, 384));
                let same = written.values.iter().zip(expected).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "{name}, {backend}, {threads} threads");
            }
        }
    }
}

#[test]
fn the_lines_are_those_of_the_library() {
    let (anchors, positives) = (sample("anchors"), sample("positives"));
    let (loss, _) = library(TripletLoss::new(), &anchors, &positives);
    let printed = printed(&[&anchors, &positives, "--repeat", "2"]);
    let keys: Vec<&str> = printed.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    let expected = "rows candidates dim loss mean_term closest_term active_mean active_closest \
                    without_closest_negative without_negatives zero_rows backend screen survivors_per_row screened_rows threads \
                    milliseconds effective_gflops";
    assert_eq!(keys, expected.split(' ').collect::<Vec<_>>());
    for (key, expected) in [("rows", 256), ("candidates", 256), ("dim", 384), ("zero_rows", 0)] {
        assert_eq!(value(&printed, key), expected.to_string());
    }
    assert_eq!(value(&printed, "mean_term"), loss.mean_term.to_string());
    assert_eq!(value(&printed, "closest_term"), loss.closest_term.to_string());
    assert_eq!(value(&printed, "active_mean"), loss.active_mean.to_string());
    assert_eq!(value(&printed, "active_closest"), loss.active_closest.to_string());
    assert!(value(&printed, "milliseconds").parse::<f64>().is_ok_and(|time| time > 0.0));
    assert!(value(&printed, "effective_gflops").parse::<f64>().is_ok_and(|rate| rate > 0.0));
}

#[test]
fn options_reach_the_library() {
    // The last anchor is zero: none of its negatives is below its positive. The third candidate is zero, the last one
    // belongs to no anchor.
    let anchors = write_rows("few_anchors.npy", &[1.0, 2.0, -3.0, 0.5, 0.0, 0.0], 2);
    let positives = write_rows("more_positives.npy", &[1.0, 2.5, -2.0, 1.0, 0.0, 0.0, 4.0, -1.0], 2);
    let table = temporary("options.csv");
    for (name, negatives) in
        [("below", Negatives::Below), ("at-or-below", Negatives::AtOrBelow), ("any", Negatives::Any)]
    {
        let plan = TripletLoss::new().margin(-0.5).negatives(negatives).reduction(Reduction::Mean);
        let (loss, stats) = library(plan, &anchors, &positives);
        let options = ["--margin", "-0.5", "--negatives", name, "--reduction", "mean", "--rows", &table];
        let printed = printed(&[&[anchors.as_str(), &positives], &options[..]].concat());
        assert_eq!(value(&printed, "loss"), loss.loss.to_string(), "{name}");
        assert_eq!(value(&printed, "without_closest_negative"), loss.without_closest_negative.to_string(), "{name}");
        assert_eq!((value(&printed, "rows"), value(&printed, "candidates")), ("3", "4"));
        assert_eq!(value(&printed, "zero_rows"), "2");
        assert_table(&table, &stats, -0.5);
    }
}

#[test]
fn a_longer_table_is_replaced_as_a_whole() {
    let rows = write_rows("two_rows.npy", &[1.0, 2.0, -3.0, 0.5], 2);
    let table = temporary("replaced.csv");
    fs::write(&table, "x".repeat(10_000)).expect("a temporary file");
    printed(&[&rows, &rows, "--rows", &table]);
    assert_table(&table, &library(TripletLoss::new(), &rows, &rows).1, 0.25);
}

#[test]
fn other_layouts_are_named() {
    let good = write_rows("good.npy", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3);
    let bytes = [0; 48];
    for (name, layout, shape, data, found) in [
        ("integers.npy", "'descr': '<i8', 'fortran_order': False", "(2, 3)", &bytes[..], "astype('float32')"),
        ("halves.npy", "'descr': '<u2', 'fortran_order': False", "(2, 3)", &bytes[..12], "--bf16"),
        ("objects.npy", "'descr': '|O', 'fortran_order': False", "(2, 3)", &bytes[..], "Python objects"),
        ("records.npy", "'descr': [('x', '<f4')], 'fortran_order': False", "(2, 3)", &bytes[..24], "records"),
        ("vector.npy", F32, "(6,)", &bytes[..24], "1-D"),
        ("cube.npy", F32, "(1, 2, 3)", &bytes[..24], "3-D"),
        ("truncated.npy", F32, "(2, 3)", &bytes[..22], "2 x 3 elements of float32, 24 bytes, but 22 bytes follow"),
        ("longer.npy", F32, "(2, 3)", &bytes[..25], "but 25 bytes follow"),
        ("no_rows.npy", F32, "(0, 3)", &[], "0 x 3 elements are none"),
        ("no_dim.npy", F32, "(2, 0)", &[], "2 x 0 elements are none"),
    ] {
        let bad = write_npy(name, layout, shape, data);
        refused(&[&bad, &good], &[name, found]);
        refused(&[&good, &bad], &[name, found]);
    }
}

#[test]
fn files_that_are_no_arrays_are_named() {
    let good = sample("positives");
    let missing = temporary("missing.npy");
    refused(&[&missing, &good], &["missing.npy", "No such file"]);
    for (name, bytes) in [
        ("empty.npy", &b""[..]),
        ("text.npy", b"row,positive\n0,1.0\n"),
        ("header_only_begun.npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4'"),
        ("header_no_dict.npy", b"\x93NUMPY\x01\x00\x08\x00((((\n\n((\n"),
        ("header_of_version_9.npy", b"\x93NUMPY\x09\x00\x02\x00{}"),
    ] {
        let path = temporary(name);
        fs::write(&path, bytes).expect("a temporary file");
        refused(&[&path, &good], &[name, "not an npy file"]);
    }
}

#[test]
fn rows_that_cannot_be_scored_are_named() {
    let good = write_rows("finite.npy", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2);
    let nan = write_rows("nan.npy", &[1.0, 2.0, 3.0, f32::NAN, f32::INFINITY, 6.0], 2);
    refused(&[&nan, &good], &["nan.npy", "anchors", "row 1"]);
    refused(&[&good, &nan], &["nan.npy", "candidates", "row 1"]);
    let wide = write_rows("wide.npy", &[1.0; 9], 3);
    refused(&[&good, &wide], &["finite.npy has dim 2", "wide.npy has dim 3"]);
    let few = write_rows("few.npy", &[1.0; 4], 2);
    refused(&[&good, &few], &["finite.npy has 3 rows, ", "few.npy has 2: every anchor needs its positive"]);
    let one = write_rows("one.npy", &[1.0; 2], 2);
    refused(&[&one, &one], &["no negative"]);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let good = sample("anchors");
    refused(&[&good, &good, "--margin", "nan"], &["margin", "NaN"]);
    refused(&[&good, &good, "--margin", "-inf"], &["margin", "-inf"]);
    let nowhere = temporary("no_such_folder/rows.csv");
    refused(&[&good, &good, "--rows", &nowhere], &["rows.csv", "No such file"]);
    let nowhere = temporary("no_such_folder/prefix");
    refused(&[&good, &good, "--gradients", &nowhere], &["prefix_anchors.npy", "No such file"]);
    if !cfg!(feature = "rayon") {
        refused(&[&good, &good, "--threads", "2"], &["--threads 2", "rayon"]);
    }
}

/// What clap says in several lines, with hints and the usage.
#[test]
fn wrong_arguments_are_named_in_one_line() {
    let good = sample("anchors");
    refused(&[], &["not provided: <ANCHORS.npy> <POSITIVES.npy>"]);
    refused(&[&good], &["not provided: <POSITIVES.npy>"]);
    refused(&[&good, &good, &good], &["unexpected argument", "anchors.npy"]);
    for (option, value, found) in [
        ("--threads", "0", "1..=1024"),
        ("--threads", "1025", "1..=1024"),
        ("--threads", "100000", "1..=1024"),
        ("--repeat", "0", "zero"),
        ("--margin", "x", "invalid float"),
        ("--backend", "x", "possible values: auto, portable, avx2, avx_vnni, avx512, neon, neon_dotprod"),
        ("--negatives", "x", "possible values: below, at-or-below, any"),
        ("--reduction", "x", "possible values: sum, mean"),
        ("--screen", "x", "possible values: auto, f32, i16, i8, off"),
        ("--marign", "1", "unexpected"),
    ] {
        refused(&[&good, &good, option, value], &[option, found]);
    }
}

#[test]
fn help_is_no_error() {
    let help = printed(&["--help"]);
    for option in ["ANCHORS.npy", "--rows", "--gradients", "--screen", "at most 1024", "more rows than anchors"] {
        assert!(help.contains(option), "no {option} in:\n{help}");
    }
    for values in [
        "[default: below] [possible values: below, at-or-below, any]",
        "[default: sum] [possible values: sum, mean]",
        "[default: auto] [possible values: auto, portable, avx2, avx_vnni, avx512, neon, neon_dotprod]",
        "[default: auto] [possible values: auto, f32, i16, i8, off]",
    ] {
        assert!(help.contains(values), "no {values} in:\n{help}");
    }
}

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

#[test]
fn backends_that_the_cpu_lacks_are_refused() {
    let good = sample("anchors");
    for name in ["avx2", "avx_vnni", "avx512", "neon", "neon_dotprod"] {
        if Backend::available().all(|backend| backend.name() != name) {
            refused(&[&good, &good, "--backend", name], &["--backend", name, "this CPU does not have it"]);
        }
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let good = sample("anchors");
    let mut child =
        command().args([&good, &good]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the binary ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn chunks_change_no_bit() {
    let (anchors, candidates) = (read(&sample("anchors")), read(&sample("positives")));
    let plan = TripletLoss::new();
    let (loss, stats) = library(plan, &sample("anchors"), &sample("positives"));
    let mut workspace = Workspace::new();
    for chunk in [1000, 256, 255, 100, 1] {
        let done = Cell::new(0);
        let excluded = Excluded::Nothing;
        let (anchors, candidates) = (&anchors, &candidates);
        let work = Work { plan: &plan, anchors, candidates, positives: None, excluded: &excluded, chunk };
        let scored = work.forward(&mut workspace, |rows| done.set(done.get() + rows)).expect("finite rows");
        assert_eq!((scored.loss, scored.stats), (loss, stats.clone()), "{chunk} a call");
        assert_eq!(done.get(), 256);
        let Screening { i8_rows, i16_rows, f32_rows, exact_rows, .. } = scored.screening;
        assert_eq!(i8_rows + i16_rows + f32_rows + exact_rows, 256, "{chunk} a call");
    }
}

#[test]
fn chunks_count_rows_in_the_file() {
    let mut anchors = Embeddings { values: vec![1.0; 14], rows: 7, dim: 2 };
    let mut candidates = Embeddings { values: vec![2.0; 16], rows: 8, dim: 2 };
    anchors.values[2..6].fill(0.0);
    candidates.values[14..].fill(0.0);
    let forward = |anchors: &Embeddings| {
        let (plan, excluded) = (TripletLoss::new(), Excluded::Nothing);
        let work =
            Work { plan: &plan, anchors, candidates: &candidates, positives: None, excluded: &excluded, chunk: 3 };
        work.forward(&mut Workspace::new(), |_| ())
    };
    let loss = forward(&anchors).expect("finite rows").loss;
    assert_eq!((loss.zero_anchors, loss.zero_candidates), (Some(2), Some(1)));
    anchors.values[11] = f32::NAN;
    assert_eq!(forward(&anchors).err(), Some(Error::NotFinite { side: Side::Anchors, row: 5 }));
    let many = Embeddings { values: vec![1.0; 18], rows: 9, dim: 2 };
    assert_eq!(forward(&many).err(), Some(Error::PositiveOutOfRange { row: 8, index: 8, candidates: 8 }));
}

/// Writes labels as `u64`.
fn write_labels(name: &str, labels: &[u64]) -> String {
    let data: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    write_npy(name, "'descr': '<u8', 'fortran_order': False", &format!("({},)", labels.len()), &data)
}

fn write_text(name: &str, text: &str) -> String {
    let path = temporary(name);
    fs::write(&path, text).expect("a temporary file");
    path
}

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
