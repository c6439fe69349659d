//! The comparison: which part of it was asked for, and what its parts share.
//!
//! It is a module of its own so that `benches/numkong`, a package outside of this one, can run it with one rival more.

mod args;
mod ceilings;
#[path = "../../common/mod.rs"]
mod common;
mod floor;
mod inputs;
mod memory;
#[path = "../../../cli/src/npy.rs"]
mod npy;
mod oracle;
mod plot;
pub(crate) mod rivals;
mod scaling;
mod shapes;
mod table;
#[path = "../../common/ceiling.rs"]
mod units;

use std::path::Path;

use args::Args;
use clap::Parser;
use rivals::Entrant;

/// Prints what the arguments ask for. `root` is the repository, in which the sample lies; `others` compete as well.
pub(crate) fn run(root: &Path, others: Vec<Entrant>) {
    let args = Args::parse();
    let outcome = if args.scaling {
        scaling::run(&args)
    } else if args.floor {
        floor::run(&args)
    } else {
        shapes::run(&args, root, others)
    };
    if let Err(error) = outcome {
        eprintln!("compare: {error}");
        std::process::exit(2);
    }
}
