//! What the package asks of MPI: the same few numbers of every rank, and rows of every rank in the order of ranks.
//!
//! Rows travel with a row as the MPI datatype, so that MPI's counts, which have 32 bits, count rows and not elements.

use std::cell::Cell;
use std::ops::{AddAssign, Range};
use std::time::{Duration, Instant};

use mpi::collective::{CommunicatorCollectives, Root, SystemOperation};
use mpi::datatype::{Equivalence, MutView, PartitionMut, UserDatatype, View};
use mpi::topology::{Communicator, SimpleCommunicator};
use mpi::{Count, Rank};

/// The ranks of a communicator, which is a duplicate: messages of the program do not meet those of this package.
pub(crate) struct Transport {
    communicator: SimpleCommunicator,
    rank: usize,
    size: usize,
    traffic: Cell<Traffic>,
}

/// What calls had to do with other ranks. Values add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// How many collective operations of MPI there were.
    pub operations: u64,
    /// The bytes that came from other ranks.
    pub received_bytes: u64,
    /// The time in MPI, in which a rank also waits for those that compute longer.
    pub time: Duration,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        self.operations += other.operations;
        self.received_bytes += other.received_bytes;
        self.time += other.time;
    }
}

impl Transport {
    /// The same ranks as `communicator` has. Every rank calls it.
    pub(crate) fn new(communicator: &impl Communicator) -> Transport {
        let communicator = communicator.duplicate();
        let count = |count: Rank| usize::try_from(count).expect("MPI counts ranks from 0");
        let (rank, size) = (count(communicator.rank()), count(communicator.size()));
        Transport { communicator, rank, size, traffic: Cell::default() }
    }

    /// The number of this process.
    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    /// How many processes there are.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// What there was so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic.get()
    }

    /// Runs an operation in which this many elements come from other ranks.
    fn counted<T>(&self, elements: usize, operation: impl FnOnce()) {
        let start = Instant::now();
        operation();
        let mut traffic = self.traffic.get();
        let received_bytes = elements as u64 * size_of::<T>() as u64;
        traffic += Traffic { operations: 1, received_bytes, time: start.elapsed() };
        self.traffic.set(traffic);
    }

    /// Gathers as many words of every rank, in the order of ranks.
    pub(crate) fn gather_words(&self, own: &[u64], all: &mut [u64]) {
        debug_assert_eq!(all.len(), own.len() * self.size);
        self.counted::<u64>(all.len() - own.len(), || self.communicator.all_gather_into(own, all));
    }

    /// Gathers rows of `columns` elements of every rank, in the order of ranks: `counts` says how many each has.
    pub(crate) fn gather_rows<T: Equivalence>(&self, own: &[T], columns: usize, counts: &RowCounts, all: &mut [T]) {
        assert_eq!(own.len(), counts.of(self.rank).len() * columns, "the rows of this rank");
        assert_eq!(all.len(), counts.total() * columns, "the rows of all ranks");
        let (row, received) = (row_type::<T>(columns), all.len() - own.len());
        // SAFETY: `own` has as many rows of this type as `counts` says of this rank, which was asserted.
        let own = unsafe { View::with_count_and_datatype(own, counts.counts[self.rank], &row) };
        // SAFETY: `all` has as many rows of this type as `counts` says of all ranks, which was asserted.
        let mut all = unsafe { MutView::with_count_and_datatype(all, counts.total, &row) };
        let mut parts = PartitionMut::new(&mut all, &counts.counts[..], &counts.starts[..]);
        self.counted::<T>(received, || self.communicator.all_gather_varcount_into(&own, &mut parts));
    }

    /// Copies rows of `columns` elements from rank `root` to all others.
    pub(crate) fn broadcast_rows<T: Equivalence>(&self, root: usize, columns: usize, rows: &mut [T]) {
        let (row, count) = (row_type::<T>(columns), row_count(rows, columns));
        let received = if self.rank == root { 0 } else { rows.len() };
        // SAFETY: `rows` has as many rows of this type, by which its length was divided.
        let mut rows = unsafe { MutView::with_count_and_datatype(rows, count, &row) };
        let process = self.communicator.process_at_rank(as_rank(root));
        self.counted::<T>(received, || process.broadcast_into(&mut rows));
    }

    /// Gathers as many rows of `columns` elements of every rank on rank `root`, in the order of ranks. `all` is not
    /// touched elsewhere.
    pub(crate) fn gather_rows_on<T: Equivalence>(&self, root: usize, own: &[T], columns: usize, all: &mut [T]) {
        let (row, count) = (row_type::<T>(columns), row_count(own, columns));
        let received = all.len().saturating_sub(own.len());
        // SAFETY: `own` has as many rows of this type, by which its length was divided.
        let own = unsafe { View::with_count_and_datatype(own, count, &row) };
        let process = self.communicator.process_at_rank(as_rank(root));
        if self.rank != root {
            return self.counted::<T>(0, || process.gather_into(&own));
        }
        let all_rows = row_count(all, columns);
        assert_eq!(all_rows, count * as_rank(self.size), "as many rows of every rank");
        // SAFETY: `all` has as many rows of this type, by which its length was divided.
        let mut all = unsafe { MutView::with_count_and_datatype(all, all_rows, &row) };
        self.counted::<T>(received, || process.gather_into_root(&own, &mut all));
    }

    /// Writes the smallest of the numbers of all ranks, place by place.
    pub(crate) fn smallest(&self, own: &[f32], all: &mut [f32]) {
        assert_eq!(own.len(), all.len(), "as many numbers as places");
        // Whatever way the numbers take, those of one other rank arrive.
        let received = if self.size > 1 { all.len() } else { 0 };
        self.counted::<f32>(received, || self.communicator.all_reduce_into(own, all, SystemOperation::min()));
    }
}

