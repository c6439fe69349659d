//! `hardneg-mpi score ANCHORS.npy POSITIVES.npy`.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use hardneg::{Loss, Positives, RowStats, Screening, Side, TripletLoss};
use hardneg_cli::input;
use hardneg_cli::memory::{filled, reserved};
use hardneg_cli::report::median;
use hardneg_cli::rows::{self, Converted, RowFile};
use hardneg_cli::score::{Args, Excluded, Outputs, Report, Values, describe};
use hardneg_mpi::{Error, Ranks, Shard, ShardGradients};

use crate::together::{self, Failed, part};
use crate::{pipes, threads};

/// Scores two files, of which each rank reads its part.
pub(crate) fn run(ranks: &mut Ranks, args: &Args) -> Result<(), Failed> {
    let rank = ranks.rank();
    let outputs = together::all(ranks, if rank == 0 { start(args).map(Some) } else { Ok(None) })?;
    let tables: Vec<&Path> = args.tables().collect();
    pipes::share(ranks, args.inputs(), &tables)?;
    let ready = Part::read(ranks, args).and_then(|part| {
        let room = part.room(args, rank == 0)?;
        Ok((part, room, threads::start(args.threads)?))
    });
    let (part, room, (threads, thread_count)) = together::all(ranks, ready)?;
    let plan = args.plan(threads);
    let sizes = part.in_all;
    let describe = |error| match error {
        Error::Call(error) => describe(args, error, sizes),
        other => other.to_string(),
    };
    let scored = part.repeat(ranks, &plan, args.repeat, room);
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
        converted: part.converted.clone(),
        seconds: scored.seconds[0],
        seconds_with_gradients: args.gradients.is_some().then_some(scored.seconds[1]),
    };
    let written = outputs.map_or(Ok(()), |outputs| outputs.write(args, &report, &scored.stats, gradients.as_ref()));
    together::all(ranks, written)
}

/// Says what is wrong before anybody waits for a pipe, and opens the files that are written.
fn start(args: &Args) -> Result<Outputs, String> {
    input::check(args.inputs())?;
    let outputs = Outputs::open(args)?;
    if args.inputs().any(input::is_pipe) {
        rows::check(args.row_files().into_iter().flatten(), args.bf16)?;
    }
    Ok(outputs)
}

/// The rows of all ranks.
fn gather(ranks: &mut Ranks, own: &Values, dim: usize) -> Result<Values, Error> {
    let mut all = Values::default();
    for (own, all) in own.iter().zip(&mut all) {
        ranks.gather_rows(own, dim, all)?;
    }
    Ok(all)
}

/// The rows of one rank.
struct Part {
    anchors: Vec<f32>,
    candidates: Vec<f32>,
    /// The positives of the anchors, where they are no candidates.
    positives: Option<Vec<f32>>,
    excluded: Excluded,
    dim: usize,
    /// The anchors, the candidates, and the positives that are no candidates of all ranks.
    in_all: [usize; 3],
    /// What of the files was converted.
    converted: Converted,
}

/// What was computed, the same on each rank but for the gradients, which are those of its own rows.
struct Scored {
    loss: Loss,
    /// On rank 0.
    stats: Vec<RowStats>,
    screening: Screening,
    gradients: Option<Values>,
    /// The median time of a forward pass, and with the backward pass that followed.
    seconds: [f64; 2],
}

impl Part {
    fn read(ranks: &Ranks, args: &Args) -> Result<Part, String> {
        let open = |path: &Path| RowFile::open(path, args.bf16);
        let (anchors, candidates) = (open(&args.anchors)?, open(&args.positives)?);
        let outside = args.positive_rows.as_deref().map(open).transpose()?;
        let others = [Some((&candidates, &args.positives)), outside.as_ref().zip(args.positive_rows.as_ref())];
        if let Some((other, path)) = others.into_iter().flatten().find(|(other, _)| other.dim != anchors.dim) {
            let (dim, other, of_anchors) = (anchors.dim, other.dim, args.anchors.display());
            return Err(format!("{of_anchors} has dim {dim}, but {} has dim {other}", path.display()));
        }
        let in_all = [anchors.rows, candidates.rows, outside.as_ref().map_or(0, |rows| rows.rows)];
        if let Some(outside) = outside.as_ref().filter(|outside| outside.rows != anchors.rows) {
            let (side, expected, actual) = (Side::Positives, anchors.rows, outside.rows);
            return Err(describe(args, hardneg::Error::Length { side, expected, actual }, in_all));
        }
        let own = in_all.map(|rows| part(rows, ranks));
        let excluded = Excluded::read(args, anchors.rows, candidates.rows)?;
        let keys = [("anchors_converted", Some(&anchors)), ("candidates_converted", Some(&candidates))];
        let keys = keys.into_iter().chain([("positives_converted", outside.as_ref())]);
        let converted = rows::converted(keys.filter_map(|(key, file)| Some((key, file?))));
        Ok(Part {
            anchors: anchors.read_range(own[0].clone())?,
            candidates: candidates.read_range(own[1].clone())?,
            positives: outside.map(|outside| outside.read_range(own[2].clone())).transpose()?,
            excluded: excluded.shard(own[0].clone(), own[1].clone()).map_err(|error| error.to_string())?,
            dim: anchors.dim,
            in_all,
            converted,
        })
    }

    fn shard(&self) -> Shard<'_> {
        let positives = self.positives.as_deref().map_or(Positives::Identity, Positives::Outside);
        Shard::new(&self.anchors, &self.candidates, self.dim, positives).excluding(self.excluded.exclusions())
    }

    /// Room for what is computed: rank 0 keeps the numbers of all rows.
    fn room(&self, args: &Args, is_first: bool) -> Result<(Vec<RowStats>, Option<Values>), String> {
        let outside = self.positives.as_ref().map_or(0, Vec::len);
        let zeros = |length| filled(length, 0.0, "elements of gradients");
        let gradients =
            || Ok::<_, String>([zeros(self.anchors.len())?, zeros(self.candidates.len())?, zeros(outside)?]);
        let stats = reserved(if is_first { self.in_all[0] } else { 0 }, "rows")?;
        Ok((stats, args.gradients.is_some().then(gradients).transpose()?))
    }

    fn repeat(
        &self,
        ranks: &mut Ranks,
        plan: &TripletLoss,
        repeat: NonZeroUsize,
        (mut stats, mut gradients): (Vec<RowStats>, Option<Values>),
    ) -> Result<Scored, Error> {
        let (shard, is_first) = (self.shard(), ranks.rank() == 0);
        let (mut seconds, mut result) = ([const { Vec::new() }; 2], None);
        for _ in 0..repeat.get() {
            let start = Instant::now();
            let mut forward = ranks.forward(plan, shard)?;
            seconds[0].push(start.elapsed().as_secs_f64());
            if let Some([by_anchors, by_candidates, by_positives]) = &mut gradients {
                let gradients = ShardGradients::new(by_anchors, by_candidates);
                let with_positives = self.positives.is_some();
                forward.backward(if with_positives { gradients.positives(by_positives) } else { gradients })?;
            }
            seconds[1].push(start.elapsed().as_secs_f64());
            result = Some((forward.loss(), forward.screening()));
            stats.clear();
            stats.extend_from_slice(if is_first { forward.all_row_stats() } else { &[] });
        }
        let (loss, screening) = result.unwrap_or_default();
        Ok(Scored { loss, stats, screening, gradients, seconds: seconds.map(median) })
    }
}
