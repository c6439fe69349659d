//! Calls with the user's own rows, against a bank or with the candidates passed raw: a `key: value` line for each
//! result.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use hardneg::{Backend, Bank, Batch, Negatives, Positives, TripletLoss, Workspace};
use hardneg_cli::npy;
use rayon::ThreadPoolBuilder;

use crate::args::Args;
use crate::rivals::{MARGIN, threads_for};

/// Calls that take less, in seconds, are timed several together: reading the clock takes some 20 ns.
const CLOCKED: f64 = 2e-5;

/// Reads the files, measures, and prints.
pub(crate) fn run(args: &Args, anchors: &Path, candidates: &Path) -> Result<(), String> {
    let (anchors, candidates) = (npy::read(anchors)?, npy::read(candidates)?);
    if anchors.dim != candidates.dim {
        return Err(format!("the anchors have {} elements, the candidates {}", anchors.dim, candidates.dim));
    }
    let pool = ThreadPoolBuilder::new().num_threads(args.threads).build().map_err(|error| error.to_string())?;
    let counts = args.shapes.anchors.clone().unwrap_or(vec![anchors.rows]);
    println!("backend: {}", Backend::detect());
    let start = Instant::now();
    let bank = args.bank.then(|| Bank::new(&candidates.values[..], candidates.dim)).transpose();
    let bank = bank.map_err(|error| error.to_string())?;
    if let Some(bank) = &bank {
        println!("build_milliseconds: {:.6}", 1e3 * start.elapsed().as_secs_f64());
        println!("bytes_per_element: {:.3}", bank.bytes() as f64 / candidates.values.len() as f64);
    }
    for count in counts {
        let rows = anchors.values.get(..count * anchors.dim).ok_or_else(|| format!("there are no {count} anchors"))?;
        let batch = match &bank {
            Some(bank) => Batch::against(rows, bank, Positives::Identity),
            None => Batch::new(rows, &candidates.values, candidates.dim, Positives::Identity),
        };
        let batch = batch.map_err(|error| error.to_string())?;
        pool.install(|| measure(args, batch)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Prints the median time of a call, and the closest negative of each anchor, -1 where it has none: among all others
/// against a bank, as a search has it, and below the positive with candidates passed raw, as the loss has it.
fn measure(args: &Args, batch: Batch<'_>) -> Result<(), hardneg::Error> {
    let negatives = if args.bank { Negatives::Any } else { Negatives::AtOrBelow };
    let plan = TripletLoss::new().margin(MARGIN).negatives(negatives).threads(threads_for(args.threads));
    let mut workspace = Workspace::new();
    let stats = plan.forward(batch, &mut workspace)?.row_stats().to_vec();
    let mut seconds = |calls: usize| {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(plan.forward(black_box(batch), &mut workspace)?.loss());
        }
        Ok(start.elapsed().as_secs_f64() / calls as f64)
    };
    let calls = (CLOCKED / seconds(1)?).ceil() as usize;
    let mut times = (0..args.repeat).map(|_| seconds(calls)).collect::<Result<Vec<f64>, hardneg::Error>>()?;
    times.sort_by(f64::total_cmp);
    println!("milliseconds: {:.6}", 1e3 * times[times.len() / 2]);
    let closest = stats.iter().map(|row| row.closest_negative().map_or("-1".to_owned(), |it| it.index().to_string()));
    println!("closest: {}", closest.collect::<Vec<_>>().join(" "));
    Ok(())
}
