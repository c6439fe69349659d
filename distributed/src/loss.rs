//! The loss of a batch spread over the ranks, and its gradients.

use std::fmt;

use hardneg::{Batch, Forward, Loss, Positives, RowStats, Screening, TripletLoss};

use crate::agreement::Call;
use crate::error::Error;
use crate::ranks::{Link, Memory, PAYLOAD, Ranks};
use crate::shard::{Labels, Shard, ShardGradients, excluding};
use crate::stats::{SCREENING_WORDS, STATS_WORDS, from_words, screening_of_words, screening_words, to_words};

/// The result of [`Ranks::forward`]: the loss of the whole batch, the statistics of its rows, and the backward pass
/// that belongs to them.
pub struct ShardForward<'r, 'b>(Place<'r, 'b>);

/// Where the result of a forward pass is.
enum Place<'r, 'b> {
    /// With the only rank, which has all rows.
    Alone(Forward<'r, 'b>),
    Spread(Spread<'r, 'b>),
}

/// The result of several ranks.
struct Spread<'r, 'b> {
    ranks: &'r mut Ranks,
    plan: TripletLoss,
    shard: Shard<'b>,
    loss: Loss,
    screening: Screening,
}

impl Ranks {
    /// The forward pass over the batch that all ranks have together. Every rank calls it, with its part of the batch.
    ///
    /// Every number has the bits that [`TripletLoss::forward`] finds for the whole batch in one process, whatever the
    /// number of ranks and wherever the batch is cut. The candidates of all ranks are gathered on each; a rank computes
    /// the rows of its own anchors; their statistics, 24 bytes each, are gathered and added up in the order of the
    /// whole. `threads`, `backend` and `screen` are each rank's own choice. A single rank computes as
    /// [`TripletLoss::forward`] does, without a copy.
    ///
    /// # Errors
    /// Those of [`Batch::new`] and of [`TripletLoss::forward`], and ranks that disagree: the same error on every rank.
    ///
    /// # Allocation
    /// None by this package once the buffers have grown to the shape of the batch: all candidates, and the statistics
    /// of all anchors, beside a [`Workspace`](hardneg::Workspace) for the rank's own anchors against all candidates.
    pub fn forward<'r, 'b>(&'r mut self, plan: &TripletLoss, shard: Shard<'b>) -> Result<ShardForward<'r, 'b>, Error> {
        self.run_forward(plan, shard, None)
    }

    /// The forward pass and the backward pass in one call: [`Ranks::forward`] and [`ShardForward::backward`]. The
    /// gradients' buffers are checked before anything is computed.
    ///
    /// # Errors
    /// Those of both passes.
    ///
    /// # Allocation
    /// None by this package once the buffers have grown to the shape of the batch.
    pub fn forward_backward<'r, 'b>(
        &'r mut self,
        plan: &TripletLoss,
        shard: Shard<'b>,
        gradients: ShardGradients<'_>,
    ) -> Result<ShardForward<'r, 'b>, Error> {
        let mut forward = self.run_forward(plan, shard, Some(&gradients))?;
        forward.backward(gradients)?;
        Ok(forward)
    }

    fn run_forward<'r, 'b>(
        &'r mut self,
        plan: &TripletLoss,
        shard: Shard<'b>,
        gradients: Option<&ShardGradients<'_>>,
    ) -> Result<ShardForward<'r, 'b>, Error> {
        let margin = plan.margin;
        let check = if margin.is_finite() { Ok(()) } else { Err(hardneg::Error::MarginNotFinite { margin }) };
        let check =
            shard.check().and(check).and_then(|()| gradients.map_or(Ok(()), |gradients| gradients.check(&shard)));
        if self.size() == 1 {
            let forward = check.and_then(|()| plan.forward(shard.whole()?, &mut self.memory.workspace));
            return forward
                .map(|forward| ShardForward(Place::Alone(forward)))
                .map_err(|error| Error::of_rank(0, error));
        }
        let Ranks { link, memory } = self;
        let call = Call::new(plan, &shard, gradients);
        call.agree(link, check, &mut memory.rows_of)?;
        gather_candidates(link, memory, shard)?;
        let (loss, screening) = score(link, memory, plan, shard)?;
        Ok(ShardForward(Place::Spread(Spread { ranks: self, plan: *plan, shard, loss, screening })))
    }
}

