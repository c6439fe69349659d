//! The corpus in pieces that are mined one after the other, and the lists of all of them merged.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Instant;

use hardneg::{
    Bank, BankOptions, Error, Miner, MiningBatch, Negatives, Neighbour, Screening, Side, Threads, Workspace,
};

use super::barred::Barred;
use super::corpus::Corpus;
use super::known::Known;
use crate::memory::{filled, reserved, room};
use crate::report::median;
use crate::rows::Converted;

/// What to mine.
pub(crate) struct Job {
    /// The options; k and skip are those of the results.
    pub miner: Miner,
    /// The rows of all queries.
    pub queries: Vec<f32>,
    pub count: usize,
    pub corpus: Corpus,
    pub known: Known,
    pub barred: Barred,
    /// The rows of a piece.
    pub piece: usize,
    /// The queries of a call.
    pub chunk: usize,
    /// What of the files was converted.
    pub converted: Converted,
    pub repeat: NonZeroUsize,
    /// How many queries are mined again, one by one.
    pub one_by_one: usize,
}

/// What was found, and how long it took.
pub(crate) struct Mined {
    lists: Lists,
    pub screening: Screening,
    /// Seconds to prepare the corpus, and to mine it, without reading it.
    pub prepare: f64,
    pub seconds: f64,
    /// The seconds of single queries, in ascending order.
    pub singles: Vec<f64>,
    skip: usize,
}

impl Mined {
    /// The negatives of each query.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[Neighbour]> + Clone {
        (0..self.lists.counts.len()).map(|query| {
            let list = self.lists.of(query);
            &list[self.skip.min(list.len())..]
        })
    }
}

/// For each query the closest so far.
struct Lists {
    neighbours: Vec<Neighbour>,
    counts: Vec<usize>,
    /// The places of each query.
    kept: usize,
    /// A list before the merger.
    earlier: Vec<Neighbour>,
}

impl Lists {
    fn new(queries: usize, kept: usize) -> Result<Lists, String> {
        let no_memory = |_| format!("no memory for {queries} lists of {kept}");
        let neighbours = filled(queries.saturating_mul(kept), Neighbour::default(), "").map_err(no_memory)?;
        Ok(Lists { neighbours, counts: filled(queries, 0, "queries")?, kept, earlier: reserved(kept, "neighbours")? })
    }

    fn of(&self, query: usize) -> &[Neighbour] {
        &self.neighbours[query * self.kept..][..self.counts[query]]
    }

    /// The similarity that a candidate must reach to get on the list.
    fn floor(&self, query: usize) -> f32 {
        self.of(query).get(self.kept - 1).map_or(f32::NEG_INFINITY, |last| last.similarity)
    }

    /// Merges another list into one.
    fn merge(&mut self, query: usize, found: &[Neighbour]) {
        let list = &mut self.neighbours[query * self.kept..][..self.kept];
        self.earlier.clear();
        self.earlier.extend_from_slice(&list[..self.counts[query]]);
        self.counts[query] = Neighbour::merge(&self.earlier, found, list);
    }
}

impl Job {
    fn dim(&self) -> usize {
        self.corpus.file().dim
    }

    /// How many pieces there are.
    pub(crate) fn pieces(&self) -> usize {
        self.corpus.rows().div_ceil(self.piece)
    }

    fn query(&self, query: usize) -> &[f32] {
        &self.queries[query * self.dim()..][..self.dim()]
    }

    /// Mines all pieces; `done` is told of the queries of each call.
    pub(crate) fn run(&self, done: impl Fn(usize), describe: &impl Fn(Error) -> String) -> Result<Mined, String> {
        let Miner { k, skip, backend, screen, threads, .. } = self.miner;
        let kept = k.saturating_add(skip).min(self.corpus.rows());
        let mut lists = Lists::new(self.count, kept)?;
        let mut floors = filled(self.count, f32::NEG_INFINITY, "queries")?;
        let positives = if self.pieces() > 1 { self.similarities_of_positives()? } else { None };
        let mut workspace = Workspace::new();
        let (mut prepare, mut seconds) = (0.0, filled(self.repeat.get(), 0.0, "times")?);
        let (mut screening, mut singles, mut rows) = (Screening::default(), Vec::new(), Vec::new());
        let mut reader = self.corpus.reader()?;
        for first in (0..self.corpus.rows()).step_by(self.piece) {
            let piece = first..(first + self.piece).min(self.corpus.rows());
            rows.clear();
            reader.read(piece.clone(), &mut rows)?;
            let start = Instant::now();
            let options = BankOptions::new().backend(backend).threads(threads).screens(&[screen]);
            let in_file = |error: Error| match error {
                Error::NotFinite { side, row } => {
                    describe(Error::NotFinite { side, row: self.corpus.in_file(first + row) })
                }
                other => describe(other),
            };
            let bank = options.build(&rows[..], self.dim()).map_err(in_file)?;
            prepare += start.elapsed().as_secs_f64();
            let part = Part { job: self, bank: &bank, piece, positives: positives.as_deref() };
            // Those of the earlier pieces, in every turn.
            floors.iter_mut().enumerate().for_each(|(query, floor)| *floor = lists.floor(query));
            for (turn, seconds) in seconds.iter_mut().enumerate() {
                let start = Instant::now();
                let keep = |query: usize, list: &[Neighbour]| {
                    if turn == 0 {
                        lists.merge(query, list);
                    }
                };
                let found = part.mine(&floors, &mut workspace, &done, keep).map_err(describe)?;
                *seconds += start.elapsed().as_secs_f64();
                if turn == 0 {
                    screening += found;
                }
            }
            singles = part.mine_singly(&mut workspace).map_err(describe)?;
        }
        singles.sort_by(f64::total_cmp);
        lists.neighbours.iter_mut().for_each(|found| found.index = self.corpus.in_file(found.index));
        Ok(Mined { lists, screening, prepare, seconds: median(seconds), singles, skip })
    }

