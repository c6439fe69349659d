//! `hardneg` without a subcommand that it knows.

use std::process::{Command, Output};

fn hardneg(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hardneg")).args(arguments).output().expect("the binary runs")
}

#[test]
fn a_missing_or_unknown_subcommand_is_named_in_one_line() {
    for (arguments, found) in [(&[][..], "subcommands: mine, score"), (&["scroe"], "unrecognized subcommand 'scroe'")] {
        let output = hardneg(arguments);
        let message = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty(), "{arguments:?} prints a result");
        assert!(message.starts_with("hardneg: ") && message.contains(found), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    }
}

#[test]
fn help_lists_the_subcommands() {
    let output = hardneg(&["--help"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let help = String::from_utf8(output.stdout).expect("text");
    assert!(["mine", "score"].iter().all(|name| help.contains(name)), "{help}");
}
