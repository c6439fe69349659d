//! Who competes: everybody does the whole job, from rows that are not normalised to the loss.

mod blocked;
mod gemm;
mod naive;
mod ndarray;
mod ours;
mod reduce;

pub(crate) use blocked::{Blocked, Product};

use super::common::{Pairs, all_threads};

/// The margin of all measurements.
pub(crate) const MARGIN: f32 = 0.25;

/// What a row comes to, as everybody reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub positive: f32,
    pub mean_negative: f32,
    /// Index and similarity of the closest negative below the positive.
    pub closest: Option<(usize, f32)>,
}

/// A contender with all its memory, for batches of one shape.
pub(crate) trait Rival: Send {
    /// The loss of a batch; the rows are kept.
    fn run(&mut self, pairs: &Pairs) -> f64;

    /// The rows of the last batch.
    fn rows(&self) -> Vec<Row>;
}

/// Makes the contender for so many rows of so many elements.
type Build = Box<dyn Fn(usize, usize) -> Box<dyn Rival> + Sync>;

/// A contender of any shape.
pub(crate) struct Entrant {
    pub name: String,
    pub threads: usize,
    /// Whether it is this crate, which must be right to the bit.
    pub ours: bool,
    /// The most multiply-adds that it may be asked for.
    pub most_work: u64,
    pub build: Build,
}

impl Entrant {
    pub(crate) fn new<R: Rival + 'static>(
        name: impl Into<String>,
        threads: usize,
        build: impl Fn(usize, usize) -> R + Sync + 'static,
    ) -> Entrant {
        let build: Build = Box::new(move |rows, dim| Box::new(build(rows, dim)));
        Entrant { name: name.into(), threads, ours: false, most_work: u64::MAX, build }
    }

    /// Whether a batch of so many multiply-adds is anything for it: not so many that a call takes many seconds, and for
    /// several threads so many that it pays to wake them.
    pub(crate) fn admits(&self, work: u64) -> bool {
        work <= self.most_work && (self.threads == 1 || work >= 1 << 22)
    }
}

/// One thread, and all of them where there are more.
pub(crate) fn thread_counts() -> Vec<usize> {
    let mut counts = vec![1, all_threads()];
    counts.dedup();
    counts
}

/// Everybody, for each number of threads: this crate with its default screen first, which the others are compared with.
pub(crate) fn entrants(others: Vec<Entrant>) -> Vec<Entrant> {
    let mut entrants = Vec::new();
    for threads in thread_counts() {
        entrants.extend(ours::entrants(threads));
        entrants.extend(gemm::entrants(threads));
        entrants.push(ndarray::entrant(threads));
    }
    entrants.push(naive::entrant());
    entrants.extend(others);
    entrants.sort_by_key(|entrant| entrant.threads);
    entrants
}

/// This crate with every screen, and the strongest of the rivals, on one thread.
pub(crate) fn finalists() -> Vec<Entrant> {
    let mut entrants = ours::entrants(1);
    entrants.extend(gemm::entrants(1).into_iter().last());
    entrants
}
