//! `Ranks`: the processes of a communicator, and the memory of their calls.

use hardneg::{Exclusions, RowStats, Side, Workspace};
use mpi::topology::Communicator;

use crate::agreement::{GATHER, compare, too_many};
use crate::error::{Error, STATUS_WORDS, Setting, encode};
use crate::mining::MiningMemory;
use crate::shard::Shard;
use crate::stats::STATS_WORDS;
use crate::transport::{RowCounts, Traffic, Transport};

/// The numbers that a rank tells with its status.
pub(crate) const PAYLOAD: usize = 14;
/// The words of what a rank tells the others at once.
const RECORD: usize = STATUS_WORDS + PAYLOAD;

/// The processes of a communicator, and the buffers of their calls: the entry to everything here.
///
/// Every rank makes one from the same communicator, and then makes the same calls in the same order: each call is a
/// collective one. The communicator is duplicated, so that messages of the program do not meet those of the calls. It
/// must be dropped before MPI is finalised, which is when [`mpi::environment::Universe`] is dropped.
///
/// A call ends on all ranks with the same [`Error`], if one of them has one, and the next call may follow. A process
/// that dies ends the job by the means of MPI, whose default is to abort all processes.
///
/// Buffers are kept from call to call: after the first one of a shape this package allocates nothing more, if
/// [`Threads::Serial`](hardneg::Threads::Serial) is chosen. What MPI itself allocates is its own affair.
pub struct Ranks {
    pub(crate) link: Link,
    pub(crate) memory: Memory,
}

/// The way to the other ranks.
pub(crate) struct Link {
    pub(crate) transport: Transport,
    /// What all ranks have told last.
    records: Vec<u64>,
}

/// The memory of calls.
pub(crate) struct Memory {
    pub(crate) workspace: Workspace,
    /// The rows of all ranks.
    pub(crate) rows_of: SideCounts,
    pub(crate) candidates: Vec<f32>,
    /// The labels of all candidates, where there are labels.
    pub(crate) candidate_labels: Vec<u64>,
    /// The statistics of this rank's anchors, and of all, as they travel.
    pub(crate) own_words: Vec<u64>,
    pub(crate) words: Vec<u64>,
    /// The statistics of all anchors.
    pub(crate) stats: Vec<RowStats>,
    /// The weights of all anchors, where there are weights.
    pub(crate) weights: Vec<f32>,
    pub(crate) gathered: Gathered,
    pub(crate) mining: MiningMemory,
}

/// What a backward pass needs to know of the anchors of all ranks.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) anchors: Vec<f32>,
    /// The rows of their positives, where these are no candidates.
    pub(crate) positives: Vec<f32>,
    /// The positives of this rank's anchors and of all, where they are given one by one.
    own_indices: Vec<i64>,
    pub(crate) indices: Vec<i64>,
    /// Their labels, where there are labels.
    pub(crate) labels: Vec<u64>,
    /// Where there are lists of excluded candidates: how many this rank's anchors have; where those of each anchor
    /// begin, and where the last ones end; and the candidates of all.
    own_lengths: Vec<usize>,
    pub(crate) list_offsets: Vec<usize>,
    pub(crate) listed: Vec<usize>,
}

/// How many rows of each side the ranks have.
pub(crate) struct SideCounts {
    pub(crate) anchors: RowCounts,
    pub(crate) candidates: RowCounts,
    /// The candidates that lists exclude, each for one anchor.
    pub(crate) listed: RowCounts,
}

impl Ranks {
    /// The processes of `communicator`. Every rank calls it.
    pub fn new(communicator: &impl Communicator) -> Ranks {
        let transport = Transport::new(communicator);
        let counts = || RowCounts::with_capacity(transport.size());
        let rows_of = SideCounts { anchors: counts(), candidates: counts(), listed: counts() };
        let memory = Memory {
            workspace: Workspace::new(),
            rows_of,
            candidates: Vec::new(),
            candidate_labels: Vec::new(),
            own_words: Vec::new(),
            words: Vec::new(),
            stats: Vec::new(),
            weights: Vec::new(),
            gathered: Gathered::default(),
            mining: MiningMemory::default(),
        };
        Ranks { link: Link { records: vec![0; transport.size() * RECORD], transport }, memory }
    }

