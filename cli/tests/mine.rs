//! `hardneg mine` as its user meets it: the built binary, its files, its lines and its exit status.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use half::{bf16, f16};
use hardneg::{Backend, KnownPositives, Miner, MiningBatch, Negatives, Neighbour, Screen, Workspace};
use hardneg_cli::npy;
use rawzip::{CompressionMethod, ZipArchiveWriter};

fn mine(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hardneg")).arg("mine").args(arguments).output().expect("the binary runs")
}

/// A file of the sample that the project carries.
fn sample(name: &str) -> String {
    format!("{}/../examples/data/{name}.npy", env!("CARGO_MANIFEST_DIR"))
}

/// A path for a file of this test's own.
fn temporary(name: &str) -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mine");
    fs::create_dir_all(&directory).expect("a folder for temporary files");
    directory.join(name).display().to_string()
}

fn write(name: &str, bytes: &[u8]) -> String {
    let path = temporary(name);
    fs::write(&path, bytes).expect("a temporary file");
    path
}

/// An npy file, version 1.0.
fn npy_bytes(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).expect("a short header");
    [b"\x93NUMPY\x01\x00", &length.to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// An archive of these files.
fn npz(files: &[&[u8]], method: CompressionMethod) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    for (number, file) in files.iter().enumerate() {
        let (mut entry, config) =
            archive.new_file(format!("arr_{number}.npy")).compression_method(method).start().expect("an entry");
        if method == CompressionMethod::DEFLATE {
            let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
            writer.write_all(file).expect("data");
            let (encoder, descriptor) = writer.finish().expect("data");
            encoder.finish().expect("data");
            entry.finish(descriptor).expect("an entry");
        } else {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(file).expect("data");
            let (_, descriptor) = writer.finish().expect("data");
            entry.finish(descriptor).expect("an entry");
        }
    }
    archive.finish().expect("an archive");
    bytes
}

/// What a run that succeeds prints.
fn printed(arguments: &[&str]) -> String {
    let output = mine(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn value<'a>(printed: &'a str, key: &str) -> &'a str {
    let line = printed.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {key} in {printed}"))
}

