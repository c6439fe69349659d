//! The program `hardneg-mpi`: the subcommands of `hardneg` over the ranks of a job, with their options and their
//! output.
//!
//! ```text
//! mpirun -n 4 hardneg-mpi score ANCHORS.npy POSITIVES.npy
//! mpirun -n 4 hardneg-mpi mine QUERIES.npy CORPUS.npy --out NEGATIVES.csv
//! ```
//!
//! Each rank reads its part of the files; rank 0 writes and prints. What differs from `hardneg`: without `--threads` a
//! rank computes on one thread; the corpus of `mine` is cut over the ranks, so that `--memory` and `--one-by-one` are
//! refused. Rank 0 reads pipes and the standard input, and gives the others copies, which take as much of each one's
//! folder for temporary files; for `--distinct` it reads the whole corpus. Whatever is wrong is said in one line on the
//! standard error, by the first rank that knows it, and the exit status is 2. A rank that dies ends the job, and leaves
//! the files as they were.

mod mine;
mod pipes;
mod score;
mod threads;
mod together;

use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hardneg_cli::{one_line, print_help};
use hardneg_mpi::Ranks;
use mpi::topology::{Communicator, SimpleCommunicator};

use together::Failed;

/// Hard negatives and the modified triplet loss of embeddings in files, over the ranks of an MPI job
#[derive(Parser)]
#[command(name = "hardneg-mpi", version, arg_required_else_help = false)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Mine(hardneg_cli::mine::Args),
    Score(hardneg_cli::score::Args),
}

fn main() -> ExitCode {
    // Threads of a pool compute; one thread calls MPI.
    let Some((universe, _)) = mpi::initialize_with_threading(mpi::Threading::Funneled) else {
        let _ = writeln!(io::stderr(), "hardneg-mpi: MPI cannot be initialised");
        return ExitCode::from(2);
    };
    // The others would wait for a rank that panics.
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        default(panic);
        SimpleCommunicator::world().abort(101);
    }));
    let mut ranks = Ranks::new(&universe.world());
    match run(&mut ranks) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Here(message)) => {
            // Not `eprintln!`, which panics where nobody listens.
            let _ = writeln!(io::stderr(), "hardneg-mpi: {message}");
            ExitCode::from(2)
        }
        Err(Failed::Elsewhere) => ExitCode::from(2),
    }
}

fn run(ranks: &mut Ranks) -> Result<(), Failed> {
    let parsed = match Args::try_parse() {
        Err(help) if !help.use_stderr() => {
            let printed = if ranks.rank() == 0 { print_help(&help) } else { Ok(()) };
            return together::all(ranks, printed);
        }
        parsed => parsed.map_err(|error| one_line(&error.to_string())),
    };
    match together::all(ranks, parsed)?.command {
        Command::Mine(args) => mine::run(ranks, &args),
        Command::Score(args) => score::run(ranks, &args),
    }
}
