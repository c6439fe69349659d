//! `Shard`: the rows of a batch that one rank has, and `ShardGradients`, where their gradients go.

use hardneg::{Batch, Exclusions, Positives, Side};

use crate::error::check_length;
use crate::ranks::check_rows;

/// The part of a batch that one rank has: any number of anchors and of candidates, none too. The batch is that of all
/// ranks' anchors and all ranks' candidates, in the order of ranks.
///
/// ```
/// use hardneg_mpi::Shard;
///
/// let (anchors, positives) = ([1.0, 0.0, 0.0, 1.0], [2.0, 1.0, -1.0, 3.0]);
/// let shard = Shard::paired(&anchors, &positives, 2);
/// // Another rank may have no rows at all.
/// let empty = Shard::paired(&[], &[], 2);
/// # let _ = (shard, empty);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Shard<'a> {
    pub(crate) anchors: &'a [f32],
    pub(crate) candidates: &'a [f32],
    pub(crate) dim: usize,
    pub(crate) positives: Positives<'a>,
    pub(crate) paired: bool,
    pub(crate) exclusions: Exclusions<'a>,
}

impl<'a> Shard<'a> {
    /// Some pairs of a paired batch: row `i` of one belongs to row `i` of the other, `dim` elements each. The positives
    /// of all ranks are the candidates.
    pub fn paired(anchors: &'a [f32], positives: &'a [f32], dim: usize) -> Shard<'a> {
        Shard { paired: true, ..Shard::new(anchors, positives, dim, Positives::Identity) }
    }

    /// Some anchors and some candidates of a rectangular batch, `dim` elements each.
    ///
    /// Positives are those of this rank's anchors. Candidates and anchors are numbered over all ranks:
    /// [`Positives::Identity`] and [`Positives::Offset`] count from the first anchor of rank 0, and indices may name
    /// the candidates of any rank. [`Positives::Outside`] has one row for each anchor of this rank.
    pub fn new(anchors: &'a [f32], candidates: &'a [f32], dim: usize, positives: Positives<'a>) -> Shard<'a> {
        Shard { anchors, candidates, dim, positives, paired: false, exclusions: Exclusions::None }
    }

    /// Excludes candidates of any rank: by a label for each anchor and for each candidate of this rank, or by lists for
    /// each anchor of this rank, which name candidates by their number over all ranks. Every rank excludes in the same
    /// way, a rank without rows too: by no labels, or by no lists, whose only offset is 0. A list that all anchors share
    /// ([`Exclusions::Shared`]) is refused with [`hardneg::Error::Offsets`]: each anchor needs a list of its own.
    pub fn excluding(self, exclusions: Exclusions<'a>) -> Shard<'a> {
        Shard { exclusions, ..self }
    }

    /// Checks the lengths of the slices.
    pub(crate) fn check(&self) -> Result<(), hardneg::Error> {
        let Shard { anchors, candidates, dim, positives, paired, exclusions } = *self;
        check_rows(Side::Anchors, anchors, dim)?;
        check_rows(Side::Candidates, candidates, dim)?;
        let rows = anchors.len() / dim;
        check_exclusions(exclusions, rows, candidates.len() / dim)?;
        match positives {
            _ if paired => check_length(Side::Positives, anchors.len(), candidates.len()),
            Positives::Indices(indices) => check_length(Side::PositiveIndices, rows, indices.len()),
            Positives::IndicesU32(indices) => check_length(Side::PositiveIndices, rows, indices.len()),
            Positives::IndicesI64(indices) => check_length(Side::PositiveIndices, rows, indices.len()),
            Positives::Outside(outside) => check_length(Side::Positives, anchors.len(), outside.len()),
            _ => Ok(()),
        }
    }

    /// How many anchors this rank has.
    pub(crate) fn rows(&self) -> usize {
        self.anchors.len().checked_div(self.dim).unwrap_or(0)
    }

    /// How many candidates this rank has.
    pub(crate) fn candidate_rows(&self) -> usize {
        self.candidates.len().checked_div(self.dim).unwrap_or(0)
    }

    /// The rows of positives that are no candidates.
    pub(crate) fn outside(&self) -> Option<&'a [f32]> {
        match self.positives {
            Positives::Outside(rows) => Some(rows),
            _ => None,
        }
    }

    /// Whether the positives of this rank's anchors are given one by one.
    pub(crate) fn has_indices(&self) -> bool {
        matches!(self.positives, Positives::Indices(_) | Positives::IndicesU32(_) | Positives::IndicesI64(_))
    }

    /// Writes the positives that are given one by one and were found to be candidates.
    pub(crate) fn write_indices(&self, into: &mut [i64]) {
        match self.positives {
            Positives::Indices(indices) => {
                into.iter_mut().zip(indices).for_each(|(into, &index)| *into = index as i64);
            }
            Positives::IndicesU32(indices) => {
                into.iter_mut().zip(indices).for_each(|(into, &index)| *into = index.into());
            }
            Positives::IndicesI64(indices) => into.copy_from_slice(indices),
            _ => {}
        }
    }

    /// The batch of this rank's anchors and candidates, which are all.
    pub(crate) fn whole(&self) -> Result<Batch<'a>, hardneg::Error> {
        let Shard { anchors, candidates, dim, positives, paired, .. } = *self;
        let batch = if paired {
            Batch::paired(anchors, candidates, dim)
        } else {
            Batch::new(anchors, candidates, dim, positives)
        };
        batch?.excluding(self.exclusions)
    }

    /// The batch of this rank's anchors, the first of which is anchor `first` of the whole, and all candidates, which
    /// have these labels if there are labels.
    pub(crate) fn batch(
        self,
        first: usize,
        candidates: &'a [f32],
        labels: &'a [u64],
    ) -> Result<Batch<'a>, hardneg::Error> {
        let positives = match self.positives {
            Positives::Identity => Positives::Offset(first),
            Positives::Offset(offset) => Positives::Offset(offset.saturating_add(first)),
            positives => positives,
        };
        let exclusions = match self.exclusions {
            Exclusions::Labels { anchors, .. } => Exclusions::Labels { anchors, candidates: labels },
            others => others,
        };
        Batch::new(self.anchors, candidates, self.dim, positives)?.excluding(exclusions)
    }

    /// An error of a call with this rank's anchors, the first of which is anchor `first` of the whole, as a call with
    /// all anchors would have it.
    pub(crate) fn in_whole(&self, error: hardneg::Error, first: usize) -> hardneg::Error {
        use hardneg::Error as E;
        match error {
            E::NotFinite { side: side @ (Side::Anchors | Side::Positives), row } => {
                E::NotFinite { side, row: first + row }
            }
            E::NotFinite { side: Side::Candidates, row } if self.paired => E::NotFinite { side: Side::Positives, row },
            E::PositiveOutOfRange { row, index, candidates } => {
                E::PositiveOutOfRange { row: first + row, index, candidates }
            }
            E::ExcludedOutOfRange { row, index, candidates } => {
                E::ExcludedOutOfRange { row: first + row, index, candidates }
            }
            E::Offsets { side, row } => E::Offsets { side, row: first + row },
            error => error,
        }
    }
}

