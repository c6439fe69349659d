//! Mining of a corpus that is spread over the ranks.
//!
//! The queries of all ranks are looked at in pieces. The rank that has a piece sends its rows and the indices of its
//! known positives to all. A known positive is with one rank, which computes its similarity; all ranks learn of it.
//! Then each rank mines its own candidates, and the lists go back to the rank that has asked, which merges them.

use std::ops::Range;

use hardneg::{Backend, Exclusions, KnownPositives, Mined, Miner, MiningBatch, Neighbour, Screening, Side, Workspace};

use crate::agreement::{MINE, compare, too_many};
use crate::corpus::Corpus;
use crate::error::{Error, Setting};
use crate::mined::ShardMined;
use crate::piece::{Lists, NO_CANDIDATE, Piece};
use crate::queries::Queries;
use crate::ranks::{Link, PAYLOAD, Ranks, resize};
use crate::shard::kind_of;
use crate::stats::{screening_of_words, screening_words};
use crate::transport::RowCounts;

/// The queries that are looked at together: enough for the screens, and few enough to be sent and held without notice.
const PIECE: usize = 1024;

/// The words of a neighbour: its index, and the bits of its similarity.
const NEIGHBOUR_WORDS: usize = 2;

/// The numbers that must be the same on all ranks.
const SETTINGS: [Setting; 11] = [
    Setting::Call,
    Setting::Corpus,
    Setting::Predicate,
    Setting::Exclusions,
    Setting::Miner,
    Setting::Miner,
    Setting::Miner,
    Setting::Miner,
    Setting::Miner,
    Setting::Miner,
    Setting::Miner,
];
/// The place of the number of queries.
const QUERIES: usize = SETTINGS.len();

/// The memory of mining.
#[derive(Default)]
pub(crate) struct MiningMemory {
    piece: Piece,
    /// The lists of this rank's candidates for a piece, and those of all ranks.
    own_lists: Vec<u64>,
    lists: Vec<u64>,
    /// The list that was merged so far, the one after, and the next one of a rank.
    merged: [Vec<Neighbour>; 3],
    results: Results,
}

/// What was found for the queries of this rank.
#[derive(Default)]
struct Results {
    /// Places for as many neighbours of each query.
    neighbours: Vec<Neighbour>,
    found: Vec<usize>,
    smallest: Vec<Option<f32>>,
}

impl Ranks {
    /// Finds the k most similar candidates of all ranks that qualify for each query of this rank. Every rank calls it,
    /// with its own queries.
    ///
    /// Lists, similarities and indices have the bits that [`Miner::mine`] finds in one process, whatever the number of
    /// ranks and wherever corpus and queries are cut. `threads`, `backend` and `screen` are each rank's own choice.
    ///
    /// ```no_run
    /// use hardneg::{BankOptions, KnownPositives, Miner, Positives};
    /// use hardneg_mpi::{Queries, Ranks};
    ///
    /// let universe = mpi::initialize().expect("MPI is not initialised yet");
    /// let mut ranks = Ranks::new(&universe.world());
    /// let passages = vec![0.5; 100 * 64];
    /// let corpus = ranks.corpus(BankOptions::new(), passages, 64)?;
    /// // Query i of all ranks has passage i of all ranks as its known positive.
    /// let questions = vec![0.25; 10 * 64];
    /// let queries = Queries::new(&questions).known_positives(KnownPositives::One(Positives::Identity));
    /// let mined = ranks.mine(&Miner::new().k(5), &corpus, queries)?;
    /// println!("{:?}", mined.row(0));
    /// # Ok::<(), hardneg_mpi::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`MiningBatch`] and of [`Miner::mine`], and ranks that disagree: the same error on every rank. Queries
    /// are called anchors there, and numbered over all ranks.
    ///
    /// # Allocation
    /// None by this package once the buffers have grown to the shape of the call: a piece of 1024 queries with the
    /// lists of all ranks for them, and the lists of this rank's queries.
    pub fn mine<'r>(
        &'r mut self,
        miner: &Miner,
        corpus: &Corpus<'_>,
        queries: Queries<'_>,
    ) -> Result<ShardMined<'r>, Error> {
        let Ranks { link, memory } = self;
        let (rank, dim) = (link.transport.rank(), corpus.bank().dim());
        agree(link, miner, corpus, &queries, &mut memory.rows_of.anchors)?;
        let own = memory.rows_of.anchors.of(rank);
        // No more can be found than there are.
        let kept = miner.k.saturating_add(miner.skip).min(corpus.len());
        let places = miner.k.min(corpus.len());
        let ready = queries.check(corpus, own.start).and_then(|()| {
            memory.mining.grow(link.transport.size(), memory.rows_of.anchors.total().min(PIECE), dim, kept)?;
            memory.mining.results.grow(own.len(), places)
        });
        link.exchange(ready, [0; PAYLOAD])?;
        let mut screening = Screening::default();
        for root in 0..link.transport.size() {
            let of_root = memory.rows_of.anchors.of(root);
            for first in of_root.clone().step_by(PIECE) {
                let range = first..of_root.end.min(first + PIECE);
                // The queries' numbers on their rank.
                let on_root = range.start - of_root.start..range.end - of_root.start;
                let task = Task { root, range, on_root, miner, corpus, kept };
                screening += task.run(link, &mut memory.mining, &mut memory.workspace, &queries)?;
            }
        }
        let Results { neighbours, found, smallest } = &memory.mining.results;
        Ok(ShardMined { k: miner.k, places, neighbours, found, smallest, screening })
    }
}

