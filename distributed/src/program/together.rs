//! Failures of one rank that end the work of all.

use std::ops::Range;

use hardneg_mpi::Ranks;
use mpi::collective::Root;
use mpi::datatype::Equivalence;
use mpi::topology::{Communicator, SimpleCommunicator};

/// The most elements that travel at a time: MPI counts with 32 bits.
const MOST: usize = 1 << 30;

/// Why a rank ends without a result.
pub(crate) enum Failed {
    /// This rank is the first one that knows why.
    Here(String),
    /// Another one is.
    Elsewhere,
}

/// The results of all ranks, or a failure on all of them.
pub(crate) fn all<T>(ranks: &mut Ranks, result: Result<T, String>) -> Result<T, Failed> {
    let (mut failed, own) = (Vec::new(), if result.is_ok() { 0.0 } else { 1.0 });
    let rank = ranks.rank();
    same(rank, ranks.gather_rows(&[own], 1, &mut failed), |error| error.to_string())?;
    match (failed.iter().position(|&failed| failed != 0.0), result) {
        (None, Ok(result)) => Ok(result),
        (Some(first), Err(message)) if first == rank => Err(Failed::Here(message)),
        _ => Err(Failed::Elsewhere),
    }
}

/// A result that is the same on all ranks, whose error rank 0 tells.
pub(crate) fn same<T>(
    rank: usize,
    result: Result<T, hardneg_mpi::Error>,
    describe: impl FnOnce(hardneg_mpi::Error) -> String,
) -> Result<T, Failed> {
    result.map_err(|error| if rank == 0 { Failed::Here(describe(error)) } else { Failed::Elsewhere })
}

/// Copies what rank 0 has to all others, which have as many elements.
pub(crate) fn from_first<T: Equivalence>(values: &mut [T]) {
    let world = SimpleCommunicator::world();
    values.chunks_mut(MOST).for_each(|part| world.process_at_rank(0).broadcast_into(part));
}

/// The rows of this rank, of so many in all.
pub(crate) fn part(rows: usize, ranks: &Ranks) -> Range<usize> {
    let end = |ranks_before: usize| (rows as u128 * ranks_before as u128 / ranks.size() as u128) as usize;
    end(ranks.rank())..end(ranks.rank() + 1)
}
