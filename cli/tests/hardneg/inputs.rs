//! Files that are read: whatever NumPy writes or has written, from files, pipes and the standard input.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;

use crate::common::{command, data, error, error_of, folder, hardneg, path, printed, value};

/// The loss of two files, as `score` prints it.
fn loss(anchors: &str, positives: &str, more: &[&str]) -> String {
    let printed = printed(&[&["score", anchors, positives], more].concat());
    value(&printed, "loss").to_owned()
}

fn plain() -> [String; 2] {
    ["plain_anchors.npy", "plain_positives.npy"].map(data)
}

/// The numbers of the file without its header, which has 128 bytes.
fn numbers(name: &str) -> Vec<f32> {
    let bytes = fs::read(data(name)).expect("a file of the tests");
    bytes[128..].as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn npy(descr: &str, is_fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if is_fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).expect("a short header");
    [b"\x93NUMPY\x01\x00", &length.to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// Runs the program with these bytes at its standard input, through a pipe.
fn piped(arguments: &[&str], bytes: &[u8]) -> Output {
    let mut run = command();
    run.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().expect("the binary runs");
    let mut input = run.stdin.take().expect("a pipe");
    let bytes = bytes.to_vec();
    // A program that has seen enough reads no more.
    let writer = thread::spawn(move || input.write_all(&bytes).is_ok());
    let output = run.wait_with_output().expect("an end");
    let _ = writer.join();
    output
}

#[test]
fn headers_are_read_and_refused_as_by_numpy() {
    let [anchors, positives] = plain();
    let expected = loss(&anchors, &positives, &[]);
    let rows = &fs::read(&anchors).expect("rows")[128..];
    let file = path(&folder("headers"), "rows.npy");
    let (mut read, mut refused) = (0, 0);
    for line in fs::read_to_string(data("headers.txt")).expect("the table").lines().skip(1) {
        let [answer, version, text] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let text = text.replace("\\n", "\n").replace("\\t", "\t");
        let version: u8 = version.parse().expect("a version");
        let length = u32::try_from(text.len()).expect("a short header").to_le_bytes();
        let length = &length[..if version < 2 { 2 } else { 4 }];
        let bytes = [b"\x93NUMPY", &[version, 0][..], length, text.as_bytes(), rows].concat();
        fs::write(&file, bytes).expect("a file");
        let output = hardneg(&["score", &file, &positives]);
        match answer {
            "read" => {
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
                assert_eq!(value(&text, "loss"), expected, "{line}");
                read += 1;
            }
            "refused" => {
                assert!(error_of(&output).contains(&file), "{line}");
                refused += 1;
            }
            // Numbers of another type, or none.
            _ => assert!(matches!(output.status.code(), Some(0 | 2)), "{line}"),
        }
    }
    assert!(read >= 20 && refused >= 30, "{read}, {refused}");
    for name in ["header_float32_name.npy", "header_lt_f.npy", "header_no_order.npy"] {
        assert_eq!(loss(&data(name), &positives, &[]), expected, "{name}");
    }
}

/// The table is that of NumPy 2, where it is installed.
#[test]
fn the_table_of_headers_says_what_numpy_does() {
    let script = r#"
import io, struct, sys
try:
    import numpy as np
except ImportError:
    sys.exit(3)
if np.__version__ < "2":
    sys.exit(3)
rows = open(sys.argv[2], "rb").read()[128:]
for line in open(sys.argv[1]).read().split("\n")[1:-1]:
    answer, version, text = line.split(" ", 2)
    text, version = text.replace("\\n", "\n").replace("\\t", "\t").encode("latin1"), int(version)
    length = struct.pack("<H" if version < 2 else "<I", len(text))
    try:
        array = np.load(io.BytesIO(b"\x93NUMPY" + bytes([version, 0]) + length + text + rows))
        same = array.dtype == "<f4" and array.shape == (6, 4) and array.tobytes() == rows
        found = "read" if same else "other"
    except Exception:
        found = "refused"
    if found != answer:
        print(f"{found}, not {line}")
"#;
    let run = std::process::Command::new("python3")
        .args(["-W", "ignore", "-c", script, &data("headers.txt"), &data("plain_anchors.npy")])
        .output();
    let Some(run) = run.ok().filter(|run| run.status.code() != Some(3)) else {
        eprintln!("SKIPPED: no NumPy 2 for python3");
        return;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(String::from_utf8_lossy(&run.stdout), "");
}

#[test]
fn hostile_headers_are_refused_at_once() {
    let positives = data("plain_positives.npy");
    assert!(error(&["score", &data("nested_lists_descr.npy"), &positives]).contains("records of several fields"));
    let folder = folder("hostile");
    let nested = format!("{{'descr': {}", "[".repeat(9000));
    let mut headers = vec![
        [b"\x93NUMPY\x01\x00\x30\x23", nested.as_bytes()].concat(),
        [b"\x93NUMPY\x02\x00\xff\xff\xff\xff", nested.as_bytes()].concat(),
        [b"\x93NUMPY\x01\x00\xff\xff", &[b'('; 65535][..]].concat(),
        [b"\x93NUMPY\x01\x00\x20\x4e", "{'descr': ".repeat(2000).as_bytes()].concat(),
        b"\x93NUMPY\x01\x00\x02\x00\xff\xfe".to_vec(),
        npy("<f4", false, &format!("({})", "9".repeat(400)), &[]),
        npy("<f4", false, "(18446744073709551615, 18446744073709551615)", &[]),
        npy("<f4", false, "(4294967296, 4294967296)", &[]),
        npy("<f4", false, "(0, 18446744073709551615)", &[]),
        npy("\u{7}\n\u{1b}[2J", false, "(6, 4)", &[]),
    ];
    headers.push([&headers[1][..], &[b' '; 1 << 20]].concat());
    for (number, bytes) in headers.iter().enumerate() {
        let file = path(&folder, &format!("{number}.npy"));
        fs::write(&file, bytes).expect("a file");
        assert!(error(&["score", &file, &positives]).contains(&file), "{number}");
        assert!(error(&["mine", &positives, &file]).contains(&file), "{number}");
        assert!(error_of(&piped(&["mine", &positives, "-"], bytes)).contains("-: "), "{number}");
    }
    // What is no array is refused at its first bytes, and however much would follow.
    let endless = if cfg!(unix) { vec!["/dev/zero", "/dev/urandom"] } else { Vec::new() };
    for endless in endless.into_iter().filter(|endless| Path::new(endless).exists()) {
        assert!(error(&["mine", endless, &positives]).contains("not an npy file or npz archive"), "{endless}");
        let message = error(&["mine", &positives, &positives, "--exclude", endless]);
        assert!(message.contains(endless), "{message}");
    }
}

#[test]
fn every_type_order_and_packing_is_the_same_rows() {
    let folder = folder("types");
    let (values, positives) = (numbers("plain_anchors.npy"), data("plain_positives.npy"));
    let halves: Vec<f32> = values.iter().map(|&value| half::f16::from_f32(value).to_f32()).collect();
    let brains: Vec<f32> = values.iter().map(|&value| half::bf16::from_f32(value).to_f32()).collect();
    let bytes_of = |values: &[f32], code: &str| -> Vec<Vec<u8>> {
        let bytes = |&value: &f32| match code {
            "f2" => half::f16::from_f32(value).to_le_bytes().to_vec(),
            "u2" => half::bf16::from_f32(value).to_le_bytes().to_vec(),
            "f4" => value.to_le_bytes().to_vec(),
            _ => f64::from(value).to_le_bytes().to_vec(),
        };
        values.iter().map(bytes).collect()
    };
    for (code, values, name) in [
        ("f2", &halves, "float16"),
        ("f4", &values, ""),
        ("f8", &values, "float64, rounded to float32"),
        ("u2", &brains, "bfloat16"),
    ] {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let reference = path(&folder, "reference.npy");
        fs::write(&reference, npy("<f4", false, "(6, 4)", &data)).expect("a file");
        let expected = loss(&reference, &positives, &[]);
        let elements = bytes_of(values, code);
        for is_big in [false, true] {
            for is_fortran in [false, true] {
                let mut ordered = elements.clone();
                if is_fortran {
                    ordered = (0..24).map(|at| elements[at % 6 * 4 + at / 6].clone()).collect();
                }
                if is_big {
                    ordered.iter_mut().for_each(|bytes| bytes.reverse());
                }
                let descr = format!("{}{code}", if is_big { '>' } else { '<' });
                let array = npy(&descr, is_fortran, "(6, 4)", &ordered.concat());
                let file = path(&folder, "rows.npy");
                fs::write(&file, &array).expect("a file");
                assert_eq!(loss(&file, &positives, &["--bf16"]), expected, "{descr}, Fortran {is_fortran}");
                let output = piped(&["score", "-", &positives, "--bf16"], &array);
                let report = String::from_utf8_lossy(&output.stdout).into_owned();
                assert_eq!(value(&report, "loss"), expected, "{descr}, Fortran {is_fortran}, piped");
                let order =
                    [name, if is_big { "big-endian" } else { "" }, if is_fortran { "Fortran order" } else { "" }];
                let said: Vec<&str> = order.into_iter().filter(|part| !part.is_empty()).collect();
                let line = report.lines().find_map(|line| line.strip_prefix("anchors_converted: "));
                assert_eq!(line.unwrap_or_default(), said.join(", "), "{descr}, Fortran {is_fortran}");
                // In pieces of a row.
                let tables = ["1", "1G"].map(|memory| {
                    let table = path(&folder, "table.csv");
                    let options = ["--paired", "--negatives", "below", "--bf16", "--memory", memory, "--out", &table];
                    printed(&[&["mine", &positives, &file], &options[..]].concat());
                    fs::read_to_string(table).expect("the table")
                });
                assert_eq!(tables[0], tables[1], "{descr}, Fortran {is_fortran}");
            }
        }
    }
}

#[test]
fn numbers_beyond_the_range_are_named_by_their_row() {
    let folder = folder("beyond");
    let file = path(&folder, "rows.npy");
    for is_fortran in [false, true] {
        let mut values = [1.0_f64; 24];
        values[if is_fortran { 9 } else { 13 }] = -3.5e38;
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(&file, npy("<f8", is_fortran, "(6, 4)", &data)).expect("a file");
        let message = error(&["mine", &data_file(), &file]);
        assert!(message.contains("row 3 holds a number beyond the range of float32"), "{message}");
    }
}

fn data_file() -> String {
    data("plain_positives.npy")
}

/// What has no end is refused before it fills the memory, also a field in quotes, which may have line ends.
#[test]
fn tables_without_ends_are_refused() {
    let rows = data("plain_positives.npy");
    let refused = |table: &[u8]| {
        let message = error_of(&piped(&["mine", &rows, &rows, "--exclude", "-"], table));
        assert!(message.contains("-: not a table of pairs: a line has more than 65536 bytes"), "{message}");
    };
    let lines = "\n".repeat(1 << 20);
    refused(&[b"query,index\n\"", lines.as_bytes()].concat());
    refused(&[b"\"", lines.as_bytes()].concat());
    refused("1".repeat(1 << 20).as_bytes());
    refused(&[b"query,index\n0,1\n0,", "1".repeat(1 << 20).as_bytes()].concat());
    // All of a table may be as long as it likes, and fields may be in quotes.
    let table = [b"\"query\",\"index\"\r\n", "\"0\",1\r\n".repeat(1 << 14).as_bytes()].concat();
    let output = piped(&["mine", &rows, &rows, "--exclude", "-", "--out", "-"], &table);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("0,")).count(), 5);
    // Of what is no table a message has a few signs.
    let message = error_of(&piped(&["mine", &rows, &rows, "--exclude", "-"], b"\"\x1b[2J\n\n\",index\n"));
    assert!(message.ends_with("expected the header query,index, found [2J,index\n"), "{message}");
}

/// A name after a colon, where no `--` says that what follows is no option.
#[test]
fn an_array_of_the_standard_input_is_no_option() {
    let [anchors, positives] = plain();
    let expected = loss(&anchors, &positives, &[]);
    let archive = fs::read(data("fortran_doubles.npz")).expect("an archive");
    let labels = path(&folder("array_of_standard_input"), "labels.npz");
    fs::write(&labels, &archive).expect("a file");
    let labelled = loss(&anchors, &positives, &["--labels", &labels]);
    for (arguments, expected) in [
        (&["score", "-:emb", &positives][..], &expected),
        (&["score", &anchors, &positives, "--labels", "-:ids"], &labelled),
    ] {
        let output = piped(arguments, &archive);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(value(&String::from_utf8_lossy(&output.stdout), "loss"), expected, "{arguments:?}");
    }
    assert_eq!(error_of(&piped(&["score", &positives, "-:ids"], &archive)).matches("-:ids: ").count(), 1);
    for arguments in [
        &["score", "--bf17", &anchors, &positives][..],
        &["mine", &anchors, "-x", "--k", "3"],
        &["score", &anchors, &positives, "--labels", "--bf16"],
    ] {
        let message = error(arguments);
        assert!(message.contains("there is no such file, and no such option here"), "{message}");
    }
}

/// Doubles in Fortran order with ids beside them, as NumPy writes them.
#[test]
fn an_archive_of_doubles_with_ids_runs_from_a_pipe() {
    let folder = folder("archives");
    let [anchors, positives] = plain();
    let table = |queries: &str, corpus: &str, input: &[u8]| {
        let output = piped(&["mine", queries, corpus, "--paired", "--k", "3", "--out", "-"], input);
        assert!(output.status.success(), "{queries} {corpus}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a table")
    };
    let expected = table(&anchors, &positives, b"");
    let [queries, corpus] = ["fortran_doubles.npz", "fortran_doubles_deflated.npz"].map(data);
    assert_eq!(table(&queries, &corpus, b""), expected);
    assert_eq!(table(&format!("{queries}:emb"), &format!("{corpus}:emb"), b""), expected);
    assert_eq!(table("-", &corpus, &fs::read(&queries).expect("an archive")), expected);
    if cfg!(unix) {
        assert_eq!(table(&queries, "/dev/stdin:emb", &fs::read(&corpus).expect("an archive")), expected);
    }
    // The standard input may be a file, too.
    let output = command()
        .args(["score", &queries, "-"])
        .stdin(File::open(&corpus).expect("an archive"))
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(value(&String::from_utf8_lossy(&output.stdout), "loss"), loss(&anchors, &positives, &[]));
    // A name with a colon is a name.
    if cfg!(unix) {
        let odd = path(&folder, "a.npz:b");
        fs::copy(&queries, &odd).expect("a copy");
        assert_eq!(table(&odd, &corpus, b""), expected);
        assert_eq!(table(&format!("{odd}:emb"), &corpus, b""), expected);
    }
    for (name, what) in [(":none", "no array of this name, but: emb, ids"), (":ids", "1-D")] {
        let message = error(&["mine", &format!("{queries}{name}"), &corpus]);
        assert!(message.contains(what), "{message}");
    }
    assert!(error(&["mine", &format!("{anchors}:emb"), &corpus]).contains("only an archive"));
}

#[test]
fn archives_of_the_cases_are_read_by_both_commands() {
    let [anchors, positives] = plain();
    for command in [["score", "--rows", "-"], ["mine", "--out", "-"]] {
        let table = |rows: &str| {
            let output = hardneg(&[&command[..], &[rows, &positives]].concat());
            assert!(output.status.success(), "{rows}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        for name in ["archive_stored.npz", "archive_two.npz", "archive_two.npz:emb"] {
            assert!(table(&data(name)) == table(&anchors), "{name}, {command:?}");
        }
    }
}

#[test]
fn the_bfloat16_of_others_is_read() {
    let positives = data("plain_positives.npy");
    let file = data("bfloat16.npy");
    assert!(error(&["score", &file, &positives]).contains("--bf16"));
    assert!(loss(&file, &positives, &["--bf16"]).parse::<f64>().is_ok());
}

#[test]
fn labels_are_integers_of_any_type() {
    let folder = folder("labels");
    let [anchors, positives] = plain();
    let file = path(&folder, "labels.npy");
    let labels = [0_i64, 1, 0, 1, 1, 0];
    let mut losses = Vec::new();
    let codes = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"];
    for (code, order) in codes.iter().flat_map(|code| [(code, '<'), (code, '>')]) {
        let size = usize::from(code.as_bytes()[1] - b'0');
        let bytes = |label: &i64| {
            let mut bytes = label.to_le_bytes()[..size].to_vec();
            if order == '>' {
                bytes.reverse();
            }
            bytes
        };
        let data: Vec<u8> = labels.iter().flat_map(bytes).collect();
        fs::write(&file, npy(&format!("{order}{code}"), false, "(6,)", &data)).expect("a file");
        losses.push(loss(&anchors, &positives, &["--labels", &file]));
    }
    assert!(losses.iter().all(|loss| *loss == losses[0]) && losses[0] != loss(&anchors, &positives, &[]), "{losses:?}");
    // Negative labels keep their sign: -1 is the same in one byte and in eight.
    let wide = path(&folder, "wide.npy");
    fs::write(&file, npy("|i1", false, "(6,)", &[255, 1, 2, 255, 4, 5])).expect("a file");
    let data: Vec<u8> = [-1_i64, 1, 2, -1, 4, 5].iter().flat_map(|label| label.to_be_bytes()).collect();
    fs::write(&wide, npy(">i8", false, "(6,)", &data)).expect("a file");
    let mixed = loss(&anchors, &positives, &["--anchor-labels", &file, "--positive-labels", &wide]);
    assert_eq!(mixed, loss(&anchors, &positives, &["--labels", &wide]));
    // Those of an archive, from a pipe.
    let archive = fs::read(crate::common::data("fortran_doubles.npz")).expect("an archive");
    let output = piped(&["score", &anchors, &positives, "--labels", "-"], &archive);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (first, second) in [("-", "-"), ("-", "-:ids"), ("-", "/dev/stdin"), ("/dev/stdin", "/dev/fd/0")] {
        if second == "-" || cfg!(unix) {
            let output = piped(&["score", first, &positives, "--labels", second], &archive);
            assert!(error_of(&output).contains(&format!("{second}: the standard input and pipes can be read once")));
        }
    }
}

#[cfg(unix)]
#[test]
fn nobody_waits_for_a_pipe_to_hear_of_a_mistake() {
    let folder = folder("waiting");
    let pipe = path(&folder, "pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let [anchors, positives] = plain();
    let text = path(&folder, "text.npy");
    fs::write(&text, "no array").expect("a file");
    let nowhere = path(&folder, "nowhere/out.csv");
    for arguments in [
        &["mine", &pipe, "/nonexistent.npy"][..],
        &["mine", &pipe, &text],
        &["mine", &text, &pipe],
        &["mine", &pipe, &positives, "--out", &nowhere],
        &["mine", &pipe, &positives, "--positives", "/nonexistent.csv"],
        &["score", &anchors, &pipe, "--labels", "/nonexistent.npy"],
        &["score", &anchors, &positives, "--positive-rows", &pipe, "--rows", &nowhere],
    ] {
        // Whoever waits, waits for ever: nobody writes.
        let output = std::process::Command::new("timeout")
            .args(["60", env!("CARGO_BIN_EXE_hardneg")])
            .args(arguments)
            .output()
            .expect("timeout");
        error_of(&output);
    }
    // And it is read when somebody writes.
    let bytes = fs::read(&anchors).expect("rows");
    let writer = thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, bytes).is_ok()
    });
    assert_eq!(loss(&pipe, &positives, &[]), loss(&anchors, &positives, &[]));
    assert!(writer.join().expect("the writer"));
}
