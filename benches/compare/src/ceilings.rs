//! The table of ceilings, and a ceiling as a contender.

use std::hint::black_box;

use crate::common::{Call, all_threads, in_turns};
use crate::units::{CEILING_WORK, Unit};
use crate::{args::Args, table};

/// The bytes that are copied to see how fast memory is: no cache of today holds them twice.
const COPY_BYTES: usize = 256 << 20;

/// A call that works out `unit` on so many threads at once.
pub(crate) fn call(unit: Unit, threads: usize) -> Call<'static> {
    match threads {
        1 => Box::new(move || unit.work_out()),
        _ => Box::new(move || _ = rayon::broadcast(|_| unit.work_out())),
    }
}

/// The multiply-adds of such a call.
pub(crate) fn work(threads: usize) -> f64 {
    CEILING_WORK as f64 * threads as f64
}

/// Multiply-adds a second of each unit on one thread.
pub(crate) fn rates(args: &Args) -> Vec<(Unit, f64)> {
    let units: Vec<Unit> = Unit::available().collect();
    if units.is_empty() {
        return Vec::new();
    }
    let (seconds, rounds) = args.effort();
    let turns = in_turns(seconds / 10.0, rounds, units.iter().map(|&unit| call(unit, 1)).collect());
    units.into_iter().enumerate().map(|(index, unit)| (unit, work(1) / turns.time(index))).collect()
}

/// Prints what this machine can do at most.
pub(crate) fn print(args: &Args) {
    let (seconds, rounds) = args.effort();
    let all = all_threads();
    table::header(&["ceiling", "one thread", &format!("{all} threads")]);
    for unit in Unit::available() {
        let turns = in_turns(seconds / 20.0, rounds, vec![call(unit, 1), call(unit, all)]);
        let rate = |index, threads| format!("{:.1} G/s", work(threads) / turns.time(index) / 1e9);
        table::line(&[unit.name().to_owned(), rate(0, 1), rate(1, all)]);
    }
    let bytes = if args.test { 1 << 16 } else { COPY_BYTES };
    let (from, mut to) = (vec![1; bytes], vec![0; bytes]);
    let turns =
        in_turns(seconds / 20.0, rounds, vec![Box::new(|| black_box(&mut to).copy_from_slice(black_box(&from)))]);
    let rate = format!("{:.1} GB/s", bytes as f64 / turns.time(0) / 1e9);
    table::line(&["memory copied".to_owned(), rate, "-".to_owned()]);
}
