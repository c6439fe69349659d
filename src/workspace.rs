//! `Workspace`: the memories of all stages of a call, put together.

use core::fmt;

use crate::bank::Bank;
use crate::batch::Batch;
use crate::error::{Error, Side};
use crate::excluded::ExclusionMemory;
use crate::gradient::GradientMemory;
use crate::loss::TripletLoss;
use crate::memory::grow;
use crate::mine::{self, MineMemory};
use crate::miner::Miner;
use crate::mining_batch::MiningBatch;
use crate::reduction::Loss;
use crate::screen::Screening;

/// The scratch memory of a call, reusable for calls of any shape.
///
/// It holds about `n * dim` words of 32 bits for `n` candidates (less with an integer screen), a block of anchors for
/// each thread, and a few numbers for each row; never the m x n matrix. A backward pass needs a few more numbers for
/// each row. It grows when a larger shape arrives and does not shrink; what an earlier call left in it does not matter
/// to a later one. After the first call of a shape, a serial call of that or a smaller shape with the same screen and
/// backend allocates nothing.
///
/// On several threads this crate allocates nothing either, but rayon may: entering its pool from a thread outside of it
/// makes rayon's own queue allocate a block every 63 entries.
///
/// The result of a call borrows its workspace, which is free again when the result is dropped. A server keeps one
/// workspace for each of its threads.
///
/// In a rayon pool, a call with [`Threads::Rayon`](crate::Threads::Rayon) that waits for its other half lets its thread
/// take up other work of the pool meanwhile, such as the next request, in the middle of the call. A workspace in a
/// `thread_local!` `RefCell` that is borrowed during the call is then borrowed a second time, which panics. Take it out
/// of its cell for the call, or compute with `Threads::Serial` in the pool:
///
/// ```
/// use std::cell::Cell;
///
/// use hardneg::{Batch, Error, Threads, TripletLoss, Workspace};
///
/// thread_local! {
///     static WORKSPACE: Cell<Workspace> = Cell::default();
/// }
///
/// fn loss(rows: &[f32]) -> Result<f64, Error> {
///     // A second request on this thread finds an empty workspace, and fills it.
///     let mut workspace = WORKSPACE.take();
///     let plan = TripletLoss::new().threads(Threads::Rayon);
///     let loss = plan.forward(Batch::paired(rows, rows, 2)?, &mut workspace)?.loss().loss;
///     WORKSPACE.set(workspace);
///     Ok(loss)
/// }
/// # assert!(loss(&[1.0, 0.0, 0.0, 1.0]).is_ok());
/// ```
///
/// ```
/// use hardneg::{Batch, TripletLoss, Workspace};
///
/// let mut workspace = Workspace::new();
/// let rows = [1.0, 0.0, 0.0, 1.0];
/// let batch = Batch::paired(&rows, &rows, 2)?;
/// let forward = TripletLoss::new().forward(batch, &mut workspace)?;
/// assert_eq!(forward.row_stats()[1].positive(), 1.0);
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Default)]
pub struct Workspace {
    pub(crate) exclusions: ExclusionMemory,
    pub(crate) mining: MineMemory,
    pub(crate) gradient: GradientMemory,
    pub(crate) totals: Totals,
}

/// What the last call over a batch has found beside its rows. It stays here: a small batch takes little longer than some
/// moves of these numbers would.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) loss: Loss,
    pub(crate) screening: Screening,
}

impl Workspace {
    /// An empty workspace; the first call fills it.
    #[must_use]
    pub fn new() -> Workspace {
        Workspace::default()
    }

    /// The bytes of the memory that it has got.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.exclusions.bytes() + self.mining.bytes() + self.gradient.bytes()
    }

    /// Grows to what a `miner` needs for up to `queries` queries against a bank, so that the first request costs no more
    /// than those after it. Lists of exclusions and of known positives, whose lengths are not known yet, are copied into
    /// memory that grows when a longer one comes.
    ///
    /// ```
    /// use hardneg::{Bank, Miner, MiningBatch, Workspace};
    ///
    /// let bank = Bank::new(vec![0.5; 8 * 100], 8)?;
    /// let (miner, mut workspace) = (Miner::new().k(5), Workspace::new());
    /// workspace.warm(&miner, 8, &bank)?;
    /// let bytes = workspace.bytes();
    /// let found = miner.mine(MiningBatch::against(&[0.25; 8 * 3], &bank)?, &mut workspace)?;
    /// assert_eq!(found.queries(), 3);
    /// assert_eq!(workspace.bytes(), bytes);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// k is 0; a threshold is not finite; there are no queries, or no rows in the bank; there is no memory.
    ///
    /// # Allocation
    /// What [`Miner::mine`] would allocate, and that many rows for a moment.
    #[doc(alias = "with_capacity")]
    pub fn warm(&mut self, miner: &Miner, queries: usize, bank: &Bank<'_>) -> Result<(), Error> {
        let mut rows = Vec::new();
        let rows = grow(&mut rows, Side::Queries, queries, bank.dim())?;
        let batch = MiningBatch::against(rows, bank)?;
        mine::reserve_neighbours(miner.plan(batch)?, batch, &mut self.mining)
    }

    /// Grows to what a `loss` and its gradients need for batches of the shape of `batch`, raw or against a bank, so that
    /// the first step costs no more than those after it. Nothing is computed: rows of zeros will do. What exclusions
    /// need depends on their labels and lists, and is got by the first call that has them.
    ///
    /// ```
    /// use hardneg::{Batch, Gradients, TripletLoss, Workspace};
    ///
    /// let (loss, mut workspace) = (TripletLoss::new(), Workspace::new());
    /// let zeros = [0.0; 16 * 8];
    /// workspace.warm_loss(&loss, Batch::paired(&zeros, &zeros, 8)?)?;
    /// let bytes = workspace.bytes();
    /// # let rows: Vec<f32> = (0..16 * 8).map(|element| (element * element % 31) as f32).collect();
    /// # let (anchors, positives) = (&rows, &rows);
    /// let (mut by_anchors, mut by_positives) = ([0.0; 16 * 8], [0.0; 16 * 8]);
    /// let gradients = Gradients::new(&mut by_anchors, &mut by_positives);
    /// loss.forward_backward(Batch::paired(anchors, positives, 8)?, gradients, &mut workspace)?;
    /// assert_eq!(workspace.bytes(), bytes);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// The margin is not finite; there is no memory.
    ///
    /// # Allocation
    /// What [`TripletLoss::forward_backward`] would allocate.
    pub fn warm_loss(&mut self, loss: &TripletLoss, batch: Batch<'_>) -> Result<(), Error> {
        loss.reserve(&batch, self)
    }
}

impl fmt::Debug for Workspace {
    /// Sizes in place of the contents, which are megabytes of numbers: for how many anchors of losses, queries of mining
    /// and candidates outside of banks there is memory, and the bytes of all of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (anchors, queries, candidates) = self.mining.sizes();
        f.debug_struct("Workspace")
            .field("anchors", &anchors)
            .field("queries", &queries)
            .field("candidates", &candidates)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
