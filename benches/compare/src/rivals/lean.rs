//! The least that the whole job needs with a matrix product: both sides are normalised into buffers, one product of the
//! crate `gemm` fills the whole matrix, and one pass over the matrix adds up the hinges. One thread, no allocation, no
//! strips, no statistics of rows.

use super::buffer::Buffer;
use super::entrant::{Entrant, Rival};
use super::gemm::multiply;
use super::reduce::{normalize, reduce, sum_of_hinges};
use crate::common::OwnedBatch;
use crate::row::Row;
use crate::shapes::Case;

struct Lean {
    shape: Case,
    /// Both sides with norm 1.
    anchors: Buffer,
    candidates: Buffer,
    /// A row for each anchor.
    similarities: Buffer,
}

pub(super) fn entrant() -> Entrant {
    Entrant::new("gemm", 1, |shape: &Case| Lean {
        shape: shape.clone(),
        anchors: Buffer::new(shape.rows * shape.dim),
        candidates: Buffer::new(shape.candidates * shape.dim),
        similarities: Buffer::new(shape.rows * shape.candidates),
    })
}

impl Rival for Lean {
    fn run(&mut self, pairs: &OwnedBatch) -> f64 {
        let &Case { dim, candidates: columns, .. } = &self.shape;
        normalize(&pairs.anchors, dim, &mut self.anchors);
        normalize(&pairs.candidates, dim, &mut self.candidates);
        multiply(dim, &self.anchors, &self.candidates, &mut self.similarities);
        sum_of_hinges(&self.similarities, columns, 0)
    }

    fn run_into(&mut self, pairs: &OwnedBatch, rows: &mut [Row]) {
        self.run(pairs);
        let similarities = self.similarities.chunks_exact(self.shape.candidates);
        for (positive, (row, similarities)) in rows.iter_mut().zip(similarities).enumerate() {
            *row = reduce(similarities, positive);
        }
    }
}
