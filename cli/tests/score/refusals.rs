//! Files and options that are refused in one line, the help, and a reader that leaves.

use std::fs;
use std::process::Stdio;

use hardneg::Backend;

use crate::common::{F32, command, printed, refused, sample, temporary, write_npy, write_rows};

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
