//! `hardneg score ANCHORS.npy POSITIVES.npy`: the modified triplet loss of two files of embeddings.
//!
//! Row `i` of the positives belongs to row `i` of the anchors; every other row of the positives is a negative of it,
//! unless labels or pairs exclude it. With `--positive-rows` the positives have a file of their own.
//! The result is one `key: value` a line, and with `--rows OUT.csv` a table of every row. `--backend`, `--screen` and
//! `--threads` change the time, never a bit of either. With `--gradients PREFIX` the gradients of the loss with respect
//! to both files go to `PREFIX_anchors.npy` and `PREFIX_positives.npy`. The times are those of the computation, the
//! median of `--repeat` ones, without the reading and writing of files.

mod args;
pub mod chunks;
pub mod excluded;
mod gradients;
mod report;
mod table;
mod timed;

use std::path::Path;

use hardneg::{Error, RowStats, Side, TripletLoss};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::input;
use crate::npy::Embeddings;
use crate::output::{self, Output};
use crate::pool::Pool;
use crate::rows::{self, Converted, RowFile};
pub use args::Args;
use chunks::Work;
pub use excluded::Excluded;
pub use gradients::Values;
pub use report::Report;
use timed::Timed;

/// Work of more multiply-adds than these is long, and shows its progress. One core needs a second for them, or less.
const LONG: f64 = 2e10;
/// The fewest anchors of a call on long work. Every call prepares all candidates again, which from here on is little
/// beside its products.
const CHUNK: usize = 1024;
/// Long work is not split into more calls than a progress bar can show.
const CALLS: usize = 100;

/// Scores two files.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let pool = Pool::new(args.threads)?;
    input::check(args.inputs())?;
    let (files, outputs) = rows::open_all(args.row_files(), args.bf16, || Outputs::open(args))?;
    let [Some(anchors), Some(candidates), positives] = files else { unreachable!("both were opened") };
    let job = Job::read(args, args.plan(pool.threads()), [&anchors, &candidates], positives.as_ref())?;
    // In the pool as a whole: the way into it is no part of the computation.
    let describe = |error| job.describe(error, args);
    let timed = pool.run(|| timed::repeat(&job, args.repeat, &describe))?;
    let report = job.report(&timed, pool.size());
    outputs.write(args, &report, &timed.scored.stats, timed.gradients.as_ref())
}

/// The files that a run writes.
pub struct Outputs {
    table: Option<Output>,
    gradients: Option<Vec<Output>>,
}

impl Outputs {
    /// Checks before the work begins that the files can be written.
    pub fn open(args: &Args) -> Result<Outputs, String> {
        let table = args.rows.clone().map(Output::open).transpose()?;
        let open = |prefix: &Path| gradients::open(prefix, args.positive_rows.is_some());
        let gradients = args.gradients.as_deref().map(open).transpose()?;
        Output::check_distinct(args.inputs(), table.iter().chain(gradients.iter().flatten()))?;
        Ok(Outputs { table, gradients })
    }

    /// Writes the files, and prints the report.
    pub fn write(
        self,
        args: &Args,
        report: &Report,
        stats: &[RowStats],
        gradients: Option<&Values>,
    ) -> Result<(), String> {
        let Outputs { mut table, gradients: mut files } = self;
        let written = [
            table.as_mut().map(|table| table::write(table, stats, args.margin)),
            files.as_mut().zip(gradients).map(|(files, values)| gradients::write(files, values, report.dim)),
        ];
        let outputs = table.into_iter().chain(files.into_iter().flatten());
        output::finish(written.into_iter().flatten().collect(), outputs, |to| report.print(to))
    }
}

/// What to compute, and of what.
struct Job {
    plan: TripletLoss,
    anchors: Embeddings,
    candidates: Embeddings,
    /// The positives, where they are no candidates.
    positives: Option<Embeddings>,
    excluded: Excluded,
    /// What of the files was converted.
    converted: Converted,
    /// Whether a backward pass is to follow, for which all anchors must go into one call.
    with_gradients: bool,
}

