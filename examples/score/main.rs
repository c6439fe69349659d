//! The modified triplet loss of your own embeddings, no code needed:
//!
//! ```text
//! cargo run --release --example score -- ANCHORS.npy POSITIVES.npy
//! ```
//!
//! Row `i` of the positives belongs to row `i` of the anchors; every other row of the positives is a negative of it.
//! The result is one `key: value` a line, and with `--rows OUT.csv` a table of every row. `--backend` and `--threads`
//! change the time, never a bit of either. With `--gradients PREFIX` the gradients of the loss with respect to both
//! files go to `PREFIX_anchors.npy` and `PREFIX_positives.npy`.
//!
//! Whatever is wrong is said in one line on the standard error, and the exit status is 2.

mod args;
mod chunks;
mod gradients;
mod npy;
mod output;
mod pool;
mod report;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use hardneg::{Backend, Error, Side, TripletLoss, Workspace};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use args::Args;
use chunks::{Scored, Work};
use npy::Embeddings;
use output::Output;
use pool::Pool;
use report::Report;

/// Work of more multiply-adds than these is long, and shows its progress. One core needs a second for them, or less.
const LONG: f64 = 2e10;
/// The fewest anchors of a call on long work. Every call prepares all candidates again, which from here on is little
/// beside its products.
const CHUNK: usize = 1024;
/// Long work is not split into more calls than a progress bar can show.
const CALLS: usize = 100;

fn main() -> ExitCode {
    match parse().and_then(|args| args.map_or(Ok(()), |args| run(&args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Not `eprintln!`, which panics where nobody listens.
            let _ = writeln!(io::stderr(), "score: {message}");
            ExitCode::from(2)
        }
    }
}

/// The arguments, or none where there is nothing to do but to print what clap has made of them, the help.
fn parse() -> Result<Option<Args>, String> {
    match Args::try_parse() {
        Ok(args) => Ok(Some(args)),
        Err(error) if error.use_stderr() => Err(one_line(&error.to_string())),
        Err(help) => {
            // A reader that has seen enough of the help is no error.
            let _ = help.print();
            Ok(None)
        }
    }
}

/// What clap says is wrong, which is its first paragraph: what it lists there (missing arguments, possible values) has
/// lines of its own. Hints and the usage follow after empty lines.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

fn run(args: &Args) -> Result<(), String> {
    let backend = args.backend.backend()?;
    let pool = Pool::new(args.threads)?;
    let job = Job::read(args, args.plan(backend, &pool))?;
    let table = args.rows.clone().map(Output::open).transpose()?;
    let gradients = args.gradients.as_deref().map(gradients::open).transpose()?;
    Output::check_distinct([&args.anchors, &args.positives], table.iter().chain(gradients.iter().flatten()))?;
    let mut workspace = Workspace::new();
    let scored = job.repeat(args.repeat.get(), &pool, &mut workspace);
    let (scored, seconds) = scored.map_err(|error| job.describe(error, args))?;
    if let Some(table) = &table {
        table::write(table, &scored.stats, args.margin)?;
    }
    if let Some(files) = &gradients {
        let work = job.work();
        let values = pool.run(|| gradients::backward(&work, &mut workspace)).map_err(|error| error.to_string())?;
        gradients::write(files, &values, job.anchors.dim)?;
    }
    job.report(&scored, backend, pool.size(), seconds).print()?;
    table.into_iter().chain(gradients.into_iter().flatten()).for_each(Output::keep);
    Ok(())
}

/// What to compute, and of what.
struct Job {
    plan: TripletLoss,
    anchors: Embeddings,
    candidates: Embeddings,
    /// Whether all anchors must go into one call, as they must where a backward pass is to follow.
    in_one_call: bool,
}

impl Job {
    fn read(args: &Args, plan: TripletLoss) -> Result<Job, String> {
        let (anchors, candidates) = (npy::read(&args.anchors)?, npy::read(&args.positives)?);
        if anchors.dim != candidates.dim {
            let (anchors, candidates) = (anchors.dim, candidates.dim);
            let (of_anchors, of_candidates) = (args.anchors.display(), args.positives.display());
            return Err(format!("{of_anchors} has dim {anchors}, but {of_candidates} has dim {candidates}"));
        }
        Ok(Job { plan, anchors, candidates, in_one_call: args.gradients.is_some() })
    }

    /// Computes the same several times; the time is the median, in seconds.
    fn repeat(&self, times: usize, pool: &Pool, workspace: &mut Workspace) -> Result<(Scored, f64), Error> {
        let (bar, work) = (self.progress_bar(times), self.work());
        let mut timed = || {
            let start = Instant::now();
            let scored = pool.run(|| work.forward(workspace, |rows| bar.inc(rows as u64)))?;
            Ok((scored, start.elapsed().as_secs_f64()))
        };
        let (mut scored, first) = timed()?;
        let mut seconds = vec![first];
        for _ in 1..times {
            let again;
            (scored, again) = timed()?;
            seconds.push(again);
        }
        Ok((scored, median(seconds)))
    }

    fn work(&self) -> Work<'_> {
        Work { plan: &self.plan, anchors: &self.anchors, candidates: &self.candidates, chunk: self.chunk() }
    }

    /// Whether there is enough to do for several calls and a bar that shows how many are done.
    fn is_long(&self) -> bool {
        !self.in_one_call && self.anchors.rows as f64 * self.candidates.values.len() as f64 > LONG
    }

    /// The anchors of a call.
    fn chunk(&self) -> usize {
        let rows = self.anchors.rows.max(1);
        if self.is_long() { CHUNK.max(rows.div_ceil(CALLS)) } else { rows }
    }

    /// A bar on the standard error, which stays hidden on short work and where that is no terminal.
    fn progress_bar(&self, times: usize) -> ProgressBar {
        if !self.is_long() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} anchors, {eta} left");
        ProgressBar::new(self.anchors.rows as u64 * times as u64)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_finish(ProgressFinish::AndClear)
    }

    fn report(&self, scored: &Scored, backend: Backend, threads: usize, seconds: f64) -> Report {
        Report {
            rows: self.anchors.rows,
            candidates: self.candidates.rows,
            dim: self.anchors.dim,
            loss: scored.loss,
            zero_rows: scored.zero_rows,
            backend,
            threads,
            seconds,
        }
    }

    /// The library knows the side that is wrong; the user knows it as a file.
    fn describe(&self, error: Error, args: &Args) -> String {
        let (anchors, positives) = (args.anchors.display(), args.positives.display());
        match error {
            Error::Empty { side: Side::Anchors } | Error::NotFinite { side: Side::Anchors, .. } => {
                format!("{anchors}: {error}")
            }
            Error::Empty { side: Side::Candidates } | Error::NotFinite { side: Side::Candidates, .. } => {
                format!("{positives}: {error}")
            }
            Error::PositiveOutOfRange { .. } => {
                let (rows, of_positives) = (self.anchors.rows, self.candidates.rows);
                format!("{anchors} has {rows} rows, {positives} has {of_positives}: every anchor needs its positive")
            }
            _ => error.to_string(),
        }
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}
