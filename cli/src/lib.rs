//! The program `hardneg`: results of the library `hardneg` for embeddings in `.npy` files, without any code.
//!
//! ```text
//! cargo run --release -p hardneg-cli -- score ANCHORS.npy POSITIVES.npy
//! cargo run --release -p hardneg-cli -- mine QUERIES.npy CORPUS.npy --out NEGATIVES.csv
//! ```
//!
//! Each subcommand has a module of its own. Whatever is wrong is said in one line on the standard error, and the exit
//! status is 2.
//!
//! This is a library so that the program's tests and the benchmarks can use parts of it. Nothing in it is a promise.

pub mod input;
pub mod memory;
pub mod mine;
pub mod npy;
mod numbers;
mod options;
mod output;
mod pairs;
pub mod pool;
mod records;
pub mod report;
pub mod rows;
pub mod score;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Hard negatives and the modified triplet loss of embeddings in files
#[derive(Parser)]
#[command(name = "hardneg", version, arg_required_else_help = false)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Mine(mine::Args),
    Score(score::Args),
}

impl Command {
    fn run(&self) -> Result<(), String> {
        match self {
            Command::Mine(args) => mine::run(args),
            Command::Score(args) => score::run(args),
        }
    }
}

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    match parse().and_then(|args| args.map_or(Ok(()), |args| args.command.run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Not `eprintln!`, which panics where nobody listens.
            let _ = writeln!(io::stderr(), "hardneg: {message}");
            ExitCode::from(2)
        }
    }
}

/// The arguments, or none where there is nothing to do but to print what clap has made of them, the help.
fn parse() -> Result<Option<Args>, String> {
    match Args::try_parse() {
        Ok(args) => Ok(Some(args)),
        Err(error) if error.use_stderr() => Err(one_line(&error.to_string())),
        Err(help) => print_help(&help).map(|()| None),
    }
}

/// Prints the help or the version that was asked for.
pub fn print_help(help: &clap::Error) -> Result<(), String> {
    let printed = help.print().and_then(|()| io::stdout().flush());
    report::unless_closed(printed).map_err(|error| format!("standard output: {error}"))
}

/// What clap says is wrong, which is its first paragraph: what it lists there (missing arguments, possible values) has
/// lines of its own. Hints and the usage follow after empty lines.
pub fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}
