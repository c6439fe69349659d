//! This crate beside the machine's ceilings and beside rivals that do the same job, on the same inputs, in one process
//! and in turns; checked against the reference. `cargo run --release -p hardneg-compare -- --help` lists what it can
//! show.

mod args;
#[path = "../../common/mod.rs"]
mod common;
mod contest;
mod crossovers;
mod inputs;
mod machine;
mod memory;
mod npy;
mod oracle;
mod parts;
mod peers;
mod report;
mod results;
mod rivals;
mod row;
mod setting;
mod shapes;
mod tables;
mod units;

use std::path::Path;
use std::process::ExitCode;

use args::{Cli, Command, Options};
use clap::Parser;
use parts::{PARTS, Part};

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hardneg-compare: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &Command) -> Result<(), String> {
    match command {
        Command::Report(options) => {
            let out = options.out.as_deref().unwrap_or(Path::new(report::FOLDER));
            report::run(options, &PARTS.iter().collect::<Vec<_>>(), Some(out))
        }
        Command::Latency(options) => one("latency", options),
        Command::Batches(options) => one("batches", options),
        Command::Bank(options) => one("bank", options),
        Command::Mining(options) => one("mining", options),
        Command::Scaling(options) => one("scaling", options),
        Command::Floor(options) => one("floor", options),
        Command::Crossovers(options) => crossovers::run(options),
        Command::Tables(args) => tables::run(args),
    }
}

/// Measures one part.
fn one(name: &str, options: &Options) -> Result<(), String> {
    let part: &Part = PARTS.iter().find(|part| part.name == name).ok_or_else(|| format!("there is no part {name}"))?;
    report::run(options, &[part], options.out.as_deref())
}
