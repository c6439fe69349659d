//! `hardneg-mpi mine QUERIES.npy CORPUS.npy`.

use std::time::Instant;

use hardneg::{BankOptions, Miner};
use hardneg_cli::mine::{Args, Known, Outputs, Report, describe};
use hardneg_cli::report::median;
use hardneg_cli::rows::{self, Converted};
use hardneg_cli::score::Excluded;
use hardneg_mpi::{Corpus, Error, Queries, Ranks};

use crate::files::open;
use crate::threads;
use crate::together::{self, Failed, part};

/// Mines two files. Each rank reads its part of the corpus; rank 0 reads the queries, which come to all in pieces, and
/// writes what was found.
pub(crate) fn run(ranks: &mut Ranks, args: &Args) -> Result<(), Failed> {
    let rank = ranks.rank();
    let ready = Job::read(ranks, args).and_then(|job| {
        let outputs = if rank == 0 { Some(Outputs::open(args)?) } else { None };
        Ok((job, outputs, threads::start(args.threads)?))
    });
    let (mut job, outputs, (threads, thread_count)) = together::all(ranks, ready)?;
    let miner = args.miner(threads);
    let describe = |error| match error {
        Error::Call(error) => describe(args, error),
        other => other.to_string(),
    };
    let start = Instant::now();
    let options = BankOptions::new().backend(miner.backend).threads(threads).screens(&[miner.screen]);
    let corpus = ranks.corpus(options, std::mem::take(&mut job.corpus), job.dim);
    let corpus = together::same(rank, corpus, describe)?;
    let prepare = start.elapsed().as_secs_f64();
    let mut seconds = together::same(rank, job.repeat(ranks, &miner, &corpus, args), describe)?;
    let start = Instant::now();
    let mined = together::same(rank, ranks.mine(&miner, &corpus, job.queries()), describe)?;
    seconds.push(start.elapsed().as_secs_f64());
    let written = outputs.map_or(Ok(()), |outputs| {
        let report = Report {
            queries: job.count,
            corpus: corpus.len(),
            distinct: None,
            dim: job.dim,
            k: miner.k,
            found: mined.found(),
            short_queries: mined.short_queries(),
            prepare,
            seconds: median(seconds),
            survivors_per_query: mined.screening().survivors as f64 / job.count as f64,
            backend: miner.backend,
            screen: miner.screen,
            threads: thread_count,
            converted: job.converted.clone(),
            singles: None,
        };
        outputs.write(args, &report, (0..mined.queries()).map(|query| mined.row(query)))
    });
    together::all(ranks, written)
}

/// What one rank has of the files.
struct Job {
    /// All queries on rank 0, and none elsewhere.
    queries: Vec<f32>,
    known: Known,
    /// Of all queries on rank 0, and of its own passages.
    excluded: Excluded,
    count: usize,
    corpus: Vec<f32>,
    dim: usize,
    /// What of the files was converted.
    converted: Converted,
}

impl Job {
    fn read(ranks: &Ranks, args: &Args) -> Result<Job, String> {
        if args.memory.is_some() || args.one_by_one.is_some() || args.distinct {
            return Err("--memory, --one-by-one and --distinct are options of the program for one process".to_owned());
        }
        let queries = open(&args.queries, args.bf16)?;
        let corpus = open(&args.corpus, args.bf16)?;
        if queries.dim != corpus.dim {
            let (of_queries, of_corpus) = (args.queries.display(), args.corpus.display());
            return Err(format!("{of_queries} has dim {}, but {of_corpus} has dim {}", queries.dim, corpus.dim));
        }
        let is_first = ranks.rank() == 0;
        let own = part(corpus.rows, ranks);
        let excluded = args.excluded(queries.rows, corpus.rows)?;
        Ok(Job {
            queries: if is_first { queries.read()? } else { Vec::new() },
            known: if is_first { Known::of_args(args, queries.rows, corpus.rows)? } else { Known::none(0)? },
            count: queries.rows,
            excluded: excluded.shard(if is_first { 0..queries.rows } else { 0..0 }, own.clone()),
            corpus: corpus.read_range(own)?,
            dim: queries.dim,
            converted: rows::converted([("queries_converted", &queries), ("corpus_converted", &corpus)]),
        })
    }

    fn queries(&self) -> Queries<'_> {
        Queries::new(&self.queries).known_positives(self.known.lists()).excluding(self.excluded.exclusions())
    }

    /// Mines as often as is asked for, but for the last time; the seconds of each time.
    fn repeat(&self, ranks: &mut Ranks, miner: &Miner, corpus: &Corpus<'_>, args: &Args) -> Result<Vec<f64>, Error> {
        let once = |_| {
            let start = Instant::now();
            let _ = ranks.mine(miner, corpus, self.queries())?;
            Ok(start.elapsed().as_secs_f64())
        };
        (1..args.repeat.get()).map(once).collect()
    }
}
