//! The example `train` as its user sees it: the loss falls, and the positives move to the front.

use std::path::Path;
use std::process::Command;

/// The loss and the percentage of a line of the table.
fn numbers(line: &str) -> (f64, f64) {
    let fields: Vec<&str> = line.split_whitespace().collect();
    (fields[1].parse().expect("a loss"), fields[3].parse().expect("a percentage"))
}

#[test]
fn training_improves_on_real_pairs() {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.parent().and_then(Path::parent).expect("this test is in target/PROFILE/deps");
    let binary = profile.join("examples").join(format!("train{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.exists(), "{} is missing: run `cargo build --example train` first", binary.display());
    let output = Command::new(binary).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("text");
    let epochs: Vec<(f64, f64)> = printed.lines().skip(2).map(numbers).collect();
    assert_eq!(epochs.len(), 31, "{printed}");
    let ((first_loss, first_share), (last_loss, last_share)) = (epochs[0], epochs[30]);
    assert!(last_loss < 0.5 * first_loss, "{printed}");
    assert!(last_share > first_share + 20.0, "{printed}");
}
