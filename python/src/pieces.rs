//! Mining without what belongs to Python: the queries in pieces, between which signals are looked at.

use std::time::{Duration, Instant};

use hardneg::{Bank, Error, Exclusions, KnownPositives, Miner, MiningBatch, Positives, Workspace};
use pyo3::prelude::*;

use crate::duplicates::Duplicates;
use crate::errors::{of_all_rows, refused};
use crate::lists::Lists;
use crate::mine::{KnowledgeParts, Known};
use crate::pools::Resources;

/// About how long a piece of the queries takes. A call ends at most a few times later than a signal arrives.
const PIECE: Duration = Duration::from_millis(150);

/// Multiply-adds that take less than [`PIECE`] on one thread of any CPU, whatever the data.
pub(crate) const SMALL: usize = 2_000_000_000;

/// Where the candidates are.
#[derive(Clone, Copy)]
pub(crate) enum Corpus<'a> {
    Rows(&'a [f32]),
    Bank(&'a Bank<'a>),
}

impl<'a> Corpus<'a> {
    pub(crate) fn rows(self) -> &'a [f32] {
        match self {
            Corpus::Rows(rows) => rows,
            Corpus::Bank(bank) => bank.rows(),
        }
    }
}

/// A call of mining without what belongs to Python.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) miner: Miner,
    pub(crate) resources: &'a Resources,
    pub(crate) queries: &'a [f32],
    pub(crate) dim: usize,
    pub(crate) corpus: Corpus<'a>,
    pub(crate) knowledge: KnowledgeParts<'a>,
    pub(crate) duplicates: Option<&'a Duplicates>,
}

/// The results of some queries, k places each.
pub(crate) struct Places<'a> {
    pub(crate) k: usize,
    pub(crate) indices: &'a mut [i64],
    pub(crate) similarities: &'a mut [f32],
    pub(crate) counts: &'a mut [i64],
}

/// The offsets of the lists of a piece, which begin at 0.
#[derive(Default)]
struct Offsets {
    known: Vec<usize>,
    excluded: Vec<usize>,
}

fn piece_of<'a>(lists: &'a Lists, first: usize, end: usize, offsets: &'a mut Vec<usize>) -> (&'a [usize], &'a [usize]) {
    let (begin, stop) = (lists.offsets[first], lists.offsets[end]);
    offsets.clear();
    offsets.extend(lists.offsets[first..=end].iter().map(|offset| offset - begin));
    (offsets, &lists.indices[begin..stop])
}

impl<'a> Call<'a> {
    fn count(&self) -> usize {
        self.queries.len() / self.dim.max(1)
    }

    /// Mines queries `first` to `end` into `places`, which are those of all queries.
    fn mine_piece(
        &self,
        first: usize,
        end: usize,
        offsets: &mut Offsets,
        workspace: &mut Workspace,
        places: &mut Places<'_>,
    ) -> Result<(), Error> {
        let queries = &self.queries[first * self.dim..end * self.dim];
        let batch = match self.corpus {
            Corpus::Rows(rows) => MiningBatch::new(queries, rows, self.dim)?,
            Corpus::Bank(bank) => MiningBatch::against(queries, bank)?,
        };
        let Offsets { known, excluded } = offsets;
        let known = match self.knowledge.known {
            Known::None => KnownPositives::None,
            Known::Paired => KnownPositives::One(Positives::Offset(first)),
            Known::Lists(lists) => {
                let (offsets, indices) = piece_of(lists, first, end, known);
                KnownPositives::Lists { offsets, indices }
            }
        };
        let (labels, lists) = (self.knowledge.labels, self.knowledge.lists);
        let exclusions = match (labels, lists) {
            (None, None) => Exclusions::None,
            (Some((anchors, candidates)), None) => Exclusions::Labels { anchors: &anchors[first..end], candidates },
            (_, Some(lists)) => {
                let (offsets, indices) = piece_of(lists, first, end, excluded);
                Exclusions::Lists { offsets, indices }
            }
        };
        let batch = batch.known_positives(known)?.excluding(exclusions)?;
        let batch = match self.knowledge.similarities {
            Some(similarities) => batch.positive_similarities(&similarities[first..end])?,
            None => batch,
        };
        // Labels beside lists, and what is to be distinct, are left to a function.
        let labels = labels.filter(|_| lists.is_some());
        let excludes = |query: usize, candidate: usize| {
            let query = first + query;
            labels.is_some_and(|(queries, candidates)| queries[query] == candidates[candidate])
                || self.duplicates.is_some_and(|rows| rows.excludes(candidate, self.knowledge.known.of(query)))
        };
        let needs_function = labels.is_some() || self.duplicates.is_some();
        let batch = if needs_function { batch.exclude_where(&excludes) } else { batch };
        let mined = self.resources.install(|| self.miner.mine(batch, workspace));
        let mined = mined.map_err(|error| of_all_rows(error, first))?;
        places.write(first, mined);
        Ok(())
    }

    /// Mines all queries, and calls `between` with how many are done after each piece.
    pub(crate) fn mine(
        &self,
        workspace: &mut Workspace,
        places: &mut Places<'_>,
        between: &mut dyn FnMut(usize) -> PyResult<()>,
    ) -> PyResult<()> {
        let (count, mut offsets, mut first) = (self.count(), Offsets::default(), 0_usize);
        let mut piece = (SMALL / self.corpus.rows().len().max(1)).max(1);
        loop {
            let (end, start) = (first.saturating_add(piece).min(count), Instant::now());
            self.mine_piece(first, end, &mut offsets, workspace, places).map_err(refused)?;
            between(end)?;
            if end == count {
                return Ok(());
            }
            piece = next_piece(end - first, start.elapsed());
            first = end;
        }
    }
}

/// How many queries take about as long as [`PIECE`], from how long the last piece took; at most four times as many.
fn next_piece(queries: usize, taken: Duration) -> usize {
    let ratio = PIECE.as_secs_f64() / taken.as_secs_f64().max(1e-6);
    ((queries as f64 * ratio.min(4.0)) as usize).max(1)
}

impl Places<'_> {
    fn write(&mut self, first: usize, mined: hardneg::Mined<'_>) {
        for (query, list) in mined.rows().enumerate() {
            let query = first + query;
            self.counts[query] = list.len() as i64;
            let places = query * self.k..(query + 1) * self.k;
            let (indices, similarities) = (&mut self.indices[places.clone()], &mut self.similarities[places]);
            for (rank, neighbour) in list.iter().enumerate() {
                (indices[rank], similarities[rank]) = (neighbour.index as i64, neighbour.similarity);
            }
            indices[list.len()..].fill(-1);
            similarities[list.len()..].fill(f32::NAN);
        }
    }
}
