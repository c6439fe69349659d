//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// This crate beside the machine's ceilings and beside rivals that do the same job
///
/// Everybody's answers are checked first; then the contenders take turns in one process.
#[derive(Parser)]
#[command(name = "hardneg-compare")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Measure everything, and write results.json, report.md and plots into a folder
    Report(Options),
    /// Single calls, timed one by one: few anchors among many candidates, and small batches
    Latency(Options),
    /// Large batches, with each screen, gradients, memory, and on all threads
    Batches(Options),
    /// Calls against a bank, beside the speed of memory and the same rows passed raw
    Bank(Options),
    /// Hard negatives of a corpus
    Mining(Options),
    /// How time and memory grow with threads, rows and dim
    Scaling(Options),
    /// Where the time of small batches goes
    Floor(Options),
    /// What the constants should be by which `Screen::Auto` chooses, beside what they are, and what `Auto` loses
    Crossovers(Crossovers),
    /// Draw the tables of README.md and benches/README.md from the files in benches/results
    Tables(Tables),
}

/// What is measured, and how.
#[derive(Args, Clone, Default)]
pub(crate) struct Options {
    /// Fewer cases and less time for each: some minutes in all
    #[arg(long)]
    pub quick: bool,
    /// Only see that everything runs: the quick cases that are small, each once
    #[arg(long, conflicts_with = "quick")]
    pub test: bool,
    /// Where to write results.json, report.md and the plots; a part by itself is printed, and written only with this
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The instruction set to measure, for example avx2; the default is the best of this CPU
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Measure embeddings of your own: two files as for `hardneg score`; row i of the second is the positive of anchor
    /// i, further rows are candidates
    #[arg(long, num_args = 2, value_names = ["ANCHORS.npy", "CANDIDATES.npy"])]
    pub data: Option<Vec<PathBuf>>,
    /// Measure NumPy, PyTorch, FAISS, usearch and sentence-transformers as well, with this Python
    #[arg(long, value_name = "PYTHON", num_args = 0..=1, default_missing_value = "python3")]
    pub peers: Option<PathBuf>,
}

/// How the constants are measured.
#[derive(Args)]
pub(crate) struct Crossovers {
    /// The instruction set to measure, for example avx2; the default is the best of this CPU
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// How long to measure each batch, in seconds
    #[arg(long, value_name = "S", default_value_t = 0.3)]
    pub seconds: f64,
    /// Only see that everything runs: batches that are small, each once
    #[arg(long)]
    pub test: bool,
}

/// What is done with the tables.
#[derive(Args)]
#[group(required = true)]
pub(crate) struct Tables {
    /// Write them
    #[arg(long)]
    pub write: bool,
    /// Fail where they differ from what the files say
    #[arg(long, conflicts_with = "write")]
    pub check: bool,
}
