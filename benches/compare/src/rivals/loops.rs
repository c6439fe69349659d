//! Loops over `f32` dot products that the compiler vectorises: both sides are normalised into buffers, and every dot
//! product is used on the spot. No matrix is stored, and every pair loads both of its rows.

use super::buffer::Buffer;
use super::entrant::{Entrant, Rival};
use super::reduce::normalize;
use super::vectorised::{Loop, dot, vectorised};
use crate::common::OwnedBatch;
use crate::row::Row;
use crate::shapes::Case;

struct Loops {
    /// Both sides with norm 1.
    anchors: Buffer,
    candidates: Buffer,
}

pub(super) fn entrant() -> Entrant {
    Entrant::new("dot products", 1, |&Case { rows, candidates, dim, .. }| Loops {
        anchors: Buffer::new(rows * dim),
        candidates: Buffer::new(candidates * dim),
    })
}

impl Loops {
    /// Hands every row to `take`.
    fn for_each_row(&mut self, pairs: &OwnedBatch, take: impl FnMut(usize, Row)) {
        normalize(&pairs.anchors, pairs.dim, &mut self.anchors);
        normalize(&pairs.candidates, pairs.dim, &mut self.candidates);
        vectorised(AllRows { anchors: &self.anchors, candidates: &self.candidates, dim: pairs.dim, take });
    }
}

impl Rival for Loops {
    fn run(&mut self, pairs: &OwnedBatch) -> f64 {
        let mut loss = 0.0;
        self.for_each_row(pairs, |_, row| loss += row.loss());
        loss
    }

    fn run_into(&mut self, pairs: &OwnedBatch, rows: &mut [Row]) {
        self.for_each_row(pairs, |index, row| rows[index] = row);
    }
}

struct AllRows<'a, T> {
    anchors: &'a [f32],
    candidates: &'a [f32],
    dim: usize,
    take: T,
}

impl<T: FnMut(usize, Row)> Loop for AllRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let negatives = (self.candidates.len() / self.dim - 1) as f32;
        for (index, anchor) in self.anchors.chunks_exact(self.dim).enumerate() {
            let positive = dot::<FMA>(anchor, &self.candidates[index * self.dim..][..self.dim]);
            let (mut sum, mut closest) = (0.0, (0, f32::NEG_INFINITY));
            for (candidate, row) in self.candidates.chunks_exact(self.dim).enumerate() {
                let similarity = dot::<FMA>(anchor, row);
                sum += similarity;
                if similarity < positive && similarity > closest.1 {
                    closest = (candidate, similarity);
                }
            }
            let closest = (closest.1 > f32::NEG_INFINITY).then_some(closest);
            (self.take)(index, Row { positive, mean_negative: (sum - positive) / negatives, closest });
        }
    }
}
