//! What a contender has to do, and how it is made.

use crate::common::OwnedBatch;
use crate::row::Row;
use crate::shapes::Case;

/// The margin of all measurements: of the random batches both hinges of nearly every row are above 0, so that every
/// part of a row shows in the loss, and has a gradient.
pub(crate) const MARGIN: f32 = 1.0;

/// A contender with all its memory, for batches of one shape, in which the positive of anchor `i` is candidate `i`.
pub(crate) trait Rival: Send {
    /// The loss of a batch: what is timed. It need not find the indices of the closest negatives.
    fn run(&mut self, pairs: &OwnedBatch) -> f64;

    /// Writes the rows of the batch: what is compared with the reference.
    fn run_into(&mut self, pairs: &OwnedBatch, rows: &mut [Row]);
}

/// Makes the contender for a shape.
type Build = Box<dyn Fn(&Case) -> Box<dyn Rival> + Sync>;

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
        build: impl Fn(&Case) -> R + Sync + 'static,
    ) -> Entrant {
        let build: Build = Box::new(move |shape| Box::new(build(shape)));
        Entrant { name: name.into(), threads, ours: false, most_work: u64::MAX, build }
    }

    /// Whether a batch of so many multiply-adds is anything for it, and not so many that a call takes many seconds.
    pub(crate) fn admits(&self, work: u64) -> bool {
        work <= self.most_work && Entrant::wakes(self.threads, work)
    }

    /// Whether so many multiply-adds are worth waking several threads for.
    pub(crate) fn wakes(threads: usize, work: u64) -> bool {
        threads == 1 || work >= 1 << 22
    }
}
