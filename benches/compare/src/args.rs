//! The command line.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::RangedU64ValueParser;

/// This crate beside the machine's ceilings and beside rivals that do the whole job
///
/// Without --latency, --bank, --scaling or --floor: the comparison, one Markdown table.
#[derive(Parser)]
#[command(name = "hardneg-compare")]
pub(crate) struct Args {
    /// Compare embeddings of your own instead of the default batches: two files as for `hardneg score`. With
    /// --latency or --bank, anchors and candidates, as many or more, of which row `i` is the positive of anchor `i`
    #[arg(long, num_args = 2, value_names = ["ANCHORS.npy", "POSITIVES.npy"])]
    pub data: Option<Vec<PathBuf>>,
    /// Compare 16384 x 384 as well
    #[arg(long)]
    pub long: bool,
    /// Show instead how long single calls take, of few anchors among many candidates and of small batches
    #[arg(long, group = "calls", conflicts_with_all = ["scaling", "floor"])]
    pub latency: bool,
    /// Show instead how long calls against a bank take, and beside the speed of memory
    #[arg(long, group = "calls", conflicts_with_all = ["scaling", "floor"])]
    pub bank: bool,
    /// The shapes of --bank
    #[command(flatten)]
    pub shapes: BankShapes,
    /// With --latency or --bank, and --data: on so many threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one(), requires = "calls")]
    pub threads: usize,
    /// With --latency or --bank, and --data: the times of which the median is taken
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one(), requires = "calls")]
    pub repeat: usize,
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

/// The anchors, rows of the bank and dims that are measured, in all combinations.
#[derive(clap::Args)]
pub(crate) struct BankShapes {
    /// With --bank: so many anchors, up to 128, separated by commas; with --data, so many of the file's
    #[arg(long, value_name = "M,..", value_delimiter = ',', value_parser = at_least_one(), requires = "bank")]
    pub anchors: Option<Vec<usize>>,
    /// With --bank: so many rows of the bank, 256 or more, separated by commas
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = at_least_one(), requires = "bank")]
    pub candidates: Option<Vec<usize>>,
    /// With --bank: rows of so many elements, separated by commas
    #[arg(long, value_name = "D,..", value_delimiter = ',', value_parser = at_least_one(), requires = "bank")]
    pub dims: Option<Vec<usize>>,
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
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
