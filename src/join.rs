//! Work that is divided over threads, or not: one function for both, with a parameter that joins.

/// How two halves of some work are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// One after the other.
    Serial,
    /// On rayon's ambient pool, as `rayon::join` decides.
    #[cfg(feature = "rayon")]
    Rayon,
}

impl Join {
    fn both(self, first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
        match self {
            Join::Serial => {
                first();
                second();
            }
            #[cfg(feature = "rayon")]
            Join::Rayon => {
                rayon::join(first, second);
            }
        }
    }

    /// The number of the thread that asks, below [`Join::threads`], while it works on a block.
    pub(crate) fn thread(self) -> usize {
        match self {
            Join::Serial => 0,
            #[cfg(feature = "rayon")]
            Join::Rayon => rayon::current_thread_index().unwrap_or(0),
        }
    }

    /// How many threads may run at once.
    pub(crate) fn threads(self) -> usize {
        match self {
            Join::Serial => 1,
            #[cfg(feature = "rayon")]
            Join::Rayon => rayon::current_num_threads(),
        }
    }
}

/// Some work on consecutive blocks that can be divided between blocks.
pub(crate) trait Divide: Sized + Send {
    /// How many blocks there are.
    fn blocks(&self) -> usize;
    /// The first `blocks` blocks, and the rest.
    fn divide(self, blocks: usize) -> (Self, Self);
}

/// Calls `body` once for each block of `work`. Nothing is allocated; the order is ascending when serial.
pub(crate) fn for_each_block<D: Divide>(join: Join, work: D, body: &(impl Fn(D) + Sync)) {
    match work.blocks() {
        0 => {}
        1 => body(work),
        blocks => {
            let (first, second) = work.divide(blocks / 2);
            join.both(|| for_each_block(join, first, body), || for_each_block(join, second, body));
        }
    }
}
