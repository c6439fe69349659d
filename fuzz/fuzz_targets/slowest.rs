//! Batches of a few shapes, made of a few numbers each: no call takes more work than any batch of its shape may, counted
//! in pairs, on every backend, raw or against a bank; and its rows have the bits of a call that computes all pairs exactly.
#![no_main]

use hardneg::{Backend, Screen, TripletLoss, Workspace};
use hardneg_fuzz::bytes::Bytes;
use hardneg_fuzz::common::assert_rows;
use hardneg_fuzz::common::genome::{Genome, SHAPES, ceiling, work};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let shape = bytes.choose(&SHAPES);
    let genome = Genome(core::array::from_fn(|_| bytes.byte()));
    let case = genome.case(shape);
    let exact = TripletLoss::new().negatives(case.negatives).screen(Screen::Off);
    let mut workspace = Workspace::new();
    let expected = exact.forward(case.batch.batch(), &mut workspace).expect("finite rows").into_row_stats();
    for backend in Backend::available() {
        let (rows, screening) = case.run(backend, &mut Workspace::new());
        assert_rows(expected, &rows, backend.name());
        // The ceiling is a model, not a proof: a new batch may be a little above it, as none that was found is.
        let (work, most) = (work(backend, screening, shape.dim), 1.1 * ceiling(backend, shape));
        assert!(work <= most, "{backend}, {shape:?}: {work:.0} of {most:.0}, {screening:?} by {genome:?}");
    }
});
