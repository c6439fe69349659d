//! Work divided over threads or done on one, by the same function with a parameter that joins; and the scratch memory
//! of each thread.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

#[cfg(feature = "rayon")]
use crate::arch::in_default_environment;
use crate::error::{Error, Side};
use crate::memory::{bytes_of, grow};

/// Where a call runs. It changes the time, never a bit of the result.
///
/// The names are `serial` and `rayon`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Threads {
    /// On the calling thread. The right choice for servers, whose requests are spread over threads already.
    #[default]
    Serial,
    /// On rayon's ambient pool: the one the call is made in, or the global one. Calls too small to gain from it stay on
    /// the calling thread, and so do all calls where rayon cannot start its global pool, or where the feature `rayon`
    /// is off. Of few anchors or queries, against a bank or raw rows, each thread searches a part of the candidates.
    ///
    /// In a pool, a thread that waits for the other half of a call takes up other work of the pool meanwhile: do not hold
    /// a lock or a `RefCell` of the thread during the call ([`Workspace`](crate::Workspace) shows what to do instead).
    ///
    /// In a process that was forked, the threads of its parent's pool do not exist, and a call that waits for them hangs.
    /// Fork before the first call on rayon, or compute with `Threads::Serial` in the child (in Python, start workers by
    /// `spawn` or `forkserver`).
    Rayon,
}

/// A call that is estimated to take less on one thread stays there. On two cores of Zen 5, calls of 30 to 160 us took
/// 0.6 to 1 times as long as on one if they followed each other, but 40 to 50 us longer after a pause of the pool, in
/// which the system has to find a core for each of its threads.
const WORTH_WAKING: f64 = 150e3;

impl Threads {
    /// How a call with this option runs its halves, from about how many nanoseconds they take on one thread. Rayon is
    /// asked, which may start its pool, only where there is so much work that several threads gain something.
    pub(crate) fn join(self, nanoseconds: f64) -> Join {
        if nanoseconds < WORTH_WAKING {
            return Join::Serial;
        }
        match self {
            #[cfg(feature = "rayon")]
            Threads::Rayon if ambient::is_usable() => Join::Rayon,
            _ => Join::Serial,
        }
    }
}

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

    /// Runs the work of one block. A thread of rayon's may have a floating-point environment of its own.
    fn run_block(self, block: impl FnOnce()) {
        match self {
            Join::Serial => block(),
            #[cfg(feature = "rayon")]
            Join::Rayon => in_default_environment(block),
        }
    }

    /// Runs `work` where its joins cost the least: on a thread of the pool, once for all of them. A join from outside
    /// of the pool wakes a thread of it and waits until that one is done.
    pub(crate) fn enter<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        match self {
            Join::Serial => work(),
            #[cfg(feature = "rayon")]
            Join::Rayon => {
                let (mut work, mut result) = (Some(work), None);
                in_pool(&mut || result = work.take().map(|work| work()));
                result.expect("the pool has done its work")
            }
        }
    }

    /// The number of the calling thread, below [`Join::threads`], while it works on a block.
    fn thread(self) -> usize {
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

/// Runs `work` on a thread of the pool. It has no type of its own, so that rayon's code in it is compiled once.
#[cfg(feature = "rayon")]
fn in_pool(work: &mut (dyn FnMut() + Send)) {
    rayon::scope(|_| in_default_environment(work));
}

#[cfg(feature = "rayon")]
mod ambient {
    //! Whether there is a pool to work in. Where the system refuses threads (a limit on memory or on processes, a
    //! `RAYON_NUM_THREADS` beyond it) rayon panics at the first use of its global pool, and at every later one.

    use std::panic::catch_unwind;
    use std::sync::OnceLock;

    /// Whether the calling thread belongs to a pool, or the global pool is there or can be started. The first call that
    /// finds that it cannot prints rayon's message.
    pub(super) fn is_usable() -> bool {
        static GLOBAL: OnceLock<bool> = OnceLock::new();
        rayon::current_thread_index().is_some()
            || *GLOBAL.get_or_init(|| catch_unwind(rayon::current_num_threads).is_ok())
    }
}

/// Some work on consecutive blocks that can be divided between blocks.
pub(crate) trait Divide: Sized + Send {
    /// How many blocks there are.
    fn blocks(&self) -> usize;
    /// The first `blocks` blocks, and the rest.
    fn divide(self, blocks: usize) -> (Self, Self);
}

/// A slice in blocks of `size` elements, the last of which may be shorter.
pub(crate) struct Chunks<'a, T> {
    pub(crate) slice: &'a mut [T],
    size: usize,
}

impl<'a, T> Chunks<'a, T> {
    pub(crate) fn new(slice: &'a mut [T], size: usize) -> Chunks<'a, T> {
        Chunks { slice, size }
    }

    /// The same blocks, lent out for a shorter time.
    pub(crate) fn lend(&mut self) -> Chunks<'_, T> {
        Chunks { slice: &mut *self.slice, size: self.size }
    }
}

