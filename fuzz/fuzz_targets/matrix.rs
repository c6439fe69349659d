//! Mining from a matrix with ties, infinities and NaN: the reference's bits, or the error that names the first bad row.
#![no_main]

use hardneg::Workspace;
use hardneg_fuzz::bytes::Bytes;
use hardneg_fuzz::input::Matrix;
use hardneg_fuzz::oracle::check_matrix;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    check_matrix(&Matrix::new(&mut Bytes::new(data)), &mut Workspace::new());
});
