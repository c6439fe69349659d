//! What all blocks of a pass share.

use super::candidates::Candidates;
use crate::rows::Rows;
use crate::screen::Precision;

/// A pass of all anchors that wait for one precision over all candidates.
#[derive(Clone, Copy)]
pub(super) struct PassContext<'a, T> {
    pub(super) anchors: Rows<'a>,
    pub(super) candidates: Candidates<'a>,
    /// The finest precision that a block may change to.
    pub(super) finest: Precision,
    /// Whether an earlier pass of the call computed the norms, the candidates' sum and what the task measures of a row.
    pub(super) measured: bool,
    pub(super) task: T,
}
