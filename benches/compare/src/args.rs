//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// This crate beside the machine's ceilings and beside rivals that do the whole job
///
/// Without --latency, --scaling or --floor: the comparison, one Markdown table.
#[derive(Parser)]
#[command(name = "hardneg-compare")]
pub(crate) struct Args {
    /// Compare embeddings of your own instead of the default batches: two files as for `hardneg score`
    #[arg(long, num_args = 2, value_names = ["ANCHORS.npy", "POSITIVES.npy"])]
    pub data: Option<Vec<PathBuf>>,
    /// Compare 16384 x 384 as well
    #[arg(long)]
    pub long: bool,
    /// Show instead how long single calls take, of few anchors among many candidates and of small batches
    #[arg(long, conflicts_with_all = ["scaling", "floor"])]
    pub latency: bool,
    /// Show instead how time and memory grow: with threads, rows and dim
    #[arg(long, conflicts_with = "floor")]
    pub scaling: bool,
    /// Show instead where the time of small batches goes
    #[arg(long)]
    pub floor: bool,
    /// Draw each table as a plot, too
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// How long to measure each batch, in seconds
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub seconds: f64,
    /// Only see that everything runs: few rounds, and of all but --latency small batches only
    #[arg(long)]
    pub test: bool,
}

impl Args {
    /// How long to measure, and in how many rounds at least.
    pub(crate) fn effort(&self) -> (f64, usize) {
        if self.test { (0.0, 1) } else { (self.seconds, 5) }
    }

    /// Whether a batch with so many multiply-adds is to be measured.
    pub(crate) fn includes(&self, work: u64) -> bool {
        !self.test || work <= 1 << 24
    }
}
