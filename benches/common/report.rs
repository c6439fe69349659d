//! What the arguments of a benchmark with both a criterion report and a table ask for.

use criterion::Criterion;

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