/// Leaves the candidates of all ranks in the memory.
fn gather_candidates(link: &mut Link, memory: &mut Memory, shard: Shard<'_>) -> Result<(), Error> {
    let grown = memory.grow_forward(link.transport.rank(), &shard);
    link.exchange(grown, [0; PAYLOAD])?;
    let counts = &memory.rows_of.candidates;
    link.transport.gather_rows(shard.candidates, shard.dim, counts, &mut memory.candidates);
    if let Some(labels) = shard.labels {
        link.transport.gather_rows(labels.candidates, 1, counts, &mut memory.candidate_labels);
    }
    Ok(())
}

/// Computes the rows of this rank's anchors, and leaves the statistics of all anchors in the memory.
fn score(
    link: &mut Link,
    memory: &mut Memory,
    plan: &TripletLoss,
    shard: Shard<'_>,
) -> Result<(Loss, Screening), Error> {
    let own = memory.rows_of.anchors.of(link.transport.rank());
    let Memory { workspace, candidates, candidate_labels, own_words, words, stats, rows_of, .. } = memory;
    let scored = if own.is_empty() {
        Ok(Counts::default())
    } else {
        let batch = shard.batch(own.start, candidates, candidate_labels);
        let forward = batch.and_then(|batch| plan.forward(batch, workspace));
        forward.map(|forward| {
            to_words(forward.row_stats(), own_words);
            Counts::of(&forward)
        })
    };
    let (status, counts) = match scored {
        Ok(counts) => (Ok(()), counts),
        Err(error) => (Err(shard.in_whole(error, own.start)), Counts::default()),
    };
    let counts = Counts::sum(link.exchange(status, counts.to_payload())?.iter());
    link.transport.gather_rows(own_words, STATS_WORDS, &rows_of.anchors, words);
    stats.clear();
    let loss = from_words(words, stats).and_then(|()| plan.reduce(stats)).map_err(Error::Call)?;
    Ok((counts.counted(loss), counts.screening))
}

/// The counts of a pass with some anchors.
#[derive(Clone, Copy, Default)]
struct Counts {
    zero_anchors: u64,
    /// The same on every rank that had anchors.
    zero_candidates: u64,
    zero_positives: u64,
    screening: Screening,
}

impl Counts {
    fn of(forward: &Forward<'_, '_>) -> Counts {
        let (loss, screening) = (forward.loss(), forward.screening());
        let count = |count: Option<usize>| count.unwrap_or(0) as u64;
        Counts {
            zero_anchors: count(loss.zero_anchors),
            zero_candidates: count(loss.zero_candidates),
            zero_positives: count(loss.zero_positives),
            screening,
        }
    }

    fn to_payload(self) -> [u64; PAYLOAD] {
        let mut payload = screening_words(self.screening);
        let zeros = [self.zero_anchors, self.zero_candidates, self.zero_positives];
        payload[SCREENING_WORDS..][..zeros.len()].copy_from_slice(&zeros);
        payload
    }

    /// The counts of all ranks.
    fn sum<'a>(payloads: impl Iterator<Item = &'a [u64]>) -> Counts {
        let mut sum = Counts::default();
        for payload in payloads {
            let zeros = &payload[SCREENING_WORDS..];
            sum.zero_anchors += zeros[0];
            sum.zero_candidates = sum.zero_candidates.max(zeros[1]);
            sum.zero_positives += zeros[2];
            sum.screening += screening_of_words(payload);
        }
        sum
    }

    /// The loss of rows, with what was counted of them.
    fn counted(self, mut loss: Loss) -> Loss {
        loss.zero_anchors = Some(self.zero_anchors as usize);
        loss.zero_candidates = Some(self.zero_candidates as usize);
        loss.zero_positives = Some(self.zero_positives as usize);
        loss
    }
}

impl ShardForward<'_, '_> {
    /// The loss of the whole batch, and what it is made of.
    #[must_use]
    pub fn loss(&self) -> Loss {
        match &self.0 {
            Place::Alone(forward) => forward.loss(),
            Place::Spread(spread) => spread.loss,
        }
    }

    /// The statistics of each anchor of the whole batch, in order. Indices are those of the whole.
    #[must_use]
    pub fn all_row_stats(&self) -> &[RowStats] {
        match &self.0 {
            Place::Alone(forward) => forward.row_stats(),
            Place::Spread(spread) => &spread.ranks.memory.stats,
        }
    }