/// Checks that the ranks make the same call, and takes their numbers of queries.
fn agree(
    link: &mut Link,
    miner: &Miner,
    corpus: &Corpus<'_>,
    queries: &Queries<'_>,
    counts: &mut RowCounts,
) -> Result<(), Error> {
    let (dim, length) = (corpus.bank().dim(), queries.rows.len());
    let check = if !length.is_multiple_of(dim) {
        Err(hardneg::Error::PartialRow { side: Side::Anchors, dim, actual: length })
    } else if miner.k == 0 {
        Err(hardneg::Error::ZeroK)
    } else {
        Ok(())
    };
    // No threshold that is finite has these bits.
    let bits = |threshold: Option<f64>| threshold.map_or(u64::MAX, f64::to_bits);
    let mut payload = [0; PAYLOAD];
    payload[..=QUERIES].copy_from_slice(&[
        MINE,
        corpus.len() as u64,
        queries.predicate.is_some().into(),
        kind_of(queries.exclusions),
        miner.k as u64,
        miner.skip as u64,
        miner.negatives as u64,
        bits(miner.absolute_margin),
        bits(miner.relative_margin),
        bits(miner.max_similarity),
        bits(miner.min_similarity),
        (length / dim) as u64,
    ]);
    let records = link.exchange(check, payload)?;
    compare(records, &SETTINGS)?;
    counts.set(records.column(QUERIES)).map_err(too_many(Side::Anchors, dim))?;
    let empty = Error::Call(hardneg::Error::Empty { side: Side::Anchors });
    if counts.total() == 0 { Err(empty) } else { Ok(()) }
}

impl MiningMemory {
    /// Gets the memory for pieces of `queries` queries, but for their known positives.
    fn grow(&mut self, ranks: usize, queries: usize, dim: usize, kept: usize) -> Result<(), hardneg::Error> {
        let (side, words) = (Side::Output, kept.saturating_mul(NEIGHBOUR_WORDS));
        self.piece.grow(queries, dim)?;
        resize(&mut self.own_lists, side, queries, words, 0)?;
        resize(&mut self.lists, side, queries.saturating_mul(ranks), words, 0)?;
        for merged in &mut self.merged {
            resize(merged, side, 1, kept, Neighbour::default())?;
        }
        Ok(())
    }
}

impl Results {
    fn grow(&mut self, queries: usize, places: usize) -> Result<(), hardneg::Error> {
        resize(&mut self.neighbours, Side::Output, queries, places, Neighbour::default())?;
        resize(&mut self.found, Side::Output, queries, 1, 0)?;
        resize(&mut self.smallest, Side::Output, queries, 1, None)
    }
}

/// The mining of one piece.
struct Task<'a> {
    /// The rank that has the queries.
    root: usize,
    /// Which ones they are of all queries.
    range: Range<usize>,
    /// And of those of their rank.
    on_root: Range<usize>,
    miner: &'a Miner,
    corpus: &'a Corpus<'a>,
    /// How many neighbours each rank looks for.
    kept: usize,
}

