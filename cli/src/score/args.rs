//! The options of `score`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::value_parser;
use hardneg::{Backend, Negatives, Reduction, Screen, Threads, TripletLoss};

use crate::options::{self, named};

/// The modified triplet loss of two files of embeddings, and what it is made of.
#[derive(clap::Args)]
pub struct Args {
    /// The anchors: a 2-D array of floats of 16, 32 or 64 bits in an .npy file or an .npz archive, a pipe, or - for the
    /// standard input. FILE.npz:NAME is one array of an archive, otherwise the only 2-D one of numbers is read
    #[arg(value_name = "ANCHORS.npy", allow_hyphen_values = true, value_parser = options::input())]
    pub anchors: PathBuf,
    /// The positives: row i belongs to anchor i, and is a negative of every other anchor. There may be more rows than
    /// anchors: the others are negatives of every anchor
    #[arg(value_name = "POSITIVES.npy", allow_hyphen_values = true, value_parser = options::input())]
    pub positives: PathBuf,
    /// By how much the positive must be more similar than a negative to cost nothing
    #[arg(long, default_value_t = 0.25, allow_hyphen_values = true)]
    pub margin: f32,
    /// Which negatives may be the closest: those less similar than the positive, also those as similar, or all
    #[arg(long, value_parser = named::<Negatives>(), default_value_t)]
    pub negatives: Negatives,
    /// Arrays of u2 hold bf16
    #[arg(long)]
    pub bf16: bool,
    /// How the losses of the rows become one number
    #[arg(long, value_parser = named::<Reduction>(), default_value_t)]
    pub reduction: Reduction,
    /// The instruction set
    #[arg(long, value_parser = options::backend(), default_value = options::BEST_BACKEND)]
    pub backend: Backend,
    /// How pairs that cannot matter are ruled out; off: every pair is computed exactly
    #[arg(long, value_parser = named::<Screen>(), default_value_t)]
    pub screen: Screen,
    /// The number of threads, at most 1024; without it one for each core
    // More than these help nowhere, and soon more than the system can start, which ends the process.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Write the numbers of every row to this file; - is the standard output, and the report goes to the standard error
    /// then
    #[arg(long, value_name = "OUT.csv")]
    pub rows: Option<PathBuf>,
    /// The positives are the rows of this file, row i that of anchor i: POSITIVES.npy holds negatives alone
    #[arg(long, value_name = "ROWS.npy", allow_hyphen_values = true, value_parser = options::input())]
    pub positive_rows: Option<PathBuf>,
    /// A label for each row of POSITIVES.npy, a 1-D array of integers. Anchor i has the label of row i, and rows with
    /// its label are no negatives of it
    #[arg(long, value_name = "LABELS.npy", allow_hyphen_values = true, value_parser = options::input())]
    #[arg(conflicts_with_all = ["anchor_labels", "positive_labels", "exclude", "positive_rows"])]
    pub labels: Option<PathBuf>,
    /// The same with labels of the anchors of their own
    #[arg(long, value_name = "LABELS.npy", allow_hyphen_values = true, value_parser = options::input())]
    #[arg(requires = "positive_labels", conflicts_with = "exclude")]
    pub anchor_labels: Option<PathBuf>,
    /// The same with labels of the rows of POSITIVES.npy of their own
    #[arg(long, value_name = "LABELS.npy", allow_hyphen_values = true, value_parser = options::input())]
    #[arg(requires = "anchor_labels", conflicts_with = "exclude")]
    pub positive_labels: Option<PathBuf>,
    /// Pairs of an anchor and a row of POSITIVES.npy that is no negative of it: a table with the header query,index
    #[arg(long, value_name = "PAIRS.csv")]
    pub exclude: Option<PathBuf>,
    /// Write the gradients of the loss to PREFIX_anchors.npy and PREFIX_positives.npy; with --positive-rows, those of
    /// POSITIVES.npy to PREFIX_candidates.npy
    #[arg(long, value_name = "PREFIX")]
    pub gradients: Option<PathBuf>,
    /// Compute so many times, and report the median time of a forward pass, and with --gradients also of both passes
    #[arg(long, value_name = "N", default_value = "1")]
    pub repeat: NonZeroUsize,
}

impl Args {
    /// The files that are read.
    pub fn inputs(&self) -> impl Iterator<Item = &Path> {
        let more = [&self.positive_rows, &self.labels, &self.anchor_labels, &self.positive_labels, &self.exclude];
        [&self.anchors, &self.positives].into_iter().chain(more.into_iter().flatten()).map(PathBuf::as_path)
    }

    /// Those of them that are tables.
    pub fn tables(&self) -> impl Iterator<Item = &Path> {
        self.exclude.as_deref().into_iter()
    }

    /// The files of rows: anchors, candidates, and perhaps positives that are none of them.
    pub fn row_files(&self) -> [Option<&Path>; 3] {
        [Some(&self.anchors), Some(&self.positives), self.positive_rows.as_deref()]
    }

    /// The options as the library takes them.
    pub fn plan(&self, threads: Threads) -> TripletLoss {
        TripletLoss::new()
            .margin(self.margin)
            .negatives(self.negatives)
            .reduction(self.reduction)
            .backend(self.backend)
            .screen(self.screen)
            .threads(threads)
    }
}
