//! `hardneg-mpi score ANCHORS.npy POSITIVES.npy`.

use std::time::Instant;

use hardneg::{Loss, Positives, RowStats, Screening, TripletLoss};
use hardneg_cli::report::median;
use hardneg_cli::rows::RowFile;
use hardneg_cli::score::{Args, Outputs, Report, Values, describe};
use hardneg_mpi::{Error, Ranks, Shard, ShardGradients};

use crate::threads;
use crate::together::{self, Failed, part};

/// Scores two files, of which each rank reads its part.
pub(crate) fn run(ranks: &mut Ranks, args: &Args) -> Result<(), Failed> {
    let rank = ranks.rank();
    let ready = Part::read(ranks, args).and_then(|part| {
        let outputs = if rank == 0 { Some(Outputs::open(args)?) } else { None };
        Ok((part, outputs, threads::start(args.threads)?))
    });
    let (part, outputs, (threads, thread_count)) = together::all(ranks, ready)?;
    let plan = args.plan(threads);
    let sizes = [part.anchors_in_all, part.candidates_in_all];
    let describe = |error| match error {
        Error::Call(error) => describe(args, error, sizes),
        other => other.to_string(),
    };
    let scored = part.repeat(ranks, &plan, args);
    let scored = together::same(rank, scored, describe)?;
    let gradients = match scored.gradients {
        Some(own) => Some(together::same(rank, gather(ranks, &own, part.dim), |error| error.to_string())?),
        None => None,
    };
    let report = Report {
        rows: sizes[0],
        candidates: sizes[1],
        dim: part.dim,
        loss: scored.loss,
        backend: plan.backend,
        screen: plan.screen,
        screening: scored.screening,
        threads: thread_count,
        seconds: scored.seconds[0],
        seconds_with_gradients: args.gradients.is_some().then_some(scored.seconds[1]),
    };
    let written = outputs.map_or(Ok(()), |outputs| outputs.write(args, &report, &scored.stats, gradients.as_ref()));
    together::all(ranks, written)
}

/// The rows of all ranks.
fn gather(ranks: &mut Ranks, [anchors, candidates]: &Values, dim: usize) -> Result<Values, Error> {
    let mut all = Values::default();
    ranks.gather_rows(anchors, dim, &mut all[0])?;
    ranks.gather_rows(candidates, dim, &mut all[1])?;
    Ok(all)
}

/// The rows of one rank.
struct Part {
    anchors: Vec<f32>,
    candidates: Vec<f32>,
    dim: usize,
    anchors_in_all: usize,
    candidates_in_all: usize,
}

/// What was computed, the same on each rank but for the gradients, which are those of its own rows.
struct Scored {
    loss: Loss,
    stats: Vec<RowStats>,
    screening: Screening,
    gradients: Option<Values>,
    /// The median time of a forward pass, and with the backward pass that followed.
    seconds: [f64; 2],
}

impl Part {
    fn read(ranks: &Ranks, args: &Args) -> Result<Part, String> {
        let (anchors, candidates) = (RowFile::open(&args.anchors, false)?, RowFile::open(&args.positives, false)?);
        if anchors.dim != candidates.dim {
            let (of_anchors, of_candidates) = (args.anchors.display(), args.positives.display());
            return Err(format!(
                "{of_anchors} has dim {}, but {of_candidates} has dim {}",
                anchors.dim, candidates.dim
            ));
        }
        Ok(Part {
            dim: anchors.dim,
            anchors_in_all: anchors.rows,
            candidates_in_all: candidates.rows,
            anchors: anchors.read_range(part(anchors.rows, ranks))?,
            candidates: candidates.read_range(part(candidates.rows, ranks))?,
        })
    }

    fn repeat(&self, ranks: &mut Ranks, plan: &TripletLoss, args: &Args) -> Result<Scored, Error> {
        let zeros = || [&self.anchors, &self.candidates].map(|side| vec![0.0; side.len()]);
        let mut gradients = args.gradients.is_some().then(zeros);
        let shard = Shard::new(&self.anchors, &self.candidates, self.dim, Positives::Identity);
        let (mut seconds, mut result) = ([const { Vec::new() }; 2], None);
        for _ in 0..args.repeat.get() {
            let start = Instant::now();
            let mut forward = ranks.forward(plan, shard)?;
            seconds[0].push(start.elapsed().as_secs_f64());
            if let Some([by_anchors, by_candidates]) = &mut gradients {
                forward.backward(ShardGradients::new(by_anchors, by_candidates))?;
            }
            seconds[1].push(start.elapsed().as_secs_f64());
            result = Some((forward.loss(), forward.all_row_stats().to_vec(), forward.screening()));
        }
        let (loss, stats, screening) = result.unwrap_or_default();
        Ok(Scored { loss, stats, screening, gradients, seconds: seconds.map(median) })
    }
}
