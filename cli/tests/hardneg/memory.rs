//! Limits of memory and of threads: one line, never an abort.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{error_of, folder, path};

/// Writes a file of rows that are zeros, without taking their place on the disk.
fn sparse(folder: &Path, name: &str, rows: u64, dim: u64) -> String {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}\n");
    let mut file = File::create(folder.join(name)).expect("a file");
    let length = u16::try_from(header.len()).expect("a short header").to_le_bytes();
    file.write_all(&[b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat()).expect("a header");
    file.set_len(10 + header.len() as u64 + 4 * rows * dim).expect("a sparse file");
    path(folder, name)
}

/// Runs the program with so many kilobytes of address space.
fn limited(kilobytes: usize, more: &str, arguments: &[&str]) -> Output {
    let script = format!("ulimit -v {kilobytes}; {more} exec \"$@\"");
    let start = ["-c", &script, "bash", env!("CARGO_BIN_EXE_hardneg")];
    Command::new("bash").args(start).args(arguments).output().expect("a shell")
}

#[test]
fn rows_that_do_not_fit_are_an_error() {
    let folder = folder("no_memory");
    let rows = sparse(&folder, "rows.npy", 1_200_000, 1024);
    for arguments in [&["score", &rows, &rows][..], &["mine", &rows, &rows]] {
        let output = limited(1_000_000, "", &[arguments, &["--threads", "1"]].concat());
        assert!(error_of(&output).contains("rows.npy: no memory for 1200000 rows"), "{arguments:?}");
    }
    let few = sparse(&folder, "few.npy", 60_000_000, 1);
    let lists = limited(1_400_000, "", &["mine", &few, &few, "--k", "1000", "--threads", "1"]);
    assert!(error_of(&lists).contains("no memory for 60000000 lists of 1000"));
}

/// 2000 lists of 5000 take 160 MB.
#[test]
fn lists_are_in_memory_once() {
    let folder = folder("lists");
    let (queries, corpus) = (sparse(&folder, "queries.npy", 2000, 1), sparse(&folder, "corpus.npy", 5000, 1));
    let output = limited(300_000, "", &["mine", &queries, &corpus, "--k", "5000", "--threads", "1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(feature = "rayon")]
#[test]
fn without_threads_to_be_had_there_is_one() {
    use crate::common::{data, value};
    let file = data("plain_anchors.npy");
    let output = limited(4_000_000, "export RAYON_NUM_THREADS=3000;", &["score", &file, &file]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(value(&String::from_utf8_lossy(&output.stdout), "threads"), "1");
    let output = limited(1_000_000, "", &["score", &file, &file, "--threads", "1000"]);
    assert!(error_of(&output).contains("--threads 1000: "));
}
