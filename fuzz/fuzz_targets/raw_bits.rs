//! Rows of arbitrary bits: the reference's bits, or the error that names the first bad row, anchors first.
#![no_main]

use hardneg::Workspace;
use hardneg_fuzz::bytes::Bytes;
use hardneg_fuzz::input::{Input, Shape};
use hardneg_fuzz::oracle::{check_forward, check_kernels, check_similarities};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let shape = Shape::small(&mut bytes);
    let input = Input::raw(&mut bytes, shape);
    check_kernels(&input);
    check_similarities(&input);
    check_forward(&input.with_exclusions(&mut bytes), &mut Workspace::new());
});