    /// The smallest similarity of each query with its positives, which may be in any piece; nothing where no threshold
    /// depends on it.
    fn similarities_of_positives(&self) -> Result<Option<Vec<Option<f32>>>, String> {
        let Miner { negatives, absolute_margin, relative_margin, backend, .. } = self.miner;
        if negatives == Negatives::Any && absolute_margin.is_none() && relative_margin.is_none() {
            return Ok(None);
        }
        let mut pairs = reserved(self.known.len(), "positives")?;
        for query in 0..self.count {
            pairs.extend(self.known.of_query(query).iter().map(|&index| (index, query)));
        }
        pairs.sort_unstable();
        let mut smallest: Vec<Option<f32>> = filled(self.count, None, "queries")?;
        let (mut reader, mut next, mut row) = (self.corpus.reader()?, 0, Vec::new());
        for (index, query) in pairs {
            if row.is_empty() || index >= next {
                row.clear();
                reader.read(index..index + 1, &mut row)?;
                next = index + 1;
            }
            // Rows that are not finite are found when all are mined.
            if let Ok(similarity) = backend.cosine_similarity(self.query(query), &row) {
                let known = smallest[query].filter(|&known| known <= similarity);
                smallest[query] = Some(known.unwrap_or(similarity));
            }
        }
        Ok(Some(smallest))
    }
}

/// A piece of the corpus, prepared.
struct Part<'a> {
    job: &'a Job,
    bank: &'a Bank<'a>,
    piece: Range<usize>,
    /// The similarities with positives, where these may be in another piece.
    positives: Option<&'a [Option<f32>]>,
}

impl Part<'_> {
    /// Mines all queries, from each one's floor on, and passes the list of each to `keep`.
    fn mine(
        &self,
        floors: &[f32],
        workspace: &mut Workspace,
        done: &impl Fn(usize),
        mut keep: impl FnMut(usize, &[Neighbour]),
    ) -> Result<Screening, Error> {
        let mut screening = Screening::default();
        for first in (0..self.job.count).step_by(self.job.chunk) {
            let queries = first..(first + self.job.chunk).min(self.job.count);
            screening +=
                self.mine_chunk(self.job.miner, queries.clone(), &floors[queries.clone()], workspace, &mut keep)?;
            done(queries.len());
        }
        Ok(screening)
    }

    /// Mines the first queries, each as a call of its own; the seconds that each took.
    fn mine_singly(&self, workspace: &mut Workspace) -> Result<Vec<f64>, Error> {
        let singles = 0..self.job.one_by_one.min(self.job.count);
        let miner = self.job.miner.threads(Threads::Serial);
        let mut seconds = room(singles.len())?;
        for query in singles {
            let start = Instant::now();
            self.mine_chunk(miner, query..query + 1, &[f32::NEG_INFINITY], workspace, |_, _| {})?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }

    /// Mines some queries, and passes the list of each to `keep`.
    fn mine_chunk(
        &self,
        miner: Miner,
        queries: Range<usize>,
        floors: &[f32],
        workspace: &mut Workspace,
        mut keep: impl FnMut(usize, &[Neighbour]),
    ) -> Result<Screening, Error> {
        let Part { job, bank, ref piece, positives } = *self;
        let known = job.known.part(queries.clone(), piece)?;
        let rows = &job.queries[queries.start * job.dim()..queries.end * job.dim()];
        let barred = job.barred.part(queries.clone(), piece)?;
        let batch = MiningBatch::against(rows, bank)?.known_positives(known.lists())?.floors(floors)?;
        let mut batch = batch.excluding(barred.exclusions())?;
        if let Some(positives) = positives {
            batch = batch.positive_similarities(&positives[queries.clone()])?;
        }
        // What is skipped is known when the lists are merged.
        let all = miner.k.saturating_add(miner.skip);
        let mined = miner.k(all).skip(0).mine(batch, workspace).map_err(|error| match error {
            Error::NotFinite { side: Side::Queries, row } => {
                Error::NotFinite { side: Side::Queries, row: queries.start + row }
            }
            other => other,
        })?;
        let mut list = room(all.min(piece.len()))?;
        for (query, found) in queries.zip(mined.rows()) {
            list.clear();
            list.extend(found.iter().map(|found| Neighbour { index: piece.start + found.index, ..*found }));
            keep(query, &list);
        }
        Ok(mined.screening())
    }
}
