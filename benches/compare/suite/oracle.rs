//! What is right: the rows that everybody should find, and how far somebody is from them.

use hardneg::{Batch, Negatives, Positives, RowStats, Screen, TripletLoss, Workspace, reference};

use super::common::Pairs;
use super::rivals::Row;

/// The multiply-adds of the reference that checking a batch may cost; more rows than they allow are left to the exact
/// path without a screen, which must have the reference's bits in the others.
const REFERENCE_WORK: usize = 1 << 25;

/// The rows of a batch as they are by definition.
pub(crate) fn expected(pairs: &Pairs) -> Vec<Row> {
    let mut workspace = Workspace::new();
    TripletLoss::new().screen(Screen::Off).forward(pairs.batch(), &mut workspace).expect("finite rows");
    let rows: Vec<Row> = workspace.row_stats().iter().map(row_of).collect();
    for (index, row) in by_reference(pairs) {
        assert_eq!(rows[index], row, "row {index} of the exact path has not the reference's bits");
    }
    rows
}

/// As many rows as the work allows, spread over the batch, with their indices, by the reference.
fn by_reference(pairs: &Pairs) -> Vec<(usize, Row)> {
    let allowed = REFERENCE_WORK / (pairs.rows() * pairs.dim);
    let step = pairs.rows().div_ceil(allowed.max(1));
    let indices: Vec<usize> = (0..pairs.rows()).step_by(step).collect();
    let anchors: Vec<f32> =
        indices.iter().flat_map(|index| &pairs.anchors[index * pairs.dim..][..pairs.dim]).copied().collect();
    let batch = Batch::new(&anchors, &pairs.positives, pairs.dim, Positives::Indices(&indices)).expect("a batch");
    let rows = reference::row_stats(batch, Negatives::Below).expect("finite rows");
    indices.into_iter().zip(rows.iter().map(row_of)).collect()
}

pub(crate) fn row_of(stats: &RowStats) -> Row {
    Row {
        positive: stats.positive,
        mean_negative: stats.mean_negative,
        closest: stats.closest_negative.map(|closest| (closest.index, closest.similarity)),
    }
}

/// How wrong somebody is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mistakes {
    /// The largest error of a similarity in any row.
    pub largest: f64,
    /// Rows with another closest negative than the right one, or with one where there is none.
    pub wrong: usize,
}

impl Mistakes {
    /// Those of another batch as well.
    pub(crate) fn and(self, other: Mistakes) -> Mistakes {
        Mistakes { largest: self.largest.max(other.largest), wrong: self.wrong + other.wrong }
    }
}

pub(crate) fn mistakes(expected: &[Row], actual: &[Row]) -> Mistakes {
    assert_eq!(expected.len(), actual.len());
    let rows = expected.iter().zip(actual).map(|(expected, actual)| mistakes_in_row(expected, actual));
    rows.fold(Mistakes::default(), Mistakes::and)
}

fn mistakes_in_row(expected: &Row, actual: &Row) -> Mistakes {
    let error = |expected: f32, actual: f32| (f64::from(expected) - f64::from(actual)).abs();
    let closest = match (expected.closest, actual.closest) {
        (Some((_, expected)), Some((_, actual))) => error(expected, actual),
        _ => 0.0,
    };
    let sure = error(expected.positive, actual.positive).max(error(expected.mean_negative, actual.mean_negative));
    let wrong = expected.closest.map(|(index, _)| index) != actual.closest.map(|(index, _)| index);
    Mistakes { largest: sure.max(closest), wrong: usize::from(wrong) }
}
