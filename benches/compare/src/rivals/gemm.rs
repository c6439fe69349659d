//! Products of the crate `gemm`: about as fast as a Rust crate has them, with AVX-512.

use gemm::{Parallelism, gemm};

use super::blocked::{Blocked, Product};
use super::entrant::Entrant;
use super::lean;
use crate::shapes::Case;

#[derive(Clone, Copy)]
struct Gemm {
    dim: usize,
}

/// The strongest last. On one thread the whole matrix is [`lean`]'s.
pub(super) fn entrants(threads: usize) -> [Entrant; 2] {
    let product = |shape: &Case| Gemm { dim: shape.dim };
    let whole = if threads == 1 { lean::entrant() } else { Blocked::whole("gemm", threads, product) };
    [whole, Blocked::strips("gemm", threads, product)]
}

impl Product for Gemm {
    const UNIT_ROWS: bool = true;
    type Scratch = ();

    fn scratch(_: usize, _: usize) {}

    fn multiply(&self, anchors: &[f32], candidates: &[f32], _: &mut (), similarities: &mut [f32]) {
        multiply(self.dim, anchors, candidates, similarities);
    }
}

/// Writes the dot product of every anchor with every candidate, on the calling thread.
pub(super) fn multiply(dim: usize, anchors: &[f32], candidates: &[f32], products: &mut [f32]) {
    let (rows, columns) = (anchors.len() / dim, candidates.len() / dim);
    assert!(products.len() == rows * columns && anchors.len() == rows * dim && candidates.len() == columns * dim);
    let (row_stride, output_stride) = (dim as isize, columns as isize);
    // SAFETY: the three matrices have the lengths that their sizes and strides ask for, as asserted.
    unsafe {
        gemm(
            rows,
            columns,
            dim,
            products.as_mut_ptr(),
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
