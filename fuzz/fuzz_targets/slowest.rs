//! Batches of a few shapes, made of a few numbers each: no call takes more work than any batch of its shape may, counted
//! in pairs, on every backend, raw or against a bank.
#![no_main]

use hardneg::{Backend, Workspace};
use hardneg_fuzz::bytes::Bytes;
use hardneg_fuzz::common::genome::{Genome, SHAPES, ceiling, work};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let shape = bytes.choose(&SHAPES);
    let genome = Genome(core::array::from_fn(|_| bytes.byte()));
    let case = genome.case(shape);
    for backend in Backend::available() {
        let screening = case.screening(backend, &mut Workspace::new());
        let (work, most) = (work(backend, screening, shape.dim), ceiling(backend, shape));
        assert!(work <= most, "{backend}, {shape:?}: {work:.0} of {most:.0}, {screening:?} by {genome:?}");
    }
});
