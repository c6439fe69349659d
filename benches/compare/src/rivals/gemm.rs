//! The crate `gemm`: products about as fast as a Rust crate has them, with AVX-512.

use gemm::{Parallelism, gemm};

use super::blocked::{Blocked, Product};
use super::entrant::Entrant;

#[derive(Clone, Copy)]
struct Gemm {
    dim: usize,
}

/// The strongest last.
pub(super) fn entrants(threads: usize) -> [Entrant; 2] {
    let product = |_, dim| Gemm { dim };
    [Blocked::whole("gemm", threads, product), Blocked::strips("gemm", threads, product)]
}

impl Product for Gemm {
    const UNIT_ROWS: bool = true;
    type Scratch = ();

    fn scratch(_: usize, _: usize) {}

    fn multiply(&self, anchors: &[f32], candidates: &[f32], _: &mut (), similarities: &mut [f32]) {
        let (rows, columns) = (anchors.len() / self.dim, candidates.len() / self.dim);
        assert!(similarities.len() == rows * columns && anchors.len() == rows * self.dim);
        assert!(candidates.len() == columns * self.dim);
        let (row_stride, output_stride) = (self.dim as isize, columns as isize);
        // SAFETY: the three matrices have the lengths that their sizes and strides ask for, as asserted.
        unsafe {
            gemm(
                rows,
                columns,
                self.dim,
                similarities.as_mut_ptr(),
                1,
                output_stride,
                false, // The output is overwritten.
                anchors.as_ptr(),
                1,
                row_stride,
                candidates.as_ptr(), // Transposed by its strides.
                row_stride,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}