impl Job {
    fn read(
        args: &Args,
        plan: TripletLoss,
        [anchors, candidates]: [&RowFile; 2],
        positives: Option<&RowFile>,
    ) -> Result<Job, String> {
        let others = [Some((candidates, &args.positives)), positives.zip(args.positive_rows.as_ref())];
        if let Some((other, path)) = others.into_iter().flatten().find(|(other, _)| other.dim != anchors.dim) {
            let (anchors, dim, of_anchors) = (anchors.dim, other.dim, args.anchors.display());
            return Err(format!("{of_anchors} has dim {anchors}, but {} has dim {dim}", path.display()));
        }
        let keys = [("anchors_converted", Some(anchors)), ("candidates_converted", Some(candidates))];
        let keys = keys.into_iter().chain([("positives_converted", positives)]);
        Ok(Job {
            plan,
            excluded: Excluded::read(args, anchors.rows, candidates.rows)?,
            converted: rows::converted(keys.filter_map(|(key, file)| Some((key, file?)))),
            anchors: Embeddings::of(anchors)?,
            candidates: Embeddings::of(candidates)?,
            positives: positives.map(Embeddings::of).transpose()?,
            with_gradients: args.gradients.is_some(),
        })
    }

    fn work(&self) -> Work<'_> {
        Work {
            plan: &self.plan,
            anchors: &self.anchors,
            candidates: &self.candidates,
            positives: self.positives.as_ref(),
            excluded: &self.excluded,
            chunk: self.chunk(),
        }
    }

    /// Whether there is enough to do for several calls and a bar that shows how many are done.
    fn is_long(&self) -> bool {
        !self.with_gradients && self.anchors.rows as f64 * self.candidates.values.len() as f64 > LONG
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
        ProgressBar::new((self.anchors.rows as u64).saturating_mul(times as u64))
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_finish(ProgressFinish::AndClear)
    }

    fn report(&self, timed: &Timed, threads: usize) -> Report {
        Report {
            rows: self.anchors.rows,
            candidates: self.candidates.rows,
            dim: self.anchors.dim,
            loss: timed.scored.loss,
            backend: self.plan.backend,
            screen: self.plan.screen,
            screening: timed.scored.screening,
            threads,
            converted: self.converted.clone(),
            seconds: timed.forward,
            seconds_with_gradients: self.with_gradients.then_some(timed.total),
        }
    }

    fn describe(&self, error: Error, args: &Args) -> String {
        let outside = self.positives.as_ref().map_or(0, |rows| rows.rows);
        describe(args, error, [self.anchors.rows, self.candidates.rows, outside])
    }
}

/// The library knows the side that is wrong; the user knows it as a file. There are so many anchors, candidates, and
/// positives that are no candidates.
pub fn describe(args: &Args, error: Error, [rows, candidates, outside]: [usize; 3]) -> String {
    let (anchors, positives) = (args.anchors.display(), args.positives.display());
    let of_their_own = args.positive_rows.as_deref().unwrap_or(&args.positives).display();
    match error {
        Error::Empty { side: Side::Anchors } | Error::NotFinite { side: Side::Anchors, .. } => {
            format!("{anchors}: {error}")
        }
        Error::Empty { side: Side::Candidates } | Error::NotFinite { side: Side::Candidates, .. } => {
            format!("{positives}: {error}")
        }
        Error::Length { side: Side::Positives, .. } => {
            format!("{anchors} has {rows} rows, {of_their_own} has {outside}: every anchor needs its positive")
        }
        Error::NotFinite { side: Side::Positives, .. } => format!("{of_their_own}: {error}"),
        Error::PositiveOutOfRange { .. } => {
            format!("{anchors} has {rows} rows, {positives} has {candidates}: every anchor needs its positive")
        }
        _ => error.to_string(),
    }
}
