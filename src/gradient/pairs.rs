//! The derivative of the loss by the similarities: a number common to the whole row, and a sparse matrix.

use crate::excluded::SortedExclusions;
use crate::row_stats::RowStats;

/// What decides how much the loss of a row counts.
pub(super) struct Weights<'a> {
    pub(super) margin: f32,
    /// The weight of every row.
    pub(super) all: f64,
    /// A factor for each row on top.
    pub(super) each: Option<&'a [f32]>,
}

/// The derivative of the loss by one row of similarities.
struct RowDerivative {
    /// `p_i`: by every similarity of the row.
    share: f64,
    /// `-(k_i + p_i)`: by the positive's, beyond the share; `-k_i` where it has none, as it is no candidate or in the
    /// group of the anchor's label.
    positive: f64,
    /// `h2_i`: by the closest negative's, beyond the share.
    closest: f64,
}

impl Weights<'_> {
    /// The derivative of row `row` of the batch. At the hinge, where the loss has no derivative, it is 0.
    fn derivative(&self, row: usize, stats: &RowStats, exclusions: &SortedExclusions<'_>) -> RowDerivative {
        let weight = self.each.map_or(self.all, |each| f64::from(each[row]) * self.all);
        let [mean, closest] = stats.terms(self.margin).map(|term| if term > 0.0 { weight } else { 0.0 });
        // Without negatives there is no mean, and the share is 0.
        let share = mean / exclusions.negatives(row).max(1) as f64;
        let of_positive = if exclusions.is_positive_single(row) { share } else { 0.0 };
        RowDerivative { share, positive: -(mean + closest + of_positive), closest }
    }
}

/// An element of a sparse row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Element {
    /// Its column.
    pub(super) column: usize,
    pub(super) value: f64,
}

/// A sparse matrix, row after row.
#[derive(Debug)]
pub(super) struct Sparse<'a> {
    /// Where each row ends among the elements.
    pub(super) ends: &'a mut [usize],
    /// The elements of all rows; more may follow after the last row's.
    pub(super) elements: &'a mut [Element],
}

impl Sparse<'_> {
    /// The elements of one row.
    pub(super) fn row(&self, row: usize) -> &[Element] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.elements[start..self.ends[row]]
    }

    /// Writes the derivative of every row: its share, and the elements for the positive, the closest negative and the
    /// candidates that its list excludes, unless they are 0. Those of positives that are no candidates go to
    /// `by_positive`.
    pub(super) fn fill(
        &mut self,
        weights: &Weights<'_>,
        exclusions: &SortedExclusions<'_>,
        stats: &[RowStats],
        shares: &mut [f64],
        by_positive: &mut [f64],
    ) {
        let mut end = 0;
        for (row, stats) in stats.iter().enumerate() {
            let derivative = weights.derivative(row, stats, exclusions);
            shares[row] = derivative.share;
            let index = exclusions.rules.positives.index(row);
            let positive = index.map(|column| Element { column, value: derivative.positive });
            if positive.is_none() {
                by_positive[row] = derivative.positive;
            }
            let closest =
                stats.closest_negative().map(|closest| Element { column: closest.index(), value: derivative.closest });
            let listed = exclusions.listed(row).iter().filter(|&&column| Some(column) != index);
            let listed = listed.map(|&column| Element { column, value: -derivative.share });
            let elements = [positive, closest].into_iter().flatten().chain(listed);
            for element in elements.filter(|element| element.value != 0.0) {
                self.elements[end] = element;
                end += 1;
            }
            self.ends[row] = end;
        }
    }

    /// Writes the transpose of `other`, by a counting sort: the elements of each row are in ascending order of columns.
    pub(super) fn fill_transposed(&mut self, other: &Sparse<'_>) {
        self.ends.fill(0);
        let rows = other.ends.len();
        for element in (0..rows).flat_map(|row| other.row(row)) {
            self.ends[element.column] += 1;
        }
        // From the number of elements in each row to where it starts ..
        let mut start = 0;
        for end in &mut *self.ends {
            start += core::mem::replace(end, start);
        }
        // .. and from there to where it ends, which is where it is when all its elements are in place.
        for row in 0..rows {
            for &Element { column, value } in other.row(row) {
                let end = &mut self.ends[column];
                self.elements[*end] = Element { column: row, value };
                *end += 1;
            }
        }
    }
}