    /// The number of this process, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.link.transport.rank()
    }

    /// How many processes there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.link.transport.size()
    }

    /// What all calls so far had to do with other ranks, as this rank sees it.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.link.transport.traffic()
    }

    /// Puts the rows of all ranks, of `dim` elements each, into `all`, in the order of ranks. Every rank calls it, with
    /// its own rows; it may have none.
    ///
    /// # Errors
    /// `dim` is 0, or another one than on rank 0; the rows of a rank are not whole rows; there are more than 2^31 rows,
    /// or no memory for them. The same error on every rank.
    ///
    /// # Allocation
    /// None once `all` is long enough.
    pub fn gather_rows(&mut self, rows: &[f32], dim: usize, all: &mut Vec<f32>) -> Result<(), Error> {
        let Ranks { link, memory } = self;
        let counts = &mut memory.rows_of.candidates;
        let mut payload = [0; PAYLOAD];
        payload[..3].copy_from_slice(&[GATHER, dim as u64, rows.len().checked_div(dim).unwrap_or(0) as u64]);
        let records = link.exchange(check_rows(Side::Candidates, rows, dim), payload)?;
        compare(records, &[Setting::Call, Setting::Dim])?;
        counts.set(records.column(2)).map_err(too_many(Side::Candidates, dim))?;
        link.exchange(resize(all, Side::Candidates, counts.total(), dim, 0.0), [0; PAYLOAD])?;
        link.transport.gather_rows(rows, dim, counts, all);
        Ok(())
    }
}

impl Link {
    /// Tells all ranks a status and some numbers. Returns the numbers of all ranks, or the error that all return.
    pub(crate) fn exchange(
        &mut self,
        status: Result<(), hardneg::Error>,
        payload: [u64; PAYLOAD],
    ) -> Result<Records<'_>, Error> {
        let mut own = [0; RECORD];
        own[..STATUS_WORDS].copy_from_slice(&encode(status));
        own[STATUS_WORDS..].copy_from_slice(&payload);
        self.transport.gather_words(&own, &mut self.records);
        Error::first(self.records.chunks_exact(RECORD).map(|record| &record[..STATUS_WORDS]))?;
        Ok(Records(&self.records))
    }
}

impl std::fmt::Debug for Ranks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ranks").field("rank", &self.rank()).field("size", &self.size()).finish_non_exhaustive()
    }
}

/// The numbers that all ranks have told.
#[derive(Clone, Copy)]
pub(crate) struct Records<'a>(&'a [u64]);

impl<'a> Records<'a> {
    /// Those of each rank, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [u64]> + Clone {
        self.0.chunks_exact(RECORD).map(|record| &record[STATUS_WORDS..])
    }

    /// Number `index` of each rank.
    pub(crate) fn column(self, index: usize) -> impl Iterator<Item = u64> + Clone + 'a {
        self.iter().map(move |record| record[index])
    }
}

impl Memory {
    /// Gets the memory for the rows and statistics of a forward pass.
    pub(crate) fn grow_forward(&mut self, rank: usize, shard: &Shard<'_>) -> Result<(), hardneg::Error> {
        let SideCounts { anchors, candidates, .. } = &self.rows_of;
        resize(&mut self.candidates, Side::Candidates, candidates.total(), shard.dim, 0.0)?;
        if let Exclusions::Labels { .. } = shard.exclusions {
            resize(&mut self.candidate_labels, Side::CandidateLabels, candidates.total(), 1, 0)?;
        }
        resize(&mut self.own_words, Side::RowStats, anchors.of(rank).len(), STATS_WORDS, 0)?;
        resize(&mut self.words, Side::RowStats, anchors.total(), STATS_WORDS, 0)?;
        self.stats.clear();
        reserve(&mut self.stats, Side::RowStats, anchors.total(), 1)
    }
}

