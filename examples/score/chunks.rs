//! The forward pass in calls of some anchors each, so that long work can show how far it is. Each row and the loss have
//! the same bits however the anchors are split.

use hardneg::{Batch, Error, Loss, Positives, RowStats, Screening, Side, TripletLoss, Workspace};

use crate::npy::Embeddings;

/// The result of all calls.
pub(crate) struct Scored {
    pub loss: Loss,
    pub stats: Vec<RowStats>,
    /// Anchors and candidates of norm 0.
    pub zero_rows: usize,
    /// How the screens did.
    pub screening: Screening,
}

/// What to compute, and in what steps. The positive of anchor `i` is candidate `i`.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub plan: &'a TripletLoss,
    pub anchors: &'a Embeddings,
    pub candidates: &'a Embeddings,
    /// The anchors of a call.
    pub chunk: usize,
}

impl Work<'_> {
    /// Scores all anchors, and tells `done` after each call how many it had.
    pub(crate) fn forward(&self, workspace: &mut Workspace, done: impl Fn(usize)) -> Result<Scored, Error> {
        // Checked as a whole first, so that an error of shape speaks of the files and not of a chunk.
        self.batch(&self.anchors.values, 0)?;
        let mut stats = Vec::with_capacity(self.anchors.rows);
        let (mut zero_anchors, mut zero_candidates, mut screening) = (0, 0, Screening::default());
        for rows in self.anchors.values.chunks(self.chunk * self.anchors.dim) {
            let first = stats.len();
            let part = self.plan.forward(self.batch(rows, first)?, workspace).map_err(|error| in_file(error, first))?;
            zero_anchors += part.zero_anchors;
            // The same candidates in every call.
            zero_candidates = part.zero_candidates;
            add(&mut screening, workspace.screening());
            stats.extend_from_slice(workspace.row_stats());
            done(stats.len() - first);
        }
        Ok(Scored { loss: self.plan.reduce(&stats)?, stats, zero_rows: zero_anchors + zero_candidates, screening })
    }

    /// The batch of some rows, the first of which is row `first` of the anchors.
    pub(crate) fn batch<'b>(&'b self, rows: &'b [f32], first: usize) -> Result<Batch<'b>, Error> {
        Batch::new(rows, &self.candidates.values, self.anchors.dim, Positives::Offset(first))
    }
}

/// Adds what one call has screened.
fn add(sum: &mut Screening, part: Screening) {
    sum.survivors += part.survivors;
    sum.i8_rows += part.i8_rows;
    sum.i16_rows += part.i16_rows;
    sum.f32_rows += part.f32_rows;
}

/// The error with the row of the file in place of the row of the chunk that begins at `first`.
fn in_file(error: Error, first: usize) -> Error {
    match error {
        Error::NotFinite { side: Side::Anchors, row } => Error::NotFinite { side: Side::Anchors, row: first + row },
        other => other,
    }
}