impl<T: Send> Divide for Chunks<'_, T> {
    fn blocks(&self) -> usize {
        self.slice.len().div_ceil(self.size)
    }

    fn divide(self, blocks: usize) -> (Self, Self) {
        let (first, rest) = self.slice.split_at_mut(blocks * self.size);
        (Chunks { slice: first, size: self.size }, Chunks { slice: rest, size: self.size })
    }
}

/// Two kinds of work with as many blocks, block by block together.
impl<A: Divide, B: Divide> Divide for (A, B) {
    fn blocks(&self) -> usize {
        debug_assert_eq!(self.0.blocks(), self.1.blocks());
        self.0.blocks()
    }

    fn divide(self, blocks: usize) -> (Self, Self) {
        let ((a, a_rest), (b, b_rest)) = (self.0.divide(blocks), self.1.divide(blocks));
        ((a, b), (a_rest, b_rest))
    }
}

/// Calls `body` once for each block of `work`, with the block's index. Nothing is allocated; the order is ascending
/// when serial.
pub(crate) fn for_each_block<D: Divide>(join: Join, work: D, body: &(dyn Fn(usize, D) + Sync)) {
    divide(join, 0, &mut BlocksOf { work: Some(work), body });
}

/// The blocks of some [`Divide`] and what is done with each: work of every type as one, so that what joins halves, with
/// rayon's code in it, is compiled once.
trait Blocks: Send {
    fn count(&self) -> usize;
    /// Works on the one block that there is.
    fn run(&mut self, index: usize);
    /// Calls `both` with the first `blocks` blocks, and the rest.
    fn halve(&mut self, blocks: usize, both: &mut dyn FnMut(&mut dyn Blocks, &mut dyn Blocks));
}

struct BlocksOf<'a, D> {
    /// Taken when it is worked on.
    work: Option<D>,
    body: &'a (dyn Fn(usize, D) + Sync),
}

impl<D: Divide> Blocks for BlocksOf<'_, D> {
    fn count(&self) -> usize {
        self.work.as_ref().map_or(0, D::blocks)
    }

    fn run(&mut self, index: usize) {
        if let Some(work) = self.work.take() {
            (self.body)(index, work);
        }
    }

    fn halve(&mut self, blocks: usize, both: &mut dyn FnMut(&mut dyn Blocks, &mut dyn Blocks)) {
        if let Some((front, back)) = self.work.take().map(|work| work.divide(blocks)) {
            let half = |work| BlocksOf { work: Some(work), body: self.body };
            both(&mut half(front), &mut half(back));
        }
    }
}

/// Works on blocks the first of which has index `first`.
fn divide(join: Join, first: usize, blocks: &mut dyn Blocks) {
    match blocks.count() {
        0 => {}
        1 => join.run_block(|| blocks.run(first)),
        count => {
            let middle = count / 2;
            blocks.halve(middle, &mut |front, back| {
                join.both(|| divide(join, first, front), || divide(join, first + middle, back));
            });
        }
    }
}

/// Scratch memory of each thread, which stays in the thread's cache from one block to the next.
#[derive(Debug, Default)]
pub(crate) struct PerThread<T>(Vec<Mutex<T>>);

impl<T: Default> PerThread<T> {
    /// Grows to `threads` threads, the scratch of each by `grow_one`.
    pub(crate) fn grow(
        &mut self,
        threads: usize,
        mut grow_one: impl FnMut(&mut T) -> Result<(), Error>,
    ) -> Result<&PerThread<T>, Error> {
        let scratch = grow(&mut self.0, Side::Anchors, threads, 1)?;
        for scratch in scratch {
            grow_one(scratch.get_mut().unwrap_or_else(PoisonError::into_inner))?;
        }
        Ok(self)
    }

    /// The bytes of the scratch of all threads, that of each by `bytes_of_one`. No block is worked on.
    pub(crate) fn bytes(&self, bytes_of_one: impl Fn(&T) -> usize) -> usize {
        let of_one = |scratch: &Mutex<T>| bytes_of_one(&scratch.lock().unwrap_or_else(PoisonError::into_inner));
        bytes_of(&self.0) + self.0.iter().map(of_one).sum::<usize>()
    }

    /// How many threads there is scratch for.
    pub(crate) fn threads(&self) -> usize {
        self.0.len()
    }

    /// The scratch of the calling thread, for one block. The lock is free, as a thread's index in its pool is its place
    /// here, and it takes the lock for one block at a time. What a thread that panicked left does not matter.
    ///
    /// # Panics
    /// A function of the caller's, which a block calls, has waited for rayon, and rayon has begun another block of the
    /// same call on this thread. Waiting for the lock would be waiting for oneself.
    pub(crate) fn of(&self, join: Join) -> MutexGuard<'_, T> {
        match self.0[join.thread()].try_lock() {
            Ok(scratch) => scratch,
            Err(TryLockError::Poisoned(scratch)) => scratch.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("a function that a call on rayon calls must not wait for rayon"),
        }
    }
}