impl Task<'_> {
    fn run(
        &self,
        link: &mut Link,
        memory: &mut MiningMemory,
        workspace: &mut Workspace,
        queries: &Queries<'_>,
    ) -> Result<Screening, Error> {
        let count = self.range.len();
        self.share_queries(link, &mut memory.piece, queries)?;
        let (words, ranks) = (self.kept * NEIGHBOUR_WORDS, link.transport.size());
        let own_lists = &mut memory.own_lists[..count * words];
        let mined = self.mine(&memory.piece, workspace, queries, own_lists);
        let screening = *mined.as_ref().unwrap_or(&Screening::default());
        let records = link.exchange(mined.map(|_| ()), screening_words(screening))?;
        let screening = records.iter().map(screening_of_words).fold(Screening::default(), |mut sum, more| {
            sum += more;
            sum
        });
        let is_root = link.transport.rank() == self.root;
        let lists = if is_root { &mut memory.lists[..ranks * count * words] } else { &mut [] };
        link.transport.gather_rows_on(self.root, own_lists, words, lists);
        if is_root {
            self.merge(memory, ranks);
        }
        Ok(screening)
    }

    /// Sends the queries of the piece and their known positives to all ranks, and computes the similarities of these.
    fn share_queries(&self, link: &mut Link, piece: &mut Piece, queries: &Queries<'_>) -> Result<(), Error> {
        let (count, dim) = (self.range.len(), self.corpus.bank().dim());
        let is_root = link.transport.rank() == self.root;
        // The first query of the root's, by its number over all ranks.
        let first = self.range.start - self.on_root.start;
        let by_labels = matches!(queries.exclusions, Exclusions::Labels { .. });
        let by_lists = matches!(queries.exclusions, Exclusions::Lists { .. });
        if is_root {
            let on_root = self.on_root.clone();
            piece.rows[..count * dim].copy_from_slice(queries.rows(on_root.clone(), dim));
            piece.known.set_lengths(on_root.clone(), |row| queries.known(row, first, dim));
            piece.excluded.set_lengths(on_root.clone(), |row| queries.excluded(row));
            if let Exclusions::Labels { anchors, .. } = queries.exclusions {
                piece.labels[..count].copy_from_slice(&anchors[on_root]);
            }
        }
        link.transport.broadcast_rows(self.root, dim, &mut piece.rows[..count * dim]);
        link.transport.broadcast_rows(self.root, 1, &mut piece.known.lengths[..count]);
        if by_labels {
            link.transport.broadcast_rows(self.root, 1, &mut piece.labels[..count]);
        }
        if by_lists {
            link.transport.broadcast_rows(self.root, 1, &mut piece.excluded.lengths[..count]);
        } else {
            piece.excluded.lengths.fill(0);
        }
        link.exchange(piece.grow_lists(count), [0; PAYLOAD])?;
        if is_root {
            piece.known.set_entries(self.on_root.clone(), |row| queries.known(row, first, dim));
            piece.excluded.set_entries(self.on_root.clone(), |row| queries.excluded(row));
        }
        for lists in [&mut piece.known, &mut piece.excluded] {
            if !lists.entries.is_empty() {
                link.transport.broadcast_rows(self.root, 1, &mut lists.entries);
            }
        }
        let similarities = self.own_similarities(piece, is_root.then_some(queries));
        link.exchange(similarities, [0; PAYLOAD])?;
        if !piece.known.entries.is_empty() {
            link.transport.smallest(&piece.own_similarities, &mut piece.similarities);
        }
        piece.complete(count, self.corpus.own());
        Ok(())
    }

    /// Computes the similarities of the queries with the known positives that this rank has: candidates of its own, and
    /// on the rank of the queries rows that are no candidates.
    fn own_similarities(&self, piece: &mut Piece, root: Option<&Queries<'_>>) -> Result<(), hardneg::Error> {
        let (backend, bank, own) = (Backend::detect(), self.corpus.bank(), self.corpus.own());
        let dim = bank.dim();
        let Piece { rows, known: Lists { lengths, entries, .. }, own_similarities, .. } = piece;
        let mut places = entries.iter().zip(own_similarities);
        for (row, (query, &length)) in rows.chunks_exact(dim).zip(&lengths[..self.range.len()]).enumerate() {
            for (&entry, similarity) in places.by_ref().take(length as usize) {
                let here = usize::try_from(entry).ok().and_then(|entry| entry.checked_sub(own.start));
                let positive = match root {
                    Some(queries) if entry == NO_CANDIDATE => queries.outside(self.on_root.start + row, dim),
                    _ => here.and_then(|index| bank.row(index)),
                };
                // More than any similarity, where another rank has the row.
                *similarity = f32::INFINITY;
                if let Some(positive) = positive {
                    *similarity = backend.cosine_similarity(query, positive)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the lists of this rank's candidates, with their indices in the whole.
    fn mine(
        &self,
        piece: &Piece,
        workspace: &mut Workspace,
        queries: &Queries<'_>,
        lists: &mut [u64],
    ) -> Result<Screening, hardneg::Error> {
        let (bank, first) = (self.corpus.bank(), self.corpus.own().start);
        if bank.is_empty() {
            lists.fill(NO_CANDIDATE);
            return Ok(Screening::default());
        }
        let (count, predicate) = (self.range.len(), queries.predicate);
        let (offsets, indices) = (&piece.known.offsets[..=count], &piece.known.indices[..]);
        let exclusions = match queries.exclusions {
            Exclusions::Labels { candidates, .. } => Exclusions::Labels { anchors: &piece.labels[..count], candidates },
            Exclusions::Lists { .. } => {
                let Lists { offsets, indices, .. } = &piece.excluded;
                Exclusions::Lists { offsets: &offsets[..=count], indices }
            }
            _ => Exclusions::None,
        };
        let batch = MiningBatch::against(&piece.rows[..count * bank.dim()], bank)?
            .known_positives(KnownPositives::Lists { offsets, indices })?
            .positive_similarities(&piece.smallest[..count])?
            .excluding(exclusions)?;
        let of_whole = |query: usize, candidate: usize| {
            predicate.is_some_and(|predicate| predicate(self.range.start + query, first + candidate))
        };
        let batch = if predicate.is_some() { batch.exclude_where(&of_whole) } else { batch };
        let mined = self.miner.k(self.kept).skip(0).mine(batch, workspace)?;
        write_lists(mined, first, lists);
        Ok(mined.screening())
    }

    /// Merges the lists of all ranks, and leaves those of the piece's queries.
    fn merge(&self, memory: &mut MiningMemory, ranks: usize) {
        let MiningMemory { piece, lists, merged: [before, after, list], results, .. } = memory;
        let (count, words) = (self.range.len(), self.kept * NEIGHBOUR_WORDS);
        let places = self.miner.k.min(self.corpus.len());
        for query in 0..count {
            let mut found = 0;
            for rank in 0..ranks {
                let more = read_list(&lists[(rank * count + query) * words..][..words], list);
                found = Neighbour::merge(&before[..found], &list[..more], after);
                std::mem::swap(before, after);
            }
            let chosen = &before[self.miner.skip.min(found)..found];
            let chosen = &chosen[..chosen.len().min(places)];
            let own = self.on_root.start + query;
            results.neighbours[own * places..][..chosen.len()].copy_from_slice(chosen);
            results.found[own] = chosen.len();
            results.smallest[own] = piece.smallest[query];
        }
    }
}

/// Writes lists as words; the first candidate has index `first` in the whole.
fn write_lists(mined: Mined<'_>, first: usize, lists: &mut [u64]) {
    let words = lists.len() / mined.queries();
    for (row, list) in mined.rows().zip(lists.chunks_exact_mut(words)) {
        let (found, rest) = list.split_at_mut(row.len() * NEIGHBOUR_WORDS);
        for (neighbour, words) in row.iter().zip(found.chunks_exact_mut(NEIGHBOUR_WORDS)) {
            words.copy_from_slice(&[(first + neighbour.index) as u64, neighbour.similarity.to_bits().into()]);
        }
        rest.fill(NO_CANDIDATE);
    }
}

/// Reads a list of words. Returns how many neighbours there are.
fn read_list(words: &[u64], list: &mut [Neighbour]) -> usize {
    let words = words.chunks_exact(NEIGHBOUR_WORDS).take_while(|words| words[0] != NO_CANDIDATE);
    let mut found = 0;
    for (place, words) in list.iter_mut().zip(words) {
        *place = Neighbour { index: words[0] as usize, similarity: f32::from_bits(words[1] as u32) };
        found += 1;
    }
    found
}
