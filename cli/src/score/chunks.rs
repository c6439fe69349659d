//! The forward pass in calls of some anchors each, so that long work can show how far it is. Each row and the loss have
//! the same bits however the anchors are split.

use hardneg::{Batch, Error, Forward, Gradients, Loss, Positives, RowStats, Screening, Side, TripletLoss, Workspace};

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

/// What to compute, and in what steps. The positive of anchor `i` is candidate `i`.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// How to compute it.
    pub plan: &'a TripletLoss,
    /// The anchors.
    pub anchors: &'a Embeddings,
    /// The candidates: the positives, and perhaps more rows.
    pub candidates: &'a Embeddings,
    /// The anchors of a call.
    pub chunk: usize,
}

impl Work<'_> {
    /// Scores all anchors, and tells `done` after each call how many it had.
    pub fn forward(&self, workspace: &mut Workspace, done: impl Fn(usize)) -> Result<Scored, Error> {
        // Checked as a whole first, so that an error of shape speaks of the files and not of a chunk.
        self.batch(&self.anchors.values, 0)?;
        let mut parts = Parts::new(self.anchors.rows);
        for rows in self.anchors.values.chunks(self.chunk * self.anchors.dim) {
            let first = parts.stats.len();
            let part = self.plan.forward(self.batch(rows, first)?, workspace).map_err(|error| in_file(error, first))?;
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
        let batch = self.batch(&self.anchors.values, 0)?;
        let mut parts = Parts::new(self.anchors.rows);
        let mut forward = self.plan.forward(batch, workspace)?;
        parts.add(&forward);
        let scored = parts.scored(self.plan)?;
        between();
        forward.backward(gradients)?;
        Ok(scored)
    }

    /// The batch of some rows, the first of which is row `first` of the anchors.
    fn batch<'b>(&'b self, rows: &'b [f32], first: usize) -> Result<Batch<'b>, Error> {
        Batch::new(rows, &self.candidates.values, self.anchors.dim, Positives::Offset(first))
    }
}

/// What the calls so far have come to.
struct Parts {
    stats: Vec<RowStats>,
    zero_anchors: Option<usize>,
    zero_candidates: Option<usize>,
    screening: Screening,
}

impl Parts {
    /// No call yet; there will be so many rows.
    fn new(rows: usize) -> Parts {
        let stats = Vec::with_capacity(rows);
        Parts { stats, zero_anchors: Some(0), zero_candidates: None, screening: Screening::default() }
    }

    /// Adds a call.
    fn add(&mut self, part: &Forward<'_, '_>) {
        let Loss { zero_anchors, zero_candidates, .. } = part.loss();
        self.stats.extend_from_slice(part.row_stats());
        self.zero_anchors = self.zero_anchors.zip(zero_anchors).map(|(sum, more)| sum + more);
        // The same candidates in every call.
        self.zero_candidates = zero_candidates;
        self.screening += part.screening();
    }

    /// The loss of all rows, and the rest.
    fn scored(self, plan: &TripletLoss) -> Result<Scored, Error> {
        let Parts { stats, zero_anchors, zero_candidates, screening } = self;
        let mut loss = plan.reduce(&stats)?;
        (loss.zero_anchors, loss.zero_candidates) = (zero_anchors, zero_candidates);
        loss.zero_positives = Some(0);
        Ok(Scored { loss, stats, screening })
    }
}

/// The error with the row of the file in place of the row of the chunk that begins at `first`.
fn in_file(error: Error, first: usize) -> Error {
    match error {
        Error::NotFinite { side: Side::Anchors, row } => Error::NotFinite { side: Side::Anchors, row: first + row },
        other => other,
    }
}
