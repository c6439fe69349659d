//! The loss of a batch spread over the ranks, and its gradients.

use std::fmt;

use hardneg::{Batch, Exclusions, Forward, Loss, Positives, RowStats, Screening, Side, TripletLoss, Workspace};

use crate::agreement::Call;
use crate::error::Error;
use crate::ranks::{Gathered, Link, Memory, PAYLOAD, Ranks, SideCounts, resize};
use crate::shard::{Shard, ShardGradients};
use crate::stats::{SCREENING_WORDS, STATS_WORDS, from_words, screening_of_words, screening_words, to_words};

/// The result of [`Ranks::forward`]: the loss of the whole batch, the statistics of its rows, and the backward pass
/// that belongs to them.
pub struct ShardForward<'r>(Place<'r>);

/// Where the result of a forward pass is.
#[expect(clippy::large_enum_variant, reason = "a box would be memory that every call asks for")]
enum Place<'r> {
    /// With the only rank, which has all rows.
    Alone(Forward<'r, 'r>),
    Spread(Spread<'r>),
}

/// The result of several ranks.
struct Spread<'r> {
    link: &'r mut Link,
    plan: TripletLoss,
    shard: Shard<'r>,
    rows_of: &'r SideCounts,
    /// What all ranks have gathered.
    candidates: &'r [f32],
    candidate_labels: &'r [u64],
    stats: &'r [RowStats],
    weights: &'r mut Vec<f32>,
    loss: Loss,
    screening: Screening,
    pass: Pass<'r>,
}

/// What a backward pass goes on from.
enum Pass<'r> {
    /// The pass over this rank's anchors, and the memory for those of all ranks.
    Own(OwnPass<'r>, &'r mut Gathered),
    /// The pass over the anchors of all ranks, which a first backward pass has gathered.
    Whole(Forward<'r, 'r>),
    /// There was no memory for the latter.
    Failed(hardneg::Error),
}

/// The pass over the anchors of one rank.
enum OwnPass<'r> {
    Scored(Forward<'r, 'r>),
    /// It has none.
    Empty(&'r mut Workspace),
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
    pub fn forward<'r>(&'r mut self, plan: &TripletLoss, shard: Shard<'r>) -> Result<ShardForward<'r>, Error> {
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
    pub fn forward_backward<'r>(
        &'r mut self,
        plan: &TripletLoss,
        shard: Shard<'r>,
        gradients: ShardGradients<'_>,
    ) -> Result<ShardForward<'r>, Error> {
        let mut forward = self.run_forward(plan, shard, Some(&gradients))?;
        forward.backward(gradients)?;
        Ok(forward)
    }

    fn run_forward<'r>(
        &'r mut self,
        plan: &TripletLoss,
        shard: Shard<'r>,
        gradients: Option<&ShardGradients<'_>>,
    ) -> Result<ShardForward<'r>, Error> {
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
        gather_candidates(link, memory, shard, gradients)?;
        Ok(ShardForward(Place::Spread(Spread::score(link, memory, *plan, shard)?)))
    }
}

