//! The least that a call needs against candidates that were normalised before: the anchors are normalised, and then
//! comes one product by the crate `gemm` with a pass over it, or a dot product for each pair. It finds the most similar
//! row other than the positive, or below it, and the means, like this crate's bank.

use hardneg::Negatives;

use super::buffer::Buffer;
use super::entrant::MARGIN;
use super::gemm::multiply;
use super::reduce::{larger, normalize, sum_and_closest};
use super::vectorised::{Loop, dot, vectorised};

/// Candidates of norm 1, with room for so many anchors.
pub(crate) struct Prepared {
    dim: usize,
    anchors: Buffer,
    candidates: Buffer,
    similarities: Buffer,
    negatives: Negatives,
}

impl Prepared {
    pub(crate) fn new(candidates: &[f32], dim: usize, anchors: usize, negatives: Negatives) -> Prepared {
        let mut unit = Buffer::new(candidates.len());
        normalize(candidates, dim, &mut unit);
        let similarities = Buffer::new(anchors * candidates.len() / dim);
        Prepared { dim, anchors: Buffer::new(anchors * dim), candidates: unit, similarities, negatives }
    }

    /// The loss with one product; the positive of the first anchor is candidate `first`. The most similar row of each
    /// anchor goes to `closest`.
    pub(crate) fn by_product(&mut self, anchors: &[f32], first: usize, closest: &mut [usize]) -> f64 {
        normalize(anchors, self.dim, &mut self.anchors);
        let columns = self.candidates.len() / self.dim;
        let (rows, similarities) = (&self.anchors[..anchors.len()], anchors.len() / self.dim * columns);
        multiply(self.dim, rows, &self.candidates, &mut self.similarities[..similarities]);
        let rows = self.similarities[..similarities].chunks_exact(columns);
        let negatives = self.negatives;
        let finish =
            |((row, closest), at): ((&[f32], &mut usize), usize)| vectorised(Finish { row, at, negatives, closest });
        rows.zip(closest).zip(first..).map(finish).sum()
    }

    /// The same with a dot product for each pair.
    pub(crate) fn by_dots(&mut self, anchors: &[f32], first: usize, closest: &mut [usize]) -> f64 {
        normalize(anchors, self.dim, &mut self.anchors);
        let Prepared { dim, candidates, similarities, negatives, .. } = self;
        let row = &mut similarities[..candidates.len() / *dim];
        let mut loss = 0.0;
        for (index, anchor) in self.anchors[..anchors.len()].chunks_exact(*dim).enumerate() {
            vectorised(Dots { anchor, candidates, row });
            loss += vectorised(Finish { row, at: first + index, negatives: *negatives, closest: &mut closest[index] });
        }
        loss
    }
}

struct Dots<'a> {
    anchor: &'a [f32],
    candidates: &'a [f32],
    row: &'a mut [f32],
}

impl Loop for Dots<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (similarity, candidate) in self.row.iter_mut().zip(self.candidates.chunks_exact(self.anchor.len())) {
            *similarity = dot::<FMA>(self.anchor, candidate);
        }
    }
}

/// The hinges of a row of similarities, and the most similar candidate other than the positive.
struct Finish<'a> {
    row: &'a [f32],
    /// The place of the positive.
    at: usize,
    negatives: Negatives,
    closest: &'a mut usize,
}

impl Loop for Finish<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let Finish { row, at, negatives, closest } = self;
        let positive = row[at];
        let limit = if negatives == Negatives::Below { positive } else { f32::INFINITY };
        let sides = [(0, at), (at + 1, row.len())].map(|(start, end)| sum_and_closest(&row[start..end], limit));
        let [(first, one), (second, other)] = sides;
        let largest = larger(one, other);
        let is_closest = |(index, value): (usize, &f32)| *value == largest && index != at;
        *closest = row.iter().enumerate().position(is_closest).unwrap_or(at);
        let hinge = |negative: f32| f64::from((negative - positive + MARGIN).max(0.0));
        hinge((first + second) / (row.len() - 1) as f32) + hinge(largest)
    }
}
