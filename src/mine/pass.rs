//! What all blocks of a pass share.

use crate::candidates::Candidates;
use crate::rows::Rows;
use crate::screen::Precisions;

/// A pass of all anchors that wait for one precision over all candidates.
#[derive(Clone, Copy)]
pub(super) struct PassContext<'a, T> {
    pub(super) anchors: Rows<'a>,
    pub(super) candidates: Candidates<'a>,
    /// The precisions that a block may change to.
    pub(super) precisions: Precisions,
    /// Whether an earlier pass of the call computed the norms, the candidates' sum and what the task measures of a row.
    pub(super) measured: bool,
    pub(super) task: T,
}
