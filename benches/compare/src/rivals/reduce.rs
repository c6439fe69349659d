//! What stands before and after a product: rows of embeddings are normalised, and rows of similarities become hinges,
//! or statistics for those who ask.

use super::entrant::MARGIN;
use super::vectorised::{Loop, dot, fold, vectorised};
use crate::row::Row;

/// Similarities that are reduced at once: one of the widest registers. Several took longer for up to 128 candidates,
/// and were 1 % of the whole faster for 1024.
const LANES: usize = 16;

/// Scales every row to norm 1.
pub(super) fn normalize(rows: &[f32], dim: usize, output: &mut [f32]) {
    vectorised(Normalize { rows, dim, output });
}

struct Normalize<'a> {
    rows: &'a [f32],
    dim: usize,
    output: &'a mut [f32],
}

impl Loop for Normalize<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (row, output) in self.rows.chunks_exact(self.dim).zip(self.output.chunks_exact_mut(self.dim)) {
            let scale = 1.0 / dot::<FMA>(row, row).sqrt();
            output.iter_mut().zip(row).for_each(|(output, value)| *output = value * scale);
        }
    }
}

/// The sum of the hinges of a run of anchors, from a row of similarities for each; the positive of the first is
/// candidate `first`, that of the next one candidate `first + 1`.
pub(super) fn sum_of_hinges(similarities: &[f32], columns: usize, first: usize) -> f64 {
    vectorised(SumOfHinges { similarities, columns, first })
}

struct SumOfHinges<'a> {
    similarities: &'a [f32],
    columns: usize,
    first: usize,
}

impl Loop for SumOfHinges<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let scale = 1.0 / (self.columns - 1) as f32;
        let mut loss = 0.0;
        for (index, row) in self.similarities.chunks_exact(self.columns).enumerate() {
            let positive = row[self.first + index];
            let (sum, closest) = sum_and_closest(row, positive);
            let hinge = |negative: f32| (negative - positive + MARGIN).max(0.0);
            // Where no negative is below the positive, the closest is minus infinity, and its hinge 0.
            loss += f64::from(hinge((sum - positive) * scale) + hinge(closest));
        }
        loss
    }
}

/// The statistics of an anchor from its similarities with all candidates.
pub(super) fn reduce(similarities: &[f32], positive: usize) -> Row {
    vectorised(Reduce { similarities, positive })
}

struct Reduce<'a> {
    similarities: &'a [f32],
    positive: usize,
}

impl Loop for Reduce<'_> {
    type Output = Row;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> Row {
        let Self { similarities, positive } = self;
        let limit = similarities[positive];
        let (sum, closest) = sum_and_closest(similarities, limit);
        let mean_negative = (sum - limit) / (similarities.len() - 1) as f32;
        let index = similarities.iter().position(|&value| value == closest);
        Row { positive: limit, mean_negative, closest: index.map(|index| (index, closest)) }
    }
}

/// The sum of the similarities and the largest below `limit`, which is never the positive: that one is not below
/// itself. Minus infinity where there is none.
#[inline(always)]
pub(super) fn sum_and_closest(similarities: &[f32], limit: f32) -> (f32, f32) {
    let (blocks, tail) = similarities.as_chunks::<LANES>();
    let (mut sums, mut closest) = ([0.0; LANES], [f32::NEG_INFINITY; LANES]);
    for block in blocks {
        for lane in 0..LANES {
            sums[lane] += block[lane];
            closest[lane] = larger(closest[lane], below(block[lane], limit));
        }
    }
    let (mut sum, mut closest) = (sums.iter().sum(), fold(closest, larger));
    for &value in tail {
        (sum, closest) = (sum + value, larger(closest, below(value, limit)));
    }
    (sum, closest)
}

#[inline(always)]
fn below(value: f32, limit: f32) -> f32 {
    if value < limit { value } else { f32::NEG_INFINITY }
}

#[inline(always)]
pub(super) fn larger(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}
