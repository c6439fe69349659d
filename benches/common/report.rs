//! What benchmarks with a criterion report share.

use std::time::Duration;

use criterion::Criterion;

/// Runs criterion's report and then the table that was measured in turns; with the argument `shares` the table alone,
/// and with `--test`, which asks whether benchmarks run at all, the report alone.
pub(crate) fn run(report: fn(&mut Criterion), table: fn()) {
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    if !asked("shares") {
        // Short measurements: there are many combinations of shapes, backends and screens.
        let criterion = Criterion::default().warm_up_time(Duration::from_millis(200)).sample_size(20);
        let mut criterion = criterion.measurement_time(Duration::from_secs(1)).configure_from_args();
        report(&mut criterion);
        criterion.final_summary();
    }
    if !asked("--test") {
        table();
    }
}