/// The one line on the standard error of a run that fails.
fn error(arguments: &[&str]) -> String {
    let output = mine(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
    assert!(errors.starts_with("hardneg: ") && errors.lines().count() == 1, "{arguments:?}: {errors}");
    errors
}

/// The lists of the library.
fn library(miner: Miner, known: KnownPositives<'_>) -> Vec<Vec<Neighbour>> {
    let read = |name| npy::read(Path::new(&sample(name))).expect("the sample");
    let (queries, corpus) = (read("anchors"), read("positives"));
    let batch = MiningBatch::new(&queries.values, &corpus.values, queries.dim).expect("a batch");
    let batch = batch.known_positives(known).expect("positives");
    let mut workspace = Workspace::new();
    let mined = miner.mine(batch, &mut workspace).expect("lists");
    mined.rows().map(<[Neighbour]>::to_vec).collect()
}

/// A float as tables have it, in which nobody sees an integer.
fn float(value: f32) -> String {
    if value.fract() == 0.0 { format!("{value:.1}") } else { value.to_string() }
}

/// The table of lists.
fn table(lists: &[Vec<Neighbour>]) -> String {
    let mut table = "query,rank,index,similarity\n".to_owned();
    for (query, list) in lists.iter().enumerate() {
        for (rank, Neighbour { index, similarity }) in list.iter().enumerate() {
            table += &format!("{query},{},{index},{}\n", rank + 1, float(*similarity));
        }
    }
    table
}

#[test]
fn lists_are_those_of_the_library_in_every_format() {
    let [out, lines, prefix] = ["lists.csv", "lists.jsonl", "lists"].map(temporary);
    let offsets: Vec<usize> = (0..=256).collect();
    let known = KnownPositives::Lists { offsets: &offsets, indices: &offsets[..256] };
    let lists = library(Miner::new().k(7).negatives(Negatives::Below).skip(1).min_similarity(0.3), known);
    let printed = printed(&[
        &sample("anchors"),
        &sample("positives"),
        "--paired",
        "--k",
        "7",
        "--negatives",
        "below",
        "--skip",
        "1",
        "--min-similarity",
        "0.3",
        "--out",
        &out,
        "--jsonl",
        &lines,
        "--npy",
        &prefix,
        "--one-by-one",
        "3",
        "--repeat",
        "2",
    ]);
    assert_eq!(fs::read_to_string(out).expect("the table"), table(&lists));
    let found = lists.iter().map(Vec::len).sum::<usize>();
    let short = lists.iter().filter(|list| list.len() < 7).count();
    assert!(short > 0 && found > 256, "{short} short of {found}");
    assert_eq!(value(&printed, "found"), found.to_string());
    assert_eq!(value(&printed, "short_queries"), short.to_string());
    for (key, expected) in [("queries", "256"), ("corpus", "256"), ("dim", "384"), ("k", "7"), ("screen", "auto")] {
        assert_eq!(value(&printed, key), expected);
    }
    for key in [
        "prepare_milliseconds",
        "milliseconds",
        "survivors_per_query",
        "one_by_one_p50_microseconds",
        "one_by_one_p99_microseconds",
    ] {
        assert!(value(&printed, key).parse::<f64>().expect("a number") >= 0.0, "{key}");
    }

    let json: String = lists
        .iter()
        .enumerate()
        .map(|(query, list)| {
            let joined = |text: Vec<String>| text.join(",");
            let indices = joined(list.iter().map(|found| found.index.to_string()).collect());
            let scores = joined(list.iter().map(|found| float(found.similarity)).collect());
            format!("{{\"query\":{query},\"negatives\":[{indices}],\"scores\":[{scores}]}}\n")
        })
        .collect();
    assert_eq!(fs::read_to_string(lines).expect("the lines"), json);

    let indices: Vec<u8> = lists
        .iter()
        .flat_map(|list| (0..7).flat_map(|at| list.get(at).map_or(-1, |found| found.index as i64).to_le_bytes()))
        .collect();
    let similarities: Vec<f32> = lists
        .iter()
        .flat_map(|list| (0..7).map(|at| list.get(at).map_or(f32::NAN, |found| found.similarity)))
        .collect();
    for (suffix, descr, data) in [("indices", "<i8", indices), ("similarities", "<f4", f32_bytes(&similarities))] {
        let bytes = fs::read(format!("{prefix}_{suffix}.npy")).expect("an array");
        let header = String::from_utf8_lossy(&bytes[..128]).into_owned();
        assert!(header.contains(descr) && header.contains("(256, 7"), "{header}");
        assert!(bytes.ends_with(&data), "{suffix}");
        assert!(bytes.len() - data.len() <= 128, "{suffix}");
    }
}

#[test]
fn the_way_of_running_changes_no_byte() {
    let out = temporary("ways.csv");
    let (queries, corpus) = (sample("anchors"), sample("positives"));
    let common = [queries.as_str(), &corpus, "--paired", "--relative-margin", "0.05", "--k", "12", "--out", &out];
    let mut tables = Vec::new();
    let mut run = |more: &[&str]| {
        let _ = printed(&[&common[..], more].concat());
        tables.push((more.join(" "), fs::read(&out).expect("the table")));
    };
    for backend in Backend::available() {
        run(&["--backend", backend.name(), "--threads", "1"]);
    }
    for screen in Screen::all() {
        run(&["--screen", &screen.to_string(), "--threads", "1"]);
    }
    // Pieces of 1, 32 and 192 rows.
    for memory in ["1", "100K", "600K", "1G"] {
        run(&["--memory", memory, "--threads", "1"]);
    }
    if cfg!(feature = "rayon") {
        run(&["--threads", "2"]);
        run(&["--threads", "3", "--memory", "200K"]);
    }
    for (way, table) in &tables {
        assert!(*table == tables[0].1, "{way}");
    }
}

#[test]
fn positives_come_from_a_table() {
    let pairs = write("pairs.csv", b"query,index\n0,5\n3, 7\n0,9\n0,5\n255,255\n");
    let mut offsets = vec![3; 257];
    offsets[0] = 0;
    offsets[4..256].fill(4);
    offsets[256] = 5;
    let known = KnownPositives::Lists { offsets: &offsets, indices: &[5, 9, 5, 7, 255] };
    let lists = library(Miner::new().absolute_margin(0.1), known);
    for memory in ["1G", "90K"] {
        let out = temporary("positives.csv");
        let (queries, corpus) = (sample("anchors"), sample("positives"));
        let options = ["--positives", &pairs, "--absolute-margin", "0.1", "--memory", memory, "--out", &out];
        let _ = printed(&[&[queries.as_str(), &corpus][..], &options].concat());
        assert_eq!(fs::read_to_string(&out).expect("the table"), table(&lists), "memory {memory}");
    }
    for (text, expected) in [
        ("", "expected the header query,index"),
        ("index,query\n", "expected the header query,index, found index,query"),
        ("query,index\n0,1\n256,0\n", "line 3: query \"256\" is no row number below 256"),
        ("query,index\n0,-1\n", "line 2: index \"-1\" is no row number below 256"),
        ("query,index\n0,1,2\n", "record 1"),
        ("query,index\n0\n", "record 1"),
        ("query,index\n\u{fffd}\u{1},x\n", "is no row number"),
    ] {
        let pairs = write("bad_pairs.csv", text.as_bytes());
        let message = error(&[&sample("anchors"), &sample("positives"), "--positives", &pairs]);
        assert!(message.contains(&pairs) && message.contains(expected), "{text:?}: {message}");
    }
}

#[test]
fn every_kind_of_file_is_read() {
    // All of them are numbers of every type.
    let values: Vec<f32> = (0..40 * 6).map(|index| ((index * 37 % 19) as f32 - 9.0) / 8.0).collect();
    let f2: Vec<u8> = values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
    let u2: Vec<u8> = values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect();
    let arrays =
        [("<f4", f32_bytes(&values)), ("<f2", f2), ("<u2", u2)].map(|(descr, data)| npy_bytes(descr, "(40, 6)", &data));
    let out = temporary("kinds.csv");
    let mut tables = Vec::new();
    for (kind, array) in arrays.iter().enumerate() {
        for (packing, bytes) in
            [array.clone(), npz(&[array], CompressionMethod::STORE), npz(&[array], CompressionMethod::DEFLATE)]
                .iter()
                .enumerate()
        {
            let file = write(&format!("kind_{kind}_{packing}"), bytes);
            for memory in ["1K", "1G"] {
                let arguments = [
                    &file,
                    &file,
                    "--paired",
                    "--k",
                    "3",
                    "--negatives",
                    "below",
                    "--bf16",
                    "--memory",
                    memory,
                    "--out",
                    &out,
                ];
                let _ = printed(&arguments);
                tables.push((kind, packing, fs::read_to_string(&out).expect("the table")));
            }
        }
    }
    assert!(tables[0].2.lines().count() > 40);
    for (kind, packing, table) in &tables {
        assert!(*table == tables[0].2, "kind {kind}, packing {packing}");
    }
    let plain = write("no_bf16.npy", &arrays[2]);
    assert!(error(&[&plain, &plain]).contains("uint16"), "without the flag these are integers");
}

/// One array for each document, say.
#[cfg(unix)]
#[test]
fn an_archive_may_have_more_arrays_than_open_files() {
    let vector = npy_bytes("<f4", "(2,)", &f32_bytes(&[1.0, 2.0]));
    let matrix = npy_bytes("<f4", "(3, 2)", &f32_bytes(&[1.0, 0.0, 0.0, 1.0, 0.5, 0.5]));
    let mut files = vec![&vector[..]; 100];
    files.insert(90, &matrix);
    let file = write("many.npz", &npz(&files, CompressionMethod::STORE));
    let script = "ulimit -n 50; exec \"$0\" mine \"$1\" \"$1\"";
    let output = Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_hardneg"), &file]).output();
    let output = output.expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(value(&String::from_utf8_lossy(&output.stdout), "corpus"), "3");
}

#[test]
fn bad_files_are_refused() {
    let good = npy_bytes("<f4", "(3, 2)", &f32_bytes(&[1.0, 0.0, 0.0, 1.0, 0.5, 0.5]));
    let good_file = write("good.npy", &good);
    let not_finite = npy_bytes("<f4", "(3, 2)", &f32_bytes(&[1.0, 0.0, 0.0, 1.0, f32::NAN, 0.5]));
    let mut wrong_checksum = npz(&[&good], CompressionMethod::STORE);
    let at = wrong_checksum.windows(4).position(|bytes| bytes == 0.5_f32.to_le_bytes()).expect("the data");
    wrong_checksum[at] ^= 1;
    let mut torn = npz(&[&good], CompressionMethod::DEFLATE);
    torn[60] ^= 0xFF;
    let cut = npz(&[&good], CompressionMethod::DEFLATE);
    for (name, bytes, expected) in [
        ("empty", Vec::new(), "not an npy file"),
        ("text", b"query,index\n".to_vec(), "not an npy file"),
        ("half_a_header", good[..20].to_vec(), "not an npy file"),
        (
            "truncated",
            good[..good.len() - 3].to_vec(),
            "promises 3 x 2 elements of float32, 24 bytes, but 21 bytes follow",
        ),
        ("longer", [&good[..], b"x"].concat(), "promises 3 x 2 elements of float32, 24 bytes, but 25 bytes follow"),
        ("huge", npy_bytes("<f4", "(4611686018427387904, 2)", &[]), "elements do not fit into memory"),
        ("large", npy_bytes("<f4", "(1000000000, 1000)", &[]), "but 0 bytes follow"),
        ("no_rows", npy_bytes("<f4", "(0, 2)", &[]), "0 x 2 elements are none"),
        ("no_columns", npy_bytes("<f4", "(3, 0)", &[]), "3 x 0 elements are none"),
        ("one_dimension", npy_bytes("<f4", "(6,)", &good[good.len() - 24..]), "found a 1-D array"),
        ("integers", npy_bytes("<i8", "(3, 1)", &good[good.len() - 24..]), "its elements are int64"),
        ("another_dim", npy_bytes("<f4", "(2, 3)", &good[good.len() - 24..]), "has dim 3"),
        ("not_finite", not_finite, "row 2 holds a NaN or an infinity"),
        (
            "two_arrays",
            npz(&[&good, &good], CompressionMethod::STORE),
            "several two-dimensional arrays of numbers: name one of them as FILE.npz:NAME (arr_0, arr_1)",
        ),
        (
            "no_array",
            npz(&[], CompressionMethod::STORE),
            "the archive has no two-dimensional arrays of numbers, but: nothing that numpy.savez writes",
        ),
        ("wrong_checksum", wrong_checksum, "checksum"),
        ("torn", torn, "torn"),
        ("cut", cut[..cut.len() - 30].to_vec(), "not an npz file"),
    ] {
        let file = write(name, &bytes);
        for memory in ["1", "1G"] {
            let [as_corpus, as_queries] = [[&good_file, &file], [&file, &good_file]]
                .map(|[queries, corpus]| error(&[queries, corpus, "--memory", memory]));
            for message in [as_corpus, as_queries] {
                assert!(message.contains(&file) && message.contains(expected), "{name}, memory {memory}: {message}");
            }
        }
    }
    assert!(error(&["/nonexistent/file.npy", &good_file]).contains("/nonexistent/file.npy"));
    let folder = env!("CARGO_MANIFEST_DIR");
    assert!(error(&[folder, &good_file]).contains(folder));
    let more = npy_bytes("<f4", "(4, 2)", &f32_bytes(&[1.0; 8]));
    assert!(error(&[&write("more.npy", &more), &good_file, "--paired"]).contains("there are 4 queries"));
}

#[test]
fn bad_options_are_refused() {
    let file = sample("anchors");
    for (options, expected) in [
        (&["--k", "0"][..], "--k"),
        (&["--memory", "0"], "--memory"),
        (&["--memory", "12X"], "--memory"),
        (&["--memory", "99999999999999999999G"], "--memory"),
        (&["--memory", "17179869184G"], "--memory"),
        (&["--max-similarity", "NaN"], "max_similarity is NaN"),
        (&["--absolute-margin", "inf"], "absolute_margin is inf"),
        (&["--paired", "--positives", "x.csv"], "--positives"),
        (&["--memory", "1K", "--one-by-one", "3"], "--one-by-one"),
        (&["--negatives", "above"], "below"),
        (&["--threads", "0"], "--threads"),
    ] {
        let message = error(&[&[file.as_str(), &file], options].concat());
        assert!(message.contains(expected), "{options:?}: {message}");
    }
}

#[test]
fn a_run_that_fails_leaves_no_file_and_loses_none() {
    let bad = write("fails.npy", &npy_bytes("<f4", "(1, 2)", &f32_bytes(&[f32::INFINITY, 1.0])));
    let (fresh, old) = (temporary("fresh.csv"), write("old.csv", b"precious"));
    let _ = fs::remove_file(&fresh);
    for out in [&fresh, &old] {
        assert!(error(&[&bad, &bad, "--out", out]).contains("row 0 holds"));
    }
    assert!(!Path::new(&fresh).exists());
    assert_eq!(fs::read(&old).expect("the old file"), b"precious");
    let file = sample("anchors");
    assert!(error(&[&file, &file, "--out", &file]).contains("would be written over"));
    assert!(error(&[&file, &file, "--out", &fresh, "--jsonl", &fresh]).contains("would be written over"));
    assert!(error(&[&file, &file, "--out", "/nonexistent/out.csv"]).contains("/nonexistent/out.csv"));
    assert!(!Path::new(&fresh).exists());
    let folder = Path::new(&fresh).parent().expect("a folder");
    let left = fs::read_dir(folder)
        .expect("the folder")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok());
    let left: Vec<String> = left.filter(|name| name.contains("fresh") || name.contains("old.csv")).collect();
    assert_eq!(left, ["old.csv"]);
    // And a run that succeeds replaces the file, through a link, too.
    let _ = printed(&[&file, &file, "--k", "1", "--out", &old]);
    assert!(fs::read_to_string(&old).expect("the table").starts_with("query,rank,index,similarity\n0,1,0,"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let file = sample("anchors");
    for option in ["--out", "--jsonl"] {
        let message = error(&[&file, &file, "--k", "1", option, "/dev/full"]);
        assert!(message.contains("/dev/full: ") && message.contains("space"), "{option}: {message}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_hardneg"))
        .args(["mine", &file, &file])
        .stdout(fs::File::options().write(true).open("/dev/full").expect("the device"))
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output: "));
}