/// Checks that there are as many labels as rows, or an offset for each row and one more. What the lists hold is checked
/// with the batch, which a rank without rows has none of. A list that all rows share has no offsets, and is refused.
pub(crate) fn check_exclusions(
    exclusions: Exclusions<'_>,
    rows: usize,
    candidates: usize,
) -> Result<(), hardneg::Error> {
    match exclusions {
        Exclusions::Labels { anchors, candidates: labels } => {
            check_length(Side::AnchorLabels, rows, anchors.len())?;
            check_length(Side::CandidateLabels, candidates, labels.len())
        }
        Exclusions::Lists { offsets, indices } => {
            check_length(Side::Exclusions, rows + 1, offsets.len())?;
            if rows > 0 {
                return Ok(());
            }
            check_length(Side::Exclusions, 0, indices.len())?;
            if offsets == [0] { Ok(()) } else { Err(hardneg::Error::Offsets { side: Side::Exclusions, row: 0 }) }
        }
        Exclusions::None => Ok(()),
        _ => Err(hardneg::Error::Offsets { side: Side::Exclusions, row: 0 }),
    }
}

/// How candidates are excluded, as a number.
pub(crate) fn kind_of(exclusions: Exclusions<'_>) -> u64 {
    match exclusions {
        Exclusions::Labels { .. } => 1,
        Exclusions::Lists { .. } => 2,
        _ => 0,
    }
}

