//! The crate `ndarray`, as most would write it: the whole matrix by one product (that of the crate `matrixmultiply`).

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::blocked::{Blocked, Product};
use super::entrant::Entrant;

#[derive(Clone, Copy)]
struct NdArray {
    dim: usize,
}

pub(super) fn entrant(threads: usize) -> Entrant {
    Blocked::whole("ndarray", threads, |shape| NdArray { dim: shape.dim })
}

impl Product for NdArray {
    const UNIT_ROWS: bool = true;
    type Scratch = ();

    fn scratch(_: usize, _: usize) {}

    fn multiply(&self, anchors: &[f32], candidates: &[f32], _: &mut (), similarities: &mut [f32]) {
        let (rows, columns) = (anchors.len() / self.dim, candidates.len() / self.dim);
        let anchors = ArrayView2::from_shape((rows, self.dim), anchors).expect("whole rows");
        let candidates = ArrayView2::from_shape((columns, self.dim), candidates).expect("whole rows");
        let mut output = ArrayViewMut2::from_shape((rows, columns), similarities).expect("a similarity for each pair");
        general_mat_mul(1.0, &anchors, &candidates.t(), 0.0, &mut output);
    }
}