/// How many whole rows of `columns` elements there are.
fn row_count<T>(rows: &[T], columns: usize) -> Count {
    assert!(rows.len().is_multiple_of(columns), "whole rows");
    Count::try_from(rows.len() / columns).expect("a number of rows that was checked")
}

fn as_rank(rank: usize) -> Rank {
    Rank::try_from(rank).expect("MPI has counted its ranks")
}

/// `columns` elements, at least one, as one MPI datatype.
fn row_type<T: Equivalence>(columns: usize) -> UserDatatype {
    let columns = Count::try_from(columns).expect("a length of rows that was checked");
    UserDatatype::contiguous(columns, &T::equivalent_datatype())
}

/// How many rows each rank has, and with which row of the whole they begin.
#[derive(Debug, Default)]
pub(crate) struct RowCounts {
    counts: Vec<Count>,
    starts: Vec<Count>,
    total: Count,
}

impl RowCounts {
    /// Memory for the counts of `ranks` ranks.
    pub(crate) fn with_capacity(ranks: usize) -> RowCounts {
        RowCounts { counts: Vec::with_capacity(ranks), starts: Vec::with_capacity(ranks), total: 0 }
    }

    /// Takes the counts of all ranks, in order. Fails, with the number of all rows, where MPI cannot count them.
    pub(crate) fn set(&mut self, counts: impl Iterator<Item = u64> + Clone) -> Result<(), u64> {
        let total = counts.clone().fold(0_u64, u64::saturating_add);
        self.total = Count::try_from(total).map_err(|_| total)?;
        self.counts.clear();
        self.starts.clear();
        let mut start = 0;
        for count in counts {
            // No more than the total, which fits.
            let count = count as Count;
            self.counts.push(count);
            self.starts.push(start);
            start += count;
        }
        Ok(())
    }

    /// The rows of one rank.
    pub(crate) fn of(&self, rank: usize) -> Range<usize> {
        let start = self.starts[rank] as usize;
        start..start + self.counts[rank] as usize
    }

    /// The rows of all ranks.
    pub(crate) fn total(&self) -> usize {
        self.total as usize
    }
}
