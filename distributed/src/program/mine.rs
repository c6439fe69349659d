//! `hardneg-mpi mine QUERIES.npy CORPUS.npy`.

use std::path::Path;
use std::time::Instant;

use hardneg::{BankOptions, Miner, Neighbour, Side};
use hardneg_cli::input;
use hardneg_cli::memory::{filled, reserved};
use hardneg_cli::mine::distinct::Distinct;
use hardneg_cli::mine::{Args, Corpus as Passages, Known, Outputs, Report, describe};
use hardneg_cli::report::median;
use hardneg_cli::rows::{self, Converted, RowFile};
use hardneg_cli::score::Excluded;
use hardneg_mpi::{Corpus, Error, Queries, Ranks, ShardMined};

use crate::together::{self, Failed, part};
use crate::{pipes, threads};

/// Mines two files. Each rank reads its part of the corpus; rank 0 reads the queries, which come to all in pieces, and
/// writes what was found.
pub(crate) fn run(ranks: &mut Ranks, args: &Args) -> Result<(), Failed> {
    let rank = ranks.rank();
    let outputs = together::all(ranks, if rank == 0 { start(args).map(Some) } else { Ok(None) })?;
    let tables: Vec<&Path> = args.tables().collect();
    pipes::share(ranks, args.inputs(), &tables)?;
    let (queries, file) = together::all(ranks, open(args))?;
    let distinct = if args.distinct { Some(distinct(ranks, &file)?) } else { None };
    let passages = Passages::new(file, distinct);
    let ready = Job::read(ranks, args, &queries, &passages).and_then(|job| Ok((job, threads::start(args.threads)?)));
    let (mut job, (threads, thread_count)) = together::all(ranks, ready)?;
    let miner = args.miner(threads);
    let describe = |error| match error {
        Error::Call(hardneg::Error::NotFinite { side: side @ Side::Candidates, row }) => {
            describe(args, hardneg::Error::NotFinite { side, row: passages.in_file(row) })
        }
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
            corpus: passages.file().rows,
            distinct: passages.distinct_rows(),
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
        let lists = Lists::new(mined, &passages)?;
        outputs.write(args, &report, (0..mined.queries()).map(|query| lists.of(query)))
    });
    together::all(ranks, written)
}

/// Says what is wrong before anybody waits for a pipe, and opens the files that are written.
fn start(args: &Args) -> Result<Outputs, String> {
    if args.memory.is_some() || args.one_by_one.is_some() {
        return Err("--memory and --one-by-one are options of the program for one process".to_owned());
    }
    input::check(args.inputs())?;
    let outputs = Outputs::open(args)?;
    if args.inputs().any(input::is_pipe) {
        rows::check([&*args.queries, &*args.corpus].into_iter(), args.bf16)?;
    }
    Ok(outputs)
}

/// The files of the queries and of the corpus.
fn open(args: &Args) -> Result<(RowFile, RowFile), String> {
    let [queries, corpus] = [&args.queries, &args.corpus].map(|path| RowFile::open(path, args.bf16));
    let (queries, corpus) = (queries?, corpus?);
    if queries.dim != corpus.dim {
        let (of_queries, of_corpus) = (args.queries.display(), args.corpus.display());
        return Err(format!("{of_queries} has dim {}, but {of_corpus} has dim {}", queries.dim, corpus.dim));
    }
    Ok((queries, corpus))
}

/// Rank 0 reads the corpus for copies, and tells the others of them.
fn distinct(ranks: &mut Ranks, file: &RowFile) -> Result<Distinct, Failed> {
    let first =
        if ranks.rank() == 0 { Distinct::of(file).map(Distinct::into_first) } else { filled(file.rows, 0, "rows") };
    let mut first = together::all(ranks, first)?;
    together::from_first(&mut first);
    together::all(ranks, Distinct::from_first(first))
}

/// The lists with the numbers that passages have in their file.
struct Lists<'a> {
    mined: ShardMined<'a>,
    /// Of distinct passages all lists, one after the other, and where each begins.
    distinct: Option<(Vec<Neighbour>, Vec<usize>)>,
}

impl<'a> Lists<'a> {
    fn new(mined: ShardMined<'a>, passages: &Passages) -> Result<Lists<'a>, String> {
        if passages.distinct_rows().is_none() {
            return Ok(Lists { mined, distinct: None });
        }
        let mut all = reserved(mined.found(), "neighbours")?;
        let mut begins = reserved(mined.queries(), "queries")?;
        for list in mined.rows() {
            begins.push(all.len());
            all.extend(list.iter().map(|found| Neighbour { index: passages.in_file(found.index), ..*found }));
        }
        Ok(Lists { mined, distinct: Some((all, begins)) })
    }

    fn of(&self, query: usize) -> &[Neighbour] {
        let list = self.mined.row(query);
        self.distinct.as_ref().map_or(list, |(all, begins)| &all[begins[query]..][..list.len()])
    }
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
    fn read(ranks: &Ranks, args: &Args, queries: &RowFile, passages: &Passages) -> Result<Job, String> {
        let is_first = ranks.rank() == 0;
        let (file, own) = (passages.file(), part(passages.rows(), ranks));
        let known = if is_first { Known::of_args(args, queries.rows, file.rows)? } else { Known::none(0)? };
        let excluded = passages.excluded(args.excluded(queries.rows, file.rows)?)?;
        let of_queries = if is_first { 0..queries.rows } else { 0..0 };
        let mut corpus = Vec::new();
        passages.reader()?.read(own.clone(), &mut corpus)?;
        Ok(Job {
            queries: if is_first { queries.read()? } else { Vec::new() },
            known: passages.known(known),
            count: queries.rows,
            excluded: excluded.shard(of_queries, own).map_err(|error| error.to_string())?,
            corpus,
            dim: queries.dim,
            converted: rows::converted([("queries_converted", queries), ("corpus_converted", file)]),
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
