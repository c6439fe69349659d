//! Calls against a bank of the user's own rows, a `key: value` line for each result.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use hardneg::{Bank, Batch, Negatives, Positives, TripletLoss, Workspace};
use hardneg_cli::npy;
use rayon::ThreadPoolBuilder;

use crate::args::Args;
use crate::rivals::threads_for;

/// Reads the files, measures, and prints.
pub(super) fn run(args: &Args, anchors: &Path, candidates: &Path) -> Result<(), String> {
    let (anchors, candidates) = (npy::read(anchors)?, npy::read(candidates)?);
    if anchors.dim != candidates.dim {
        return Err(format!("the anchors have {} elements, the candidates {}", anchors.dim, candidates.dim));
    }
    let pool = ThreadPoolBuilder::new().num_threads(args.threads).build().map_err(|error| error.to_string())?;
    let counts = args.shapes.anchors.clone().unwrap_or(vec![anchors.rows]);
    let start = Instant::now();
    let bank = Bank::new(&candidates.values[..], candidates.dim).map_err(|error| error.to_string())?;
    println!("backend: {}", bank.backend());
    println!("build_milliseconds: {:.6}", 1e3 * start.elapsed().as_secs_f64());
    println!("bytes_per_element: {:.3}", bank.bytes() as f64 / candidates.values.len() as f64);
    for count in counts {
        let rows = anchors.values.get(..count * anchors.dim).ok_or_else(|| format!("there are no {count} anchors"))?;
        let batch = Batch::against(rows, &bank, Positives::Identity).map_err(|error| error.to_string())?;
        pool.install(|| measure(args, batch)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Prints the median time and the most similar negative of each anchor.
fn measure(args: &Args, batch: Batch<'_>) -> Result<(), hardneg::Error> {
    let plan = TripletLoss::new().negatives(Negatives::Any).threads(threads_for(args.threads));
    let mut workspace = Workspace::new();
    let stats = plan.forward(batch, &mut workspace)?.row_stats().to_vec();
    let mut times = Vec::with_capacity(args.repeat);
    for _ in 0..args.repeat {
        let start = Instant::now();
        black_box(plan.forward(batch, &mut workspace)?.loss());
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    println!("milliseconds: {:.6}", 1e3 * times[times.len() / 2]);
    let closest = stats.iter().map(|row| row.closest_negative().expect("any negative qualifies").index().to_string());
    println!("closest: {}", closest.collect::<Vec<_>>().join(" "));
    Ok(())
}