/// The candidates of all lists.
pub(crate) fn listed(exclusions: Exclusions<'_>) -> &[usize] {
    if let Exclusions::Lists { indices, .. } = exclusions { indices } else { &[] }
}

/// Where the gradients of one rank's rows go: the caller's buffers, of the shapes of its own slices.
#[derive(Debug)]
#[must_use]
pub struct ShardGradients<'a> {
    pub(crate) anchors: &'a mut [f32],
    pub(crate) candidates: Option<&'a mut [f32]>,
    pub(crate) positives: Option<&'a mut [f32]>,
    pub(crate) weights: Option<&'a [f32]>,
    pub(crate) accumulate: bool,
}

impl<'a> ShardGradients<'a> {
    /// Gradients with respect to this rank's anchors and to its candidates, to be overwritten. A batch whose
    /// [positives are no candidates](Positives::Outside) needs a buffer for [theirs](ShardGradients::positives), too.
    pub fn new(anchors: &'a mut [f32], candidates: &'a mut [f32]) -> ShardGradients<'a> {
        ShardGradients { candidates: Some(candidates), ..ShardGradients::of_anchors(anchors) }
    }

    /// Gradients with respect to this rank's anchors alone, to be overwritten: for candidates that are not trained.
    pub fn of_anchors(anchors: &'a mut [f32]) -> ShardGradients<'a> {
        ShardGradients { anchors, candidates: None, positives: None, weights: None, accumulate: false }
    }

    /// Gradients with respect to this rank's positives that are no candidates as well, to be overwritten.
    pub fn positives(self, positives: &'a mut [f32]) -> ShardGradients<'a> {
        ShardGradients { positives: Some(positives), ..self }
    }

    /// A factor for each of this rank's anchors, by which its loss counts, as [`hardneg::Gradients::weights`] has it.
    /// Every rank passes weights if one does; a rank without anchors passes none.
    pub fn weights(self, weights: &'a [f32]) -> ShardGradients<'a> {
        ShardGradients { weights: Some(weights), ..self }
    }

    /// Adds to what the buffers hold, as [`hardneg::Gradients::accumulate`] does.
    pub fn accumulate(self) -> ShardGradients<'a> {
        ShardGradients { accumulate: true, ..self }
    }

    /// Checks the lengths of the buffers.
    pub(crate) fn check(&self, shard: &Shard<'_>) -> Result<(), hardneg::Error> {
        check_length(Side::AnchorGradients, shard.anchors.len(), self.anchors.len())?;
        if let Some(candidates) = &self.candidates {
            check_length(Side::CandidateGradients, shard.candidates.len(), candidates.len())?;
        }
        if self.positives.is_some() || self.candidates.is_some() {
            let expected = shard.outside().map_or(0, <[f32]>::len);
            check_length(Side::PositiveGradients, expected, self.positives.as_ref().map_or(0, |rows| rows.len()))?;
        }
        self.weights.map_or(Ok(()), |weights| check_length(Side::Weights, shard.rows(), weights.len()))
    }

    /// Fails with the first weight that is not finite; the first one is that of anchor `first` of the whole.
    pub(crate) fn check_weights(&self, first: usize) -> Result<(), hardneg::Error> {
        match self.weights.unwrap_or_default().iter().position(|weight| !weight.is_finite()) {
            Some(row) => Err(hardneg::Error::NotFinite { side: Side::Weights, row: first + row }),
            None => Ok(()),
        }
    }

    /// The buffers as a call of one process takes them, with the weights of all its anchors.
    pub(crate) fn into_gradients<'b>(self, weights: Option<&'b [f32]>) -> hardneg::Gradients<'b>
    where
        'a: 'b,
    {
        let ShardGradients { anchors, candidates, positives, accumulate, .. } = self;
        let gradients = match candidates {
            Some(candidates) => hardneg::Gradients::new(anchors, candidates),
            None => hardneg::Gradients::of_anchors(anchors),
        };
        let gradients = match positives {
            Some(positives) => gradients.positives(positives),
            None => gradients,
        };
        let gradients = if let Some(weights) = weights { gradients.weights(weights) } else { gradients };
        if accumulate { gradients.accumulate() } else { gradients }
    }
}
