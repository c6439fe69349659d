//! Comparisons, bit for bit: of results with each other, and of every way to run with the reference.

use hardneg::{
    Batch, Forward, Loss, Mined, Negatives, Neighbour, Reduction, RowStats, TripletLoss, Workspace, reference,
};

use super::ways;

/// The bits of vectors of `f32`: the only comparison that tells `0.0` from `-0.0`.
#[must_use]
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The bits of a row's statistics.
#[must_use]
pub fn row_bits(row: &RowStats) -> (u32, Option<u32>, Option<(usize, u32)>) {
    let closest = row.closest_negative().map(|closest| (closest.index(), closest.similarity().to_bits()));
    (row.positive().to_bits(), row.mean_negative().map(f32::to_bits), closest)
}

/// Panics unless both sides have the same rows, bit for bit.
pub fn assert_rows(expected: &[RowStats], actual: &[RowStats], what: &str) {
    assert_eq!(expected.len(), actual.len(), "{what}: rows");
    for (row, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        assert_eq!(row_bits(expected), row_bits(actual), "{what}: row {row}: {expected:?} against {actual:?}");
    }
}

/// Panics unless both losses are the same, bit for bit.
pub fn assert_loss(expected: &Loss, actual: &Loss, what: &str) {
    for (expected, actual) in [
        (expected.loss, actual.loss),
        (expected.mean_term, actual.mean_term),
        (expected.closest_term, actual.closest_term),
    ] {
        assert_eq!(expected.to_bits(), actual.to_bits(), "{what}: {expected} against {actual}");
    }
    assert_eq!(expected, actual, "{what}");
}

/// Panics unless a forward pass has this loss and these rows, bit for bit.
pub fn assert_forward(expected: &(Loss, Vec<RowStats>), actual: &Forward<'_, '_>, what: &str) {
    assert_rows(&expected.1, actual.row_stats(), what);
    assert_loss(&expected.0, &actual.loss(), what);
}

/// Panics unless mining has found these lists, bit for bit.
pub fn assert_lists(expected: &[Vec<Neighbour>], actual: &Mined<'_>, what: &str) {
    let list_bits = |list: &[Neighbour]| -> Vec<(usize, u32)> {
        list.iter().map(|neighbour| (neighbour.index, neighbour.similarity.to_bits())).collect()
    };
    assert_eq!(expected.len(), actual.queries(), "{what}: queries");
    for (query, (expected, actual)) in expected.iter().zip(actual.rows()).enumerate() {
        assert_eq!(list_bits(expected), list_bits(actual), "{what}: query {query}");
    }
}

/// Compares every way to run with the reference, under the given rule and with the given workspace.
pub fn check_forward(batch: Batch<'_>, negatives: Negatives, workspace: &mut Workspace, what: &str) {
    let expected = reference::forward(batch, 0.25, negatives, Reduction::Sum).expect("finite rows");
    for (way, plan) in ways(TripletLoss::new().negatives(negatives)) {
        let actual = plan.forward(batch, workspace).expect("finite rows");
        assert_forward(&expected, &actual, &format!("{what}, {negatives}, {way}"));
    }
}
