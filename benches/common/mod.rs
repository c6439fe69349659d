//! What the benchmarks share: inputs, measuring in turns, and what their arguments ask for.

use std::time::Instant;

use criterion::Criterion;

/// Reproducible rows with elements uniform in -1..1 (splitmix64).
pub(crate) fn random_rows(seed: u64, rows: usize, dim: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    (0..rows * dim).map(|_| next()).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds for each of the contenders, measured in turns: medians.
pub(crate) fn in_turns(rounds: usize, contenders: &mut [(usize, &mut dyn FnMut())]) -> Vec<f64> {
    let mut times = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for (times, (repeat, contender)) in times.iter_mut().zip(contenders.iter_mut()) {
            let start = Instant::now();
            (0..*repeat).for_each(|_| contender());
            times.push(start.elapsed().as_secs_f64() / *repeat as f64);
        }
    }
    times.into_iter().map(median).collect()
}

/// Runs criterion's report and then the table that was measured in turns; with the argument `shares` the table alone,
/// and with `--test`, which asks whether benchmarks run at all, the report alone.
pub(crate) fn run(report: fn(&mut Criterion), table: fn()) {
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    if !asked("shares") {
        let mut criterion = Criterion::default().configure_from_args();
        report(&mut criterion);
        criterion.final_summary();
    }
    if !asked("--test") {
        table();
    }
}