impl Gathered {
    /// Gets the memory for what [`Gathered::gather`] leaves in it.
    pub(crate) fn grow(&mut self, rank: usize, rows_of: &SideCounts, shard: &Shard<'_>) -> Result<(), hardneg::Error> {
        let (anchors, own) = (rows_of.anchors.total(), rows_of.anchors.of(rank).len());
        resize(&mut self.anchors, Side::Anchors, anchors, shard.dim, 0.0)?;
        if shard.outside().is_some() {
            resize(&mut self.positives, Side::Positives, anchors, shard.dim, 0.0)?;
        }
        match shard.exclusions {
            Exclusions::Labels { .. } => resize(&mut self.labels, Side::AnchorLabels, anchors, 1, 0)?,
            Exclusions::Lists { .. } => {
                resize(&mut self.own_lengths, Side::Exclusions, own, 1, 0)?;
                resize(&mut self.list_offsets, Side::Exclusions, anchors + 1, 1, 0)?;
                resize(&mut self.listed, Side::Exclusions, rows_of.listed.total(), 1, 0)?;
            }
            _ => {}
        }
        if shard.has_indices() {
            resize(&mut self.own_indices, Side::PositiveIndices, own, 1, 0)?;
            resize(&mut self.indices, Side::PositiveIndices, anchors, 1, 0)?;
        }
        Ok(())
    }

    /// Gathers the anchors of all ranks, their positives where these are not known from the pairing, and what is
    /// excluded for them.
    pub(crate) fn gather(&mut self, transport: &Transport, rows_of: &SideCounts, shard: &Shard<'_>) {
        let counts = &rows_of.anchors;
        transport.gather_rows(shard.anchors, shard.dim, counts, &mut self.anchors);
        if let Some(outside) = shard.outside() {
            transport.gather_rows(outside, shard.dim, counts, &mut self.positives);
        }
        match shard.exclusions {
            Exclusions::Labels { anchors: labels, .. } => transport.gather_rows(labels, 1, counts, &mut self.labels),
            Exclusions::Lists { offsets, indices } => {
                for (length, ends) in self.own_lengths.iter_mut().zip(offsets.windows(2)) {
                    *length = ends[1] - ends[0];
                }
                transport.gather_rows(&self.own_lengths, 1, counts, &mut self.list_offsets[1..]);
                self.list_offsets[0] = 0;
                for row in 1..self.list_offsets.len() {
                    self.list_offsets[row] += self.list_offsets[row - 1];
                }
                transport.gather_rows(indices, 1, &rows_of.listed, &mut self.listed);
            }
            _ => {}
        }
        if shard.has_indices() {
            shard.write_indices(&mut self.own_indices);
            transport.gather_rows(&self.own_indices, 1, counts, &mut self.indices);
        }
    }
}

/// Checks that there are whole rows.
pub(crate) fn check_rows(side: Side, rows: &[f32], dim: usize) -> Result<(), hardneg::Error> {
    match rows.len().checked_rem(dim) {
        None => Err(hardneg::Error::ZeroDim),
        Some(0) => Ok(()),
        Some(_) => Err(hardneg::Error::PartialRow { side, dim, actual: rows.len() }),
    }
}

/// Makes `buffer` `rows * columns` elements long.
pub(crate) fn resize<T: Copy>(
    buffer: &mut Vec<T>,
    side: Side,
    rows: usize,
    columns: usize,
    value: T,
) -> Result<(), hardneg::Error> {
    reserve(buffer, side, rows, columns)?;
    buffer.resize(rows * columns, value);
    Ok(())
}

/// Gets memory for `rows * columns` elements in all.
pub(crate) fn reserve<T>(buffer: &mut Vec<T>, side: Side, rows: usize, columns: usize) -> Result<(), hardneg::Error> {
    let overflow = hardneg::Error::SizeOverflow { side, rows, columns };
    let length = rows.checked_mul(columns).ok_or(overflow)?;
    let bytes = length.checked_mul(size_of::<T>()).ok_or(overflow)?;
    let missing = length.saturating_sub(buffer.len());
    buffer.try_reserve_exact(missing).map_err(|_| hardneg::Error::OutOfMemory { bytes })
}