/// Leaves the candidates of all ranks in the memory.
fn gather_candidates(
    link: &mut Link,
    memory: &mut Memory,
    shard: Shard<'_>,
    gradients: Option<&ShardGradients<'_>>,
) -> Result<(), Error> {
    let rank = link.transport.rank();
    let first = memory.rows_of.anchors.of(rank).start;
    let checked = gradients.map_or(Ok(()), |gradients| gradients.check_weights(first));
    let grown = checked.and_then(|()| memory.grow_forward(rank, &shard));
    link.exchange(grown, [0; PAYLOAD])?;
    let counts = &memory.rows_of.candidates;
    link.transport.gather_rows(shard.candidates, shard.dim, counts, &mut memory.candidates);
    if let Exclusions::Labels { candidates: labels, .. } = shard.exclusions {
        link.transport.gather_rows(labels, 1, counts, &mut memory.candidate_labels);
    }
    Ok(())
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

impl ShardForward<'_> {
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
            Place::Spread(spread) => spread.stats,
        }
    }

    /// The statistics of this rank's anchors.
    #[must_use]
    pub fn row_stats(&self) -> &[RowStats] {
        match &self.0 {
            Place::Alone(forward) => forward.row_stats(),
            Place::Spread(spread) => &spread.stats[spread.rows_of.anchors.of(spread.link.transport.rank())],
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
    /// all ranks are gathered on each by the first call; then a rank makes the gradients of its own rows alone. It may be
    /// called several times.
    ///
    /// # Errors
    /// A buffer has another length than the shard's slices; ranks ask for other gradients than rank 0; there is no
    /// memory. Then no buffer was written, except where a rank finds no memory for the backward pass itself: other
    /// ranks may have written their buffers then, and a new forward pass must come before another backward pass.
    ///
    /// # Allocation
    /// None by this package once the buffers have grown to the shape of the batch: all anchors, and a few numbers for
    /// each row.
    pub fn backward(&mut self, gradients: ShardGradients<'_>) -> Result<(), Error> {
        match &mut self.0 {
            Place::Alone(forward) => {
                let weights = gradients.weights;
                forward.backward(gradients.into_gradients(weights)).map_err(|error| Error::of_rank(0, error))
            }
            Place::Spread(spread) => spread.backward(gradients),
        }
    }
}

impl<'r> Spread<'r> {
    /// Computes the rows of this rank's anchors, and gathers the statistics of all.
    fn score(
        link: &'r mut Link,
        memory: &'r mut Memory,
        plan: TripletLoss,
        shard: Shard<'r>,
    ) -> Result<Spread<'r>, Error> {
        let Memory { workspace, rows_of, candidates, candidate_labels, own_words, words, stats, .. } = memory;
        let (rows_of, candidates, candidate_labels) = (&*rows_of, &candidates[..], &candidate_labels[..]);
        let own = rows_of.anchors.of(link.transport.rank());
        let scored = if own.is_empty() {
            Ok((OwnPass::Empty(workspace), Counts::default()))
        } else {
            let batch = shard.batch(own.start, candidates, candidate_labels);
            batch.and_then(|batch| plan.forward(batch, workspace)).map(|forward| {
                to_words(forward.row_stats(), own_words);
                let counts = Counts::of(&forward);
                (OwnPass::Scored(forward), counts)
            })
        };
        let scored = scored.map_err(|error| shard.in_whole(error, own.start));
        let (status, counts) = match &scored {
            Ok((_, counts)) => (Ok(()), *counts),
            Err(error) => (Err(*error), Counts::default()),
        };
        let counts = Counts::sum(link.exchange(status, counts.to_payload())?.iter());
        let (own_pass, _) = scored.map_err(Error::Call)?;
        link.transport.gather_rows(own_words, STATS_WORDS, &rows_of.anchors, words);
        stats.clear();
        let loss = from_words(words, stats).and_then(|()| plan.reduce(stats)).map_err(Error::Call)?;
        Ok(Spread {
            link,
            plan,
            shard,
            rows_of,
            candidates,
            candidate_labels,
            stats,
            weights: &mut memory.weights,
            loss: counts.counted(loss),
            screening: counts.screening,
            pass: Pass::Own(own_pass, &mut memory.gathered),
        })
    }

    fn backward(&mut self, gradients: ShardGradients<'_>) -> Result<(), Error> {
        let rank = self.link.transport.rank();
        let [anchors, candidates] = [&self.rows_of.anchors, &self.rows_of.candidates].map(|counts| counts.of(rank));
        let ready = gradients
            .check(&self.shard)
            .and_then(|()| gradients.check_weights(anchors.start))
            .and_then(|()| self.grow(&gradients));
        Call::backward(&self.shard, &gradients).agree_again(self.link, ready)?;
        if let Some(own) = gradients.weights {
            self.link.transport.gather_rows(own, 1, &self.rows_of.anchors, self.weights);
        }
        let lost = Pass::Failed(hardneg::Error::OutOfMemory { bytes: 0 });
        let mut whole = match std::mem::replace(&mut self.pass, lost) {
            Pass::Own(own, gathered) => self.go_on(own, gathered),
            Pass::Whole(forward) => Ok(forward),
            Pass::Failed(error) => Err(error),
        };
        let weights = gradients.weights.map(|_| &self.weights[..]);
        let written = match &mut whole {
            Ok(forward) => forward.backward(gradients.into_gradients(weights).rows(anchors, candidates)),
            Err(error) => Err(*error),
        };
        self.pass = whole.map_or_else(Pass::Failed, Pass::Whole);
        self.link.exchange(written, [0; PAYLOAD]).map(|_| ())
    }

    /// Gets the memory for what is gathered.
    fn grow(&mut self, gradients: &ShardGradients<'_>) -> Result<(), hardneg::Error> {
        let Spread { link, rows_of, shard, weights, pass, .. } = self;
        if gradients.weights.is_some() {
            resize(weights, Side::Weights, rows_of.anchors.total(), 1, 0.0)?;
        }
        match pass {
            Pass::Own(_, gathered) => gathered.grow(link.transport.rank(), rows_of, shard),
            Pass::Whole(_) => Ok(()),
            Pass::Failed(error) => Err(*error),
        }
    }

    /// Gathers the anchors, and goes on from this rank's pass to the one over all of them.
    fn go_on(&self, own: OwnPass<'r>, gathered: &'r mut Gathered) -> Result<Forward<'r, 'r>, hardneg::Error> {
        let Spread { shard, candidates, candidate_labels, stats, .. } = *self;
        gathered.gather(&self.link.transport, self.rows_of, &shard);
        let gathered = &*gathered;
        let positives = match shard.positives {
            Positives::Outside(_) => Positives::Outside(&gathered.positives),
            Positives::Identity | Positives::Offset(_) => shard.positives,
            _ => Positives::IndicesI64(&gathered.indices),
        };
        let exclusions = match shard.exclusions {
            Exclusions::Labels { .. } => Exclusions::Labels { anchors: &gathered.labels, candidates: candidate_labels },
            Exclusions::Lists { .. } => {
                Exclusions::Lists { offsets: &gathered.list_offsets, indices: &gathered.listed }
            }
            _ => Exclusions::None,
        };
        let batch = Batch::new(&gathered.anchors, candidates, shard.dim, positives)?.excluding(exclusions)?;
        match own {
            OwnPass::Scored(forward) => self.plan.continue_from_row_stats(forward, batch, stats),
            OwnPass::Empty(workspace) => self.plan.forward_from_row_stats(batch, stats, workspace),
        }
    }
}

impl fmt::Debug for ShardForward<'_> {
    /// Totals, without the rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardForward")
            .field("loss", &self.loss())
            .field("screening", &self.screening())
            .finish_non_exhaustive()
    }
}
