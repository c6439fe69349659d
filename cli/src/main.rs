//! The program `hardneg`; [`hardneg_cli`] says what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    hardneg_cli::main()
}
