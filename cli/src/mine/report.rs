//! What is printed: one `key: value` a line, for eyes and for scripts.

use std::fmt::Display;
use std::fs;

use hardneg::{Backend, Neighbour, Screen};

use super::pieces::{Job, Mined};
use crate::report::{To, milliseconds, print_lines};
use crate::rows::Converted;

/// Everything that is printed.
pub struct Report {
    /// How many queries there are.
    pub queries: usize,
    /// How many passages there are.
    pub corpus: usize,
    /// How many of them are no copies of others, where copies were left out.
    pub distinct: Option<usize>,
    /// The elements of a row.
    pub dim: usize,
    /// How many negatives a query gets.
    pub k: usize,
    /// How many negatives all queries have.
    pub found: usize,
    /// How many queries have fewer.
    pub short_queries: usize,
    /// The seconds that it took to prepare the corpus.
    pub prepare: f64,
    /// The median seconds that it took to mine it.
    pub seconds: f64,
    /// The pairs that screens left, for each query.
    pub survivors_per_query: f64,
    /// The instruction set.
    pub backend: Backend,
    /// The screen that was asked for.
    pub screen: Screen,
    /// How many threads there were.
    pub threads: usize,
    /// What of the files was converted.
    pub converted: Converted,
    /// The median and the 99th percentile of single queries.
    pub singles: Option<[f64; 2]>,
}

impl Report {
    pub(crate) fn new(job: &Job, mined: &Mined, threads: usize) -> Report {
        let lengths = || mined.rows().map(<[Neighbour]>::len);
        let k = job.miner.k;
        let percentile = |percent: usize| {
            mined.singles.get((mined.singles.len() * percent / 100).min(mined.singles.len().saturating_sub(1)))
        };
        Report {
            queries: job.count,
            corpus: job.corpus.file().rows,
            distinct: job.corpus.distinct_rows(),
            dim: job.corpus.file().dim,
            k,
            found: lengths().sum(),
            short_queries: lengths().filter(|&length| length < k).count(),
            prepare: mined.prepare,
            seconds: mined.seconds,
            survivors_per_query: mined.screening.survivors as f64 / job.count as f64,
            backend: job.miner.backend,
            screen: job.miner.screen,
            threads,
            converted: job.converted.clone(),
            singles: percentile(50).zip(percentile(99)).map(|(&median, &high)| [median, high]),
        }
    }

    /// Prints it.
    pub fn print(&self, to: To) -> Result<(), String> {
        let (prepare, seconds) = (milliseconds(self.prepare), milliseconds(self.seconds));
        let survivors = format!("{:.1}", self.survivors_per_query);
        let mut lines: Vec<(&str, &dyn Display)> = vec![
            ("queries", &self.queries),
            ("corpus", &self.corpus),
            ("dim", &self.dim),
            ("k", &self.k),
            ("found", &self.found),
            ("short_queries", &self.short_queries),
            ("prepare_milliseconds", &prepare),
            ("milliseconds", &seconds),
            ("survivors_per_query", &survivors),
            ("backend", &self.backend),
            ("screen", &self.screen),
            ("threads", &self.threads),
        ];
        if let Some(distinct) = &self.distinct {
            lines.push(("distinct", distinct));
        }
        lines.extend(self.converted.iter().map(|(key, what)| (*key, what as &dyn Display)));
        let singles = self.singles.map(|singles| singles.map(|seconds| format!("{:.2}", 1e6 * seconds)));
        if let Some([median, high]) = &singles {
            lines.push(("one_by_one_p50_microseconds", median));
            lines.push(("one_by_one_p99_microseconds", high));
        }
        let peak = peak_memory();
        if let Some(peak) = &peak {
            lines.push(("peak_memory_bytes", peak));
        }
        print_lines(to, &lines)
    }
}

/// The most memory that the process had at once, in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}
