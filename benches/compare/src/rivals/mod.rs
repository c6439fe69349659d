//! Who competes: everybody does the whole job, from rows that are not normalised to the loss.

mod buffer;
mod entrant;
mod gemm;
mod loops;
mod ours;
mod prepared;
mod reduce;
mod top;
mod vectorised;

pub(crate) use entrant::{Entrant, MARGIN, Rival};
pub(crate) use ours::FIXED_SCREEN;
pub(crate) use prepared::Prepared;
pub(crate) use top::Top;
pub(crate) use vectorised::{Loop, vectorised};

use hardneg::{Threads, TripletLoss};

use crate::common::all_threads;

/// One thread, and all of them where there are more.
pub(crate) fn thread_counts() -> Vec<usize> {
    let mut counts = vec![1, all_threads()];
    counts.dedup();
    counts
}

/// Where this crate's calls run with so many threads, in a pool of as many where there are several.
pub(crate) fn threads_for(count: usize) -> Threads {
    if count == 1 { Threads::Serial } else { Threads::Rayon }
}

/// Everybody, for each number of threads: this crate with its default screen first, which the others are compared with.
pub(crate) fn entrants(plan: TripletLoss) -> Vec<Entrant> {
    let mut entrants = Vec::new();
    for threads in thread_counts() {
        entrants.push(ours::default(plan, threads));
        if threads == 1 {
            entrants.extend(ours::fixed_screens(plan));
        }
        entrants.extend(gemm::entrants(threads));
    }
    entrants
}

/// This crate with its default screen, then the rivals that need the least for a single call, on one thread.
pub(crate) fn single_calls(plan: TripletLoss) -> [Entrant; 3] {
    let [gemm, _] = gemm::entrants(1);
    [ours::default(plan, 1), gemm, loops::entrant()]
}

/// This crate, and the strongest of the rivals, on one thread.
pub(crate) fn finalists(plan: TripletLoss) -> Vec<Entrant> {
    let [_, strips] = gemm::entrants(1);
    vec![ours::default(plan, 1), strips]
}