    /// The statistics of this rank's anchors.
    #[must_use]
    pub fn row_stats(&self) -> &[RowStats] {
        match &self.0 {
            Place::Alone(forward) => forward.row_stats(),
            Place::Spread(Spread { ranks: Ranks { link, memory }, .. }) => {
                &memory.stats[memory.rows_of.anchors.of(link.transport.rank())]
            }
        }
    }

    /// Counts of the work done on all ranks.
    #[must_use]
    pub fn screening(&self) -> Screening {
        match &self.0 {
            Place::Alone(forward) => forward.screening(),
            Place::Spread(spread) => spread.screening,
        }
    }

    /// The backward pass: the gradients of the whole batch's loss with respect to this rank's rows. Every rank calls
    /// it.
    ///
    /// Each row's gradient has the bits that [`Forward::backward`] finds in one process with all rows. The anchors of
    /// all ranks are gathered on each; then a rank makes the gradients of its own rows alone. It may be called several
    /// times.
    ///
    /// # Errors
    /// A buffer has another length than the shard's slices; ranks ask for other gradients than rank 0; there is no
    /// memory. Then no buffer was written, except where a rank finds no memory for the backward pass itself: other
    /// ranks may have written their buffers then.
    ///
    /// # Allocation
    /// None by this package once the buffers have grown to the shape of the batch: all anchors, and a few numbers for
    /// each row.
    pub fn backward(&mut self, gradients: ShardGradients<'_>) -> Result<(), Error> {
        match &mut self.0 {
            Place::Alone(forward) => {
                forward.backward(gradients.into_gradients()).map_err(|error| Error::of_rank(0, error))
            }
            Place::Spread(spread) => spread.backward(gradients),
        }
    }
}

impl Spread<'_, '_> {
    fn backward(&mut self, gradients: ShardGradients<'_>) -> Result<(), Error> {
        let Spread { ranks: Ranks { link, memory }, plan, shard, .. } = self;
        let rank = link.transport.rank();
        let grown = gradients.check(shard).and_then(|()| memory.grow_backward(rank, shard));
        Call::backward(shard, &gradients).agree_again(link, grown)?;
        gather_anchors(link, memory, *shard);
        let Memory { workspace, rows_of, candidates, anchors, positives, indices, stats, .. } = memory;
        let (anchor_labels, candidate_labels) = (&memory.anchor_labels[..], &memory.candidate_labels[..]);
        let labels = shard.labels.map(|_| Labels { anchors: anchor_labels, candidates: candidate_labels });
        let positives = match shard.positives {
            Positives::Outside(_) => Positives::Outside(positives),
            Positives::Identity | Positives::Offset(_) => shard.positives,
            _ => Positives::IndicesI64(indices),
        };
        let ranges = (rows_of.anchors.of(rank), rows_of.candidates.of(rank));
        let written = Batch::new(anchors, candidates, shard.dim, positives).and_then(|batch| {
            let batch = excluding(batch, labels)?;
            let mut forward = plan.forward_from_row_stats(batch, stats, workspace)?;
            forward.backward(gradients.into_gradients().rows(ranges.0, ranges.1))
        });
        link.exchange(written, [0; PAYLOAD]).map(|_| ())
    }
}

/// Leaves the anchors of all ranks in the memory, with their positives where these are not known from the pairing.
fn gather_anchors(link: &Link, memory: &mut Memory, shard: Shard<'_>) {
    let Memory { rows_of, anchors, positives, anchor_labels, indices, own_indices, .. } = memory;
    link.transport.gather_rows(shard.anchors, shard.dim, &rows_of.anchors, anchors);
    if let Some(outside) = shard.outside() {
        link.transport.gather_rows(outside, shard.dim, &rows_of.anchors, positives);
    }
    if let Some(labels) = shard.labels {
        link.transport.gather_rows(labels.anchors, 1, &rows_of.anchors, anchor_labels);
    }
    if shard.has_indices() {
        shard.write_indices(own_indices);
        link.transport.gather_rows(own_indices, 1, &rows_of.anchors, indices);
    }
}

impl fmt::Debug for ShardForward<'_, '_> {
    /// Totals, without the rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardForward")
            .field("loss", &self.loss())
            .field("screening", &self.screening())
            .finish_non_exhaustive()
    }
}
