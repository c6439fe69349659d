//! What benchmarks with a criterion report share.

use std::time::Duration;

use criterion::Criterion;

/// Runs criterion's report.
pub(crate) fn run(report: fn(&mut Criterion)) {
    // Short measurements: there are many combinations of shapes, backends and screens.
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(200)).sample_size(20);
    let mut criterion = criterion.measurement_time(Duration::from_secs(1)).configure_from_args();
    report(&mut criterion);
    criterion.final_summary();
}
