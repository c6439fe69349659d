//! Rows of one family, any shape, rule, reduction, pairing and exclusions: the reference's bits on every backend,
//! screen and thread mode.
#![no_main]

use hardneg::Workspace;
use hardneg_fuzz::bytes::Bytes;
use hardneg_fuzz::input::{Input, Shape};
use hardneg_fuzz::oracle::check_forward;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let shape = Shape::new(&mut bytes);
    let input = Input::family(&mut bytes, shape).with_exclusions(&mut bytes);
    check_forward(&input, &mut Workspace::new());
});
