//! What a contender has to do, and how it is made.

use crate::common::OwnedBatch;
use crate::row::Row;

/// The margin of all measurements.
pub(crate) const MARGIN: f32 = 0.25;

/// A contender with all its memory, for batches of one shape.
pub(crate) trait Rival: Send {
    /// The loss of a batch.
    fn run(&mut self, pairs: &OwnedBatch) -> f64;

    /// Does the same, and writes the rows of the batch.
    fn run_into(&mut self, pairs: &OwnedBatch, rows: &mut [Row]);
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
