//! This crate beside the machine's ceilings and beside rivals that do the whole job, on the same inputs, in one process
//! and in turns; checked against the reference. `cargo run --release -p hardneg-compare -- --help` lists what it can
//! show.

mod args;
mod bank;
mod ceilings;
#[path = "../../common/mod.rs"]
mod common;
mod files;
mod floor;
mod inputs;
mod latency;
mod memory;
mod oracle;
mod plot;
mod rivals;
mod row;
mod scaling;
mod shapes;
mod table;
#[path = "../../common/ceiling.rs"]
mod units;

use std::process::ExitCode;

use args::Args;
use clap::Parser;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hardneg-compare: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints what the arguments ask for.
fn run(args: &Args) -> Result<(), String> {
    if let Some([anchors, candidates]) = args.data.as_deref()
        && (args.latency || args.bank)
    {
        files::run(args, anchors, candidates)
    } else if args.latency {
        latency::run(args)
    } else if args.bank {
        bank::run(args)
    } else if args.scaling {
        scaling::run(args)
    } else if args.floor {
        floor::run(args)
    } else {
        shapes::run(args)
    }
}
