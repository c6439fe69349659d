//! The forward pass in calls of some anchors each, so that long work can show how far it is. Each row and the loss have
//! the same bits however the anchors are split.

use hardneg::{Batch, Error, Forward, Gradients, Loss, Positives, RowStats, Screening, Side, TripletLoss, Workspace};

use super::excluded::{Excluded, Part};
use crate::memory::room;
use crate::npy::Embeddings;

/// The result of all calls.
pub struct Scored {
    /// The loss over all anchors, with the anchors and candidates of norm 0.
    pub loss: Loss,
    /// The numbers of every anchor.
    pub stats: Vec<RowStats>,
    /// How the screens did.
    pub screening: Screening,
}

/// What to compute, and in what steps. The positive of anchor `i` is candidate `i`, or row `i` of the positives.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// How to compute it.
    pub plan: &'a TripletLoss,
    /// The anchors.
    pub anchors: &'a Embeddings,
    /// The candidates: the positives, and perhaps more rows.
    pub candidates: &'a Embeddings,
    /// The positive of each anchor, where they are no candidates.
    pub positives: Option<&'a Embeddings>,
    /// Candidates that are no negatives of some anchors.
    pub excluded: &'a Excluded,
    /// The anchors of a call.
    pub chunk: usize,
}

impl Work<'_> {
    /// Scores all anchors, and tells `done` after each call how many it had.
    pub fn forward(&self, workspace: &mut Workspace, done: impl Fn(usize)) -> Result<Scored, Error> {
        // Checked as a whole first, so that an error of shape speaks of the files and not of a chunk.
        self.batch(&self.anchors.values, 0, &Excluded::Nothing.part(0, 0)?)?;
        let mut parts = Parts::new(self.anchors.rows)?;
        for rows in self.anchors.values.chunks(self.chunk * self.anchors.dim) {
            let first = parts.stats.len();
            let excluded = self.excluded.part(first, rows.len() / self.anchors.dim)?;
            let batch = self.batch(rows, first, &excluded)?;
            let part = self.plan.forward(batch, workspace).map_err(|error| in_file(error, first))?;
            parts.add(&part);
            done(parts.stats.len() - first);
        }
        parts.scored(self.plan)
    }

    /// Both passes of all anchors in one call, whatever the chunk; calls `between` after the forward pass.
    pub(crate) fn forward_backward(
        &self,
        gradients: Gradients<'_>,
        workspace: &mut Workspace,
        between: impl FnOnce(),
    ) -> Result<Scored, Error> {
        let excluded = self.excluded.part(0, self.anchors.rows)?;
        let batch = self.batch(&self.anchors.values, 0, &excluded)?;
        let mut parts = Parts::new(self.anchors.rows)?;
        let mut forward = self.plan.forward(batch, workspace)?;
        parts.add(&forward);
        let scored = parts.scored(self.plan)?;
        between();
        forward.backward(gradients)?;
        Ok(scored)
    }

    /// The batch of some rows, the first of which is row `first` of the anchors.
    fn batch<'b>(&'b self, rows: &'b [f32], first: usize, excluded: &'b Part<'_>) -> Result<Batch<'b>, Error> {
        let dim = self.anchors.dim;
        let outside = |positives: &'b Embeddings| {
            // As many as anchors, or all of them, for the error of the batch.
            let part = positives.values.get(first * dim..first * dim + rows.len());
            Positives::Outside(part.filter(|_| positives.rows == self.anchors.rows).unwrap_or(&positives.values))
        };
        let positives = self.positives.map_or(Positives::Offset(first), outside);
        Batch::new(rows, &self.candidates.values, dim, positives)?.excluding(excluded.exclusions())
    }
}

/// What the calls so far have come to.
struct Parts {
    stats: Vec<RowStats>,
    zero_anchors: Option<usize>,
    zero_candidates: Option<usize>,
    zero_positives: Option<usize>,
    screening: Screening,
}

impl Parts {
    /// No call yet; there will be so many rows.
    fn new(rows: usize) -> Result<Parts, Error> {
        Ok(Parts {
            stats: room(rows)?,
            zero_anchors: Some(0),
            zero_candidates: None,
            zero_positives: Some(0),
            screening: Screening::default(),
        })
    }

    /// Adds a call.
    fn add(&mut self, part: &Forward<'_, '_>) {
        let Loss { zero_anchors, zero_candidates, zero_positives, .. } = part.loss();
        self.stats.extend_from_slice(part.row_stats());
        let add = |sum: Option<usize>, more: Option<usize>| Some(sum? + more?);
        self.zero_anchors = add(self.zero_anchors, zero_anchors);
        self.zero_positives = add(self.zero_positives, zero_positives);
        // The same candidates in every call.
        self.zero_candidates = zero_candidates;
        self.screening += part.screening();
    }

    /// The loss of all rows, and the rest.
    fn scored(self, plan: &TripletLoss) -> Result<Scored, Error> {
        let Parts { stats, zero_anchors, zero_candidates, zero_positives, screening } = self;
        let mut loss = plan.reduce(&stats)?;
        (loss.zero_anchors, loss.zero_candidates) = (zero_anchors, zero_candidates);
        loss.zero_positives = zero_positives;
        Ok(Scored { loss, stats, screening })
    }
}

/// The error with the row of the file in place of the row of the chunk that begins at `first`.
fn in_file(error: Error, first: usize) -> Error {
    match error {
        Error::NotFinite { side: side @ (Side::Anchors | Side::Positives), row } => {
            Error::NotFinite { side, row: first + row }
        }
        other => other,
    }
}
