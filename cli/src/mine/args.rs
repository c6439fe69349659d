//! The options of `mine`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::value_parser;
use hardneg::{Backend, Miner, Negatives, Screen, Threads};

use crate::options::{self, named};
use crate::score::Excluded;

/// The hardest negatives of each query: the passages of a corpus that are most similar to it and qualify
#[derive(clap::Args)]
pub struct Args {
    /// The queries: a 2-D array of floats of 16, 32 or 64 bits in an .npy file or an .npz archive, a pipe, or - for the
    /// standard input. FILE.npz:NAME is one array of an archive, otherwise the only 2-D one of numbers is read
    #[arg(value_name = "QUERIES.npy", allow_hyphen_values = true, value_parser = options::input())]
    pub queries: PathBuf,
    /// The corpus, in which the negatives are found
    #[arg(value_name = "CORPUS.npy", allow_hyphen_values = true, value_parser = options::input())]
    pub corpus: PathBuf,
    /// How many negatives a query gets
    #[arg(long, value_name = "N", default_value = "10")]
    pub k: NonZeroUsize,
    /// Row i of the corpus is the positive of query i
    #[arg(long, conflicts_with = "positives")]
    pub paired: bool,
    /// A table with the header `query,index`: row `index` of the corpus is a positive of row `query` of the queries,
    /// which may have any number of them
    #[arg(long, value_name = "PAIRS.csv")]
    pub positives: Option<PathBuf>,
    /// A table with the header `query,index` of passages that are no negatives of a query
    #[arg(long, value_name = "PAIRS.csv")]
    pub exclude: Option<PathBuf>,
    /// A label for each query, a 1-D array of integers: passages with its label are no negatives of a query
    #[arg(long, value_name = "LABELS.npy", allow_hyphen_values = true, value_parser = options::input())]
    #[arg(requires = "corpus_labels", conflicts_with = "exclude")]
    pub query_labels: Option<PathBuf>,
    /// A label for each passage
    #[arg(long, value_name = "LABELS.npy", allow_hyphen_values = true, value_parser = options::input())]
    #[arg(requires = "query_labels", conflicts_with = "exclude")]
    pub corpus_labels: Option<PathBuf>,
    /// Leave out passages whose rows are, bit for bit, those of a positive of the query, and of passages with the same row
    /// all but the first one
    #[arg(long)]
    pub distinct: bool,
    /// Which passages qualify: those less similar than every positive of the query, also those as similar, or all
    #[arg(long, value_parser = named::<Negatives>(), default_value_t = Negatives::Any)]
    pub negatives: Negatives,
    /// Keep passages with s + A <= p, where s is their similarity and p the smallest one of a positive
    #[arg(long, value_name = "A", allow_hyphen_values = true)]
    pub absolute_margin: Option<f64>,
    /// Keep passages with s <= p - abs(p) * R
    #[arg(long, value_name = "R", allow_hyphen_values = true)]
    pub relative_margin: Option<f64>,
    /// Keep passages that are at most so similar, rounded to f32, as similarities are
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    pub max_similarity: Option<f64>,
    /// Keep passages that are at least so similar, rounded to f32
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    pub min_similarity: Option<f64>,
    /// Leave out so many of the most similar passages that qualify
    #[arg(long, value_name = "N", default_value = "0")]
    pub skip: usize,
    /// Read the corpus by pieces that take at most so many bytes, with a suffix K, M or G of so many times 1024. The
    /// results have the same bytes
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub memory: Option<NonZeroUsize>,
    /// Arrays of u2 hold bf16
    #[arg(long)]
    pub bf16: bool,
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
    /// Mine the first N queries once more, each as a call of its own, and report the median and the 99th percentile of
    /// their times
    #[arg(long, value_name = "N", conflicts_with = "memory")]
    pub one_by_one: Option<NonZeroUsize>,
    /// Mine so many times, and report the median time
    #[arg(long, value_name = "N", default_value = "1")]
    pub repeat: NonZeroUsize,
    /// Write a table with the header `query,rank,index,similarity`, ranks from 1 on; - is the standard output, and the
    /// report goes to the standard error then
    #[arg(long, value_name = "OUT.csv")]
    pub out: Option<PathBuf>,
    /// Write PREFIX_indices.npy (i64) and PREFIX_similarities.npy (f32), a row of k elements for each query. Where a query
    /// has fewer negatives, the rest of its row is -1 and NaN: leave these out before you index with them, as NumPy
    /// takes -1 for the last row
    #[arg(long, value_name = "PREFIX")]
    pub npy: Option<PathBuf>,
    /// Write a line {"query":..,"negatives":[..],"scores":[..]} for each query
    #[arg(long, value_name = "OUT.jsonl")]
    pub jsonl: Option<PathBuf>,
}

impl Args {
    /// The files that are read.
    pub fn inputs(&self) -> impl Iterator<Item = &Path> {
        let more = [&self.positives, &self.exclude, &self.query_labels, &self.corpus_labels];
        [&self.queries, &self.corpus].into_iter().chain(more.into_iter().flatten()).map(PathBuf::as_path)
    }

    /// Those of them that are tables.
    pub fn tables(&self) -> impl Iterator<Item = &Path> {
        [&self.positives, &self.exclude].into_iter().flatten().map(PathBuf::as_path)
    }

    /// What the files exclude that the options name, of so many queries and passages.
    pub fn excluded(&self, queries: usize, corpus: usize) -> Result<Excluded, String> {
        match (&self.query_labels, &self.corpus_labels, &self.exclude) {
            (Some(of_queries), Some(of_corpus), _) => {
                Excluded::by_labels([of_queries, of_corpus], [&self.queries, &self.corpus], [queries, corpus])
            }
            (.., Some(pairs)) => Excluded::by_pairs(pairs, queries, corpus),
            _ => Ok(Excluded::Nothing),
        }
    }

    /// The options as the library takes them.
    pub fn miner(&self, threads: Threads) -> Miner {
        let mut miner = Miner::new()
            .k(self.k.get())
            .negatives(self.negatives)
            .skip(self.skip)
            .threads(threads)
            .backend(self.backend)
            .screen(self.screen);
        miner.absolute_margin = self.absolute_margin;
        miner.relative_margin = self.relative_margin;
        miner.max_similarity = self.max_similarity;
        miner.min_similarity = self.min_similarity;
        miner
    }
}

/// A number of bytes.
fn bytes(text: &str) -> Result<NonZeroUsize, String> {
    let suffixes = [('K', 10), ('M', 20), ('G', 30)];
    let suffix = suffixes.into_iter().find_map(|(name, shift)| Some((text.strip_suffix(name)?, shift)));
    let (digits, shift) = suffix.unwrap_or((text, 0));
    let number: usize =
        digits.parse().map_err(|_| "expected a number, perhaps with the suffix K, M or G".to_owned())?;
    let bytes = number.checked_mul(1 << shift).and_then(NonZeroUsize::new);
    bytes.ok_or_else(|| "expected a number of bytes that is positive and fits into memory".to_owned())
}
