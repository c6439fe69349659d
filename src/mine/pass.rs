//! What all blocks of a pass share.

use crate::candidates::Candidates;
use crate::positives::Positives;
use crate::row_stats::Negatives;
use crate::rows::Rows;
use crate::screen::Precisions;

/// A pass of all anchors that wait for one precision over all candidates.
#[derive(Clone, Copy)]
pub(super) struct PassContext<'a> {
    pub(super) anchors: Rows<'a>,
    pub(super) positives: Positives<'a>,
    pub(super) candidates: Candidates<'a>,
    pub(super) negatives: Negatives,
    /// The precisions that a block may change to.
    pub(super) precisions: Precisions,
    /// Whether an earlier pass of the call computed the norms, the candidates' sum and each row's positive and mean.
    pub(super) measured: bool,
}
