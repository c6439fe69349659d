//! `hardneg mine QUERIES.npy CORPUS.npy`: the hardest negatives of each query, exactly.
//!
//! Passages are filtered first and chosen then, so that no query runs short because a pool of candidates was filtered
//! afterwards. The lists go to a table, to two `.npy` files or to lines of JSON; `--backend`, `--screen`, `--threads`
//! and `--memory` change the time, never a byte of them. What is printed is one `key: value` a line. The times are
//! those of the computation, without the reading and writing of files.

mod args;
mod barred;
mod corpus;
pub mod distinct;
mod known;
mod lists;
mod pieces;
mod report;

use std::num::NonZeroUsize;

use hardneg::{Error, Neighbour, Side};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::input;
use crate::output::{self, Output};
use crate::pool::Pool;
use crate::rows::{self, RowFile};
pub use args::Args;
use barred::Barred;
pub use corpus::{Corpus, CorpusReader};
use distinct::Distinct;
pub use known::Known;
use pieces::Job;
pub use report::Report;

/// Work of more multiply-adds than these is long, and shows its progress. One core needs a second for them, or less.
const LONG: f64 = 2e10;
/// The fewest queries of a call on long work.
const CHUNK: usize = 1024;
/// Long work is not split into more calls than a progress bar can show.
const CALLS: usize = 100;
/// The bytes that the lists of a call may take, which are beside those of all queries.
const CALL_LISTS: usize = 1 << 26;
/// Pieces of the corpus are a multiple of this many rows, if they have as many.
const PIECE_UNIT: usize = 192;

/// Mines two files.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let pool = Pool::new(args.threads)?;
    input::check(args.inputs())?;
    let paths = [Some(&*args.queries), Some(&*args.corpus)];
    let (files, outputs) = rows::open_all(paths, args.bf16, || Outputs::open(args))?;
    let [Some(queries), Some(corpus)] = files else { unreachable!("both were opened") };
    let job = read(args, &pool, &queries, corpus)?;
    let bar = progress_bar(&job);
    let describe = |error: Error| describe(args, error);
    // In the pool as a whole: the way into it is no part of the computation.
    let mined = pool.run(|| job.run(|queries| bar.inc(queries as u64), &describe))?;
    bar.finish_and_clear();
    outputs.write(args, &Report::new(&job, &mined, pool.size()), mined.rows())
}

/// The files that a run writes.
pub struct Outputs {
    table: Option<Output>,
    arrays: Option<[Output; 2]>,
    lines: Option<Output>,
}

impl Outputs {
    /// Checks before the work begins that the files can be written.
    pub fn open(args: &Args) -> Result<Outputs, String> {
        let table = args.out.clone().map(Output::open).transpose()?;
        let arrays = args.npy.as_deref().map(lists::open_arrays).transpose()?;
        let lines = args.jsonl.clone().map(Output::open).transpose()?;
        let outputs = table.iter().chain(arrays.iter().flatten()).chain(&lines);
        Output::check_distinct(args.inputs(), outputs)?;
        Ok(Outputs { table, arrays, lines })
    }

    /// Writes the files from the lists of all queries, and prints the report.
    pub fn write<'a>(
        self,
        args: &Args,
        report: &Report,
        rows: impl Iterator<Item = &'a [Neighbour]> + Clone,
    ) -> Result<(), String> {
        let Outputs { mut table, mut arrays, mut lines } = self;
        let (queries, k) = (report.queries, args.k.get());
        let written = [
            table.as_mut().map(|table| lists::write_table(table, rows.clone())),
            arrays.as_mut().map(|arrays| lists::write_arrays(arrays, rows.clone(), queries, k)),
            lines.as_mut().map(|lines| lists::write_lines(lines, rows)),
        ];
        let outputs = table.into_iter().chain(arrays.into_iter().flatten()).chain(lines);
        output::finish(written.into_iter().flatten().collect(), outputs, |to| report.print(to))
    }
}

/// Reads the queries and the positives.
fn read(args: &Args, pool: &Pool, queries: &RowFile, corpus: RowFile) -> Result<Job, String> {
    if queries.dim != corpus.dim {
        let (of_queries, of_corpus) = (args.queries.display(), args.corpus.display());
        return Err(format!("{of_queries} has dim {}, but {of_corpus} has dim {}", queries.dim, corpus.dim));
    }
    let known = Known::of_args(args, queries.rows, corpus.rows)?;
    let excluded = args.excluded(queries.rows, corpus.rows)?;
    let converted = rows::converted([("queries_converted", queries), ("corpus_converted", &corpus)]);
    let distinct = args.distinct.then(|| Distinct::of(&corpus)).transpose()?;
    let corpus = Corpus::new(corpus, distinct);
    let (known, barred) = (corpus.known(known), Barred::new(corpus.excluded(excluded)?));
    let (piece, count) = (piece(args.memory, &corpus), queries.rows);
    let is_long = count as f64 * corpus.rows() as f64 * queries.dim as f64 > LONG;
    let chunk = if is_long { CHUNK.max(count.div_ceil(CALLS)) } else { count };
    let kept = args.k.get().saturating_add(args.skip).min(corpus.rows());
    let chunk = chunk.min((CALL_LISTS / (kept * size_of::<Neighbour>())).max(1));
    let one_by_one = args.one_by_one.map_or(0, NonZeroUsize::get);
    let (miner, repeat) = (args.miner(pool.threads()), args.repeat);
    Ok(Job {
        miner,
        queries: queries.read()?,
        count,
        corpus,
        known,
        barred,
        piece,
        chunk,
        converted,
        repeat,
        one_by_one,
    })
}

/// The rows of a piece that takes at most so much memory: its elements, and as many bytes again as the widest screen
/// needs, with the norms and the sums.
fn piece(memory: Option<NonZeroUsize>, corpus: &Corpus) -> usize {
    let Some(memory) = memory else { return corpus.rows() };
    let dim = corpus.file().dim;
    let row = dim.saturating_mul(2 * size_of::<f32>()).saturating_add(dim / 8 + 32);
    let rows = memory.get() / row;
    let whole = rows / PIECE_UNIT * PIECE_UNIT;
    if whole > 0 { whole } else { rows.max(1) }.min(corpus.rows())
}

/// A bar on the standard error, which stays hidden on short work and where that is no terminal.
fn progress_bar(job: &Job) -> ProgressBar {
    if job.chunk == job.count && job.pieces() == 1 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} queries, {per_sec}, {eta} left");
    ProgressBar::new((job.count * job.pieces()).saturating_mul(job.repeat.get()) as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_finish(ProgressFinish::AndClear)
}

/// The library knows the side that is wrong; the user knows it as a file.
pub fn describe(args: &Args, error: Error) -> String {
    match error {
        Error::NotFinite { side: Side::Anchors | Side::Queries, row } => {
            format!("{}: row {row} holds a NaN or an infinity", args.queries.display())
        }
        Error::NotFinite { row, .. } => format!("{}: row {row} holds a NaN or an infinity", args.corpus.display()),
        _ => error.to_string(),
    }
}
