//! `Workspace`: the memories of all stages of a call, put together.

use core::fmt;

use crate::excluded::ExclusionMemory;
use crate::gradient::GradientMemory;
use crate::mine::MineMemory;

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
}

impl Workspace {
    /// An empty workspace; the first call fills it.
    #[must_use]
    pub fn new() -> Workspace {
        Workspace::default()
    }
}

impl fmt::Debug for Workspace {
    /// Sizes in place of the contents, which are megabytes of numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (anchors, candidates, panel_words) = self.mining.sizes();
        f.debug_struct("Workspace")
            .field("anchors", &anchors)
            .field("candidates", &candidates)
            .field("panel_words", &panel_words)
            .finish_non_exhaustive()
    }
}
